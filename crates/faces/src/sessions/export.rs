//! A session as a file.

use std::fmt::Write;

use axum::Json;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::incoming::EXPORT_VERSION;
use super::wire::{Content, Export, Message, Role, Session};

/// `{version, session, messages}`, which the import reads.
pub fn json(session: Session, messages: Vec<Message>) -> Response {
    let name = format!("session-{}.json", session.id);
    let mut response = Json(Export { version: EXPORT_VERSION, session, messages }).into_response();
    set(&mut response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    response
}

/// A text for people.
pub fn markdown(session: &Session, messages: &[Message]) -> Response {
    let name = format!("session-{}.md", session.id);
    let mut response = text(session, messages).into_response();
    set(&mut response, CONTENT_TYPE, "text/markdown; charset=utf-8");
    set(&mut response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    response
}

fn text(session: &Session, messages: &[Message]) -> String {
    let mut out = format!("# {}\n", one_line(&session.title));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n{}/{}, {}", session.provider, session.model, session.created_at);
    for message in messages {
        let is_results = message.parts.iter().any(|part| matches!(part.content, Content::ToolResult { .. }));
        match message.role {
            Role::User if is_results => {}
            Role::User => out.push_str("\n## User\n"),
            Role::Assistant => out.push_str("\n## Assistant\n"),
        }
        message.parts.iter().for_each(|part| push_part(&mut out, &part.content));
        if let Some(error) = &message.error {
            let _ = writeln!(out, "\n*{error}*");
        }
    }
    out
}

fn push_part(out: &mut String, content: &Content) {
    let (heading, body) = match content {
        Content::Text { text } => {
            let _ = writeln!(out, "\n{text}");
            return;
        }
        Content::ToolUse { name, input, .. } => {
            (format!("Tool call: {}", one_line(name)), serde_json::to_string_pretty(input).unwrap_or_default())
        }
        Content::ToolResult { content, is_error: true, .. } => ("Tool failure".to_owned(), content.clone()),
        Content::ToolResult { content, .. } => ("Tool result".to_owned(), content.clone()),
        Content::Reasoning { text } => ("Thought".to_owned(), text.clone()),
    };
    let fence = fence_around(&body);
    let _ = writeln!(out, "\n**{heading}**\n\n{fence}\n{}\n{fence}", body.trim_end_matches('\n'));
}

/// Longer than every row of backticks inside, so that the text cannot end its own block.
fn fence_around(body: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for character in body.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat((longest + 1).max(3))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // Names of files are made of ids, so they always fit into a header.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
