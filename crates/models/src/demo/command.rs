//! What a person may ask the demo model for.

/// Numbers that one count may have: five minutes of it, slowly.
pub(super) const MAX_COUNT: u32 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Files that match the glob.
    List {
        glob: String,
    },
    Read {
        paths: Vec<String>,
    },
    /// `pattern` is a regular expression.
    Search {
        pattern: String,
        glob: Option<String>,
    },
    Count {
        to: u32,
        slowly: bool,
    },
    Continue,
    Think,
    /// Ask the person something.
    Ask,
}

impl Command {
    /// `None` if the text is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let lower: Vec<String> = words.iter().map(|word| bare(word).to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let skip = lower.iter().take_while(|word| matches!(**word, "please" | "can" | "could" | "you" | "now")).count();
        let (words, lower) = (&words[skip..], &lower[skip..]);
        match lower {
            ["continue"] | ["go", "on"] | ["continue", "counting"] => Some(Self::Continue),
            ["count", ..] => count(lower),
            ["think", ..] => Some(Self::Think),
            ["ask", "me", ..] => Some(Self::Ask),
            ["list" | "ls", ..] => Some(list(words, lower)),
            ["what" | "which", "files", ..] => Some(Self::List { glob: ALL_FILES.to_owned() }),
            ["read" | "open" | "cat" | "show", ..] => read(&words[1..]),
            ["search" | "find" | "grep", ..] => search(&words[1..], &lower[1..], lower[0] == "grep"),
            _ => None,
        }
    }
}

const ALL_FILES: &str = "**/*";

fn count(lower: &[&str]) -> Option<Command> {
    let to = lower.iter().find_map(|word| word.parse::<u64>().ok())?;
    let to = u32::try_from(to).unwrap_or(MAX_COUNT).min(MAX_COUNT);
    Some(Command::Count { to, slowly: lower.contains(&"slowly") })
}

fn list(words: &[&str], lower: &[&str]) -> Command {
    let place = words.iter().zip(lower).skip(1).rfind(|(_, lower)| {
        !matches!(**lower, "" | "files" | "all" | "the" | "my" | "in" | "under" | "of" | "here" | "please" | "project" | "me")
    });
    let glob = match place.map(|(word, _)| quoted(word)) {
        None => ALL_FILES.to_owned(),
        Some(glob) if glob.contains(['*', '?']) => glob.to_owned(),
        Some(directory) => format!("{}/{ALL_FILES}", directory.trim_end_matches('/')),
    };
    Command::List { glob }
}

fn read(words: &[&str]) -> Option<Command> {
    let paths: Vec<String> = words
        .iter()
        .map(|word| quoted(word))
        .filter(|word| !matches!(word.to_ascii_lowercase().as_str(), "" | "and" | "the" | "file" | "files" | "me" | "please"))
        .map(str::to_owned)
        .collect();
    (!paths.is_empty()).then_some(Command::Read { paths })
}

fn search(words: &[&str], lower: &[&str], is_pattern: bool) -> Option<Command> {
    let skip = lower.iter().take_while(|word| matches!(**word, "for" | "the" | "word")).count();
    let (words, lower) = (&words[skip..], &lower[skip..]);
    let (wanted, glob) = match lower.iter().rposition(|word| *word == "in") {
        Some(at) if at > 0 && at + 2 == words.len() => (&words[..at], Some(quoted(words[at + 1]).to_owned())),
        _ => (words, None),
    };
    let wanted = wanted.join(" ");
    let wanted = quoted(&wanted);
    let pattern = if is_pattern { wanted.to_owned() } else { literal(wanted) };
    (!pattern.is_empty()).then_some(Command::Search { pattern, glob })
}

/// The regular expression that matches just this text.
fn literal(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut pattern, char| {
        if r"\.+*?()|[]{}^$#&-~".contains(char) {
            pattern.push('\\');
        }
        pattern.push(char);
        pattern
    })
}

/// Without the quotes and marks that people put around a file or word.
fn quoted(word: &str) -> &str {
    let word = word.trim_matches(['"', '\'', '`', ',', ';', '!']);
    word.trim_start_matches('@').trim_end_matches(['.', '?', ':']).trim_matches(['"', '\'', '`'])
}

fn bare(word: &str) -> &str {
    word.trim_matches(|char: char| !char.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::Command;

    fn read(paths: &[&str]) -> Option<Command> {
        Some(Command::Read { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    }

    fn list(glob: &str) -> Option<Command> {
        Some(Command::List { glob: glob.to_owned() })
    }

    fn search(pattern: &str, glob: Option<&str>) -> Option<Command> {
        Some(Command::Search { pattern: pattern.to_owned(), glob: glob.map(str::to_owned) })
    }

    #[test]
    fn commands_are_understood_as_people_write_them() {
        for (text, expected) in [
            ("list files", list("**/*")),
            ("List the files, please!", list("**/*")),
            ("list files in src", list("src/**/*")),
            ("list *.rs", list("*.rs")),
            ("What files are there?", list("**/*")),
            ("read README.md", read(&["README.md"])),
            ("Please read the file `src/main.rs`.", read(&["src/main.rs"])),
            ("read a.txt and b.txt", read(&["a.txt", "b.txt"])),
            ("read @notes.txt", read(&["notes.txt"])),
            ("search main", search("main", None)),
            ("Search for \"fn main()\"", search(r"fn main\(\)", None)),
            ("search TODO in *.rs", search("TODO", Some("*.rs"))),
            ("grep fn.*main", search("fn.*main", None)),
            ("count to 20 slowly", Some(Command::Count { to: 20, slowly: true })),
            ("Count to 5!", Some(Command::Count { to: 5, slowly: false })),
            ("count to 99999999999", Some(Command::Count { to: 1_000, slowly: false })),
            ("Continue.", Some(Command::Continue)),
            ("think about birds", Some(Command::Think)),
            ("Ask me something.", Some(Command::Ask)),
            ("ask", None),
            ("hello", None),
            ("read", None),
            ("search", None),
            ("count", None),
            ("", None),
            ("…", None),
        ] {
            assert_eq!(Command::parse(text), expected, "{text}");
        }
    }
}
