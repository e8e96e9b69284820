//! JSON from clients: read once, strictly, with an error that names the field.
//!
//! Bodies of requests and frames of sockets are both objects with a few known fields, so both are read here:
//! [`parse_object`] gives an [`Object`], and its accessors give either the value or a [`FieldError`] that each face spells
//! in its own form.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub use super::body::{JsonBody, MAX_BODY_BYTES, read, read_optional, read_raw};

/// Levels of nesting inside the object. Deeper than anything sensible, and shallow enough for every recursion behind it.
pub const MAX_DEPTH: usize = 100;

/// Reads a frame or body that must be one JSON object.
///
/// # Errors
/// [`BadJson`].
pub fn parse_object(text: &str) -> Result<Object, BadJson> {
    parse_object_bytes(text.as_bytes())
}

/// It is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJson {
    #[error("not JSON")]
    Syntax,
    /// Valid JSON, but a list, a number…
    #[error("not an object")]
    NotAnObject,
}

/// A JSON object whose fields are read one by one.
#[derive(Debug, Clone, Default)]
pub struct Object {
    fields: Map<String, Value>,
    /// Names that came twice. For an unknown name that does not matter.
    repeated: HashSet<String>,
    repeated_inside: bool,
}

/// A field that is missing or wrong. Each face spells it in its own form.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    pub field: String,
    pub place: FieldPlace,
    pub expected: Expected,
    pub fault: Fault,
    /// What came instead; for a missing field the whole object.
    pub value: Box<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPlace {
    Body,
    Query,
    Header,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    String,
    /// A string with so many Unicode scalar values.
    Characters {
        min: usize,
        max: usize,
    },
    OneOf(&'static [&'static str]),
    Integer,
    IntegerBetween {
        min: i64,
        max: i64,
    },
    Boolean,
    Object,
    List,
    StringList,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Missing,
    Wrong,
    /// U+0000 in the text.
    Nul,
    /// The name came twice, so two readers could differ about its value: the JSON counts as one that does not parse.
    Repeated,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("a string"),
            Self::Characters { min: 0, max } => write!(f, "at most {max} characters"),
            Self::Characters { min, max } => write!(f, "{min} to {max} characters"),
            Self::OneOf(allowed) => write!(f, "one of {}", allowed.join(", ")),
            Self::Integer => f.write_str("an integer"),
            Self::IntegerBetween { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Boolean => f.write_str("a boolean"),
            Self::Object => f.write_str("an object"),
            Self::List => f.write_str("a list"),
            Self::StringList => f.write_str("a list of strings"),
        }
    }
}

/// `content: expected a string`.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.field, self.expected)
    }
}

impl FieldError {
    /// The same error, seen from the object in which the list or object `outer` stands.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

/// Accessors. `null` is absent where absent is allowed; fields that nobody asks for are ignored.
impl Object {
    /// The names of all fields, also of unknown ones.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Whether the field is there and not `null`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.present(name).is_some()
    }

    /// The field as it came, `null` and repeated ones included.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Whether the name came twice.
    #[must_use]
    pub fn repeats(&self, name: &str) -> bool {
        self.repeated.contains(name)
    }

    /// Whether any name came twice in an object inside this one.
    #[must_use]
    pub const fn repeats_inside(&self) -> bool {
        self.repeated_inside
    }

    /// # Errors
    /// Missing, not a string, or with NUL.
    pub fn string(&self, name: &str) -> Result<&str, FieldError> {
        self.required(name, Expected::String, self.opt_string(name)?)
    }

    /// # Errors
    /// Not a string, or with NUL.
    pub fn opt_string(&self, name: &str) -> Result<Option<&str>, FieldError> {
        let Some(value) = self.once(name, Expected::String)? else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong(name, Expected::String, value))?;
        if text.contains('\0') {
            return Err(FieldError { fault: Fault::Nul, ..wrong(name, Expected::String, value) });
        }
        Ok(Some(text))
    }

    /// A string of `min` to `max` Unicode scalar values.
    ///
    /// # Errors
    /// Not a string, with NUL, too short or too long.
    pub fn opt_text(&self, name: &str, min: usize, max: usize) -> Result<Option<&str>, FieldError> {
        let Some(text) = self.opt_string(name)? else { return Ok(None) };
        // Never more characters than bytes, so the common case needs no counting.
        let fits = text.len() >= min && (text.len() <= max || text.chars().nth(max).is_none());
        if fits && text.chars().take(min).count() == min {
            return Ok(Some(text));
        }
        Err(wrong(name, Expected::Characters { min, max }, &Value::from(text)))
    }

    /// # Errors
    /// Not a string, or none of `allowed`.
    pub fn opt_one_of(&self, name: &str, allowed: &'static [&'static str]) -> Result<Option<&'static str>, FieldError> {
        let expected = Expected::OneOf(allowed);
        let Some(value) = self.once(name, expected)? else { return Ok(None) };
        let known = allowed.iter().copied().find(|known| value.as_str() == Some(*known));
        known.map(Some).ok_or_else(|| wrong(name, expected, value))
    }

    /// # Errors
    /// Missing or not an integer.
    pub fn integer(&self, name: &str) -> Result<i64, FieldError> {
        self.required(name, Expected::Integer, self.opt_integer(name)?)
    }

    /// # Errors
    /// Not an integer.
    pub fn opt_integer(&self, name: &str) -> Result<Option<i64>, FieldError> {
        let Some(value) = self.once(name, Expected::Integer)? else { return Ok(None) };
        value.as_i64().map(Some).ok_or_else(|| wrong(name, Expected::Integer, value))
    }

    /// # Errors
    /// Missing or not a boolean.
    pub fn bool(&self, name: &str) -> Result<bool, FieldError> {
        self.required(name, Expected::Boolean, self.opt_bool(name)?)
    }

    /// # Errors
    /// Not a boolean.
    pub fn opt_bool(&self, name: &str) -> Result<Option<bool>, FieldError> {
        let Some(value) = self.once(name, Expected::Boolean)? else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| wrong(name, Expected::Boolean, value))
    }

    /// # Errors
    /// Not a list of strings, or one of them has NUL.
    pub fn opt_string_list(&self, name: &str) -> Result<Option<Vec<&str>>, FieldError> {
        let Some(value) = self.once(name, Expected::StringList)? else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let texts = texts.ok_or_else(|| wrong(name, Expected::StringList, value))?;
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(FieldError { fault: Fault::Nul, ..wrong(name, Expected::StringList, value) });
        }
        Ok(Some(texts))
    }

    /// # Errors
    /// Missing or not a list.
    pub fn list(&self, name: &str) -> Result<&[Value], FieldError> {
        let value = self.required(name, Expected::List, self.once(name, Expected::List)?)?;
        value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(name, Expected::List, value))
    }

    /// The object in a field.
    ///
    /// # Errors
    /// Missing or not an object.
    pub fn object(&self, name: &str) -> Result<Self, FieldError> {
        let value = self.required(name, Expected::Object, self.once(name, Expected::Object)?)?;
        Self::of_value(value).ok_or_else(|| wrong(name, Expected::Object, value))
    }

    /// An object from inside a list. Whether its names repeat is known of the whole only: [`Self::repeats_inside`].
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        let fields = value.as_object()?.clone();
        Some(Self { fields, repeated: HashSet::new(), repeated_inside: false })
    }

    /// All fields, as they came.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.fields
    }

    /// The error of a field whose value is known to be wrong for a reason of the caller's.
    #[must_use]
    pub fn wrong(&self, name: &str, expected: Expected) -> FieldError {
        wrong(name, expected, self.value(name).unwrap_or(&Value::Null))
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn once(&self, name: &str, expected: Expected) -> Result<Option<&Value>, FieldError> {
        if self.repeats(name) {
            return Err(FieldError { fault: Fault::Repeated, ..wrong(name, expected, &Value::Null) });
        }
        Ok(self.present(name))
    }

    fn required<T>(&self, name: &str, expected: Expected, value: Option<T>) -> Result<T, FieldError> {
        value.ok_or_else(|| match self.fields.get(name) {
            Some(null) => wrong(name, expected, null),
            None => {
                let whole = Value::Object(self.fields.clone());
                FieldError { fault: Fault::Missing, ..wrong(name, expected, &whole) }
            }
        })
    }
}

fn wrong(name: &str, expected: Expected, value: &Value) -> FieldError {
    FieldError { field: name.to_owned(), place: FieldPlace::Body, expected, fault: Fault::Wrong, value: Box::new(value.clone()) }
}

/// As [`parse_object`].
///
/// # Errors
/// [`BadJson`].
pub fn parse_object_bytes(bytes: &[u8]) -> Result<Object, BadJson> {
    let repeats = RefCell::new(Repeats::default());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Level { depth: 0, repeats: &repeats }.deserialize(&mut reader).map_err(|_| BadJson::Syntax)?;
    reader.end().map_err(|_| BadJson::Syntax)?;
    let Value::Object(fields) = value else { return Err(BadJson::NotAnObject) };
    let repeats = repeats.into_inner();
    Ok(Object { fields, repeated: repeats.names, repeated_inside: repeats.inside })
}

#[derive(Default)]
struct Repeats {
    /// Of the outermost object.
    names: HashSet<String>,
    inside: bool,
}

/// Builds a value, counting its depth and noticing names that come twice; of those the first value stays.
struct Level<'a> {
    depth: usize,
    repeats: &'a RefCell<Repeats>,
}

impl Level<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self { depth: self.depth + 1, repeats: self.repeats })
    }

    fn note_repeat(&self, name: String) {
        let mut repeats = self.repeats.borrow_mut();
        if self.depth == 0 {
            repeats.names.insert(name);
        } else {
            repeats.inside = true;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper::<A::Error>()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.deeper::<A::Error>()?)?;
            if map.contains_key(&name) {
                self.note_repeat(name);
            } else {
                map.insert(name, value);
            }
        }
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom("nested too deeply"));
        }
        Ok(Value::Object(map))
    }
}
