//! The family's names of errors, and the status each stands for.

use serde_json::Value;

/// The status of `{"error":{message,type,param,code}}`; `None` if it is not known. Proxies put an HTTP status into `code`.
pub(super) fn status_of(body: &Value) -> Option<u16> {
    let error = &body["error"];
    if let Some(status) =
        error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code))
    {
        return Some(status);
    }
    by_name(error["code"].as_str()).or_else(|| by_name(error["type"].as_str()))
}

fn by_name(name: Option<&str>) -> Option<u16> {
    Some(match name? {
        "context_length_exceeded" | "string_above_max_length" => 413,
        "insufficient_quota" | "billing_hard_limit_reached" => 402,
        "invalid_api_key" | "authentication_error" => 401,
        "model_not_found" | "not_found_error" => 404,
        "rate_limit_exceeded" | "rate_limit_error" | "requests" | "tokens" => 429,
        "server_error" | "api_error" | "internal_server_error" => 500,
        "overloaded_error" | "engine_overloaded" => 503,
        "permission_error" => 403,
        "invalid_request_error" => 400,
        _ => return None,
    })
}
