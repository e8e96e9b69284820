//! The query part of an address, read as strictly as a body.

use std::ops::RangeInclusive;

use axum::http::Uri;
use serde_json::Value;

use super::json::{Expected, Fault, FieldError, FieldPlace};

/// The parameters of a query. Unknown ones are ignored; of a repeated one the first counts.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| Self(query.0)).unwrap_or_default()
    }

    /// The parameter as it came; an empty one counts as absent.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Text of at most `max` characters without NUL.
    ///
    /// # Errors
    /// Too long, or with NUL.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<&str>, FieldError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        if value.contains('\0') {
            return Err(error(name, Expected::String, Fault::Nul, value));
        }
        if value.chars().nth(max).is_some() {
            return Err(error(name, Expected::Characters { min: 0, max }, Fault::Wrong, value));
        }
        Ok(Some(value))
    }

    /// The error of a parameter that must be there.
    #[must_use]
    pub fn missing(&self, name: &str, min: usize, max: usize) -> FieldError {
        error(name, Expected::Characters { min, max }, Fault::Missing, "")
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// It is none, or outside.
    pub fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, FieldError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        let expected = Expected::IntegerBetween { min: i64::from(*range.start()), max: i64::from(*range.end()) };
        number.map(Some).ok_or_else(|| error(name, expected, Fault::Wrong, value))
    }

    /// One of `allowed`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn one_of(&self, name: &str, allowed: &'static [&'static str]) -> Result<Option<&'static str>, FieldError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let known = allowed.iter().copied().find(|known| *known == value);
        known.map(Some).ok_or_else(|| error(name, Expected::OneOf(allowed), Fault::Wrong, value))
    }
}

fn error(name: &str, expected: Expected, fault: Fault, value: &str) -> FieldError {
    FieldError { field: name.to_owned(), place: FieldPlace::Query, expected, fault, value: Box::new(Value::from(value)) }
}
