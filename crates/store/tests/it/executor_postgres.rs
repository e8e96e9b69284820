//! The executor on PostgreSQL, without and behind the guard: hostile statements have no effect, and end in time. Runs where
//! `COLLOQUY_TEST_POSTGRES` names a server whose superuser may make databases and roles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::dataset::{Cell, DataSet, Engine, Limits, PostgresSet, RunError, SAMPLE_SQL, Schema, check};
use tokio_postgres::{Client, NoTls};

use crate::dataset_world::{Luck, hostile, mutated};
use crate::executor_sqlite::{LIMITS, run, tells_the_token};
use crate::guard::GOOD_POSTGRES;
use crate::own_server::OwnServer;

const VARIABLE: &str = "COLLOQUY_TEST_POSTGRES";
/// The contract's 2.1 s, and what a machine with other work adds.
const IN_TIME: Duration = Duration::from_millis(5_000);

/// Everything that a statement could have changed, as text: rows, catalogs, roles, settings and large objects.
const EVERYTHING: &str = "
    SELECT string_agg(part, E'\\n' ORDER BY part) FROM (
        SELECT 'row ' || t.name || ' ' || md5(t.rows) AS part FROM (
            SELECT 'patterns' AS name, (SELECT string_agg(p::text, ';' ORDER BY p::text) FROM data.patterns p) AS rows UNION ALL
            SELECT 'orgs', (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM data.orgs o) UNION ALL
            SELECT 'guests', (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM data.guests o) UNION ALL
            SELECT 'links', (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM data.pattern_org_link o) UNION ALL
            SELECT 'accounts', (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM data.accounts o) UNION ALL
            SELECT 'secrets', (SELECT string_agg(o::text, ';' ORDER BY o::text) FROM sys.secrets o)) t
        UNION ALL SELECT 'class ' || relname || ' ' || relkind::text || ' ' || coalesce(relacl::text, '') FROM pg_class
            WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('data', 'sys', 'public'))
        UNION ALL SELECT 'namespace ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_t%'
        UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'data'::regnamespace
        UNION ALL SELECT 'comment ' || description FROM pg_description WHERE objoid = 'data.patterns'::regclass
        -- Other tests have roles and locks of their own on the same server.
        UNION ALL SELECT DISTINCT 'role ' || regexp_replace(rolname, '^reader_.*', 'reader') || rolsuper::text FROM pg_roles
        UNION ALL SELECT 'large object ' || oid::text FROM pg_largeobject_metadata
        UNION ALL SELECT 'lock ' || count(*)::text FROM pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) parts";

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_is_reached_as_safely_as_its_address_asks() {
    let server = OwnServer::start(&["-c ssl=on"]);
    let (plain, options) = server.url.split_once('?').unwrap();
    let encrypted = async |address: &str| {
        let set = PostgresSet::new(address, "pg_catalog").unwrap();
        let schema = Arc::new(set.schema().await?);
        let sql = "select ssl::text from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()";
        let (ran, rows) = run(&DataSet::Postgres(set), &schema, sql, LIMITS).await;
        ran.map(|_| rows)
    };
    let yes = vec![vec![Cell::Text("true".to_owned())]];
    assert_eq!(encrypted(&server.url).await, Ok(yes.clone()), "the certificate is known");
    assert_eq!(encrypted(plain).await, Ok(yes), "it is encrypted if the server can");
    assert_eq!(encrypted(&format!("{plain}?sslmode=disable")).await, Ok(vec![vec![Cell::Text("false".to_owned())]]));
    // Nobody vouches for the server.
    let refused = encrypted(&format!("{plain}?sslmode=require")).await;
    assert!(matches!(refused, Err(RunError::Unavailable(_))), "{refused:?}");
    assert!(options.contains("verify-full"));
}

struct World {
    admin: Client,
    set: DataSet,
    schema: Arc<Schema>,
    before: String,
}

impl World {
    /// `None`: there is no server to test with.
    async fn new(name: &str) -> Option<Self> {
        let Ok(address) = std::env::var(VARIABLE) else {
            eprintln!("skipped: {VARIABLE} names no server");
            return None;
        };
        let database = format!("rules_{name}_{}", std::process::id());
        let reader = format!("reader_{name}_{}", std::process::id());
        let root = connect(&address).await;
        root.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        root.batch_execute(&format!(
            "CREATE ROLE {reader} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION CONNECTION LIMIT 8 PASSWORD 'x'; \
             ALTER ROLE {reader} SET default_transaction_read_only = on; ALTER ROLE {reader} SET temp_file_limit = '64MB'"
        ))
        .await
        .map_or_else(|_| (), |()| ());
        let (server, _) = address.rsplit_once('/').unwrap();
        let admin = connect(&format!("{server}/{database}")).await;
        admin.batch_execute(&set_up(&reader)).await.unwrap();
        let (_, host) = server.rsplit_once('@').unwrap();
        let set = PostgresSet::new(&format!("postgres://{reader}:x@{host}/{database}"), "data").unwrap();
        assert!(set.role().await.unwrap().is_fenced(), "{:?}", set.role().await);
        let schema = Arc::new(set.schema().await.unwrap());
        let before = everything(&admin).await;
        Some(Self { admin, set: DataSet::Postgres(set), schema, before })
    }

    #[track_caller]
    fn same(&self, after: &str, sql: &str) {
        assert!(self.before == after, "{sql} changed the database:\n{}\n{after}", self.before);
    }
}

fn set_up(reader: &str) -> String {
    format!(
        "CREATE SCHEMA data; CREATE SCHEMA sys; SET search_path = data; {SAMPLE_SQL}
         CREATE TABLE accounts (id int, email text, password_hash text); INSERT INTO accounts VALUES (1, 'a@example.org', 'token-f00');
         CREATE TABLE sys.secrets (token text); INSERT INTO sys.secrets VALUES ('token-f00');
         CREATE VIEW leak AS SELECT token FROM sys.secrets;
         CREATE FUNCTION evil() RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO sys.secrets VALUES ('x') RETURNING 1 $$;
         REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT USAGE ON SCHEMA data TO {reader};
         GRANT SELECT ON patterns, orgs, guests, episodes, posts, pattern_org_link, pattern_guest_link, pattern_episode_link,
             pattern_post_link TO {reader};
         REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA data FROM PUBLIC;"
    )
}

async fn connect(address: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn everything(admin: &Client) -> String {
    admin.query_one(EVERYTHING, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_statements_have_no_effect() {
    let Some(world) = World::new("hostile").await else { return };
    for (statement, class) in hostile(Engine::Postgres) {
        let began = Instant::now();
        let (result, rows) = run(&world.set, &world.schema, &statement, LIMITS).await;
        assert!(began.elapsed() < IN_TIME, "{statement}: {:?}", began.elapsed());
        world.same(&everything(&world.admin).await, &statement);
        assert!(!tells_the_token(&rows), "{statement}");
        // By its rights alone the reader may look at catalogs and call some functions; against those the guard stands.
        if !["catalog", "function", "obfuscation", "dynamic"].contains(&class.as_str()) {
            assert!(result.is_err(), "{statement} ({class}) runs: {rows:?}");
        }
        let guarded = check(&statement, &world.schema);
        assert_eq!(guarded.is_ok(), class == "resource", "{statement}: {guarded:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_have_no_effect() {
    let Some(world) = World::new("mutations").await else { return };
    let mut statements: Vec<String> = hostile(Engine::Postgres).into_iter().map(|(statement, _)| statement).collect();
    statements.extend(GOOD_POSTGRES.iter().map(|sql| (*sql).to_owned()));
    let trials = if std::env::var_os("COLLOQUY_LONG").is_some() { 20_000 } else { 200 };
    let limits = Limits { time_ms: 150, rows: 1_000, ..LIMITS };
    for seed in 0..trials {
        let sql = mutated(&statements, &mut Luck::new(seed + 7));
        if sql.contains('\0') {
            continue;
        }
        let began = Instant::now();
        let (_, rows) = run(&world.set, &world.schema, &sql, limits).await;
        assert!(began.elapsed() < IN_TIME, "{sql}: {:?}", began.elapsed());
        assert!(!tells_the_token(&rows), "{sql}");
        if seed % 20 == 0 || seed + 1 == trials {
            world.same(&everything(&world.admin).await, &sql);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_statements_run_as_the_guard_writes_them() {
    let Some(world) = World::new("honest").await else { return };
    for sql in GOOD_POSTGRES {
        let checked = check(sql, &world.schema).unwrap();
        let (result, rows) = run(&world.set, &world.schema, checked.sql(), LIMITS).await;
        let ran = result.unwrap_or_else(|error| panic!("{}: {error}", checked.sql()));
        assert!(ran.rows == rows.len() as u64 && ran.rows > 0, "{sql}");
        assert!(ran.cost.is_some(), "{sql}");
    }
    let endless = "with recursive r(i) as (select 1 union all select i + 1 from r) select count(*) from r";
    let (result, _) = run(&world.set, &world.schema, endless, Limits { time_ms: 200, ..LIMITS }).await;
    assert_eq!(result, Err(RunError::Timeout));
    let (result, _) =
        run(&world.set, &world.schema, "select * from data.orgs a, data.orgs b", Limits { cost: 1.0, ..LIMITS }).await;
    assert_eq!(result, Err(RunError::TooExpensive));
}

/// The planted fault: what a writer changes is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_noticed() {
    let Some(world) = World::new("planted").await else { return };
    world.admin.batch_execute("UPDATE data.orgs SET funding = 0 WHERE id = 1").await.unwrap();
    assert_ne!(everything(&world.admin).await, world.before);
}
