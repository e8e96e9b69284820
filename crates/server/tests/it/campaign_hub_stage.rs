//! What the campaigns against the hub share: the program as a process, an agent's service and a platform beside it, and a
//! channel with an agent of each kind.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::hub::{DeliveryId, HubId as _};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::campaign_support::{Api, Machine, PATIENCE};
use crate::harness_http::{Client, Request};
use crate::hub_peer::{Call, Peer, Plan};
use crate::hub_world::{Hub, Line, Somebody, text};
use crate::upstream::Upstream;

/// Who answers on a line, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A service whose answer to the call holds the reply.
    InTheAnswer,
    /// A service that takes the call and writes afterwards.
    ByPost,
    /// A model of ours.
    Ours,
}

pub const WAYS: [Way; 3] = [Way::InTheAnswer, Way::ByPost, Way::Ours];

pub struct Stage {
    pub machine: Machine,
    pub hub: Hub,
    pub upstream: Upstream,
    pub agent: Peer,
    pub platform: Peer,
    pub lines: Vec<(Way, Line, Somebody)>,
    poster: JoinHandle<()>,
}

/// What a service was asked, and is to say by itself.
struct ToSay {
    api: Api,
    token: String,
    path: String,
    delivery: String,
    wait: Duration,
}

impl Stage {
    /// `platform` plans what becomes of what is sent; `think` how long an agent's service takes. Every channel and agent gets
    /// `more` besides.
    pub async fn begun(
        platform: impl Fn(&Call, usize) -> Plan + Send + Sync + 'static,
        think: impl Fn(&Call) -> Duration + Send + Sync + 'static,
        channel: &Value,
        agent: &Value,
    ) -> Self {
        let upstream = Upstream::start().await;
        let mut machine = Machine::new(&upstream);
        let api = machine.api();
        let (say, mut to_say) = unbounded_channel::<ToSay>();
        // A service that writes by itself knows its token from whoever set it up.
        let token = Arc::new(std::sync::OnceLock::<String>::new());
        let known = Arc::clone(&token);
        let service = Peer::start(move |call, _| serve(call, &think, &say, api, known.get())).await;
        let platform = Peer::start(platform).await;
        machine.set("COLLOQUY_EGRESS_ALLOW", format!("{},{}", service.host, platform.host));
        machine.start().await;
        let hub = Hub::begun(&Client::new(machine.address)).await;
        let mut lines = Vec::new();
        for way in WAYS {
            let line = hub.line(&format!("{way:?}"), &platform.url, channel).await;
            let mut body = json!({
                "name": format!("{way:?}"), "channel_ids": [line.id], "activate_for_new_conversation": true,
            });
            match way {
                Way::InTheAnswer => body["webhook_url"] = format!("{}/in-the-answer", service.url).into(),
                Way::ByPost => body["webhook_url"] = format!("{}/by-post", service.url).into(),
                Way::Ours => body["kind"] = "builtin".into(),
            }
            for (name, value) in agent.as_object().into_iter().flatten() {
                body[name] = value.clone();
            }
            let somebody = hub.agent(&body).await;
            if way == Way::ByPost {
                token.set(somebody.token.clone()).expect("once");
            }
            lines.push((way, line, somebody));
        }
        let poster = tokio::spawn(async move {
            while let Some(said) = to_say.recv().await {
                tokio::spawn(post(said));
            }
        });
        Self { machine, hub, upstream, agent: service, platform, lines, poster }
    }

    pub fn line(&self, way: Way) -> &Line {
        &self.lines.iter().find(|(known, ..)| *known == way).expect("every way has a line").1
    }

    pub fn api(&self) -> Api {
        self.machine.api()
    }

    /// Waits until no call is open, no burst grows and nothing waits to be sent. As long as less and less is left, it may take
    /// its time: a thousand calls to slow services do.
    pub async fn settled(&self) {
        let began = Instant::now();
        let (mut deadline, mut least) = (began + PATIENCE * 2, usize::MAX);
        let is_slow = |began: Instant| began.elapsed() > PATIENCE / 3;
        let mut quiet = 0;
        while quiet < 2 {
            let left = unsettled(&self.machine);
            let sum: usize = left.iter().map(|(_, count)| *count as usize).sum();
            if sum < least {
                (deadline, least) = (Instant::now() + PATIENCE * 2, sum);
            }
            quiet = if left.is_empty() { quiet + 1 } else { 0 };
            if is_slow(began) {
                println!("after {:?}: {left:?}", began.elapsed());
            }
            assert!(Instant::now() < deadline, "the hub does not come to rest: {left:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn end(self) {
        self.poster.abort();
        assert_eq!(self.upstream.complaints(), Vec::<String>::new());
        self.machine.end().await;
    }
}

/// What the service answers: its words hold the delivery, so that it is known whose answer they are.
fn serve(
    call: &Call,
    think: &impl Fn(&Call) -> Duration,
    say: &UnboundedSender<ToSay>,
    api: Api,
    token: Option<&String>,
) -> Plan {
    let wait = think(call);
    let delivery = text(&call.body["delivery_id"]).to_owned();
    if call.path == "/in-the-answer" {
        return Plan::ok(&json!({"replies": [{"content": answer_to(&delivery)}]})).after(wait);
    }
    let (channel, chat) = (text(&call.body["chat"]["channel_id"]), text(&call.body["chat"]["id"]));
    let path = format!("/channels/{channel}/chats/{chat}/messages");
    // Nobody listens any more when the test is over.
    let _ = say.send(ToSay { api, token: token.expect("set up").clone(), path, delivery, wait });
    Plan::ok(&json!({}))
}

/// Writes until it is known what came of it.
async fn post(said: ToSay) {
    tokio::time::sleep(said.wait).await;
    let request = Request::post(&said.path, &json!({"content": answer_to(&said.delivery)}))
        .header("Authorization", &format!("Bearer {}", said.token))
        .header("Idempotency-Key", &said.delivery)
        .header("Colloquy-Delivery", &said.delivery);
    while !matches!(said.api.send(request.clone()).await, Ok((200 | 409, _))) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn answer_to(delivery: &str) -> String {
    format!("answer to {delivery}")
}

/// A platform that insists until its message is taken. Gives the chat.
pub async fn insist(api: Api, request: impl Fn() -> Request) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match api.send(request()).await {
            Ok((200, body)) => return text(&body["chat_id"]).to_owned(),
            Ok((503, _)) | Err(_) => {}
            Ok((status, body)) => panic!("{status} {body}"),
        }
        assert!(Instant::now() < deadline, "the message is not taken within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn database(machine: &Machine) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(machine.data_dir().join("colloquy.db")).expect("the database opens");
    database.busy_timeout(PATIENCE).expect("a timeout");
    database
}

/// The id in a column.
pub fn id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

/// Deliveries whose outcome the program does not know.
pub fn open_deliveries(machine: &Machine) -> HashSet<String> {
    let database = database(machine);
    let mut select = database.prepare("SELECT id FROM agent_delivery WHERE state = 'open'").expect("a query");
    let ids = select.query_map([], |row| id(row, 0)).expect("ids");
    ids.map(|id| DeliveryId::from_uuid(id.expect("an id")).spelled()).collect()
}

/// What is still going on, by kind.
fn unsettled(machine: &Machine) -> Vec<(&'static str, i64)> {
    let database = database(machine);
    let counts = [
        ("open calls", "SELECT count(*) FROM agent_delivery WHERE state = 'open'"),
        ("growing bursts", "SELECT count(*) FROM chat_agent WHERE pending_since IS NOT NULL"),
        ("answers awaited", "SELECT count(*) FROM agent_delivery WHERE state = 'done' AND reply_due_at IS NOT NULL"),
        ("messages to be sent", "SELECT count(*) FROM outbox WHERE state = 'queued'"),
    ];
    let count = |query: &str| database.query_row(query, [], |row| row.get(0)).expect("a count");
    counts.into_iter().map(|(what, query)| (what, count(query))).filter(|(_, count)| *count > 0).collect()
}
