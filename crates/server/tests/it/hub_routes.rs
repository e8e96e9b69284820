//! Every method of every path of the hub: whose business it is. The table must be as long as the router's.

use std::collections::BTreeSet;

use crate::hub_roles::{Kind, PLACES, Place};

/// Where the router's paths are written.
const SOURCE: &str = include_str!("../../../faces/src/hub/routes.rs");

/// Whose business it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Needs no proof, and none is looked at.
    Open,
    /// After the first account, nobody's.
    SignUp,
    /// Who has any proof. What is listed is what may be seen.
    Anybody,
    Admins,
    /// Reading users.
    Users,
    /// Changing somebody else.
    User,
    /// Reading somebody else's agent.
    Agent,
    /// Making and changing channels.
    ChangeChannels,
    SeeChannel,
    ReadChat,
    Send,
    Arrange,
    Operate,
    /// What people share, wherever it is.
    People,
    DeleteChat,
    SeeContact,
    SayAsAgent,
    /// A platform's, that signs.
    Platform,
    /// As before, and the platform has more than one channel.
    AnyPlatform,
}

/// What is made for a request that uses something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spends {
    Nothing,
    /// What was changed in the chat is put back afterwards.
    State,
    Chat,
    Channel,
    User,
    Agent,
    Token,
    Grant,
    Session,
    Note,
    Reply,
}

#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub method: &'static str,
    /// As the router has it. In `body` and in the path, names in braces stand for ids.
    pub path: &'static str,
    pub body: &'static str,
    pub rule: Rule,
    /// What somebody who may gets.
    pub reaches: &'static [u16],
    pub spends: Spends,
}

const fn row(method: &'static str, path: &'static str, body: &'static str, rule: Rule) -> Row {
    Row { method, path, body, rule, reaches: &[200], spends: Spends::Nothing }
}

impl Row {
    const fn reaches(mut self, reaches: &'static [u16]) -> Self {
        self.reaches = reaches;
        self
    }

    const fn spends(mut self, spends: Spends) -> Self {
        self.spends = spends;
        self
    }

    /// The places that the row can be asked about.
    pub fn places(&self) -> &'static [Place] {
        let names = |name: &str| self.path.contains(name);
        match self.rule {
            Rule::Platform | Rule::AnyPlatform => &[Place::Mine],
            _ if names("{channel}") && names("{chat}") => &PLACES,
            _ if names("{channel}") || names("{chat}") || names("{contact}") => {
                &[Place::Mine, Place::Beside, Place::Foreign, Place::Nowhere]
            }
            _ => &[Place::Mine],
        }
    }

    /// What whoever may not gets, and `None` for who may.
    pub fn refusal(&self, kind: Kind, place: Place) -> Option<(u16, &'static str)> {
        match self.rule {
            Rule::Open => return None,
            // This platform has nothing to ask for.
            Rule::Platform if self.method == "GET" => return Some((422, "Invalid WEBHOOK payload")),
            Rule::Platform => return Some((403, "Invalid signature")),
            Rule::AnyPlatform => return Some((404, "Channel WEBHOOK not found")),
            Rule::SignUp => {
                return match kind {
                    // No proof is as good as any.
                    Kind::Out(401 | 403, _) => out(kind),
                    _ => Some((403, "Users already exist. Signup is disabled.")),
                };
            }
            _ => {}
        }
        out(kind).or_else(|| self.of_role(kind)).or_else(|| self.of_place(kind, place))
    }

    fn of_role(&self, kind: Kind) -> Option<(u16, &'static str)> {
        const SCOPE: (u16, &str) = (403, "Agent scope does not allow this");
        const ADMIN_OR_AGENT: (u16, &str) = (403, "Admin or agent access required");
        let is_linked = kind.is_linked_agent();
        match self.rule {
            Rule::Admins if kind != Kind::Admin => Some((403, "Admin access required")),
            Rule::User if kind != Kind::Admin => Some((403, "Admin access required or can only update own profile")),
            Rule::Users | Rule::Agent | Rule::Arrange if is_linked => Some(SCOPE),
            Rule::ChangeChannels | Rule::DeleteChat if is_linked => Some(SCOPE),
            Rule::ChangeChannels | Rule::DeleteChat if kind.is_member() => Some(ADMIN_OR_AGENT),
            Rule::Operate | Rule::People if is_linked => Some(SCOPE),
            Rule::Operate | Rule::People if kind == Kind::AgentOfAll => Some((403, "User access required")),
            Rule::SayAsAgent if kind.is_member() || kind == Kind::Admin => Some(ADMIN_OR_AGENT),
            _ => None,
        }
    }

    fn of_place(&self, kind: Kind, place: Place) -> Option<(u16, &'static str)> {
        const NO_PERMISSION: (u16, &str) = (403, "No permission to access this channel");
        const NO_CHANNEL: (u16, &str) = (404, "Channel not found");
        const NO_CHAT: (u16, &str) = (404, "Chat not found in this channel");
        let is_of_channel = self.path.contains("{channel}");
        match self.rule {
            Rule::SeeChannel if !kind.sees_channel(place) => Some(NO_PERMISSION),
            Rule::ReadChat | Rule::Send | Rule::Arrange | Rule::Operate | Rule::DeleteChat => match place {
                _ if !kind.sees_chat(place) => Some(NO_PERMISSION),
                Place::Nowhere => Some(NO_CHANNEL),
                Place::Crossed => Some(NO_CHAT),
                Place::Mine | Place::Beside | Place::Foreign => self.muted(kind),
            },
            Rule::SayAsAgent if !kind.sees_chat(place) => Some(NO_PERMISSION),
            Rule::SayAsAgent if place == Place::Nowhere => Some(NO_CHAT),
            Rule::SayAsAgent => self.muted(kind),
            Rule::SeeContact if !kind.sees_chat(place) && !is_shared(kind, place) => Some((404, "Contact not found")),
            Rule::SeeContact | Rule::Admins if self.path.contains("{contact}") && place == Place::Nowhere => {
                Some((404, "Contact not found"))
            }
            Rule::SeeChannel | Rule::ChangeChannels | Rule::Admins if is_of_channel && place == Place::Nowhere => {
                Some(NO_CHANNEL)
            }
            _ => None,
        }
    }

    /// A muted agent may read, and not write.
    fn muted(&self, kind: Kind) -> Option<(u16, &'static str)> {
        let writes = matches!(self.rule, Rule::Send | Rule::SayAsAgent);
        (writes && kind == Kind::AgentOfChat { muted: true }).then_some((409, "Agent is muted on this chat"))
    }
}

/// The person of A1 is the one of B1.
fn is_shared(kind: Kind, place: Place) -> bool {
    place == Place::Foreign && kind.sees_chat(Place::Mine)
}

const fn out(kind: Kind) -> Option<(u16, &'static str)> {
    match kind {
        Kind::Out(status, detail) => Some((status, detail)),
        _ => None,
    }
}

/// Something was found, or what is named in the chat is not there.
const FOUND_OR_NOT: &[u16] = &[200, 404];

/// It is done, or the note is somebody else's.
const OWN_OR_NOT: &[u16] = &[200, 403];

pub const ROWS: &[Row] = &[
    row("GET", "/auth/has-users", "", Rule::Open),
    row("POST", "/auth/signup", r#"{"username":"mallory","password":"correct horse battery"}"#, Rule::SignUp),
    row("POST", "/auth/token", r#"{"username":"bystander","password":"correct horse battery"}"#, Rule::Open),
    row("POST", "/auth/refresh", r#"{"refresh_token":"ref_22222222222222222222222222222222"}"#, Rule::Open).reaches(&[401]),
    row("POST", "/auth/logout", "{}", Rule::Anybody).spends(Spends::Session),
    row("GET", "/auth/users", "", Rule::Users),
    row("POST", "/auth/users", r#"{"username":"{fresh}","password":"correct horse battery"}"#, Rule::Admins),
    row("GET", "/auth/users/{user}", "", Rule::Users),
    row("PUT", "/auth/users/{user}", r#"{"is_active":true}"#, Rule::User),
    row("DELETE", "/auth/users/{user}", "", Rule::Admins).spends(Spends::User),
    row("GET", "/auth/agents", "", Rule::Anybody),
    row("POST", "/auth/agents", r#"{"name":"{fresh}","kind":"builtin"}"#, Rule::Admins),
    row("GET", "/auth/agents/{agent}", "", Rule::Agent),
    row("PUT", "/auth/agents/{agent}", r#"{"history_msg_count":41}"#, Rule::Admins),
    row("DELETE", "/auth/agents/{agent}", "", Rule::Admins).spends(Spends::Agent),
    row("GET", "/auth/agents/{agent}/tokens", "", Rule::Admins),
    row("POST", "/auth/agents/{agent}/tokens", "{}", Rule::Admins),
    row("DELETE", "/auth/agents/{agent}/tokens/{token}", "", Rule::Admins).spends(Spends::Token),
    row("POST", "/auth/agents/{agent}/webhook-secret", "{}", Rule::Admins),
    row("POST", "/auth/agents/{agent}/test", "{}", Rule::Admins),
    row("GET", "/auth/agents/{agent}/deliveries", "", Rule::Admins),
    row("POST", "/auth/agents/{agent}/deliveries/{delivery}/retry", "{}", Rule::Admins).reaches(&[404]),
    row("GET", "/channels", "", Rule::Anybody),
    row("POST", "/channels", r#"{"name":"{fresh}","platform":"SLACK"}"#, Rule::ChangeChannels),
    row("GET", "/channels/platforms", "", Rule::Open),
    row("GET", "/channels/{channel}", "", Rule::SeeChannel),
    row("PUT", "/channels/{channel}", r#"{"takeover_minutes":31}"#, Rule::ChangeChannels),
    row("DELETE", "/channels/{channel}", "", Rule::Admins).spends(Spends::Channel),
    row("GET", "/channels/{channel}/credentials", "", Rule::Admins),
    row("GET", "/channels/{channel}/permissions", "", Rule::Admins),
    row("PUT", "/channels/{channel}/permissions/{user}", "{}", Rule::Admins),
    row("DELETE", "/channels/{channel}/permissions/{user}", "", Rule::Admins).spends(Spends::Grant),
    row("GET", "/channels/{channel}/outbox", "", Rule::SeeChannel),
    row("GET", "/channels/{channel}/traffic", "", Rule::SeeChannel),
    row("POST", "/channels/{channel}/test", r#"{"to":"5550001","text":"Hello?"}"#, Rule::Admins),
    row("GET", "/channels/{channel}/chats", "", Rule::SeeChannel),
    row("GET", "/chats", "", Rule::Anybody),
    row("GET", "/channels/{channel}/chats/{chat}", "", Rule::ReadChat),
    row("DELETE", "/channels/{channel}/chats/{chat}", "", Rule::DeleteChat).spends(Spends::Chat),
    row("POST", "/channels/{channel}/chats/{chat}/assign", r#"{"user_id":"{assigned}"}"#, Rule::Arrange).spends(Spends::State),
    row("POST", "/channels/{channel}/chats/{chat}/unassign", "{}", Rule::Arrange).spends(Spends::State),
    row("POST", "/channels/{channel}/chats/{chat}/read", "{}", Rule::Operate),
    row("POST", "/channels/{channel}/chats/{chat}/take", "{}", Rule::Operate).spends(Spends::State),
    row("POST", "/channels/{channel}/chats/{chat}/release", "{}", Rule::Operate).spends(Spends::State),
    row("GET", "/channels/{channel}/chats/{chat}/drafts", "", Rule::Operate),
    row("GET", "/channels/{channel}/chats/{chat}/activity", "", Rule::Operate),
    row("GET", "/channels/{channel}/chats/{chat}/messages", "", Rule::ReadChat),
    row("POST", "/channels/{channel}/chats/{chat}/messages", r#"{"content":"hello"}"#, Rule::Send).spends(Spends::State),
    row("POST", "/channels/{channel}/chats/{chat}/messages/{message}/resend", "{}", Rule::Send).reaches(&[409]),
    row("GET", "/channels/{channel}/chats/{chat}/attachments/{attachment}", "", Rule::ReadChat).reaches(FOUND_OR_NOT),
    row("GET", "/channels/{channel}/chats/{chat}/agents", "", Rule::ReadChat),
    row("POST", "/channels/{channel}/chats/{chat}/agents", r#"{"agent_id":"{agent}"}"#, Rule::Arrange).spends(Spends::State),
    row("GET", "/channels/{channel}/chats/{chat}/agents/{linked}", "", Rule::ReadChat).reaches(FOUND_OR_NOT),
    row("PUT", "/channels/{channel}/chats/{chat}/agents/{linked}", r#"{"active":true}"#, Rule::Arrange)
        .reaches(FOUND_OR_NOT)
        .spends(Spends::State),
    row("DELETE", "/channels/{channel}/chats/{chat}/agents/{linked}", "", Rule::Arrange)
        .reaches(FOUND_OR_NOT)
        .spends(Spends::State),
    row("GET", "/channels/{channel}/chats/{chat}/notes", "", Rule::Operate),
    row("POST", "/channels/{channel}/chats/{chat}/notes", r#"{"content":"canary-note"}"#, Rule::Operate),
    row("PUT", "/channels/{channel}/chats/{chat}/notes/{note}", r#"{"content":"canary-note again"}"#, Rule::Operate)
        .reaches(OWN_OR_NOT),
    row("DELETE", "/channels/{channel}/chats/{chat}/notes/{note}", "", Rule::Operate).reaches(OWN_OR_NOT).spends(Spends::Note),
    row("POST", "/webhooks/agent/{chat}", r#"{"content":"hello"}"#, Rule::SayAsAgent).spends(Spends::State),
    row("GET", "/webhooks/inbound/{platform}/{channel}", "", Rule::Platform),
    row("POST", "/webhooks/inbound/{platform}/{channel}", "{}", Rule::Platform),
    row("GET", "/webhooks/{platform}/{channel}", "", Rule::Platform),
    row("POST", "/webhooks/{platform}/{channel}", "{}", Rule::Platform),
    row("GET", "/api/inbound/{platform}/{channel}", "", Rule::Platform),
    row("POST", "/api/inbound/{platform}/{channel}", "{}", Rule::Platform),
    row("GET", "/webhooks/{platform}", "", Rule::AnyPlatform),
    row("POST", "/webhooks/{platform}", "{}", Rule::AnyPlatform),
    row("GET", "/contacts/{contact}", "", Rule::SeeContact),
    row("POST", "/contacts/{contact}/merge", r#"{"contact_id":"{contact}"}"#, Rule::Admins),
    row("DELETE", "/contacts/{contact}/opt-out", r#"{"reason":"asked by phone"}"#, Rule::Admins),
    row("GET", "/canned-replies", "", Rule::People),
    row("POST", "/canned-replies", r#"{"title":"{fresh}","content":"canary-reply"}"#, Rule::Admins),
    row("PUT", "/canned-replies/{reply}", r#"{"title":"Hours"}"#, Rule::Admins),
    row("DELETE", "/canned-replies/{reply}", "", Rule::Admins).spends(Spends::Reply),
    row("GET", "/ws/stats", "", Rule::Anybody),
    row("GET", "/globals", "", Rule::Open),
    row("GET", "/menu", "", Rule::Anybody),
];

/// Method and path of every route that the source adds.
pub fn of_source(source: &str) -> BTreeSet<(String, String)> {
    let source: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    // A name for several methods at once.
    let named = source.split("let ").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once(" = || ")?;
        Some((format!("{name}()"), rest.split(';').next()?.to_owned()))
    });
    let named: Vec<(String, String)> = named.collect();
    let mut routes = BTreeSet::new();
    for call in source.split(".at(").skip(1) {
        let (path, rest) = call.split_once("\", ").expect("a path, then methods");
        // What follows the last route of a function is none of its methods.
        let mut methods = rest.split('}').next().unwrap_or_default().to_owned();
        for (name, meaning) in &named {
            methods = methods.replace(name, meaning);
        }
        let mut known = 0;
        for method in ["get", "post", "put", "delete", "patch", "any", "head", "options"] {
            let words = methods.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(');
            if words.into_iter().any(|word| word.starts_with(&format!("{method}("))) {
                routes.insert((method.to_uppercase(), path.trim().trim_start_matches('"').to_owned()));
                known += 1;
            }
        }
        assert!(known > 0, "no method is known in {rest}");
    }
    routes
}

/// Routes without a row, and rows without a route.
pub fn differences(source: &str) -> Vec<String> {
    let routes = of_source(source);
    // A row may name a parameter more closely than its route does.
    let rows = ROWS.iter().map(|row| (row.method.to_owned(), row.path.replace("{linked}", "{agent}"))).collect();
    let told = |what: &str, one: &(String, String)| format!("{} {} has no {what}", one.0, one.1);
    let missing = routes.difference(&rows).map(|one| told("row", one));
    let extra = rows.difference(&routes).map(|one| told("route", one));
    missing.chain(extra).collect()
}

#[test]
fn every_route_of_the_hub_has_its_row() {
    assert_eq!(differences(SOURCE), Vec::<String>::new());
    assert!(of_source(SOURCE).len() > 60, "the source is read");
}

#[test]
fn a_new_route_without_a_row_is_found() {
    let with = |line: &str| SOURCE.replacen("Router::new()\n", &format!("Router::new()\n        {line}\n"), 1);
    let found = |line: &str| {
        let source = with(line);
        assert_ne!(source, SOURCE);
        differences(&source)
    };
    assert_eq!(found(r#".at("/auth/secrets", get(accounts::secrets))"#), ["GET /auth/secrets has no row"]);
    assert_eq!(found(r#".at("/auth/has-users", get(accounts::has_users).put(accounts::x))"#), ["PUT /auth/has-users has no row"]);
    let without = SOURCE.replace(r#".at("/menu", get(small::menu))"#, "");
    assert_eq!(differences(&without), ["GET /menu has no route"]);
}
