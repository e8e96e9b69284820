//! Every method of every path that there is, for attacks on all of them.

use serde_json::{Value, json};

use crate::harness_http::Request;

/// One way to call the server.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// With `{chat}` and `{session}`.
    pub path: &'static str,
    /// A body that is right; empty for none.
    pub body: &'static str,
}

const fn route(method: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { method, path, body }
}

pub const ROUTES: &[Route] = &[
    route("GET", "/api/chats", ""),
    route("POST", "/api/chats", r#"{"title":"T","mode":"ask"}"#),
    route("GET", "/api/chats/{chat}", ""),
    route("PATCH", "/api/chats/{chat}", r#"{"title":"U","mode":"plan"}"#),
    route("DELETE", "/api/chats/{chat}", ""),
    route("GET", "/api/chats/{chat}/messages", ""),
    route("POST", "/api/chats/{chat}/messages", r#"{"content":"hi","clientId":"c-1","mode":"ask","whenBusy":"queue"}"#),
    route("POST", "/api/chats/{chat}/cancel", r#"{"turnId":"0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"}"#),
    route("GET", "/api/sessions", ""),
    route("POST", "/api/sessions", r#"{"title":"T","mode":"build"}"#),
    route("GET", "/api/sessions/search?q=a", ""),
    route(
        "POST",
        "/api/sessions/import",
        r#"{"version":1,"session":{"title":"T"},"messages":[{"role":"user","parts":[{"type":"text","content":{"text":"hi"}}]},{"role":"assistant","parts":[{"type":"text","content":{"text":"a"}},{"type":"tool_use","content":{"id":"t","name":"read_file","input":{"path":"a"}}}]},{"role":"user","parts":[{"type":"tool_result","content":{"tool_use_id":"t","content":"x","is_error":true}}]}]}"#,
    ),
    route("GET", "/api/sessions/{session}", ""),
    route("PATCH", "/api/sessions/{session}", r#"{"title":"U","mode":"ask"}"#),
    route("DELETE", "/api/sessions/{session}", ""),
    route("GET", "/api/sessions/{session}/messages", ""),
    route("POST", "/api/sessions/{session}/messages", r#"{"content":"hi","clientId":"s-1","mode":"ask","whenBusy":"queue"}"#),
    route("GET", "/api/sessions/{session}/events", ""),
    route("POST", "/api/sessions/{session}/cancel", r#"{"turnId":"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}"#),
    route("GET", "/api/sessions/{session}/export", ""),
    route("GET", "/api/events", ""),
    route("GET", "/api/approvals", ""),
    route("POST", "/api/approvals/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", r#"{"approved":true}"#),
    route("GET", "/api/tools", ""),
    route("GET", "/api/providers", ""),
    route("POST", "/api/providers/validate", r#"{"provider":"scripted","apiKey":"k"}"#),
    route("GET", "/api/providers/scripted/models", ""),
    route("GET", "/api/providers/scripted/api-key", ""),
    route("GET", "/api/me", ""),
    route("POST", "/api/sign-in-codes", ""),
    route("GET", "/api/questions?conversation={session}", ""),
    route("POST", "/api/questions/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", r#"{"answer":"skip"}"#),
    route("GET", "/api/jobs?state=dead", ""),
    route("POST", "/api/jobs/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/retry", ""),
    route("POST", "/api/sign-out", ""),
];

/// What needs no proof.
pub const OPEN_ROUTES: &[Route] =
    &[route("GET", "/", ""), route("GET", "/health", ""), route("POST", "/api/sign-in", r#"{"token":"clq_0"}"#)];

impl Route {
    pub fn is_unsafe(&self) -> bool {
        self.method != "GET"
    }

    pub fn target(&self, chat: &str, session: &str) -> String {
        self.path.replace("{chat}", chat).replace("{session}", session)
    }

    /// A request that is right.
    pub fn request(&self, chat: &str, session: &str) -> Request {
        let request = Request::new(self.method, &self.target(chat, session));
        if self.body.is_empty() { request } else { request.bytes("application/json", self.body.as_bytes()) }
    }

    pub fn json(&self) -> Value {
        if self.body.is_empty() { json!({}) } else { serde_json::from_str(self.body).expect("JSON") }
    }
}
