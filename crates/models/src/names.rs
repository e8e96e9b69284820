//! The APIs take ids and tool names of letters, digits, `_` and `-` only. A conversation may hold others, from a model
//! of another provider: those are spelled so that the same one is always spelled the same.

use std::borrow::Cow;
use std::fmt::Write;

/// Different ids stay different, and a call and its result stay together.
pub(crate) fn tool_use_id(id: &str) -> Cow<'_, str> {
    if is_plain(id) {
        return Cow::Borrowed(id);
    }
    let spelled = id.bytes().fold(String::from("call_"), |mut spelled, byte| {
        // Writing to a string cannot fail.
        let _ = write!(spelled, "{byte:02x}");
        spelled
    });
    Cow::Owned(spelled)
}

/// The name in at most `max_chars` characters.
pub(crate) fn tool_name(name: &str, max_chars: usize) -> Cow<'_, str> {
    if is_plain(name) && name.len() <= max_chars {
        return Cow::Borrowed(name);
    }
    let spelled: String = name.chars().take(max_chars).map(|char| if is_plain_char(char) { char } else { '_' }).collect();
    Cow::Owned(if spelled.is_empty() { "unnamed".to_owned() } else { spelled })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_plain_char)
}

fn is_plain_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::{tool_name, tool_use_id};

    #[test]
    fn what_the_api_takes_stays_as_it_is() {
        assert_eq!(tool_use_id("toolu_01-A"), "toolu_01-A");
        assert_eq!(tool_name("read_file", 128), "read_file");
    }

    #[test]
    fn what_it_refuses_is_spelled_in_its_letters() {
        assert_eq!(tool_use_id("a.b"), "call_612e62");
        assert_eq!(tool_use_id(""), "call_");
        assert_ne!(tool_use_id("a.b"), tool_use_id("a:b"));
        assert_eq!(tool_name("functions.read", 128), "functions_read");
        assert_eq!(tool_name("", 128), "unnamed");
        assert_eq!(tool_name(&"x".repeat(200), 64).len(), 64);
    }
}
