//! Bodies and queries of the hub, read as its contract wants it: all errors at once, in the order of the fields, and with
//! some mercy for what clients write (`"2"` is a number, `"no"` a boolean).

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use axum::extract::Request;
use axum::http::Uri;
use serde_json::{Map, Value, json};

use super::error::{HubError, NUL, value_error};
use super::json_fault;
use crate::kit::json::{self, BadJson};
use crate::kit::query::Query;

/// The fields of one body, and what was found wrong with them so far.
#[derive(Debug)]
pub struct Fields {
    place: &'static str,
    fields: Map<String, Value>,
    errors: Vec<Value>,
}

/// What the field was found to be.
type Found<T> = Option<T>;

impl Fields {
    /// Reads a body that must be there.
    ///
    /// # Errors
    /// It is too large, no JSON, or no object.
    pub async fn body(request: Request) -> Result<(Self, bytes::Bytes), HubError> {
        let bytes = json::read_raw(request).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(HubError::Fields(vec![missing(json!(["body"]), &Value::Null)]));
        }
        Ok((Self::parsed(&bytes)?, bytes))
    }

    /// Reads a body that may be missing, which is like an empty object.
    ///
    /// # Errors
    /// As [`Self::body`].
    pub async fn optional_body(request: Request) -> Result<(Self, bytes::Bytes), HubError> {
        let bytes = json::read_raw(request).await?;
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok((Self { place: "body", fields: Map::new(), errors: Vec::new() }, bytes));
        }
        Ok((Self::parsed(&bytes)?, bytes))
    }

    fn parsed(bytes: &[u8]) -> Result<Self, HubError> {
        match json::parse_object_bytes(bytes) {
            Ok(object) => Ok(Self { place: "body", fields: object.into_map(), errors: Vec::new() }),
            Err(BadJson::Syntax) => Err(HubError::Fields(vec![json_invalid(bytes)])),
            Err(BadJson::NotAnObject) => {
                let input: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
                Err(HubError::Fields(vec![json!({
                    "type": "model_attributes_type", "loc": ["body"],
                    "msg": "Input should be a valid dictionary or object to extract fields from", "input": input,
                })]))
            }
        }
    }

    /// The parameters of a query. Those that are empty count as absent.
    #[must_use]
    pub fn query(uri: &Uri, names: &[&str]) -> Self {
        let query = Query::of(uri);
        let given = names.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(query.raw(name)?))));
        Self { place: "query", fields: given.collect(), errors: Vec::new() }
    }

    /// Reports everything that was wrong.
    ///
    /// # Errors
    /// Something was.
    pub fn end(self) -> Result<(), HubError> {
        if self.errors.is_empty() { Ok(()) } else { Err(HubError::Fields(self.errors)) }
    }

    /// Whether the field is there, even as `null`.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The field as it came, `None` if it is absent or `null`.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text that must be there; an empty one is returned for what is wrong, which [`Self::end`] will report.
    pub fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> String {
        match self.fields.get(name) {
            None => self.missing(name),
            Some(Value::Null) => self.wrong(name, "string_type", "Input should be a valid string", None),
            Some(_) => return self.opt_text(name, length).unwrap_or_default(),
        }
        String::new()
    }

    pub fn opt_text(&mut self, name: &str, length: RangeInclusive<usize>) -> Found<String> {
        let value = self.raw(name)?;
        let Some(text) = value.as_str().map(str::to_owned) else {
            self.wrong(name, "string_type", "Input should be a valid string", None);
            return None;
        };
        let (min, max) = (*length.start(), *length.end());
        let characters = text.chars().count();
        if text.contains('\0') {
            self.refuse(name, NUL);
        } else if characters < min {
            let plural = if min == 1 { "" } else { "s" };
            let message = format!("String should have at least {min} character{plural}");
            self.wrong(name, "string_too_short", &message, Some(json!({"min_length": min})));
        } else if characters > max {
            let message = format!("String should have at most {max} characters");
            self.wrong(name, "string_too_long", &message, Some(json!({"max_length": max})));
        } else {
            return Some(text);
        }
        None
    }

    /// A whole number, also in words, within `range`.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Found<i64> {
        let number = match self.raw(name)? {
            Value::Number(number) => match number.as_i64() {
                Some(number) => Ok(number),
                None => match number.as_f64() {
                    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and lies within the range of i64")]
                    Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Ok(float as i64),
                    _ => Err(("int_from_float", "Input should be a valid integer, got a number with a fractional part")),
                },
            },
            Value::Bool(truth) => Ok(i64::from(*truth)),
            Value::String(text) => text
                .trim()
                .parse()
                .map_err(|_| ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(("int_type", "Input should be a valid integer")),
        };
        let number = match number {
            Ok(number) => number,
            Err((kind, message)) => {
                self.wrong(name, kind, message, None);
                return None;
            }
        };
        let (min, max) = (*range.start(), *range.end());
        if number < min {
            let message = format!("Input should be greater than or equal to {min}");
            self.wrong(name, "greater_than_equal", &message, Some(json!({"ge": min})));
        } else if number > max {
            self.wrong(
                name,
                "less_than_equal",
                &format!("Input should be less than or equal to {max}"),
                Some(json!({"le": max})),
            );
        } else {
            return Some(number);
        }
        None
    }

    /// A boolean, also in words or as 0 and 1.
    pub fn boolean(&mut self, name: &str) -> Found<bool> {
        let truth = match self.raw(name)? {
            Value::Bool(truth) => Some(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
                "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.wrong(name, "bool_type", "Input should be a valid boolean", None);
                return None;
            }
        };
        if truth.is_none() {
            self.wrong(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input", None);
        }
        truth
    }

    /// One of some words.
    pub fn one_of<T>(&mut self, name: &str, words: &[&str], parse: impl FnOnce(&str) -> Option<T>) -> Found<T> {
        let value = self.raw(name)?;
        let parsed = value.as_str().and_then(parse);
        if parsed.is_none() {
            let expected = quoted(words);
            self.wrong(name, "enum", &format!("Input should be {expected}"), Some(json!({"expected": expected})));
        }
        parsed
    }

    /// As [`Self::one_of`], for a field that must be there.
    pub fn must_be_one_of<T>(&mut self, name: &str, words: &[&str], parse: impl FnOnce(&str) -> Option<T>) -> Found<T> {
        match self.fields.get(name) {
            None => self.missing(name),
            Some(Value::Null) => {
                let expected = quoted(words);
                self.wrong(name, "enum", &format!("Input should be {expected}"), Some(json!({"expected": expected})));
            }
            Some(_) => return self.one_of(name, words, parse),
        }
        None
    }

    pub fn dictionary(&mut self, name: &str) -> Found<Map<String, Value>> {
        match self.raw(name)? {
            Value::Object(fields) => {
                let fields = fields.clone();
                if holds_nul(&Value::Object(fields.clone())) {
                    self.refuse(name, NUL);
                    return None;
                }
                Some(fields)
            }
            _ => {
                self.wrong(name, "dict_type", "Input should be a valid dictionary", None);
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str) -> Found<Vec<String>> {
        let Value::Array(items) = self.raw(name)? else {
            self.wrong(name, "list_type", "Input should be a valid list", None);
            return None;
        };
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        if texts.as_ref().is_none_or(|texts| texts.iter().any(|text| text.contains('\0'))) {
            self.wrong(name, "string_type", "Input should be a valid string", None);
            return None;
        }
        texts
    }

    /// The field must be there, and is not.
    pub fn missing(&mut self, name: &str) {
        let input = masked_object(&self.fields);
        self.errors.push(missing(json!([self.place, name]), &input));
    }

    /// The value is of the right form, but cannot be taken.
    pub fn refuse(&mut self, name: &str, reason: &str) {
        let input = masked(name, self.fields.get(name).unwrap_or(&Value::Null));
        self.errors.push(value_error(self.place, name, &input, reason));
    }

    fn wrong(&mut self, name: &str, kind: &str, message: &str, context: Option<Value>) {
        let input = masked(name, self.fields.get(name).unwrap_or(&Value::Null));
        let mut entry = json!({"type": kind, "loc": [self.place, name], "msg": message, "input": input});
        if let (Some(context), Some(entry)) = (context, entry.as_object_mut()) {
            entry.insert("ctx".to_owned(), context);
        }
        self.errors.push(entry);
    }
}

fn missing(loc: Value, input: &Value) -> Value {
    json!({"type": "missing", "loc": loc, "msg": "Field required", "input": input})
}

/// Where it stops being JSON, and why. What only our own reader does not take has no place.
fn json_invalid(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let (position, reason) = json_fault::find(&text).unwrap_or((0, "Not valid JSON"));
    json!({
        "type": "json_invalid", "loc": ["body", position], "msg": "JSON decode error", "input": {}, "ctx": {"error": reason},
    })
}

/// What repeats a value must not repeat a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "password" || name.ends_with("token") || name.contains("secret") || name.starts_with("credentials")
}

fn masked(name: &str, value: &Value) -> Value {
    match value {
        _ if is_secret(name) => Value::from("***"),
        Value::Object(fields) => masked_object(fields),
        value => value.clone(),
    }
}

fn masked_object(fields: &Map<String, Value>) -> Value {
    Value::Object(fields.iter().map(|(name, value)| (name.clone(), masked(name, value))).collect())
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `'a', 'b' or 'c'`.
fn quoted(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let glue = match index {
            0 => "",
            last if last + 1 == words.len() => " or ",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{glue}'{word}'");
    }
    text
}
