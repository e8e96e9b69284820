//! What nodes tell each other, and how it is gathered into few letters.
//!
//! Nothing here is needed for anything to be right: facts are in the database, and a letter only says that there are new ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Carrier, ConversationId, Event, EventKind, NodeId, PartId, Subject, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::live::{Entry, What};
use super::pieces::Piece;

/// Bytes of text in one piece, as a share of a letter: what has to be escaped in JSON grows by up to six times.
const SHARE_OF_TEXT: usize = 8;

/// One letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) from: NodeId,
    /// 1, 2, 3… for the letters of this node about [`Subject::News`]; 0 for others.
    #[serde(rename = "n")]
    pub(super) number: u64,
    #[serde(rename = "i")]
    pub(super) items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Item {
    /// The log of this conversation has these events now.
    #[serde(rename = "f")]
    Facts(ConversationId, Span),
    /// The conversation is deleted.
    #[serde(rename = "d")]
    Deleted(ConversationId),
    #[serde(rename = "t")]
    Text(Piece),
    #[serde(rename = "o")]
    Order(Order),
    /// Something that is no conversation has changed.
    #[serde(rename = "h")]
    Topic(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    #[serde(rename = "e")]
    pub(super) epoch: i64,
    #[serde(rename = "a")]
    pub(super) first: i64,
    #[serde(rename = "z")]
    pub(super) last: i64,
}

/// What one node asks of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Whoever runs this turn is to stop it.
    #[serde(rename = "stop")]
    Stop(ConversationId, TurnId),
    /// Somebody is to answer what waits in the conversation.
    #[serde(rename = "serve")]
    Serve(ConversationId),
}

/// What waits to be sent.
#[derive(Debug)]
pub(super) struct Outbox {
    from: NodeId,
    waiting: Mutex<Waiting>,
    pub(super) wake: Notify,
    /// Held while letters are being sent.
    sending: tokio::sync::Mutex<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    facts: HashMap<ConversationId, Span>,
    deleted: Vec<ConversationId>,
    texts: Vec<Piece>,
    /// Where the newest piece of a part stands in `texts`.
    newest: HashMap<PartId, usize>,
    orders: Vec<Order>,
    topics: Vec<String>,
    subjects: Vec<(Subject, bool)>,
}

impl Outbox {
    pub(super) fn new(from: NodeId) -> Self {
        Self { from, waiting: Mutex::default(), wake: Notify::new(), sending: tokio::sync::Mutex::new(0) }
    }

    pub(super) fn fact(&self, event: &Event) {
        let mut waiting = self.lock();
        if event.kind == EventKind::ConversationDeleted {
            waiting.facts.remove(&event.conversation);
            waiting.deleted.push(event.conversation);
        } else {
            let seq = event.seq.0;
            let span = waiting.facts.entry(event.conversation).or_insert(Span { epoch: event.epoch, first: seq, last: seq });
            span.epoch = span.epoch.max(event.epoch);
            span.first = span.first.min(seq);
            span.last = span.last.max(seq);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// A piece that this node has shown.
    pub(super) fn text(&self, entry: &Entry, part_began_at: Timestamp) {
        let What::Delta(delta) = &entry.what else { return };
        let mut guard = self.lock();
        let waiting = &mut *guard;
        let last = waiting.newest.get(&delta.part).and_then(|index| waiting.texts.get_mut(*index));
        match last.filter(|last| last.seq == entry.cursor.seq.0 && last.offset + last.text.len() == delta.offset) {
            Some(last) => last.text.push_str(&delta.text),
            None => {
                waiting.newest.insert(delta.part, waiting.texts.len());
                waiting.texts.push(Piece {
                    conversation: delta.conversation,
                    epoch: entry.cursor.epoch,
                    seq: entry.cursor.seq.0,
                    turn: delta.turn,
                    message: delta.message,
                    part: delta.part,
                    ordinal: delta.ordinal,
                    reasoning: delta.kind == domain::PartKind::Reasoning,
                    place: delta.place.0,
                    at: part_began_at,
                    offset: delta.offset,
                    text: delta.text.to_string(),
                });
            }
        }
        drop(guard);
        self.wake.notify_one();
    }

    pub(super) fn order(&self, order: Order) {
        self.lock().orders.push(order);
        self.wake.notify_one();
    }

    pub(super) fn topic(&self, topic: String) {
        self.lock().topics.push(topic);
        self.wake.notify_one();
    }

    /// Asks for the letters about a subject, or says that they need not come any more.
    pub(super) fn follow(&self, subject: Subject, follow: bool) {
        self.lock().subjects.push((subject, follow));
        self.wake.notify_one();
    }

    /// Sends everything that waits. What cannot be sent is lost.
    pub(super) async fn send(&self, carrier: &Arc<dyn Carrier>) {
        let mut number = self.sending.lock().await;
        let Waiting { facts, deleted, texts, orders, topics, subjects, newest: _ } = std::mem::take(&mut *self.lock());
        for (subject, follow) in subjects {
            if follow {
                carrier.follow(subject).await;
            } else {
                carrier.unfollow(subject).await;
            }
        }
        let mut news: Vec<Item> = facts.into_iter().map(|(conversation, span)| Item::Facts(conversation, span)).collect();
        news.extend(orders.into_iter().map(Item::Order));
        news.extend(topics.into_iter().map(Item::Topic));
        // Facts stand before the text that was written after them. What is read of them comes a little later all the same.
        for items in packed(news, carrier.limit()) {
            *number += 1;
            self.post(carrier, Subject::News, *number, items).await;
        }
        let mut by_conversation: HashMap<ConversationId, Vec<Item>> = HashMap::new();
        for piece in texts {
            let items = by_conversation.entry(piece.conversation).or_default();
            items.extend(in_shares(piece, carrier.limit() / SHARE_OF_TEXT).map(Item::Text));
        }
        if carrier.has_subjects() {
            for (conversation, items) in by_conversation {
                for items in packed(items, carrier.limit()) {
                    self.post(carrier, Subject::Text(conversation), 0, items).await;
                }
            }
        } else {
            let items = by_conversation.into_values().flatten().collect();
            for items in packed(items, carrier.limit()) {
                *number += 1;
                self.post(carrier, Subject::News, *number, items).await;
            }
        }
        for items in packed(deleted.into_iter().map(Item::Deleted).collect(), carrier.limit()) {
            *number += 1;
            self.post(carrier, Subject::News, *number, items).await;
        }
    }

    async fn post(&self, carrier: &Arc<dyn Carrier>, subject: Subject, number: u64, items: Vec<Item>) {
        let letter = Letter { from: self.from, number, items };
        let Ok(text) = serde_json::to_string(&letter) else { return };
        if let Err(error) = carrier.send(subject, text).await {
            // The carrier says by itself that it is away.
            tracing::debug!(%error, "a letter to other nodes is lost");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for what a letter has besides its items.
const ENVELOPE: usize = 100;

/// As many items in each letter as fit. One that is too large by itself is left out.
fn packed(items: Vec<Item>, limit: usize) -> Vec<Vec<Item>> {
    let mut letters: Vec<Vec<Item>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = serde_json::to_string(&item).map_or(usize::MAX, |text| text.len() + 1);
        if size > limit.saturating_sub(ENVELOPE) {
            tracing::warn!(size, "something is too large to be told to other nodes");
            continue;
        }
        match letters.last_mut().filter(|_| size <= room) {
            Some(last) => last.push(item),
            None => {
                room = limit - ENVELOPE;
                letters.push(vec![item]);
            }
        }
        room -= size;
    }
    letters
}

/// A piece as several, each with so many bytes of text at most.
fn in_shares(piece: Piece, most: usize) -> impl Iterator<Item = Piece> {
    let mut rest = Some(piece);
    std::iter::from_fn(move || {
        let mut piece = rest.take()?;
        if piece.text.len() > most {
            let behind = piece.text.split_off(piece.text.floor_char_boundary(most.max(4)));
            rest = Some(Piece { offset: piece.offset + piece.text.len(), text: behind, ..piece.clone() });
        }
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use domain::{ConversationId, MessageId, NodeId, PartId, Timestamp, TurnId};

    use super::{Item, Letter, in_shares, packed};
    use crate::events::pieces::Piece;

    fn piece(text: String) -> Piece {
        Piece {
            conversation: ConversationId::new(),
            epoch: 3,
            seq: 1_000_000,
            turn: TurnId::new(),
            message: MessageId::new(),
            part: PartId::new(),
            ordinal: 7,
            reasoning: false,
            place: 2_000_001,
            at: Timestamp(1_800_000_000_000),
            offset: 100,
            text,
        }
    }

    #[test]
    fn every_letter_keeps_to_the_limit_whatever_the_text() {
        const LIMIT: usize = 7900;
        for text in ["x".repeat(50_000), "\u{1}".repeat(20_000), "漢😀\"\\".repeat(3000)] {
            let whole = piece(text.clone());
            let shares: Vec<Piece> = in_shares(whole, LIMIT / 8).collect();
            let mut end = 100;
            for share in &shares {
                assert_eq!(share.offset, end);
                end += share.text.len();
            }
            assert_eq!(shares.iter().map(|share| share.text.as_str()).collect::<String>(), text);
            let count = shares.len();
            let letters = packed(shares.into_iter().map(Item::Text).collect(), LIMIT);
            assert_eq!(letters.iter().map(Vec::len).sum::<usize>(), count);
            for items in letters {
                let letter = serde_json::to_string(&Letter { from: NodeId::new(), number: u64::MAX, items }).expect("JSON");
                assert!(letter.len() <= LIMIT, "{}", letter.len());
            }
        }
    }
}
