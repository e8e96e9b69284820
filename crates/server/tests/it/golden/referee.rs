//! What holds in every story, whether its lines say so or not: the contracts' order of frames and events, and the fields
//! that each of them has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::inbox::Item;

/// Frames that stand in the chat's log, and so carry a place in it.
const LOGGED: [&str; 11] = [
    "history",
    "user_message",
    "turn_started",
    "assistant_message",
    "assistant_reasoning",
    "tool_use",
    "tool_result",
    "result",
    "chat_renamed",
    "chat_removed",
    "approval_requested",
];
/// Frames that belong to no log.
const ASIDE: [&str; 5] = ["accepted", "subscribed", "unsubscribed", "connected", "pong"];
/// Frames of a turn.
const OF_A_TURN: [&str; 7] =
    ["turn_started", "assistant_message", "assistant_reasoning", "agent_status", "tool_use", "tool_result", "result"];
const MAX_CURSOR_CHARACTERS: usize = 64;

/// Watches one socket or stream.
#[derive(Debug, Default)]
pub struct Referee {
    /// By the chat's id; a stream has one without a name.
    chats: BTreeMap<String, Watched>,
    /// A stream that begins with `connected` tells of all turns.
    follows_all: bool,
}

/// One chat, or one stream.
#[derive(Debug, Default)]
struct Watched {
    /// The kind of the last frame, and whether it had a place.
    last: (String, bool),
    /// Places since the stream of this chat began.
    places: BTreeSet<String>,
    /// The turn that has begun and not ended.
    turn: Option<String>,
    ended: BTreeSet<String>,
    /// Calls without a result.
    open_calls: BTreeSet<String>,
}

type Verdict = Result<(), String>;

impl Referee {
    /// Sees a frame of a socket.
    pub fn frame(&mut self, item: &Item) -> Verdict {
        let (kind, body) = (item.kind.as_str(), &item.body);
        let is_of_turn = OF_A_TURN.contains(&kind) || (kind == "error" && body["turnId"].is_string());
        let Some(chat) = body["chatId"].as_str() else {
            return demand(!is_of_turn && !LOGGED.contains(&kind), "there is no chatId");
        };
        let watched = self.chats.entry(chat.to_owned()).or_default();
        if ["history", "subscribed"].contains(&kind) {
            *watched = Watched { turn: body["turn"]["turnId"].as_str().map(str::to_owned), ..Watched::default() };
        }
        let seq = body["seq"].as_str();
        watched.order(kind, seq.is_some())?;
        watched.place(kind, seq, is_of_turn)?;
        if is_of_turn {
            demand(body["turnId"].as_str().is_some_and(|turn| turn.len() == 32), "there is no turnId")?;
            watched.turn(kind, body)?;
        }
        match kind {
            "user_message" | "assistant_message" => {
                demand(body["messageId"].as_str().is_some_and(|id| id.len() == 32), "there is no messageId")?;
                demand(body["content"].as_str().is_some_and(|text| !text.is_empty()), "there is no text in it")
            }
            "error" => demand(body["error"] == body["message"] && body["code"].is_string(), "message or code is missing"),
            _ => Ok(()),
        }
    }

    /// Sees an event of a stream.
    pub fn event(&mut self, item: &Item) -> Verdict {
        let (kind, body) = (item.kind.as_str(), &item.body);
        self.follows_all |= kind == "connected";
        let follows_all = self.follows_all;
        demand(!follows_all || body["sessionId"].is_string(), "there is no sessionId")?;
        let watched = self.chats.entry(String::new()).or_default();
        if let Some(id) = &item.id {
            demand(watched.places.insert(id.clone()), "this place comes twice")?;
        }
        let may_follow_the_end = follows_all || watched.ended.is_empty();
        let before = std::mem::replace(&mut watched.last.0, kind.to_owned());
        demand(before != "message.error" || kind == "message.done", "only message.done may follow message.error")?;
        let first_of = |watched: &Watched| watched.turn.is_none() && may_follow_the_end;
        match kind {
            "message.start" => {
                demand(first_of(watched), "a turn begins within another, or after the end")?;
                let id = body["messageId"].as_str().unwrap_or_default();
                demand(!watched.ended.contains(id), "this turn has ended")?;
                watched.turn = Some(id.to_owned());
            }
            "message.done" => {
                demand(
                    body["messageId"].as_str() == watched.turn.as_deref() || follows_all && watched.turn.is_none(),
                    "another messageId",
                )?;
                demand(watched.open_calls.is_empty(), "a call has no result")?;
                demand(
                    (body["status"] == "failed") == (before == "message.error"),
                    "message.error belongs to failed turns only",
                )?;
                watched.ended.insert(body["messageId"].as_str().unwrap_or_default().to_owned());
                watched.turn = None;
            }
            "message.queued" => demand(follows_all || first_of(watched), "it cannot wait any more")?,
            "message.delta" => demand(body["text"].as_str().is_some_and(|text| !text.is_empty()), "there is no text in it")?,
            "tool.start" => watched.open_calls.extend(body["toolId"].as_str().map(str::to_owned)),
            "tool.result" => {
                let known = watched.open_calls.remove(body["toolId"].as_str().unwrap_or_default());
                demand(known || watched.turn.is_none(), "no call waits for this result")?;
            }
            _ => {}
        }
        let is_of_turn = ["message.delta", "message.reasoning", "message.error", "tool.start", "tool.result"].contains(&kind);
        demand(!is_of_turn || follows_all || watched.turn.is_some(), "no turn has begun, or it has ended")
    }
}

impl Watched {
    /// A status without a place is one fact with the call behind it.
    fn order(&mut self, kind: &str, has_place: bool) -> Verdict {
        let announces = self.last == ("agent_status".to_owned(), false);
        self.last = (kind.to_owned(), has_place);
        demand(announces == (kind == "tool_use"), "a call and its status stand together")
    }

    fn place(&mut self, kind: &str, seq: Option<&str>, is_of_turn: bool) -> Verdict {
        let must = LOGGED.contains(&kind) || (kind == "error" && is_of_turn);
        let must_not = ASIDE.contains(&kind) || (kind == "error" && !is_of_turn);
        let Some(seq) = seq else { return demand(!must, "there is no seq") };
        demand(!must_not, "there is a seq although it stands in no log")?;
        demand((1..=MAX_CURSOR_CHARACTERS).contains(&seq.chars().count()), "the seq is too long")?;
        demand(self.places.insert(seq.to_owned()), "this seq comes twice")
    }

    fn turn(&mut self, kind: &str, body: &Value) -> Verdict {
        let turn = body["turnId"].as_str().unwrap_or_default();
        demand(!self.ended.contains(turn), "this turn has ended")?;
        demand(self.turn.as_deref().is_none_or(|running| running == turn), "another turn is running")?;
        self.turn = Some(turn.to_owned());
        match kind {
            "tool_use" => demand(self.open_calls.insert(body["toolId"].to_string()), "this call comes twice"),
            "result" | "error" => {
                self.turn = None;
                self.ended.insert(turn.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn demand(holds: bool, otherwise: &str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Every rule is broken once.
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Item, Referee, Verdict};

    const CHAT: &str = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b";
    const TURN: &str = "0190a1b2c3d47e5f8a9b0c1d2e3f4a5c";

    fn item(body: &Value) -> Item {
        let id = body["id"].as_str().map(str::to_owned);
        Item { kind: body["type"].as_str().expect("a type").to_owned(), body: body.clone(), id }
    }

    fn socket(frames: &[Value]) -> Verdict {
        let mut referee = Referee::default();
        frames.iter().try_for_each(|frame| referee.frame(&item(frame)))
    }

    fn stream(events: &[Value]) -> Verdict {
        let mut referee = Referee::default();
        events.iter().try_for_each(|event| referee.event(&item(event)))
    }

    fn good_frames() -> Vec<Value> {
        let of_turn =
            |kind: &str, seq: &str| json!({"type": kind, "chatId": CHAT, "turnId": TURN, "seq": seq, "messageId": TURN});
        let with = |mut frame: Value, field: &str, value: Value| {
            frame[field] = value;
            frame
        };
        vec![
            json!({"type": "connected"}),
            json!({"type": "history", "chatId": CHAT, "messages": [], "turn": null, "seq": "0"}),
            json!({"type": "accepted", "chatId": CHAT, "clientId": "c"}),
            json!({"type": "user_message", "chatId": CHAT, "content": "hi", "messageId": TURN, "seq": "1"}),
            of_turn("turn_started", "2"),
            with(of_turn("assistant_message", "3"), "content", json!("a")),
            json!({"type": "agent_status", "chatId": CHAT, "turnId": TURN, "message": "Reading a file"}),
            with(of_turn("tool_use", "4"), "toolId", json!("t")),
            with(of_turn("tool_result", "5"), "toolId", json!("t")),
            of_turn("result", "6"),
            json!({"type": "error", "chatId": CHAT, "error": "x", "message": "x", "code": "busy"}),
        ]
    }

    #[test]
    fn good_frames_are_good() {
        assert_eq!(socket(&good_frames()), Ok(()));
        let failed = json!({"type": "error", "chatId": CHAT, "turnId": TURN, "seq": "6", "error": "x", "message": "x", "code": "internal"});
        let mut frames = good_frames();
        frames[9] = failed;
        assert_eq!(socket(&frames), Ok(()));
        let retrying = json!({"type": "agent_status", "chatId": CHAT, "turnId": TURN, "message": "Retrying", "seq": "2a"});
        frames.insert(5, retrying);
        assert_eq!(socket(&frames), Ok(()));
    }

    #[test]
    fn every_foul_on_a_socket_is_seen() {
        let changes: [(usize, &str, Value); 13] = [
            (3, "chatId", json!(null)),
            (3, "seq", json!(null)),
            (3, "seq", json!("0")),
            (3, "seq", json!("9".repeat(65))),
            (3, "messageId", json!("m")),
            (5, "content", json!("")),
            (5, "turnId", json!(null)),
            (5, "turnId", json!(CHAT)),
            (6, "seq", json!("3a")),
            (7, "seq", json!(null)),
            (2, "seq", json!("1")),
            (10, "seq", json!("7")),
            (10, "message", json!("y")),
        ];
        for (at, field, value) in changes {
            let mut frames = good_frames();
            frames[at][field] = value.clone();
            assert!(socket(&frames).is_err(), "{at} {field} {value}");
        }
        for (from, to) in [(6, 5), (9, 8), (7, 9)] {
            let mut frames = good_frames();
            let frame = frames.remove(from);
            frames.insert(to, frame);
            assert!(socket(&frames).is_err(), "{from} to {to}");
        }
        for at in [6, 7] {
            let mut frames = good_frames();
            frames.remove(at);
            assert!(socket(&frames).is_err(), "{at} is missing");
        }
    }

    fn good_events() -> Vec<Value> {
        vec![
            json!({"type": "message.queued", "id": "1"}),
            json!({"type": "message.start", "messageId": "a", "id": "2"}),
            json!({"type": "message.delta", "text": "x", "id": "3"}),
            json!({"type": "tool.start", "toolId": "t", "id": "4"}),
            json!({"type": "tool.result", "toolId": "t", "id": "5"}),
            json!({"type": "message.error"}),
            json!({"type": "message.done", "messageId": "a", "status": "failed", "id": "6"}),
        ]
    }

    #[test]
    fn every_foul_on_a_stream_is_seen() {
        assert_eq!(stream(&good_events()), Ok(()));
        for (at, field, value) in [
            (2, "text", json!("")),
            (3, "id", json!("3")),
            (4, "toolId", json!("u")),
            (6, "messageId", json!("b")),
            (6, "status", json!("completed")),
        ] {
            let mut events = good_events();
            events[at][field] = value.clone();
            assert!(stream(&events).is_err(), "{at} {field} {value}");
        }
        for at in [1, 3, 4, 5] {
            let mut events = good_events();
            events.remove(at);
            assert!(stream(&events).is_err(), "{at} is missing");
        }
        for at in 0..good_events().len() {
            let mut events = good_events();
            events.push(good_events()[at].clone());
            events.last_mut().expect("one")["id"] = json!("7");
            assert!(stream(&events).is_err(), "{at} comes behind the end");
        }
        assert!(stream(&[json!({"type": "connected"})]).is_err(), "no sessionId");
    }
}
