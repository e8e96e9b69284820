//! P15: every route of the hub for everybody, everywhere. Who may not see something gets the contract's words and not a byte
//! more, and changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use serde_json::{Value, json};

use crate::harness_http::{Answer, Client, Request};
use crate::hub_roles::{Ids, Kind, Place, ROLES, Role, World};
use crate::hub_routes::{ROWS, Row, Spends};
use crate::hub_world::{fresh, patiently, text};

/// Requests of the matrix that are on their way at once.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_is_theirs_and_not_a_byte_more() {
    let world = World::begun().await;
    let refused = nobody_gets_in(&world).await;
    let allowed = who_may_gets_in(&world).await;
    println!("{} rows, {} roles: {refused} cells refused, {allowed} cells allowed", ROWS.len(), ROLES.len());
    assert!(refused > 1000 && allowed > 400, "the matrix is whole");
    world.server.stop().await;
}

/// All cells of those who may not. Gives how many there are.
async fn nobody_gets_in(world: &World) -> usize {
    let before = settled(world).await;
    let of_row = |row: &'static Row| {
        let places = row.places().iter().flat_map(|place| ROLES.into_iter().map(|role| (*place, role)));
        places.filter_map(move |(place, role)| Some((row, place, role, row.refusal(role.kind(), place)?)))
    };
    let cells = ROWS.iter().flat_map(of_row).map(|(row, place, role, refusal)| refused(world, row, place, role, refusal));
    let count = stream::iter(cells).buffer_unordered(AT_ONCE).count().await;
    let after = everything_stored(world);
    for (table, rows) in &before {
        assert_eq!(Some(rows), after.get(table), "{table} has changed, although nobody was let in");
    }
    count
}

async fn refused(world: &World, row: &Row, place: Place, role: Role, (status, detail): (u16, &str)) {
    let cell = format!("{} {} as {role:?} at {place:?}", row.method, row.path);
    let request = request(world, row, &world.ids(place), "token_2222222222");
    let answer = patiently(world.client(role), request).await;
    assert_eq!(answer.status(), status, "{cell}: {}", answer.text());
    assert_eq!(answer.text(), words(detail), "{cell}");
    assert_eq!(head_leaks(world, role.kind(), &answer), Vec::<String>::new(), "{cell}");
}

/// All cells of those who may, who are told nothing that is hidden from them.
async fn who_may_gets_in(world: &World) -> usize {
    let mut cells = 0;
    for row in ROWS {
        for place in row.places() {
            let roles: Vec<Role> = ROLES.into_iter().filter(|role| row.refusal(role.kind(), *place).is_none()).collect();
            cells += roles.len();
            if row.spends == Spends::Nothing {
                future::join_all(roles.into_iter().map(|role| allowed(world, row, *place, role))).await;
                continue;
            }
            for role in roles {
                allowed(world, row, *place, role).await;
                if row.spends == Spends::State {
                    world.restore(*place).await;
                }
            }
        }
    }
    cells
}

async fn allowed(world: &World, row: &Row, place: Place, role: Role) {
    let cell = format!("{} {} as {role:?} at {place:?}", row.method, row.path);
    let (client, request) = prepared(world, row, role, place).await;
    let answer = patiently(&client, request).await;
    let shown = answer.text();
    assert!(row.reaches.contains(&answer.status()), "{cell}: {} {shown}", answer.status());
    assert_eq!(world.leaks(role.kind(), &shown), Vec::<String>::new(), "{cell}: {shown}");
    assert_eq!(head_leaks(world, role.kind(), &answer), Vec::<String>::new(), "{cell}");
}

/// The whole body of a refusal.
fn words(detail: &str) -> String {
    match detail {
        "Field required" => {
            let entry = json!({"type": "missing", "loc": ["header", "authorization"], "msg": detail, "input": null});
            json!({"detail": [entry]}).to_string()
        }
        _ => json!({"detail": detail}).to_string(),
    }
}

fn head_leaks(world: &World, kind: Kind, answer: &Answer) -> Vec<String> {
    let head: String = answer.head.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    world.leaks(kind, &head)
}

/// `token`: of the bystanding agent.
fn request(world: &World, row: &Row, ids: &Ids, token: &str) -> Request {
    let linked = if ids.chat == world.a1.chat { &world.agent_of_chat.id } else { &world.bystanding_agent.id };
    let named = fresh("thing");
    let fill = |text: &str| {
        let names = [
            ("{channel}", ids.channel.as_str()),
            ("{chat}", &ids.chat),
            ("{contact}", &ids.contact),
            ("{message}", &ids.message),
            ("{attachment}", "file_2222222222"),
            ("{note}", &ids.note),
            ("{reply}", &world.reply),
            ("{user}", &world.bystander.id),
            ("{assigned}", &world.assigned.id),
            ("{agent}", &world.bystanding_agent.id),
            ("{linked}", linked),
            ("{token}", token),
            ("{delivery}", "dlv_2222222222"),
            ("{platform}", "webhook"),
            ("{fresh}", &named),
        ];
        names.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
    };
    let request = Request::new(row.method, &fill(row.path));
    if row.body.is_empty() { request } else { request.bytes("application/json", fill(row.body).as_bytes()) }
}

/// The request, and what it uses up is there.
async fn prepared(world: &World, row: &Row, role: Role, place: Place) -> (Client, Request) {
    let hub = &world.hub;
    let client = world.client(role).clone();
    let mut ids = world.ids(place);
    let mut token = String::new();
    let replaced = |request: Request, old: &str, new: &str| Request { target: request.target.replace(old, new), ..request };
    match row.spends {
        Spends::Nothing | Spends::State => {}
        Spends::Chat => ids = world.spare(place).await,
        Spends::Channel => {
            let made = hub.post("/channels", &json!({"name": fresh("channel"), "platform": "SLACK"})).await;
            ids.channel = text(&made["id"]).to_owned();
        }
        Spends::Token => {
            let made = hub.post(&format!("/auth/agents/{}/tokens", world.bystanding_agent.id), &json!({})).await;
            token = text(&made["id"]).to_owned();
        }
        Spends::Grant => {
            hub.put(&format!("/channels/{}/permissions/{}", ids.channel, world.bystander.id), &json!({})).await;
        }
        Spends::User => {
            let made = hub.post("/auth/users", &json!({"username": fresh("user"), "password": "correct horse battery"})).await;
            return (client, replaced(request(world, row, &ids, ""), &world.bystander.id, text(&made["id"])));
        }
        Spends::Agent => {
            let made = hub.post("/auth/agents", &json!({"name": fresh("agent"), "kind": "builtin"})).await;
            return (client, replaced(request(world, row, &ids, ""), &world.bystanding_agent.id, text(&made["id"])));
        }
        Spends::Note => {
            let chat = format!("/channels/{}/chats/{}", ids.channel, ids.chat);
            let made = hub.post(&format!("{chat}/notes"), &json!({"content": "canary-note"})).await;
            ids.note = text(&made["id"]).to_owned();
        }
        Spends::Reply => {
            let made = hub.post("/canned-replies", &json!({"title": fresh("reply"), "content": "canary-reply"})).await;
            return (client, replaced(request(world, row, &ids, ""), &world.reply, text(&made["id"])));
        }
        Spends::Session => return (one_of_its_own(world, role).await, request(world, row, &ids, "")),
    }
    (client, request(world, row, &ids, &token))
}

/// A client of the same role whose proof is worth nothing afterwards.
async fn one_of_its_own(world: &World, role: Role) -> Client {
    let with = |token: &str| world.hub.nobody().with_token(token);
    let agent = async |id: &str| {
        let made = world.hub.post(&format!("/auth/agents/{id}/tokens"), &json!({})).await;
        with(text(&made["access_token"]))
    };
    match role {
        Role::Admin => with(&world.hub.log_in("root").await),
        Role::Granted => with(&world.hub.log_in("granted").await),
        Role::Assigned => with(&world.hub.log_in("assigned").await),
        Role::Stranger => with(&world.hub.log_in("stranger").await),
        Role::AgentOfAll => agent(&world.agent_of_all.id).await,
        Role::AgentOfChat => agent(&world.agent_of_chat.id).await,
        Role::MutedAgent => agent(&world.muted_agent.id).await,
        Role::AgentOfNothing => agent(&world.agent_of_nothing.id).await,
        Role::AdminsProgram | Role::GrantedsProgram => {
            let name = if role == Role::AdminsProgram { "root" } else { "granted" };
            let nobody = world.hub.nobody();
            let cookie =
                crate::harness::sign_in(&nobody, &json!({"username": name, "password": crate::hub_world::PASSWORD})).await;
            let browser = nobody.clone().with("Origin", &nobody.origin()).with("Cookie", &cookie);
            let made = browser.send(Request::post("/api/tokens", &json!({"name": "short-lived"}))).await.expect(201);
            with(text(&made["token"]))
        }
        // What these hold is no session of the hub's, or nobody else needs it afterwards.
        _ => world.client(role).clone(),
    }
}

/// What is stored when nothing goes on any more.
async fn settled(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut before = everything_stored(world);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = everything_stored(world);
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Every row of every table, but for those that say when somebody was last here.
fn everything_stored(world: &World) -> BTreeMap<String, Vec<String>> {
    const CHANGING: [&str; 4] = ["token", "sign_in", "node", "request_key"];
    let path = world.server.place.data_dir().join("colloquy.db");
    let database = rusqlite::Connection::open(path).expect("the database opens");
    let mut names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").expect("a query");
    let names: Vec<String> = names.query_map([], |row| row.get(0)).expect("names").collect::<Result<_, _>>().expect("names");
    let kept = names.into_iter().filter(|name| !CHANGING.contains(&name.as_str()) && !name.starts_with("sqlite_"));
    let rows_of = |name: &String| {
        let mut select = database.prepare(&format!("SELECT * FROM \"{name}\"")).expect("a query");
        let width = select.column_count();
        let rows = select.query_map([], |row| {
            let value = |index| row.get_ref(index).map(|value| format!("{value:?}"));
            let values: Result<Vec<String>, rusqlite::Error> = (0..width).map(value).collect();
            Ok(values?.join(" "))
        });
        let mut rows: Vec<String> = rows.expect("rows").collect::<Result<_, _>>().expect("rows");
        rows.sort();
        rows
    };
    kept.map(|name| (name.clone(), rows_of(&name))).collect()
}

/// The checker finds what it looks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_would_be_found() {
    let world = World::begun().await;
    let chats = world.hub.get("/chats").await.to_string();
    let found = world.leaks(Kind::Granted, &chats);
    assert!(found.contains(&world.b1.chat) && found.contains(&"canary-line-B".to_owned()), "{found:?}");
    assert_eq!(world.leaks(Kind::Admin, &chats), Vec::<String>::new());
    assert!(world.leaks(Kind::Assigned, &chats).contains(&world.a2.chat));
    let before = settled(&world).await;
    world.hub.post(&format!("{}/take", world.a.chat(&world.a1.chat)), &json!({})).await;
    assert_ne!(before, everything_stored(&world), "a change is seen");
    world.server.stop().await;
}

/// What somebody may do to the own record, which the matrix asks about others only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_record_is_ones_own_but_for_rank() {
    let world = World::begun().await;
    let send = async |role: Role, method: &str, target: &str, body: &Value| {
        let answer = patiently(world.client(role), Request::new(method, target).json(body)).await;
        (answer.status(), answer.json())
    };
    let own = format!("/auth/users/{}", world.assigned.id);
    assert_eq!(send(Role::Assigned, "PUT", &own, &json!({"phone": "+525511112222"})).await.0, 200);
    for higher in [json!({"role": "ADMIN"}), json!({"is_active": false}), json!({"role": "MEMBER", "phone": "+1"})] {
        let (status, body) = send(Role::Assigned, "PUT", &own, &higher).await;
        assert_eq!((status, text(&body["detail"])), (403, "Admin access required"), "{higher}");
    }
    assert_eq!(world.hub.get(&own).await["phone"], "+525511112222", "nothing of a refused change is kept");
    for (role, agent) in [(Role::AgentOfChat, &world.agent_of_chat), (Role::AgentOfAll, &world.agent_of_all)] {
        let own = format!("/auth/agents/{}", agent.id);
        assert_eq!(send(role, "GET", &own, &Value::Null).await.0, 200);
        let (status, body) = send(role, "PUT", &own, &json!({"scope": "all"})).await;
        assert_eq!((status, text(&body["detail"])), (403, "Admin access required"));
    }
    let (_, listed) = send(Role::AgentOfChat, "GET", "/auth/agents", &Value::Null).await;
    let ids: Vec<&str> = listed.as_array().into_iter().flatten().map(|agent| text(&agent["id"])).collect();
    assert_eq!(ids, [world.agent_of_chat.id.as_str()]);
    world.server.stop().await;
}
