//! Reading what was said, as rows (one for each text block) or as messages with parts. The part that is being written is
//! in neither table: it comes from the live log, which is read first, so that the two together stand for one position.

use std::collections::HashMap;

use domain::{
    Author, ConversationId, Cursor, Message, MessageId, Outcome, Part, PartBody, PartKind, Place, Principal, Seq, TurnId,
};
use store::messages::{self, Page, TextRow};
use store::{StoreError, Tx, turns};
use uuid::Uuid;

use super::{Row, Transcript, TranscriptMessage};
use crate::events::OpenPart;
use crate::{Engine, Error, Opened, Result, access};

pub(crate) async fn rows(
    engine: &Engine,
    who: Principal,
    id: ConversationId,
    before: Option<Uuid>,
    limit: Option<u32>,
) -> Result<Vec<Row>> {
    let attached = engine.inner.bus.live(id).await?;
    let (mark, home) = (attached.live.mark(), engine.home);
    engine
        .inner
        .store
        .read(move |tx| {
            access::conversation(tx, who, home, id)?;
            let page = page(tx, id, before, limit, mark.cursor.seq)?;
            Ok::<_, Error>(text_rows(tx, id, page, mark.open.as_ref())?)
        })
        .await
}

pub(crate) async fn rows_at(engine: &Engine, opened: &Opened, limit: u32) -> Result<(Vec<Row>, bool)> {
    let (id, open) = (opened.conversation.id, opened.open.clone());
    let page = Page { before: None, as_of: Some(opened.as_of), limit: Some(limit.saturating_add(1)) };
    let mut rows = engine.inner.store.read(move |tx| text_rows(tx, id, page, open.as_ref())).await.map_err(Error::from)?;
    let surplus = rows.len().saturating_sub(limit as usize);
    rows.drain(..surplus);
    Ok((rows, surplus > 0))
}

pub(crate) async fn transcript(
    engine: &Engine,
    who: Principal,
    id: ConversationId,
    before: Option<Uuid>,
    limit: Option<u32>,
) -> Result<Transcript> {
    let attached = engine.inner.bus.live(id).await?;
    let (mark, home) = (attached.live.mark(), engine.home);
    let cursor = mark.cursor;
    let messages = engine
        .inner
        .store
        .read(move |tx| {
            access::conversation(tx, who, home, id)?;
            let page = page(tx, id, before, limit, cursor.seq)?;
            Ok::<_, Error>(whole_messages(tx, id, page, cursor, mark.open.as_ref())?)
        })
        .await?;
    Ok(Transcript { messages, cursor })
}

fn page(tx: &mut Tx, id: ConversationId, before: Option<Uuid>, limit: Option<u32>, as_of: Seq) -> Result<Page> {
    let before = match before {
        Some(before) => Some(messages::place_of(tx, id, before)?.ok_or(Error::NotFound)?),
        None => None,
    };
    Ok(Page { before, as_of: Some(as_of), limit })
}

fn text_rows(tx: &mut Tx, id: ConversationId, page: Page, open: Option<&OpenPart>) -> Result<Vec<Row>, StoreError> {
    let mut placed: Vec<(Place, Row)> = messages::text_rows(tx, id, page)?.into_iter().filter_map(row).collect();
    if let Some(open) = open.filter(|open| open.kind == PartKind::Text && in_page(open.place, page)) {
        placed.push((open.place, open_row(open)));
        // A person may have written while the part was being written: such a row stands below it.
        placed.sort_by_key(|(place, _)| *place);
        let surplus = placed.len().saturating_sub(page.limit.map_or(usize::MAX, |limit| limit as usize));
        placed.drain(..surplus);
    }
    let mut rows = placed.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    mark_outcomes(tx, &mut rows, page.as_of)?;
    Ok(rows)
}

fn open_row(open: &OpenPart) -> Row {
    Row {
        id: open.part,
        message: open.message,
        from_person: false,
        text: open.text.clone(),
        at: open.at,
        turn: open.turn,
        client_id: None,
        streaming: true,
        outcome: None,
    }
}

/// The last row of a turn that did not complete says how it ended: the agent's last, or the person's if it has no other.
fn mark_outcomes(tx: &mut Tx, rows: &mut [Row], as_of: Option<Seq>) -> Result<(), StoreError> {
    let mut turn_ids: Vec<TurnId> = rows.iter().map(|row| row.turn).collect();
    turn_ids.dedup();
    for (turn, outcome) in turns::outcomes(tx, &turn_ids, as_of)? {
        if outcome == Outcome::Completed {
            continue;
        }
        let Some(last) = messages::last_text_of_turn(tx, turn)? else { continue };
        if let Some(row) = rows.iter_mut().find(|row| row.id == last) {
            row.outcome = Some(outcome);
        }
    }
    Ok(())
}

/// What nobody is shown takes no place in a page, so that a page with fewer than its limit is the last one.
fn whole_messages(
    tx: &mut Tx,
    id: ConversationId,
    page: Page,
    cursor: Cursor,
    open: Option<&OpenPart>,
) -> Result<Vec<TranscriptMessage>, StoreError> {
    let writing = match turns::running_at(tx, id, cursor.seq)? {
        Some(running) => messages::begun_last(tx, running.id, cursor.seq)?,
        None => None,
    };
    let mut shown: Vec<TranscriptMessage> = Vec::new();
    let mut next = Some(page);
    while let Some(page) = next {
        let found = messages::page(tx, id, page)?;
        let oldest = found.first().map(|message| message.place);
        let is_full = page.limit.is_some_and(|limit| found.len() >= limit as usize);
        let newer = std::mem::take(&mut shown);
        shown = marked(tx, found, page.as_of, writing, open)?;
        let missing = page.limit.map(|limit| limit.saturating_sub(u32::try_from(shown.len()).unwrap_or(u32::MAX)));
        shown.extend(newer);
        next =
            oldest.filter(|_| is_full && missing != Some(0)).map(|oldest| Page { before: Some(oldest), limit: missing, ..page });
    }
    Ok(shown)
}

/// Those that are shown, with what is to be known of each. `writing`: the one that is being written.
fn marked(
    tx: &mut Tx,
    mut found: Vec<Message>,
    as_of: Option<Seq>,
    writing: Option<MessageId>,
    open: Option<&OpenPart>,
) -> Result<Vec<TranscriptMessage>, StoreError> {
    if let Some(open) = open
        && let Some(message) = found.iter_mut().find(|message| message.id == open.message)
    {
        message.parts.push(part(open));
    }
    let turn_ids: Vec<TurnId> = found.iter().map(|message| message.turn).collect();
    let outcomes: HashMap<TurnId, Outcome> = turns::outcomes(tx, &turn_ids, as_of)?.into_iter().collect();
    let firsts: Vec<MessageId> = turns::replies(tx, &turn_ids)?;
    found.retain(|m| m.author != Author::Agent || says_something(m) || firsts.contains(&m.id) || writing == Some(m.id));
    let lasts = messages::last_of_turns(tx, &outcomes.keys().copied().collect::<Vec<_>>())?;
    let marked = found.into_iter().map(|message| {
        let outcome = outcomes.get(&message.turn).filter(|_| lasts.contains(&message.id)).cloned();
        TranscriptMessage { streaming: writing == Some(message.id), outcome, message }
    });
    Ok(marked.collect())
}

/// Blocks that only their provider understands are for nobody else.
fn says_something(message: &Message) -> bool {
    message.parts.iter().any(|part| !matches!(part.body, PartBody::Opaque(_)))
}

fn in_page(place: Place, page: Page) -> bool {
    page.before.is_none_or(|before| place < before)
}

fn part(open: &OpenPart) -> Part {
    let text = open.text.clone();
    let body = match open.kind {
        PartKind::Text => PartBody::Text { text },
        PartKind::Reasoning => PartBody::Reasoning { text, verbatim: None },
    };
    Part { id: open.part, message: open.message, ordinal: open.ordinal, place: open.place, body, created_at: open.at }
}

/// An empty text block makes no row.
fn row(found: TextRow) -> Option<(Place, Row)> {
    let TextRow { part, author, turn, client_id } = found;
    let PartBody::Text { text } = part.body else { return None };
    let from_person = matches!(author, Author::Person(_));
    let (id, message, at) = (part.id, part.message, part.created_at);
    let row = Row { id, message, from_person, text, at, turn, client_id, streaming: false, outcome: None };
    (!row.text.is_empty()).then_some((part.place, row))
}
