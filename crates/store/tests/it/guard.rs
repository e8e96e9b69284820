//! The guard alone, without a database.

use std::time::{Duration, Instant};

use store::dataset::{Class, Engine, Schema, check};

use crate::dataset_world::{Luck, hostile, mutated, schema};

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

#[track_caller]
fn passes(schema: &Schema, sql: &str) -> String {
    check(sql, schema).unwrap_or_else(|refusal| panic!("{sql}: {refusal}")).sql().to_owned()
}

#[track_caller]
fn refused(schema: &Schema, sql: &str, reason: &str, class: Class) {
    match check(sql, schema) {
        Ok(checked) => panic!("{sql} passes as {}", checked.sql()),
        Err(refusal) => assert_eq!((refusal.reason.as_str(), refusal.class), (reason, class), "{sql}"),
    }
}

#[test]
fn every_hostile_statement_is_refused_but_those_that_only_take_long() {
    for engine in ENGINES {
        let schema = schema(engine);
        for (statement, class) in hostile(engine) {
            let result = check(&statement, &schema);
            assert_eq!(result.is_ok(), class == "resource", "{engine:?} {statement}: {result:?}");
        }
    }
}

/// Reasons that no honest mistake explains are never tried again.
#[test]
fn what_is_forbidden_is_told_from_mistakes() {
    for engine in ENGINES {
        let schema = schema(engine);
        for (statement, class) in hostile(engine) {
            let forbidden =
                ["several", "write", "ddl", "session", "file", "catalog", "attach", "pragma", "dynamic", "lock", "parameter"];
            if let Err(refusal) = check(&statement, &schema)
                && forbidden.contains(&class.as_str())
                && statement != "select readfile('/etc/passwd')"
            {
                assert_eq!(refusal.class, Class::Forbidden, "{engine:?} {statement}: {refusal}");
            }
        }
    }
}

/// The statements that the contract wants accepted, for PostgreSQL.
pub const GOOD_POSTGRES: [&str; 20] = [
    "select * from patterns where kind = 'pattern';",
    "select kind, count(*) as n from patterns group by kind order by n desc;",
    "with linked as (select pattern_id, count(*) as n from pattern_episode_link group by pattern_id) select p.name, coalesce(l.n, 0) as episodes from patterns p left join linked l on l.pattern_id = p.id order by episodes desc, p.name limit 10;",
    "select o.name, o.stage, round((o.date_funded - o.date_founded) / 365.25, 1) as years from orgs o where o.date_funded is not null;",
    "select p.name, string_agg(g.name, ', ' order by g.name) as guests from patterns p join pattern_guest_link l on l.pattern_id = p.id join guests g on g.id = l.guest_id group by p.name having count(*) > 1;",
    "select date_trunc('month', published_at) as month, count(*) from episodes group by 1 order by 1;",
    "select name, row_number() over (partition by kind order by created_at) as nr from patterns;",
    "select extract(year from date_founded)::int as year, count(*) from orgs group by year;",
    "select name from guests union all select name from orgs order by 1;",
    "select name from patterns where name ilike '%price%' or lower(description) like '%customer%';",
    "select e.name, e.minutes, case when e.minutes >= 45 then 'long' else 'short' end as length from episodes e;",
    "values (1, 'a'), (2, 'b');",
    "select data.patterns.name from data.patterns where created_at >= date '2025-05-01';",
    "select count(*) filter (where kind = 'pattern') as good, count(*) filter (where kind <> 'pattern') as bad from patterns;",
    "select name from patterns where id in (select pattern_id from pattern_post_link);",
    "select distinct on (kind) kind, name, created_at from patterns order by kind, created_at;",
    "select percentile_cont(0.5) within group (order by minutes) as median from episodes;",
    "select d::date as day from generate_series(date '2025-01-01', date '2025-01-07', interval '1 day') as d;",
    "select o.name, l.latest from orgs o, lateral (select max(p.created_at) as latest from patterns p join pattern_org_link k on k.pattern_id = p.id where k.org_id = o.id) l;",
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select i from n;",
];

/// The same for SQLite, with its own functions.
pub const GOOD_SQLITE: [&str; 17] = [
    "select * from patterns where kind = 'pattern';",
    "select kind, count(*) as n from patterns group by kind order by n desc;",
    "with linked as (select pattern_id, count(*) as n from pattern_episode_link group by pattern_id) select p.name, coalesce(l.n, 0) as episodes from patterns p left join linked l on l.pattern_id = p.id order by episodes desc, p.name limit 10;",
    "select o.name, o.stage, round((julianday(o.date_funded) - julianday(o.date_founded)) / 365.25, 1) as years from orgs o where o.date_funded is not null;",
    "select p.name, group_concat(g.name, ', ') as guests from patterns p join pattern_guest_link l on l.pattern_id = p.id join guests g on g.id = l.guest_id group by p.name having count(*) > 1;",
    "select strftime('%Y-%m', published_at) as month, count(*) from episodes group by 1 order by 1;",
    "select name, row_number() over (partition by kind order by created_at) as nr from patterns;",
    "select cast(strftime('%Y', date_founded) as integer) as year, count(*) from orgs group by year;",
    "select name from guests union all select name from orgs order by 1;",
    "select name from patterns where name like '%price%' or lower(description) like '%customer%';",
    "select e.name, e.minutes, case when e.minutes >= 45 then 'long' else 'short' end as length from episodes e;",
    "values (1, 'a'), (2, 'b');",
    "select main.patterns.name from main.patterns where created_at >= '2025-05-01';",
    "select count(*) filter (where kind = 'pattern') as good, count(*) filter (where kind <> 'pattern') as bad from patterns;",
    "select name from patterns where id in (select pattern_id from pattern_post_link);",
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select i from n;",
    "select substr(trim(name), 1, 3) as short, upper(kind) from \"patterns\" limit 3 offset 1",
];

#[test]
fn honest_queries_pass() {
    let postgres = schema(Engine::Postgres);
    GOOD_POSTGRES.iter().for_each(|sql| drop(passes(&postgres, sql)));
    let sqlite = schema(Engine::Sqlite);
    GOOD_SQLITE.iter().for_each(|sql| drop(passes(&sqlite, sql)));
}

#[test]
fn what_runs_is_qualified() {
    let postgres = schema(Engine::Postgres);
    for (sql, canonical) in [
        ("SELECT Count(*) FROM Patterns -- all", "SELECT pg_catalog.count(*) FROM \"data\".\"patterns\""),
        ("select data.patterns.name from patterns", "SELECT patterns.name FROM \"data\".\"patterns\""),
        ("select coalesce(a, 'it''s') from (select null as a) x", "SELECT coalesce(a, 'it''s') FROM (SELECT NULL AS a) x"),
        ("select current_date", "SELECT current_date"),
        ("select '\\' as a, 'b'", "SELECT '\\' AS a, 'b'"),
    ] {
        assert_eq!(passes(&postgres, sql), canonical);
    }
    let sqlite = schema(Engine::Sqlite);
    assert_eq!(passes(&sqlite, "select [Name] from 'PATTERNS' p"), "SELECT \"Name\" FROM \"patterns\" p");
}

#[test]
fn what_a_statement_uses_is_told() {
    let checked = check("select name, count(*) from orgs where stage = 'Seed' group by name", &schema(Engine::Sqlite)).unwrap();
    assert_eq!(checked.relations, ["orgs"]);
    assert_eq!(checked.functions, ["count"]);
    assert_eq!(checked.columns, ["orgs.name", "orgs.stage"]);
    assert_eq!(checked.hash().len(), 64);
}

#[test]
fn reasons_are_sentences_of_ours() {
    use Class::{Forbidden, Mistake};
    let postgres = schema(Engine::Postgres);
    for (sql, reason, class) in [
        ("select pg_sleep(1)", "function pg_sleep is not allowed", Forbidden),
        ("select repeat('x', 9)", "function repeat is not allowed", Mistake),
        ("select public.count(1)", "function public.count is not allowed", Forbidden),
        ("select current_user", "function current_user is not allowed", Mistake),
        ("select current_schema", "function current_schema is not allowed", Mistake),
        ("select * from accounts", "relation accounts is not available", Mistake),
        ("select * from nowhere", "relation nowhere is not available", Mistake),
        ("select * from pg_class", "relation pg_class is not available", Forbidden),
        ("select * from sys.secrets", "relation sys.secrets is not available", Forbidden),
        ("select 1; select 2", "exactly one statement is allowed", Forbidden),
        ("drop table x", "only a query is allowed", Forbidden),
        ("with patterns as (select 1) select * from patterns", "the WITH name patterns is the name of a relation", Mistake),
        ("with a as (select 1), A as (select 2) select * from a", "the WITH name a is used twice", Mistake),
        ("select 'x'::regclass", "a cast to this type is not allowed", Mistake),
        ("select $1", "parameters are not allowed", Forbidden),
    ] {
        refused(&postgres, sql, reason, class);
    }
    assert_eq!(check("select * from accounts", &postgres).unwrap_err().probed.as_deref(), Some("accounts"));
    assert_eq!(check("select * from nowhere", &postgres).unwrap_err().probed, None);
}

#[test]
fn other_ways_round_the_fence_are_closed() {
    let postgres = schema(Engine::Postgres);
    for sql in [
        "select * from patterns tablesample system (10)",
        "select * from rows from (generate_series(1, 2))",
        "select E'\\'' || 'x'",
        "select $$x$$",
        "select * from \"Patterns\"",
        "select * from (select * from secrets) patterns",
        "with a as (select * from b), b as (select 1) select * from a",
        "select (select 1 from x) from (with x as (select 1) select * from x) y",
        "select name from patterns order by (select token from secrets)",
        "select count(*) over (order by pg_sleep(1)) from patterns",
        "select count(*) filter (where pg_sleep(1) is null) from patterns",
        "select 1 limit (select pg_sleep(1)::text::int)",
        "select percentile_cont(pg_sleep(1)) within group (order by minutes) from episodes",
        "select \"current_user\"()",
        "select name collate \"x\" from patterns",
        "select 1 operator(pg_catalog.+) 2",
        "select * from xmltable('/a' passing '<a/>' columns b text)",
        "select * from json_table('{}', '$' columns (a int path '$.a'))",
        "select a.* from patterns a join lateral (select * from accounts) b on true",
        "table patterns",
        "select name from patterns for share",
        "explain select 1",
        "select query_to_xml('select 1', true, true, '')",
        "select 1 as \"a\"\"b\"",
        "select 1 union select 2 into x",
        "select array(select token from secrets)",
        "select row(1, (select token from secrets))",
        "select * from unnest(array(select token from secrets))",
        "select * from patterns p, accounts",
        "select * from patterns natural join accounts",
        "select * from (patterns cross join accounts)",
    ] {
        assert!(check(sql, &postgres).is_err(), "{sql} passes as {}", check(sql, &postgres).unwrap().sql());
    }
}

#[test]
fn columns_that_may_not_be_read_do_not_exist() {
    for engine in ENGINES {
        let mut schema = schema(engine);
        let wanted = [("patterns".to_owned(), vec!["id".to_owned(), "name".to_owned(), "nothing".to_owned()])];
        assert_eq!(schema.allow(&wanted.into()), ["patterns.nothing"]);
        let sql = passes(&schema, "select *, p.kind from patterns p");
        let source = if engine == Engine::Postgres { "\"data\".\"patterns\"" } else { "\"patterns\"" };
        assert_eq!(sql, format!("SELECT *, p.kind FROM (SELECT \"id\", \"name\" FROM {source}) p"));
        let sql = passes(&schema, "select patterns.name from patterns");
        assert_eq!(sql, format!("SELECT patterns.name FROM (SELECT \"id\", \"name\" FROM {source}) AS \"patterns\""));
        assert!(check("select 1 from orgs", &schema).is_err());
    }
}

/// The parser reads `from` as a column here, and the string as its other name.
#[test]
fn a_word_of_sql_is_no_name_unless_it_is_quoted() {
    for engine in ENGINES {
        let schema = schema(engine);
        for sql in
            ["select k* from 'secrets'", "select 1 as where", "select p.select from patterns p", "select Limit from patterns"]
        {
            let refusal = check(sql, &schema).expect_err(sql);
            assert_eq!((refusal.class, refusal.code), (Class::Mistake, "syntax"), "{sql}: {refusal}");
        }
        passes(&schema, "select name as \"where\", id as \"from\" from patterns");
    }
}

/// Deep and long texts end, quickly, one way or the other.
#[test]
fn neither_depth_nor_length_does_harm() {
    for engine in ENGINES {
        let schema = schema(engine);
        let nested = |depth: usize, open: &str, shut: &str| format!("select {}1{}", open.repeat(depth), shut.repeat(depth));
        for sql in [
            nested(100, "(", ")"),
            nested(31, "(", ")"),
            nested(30, "(select ", ")"),
            nested(3_000, "not ", ""),
            nested(3_000, "- ", ""),
            format!("select {}1", "1 + ".repeat(4_000)),
            format!("select 1{}", " union select 1".repeat(2_000)),
            format!("select * from {}patterns{}", "(".repeat(31), ")".repeat(31)),
            format!("select * from {}select 1{}", "(".repeat(31), ") x".repeat(31)),
            format!("select {}", "case when 1 then ".repeat(500)),
            "(".repeat(60_000),
            "select ".repeat(9_000),
            "x".repeat(70_000),
        ] {
            let began = Instant::now();
            let result = check(&sql, &schema);
            assert!(began.elapsed() < Duration::from_secs(2), "{engine:?} {:.60}: {:?}", sql, began.elapsed());
            if sql.len() > 64 * 1024 {
                assert!(result.is_err());
            }
        }
    }
}

/// Whatever passes names allowed relations and functions only, as a look at the finished text shows.
#[test]
fn mutations_never_pass_with_what_is_not_offered() {
    for engine in ENGINES {
        let schema = schema(engine);
        let statements: Vec<String> = hostile(engine).into_iter().map(|(statement, _)| statement).collect();
        let trials = if std::env::var_os("COLLOQUY_LONG").is_some() { 20_000 } else { 1_000 };
        let mut passed = 0;
        for seed in 0..trials {
            let sql = mutated(&statements, &mut Luck::new(seed + 1));
            let Ok(checked) = check(&sql, &schema) else { continue };
            passed += 1;
            let again = check(checked.sql(), &schema).unwrap_or_else(|refusal| panic!("{}: {refusal}", checked.sql()));
            assert_eq!(again.relations, checked.relations, "{sql}");
            assert!(!offends(checked.sql()), "{sql} passes as {}", checked.sql());
        }
        assert!(passed > 0, "no mutation passes, so nothing was looked at");
    }
}

/// A name of what is not offered, outside of quotes in single marks.
fn offends(sql: &str) -> bool {
    let outside: String = sql.split('\'').step_by(2).collect();
    let never = ["secrets", "accounts", "leak", "sqlite_", "pg_sleep", "pg_authid", "lo_", "randomblob(", "load_extension("];
    let named = |name: &&str| {
        outside.contains(&format!("\"{name}"))
            || outside.contains(&format!("FROM {name}"))
            || outside.contains(&format!("{name}("))
    };
    never.iter().any(named)
}

#[test]
fn the_look_at_the_finished_text_finds_a_planted_fault() {
    assert!(offends("SELECT * FROM \"secrets\""));
    assert!(offends("SELECT pg_sleep(1)"));
    assert!(!offends("SELECT 'FROM secrets' FROM \"patterns\""));
}
