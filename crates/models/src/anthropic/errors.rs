//! The vendor's names of errors, and the status each stands for.

use serde_json::Value;

/// The status of an error body or event (`{"type":"error","error":{type,message}}`); `None` if its type is not known.
pub(super) fn status_of(body: &Value) -> Option<u16> {
    let error = &body["error"];
    Some(match error["type"].as_str()? {
        "invalid_request_error" => status_of_invalid(error["message"].as_str().unwrap_or_default()),
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

/// Two failures that people can mend hide under the general type; the vendor tells them apart by its words alone.
fn status_of_invalid(message: &str) -> u16 {
    if message.contains("prompt is too long") {
        413
    } else if message.contains("credit balance is too low") {
        402
    } else {
        400
    }
}
