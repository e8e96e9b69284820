//! A data set as a tool: an agent in a conversation asks it in plain language, and sees the first rows. Nothing is stored.

use std::sync::OnceLock;

use async_trait::async_trait;
use domain::sockets::tool::{Effect, ToolContext, ToolError, ToolReply, ToolSpec};
use domain::{AccountId, Mode, RulePolicy, Tool};
use serde_json::{Map, Value, json};
use store::dataset::{Cell, CellRow, ResultColumn, check};

use super::ask::{Reply, ask};
use super::context::{self, Asked, Complaint};
use super::{RuleErrorCode, keep, work};
use crate::Engine;

const NAME: &str = "ask_data";
/// Rows that an agent sees.
const SHOWN_ROWS: u64 = 50;
/// Characters of a cell that it sees.
const SHOWN_CHARACTERS: usize = 200;
const MAX_QUESTION_CHARACTERS: usize = 4_000;
const MAX_REPAIRS: usize = 2;

/// The tool, as the catalogue lists it.
fn ask_data_spec() -> ToolSpec {
    ToolSpec {
        name: NAME.to_owned(),
        description: format!(
            "Answers a question in plain language about the data set of this server: writes one read-only SQL query, checks it, \
             runs it, and shows at most {SHOWN_ROWS} rows. Nothing is stored or changed."
        ),
        input_schema: json!({
            "type": "object",
            "properties": {"question": {"type": "string", "description": "What you want to know, in plain language."}},
            "required": ["question"],
            "additionalProperties": false,
        }),
        effect: Effect::Pure,
        modes: Mode::ALL.to_vec(),
    }
}

/// It needs the engine, which has it in its catalogue: so it is given the engine when that is there.
#[derive(Debug)]
pub(crate) struct AskData {
    spec: ToolSpec,
    engine: OnceLock<crate::WeakEngine>,
}

impl Default for AskData {
    fn default() -> Self {
        Self { spec: ask_data_spec(), engine: OnceLock::new() }
    }
}

impl AskData {
    pub(crate) fn give(&self, engine: &Engine) {
        // It is given once, at the start.
        let _ = self.engine.set(engine.downgrade());
    }
}

#[async_trait]
impl Tool for AskData {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, context: ToolContext, input: Map<String, Value>) -> Result<ToolReply, ToolError> {
        let engine = self.engine.get().and_then(crate::WeakEngine::upgrade);
        let engine = engine.ok_or_else(|| ToolError("The data set is not available.".to_owned()))?;
        let question = input.get("question").and_then(Value::as_str).map(str::trim).unwrap_or_default();
        if question.is_empty() || question.chars().count() > MAX_QUESTION_CHARACTERS {
            return Err(ToolError(format!("question: expected a text of 1 to {MAX_QUESTION_CHARACTERS} characters.")));
        }
        tokio::select! {
            () = context.cancel.cancelled() => Err(ToolError("Cancelled.".to_owned())),
            answered = answer(&engine, question, &context) => answered.map_err(ToolError),
        }
    }
}

async fn answer(engine: &Engine, question: &str, context: &ToolContext) -> Result<ToolReply, String> {
    let source = engine.inner.rules.source().await.map_err(|reason| format!("The data set is not available: {reason}."))?;
    if source.policy() == RulePolicy::Approve {
        return Err("Every query over this data set needs an approval. A person can run the question as a rule.".to_owned());
    }
    let asked =
        Asked { file: &source.file, schema: &source.schema, rule: question, approved: &[], dialog: &[], must_decide: true };
    let mut complaints: Vec<Complaint> = Vec::new();
    loop {
        let request = context::request(&asked, &complaints);
        let draft = match ask(&*engine.inner.default_model, request, &context.cancel).await {
            Ok(Reply::Query(draft)) => draft,
            Ok(Reply::Clarify { question, .. }) => return Err(format!("The question is open: {question}")),
            Ok(Reply::Neither) => return Err("The model gave no SQL.".to_owned()),
            Err(failure) => return Err(failure.message),
        };
        let checked = check(&draft.sql, &source.schema);
        if let Err(refusal) = &checked
            && let Some(kind) = work::noteworthy(refusal)
        {
            work::note(engine, AccountId::NOBODY, NAME, kind, &draft.sql).await;
        }
        let checked = match checked {
            Ok(checked) => checked,
            Err(refusal) if refusal.class == store::dataset::Class::Mistake && complaints.len() < MAX_REPAIRS => {
                complaints.push(Complaint {
                    sql: draft.sql,
                    stage: "guard",
                    code: refusal.code.to_owned(),
                    message: refusal.reason,
                    name: refusal.name,
                });
                continue;
            }
            Err(refusal) => return Err(format!("Invalid SQL generated: {}.", refusal.reason)),
        };
        match keep::peek(&source, checked.sql(), SHOWN_ROWS, &context.cancel).await {
            Ok((columns, rows, truncated)) => {
                let output = shown(checked.sql(), &columns, &rows, truncated);
                return Ok(ToolReply { output, truncated });
            }
            Err(failure) if failure.code == RuleErrorCode::InvalidSql && complaints.len() < MAX_REPAIRS => {
                let message = failure.message.trim_start_matches("Invalid SQL generated: ").to_owned();
                complaints.push(Complaint { sql: draft.sql, stage: "run", code: "database".to_owned(), message, name: None });
            }
            Err(failure) => {
                if failure.code == RuleErrorCode::ForbiddenSql {
                    work::note(engine, AccountId::NOBODY, NAME, "forbidden", &draft.sql).await;
                }
                return Err(failure.message);
            }
        }
    }
}

fn shown(sql: &str, columns: &[ResultColumn], rows: &[CellRow], truncated: bool) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut text = format!(
        "SQL: {sql}\n{} row{}{}\n",
        rows.len(),
        if rows.len() == 1 { "" } else { "s" },
        if truncated { ", and more" } else { "" }
    );
    text.push_str(&names.join("\t"));
    for row in rows {
        let cells: Vec<String> = row.iter().map(cell).collect();
        text.push('\n');
        text.push_str(&cells.join("\t"));
    }
    text
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Bool(flag) => flag.to_string(),
        Cell::Text(text) => text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(SHOWN_CHARACTERS).collect(),
        Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}
