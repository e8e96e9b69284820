//! However a stream is cut into chunks, it says the same; and whatever a stream holds, reading it ends.

use std::time::{Duration, Instant};

use domain::sockets::language_model::ModelEvent;

use crate::support::{Answer, Luck, fixture, fixture_names, read};

/// It takes a few seconds in an unoptimised build; a reading that hangs would never end.
const TIME_FOR_ALL_MUTATIONS: Duration = Duration::from_secs(60);
const MUTATIONS: u64 = 10_000;
/// Bytes that mean something to one of the readers.
const MARKS: &[u8] = b"\r\n\0\xff\"\\{}[]:";

/// The finding of every test here: two readings of one stream that differ.
fn same(whole: &Answer, cut: &Answer) -> Result<(), String> {
    if whole == cut { Ok(()) } else { Err(format!("whole: {whole:?}\ncut: {cut:?}")) }
}

#[track_caller]
fn assert_same(name: &str, whole: &Answer, chunks: &[&[u8]]) {
    if let Err(difference) = same(whole, &read(chunks.iter().copied())) {
        panic!("{name} in {} chunks\n{difference}", chunks.len());
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let mut luck = Luck::new(1);
    for name in fixture_names() {
        let stream = fixture(&name);
        let whole = read([stream.as_slice()]);
        assert_same(&name, &whole, &stream.chunks(1).collect::<Vec<_>>());
        for at in 0..=stream.len() {
            assert_same(&name, &whole, &[&stream[..at], &stream[at..]]);
        }
        for _ in 0..50 {
            assert_same(&name, &whole, &random_chunks(&stream, &mut luck));
        }
    }
}

fn random_chunks<'a>(mut stream: &'a [u8], luck: &mut Luck) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    while !stream.is_empty() {
        let (chunk, rest) = stream.split_at(luck.below(40).min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}

/// The planted faults: chunks that lose, repeat or swap a byte, and an answer that lost or changed an event.
#[test]
fn a_broken_splitter_is_noticed() {
    let stream = fixture("text");
    let whole = read([stream.as_slice()]);
    let middle = stream.windows(5).position(|bytes| bytes == b"Hello").expect("the text is there");
    let swapped = [&stream[..middle], &stream[middle + 1..=middle + 1], &stream[middle..=middle], &stream[middle + 2..]];
    for broken in [
        vec![&stream[..middle], &stream[middle + 1..]],
        vec![&stream[..=middle], &stream[middle..]],
        swapped.to_vec(),
        vec![&stream[..middle]],
    ] {
        assert!(same(&whole, &read(broken)).is_err());
    }
    let (mut events, error) = whole.clone();
    events.swap_remove(1);
    assert!(same(&whole, &(events, error)).is_err());
    let (mut events, error) = whole.clone();
    events.push(ModelEvent::TextDone);
    assert!(same(&whole, &(events, error)).is_err());
    assert!(same(&whole, &whole).is_ok());
}

#[test]
fn mutated_streams_neither_panic_nor_hang_and_stay_in_order() {
    let streams: Vec<Vec<u8>> = fixture_names().iter().map(|name| fixture(name)).collect();
    let began = Instant::now();
    for seed in 0..MUTATIONS {
        let mut luck = Luck::new(seed + 1);
        let mut stream = streams[luck.below(streams.len())].clone();
        for _ in 0..=luck.below(6) {
            mutate(&mut stream, &streams, &mut luck);
        }
        let whole = read([stream.as_slice()]);
        assert_in_order(seed, &whole);
        assert_same(&format!("mutation {seed}"), &whole, &random_chunks(&stream, &mut luck));
        assert!(began.elapsed() < TIME_FOR_ALL_MUTATIONS, "too slow at mutation {seed}");
    }
}

fn mutate(stream: &mut Vec<u8>, others: &[Vec<u8>], luck: &mut Luck) {
    if stream.is_empty() {
        return stream.extend_from_slice(b"data: {}\n\n");
    }
    let at = luck.below(stream.len());
    let end = (at + luck.below(200)).min(stream.len());
    match luck.below(8) {
        0 => stream[at] = u8::try_from(luck.below(256)).unwrap_or(0),
        1 => stream.truncate(at),
        2 => drop(stream.drain(at..end)),
        3 => {
            let piece = stream[at..end].to_vec();
            stream.splice(at..at, piece);
        }
        4 => {
            let other = &others[luck.below(others.len())];
            let from = luck.below(other.len());
            let to = (from + luck.below(400)).min(other.len());
            stream.splice(at..at, other[from..to].iter().copied());
        }
        5 => stream.insert(at, MARKS[luck.below(MARKS.len())]),
        6 => swap_events(stream, luck),
        _ => replace_number(stream, at, luck),
    }
}

fn swap_events(stream: &mut Vec<u8>, luck: &mut Luck) {
    let text = String::from_utf8_lossy(stream).into_owned();
    let mut events: Vec<&str> = text.split_inclusive("\n\n").collect();
    let (a, b) = (luck.below(events.len()), luck.below(events.len()));
    events.swap(a, b);
    *stream = events.concat().into_bytes();
}

fn replace_number(stream: &mut [u8], from: usize, luck: &mut Luck) {
    if let Some(digit) = stream[from..].iter_mut().find(|byte| byte.is_ascii_digit()) {
        *digit = b'0' + u8::try_from(luck.below(10)).unwrap_or(0);
    }
}

/// What any answer promises: blocks are closed before others begin, and nothing comes behind the end.
fn assert_in_order(seed: u64, (events, error): &Answer) {
    let mut open = None;
    for (index, event) in events.iter().enumerate() {
        let is_last = index + 1 == events.len();
        open = match (event, open) {
            (ModelEvent::Text(text), None | Some("text")) if !text.is_empty() => Some("text"),
            (ModelEvent::Reasoning(text), None | Some("thought")) if !text.is_empty() => Some("thought"),
            (ModelEvent::TextDone, Some("text")) => None,
            (ModelEvent::ReasoningDone { .. }, None | Some("thought")) => None,
            (ModelEvent::ToolCall { .. } | ModelEvent::Opaque(_), None) => None,
            (ModelEvent::Usage(_), open) => open,
            (ModelEvent::Finished(_), None) if is_last && error.is_none() => None,
            _ => panic!("mutation {seed}: {event:?} at {index} of {events:?} with {error:?}"),
        };
    }
    let finished = matches!(events.last(), Some(ModelEvent::Finished(_)));
    assert_ne!(finished, error.is_some(), "mutation {seed}: exactly one of end and error");
}
