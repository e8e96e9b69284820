//! From a model's arguments to an input type, and from the type to the schema that the model is shown.

use domain::sockets::tool::ToolError;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// serde quotes the offending value, which a model may have made as long as it likes.
const REASON_LIMIT_CHARS: usize = 300;

/// Reads `input` as a `T`, or says in one sentence which field does not fit.
pub(crate) fn parse<T: DeserializeOwned>(input: Map<String, Value>) -> Result<T, ToolError> {
    // The copy is for the error message only, and inputs are small.
    let kept = input.clone();
    serde_json::from_value(Value::Object(input)).map_err(|error| {
        let reason = error.to_string();
        match misfit::<T>(&kept, &reason) {
            Some(field) => invalid(&format!("`{field}`: {reason}")),
            None => invalid(&reason),
        }
    })
}

/// The error for an input that does not fit.
pub(crate) fn invalid(reason: &str) -> ToolError {
    ToolError(format!("Invalid input: {}", shorten(reason, REASON_LIMIT_CHARS)))
}

/// The JSON Schema of an input type, without what tells a model nothing: keys for schema tools, number formats, and
/// defaults of null.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    for key in ["$schema", "title", "description"] {
        schema.as_object_mut().and_then(|object| object.remove(key));
    }
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    for field in fields.filter_map(Value::as_object_mut) {
        field.retain(|key, value| key != "format" && !(key == "default" && value.is_null()));
    }
    schema
}

fn shorten(text: &str, limit_chars: usize) -> String {
    match text.char_indices().nth(limit_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The field whose value has the wrong type. serde names missing and unknown fields but not this one; it is the one that
/// makes the same error when it stands alone.
fn misfit<T: DeserializeOwned>(input: &Map<String, Value>, reason: &str) -> Option<String> {
    if reason.starts_with("missing field") || reason.starts_with("unknown field") {
        return None;
    }
    let fails_alike = |(name, value): &(&String, &Value)| {
        let alone = Map::from_iter([((*name).clone(), (*value).clone())]);
        serde_json::from_value::<T>(Value::Object(alone)).is_err_and(|error| error.to_string() == reason)
    };
    input.iter().find(fails_alike).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors matter")]
    struct Input {
        path: String,
        lines: Option<u64>,
    }

    fn reason(input: Value) -> String {
        parse::<Input>(input.as_object().unwrap().clone()).unwrap_err().0
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        assert_eq!(reason(json!({})), "Invalid input: missing field `path`");
        assert_eq!(reason(json!({"path": "a", "x": 1})), "Invalid input: unknown field `x`, expected `path` or `lines`");
        assert_eq!(reason(json!({"path": 3})), "Invalid input: `path`: invalid type: integer `3`, expected a string");
        assert!(reason(json!({"path": "a", "lines": "3"})).starts_with("Invalid input: `lines`: invalid type"));
        assert!(reason(json!({"path": "a", "lines": -1})).starts_with("Invalid input: `lines`: invalid value"));
    }

    #[test]
    fn the_reason_stays_short() {
        let long = "ä".repeat(100_000);
        assert!(reason(json!({"path": "a", "lines": long})).len() < 1000);
        assert!(reason(json!({"path": "a", (long): 1})).len() < 1000);
    }
}
