//! What holds on every socket of the assistant, whether the lines of a story say so or not.

use std::collections::BTreeSet;

use super::inbox::Item;
use super::referee::Referee;
use super::types::Dialect;

type Verdict = Result<(), String>;

/// Watches one socket.
pub enum Watch {
    Shared(Box<Referee>),
    Assistant(Turns),
}

impl Watch {
    pub fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Shared => Self::Shared(Box::default()),
            Dialect::Assistant => Self::Assistant(Turns::default()),
        }
    }

    pub fn frame(&mut self, item: &Item) -> Verdict {
        match self {
            Self::Shared(referee) => referee.frame(item),
            Self::Assistant(turns) => turns.frame(item),
        }
    }
}

/// The turns of the conversations that a socket was bound to.
#[derive(Debug, Default)]
pub struct Turns {
    /// Their last frame has come.
    ended: BTreeSet<String>,
    /// Calls that were announced, and those that have returned.
    called: BTreeSet<String>,
    returned: BTreeSet<String>,
}

impl Turns {
    fn frame(&mut self, item: &Item) -> Verdict {
        let (kind, body) = (item.kind.as_str(), &item.body);
        let of_turn = body["turn_id"].as_str().map(str::to_owned);
        if let Some(turn) = &of_turn {
            demand(!self.ended.contains(turn), "something follows the end of its turn")?;
            demand(body["conversation_id"].is_i64(), "there is no conversation_id")?;
            let seq = body["seq"].as_str().unwrap_or_default();
            demand((1..=64).contains(&seq.len()), "there is no seq")?;
        }
        match kind {
            "text" => demand(body["content"].as_str().is_some_and(|text| !text.is_empty()), "there is no text in it"),
            "tool_call" => {
                let id = body["id"].as_str().unwrap_or_default().to_owned();
                let is_whole = of_turn.is_some() && body["input"].is_object();
                demand(is_whole && self.called.insert(id), "a call comes twice, or is none")
            }
            "tool_result" => {
                let id = body["id"].as_str().unwrap_or_default().to_owned();
                demand(self.called.contains(&id) && self.returned.insert(id), "a result without its call")
            }
            "error" => {
                let is_whole = body["content"].is_string() && body["code"].is_string() && body.get("turn_id").is_some();
                self.ended.extend(of_turn);
                demand(is_whole, "a field is missing")
            }
            "response_done" => {
                let is_whole = of_turn.is_none() || body["outcome"].is_string();
                self.ended.extend(of_turn);
                demand(is_whole, "there is no outcome")
            }
            "user_message" => demand(body["message_id"].as_i64().is_some_and(|id| id > 0), "there is no message_id"),
            _ => Ok(()),
        }
    }
}

fn demand(holds: bool, foul: &str) -> Verdict {
    if holds { Ok(()) } else { Err(foul.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn verdicts(frames: &[Value]) -> Vec<bool> {
        let mut turns = Turns::default();
        let item = |body: &Value| Item { kind: body["type"].as_str().unwrap().to_owned(), body: body.clone(), id: None };
        frames.iter().map(|frame| turns.frame(&item(frame)).is_ok()).collect()
    }

    #[test]
    fn what_follows_the_end_of_a_turn_is_a_foul() {
        let text = json!({"type": "text", "content": "a", "conversation_id": 1, "turn_id": "t", "seq": "1"});
        let done = json!({"type": "response_done", "outcome": "done", "conversation_id": 1, "turn_id": "t", "seq": "2"});
        assert_eq!(verdicts(&[text.clone(), done, text]), [true, true, false]);
        assert_eq!(verdicts(&[json!({"type": "text", "content": ""})]), [false]);
        assert_eq!(verdicts(&[json!({"type": "response_done", "conversation_id": 1, "turn_id": "t", "seq": "2"})]), [false]);
        assert_eq!(verdicts(&[json!({"type": "tool_result", "id": "x"})]), [false]);
        assert_eq!(verdicts(&[json!({"type": "error", "content": "x", "code": "y"})]), [false]);
    }
}
