use std::collections::{HashMap, HashSet};

use domain::{Author, Message, MessageId, Outcome, PartBody, Principal, ProjectName, ToolCall, TurnId};
use store::projects::Shown;
use store::{Tx, messages, projects, turns};

use super::{ProjectConversation, ProjectDetail, ProjectRow, RowBody, Said, find};
use crate::questions::{self, ask_user};
use crate::{Engine, Error, Result};

pub(crate) async fn detail(engine: &Engine, who: Principal, name: &ProjectName, number: i64) -> Result<ProjectDetail> {
    find(engine, who, name).await?;
    let name = name.clone();
    engine
        .inner
        .store
        .read(move |tx| {
            let summary: ProjectConversation = projects::by_number(tx, &name, number)?.ok_or(Error::NotFound)?.into();
            let id = summary.conversation.id;
            let question = questions::open_choice(tx, summary.conversation.home, id)?;
            let shown = projects::rows(tx, id)?;
            Ok::<_, Error>(ProjectDetail { rows: rows(tx, &shown)?, question, summary })
        })
        .await
}

fn rows(tx: &mut Tx, shown: &[Shown]) -> Result<Vec<ProjectRow>> {
    let ids: Vec<MessageId> = shown.iter().map(|row| row.message).collect();
    let firsts: HashMap<MessageId, Message> = messages::by_ids(tx, &ids)?.into_iter().map(|first| (first.id, first)).collect();
    let turn_ids: Vec<TurnId> = firsts.values().filter(|m| m.author == Author::Agent).map(|m| m.turn).collect();
    let outcomes: HashMap<TurnId, Outcome> = turns::outcomes(tx, &turn_ids, None)?.into_iter().collect();
    let mut said: HashMap<TurnId, Vec<Message>> = HashMap::new();
    for message in messages::of_turns(tx, &turn_ids)? {
        said.entry(message.turn).or_default().push(message);
    }
    let rows = shown.iter().filter_map(|row| {
        let first = firsts.get(&row.message)?;
        let body = match first.author {
            Author::Person(_) => person(first),
            Author::Agent | Author::System => agent(said.get(&first.turn)?, outcomes.get(&first.turn)?.clone()),
        };
        Some(ProjectRow { number: row.number, at: first.created_at, turn: first.turn, body })
    });
    Ok(rows.collect())
}

fn person(message: &Message) -> RowBody {
    let text = message.parts.iter().filter_map(|part| part.body.text()).collect();
    RowBody::Person { text, client_id: message.client_id.clone() }
}

fn agent(messages: &[Message], outcome: Outcome) -> RowBody {
    let failed: HashSet<&str> = messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(|part| match &part.body {
            PartBody::ToolResult(result) if result.is_error() => Some(result.call_id.as_str()),
            _ => None,
        })
        .collect();
    let mut said = Vec::new();
    let mut asked: Vec<&ToolCall> = Vec::new();
    for part in messages.iter().filter(|message| message.author == Author::Agent).flat_map(|message| &message.parts) {
        match &part.body {
            PartBody::Text { text } => said.push(Said::Text(text.clone())),
            PartBody::ToolCall(call) if call.name == ask_user::NAME => asked.push(call),
            PartBody::ToolCall(call) => {
                said.push(Said::Call { call: call.clone(), is_error: failed.contains(call.id.as_str()) });
            }
            PartBody::Reasoning { .. } | PartBody::ToolResult(_) | PartBody::Opaque(_) => {}
        }
    }
    if outcome == Outcome::Asked {
        let answerable = asked.into_iter().filter(|call| !failed.contains(call.id.as_str()));
        let choices = answerable.filter_map(|call| ask_user::read(call).ok()).flat_map(|call| call.choices).collect();
        said.push(Said::Asked(choices));
    }
    RowBody::Agent { said, outcome }
}
