//! Which language a file is written in, by its name.

use std::path::Path;

const ENDINGS: [(&str, &str); 51] = [
    ("adoc", "AsciiDoc"),
    ("astro", "Astro"),
    ("bash", "Shell"),
    ("c", "C"),
    ("cc", "C++"),
    ("clj", "Clojure"),
    ("cpp", "C++"),
    ("cs", "C#"),
    ("css", "CSS"),
    ("dart", "Dart"),
    ("ex", "Elixir"),
    ("exs", "Elixir"),
    ("fs", "F#"),
    ("go", "Go"),
    ("h", "C"),
    ("hpp", "C++"),
    ("hs", "Haskell"),
    ("html", "HTML"),
    ("java", "Java"),
    ("jl", "Julia"),
    ("js", "JavaScript"),
    ("json", "JSON"),
    ("jsx", "JavaScript"),
    ("kt", "Kotlin"),
    ("lua", "Lua"),
    ("m", "Objective-C"),
    ("md", "Markdown"),
    ("mjs", "JavaScript"),
    ("ml", "OCaml"),
    ("nix", "Nix"),
    ("php", "PHP"),
    ("pl", "Perl"),
    ("proto", "Protocol Buffers"),
    ("py", "Python"),
    ("r", "R"),
    ("rb", "Ruby"),
    ("rs", "Rust"),
    ("scala", "Scala"),
    ("scss", "SCSS"),
    ("sh", "Shell"),
    ("sql", "SQL"),
    ("svelte", "Svelte"),
    ("swift", "Swift"),
    ("tf", "Terraform"),
    ("toml", "TOML"),
    ("ts", "TypeScript"),
    ("tsx", "TypeScript"),
    ("vue", "Vue"),
    ("yaml", "YAML"),
    ("yml", "YAML"),
    ("zig", "Zig"),
];

/// `None` if nothing is known by this name.
pub(super) fn of(path: &Path) -> Option<&'static str> {
    match path.file_name()?.to_str()? {
        "Dockerfile" => return Some("Dockerfile"),
        "Makefile" => return Some("Make"),
        _ => {}
    }
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ENDINGS.binary_search_by_key(&ending.as_str(), |(known, _)| known).ok().map(|index| ENDINGS[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_sorted_for_the_search() {
        assert!(ENDINGS.is_sorted_by_key(|(ending, _)| *ending));
        for (path, language) in [("a/b.RS", Some("Rust")), ("Makefile", Some("Make")), ("x", None), ("x.unknown", None)] {
            assert_eq!(of(Path::new(path)), language, "{path}");
        }
    }
}
