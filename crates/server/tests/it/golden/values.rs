//! Placeholders: what a value may be, and what it was the first time.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Stands for any characters inside a longer string.
const ANY_TEXT: &str = "<text>";
/// Stands for a number inside a longer string.
const ANY_DIGITS: &str = "<int>";
const ABSENT: &str = "<absent>";
/// The contract's limit of a cursor.
const MAX_CURSOR_CHARACTERS: usize = 64;

/// Values of `<kind:name>`, by the whole placeholder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bindings(BTreeMap<String, Value>);

/// The first place at which two values differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// `$.parts[0].type`
    place: String,
    expected: String,
    got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: expected {}, got {}", self.place, self.expected, self.got)
    }
}

impl Bindings {
    pub fn bind(&mut self, placeholder: &str, value: impl Into<Value>) {
        self.0.insert(placeholder.to_owned(), value.into());
    }

    /// The text with every bound placeholder in it filled in. The error is a placeholder that nobody has bound.
    pub fn fill_text(&self, text: &str) -> Result<String, String> {
        let filled = self.fill_known(text);
        match placeholder_in(&filled) {
            Some(unknown) => Err(format!("{unknown} is not bound to anything yet")),
            None => Ok(filled),
        }
    }

    /// A value that will be sent, with every placeholder in it filled in.
    pub fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match self.0.get(text) {
                Some(bound) => bound.clone(),
                None => Value::String(self.fill_text(text)?),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.fill(item)).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let fill = |(name, value): (&String, &Value)| Ok::<_, String>((name.clone(), self.fill(value)?));
                Value::Object(fields.iter().map(fill).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    /// Compares, and binds what is seen for the first time. After an error nothing is bound.
    pub fn compare(&mut self, expected: &Value, got: &Value) -> Result<(), Mismatch> {
        let mut bound = self.clone();
        bound.value("$", expected, got)?;
        *self = bound;
        Ok(())
    }

    /// What a text is expected to be, if that can be told before it is there.
    pub fn literal(&self, expected: &str) -> Option<String> {
        let filled = self.fill_known(expected);
        (Kind::parse(&filled).is_none() && ![ANY_TEXT, ANY_DIGITS].iter().any(|mark| filled.contains(mark))).then_some(filled)
    }

    fn fill_known(&self, text: &str) -> String {
        let bound = self.0.iter().filter_map(|(placeholder, value)| Some((placeholder, spelled(value)?)));
        bound.fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, &value))
    }

    fn value(&mut self, place: &str, expected: &Value, got: &Value) -> Result<(), Mismatch> {
        match (expected, got) {
            (Value::String(text), _) => self.text(place, text, got),
            (Value::Object(expected), Value::Object(got)) => expected.iter().try_for_each(|(name, expected)| {
                let place = format!("{place}.{name}");
                match got.get(name) {
                    Some(got) if expected != ABSENT => self.value(&place, expected, got),
                    None if expected == ABSENT => Ok(()),
                    Some(got) => Err(differ(&place, "no such field", got)),
                    None => Err(differ(&place, expected, "no such field")),
                }
            }),
            (Value::Array(expected), Value::Array(got)) => {
                if expected.len() != got.len() {
                    let (expected, got) = (format!("{} elements", expected.len()), format!("{}: {got:?}", got.len()));
                    return Err(differ(place, expected, got));
                }
                let mut pairs = expected.iter().zip(got).enumerate();
                pairs.try_for_each(|(index, (expected, got))| self.value(&format!("{place}[{index}]"), expected, got))
            }
            _ if expected == got => Ok(()),
            _ => Err(differ(place, expected, got)),
        }
    }

    fn text(&mut self, place: &str, expected: &str, got: &Value) -> Result<(), Mismatch> {
        if let Some(bound) = self.0.get(expected) {
            return if bound == got { Ok(()) } else { Err(differ(place, format!("{expected} = {bound}"), got)) };
        }
        if let Some((kind, named)) = Kind::parse(expected) {
            if !kind.fits(got) || !has_prefix(expected, got) {
                return Err(differ(place, expected, got));
            }
            if named {
                self.0.insert(expected.to_owned(), got.clone());
            }
            return Ok(());
        }
        let filled = self.fill_known(expected);
        if got.as_str().is_some_and(|got| fits_pattern(&filled, got)) { Ok(()) } else { Err(differ(place, filled, got)) }
    }
}

/// A bound value inside a longer text.
fn spelled(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Hex32,
    TimeWithOffset,
    TimeWithZ,
    TimeWithSixDigits,
    Text,
    Number,
    Integer,
    Cursor,
    Any,
    NaiveTime,
    Int,
    /// An id of the hub, whose name is its prefix.
    Id,
    Token,
    Secret,
}

impl Kind {
    const ALL: [(&str, Self); 15] = [
        ("iso8601", Self::NaiveTime),
        ("int", Self::Int),
        ("id", Self::Id),
        ("tkn", Self::Token),
        ("secret", Self::Secret),
        ("uuid", Self::Uuid),
        ("hex32", Self::Hex32),
        ("iso8601+00:00", Self::TimeWithOffset),
        ("iso8601Z", Self::TimeWithZ),
        ("iso8601-6Z", Self::TimeWithSixDigits),
        ("text", Self::Text),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("cursor", Self::Cursor),
        ("any", Self::Any),
    ];

    /// Reads `<kind>` and `<kind:name>`; the `bool` says that it has a name.
    fn parse(text: &str) -> Option<(Self, bool)> {
        let inside = text.strip_prefix('<')?.strip_suffix('>')?;
        Self::ALL.iter().find_map(|(name, kind)| match inside.strip_prefix(name)? {
            "" => Some((*kind, false)),
            rest => rest.strip_prefix(':').is_some_and(is_name).then_some((*kind, true)),
        })
    }

    fn fits(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Any => true,
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Text => text.is_some(),
            Self::Cursor => text.is_some_and(|text| (1..=MAX_CURSOR_CHARACTERS).contains(&text.chars().count())),
            Self::Uuid => text.is_some_and(|text| has_shape(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")),
            Self::Hex32 => text.is_some_and(|text| has_shape(text, &"x".repeat(32))),
            Self::TimeWithOffset => {
                text.is_some_and(|text| has_shape(text, "dddd-dd-ddTdd:dd:dd.dddddd+dd:dd") && text.ends_with("+00:00"))
            }
            Self::TimeWithZ => text.is_some_and(|text| has_shape(text, "dddd-dd-ddTdd:dd:dd.dddZ")),
            // Each API has its own form of a time: the hub's, and that of the rules.
            Self::NaiveTime => text
                .is_some_and(|text| has_shape(text, "dddd-dd-ddTdd:dd:dd.dddddd") || has_shape(text, "dddd-dd-ddTdd:dd:dd.dddZ")),
            Self::TimeWithSixDigits => text.is_some_and(|text| has_shape(text, "dddd-dd-ddTdd:dd:dd.ddddddZ")),
            Self::Int => value.is_i64() || text.is_some_and(|text| text.parse::<i64>().is_ok()),
            Self::Id => text.and_then(|text| text.split_once('_')).is_some_and(|(_, code)| is_code(code, 10)),
            Self::Token => text.and_then(|text| text.strip_prefix("tkn_")).is_some_and(|code| is_code(code, 32)),
            Self::Secret => text.is_some_and(|text| text.starts_with("whsec_")),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || ['_', '-', '#'].contains(&char))
}

/// Characters of the hub's ids and tokens.
fn is_code(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| b"23456789abcdefghjkmnpqrstuvwxyz".contains(&byte))
}

/// The name of `<id:chat#2>` says what the id begins with.
fn has_prefix(expected: &str, got: &Value) -> bool {
    let Some(name) = expected.strip_prefix("<id:").and_then(|name| name.strip_suffix('>')) else { return true };
    let prefix = name.split('#').next().unwrap_or_default();
    got.as_str().and_then(|text| text.split_once('_')).is_some_and(|(found, _)| found == prefix)
}

/// `x` stands for a lower-case hex digit and `d` for a digit; everything else for itself.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(char, shape): (char, char)| match shape {
        'x' => matches!(char, '0'..='9' | 'a'..='f'),
        'd' => char.is_ascii_digit(),
        _ => char == shape,
    };
    text.chars().count() == shape.chars().count() && text.chars().zip(shape.chars()).all(fits)
}

/// Whether `text` is `pattern`, in which `<text>` stands for any characters.
fn fits_pattern(pattern: &str, text: &str) -> bool {
    let next = [ANY_TEXT, ANY_DIGITS].into_iter().filter_map(|placeholder| Some((pattern.find(placeholder)?, placeholder))).min();
    let Some((at, placeholder)) = next else { return pattern == text };
    let Some(rest) = text.strip_prefix(&pattern[..at]) else { return false };
    let after = &pattern[at + placeholder.len()..];
    let stands_for = |end: usize| placeholder == ANY_TEXT || end > 0 && rest[..end].bytes().all(|byte| byte.is_ascii_digit());
    let mut ends = rest.char_indices().map(|(end, _)| end).chain([rest.len()]);
    ends.any(|end| stands_for(end) && fits_pattern(after, &rest[end..]))
}

/// The first `<kind:name>`, `<owner-token>` or `<workdir>` in a text.
fn placeholder_in(text: &str) -> Option<&str> {
    let starts = text.match_indices('<').map(|(at, _)| &text[at..]);
    let placeholders = starts.filter_map(|rest| rest.find('>').map(|end| &rest[..=end]));
    placeholders.into_iter().find(|candidate| {
        Kind::parse(candidate).is_some() || ["<owner-token>", "<workdir>", "<agent_url>", "<platform_url>"].contains(candidate)
    })
}

fn differ(place: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Mismatch {
    Mismatch { place: place.to_owned(), expected: expected.to_string(), got: got.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Bindings;

    fn fits(expected: Value, got: Value) -> bool {
        Bindings::default().compare(&expected, &got).is_ok()
    }

    #[test]
    fn a_kind_stands_for_its_values_only() {
        let values = [
            ("<uuid>", json!("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")),
            ("<hex32>", json!("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b")),
            ("<iso8601+00:00>", json!("2026-11-20T09:33:45.029000+00:00")),
            ("<iso8601Z>", json!("2026-11-20T09:39:24.822Z")),
            ("<number>", json!(0.5)),
            ("<integer>", json!(7)),
        ];
        for (index, (kind, _)) in values.iter().enumerate() {
            for (other, (_, value)) in values.iter().enumerate() {
                let integer_as_number = *kind == "<number>" && value.is_i64();
                assert_eq!(fits(json!(kind), value.clone()), index == other || integer_as_number, "{kind} {value}");
            }
        }
        for wrong in
            ["0190A1B2-C3D4-7E5F-8A9B-0C1D2E3F4A5B", "2026-11-20T09:33:45.029+00:00", "2026-11-20T09:33:45.029000+01:00", ""]
        {
            for kind in ["<uuid>", "<hex32>", "<iso8601+00:00>", "<iso8601Z>", "<cursor>"] {
                let is_cursor = kind == "<cursor>" && !wrong.is_empty();
                assert_eq!(fits(json!(kind), json!(wrong)), is_cursor, "{kind} {wrong}");
            }
        }
        assert!(fits(json!("<any>"), Value::Null) && fits(json!("<text>"), json!("")) && !fits(json!("<text>"), json!(1)));
        assert!(!fits(json!("<cursor>"), json!("9".repeat(65))) && !fits(json!("<integer>"), json!(1.5)));
    }

    #[test]
    fn a_name_is_bound_once() {
        let mut bindings = Bindings::default();
        let id = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b";
        bindings.compare(&json!({"id": "<hex32:chat>"}), &json!({"id": id, "more": 1})).unwrap();
        assert!(bindings.compare(&json!("<hex32:chat>"), &json!(id)).is_ok());
        assert!(bindings.compare(&json!("<hex32:chat>"), &json!(id.replace('0', "1"))).is_err());
        assert!(bindings.compare(&json!("/api/<hex32:chat>/<text>x"), &json!(format!("/api/{id}/abcx"))).is_ok());
        assert_eq!(bindings.fill(&json!([{"a": "<hex32:chat>?"}])).unwrap(), json!([{"a": format!("{id}?")}]));
        assert!(bindings.fill(&json!("<hex32:other>")).is_err());
        assert!(bindings.fill(&json!("a <b> & <script>")).is_ok());
    }

    #[test]
    fn what_does_not_fit_binds_nothing() {
        let mut bindings = Bindings::default();
        assert!(bindings.compare(&json!({"a": "<text:x>", "b": 1}), &json!({"a": "seen", "b": 2})).is_err());
        assert_eq!(bindings, Bindings::default());
    }

    #[test]
    fn objects_may_have_more_and_arrays_may_not() {
        assert!(fits(json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "d": 3})));
        assert!(!fits(json!({"a": 1}), json!({})) && !fits(json!({"a": "<any>"}), json!({})));
        assert!(!fits(json!([1]), json!([1, 2])) && !fits(json!([1, 2]), json!([1])) && !fits(json!([1, 2]), json!([2, 1])));
        assert!(!fits(json!({"a": 1}), json!([])) && !fits(json!(null), json!(0)) && !fits(json!("1"), json!(1)));
    }

    #[test]
    fn an_absent_field_must_not_be_there() {
        assert!(fits(json!({"a": "<absent>"}), json!({"b": 1})));
        assert!(!fits(json!({"a": "<absent>"}), json!({"a": 1})) && !fits(json!({"a": "<absent>"}), json!({"a": null})));
    }

    #[test]
    fn any_text_stands_inside_longer_strings() {
        for (pattern, text, expected) in [
            ("a<text>b", "ab", true),
            ("a<text>b", "axxb", true),
            ("a<text>b", "axxbc", false),
            ("<text>x<text>x", "axbx", true),
            ("<text>x<text>x", "ax", false),
            ("aba<text>ba", "aba", false),
            ("a_<int>", "a_12", true),
            ("a_<int>", "a_", false),
            ("a_<int>", "a_1x", false),
            ("<text>_<int>", "x_y_3", true),
            ("plain", "plain ", false),
        ] {
            assert_eq!(fits(json!(pattern), json!(text)), expected, "{pattern} {text}");
        }
    }
}
