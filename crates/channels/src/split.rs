//! Cuts long texts at the best place: between paragraphs, lines, sentences, words, and only then anywhere. A block of code
//! stays whole if it can; one that is too long itself is closed and opened again.

/// A part is filled to at least this share before a nicer place to cut is preferred to a fuller part.
const MIN_FILL_DIVISOR: usize = 4;

const FENCE: &str = "```";

/// The parts, each of at most `limit` UTF-16 code units. No word is lost; white space at the cuts is.
pub(crate) fn split(text: &str, limit: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end().to_owned();
    while units(&rest) > limit {
        let (part, left) = cut(&rest, limit);
        parts.push(part);
        rest = left;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    parts
}

pub(crate) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn cut(text: &str, limit: usize) -> (String, String) {
    let window = prefix(text, limit);
    match open_fence(window) {
        // The block begins later: it moves into the next part as a whole.
        Some((start, _)) if !text[..start].trim().is_empty() => apart(text, start),
        Some((_, header)) => within_fence(text, header, limit),
        None => apart(text, best_place(text, window)),
    }
}

fn apart(text: &str, at: usize) -> (String, String) {
    (text[..at].trim_end().to_owned(), text[at..].trim_start_matches(char::is_whitespace).to_owned())
}

/// Closes the block behind its last whole line, and opens it again with the same first line.
fn within_fence(text: &str, header: &str, limit: usize) -> (String, String) {
    let room = limit.saturating_sub(units(FENCE) + 1).max(1);
    let window = prefix(text, room);
    let behind_header = text.find('\n').map_or(0, |end| end + 1);
    // A first line as long as this is no header: the text only looks like code.
    if behind_header == 0 || units(header) * 2 > limit {
        return apart(text, best_place(text, prefix(text, limit)));
    }
    let at = window.rfind('\n').filter(|at| *at >= behind_header).map_or(safe(text, window.len()), |at| at + 1);
    let part = format!("{}\n{FENCE}", text[..at].trim_end_matches('\n'));
    (part, format!("{header}\n{}", &text[at..]))
}

/// The longest prefix of at most `limit` units.
fn prefix(text: &str, limit: usize) -> &str {
    let mut left = limit;
    let fits = |c: char| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        fits
    };
    let bytes: usize = text
        .chars()
        .take_while({
            let mut fits = fits;
            move |c| fits(*c)
        })
        .map(char::len_utf8)
        .sum();
    &text[..bytes]
}

/// Where the block of code that is open at the end of `window` begins, and its first line.
fn open_fence(window: &str) -> Option<(usize, &str)> {
    let mut open = None;
    let mut at = 0;
    for line in window.split_inclusive('\n') {
        if line.trim_start().starts_with(FENCE) {
            open = if open.is_some() { None } else { Some((at, line.trim_end())) };
        }
        at += line.len();
    }
    open
}

fn best_place(text: &str, window: &str) -> usize {
    let least = window.len() / MIN_FILL_DIVISOR;
    let behind = |pattern: &str| window.rfind(pattern).map(|at| at + pattern.len()).filter(|at| *at > least);
    let sentence = || [". ", "! ", "? ", "… ", "。", "！", "？"].into_iter().filter_map(behind).max();
    let word = || window.rfind(char::is_whitespace).filter(|at| *at > least);
    behind("\n\n").or_else(|| behind("\n")).or_else(sentence).or_else(word).unwrap_or_else(|| safe(text, window.len()))
}

/// A place no later than `at` that tears no character from its accents, joiners and variation marks.
fn safe(text: &str, at: usize) -> usize {
    const FARTHEST_BACK: usize = 64;
    let joins = |c: char| matches!(c, '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{300}'..='\u{36f}' | '\u{1f3fb}'..='\u{1f3ff}');
    let mut place = at;
    while at - place < FARTHEST_BACK {
        let before = text[..place].chars().next_back();
        let after = text[place..].chars().next();
        match (before, after) {
            (Some(before), Some(after)) if joins(after) || before == '\u{200d}' => place -= before.len_utf8(),
            _ => break,
        }
    }
    if place == 0 || at - place >= FARTHEST_BACK { at } else { place }
}

#[cfg(test)]
mod tests {
    use super::{split, units};

    fn squeezed(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    #[test]
    fn a_short_text_is_one_part() {
        assert_eq!(split("hello", 10), ["hello"]);
        assert_eq!(split("", 10), [""]);
        assert_eq!(split("0123456789", 10), ["0123456789"]);
    }

    #[test]
    fn cuts_fall_at_the_best_place() {
        assert_eq!(split("one two\n\nthree four five", 16), ["one two", "three four five"]);
        assert_eq!(split("one two\nthree four five", 16), ["one two", "three four five"]);
        assert_eq!(split("One two. Three four five", 16), ["One two.", "Three four five"]);
        assert_eq!(split("one two three four", 10), ["one two", "three four"]);
        assert_eq!(split("abcdefghijklmno", 10), ["abcdefghij", "klmno"]);
    }

    #[test]
    fn no_pair_and_no_family_is_torn_apart() {
        assert_eq!(split("abcd👋efgh", 5), ["abcd", "👋efg", "h"]);
        let family = "👨\u{200d}👩\u{200d}👧";
        let parts = split(&format!("{}{family}", "x".repeat(7)), 10);
        assert_eq!(parts, ["x".repeat(7), family.to_owned()]);
        assert_eq!(split("aaaae\u{301}", 5), ["aaaa", "e\u{301}"]);
    }

    #[test]
    fn code_stays_whole_or_is_opened_again() {
        let text = "Look at this:\n```rust\nfn main() {}\nlet a = 1;\n```\nAnd more words follow here.";
        let parts = split(text, 45);
        assert_eq!(parts[0], "Look at this:");
        assert!(parts[1].starts_with("```rust\nfn main() {}\nlet a = 1;\n```"), "{parts:?}");
        let long = format!("```py\n{}```", "print('x')\n".repeat(20));
        let parts = split(&long, 60);
        assert!(parts.len() > 3);
        for part in &parts {
            assert!(part.starts_with("```py\n") && part.ends_with("```") && units(part) <= 60, "{part:?}");
        }
        assert_eq!(parts.concat().matches("print('x')").count(), 20);
    }

    #[test]
    fn whatever_comes_every_part_fits_and_nothing_is_lost() {
        let pieces = [
            "a",
            " ",
            "\n",
            "\n\n",
            "word",
            "👋",
            "é",
            "e\u{301}",
            ". ",
            "```",
            "```rust\n",
            "شكرا",
            "。",
            "\u{200d}",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ];
        let mut state = 7_u64;
        for round in 0..3000 {
            let mut text = String::new();
            for _ in 0..round % 60 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(pieces[usize::try_from(state >> 33).expect("31 bits") % pieces.len()]);
            }
            let parts = split(&text, 40);
            assert!(parts.iter().all(|part| units(part) <= 40), "{text:?} {parts:?}");
            if !text.contains("```") {
                assert_eq!(squeezed(&parts.concat()), squeezed(&text), "{text:?}");
            }
        }
    }
}
