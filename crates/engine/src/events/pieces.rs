//! Text that another node writes. It comes in pieces with an offset, in any order, some twice and some never; here each goes
//! to its place, once.

use std::collections::VecDeque;

use domain::{ConversationId, Event, MessageId, Part, PartBody, PartId, PartKind, Place, Seq, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, deltas};

use super::live::OpenPart;

/// Bytes of a text that a follower is given in one piece, if it has missed much of it: so that a slow reader can be told from
/// a stalled one.
const PIECE: usize = 64 * 1024;
/// Bytes of pieces that wait for what is before them. What does not fit in is read from the store.
const WAITING: usize = 1024 * 1024;
/// Parts whose end is remembered, so that late pieces of them are known for what they are.
const CLOSED: usize = 16;

/// A piece of a part, as the node that writes it sends it to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    #[serde(rename = "c")]
    pub(crate) conversation: ConversationId,
    #[serde(rename = "e")]
    pub(crate) epoch: i64,
    /// The end of the log when it was written.
    #[serde(rename = "s")]
    pub(crate) seq: i64,
    #[serde(rename = "t")]
    pub(crate) turn: TurnId,
    #[serde(rename = "m")]
    pub(crate) message: MessageId,
    #[serde(rename = "p")]
    pub(crate) part: PartId,
    #[serde(rename = "n")]
    pub(crate) ordinal: u32,
    /// It is a thought.
    #[serde(rename = "r")]
    pub(crate) reasoning: bool,
    #[serde(rename = "l")]
    pub(crate) place: i64,
    /// When the part began.
    #[serde(rename = "a")]
    pub(crate) at: Timestamp,
    #[serde(rename = "o")]
    pub(crate) offset: usize,
    #[serde(rename = "x")]
    pub(crate) text: String,
}

impl Piece {
    fn part(&self) -> OpenPart {
        OpenPart {
            turn: self.turn,
            message: self.message,
            part: self.part,
            ordinal: self.ordinal,
            kind: if self.reasoning { PartKind::Reasoning } else { PartKind::Text },
            place: Place(self.place),
            at: self.at,
            text: String::new(),
        }
    }
}

/// Pieces that have no place yet.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    pieces: Vec<Piece>,
    bytes: usize,
    closed: VecDeque<PartId>,
}

/// What is to be done with a piece.
enum Fate {
    /// From this byte on it is new.
    Show(usize),
    Forget,
    Wait,
}

impl Unplaced {
    pub(super) fn add(&mut self, piece: Piece) {
        if self.has_closed(piece.part) {
            return;
        }
        self.bytes += piece.text.len();
        self.pieces.push(piece);
        if self.bytes > WAITING {
            self.pieces.clear();
            self.bytes = 0;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn parts(&self) -> Vec<PartId> {
        let mut parts: Vec<PartId> = self.pieces.iter().map(|piece| piece.part).collect();
        parts.dedup();
        parts
    }

    /// The part is complete: whatever comes of it is late.
    pub(super) fn close(&mut self, part: PartId) {
        self.closed.push_back(part);
        if self.closed.len() > CLOSED {
            self.closed.pop_front();
        }
        self.forget(&[part]);
    }

    pub(super) fn has_closed(&self, part: PartId) -> bool {
        self.closed.contains(&part)
    }

    /// Forgets the pieces of these parts.
    pub(super) fn forget(&mut self, parts: &[PartId]) {
        self.pieces.retain(|piece| !parts.contains(&piece.part));
        self.bytes = self.pieces.iter().map(|piece| piece.text.len()).sum();
    }

    /// The next text to be shown, if there is one now, and its part.
    pub(super) fn next(&mut self, epoch: i64, seq: Seq, open: Option<&OpenPart>) -> Option<(OpenPart, String)> {
        let mut index = 0;
        while let Some(piece) = self.pieces.get(index) {
            match fate(piece, epoch, seq, open) {
                Fate::Wait => index += 1,
                Fate::Forget => {
                    let piece = self.pieces.remove(index);
                    self.bytes -= piece.text.len();
                }
                Fate::Show(from) => {
                    let mut piece = self.pieces.remove(index);
                    self.bytes -= piece.text.len();
                    return Some((piece.part(), piece.text.split_off(from)));
                }
            }
        }
        None
    }
}

fn fate(piece: &Piece, epoch: i64, seq: Seq, open: Option<&OpenPart>) -> Fate {
    if piece.epoch != epoch {
        return if piece.epoch < epoch { Fate::Forget } else { Fate::Wait };
    }
    if let Some(open) = open.filter(|open| open.part == piece.part) {
        let known = open.text.len();
        let end = piece.offset + piece.text.len();
        return match known.checked_sub(piece.offset) {
            None => Fate::Wait,
            Some(_) if end <= known => Fate::Forget,
            Some(from) if piece.text.is_char_boundary(from) => Fate::Show(from),
            // It is not the text that it says it is.
            Some(_) => Fate::Forget,
        };
    }
    // It begins a part. If nothing has happened since, the part is open; otherwise it may be complete by now, and the store
    // knows.
    if piece.offset == 0 && piece.seq == seq.0 { Fate::Show(0) } else { Fate::Wait }
}

/// A text in pieces that a follower can be given at once.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A text or a thought as it was when it was still being written.
pub(super) fn as_open(part: &Part, event: &Event) -> Option<OpenPart> {
    let (kind, text) = match &part.body {
        PartBody::Text { text } => (PartKind::Text, text),
        PartBody::Reasoning { text, .. } => (PartKind::Reasoning, text),
        PartBody::ToolCall(_) | PartBody::ToolResult(_) | PartBody::Opaque(_) => return None,
    };
    Some(OpenPart {
        turn: event.turn?,
        message: part.message,
        part: part.id,
        ordinal: part.ordinal,
        kind,
        place: part.place,
        at: part.created_at,
        text: text.clone(),
    })
}

/// The open parts of a turn, as far as they are stored.
pub(crate) fn open_parts(tx: &mut Tx, turn: TurnId) -> Result<Vec<OpenPart>, StoreError> {
    let mut parts: Vec<OpenPart> = Vec::new();
    for delta in deltas::of_turn(tx, turn)? {
        match parts.last_mut().filter(|part| part.part == delta.part) {
            // A stretch that could not be stored leaves a hole; what comes behind it is not shown as if there were none.
            Some(part) if part.text.len() == delta.start => part.text += &delta.text,
            Some(_) => {}
            None if delta.start == 0 => parts.push(OpenPart {
                turn: delta.turn,
                message: delta.message,
                part: delta.part,
                ordinal: delta.ordinal,
                kind: delta.kind,
                place: delta.place,
                at: delta.at,
                text: delta.text,
            }),
            None => {}
        }
    }
    Ok(parts)
}
