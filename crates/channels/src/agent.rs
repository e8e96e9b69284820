//! Agents behind webhooks: our own payload, signed as Standard Webhooks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use domain::egress::ChosenBy;
use domain::hub::HubId as _;
use domain::sockets::agent::{AgentAnswer, AgentCall, AgentCaller, AgentReply, Burst, BurstMessage};
use domain::sockets::channel::{MediaLink, Secret};
use domain::sockets::egress::{Answer, Call, Egress, Method};
use serde_json::{Map, Value, json};

use crate::{signature, wire};

/// An agent that answers in the body may think so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// One that does not has only to say that it has heard.
const HEARD_TIMEOUT: Duration = Duration::from_secs(10);
/// Replies in one answer: what an agent says at once.
const MAX_REPLIES: usize = 100;
/// Files of one reply, as many as of any other message.
const MAX_FILES: usize = 10;
const USER_AGENT: &str = concat!("colloquy/", env!("CARGO_PKG_VERSION"));

/// Calls agents through the guarded client.
pub struct AgentWebhook {
    egress: Arc<dyn Egress>,
}

impl AgentWebhook {
    #[must_use]
    pub fn new(egress: Arc<dyn Egress>) -> Self {
        Self { egress }
    }
}

impl std::fmt::Debug for AgentWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentWebhook").finish_non_exhaustive()
    }
}

#[async_trait]
impl AgentCaller for AgentWebhook {
    fn body(&self, burst: &Burst) -> String {
        json!({
            "chat": {
                "id": burst.chat_id,
                "external_id": burst.chat_external_id,
                "channel_id": burst.channel_id,
                "name": burst.chat_name,
                "platform": burst.platform,
                "contact_id": burst.contact_id,
            },
            "messages": burst.messages.iter().map(|message| shown(burst, message)).collect::<Vec<_>>(),
            "delivery_id": burst.delivery_id,
            "agent_id": burst.agent_id,
            "window": burst.window.map(|(open, until)| json!({"open": open, "until": until.map(naive)})),
        })
        .to_string()
    }

    async fn call(&self, call: &AgentCall) -> AgentAnswer {
        let seconds = call.now.0 / 1000;
        let secrets: Vec<&str> = call.secrets.iter().map(|Secret(secret)| secret.as_str()).collect();
        let signatures = signature::standard_webhooks(&secrets, &call.delivery_id, seconds, call.body.as_bytes());
        let timeout = if call.reads_answer { ANSWER_TIMEOUT } else { HEARD_TIMEOUT };
        let request = Call::new(Method::Post, call.url.clone(), ChosenBy::Admin, timeout)
            .header("user-agent", USER_AGENT)
            .header("webhook-id", call.delivery_id.clone())
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signatures)
            .header("colloquy-attempt", call.attempt.to_string())
            .body("application/json", call.body.clone());
        match self.egress.call(request).await {
            Ok(answer) => understood(call, &answer),
            Err(error) => AgentAnswer::Failed { status: None, retry_after_ms: None, error: error.to_string() },
        }
    }
}

fn shown(burst: &Burst, message: &BurstMessage) -> Value {
    let attachments = message.attachments.iter().map(|attachment| {
        json!({
            "id": attachment.id.spelled(),
            "mime_type": attachment.mime_type,
            "size": attachment.size,
            "url": attachment.url,
            "name": attachment.name,
            "state": attachment.state.as_str(),
            "error": attachment.error,
        })
    });
    json!({
        "id": message.id,
        "external_id": message.external_id,
        "chat_id": burst.chat_id,
        "content": message.content,
        "timestamp": naive(message.at),
        "metadata": message.meta,
        "sender": message.sender,
        "sender_id": message.sender_id,
        "sender_name": message.sender_name,
        "is_new": message.is_new,
        "attachments": attachments.collect::<Vec<_>>(),
    })
}

fn understood(call: &AgentCall, answer: &Answer) -> AgentAnswer {
    let status = answer.status;
    match status {
        200..=299 if call.reads_answer => {
            let (replies, no_reply) = replies(&wire::json(answer));
            AgentAnswer::Accepted { status, replies, no_reply }
        }
        200..=299 => AgentAnswer::Accepted { status, replies: Vec::new(), no_reply: false },
        410 => AgentAnswer::Gone { status },
        _ => {
            let asks = matches!(status, 429 | 503);
            let retry_after = if asks { wire::retry_after(answer, call.now) } else { None };
            let retry_after_ms = retry_after.map(|wait| i64::try_from(wait).unwrap_or(i64::MAX));
            AgentAnswer::Failed { status: Some(status), retry_after_ms, error: format!("it answered {status}") }
        }
    }
}

/// What an agent says in its answer. Anything else it answers, such as the seed's `{"response": …}`, says nothing.
fn replies(body: &Value) -> (Vec<AgentReply>, bool) {
    let reply = |item: &Value| {
        let content = wire::text(item, "/content").unwrap_or_default();
        let meta = item.get("meta_data").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        let media: Vec<MediaLink> = wire::items(item, "/attachments").iter().filter_map(link).take(MAX_FILES).collect();
        (!content.is_empty() || !media.is_empty()).then_some(AgentReply { content, meta, media })
    };
    let replies = wire::items(body, "/replies").iter().filter_map(reply).take(MAX_REPLIES).collect();
    (replies, body.get("no_reply") == Some(&Value::Bool(true)))
}

/// A file that the platform is to fetch; one without a type or with an address that is none is left out.
fn link(item: &Value) -> Option<MediaLink> {
    let url = wire::text(item, "/url").filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
    Some(MediaLink { url, mime_type: wire::text(item, "/mime_type")?, name: wire::text(item, "/name") })
}

/// `2026-11-20T10:20:34.437000`: UTC, as everywhere in the hub.
fn naive(at: Timestamp) -> String {
    let shown = jiff::Timestamp::from_millisecond(at.0).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string());
    shown.map(|text| text + "000").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::sockets::agent::{AgentAnswer, AgentCall, AgentReply};
    use domain::sockets::channel::MediaLink;
    use domain::sockets::egress::Answer;
    use serde_json::{Map, json};

    use super::{naive, replies, understood};

    fn call(reads_answer: bool) -> AgentCall {
        AgentCall {
            url: String::new(),
            delivery_id: "dlv_2222222222".to_owned(),
            attempt: 1,
            body: String::new(),
            secrets: Vec::new(),
            reads_answer,
            now: Timestamp(1_795_167_564_822),
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn times_are_spelled_as_everywhere_in_the_hub() {
        assert_eq!(naive(Timestamp(1_795_167_564_822)), "2026-11-20T09:39:24.822000");
        assert_eq!(naive(Timestamp(1_795_167_564_000)), "2026-11-20T09:39:24.000000");
    }

    #[test]
    fn replies_are_read_and_everything_else_is_ignored() {
        let said = |content: &str| AgentReply { content: content.to_owned(), meta: Map::new(), media: Vec::new() };
        assert_eq!(
            replies(&json!({"replies": [{"content": "a"}, {"content": ""}, 5, {"content": "b"}]})),
            (vec![said("a"), said("b")], false)
        );
        let file = json!({"url": "https://a.example/1.png", "mime_type": "image/png", "name": "1.png"});
        let strange = json!({"url": "file:///etc/passwd", "mime_type": "text/plain"});
        let (with_file, _) = replies(&json!({"replies": [{"attachments": [file, strange, {"url": "https://a.example/2"}]}]}));
        let link = MediaLink {
            url: "https://a.example/1.png".to_owned(),
            mime_type: "image/png".to_owned(),
            name: Some("1.png".to_owned()),
        };
        assert_eq!(with_file, [AgentReply { media: vec![link], ..said("") }]);
        assert_eq!(replies(&json!({"no_reply": true})), (Vec::new(), true));
        for other in [json!({"response": "pong"}), json!([1]), json!(null), json!({"replies": "a", "no_reply": "yes"})] {
            assert_eq!(replies(&other), (Vec::new(), false), "{other}");
        }
    }

    #[test]
    fn what_is_no_success_is_a_failed_attempt() {
        let of = |status, headers: &[(&str, &str)]| understood(&call(true), &answer(status, headers, "{}"));
        assert!(matches!(of(204, &[]), AgentAnswer::Accepted { status: 204, .. }));
        assert_eq!(of(410, &[]), AgentAnswer::Gone { status: 410 });
        for status in [302, 400, 404, 429, 500, 503] {
            assert!(matches!(of(status, &[]), AgentAnswer::Failed { retry_after_ms: None, .. }), "{status}");
        }
        let asked = [("retry-after", "7")];
        assert!(matches!(of(503, &asked), AgentAnswer::Failed { retry_after_ms: Some(7000), .. }));
        assert!(matches!(of(500, &asked), AgentAnswer::Failed { retry_after_ms: None, .. }), "only who may ask is heard");
    }

    #[test]
    fn who_does_not_answer_is_not_read() {
        let said = answer(200, &[], r#"{"replies":[{"content":"a"}]}"#);
        let heard = AgentAnswer::Accepted { status: 200, replies: Vec::new(), no_reply: false };
        assert_eq!(understood(&call(false), &said), heard);
    }
}
