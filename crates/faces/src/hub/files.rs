//! `GET /channels/{c}/chats/{k}/attachments/{a}`: a contact's file. What it is was decided by its bytes, and only what a
//! browser shows without running anything of it is shown; everything else is saved.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::hub::HubId as _;
use engine::{FileReader, StoredFile};
use futures_util::stream::unfold;

use super::caller::Caller;
use super::channels::id_or_none;
use super::chats::Place;
use super::error::HubError;
use crate::App;
use crate::kit::path::Path;

/// Types that are pixels and sound. Neither SVG nor PDF is here: both can hold scripts.
const SHOWN: [&str; 14] = [
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/avif",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "video/3gpp",
    "video/mp4",
    "video/webm",
];

/// A browser may keep it, but asks each time: who may not see it any more, or uses the same browser, must not find it there.
const KEPT: &str = "private, no-cache";

/// Should a browser ever take a file for a page, nothing in it runs, loads or is framed.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// A file, or the part of it that `Range` names.
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Place(place): Place,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let file = app.engine.attachment(caller.who, place, id_or_none(&path.2)).await?;
    // What is in a file never changes, so its id says whether a copy is good.
    let tag = format!("\"{}\"", file.id);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag.as_str()), (CACHE_CONTROL, KEPT)]).into_response());
    }
    let size = u64::try_from(file.size).unwrap_or(0);
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (status, start, end) = match asked.and_then(|asked| range(asked, size)) {
        None => (StatusCode::OK, 0, size),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(None) => {
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, format!("bytes */{size}"))]).into_response());
        }
    };
    let mut response = (status, body(app.engine.read_attachment(&file, start, end))).into_response();
    let mut set = |name: HeaderName, value: &str| {
        // Types are ours, and names are encoded, so they always fit into a header.
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, if file.mime_type == "text/plain" { "text/plain; charset=utf-8" } else { &file.mime_type });
    set(CONTENT_DISPOSITION, &disposition(&file));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(CACHE_CONTROL, KEPT);
    set(ETAG, &tag);
    set(ACCEPT_RANGES, "bytes");
    set(CONTENT_LENGTH, &(end - start).to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        set(CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    Ok(response)
}

fn body(reader: FileReader) -> Body {
    Body::from_stream(unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            // The connection is broken off, so that nobody takes a piece for the whole.
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// `bytes=5-9`, `bytes=5-`, `bytes=-5`: from, and up to but without. `None`: it names no one range, and all is sent;
/// `Some(None)`: the file has nothing of it.
fn range(asked: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (from, to) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (from.trim(), to.trim()) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (from, "") => (number(from)?, size),
        (from, to) => (number(from)?, number(to)?.saturating_add(1).min(size)),
    };
    Some((start < end).then_some((start, end)))
}

fn disposition(file: &StoredFile) -> String {
    let kind = if SHOWN.contains(&file.mime_type.as_str()) { "inline" } else { "attachment" };
    let name = file.name.clone().unwrap_or_else(|| file.id.spelled());
    format!("{kind}; filename*=UTF-8''{}", percent_encoded(&name))
}

/// Everything but letters, digits and a few marks.
fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{percent_encoded, range};

    #[test]
    fn one_range_is_read_and_anything_else_means_all() {
        for (asked, expected) in [
            ("bytes=0-3", Some(Some((0, 4)))),
            ("bytes=4-", Some(Some((4, 10)))),
            ("bytes=-3", Some(Some((7, 10)))),
            ("bytes=-30", Some(Some((0, 10)))),
            ("bytes=5-99", Some(Some((5, 10)))),
            ("bytes=10-", Some(None)),
            ("bytes=6-5", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=0-1,3-4", None),
            ("bytes=a-b", None),
            ("pages=0-3", None),
        ] {
            assert_eq!(range(asked, 10), expected, "{asked}");
        }
        assert_eq!(range("bytes=0-", 0), Some(None));
    }

    #[test]
    fn a_name_ends_no_header() {
        assert_eq!(percent_encoded("a\"; b\r\né.pdf"), "a%22%3B%20b%0D%0A%C3%A9.pdf");
    }
}
