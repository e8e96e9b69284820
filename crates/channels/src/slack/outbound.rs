use domain::DeliveryStatus;
use domain::sockets::channel::{Accepted, Outbound, PlatformCode, RefusalKind, SendOutcome};
use domain::sockets::egress::Answer;
use serde_json::{Value, json};

use super::markup::escape;
use crate::wire::{self, by_status, id, refusal, retry_after, text};

pub(super) fn body(message: &Outbound) -> Value {
    let (channel, thread) = message.to.split_once(':').map_or((message.to.as_str(), None), |(channel, ts)| (channel, Some(ts)));
    let mut body = json!({"channel": channel, "text": escape(&message.text)});
    if let Some(thread) = thread {
        body["thread_ts"] = json!(thread);
    }
    body
}

/// Slack's refusals come with status 200.
pub(super) fn outcome(message: &Outbound, answer: &Answer) -> SendOutcome {
    let body = wire::json(answer);
    let word = text(&body, "/error").unwrap_or_default();
    let words = if word.is_empty() { format!("Slack answered {}", answer.status) } else { format!("Slack refused: {word}") };
    let refusal = refusal(Some(word.clone()).filter(|word| !word.is_empty()).map(PlatformCode::Word), &words);
    match (answer.is_success(), body.get("ok").and_then(Value::as_bool), word.as_str()) {
        (true, Some(true), _) => SendOutcome::Accepted(Box::new(Accepted {
            external_id: id(&body, "/ts"),
            status: DeliveryStatus::Sent,
            word: None,
            sent_to: message.to.clone(),
            sent_from: None,
            moved_to: None,
        })),
        (true, None, _) => SendOutcome::Unknown,
        (_, _, "ratelimited" | "rate_limited" | "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout") => {
            SendOutcome::Retry { after_ms: retry_after(answer, message.now), refusal }
        }
        (_, _, "invalid_auth" | "account_inactive" | "token_revoked" | "token_expired" | "not_authed" | "missing_scope") => {
            SendOutcome::Refused(RefusalKind::Auth, refusal)
        }
        (true, Some(false), _) => SendOutcome::Refused(RefusalKind::Permanent, refusal),
        (false, _, _) => by_status(answer, refusal, message.now),
    }
}
