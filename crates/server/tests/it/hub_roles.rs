//! Everybody who can ask the hub something, and the places that they ask about.

use serde_json::{Value, json};

use crate::harness::{Setup, TestServer, sign_in};
use crate::harness_http::{Client, Request};
use crate::hub_peer::{Peer, Plan};
use crate::hub_world::{Hub, Line, PASSWORD, Somebody, contact, fresh, text};

/// Who asks, and by what they prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Nobody,
    Liar,
    SignedOut,
    InactiveUser,
    InactiveAgent,
    Owner,
    OwnersBrowser,
    Admin,
    AdminsProgram,
    /// A MEMBER who may see channel A.
    Granted,
    GrantedsProgram,
    GrantedsBrowser,
    /// A MEMBER to whom chat A1 is assigned.
    Assigned,
    Stranger,
    AgentOfAll,
    /// Linked to chat A1.
    AgentOfChat,
    /// Linked to chat A1, and muted there.
    MutedAgent,
    AgentOfNothing,
}

pub const ROLES: [Role; 18] = [
    Role::Nobody,
    Role::Liar,
    Role::SignedOut,
    Role::InactiveUser,
    Role::InactiveAgent,
    Role::AgentOfAll,
    Role::AgentOfChat,
    Role::MutedAgent,
    Role::AgentOfNothing,
    Role::Stranger,
    Role::Assigned,
    Role::Granted,
    Role::GrantedsProgram,
    Role::GrantedsBrowser,
    Role::Owner,
    Role::OwnersBrowser,
    Role::Admin,
    Role::AdminsProgram,
];

/// What somebody is to the hub, whatever proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Refused with this before anything is looked at.
    Out(u16, &'static str),
    Admin,
    Granted,
    Assigned,
    Stranger,
    AgentOfAll,
    AgentOfChat {
        muted: bool,
    },
    AgentOfNothing,
}

impl Role {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Nobody => Kind::Out(422, "Field required"),
            Self::Liar | Self::SignedOut => Kind::Out(401, "Invalid or expired token"),
            Self::InactiveUser => Kind::Out(403, "User account is inactive"),
            Self::InactiveAgent => Kind::Out(403, "Agent is inactive"),
            Self::Owner | Self::OwnersBrowser | Self::Admin | Self::AdminsProgram => Kind::Admin,
            Self::Granted | Self::GrantedsProgram | Self::GrantedsBrowser => Kind::Granted,
            Self::Assigned => Kind::Assigned,
            Self::Stranger => Kind::Stranger,
            Self::AgentOfAll => Kind::AgentOfAll,
            Self::AgentOfChat => Kind::AgentOfChat { muted: false },
            Self::MutedAgent => Kind::AgentOfChat { muted: true },
            Self::AgentOfNothing => Kind::AgentOfNothing,
        }
    }
}

impl Kind {
    pub const fn is_member(self) -> bool {
        matches!(self, Self::Granted | Self::Assigned | Self::Stranger)
    }

    pub const fn is_linked_agent(self) -> bool {
        matches!(self, Self::AgentOfChat { .. } | Self::AgentOfNothing)
    }

    /// Whether everything that there is may be seen.
    pub const fn sees_all(self) -> bool {
        matches!(self, Self::Admin | Self::AgentOfAll)
    }

    pub fn sees_channel(self, place: Place) -> bool {
        self.sees_all() || (self == Self::Granted && !matches!(place, Place::Foreign | Place::Nowhere))
    }

    pub fn sees_chat(self, place: Place) -> bool {
        let is_its_own = matches!(self, Self::Assigned | Self::AgentOfChat { .. }) && place == Place::Mine;
        self.sees_channel(place) || is_its_own
    }
}

/// Where something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Chat A1 in channel A.
    Mine,
    /// Chat A2 in channel A.
    Beside,
    /// Chat B1 in channel B.
    Foreign,
    /// Chat B1, said to be in channel A.
    Crossed,
    /// There are no such ids.
    Nowhere,
}

pub const PLACES: [Place; 5] = [Place::Mine, Place::Beside, Place::Foreign, Place::Crossed, Place::Nowhere];

/// Ids that a path or body names.
#[derive(Debug, Clone)]
pub struct Ids {
    pub channel: String,
    pub chat: String,
    pub contact: String,
    pub message: String,
    pub note: String,
}

/// A server with everybody in it.
pub struct World {
    pub server: TestServer,
    pub hub: Hub,
    pub a: Line,
    pub b: Line,
    pub a1: Ids,
    pub a2: Ids,
    pub b1: Ids,
    pub clients: Vec<(Role, Client)>,
    pub assigned: Somebody,
    pub bystander: Somebody,
    /// A canned reply.
    pub reply: String,
    pub bystanding_agent: Somebody,
    pub agent_of_all: Somebody,
    pub agent_of_chat: Somebody,
    pub muted_agent: Somebody,
    pub agent_of_nothing: Somebody,
    /// Answers for the platform and for every agent, as long as it is there.
    _peer: Peer,
}

impl World {
    pub async fn begun() -> Self {
        let peer = Peer::start(|_, _| Plan::ok(&json!({"no_reply": true}))).await;
        let server = Setup::with_sign_in().setting("COLLOQUY_EGRESS_ALLOW", &peer.host).start().await;
        let hub = Hub::begun(&server.owner()).await;
        let credentials =
            |name: &str| json!({"credentials_to_send_message": {"token": format!("canary-credential-{name}-9876")}});
        let a = hub.line("canary-line-A", &peer.url, &credentials("A")).await;
        let b = hub.line("canary-line-B", &peer.url, &credentials("B")).await;
        // One person on both channels.
        let shared = |id: &str| json!({"id": id, "name": "Shared person", "phone": "+5215550000001"});
        let a1 = ids(&hub, &a, &shared("a1"), "canary-words-A1").await;
        let a2 = ids(&hub, &a, &contact("a2"), "canary-words-A2").await;
        let b1 = ids(&hub, &b, &shared("b1"), "canary-words-B1").await;

        let granted = hub.user("granted", "MEMBER").await;
        hub.put(&format!("/channels/{}/permissions/{}", a.id, granted.id), &json!({})).await;
        let assigned = hub.user("assigned", "MEMBER").await;
        let stranger = hub.user("stranger", "MEMBER").await;
        let inactive = hub.user("inactive", "MEMBER").await;
        hub.put(&format!("/auth/users/{}", inactive.id), &json!({"is_active": false})).await;
        let bystander = hub.user("bystander", "MEMBER").await;
        let signed_out = hub.log_in("stranger").await;
        let client = |token: &str| hub.nobody().with_token(token);
        client(&signed_out).send(Request::post("/auth/logout", &json!({}))).await.expect(200);

        let reply = hub.post("/canned-replies", &json!({"title": "Hours", "content": "canary-reply"})).await;

        let agent = async |name: &str, scope: &str| {
            let url = format!("{}/canary-address-of-{name}", peer.url);
            hub.agent(&json!({"name": format!("canary-agent-{name}"), "webhook_url": url, "scope": scope})).await
        };
        let agent_of_all = agent("all", "all").await;
        let agent_of_chat = agent("chat", "linked").await;
        let muted_agent = agent("muted", "linked").await;
        let agent_of_nothing = agent("nothing", "linked").await;
        let bystanding_agent = agent("bystander", "linked").await;
        let inactive_agent = agent("inactive", "all").await;
        hub.put(&format!("/auth/agents/{}", inactive_agent.id), &json!({"is_active": false})).await;

        let owners_browser = server.browser().await;
        let browser_of = async |name: &str| {
            let proof = json!({"username": name, "password": PASSWORD});
            let cookie = sign_in(&hub.nobody(), &proof).await;
            hub.nobody().with("Origin", &hub.nobody().origin()).with("Cookie", &cookie)
        };
        let granteds_browser = browser_of("granted").await;
        let program_of = async |browser: &Client| {
            let made = browser.send(Request::post("/api/tokens", &json!({"name": "a program"}))).await.expect(201);
            client(text(&made["token"]))
        };
        let clients = vec![
            (Role::Nobody, hub.nobody()),
            (Role::Liar, client("tkn_22222222222222222222222222222222")),
            (Role::SignedOut, client(&signed_out)),
            (Role::InactiveUser, client(&inactive.token)),
            (Role::InactiveAgent, client(&inactive_agent.token)),
            (Role::Owner, server.owner()),
            (Role::OwnersBrowser, owners_browser),
            (Role::Admin, hub.admin.clone()),
            (Role::AdminsProgram, program_of(&browser_of("root").await).await),
            (Role::Granted, client(&granted.token)),
            (Role::GrantedsProgram, program_of(&granteds_browser).await),
            (Role::GrantedsBrowser, granteds_browser),
            (Role::Assigned, client(&assigned.token)),
            (Role::Stranger, client(&stranger.token)),
            (Role::AgentOfAll, client(&agent_of_all.token)),
            (Role::AgentOfChat, client(&agent_of_chat.token)),
            (Role::MutedAgent, client(&muted_agent.token)),
            (Role::AgentOfNothing, client(&agent_of_nothing.token)),
        ];
        let world = Self {
            server,
            hub,
            a,
            b,
            a1,
            a2,
            b1,
            clients,
            assigned,
            bystander,
            reply: text(&reply["id"]).to_owned(),
            bystanding_agent,
            agent_of_all,
            agent_of_chat,
            muted_agent,
            agent_of_nothing,
            _peer: peer,
        };
        world.restore(Place::Mine).await;
        world.leave_a_draft().await;
        world
    }

    pub fn client(&self, role: Role) -> &Client {
        &self.clients.iter().find(|(known, _)| *known == role).expect("everybody has a client").1
    }

    pub fn ids(&self, place: Place) -> Ids {
        let none = |kind: &str| format!("{kind}_2222222222");
        match place {
            Place::Mine => self.a1.clone(),
            Place::Beside => self.a2.clone(),
            Place::Foreign => self.b1.clone(),
            Place::Crossed => Ids { channel: self.a.id.clone(), ..self.b1.clone() },
            Place::Nowhere => Ids {
                channel: none("channel"),
                chat: none("chat"),
                contact: none("contact"),
                message: none("message"),
                note: none("chatnote"),
            },
        }
    }

    /// A place like this one that may be spoiled.
    pub async fn spare(&self, place: Place) -> Ids {
        let line = if place == Place::Foreign { &self.b } else { &self.a };
        ids(&self.hub, line, &contact(&fresh("spare")), "spare words").await
    }

    /// Puts links, assignment and floor of a chat back to what they were.
    pub async fn restore(&self, place: Place) {
        let ids = self.ids(place);
        let chat = format!("/channels/{}/chats/{}", ids.channel, ids.chat);
        if place == Place::Mine {
            self.hub.post(&format!("{chat}/assign"), &json!({"user_id": self.assigned.id})).await;
            self.hub.post(&format!("{chat}/agents"), &json!({"agent_id": self.agent_of_chat.id, "active": true})).await;
            self.hub.post(&format!("{chat}/agents"), &json!({"agent_id": self.muted_agent.id, "active": false})).await;
        } else {
            self.hub.post(&format!("{chat}/unassign"), &json!({})).await;
            for agent in [&self.agent_of_chat, &self.muted_agent, &self.bystanding_agent] {
                let link = Request::delete(&format!("{chat}/agents/{}", agent.id));
                crate::hub_world::patiently(&self.hub.admin, link).await;
            }
        }
        self.hub.post(&format!("{chat}/release"), &json!({})).await;
    }

    /// An agent would have said something while a person had the floor.
    async fn leave_a_draft(&self) {
        let chat = self.a.chat(&self.a1.chat);
        self.hub.post(&format!("{chat}/take"), &json!({})).await;
        let said = Request::post(&format!("{chat}/messages"), &json!({"content": "canary-draft-A1"}));
        let answer = self.client(Role::AgentOfChat).send(said).await;
        assert_eq!((answer.status(), text(&answer.json()["detail"])), (409, "A person has taken over this conversation"));
        self.hub.post(&format!("{chat}/release"), &json!({})).await;
    }

    /// What is written nowhere that somebody of this kind may read.
    pub fn hidden_from(&self, kind: Kind) -> Vec<String> {
        let mut hidden = vec!["canary-credential".to_owned(), "argon2".to_owned()];
        let sees = |place| kind.sees_chat(place);
        if !kind.sees_channel(Place::Mine) && !sees(Place::Mine) {
            hidden.extend(["canary-line-A".to_owned(), self.a.id.clone()]);
        }
        for (place, ids, words) in [
            (Place::Mine, &self.a1, "canary-words-A1"),
            (Place::Beside, &self.a2, "canary-words-A2"),
            (Place::Foreign, &self.b1, "canary-words-B1"),
        ] {
            if !sees(place) {
                hidden.extend([words.to_owned(), ids.chat.clone(), ids.message.clone(), ids.note.clone()]);
            }
        }
        if !kind.sees_channel(Place::Foreign) {
            hidden.extend(["canary-line-B".to_owned(), self.b.id.clone()]);
        }
        if !(kind == Kind::Admin || matches!(kind, Kind::Granted | Kind::Assigned)) {
            hidden.push("canary-draft".to_owned());
        }
        if kind.is_linked_agent() || matches!(kind, Kind::AgentOfAll | Kind::Out(..)) {
            // What people tell each other.
            hidden.extend(["canary-note".to_owned(), "canary-reply".to_owned()]);
        }
        if kind.is_linked_agent() {
            // Its own record alone.
            let own = match kind {
                Kind::AgentOfChat { muted: false } => "chat",
                Kind::AgentOfChat { muted: true } => "muted",
                _ => "nothing",
            };
            let others = ["all", "chat", "muted", "nothing", "bystander", "inactive"].into_iter().filter(|name| *name != own);
            hidden.extend(others.map(|name| format!("canary-address-of-{name}")));
            hidden.push("root@example.org".to_owned());
        }
        hidden
    }

    /// What of it an answer gives away.
    pub fn leaks(&self, kind: Kind, answer: &str) -> Vec<String> {
        self.hidden_from(kind).into_iter().filter(|needle| answer.contains(needle.as_str())).collect()
    }
}

async fn ids(hub: &Hub, line: &Line, contact: &Value, words: &str) -> Ids {
    let heard = hub.hear(line, contact, words).await;
    let chat = hub.get(&line.chat(&heard.chat)).await;
    let note = hub.post(&format!("{}/notes", line.chat(&heard.chat)), &json!({"content": format!("canary-note {words}")})).await;
    Ids {
        channel: line.id.clone(),
        chat: heard.chat,
        contact: text(&chat["contact_id"]).to_owned(),
        message: heard.message,
        note: text(&note["id"]).to_owned(),
    }
}
