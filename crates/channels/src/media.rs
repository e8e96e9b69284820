//! Attachments: what they are is decided by their first bytes, never by what somebody says.

use std::time::Duration;

use domain::egress::ChosenBy;
use domain::sockets::channel::{Media, MediaError};
use domain::sockets::egress::{Answer, Call, CallError, Egress, Method};

/// Of one attachment that comes in.
pub(crate) const MAX_BYTES: usize = 20 * 1024 * 1024;

/// Attachments are larger than answers; the guarded client allows no more.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches an address that a platform or a contact named; `authorization` is given only to hosts that may have it.
pub(crate) async fn fetch(
    egress: &dyn Egress,
    url: &str,
    chosen_by: ChosenBy,
    authorization: Option<String>,
) -> Result<Media, MediaError> {
    media_of(ask(egress, url, chosen_by, authorization).await?)
}

/// As [`fetch`], for an address of a platform that keeps its files elsewhere and sends whoever asks there, at most `hops`
/// times. Each address is looked at like any other, and only the first is shown the authorization.
pub(crate) async fn fetch_sent_on(
    egress: &dyn Egress,
    url: &str,
    authorization: Option<String>,
    hops: usize,
) -> Result<Media, MediaError> {
    let mut answer = ask(egress, url, ChosenBy::Other, authorization).await?;
    let mut asked = url.to_owned();
    for _ in 0..hops {
        let Some(next) = sent_on_to(&answer, &asked) else { break };
        answer = ask(egress, &next, ChosenBy::Other, None).await?;
        asked = next;
    }
    media_of(answer)
}

async fn ask(egress: &dyn Egress, url: &str, chosen_by: ChosenBy, authorization: Option<String>) -> Result<Answer, MediaError> {
    let mut call = Call::new(Method::Get, url, chosen_by, FETCH_TIMEOUT);
    call.max_answer_bytes = MAX_BYTES;
    if let Some(authorization) = authorization {
        call = call.header("authorization", authorization);
    }
    egress.call(call).await.map_err(media_error)
}

fn sent_on_to(answer: &Answer, asked: &str) -> Option<String> {
    let place = answer.header("location").filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308))?;
    Some(url::Url::parse(asked).ok()?.join(place).ok()?.into())
}

fn media_of(answer: Answer) -> Result<Media, MediaError> {
    let bytes = successful(answer)?.body;
    Ok(Media { mime_type: sniff(&bytes).to_owned(), bytes })
}

pub(crate) const fn media_error(error: CallError) -> MediaError {
    match error {
        CallError::NotAllowed(_) => MediaError::NotAllowed,
        CallError::TooLarge => MediaError::TooLarge,
        CallError::Unreachable | CallError::NoAnswer => MediaError::TryAgain,
    }
}

pub(crate) fn successful(answer: Answer) -> Result<Answer, MediaError> {
    match answer.status {
        200..300 => Ok(answer),
        408 | 429 | 500.. => Err(MediaError::TryAgain),
        _ => Err(MediaError::Gone),
    }
}

/// Whether a URL's host is one of these or below one of them, over TLS: who may be shown a credential.
pub(crate) fn is_https_host(url: &str, hosts: &[&str]) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let within = |known: &&str| host == *known || host.strip_suffix(known).is_some_and(|left| left.ends_with('.'));
    url.scheme() == "https" && url.port().is_none() && hosts.iter().any(within)
}

/// Offset, first bytes, type. What is not here is shown as bytes.
const KNOWN: [(usize, &[u8], &str); 23] = [
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBPVP8", "image/webp"),
    (8, b"WAVEfmt", "audio/wav"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"fLaC", "audio/flac"),
    (0, b"#!AMR", "audio/amr"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp3gp", "video/3gpp"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyphe", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
];

fn sniff(bytes: &[u8]) -> &'static str {
    let known = KNOWN.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|tail| tail.starts_with(magic)));
    let is_text = || std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(|c| c.is_control() && !"\r\n\t".contains(c)));
    match known {
        Some((_, _, mime_type)) => mime_type,
        None if is_text() => "text/plain",
        None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{is_https_host, sniff};

    #[test]
    fn the_first_bytes_decide() {
        for (bytes, expected) in [
            (&b"\xff\xd8\xff\xe0 jfif"[..], "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"OggS\0", "audio/ogg"),
            (b"\0\0\0\x18ftypmp42", "video/mp4"),
            (b"\0\0\0\x18ftypheic", "image/heic"),
            (b"<svg xmlns='x' onload='y'/>", "text/plain"),
            (b"\xef\xbb\xbf<!doctype html>", "text/plain"),
            (b"%PDF-1.7", "application/pdf"),
            (b"<html><script>", "text/plain"),
            (b"\0\x01\x02", "application/octet-stream"),
            (b"", "text/plain"),
        ] {
            assert_eq!(sniff(bytes), expected);
        }
    }

    #[test]
    fn credentials_go_to_the_platforms_own_hosts_only() {
        for (url, expected) in [
            ("https://api.twilio.com/a", true),
            ("https://media.eu.twilio.com/a", true),
            ("https://twilio.com/a", true),
            ("http://api.twilio.com/a", false),
            ("https://api.twilio.com:8443/a", false),
            ("https://eviltwilio.com/a", false),
            ("https://api.twilio.com.evil.example/a", false),
            ("https://api.twilio.com@evil.example/a", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_https_host(url, &["twilio.com"]), expected, "{url}");
        }
    }
}
