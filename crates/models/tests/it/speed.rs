//! Reading a delta is on the path of every word that people see.

use std::fmt::Write;
use std::time::{Duration, Instant};

use models::anthropic::AnswerReader;

const DELTAS: u32 = 50_000;
/// The goal is 1 µs in an optimised build; this catches what is quadratic, in any build and beside other work.
const TIME_PER_DELTA: Duration = Duration::from_micros(400);

#[test]
fn reading_takes_time_in_proportion() {
    let mut stream =
        String::from("event: content_block_start\ndata: {\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    for number in 0..DELTAS {
        let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"#;
        write!(stream, "event: content_block_delta\ndata: {delta} {number}\"}}}}\n\n").expect("a string grows");
    }
    for chunk_bytes in [1, 150, 16_384, stream.len()] {
        let mut reader = AnswerReader::new("anthropic", "Anthropic");
        let mut events = Vec::with_capacity(DELTAS as usize);
        let began = Instant::now();
        for chunk in stream.as_bytes().chunks(chunk_bytes) {
            reader.push(chunk, &mut events).expect("the stream is sound");
        }
        let per_delta = began.elapsed() / DELTAS;
        println!("chunks of {chunk_bytes} bytes: {per_delta:?} per delta");
        assert_eq!(events.len(), DELTAS as usize);
        assert!(per_delta < TIME_PER_DELTA, "{per_delta:?} per delta in chunks of {chunk_bytes} bytes");
    }
}
