//! JSON that is nearly right: what was right, changed by chance in a few places.

use serde_json::{Map, Value, json};

use crate::harness_luck::Luck;

/// Names that mean something somewhere.
const NAMES: [&str; 25] = [
    "type",
    "chatId",
    "content",
    "clientId",
    "client_id",
    "mode",
    "whenBusy",
    "since",
    "limit",
    "include",
    "turnId",
    "title",
    "model",
    "provider",
    "apiKey",
    "workingDirectory",
    "workingDir",
    "version",
    "session",
    "messages",
    "parts",
    "role",
    "input",
    "channels",
    "timestamp",
];

/// Bytes of the longest text that chance makes.
const LONG: usize = 20_000;

/// The text of a JSON object that is like this one, but for a few changes.
pub fn mutated(value: &Value, luck: &mut Luck) -> String {
    let mut value = value.clone();
    for _ in 0..=luck.below(3) {
        change(&mut value, luck);
    }
    let mut text = value.to_string();
    if luck.one_in(3) {
        for _ in 0..=luck.below(4) {
            text = cut_and_pasted(&text, luck);
        }
    }
    text
}

/// Changes one place somewhere inside.
fn change(value: &mut Value, luck: &mut Luck) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !luck.one_in(8) => {
            let name = fields.keys().nth(luck.below(fields.len())).cloned().unwrap_or_default();
            match luck.below(6) {
                0 => {
                    fields.remove(&name);
                }
                1 => {
                    fields.insert(luck.of(&NAMES).to_owned(), odd_value(luck));
                }
                2 => {
                    let value = fields.remove(&name).unwrap_or_default();
                    fields.insert(luck.of(&NAMES).to_owned(), value);
                }
                _ => change(&mut fields[&name], luck),
            }
        }
        Value::Array(items) if !items.is_empty() && !luck.one_in(8) => {
            let at = luck.below(items.len());
            match luck.below(4) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => change(&mut items[at], luck),
            }
        }
        Value::String(text) if luck.one_in(2) => *text = cut_and_pasted(text, luck),
        other => *other = odd_value(luck),
    }
}

fn odd_value(luck: &mut Luck) -> Value {
    match luck.below(20) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1e308),
        7 => json!(0.5),
        8 => json!(""),
        9 => json!(" \n\t"),
        10 => json!("a\u{0}b"),
        11 => json!("\u{feff}\u{202e}\u{1F986}\u{301}"),
        12 => json!("x".repeat(LONG)),
        13 => json!([]),
        14 => json!({}),
        15 => json!([null, 1, "a", {"a": []}]),
        16 => (0..luck.below(150)).fold(json!(1), |inner, _| json!([inner])),
        17 => Value::Object((0..luck.below(300)).map(|number| (number.to_string(), json!(number))).collect::<Map<_, _>>()),
        18 => json!("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"),
        _ => json!(luck.of(&[
            "build",
            "ask",
            "interrupt",
            "steer",
            "reject",
            "0",
            "1.1.0",
            "..",
            "/etc/passwd",
            "assistant",
            "tool_use"
        ])),
    }
}

/// The text with a piece of it missing, doubled, or exchanged for something else. It stays UTF-8.
fn cut_and_pasted(text: &str, luck: &mut Luck) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = luck.below(bytes.len() + 1);
    let end = at + luck.below((bytes.len() - at).min(20) + 1);
    match luck.below(5) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        2 => {
            let odd = [
                "{", "}", "[", "]", "\"", ",", ":", "\\", "\\u0000", "\\ud800", "null", "1e999", "\u{0}", "\r\n", "\u{ffff}",
                "é", "//",
            ];
            bytes.splice(at..end, luck.of(&odd).bytes());
        }
        3 => bytes.truncate(at),
        _ => {
            let byte = luck.byte();
            bytes.splice(at..end, [byte]);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
