//! What waits for a person: calls with side effects that were cut off and may have run.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use domain::{Answer, ConversationId, Question, QuestionId, QuestionKind, ToolCall};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::App;
use crate::kit::auth::Caller;
use crate::kit::error::{ProblemError, Refusal};
use crate::kit::json;
use crate::kit::path::Path;
use crate::kit::query::Query;

/// An id has 32 digits, or 36 characters with dashes.
const ID_CHARACTERS: usize = 36;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionView {
    id: String,
    conversation_id: String,
    turn_id: String,
    kind: &'static str,
    call: CallView,
    /// For people.
    text: String,
    /// What can be answered.
    choices: [&'static str; 3],
    /// Milliseconds since 1970.
    asked_at: i64,
}

#[derive(Debug, Serialize)]
struct CallView {
    id: String,
    name: String,
    input: Map<String, Value>,
}

/// Run the call again; it has run; go on without knowing.
const CHOICES: [&str; 3] = ["rerun", "mark_done", "skip"];

/// `None`: other questions have endpoints of their own.
fn view(question: Question) -> Option<QuestionView> {
    let QuestionKind::Unknown { call: ToolCall { id, name, input } } = question.kind else { return None };
    Some(QuestionView {
        id: question.id.to_string(),
        conversation_id: question.conversation.to_string(),
        turn_id: question.turn.to_string(),
        kind: "unknown",
        text: format!("{name} was cut off and may have run."),
        call: CallView { id, name, input },
        choices: CHOICES,
        asked_at: question.asked_at.0,
    })
}

/// `GET /api/questions?conversation=`: the oldest first. 404: there is no such conversation.
pub async fn list(State(app): State<App>, caller: Caller, uri: Uri) -> Result<Json<Vec<QuestionView>>, ProblemError> {
    let query = Query::of(&uri);
    let id = query.raw("conversation").ok_or_else(|| query.missing("conversation", 1, ID_CHARACTERS))?;
    let id = ConversationId::parse(id).ok_or(Refusal::ConversationNotFound)?;
    let questions = app.engine.unknown_calls(caller.principal(), id).await?;
    Ok(Json(questions.into_iter().filter_map(view).collect()))
}

/// `POST /api/questions/:id` with `{"answer": "rerun" | "mark_done" | "skip"}`. 404: there is no such question; 409
/// `no_question`: it was answered before.
pub async fn answer(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, ProblemError> {
    let id = QuestionId::parse(&id).ok_or(Refusal::PathNotFound)?;
    let body = json::read(request).await?.object;
    body.string("answer")?;
    let answer = match body.opt_one_of("answer", &CHOICES)? {
        Some("rerun") => Answer::Rerun,
        Some("mark_done") => Answer::MarkDone,
        _ => Answer::Skip,
    };
    app.engine.answer_unknown(caller.principal(), id, answer).await?;
    Ok(Json(serde_json::json!({"id": id.to_string(), "answered": true})))
}
