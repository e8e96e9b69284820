//! Settings: one definition each, strict, and in the order of precedence that people are told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use server::settings::{Settings, SettingsError, Sources, page};
use server::{Auth, LogFormat, ModelServer};

use crate::serve_kit::{Program, check};

fn sources(data_dir: &Path, environment: &[(&str, &str)]) -> Sources {
    let ours = [("COLLOQUY_DATA_DIR", data_dir.to_str().expect("a path"))];
    let all = ours.iter().chain(environment).map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Sources { environment: all.collect(), ..Sources::default() }
}

fn read(environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    sources(Path::new("/nonexistent/colloquy"), environment).read()
}

fn error(environment: &[(&str, &str)]) -> String {
    read(environment).expect_err("a wrong setting").to_string()
}

fn with_file(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("colloquy.toml"), text).expect("a file");
    sources(data.path(), environment).read()
}

#[test]
fn the_page_in_docs_is_the_one_that_the_definitions_make() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md"), &page());
}

#[test]
fn without_settings_the_defaults_count() {
    let config = read(&[]).expect("no settings are fine").config;
    assert_eq!(config.listen, ["127.0.0.1:8000".parse().expect("an address")]);
    assert_eq!((config.auth, config.log_format, config.socket_rate), (Auth::Token, LogFormat::Text, 50));
    assert!(config.model_servers.is_empty() && config.model.is_none() && config.database.is_none());
}

#[test]
fn addresses_are_read_in_every_spelling() {
    let config = read(&[("COLLOQUY_LISTEN", "127.0.0.1:3001, [::1]:3001,:0")]).expect("good addresses").config;
    let shown: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1:3001", "[::1]:3001", "127.0.0.1:0"]);
}

#[test]
fn unknown_names_are_refused_and_named() {
    assert_eq!(error(&[("COLLOQUY_LISTN", "x")]), "COLLOQUY_LISTN: there is no such setting");
    let line = with_file("lisen = \"127.0.0.1:1\"", &[]).expect_err("an unknown key").to_string();
    assert!(line.starts_with("\"lisen\" in ") && line.ends_with("colloquy.toml: there is no such setting"), "{line}");
    let line = with_file("[models.local]\nkind = \"anthropic\"\nmodel = \"x\"", &[]).expect_err("an unknown key").to_string();
    assert!(line.starts_with("\"models.local.model\" in ") && line.ends_with("there is no such setting"), "{line}");
}

#[test]
fn wrong_values_are_refused_in_one_line_that_names_the_setting() {
    for (name, value) in [
        ("COLLOQUY_LISTEN", "8000"),
        ("COLLOQUY_LISTEN", "localhost"),
        ("COLLOQUY_LISTEN", ","),
        ("COLLOQUY_AUTH", "none"),
        ("COLLOQUY_ORIGINS", "example.org"),
        ("COLLOQUY_ORIGINS", "https://example.org/app"),
        ("COLLOQUY_PUBLIC_URL", "https://user:pw@example.org"),
        ("COLLOQUY_PUBLIC_URL", "ftp://example.org"),
        ("COLLOQUY_PUBLIC_URL", "https://example.org/a\"b"),
        ("DATABASE_URL", "mysql://root:pw@host"),
        ("DATABASE_URL", "postgres://u:hunter2@host/db?sslmode=sometimes"),
        ("ANTHROPIC_API_KEY", "two words"),
        ("ANTHROPIC_BASE_URL", "api.example.org"),
        ("COLLOQUY_MODEL", "opus"),
        ("COLLOQUY_WORKDIR", "/nonexistent/workdir"),
        ("COLLOQUY_EGRESS_ALLOW", "http://127.0.0.1:9000"),
        ("COLLOQUY_EGRESS_ALLOW", "127.0.0.1"),
        ("COLLOQUY_PROJECTS", "demo"),
        ("COLLOQUY_PROJECTS", "demo=relative/path"),
        ("COLLOQUY_PROJECTS", "bad.name=/tmp"),
        ("COLLOQUY_PROJECTS", "a=/tmp,a=/usr"),
        ("COLLOQUY_ASSISTANT_COMPAT", "yes"),
        ("COLLOQUY_SOCKET_RATE", "-1"),
        ("COLLOQUY_LOG", "info,=,"),
        ("COLLOQUY_LOG_FORMAT", "xml\nyml"),
    ] {
        let line = error(&[(name, value)]);
        assert!(line.starts_with(&format!("{name}: ")) && !line.contains('\n'), "{name}={value}: {line}");
    }
}

#[test]
fn secrets_are_not_repeated() {
    for (name, value) in [("DATABASE_URL", "mysql://root:hunter2@host"), ("ANTHROPIC_API_KEY", "hunter2 hunter2")] {
        assert!(!error(&[(name, value)]).contains("hunter2"), "{name}");
    }
}

#[test]
fn sign_in_may_be_off_only_on_loopback() {
    let off = |listen| read(&[("COLLOQUY_AUTH", "off"), ("COLLOQUY_LISTEN", listen)]);
    for listen in ["127.0.0.1:0", "[::1]:0,127.9.9.9:0", "[::ffff:127.0.0.1]:0"] {
        assert!(off(listen).is_ok(), "{listen}");
    }
    for listen in ["0.0.0.0:0", "127.0.0.1:0,[::]:0", "192.0.2.1:80"] {
        let line = off(listen).expect_err("open to the network").to_string();
        assert!(line.starts_with("COLLOQUY_AUTH: "), "{line}");
    }
    assert!(read(&[("COLLOQUY_LISTEN", "0.0.0.0:0")]).is_ok(), "with a token any address is fine");
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let data = tempfile::tempdir().expect("a directory");
    std::fs::write(data.path().join("colloquy.toml"), "socket_rate = 1\nlog = \"error\"\nauth = \"off\"").expect("a file");
    let mut sources = sources(data.path(), &[("COLLOQUY_SOCKET_RATE", "2"), ("COLLOQUY_LOG", "warn"), ("COLLOQUY_AUTH", "")]);
    sources.flags = BTreeMap::from([("socket_rate", "3".to_owned())]);
    let config = sources.read().expect("good settings").config;
    assert_eq!((config.socket_rate, config.log.as_str(), config.auth), (3, "warn", Auth::Off));
}

#[test]
fn another_file_can_be_named_and_may_say_where_the_data_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mine.toml");
    let data = directory.path().join("data");
    std::fs::write(&path, format!("data_dir = {data:?}\nlisten = [\"127.0.0.1:1\", \":2\"]")).expect("a file");
    let config = Sources { file: Some(path), ..Sources::default() }.read().expect("good settings").config;
    assert_eq!((config.data_dir, config.listen.len()), (data, 2));

    let absent = Sources { file: Some("/nonexistent/mine.toml".into()), ..Sources::default() };
    assert!(absent.read().expect_err("no file").to_string().starts_with("/nonexistent/mine.toml: "));
    let line = with_file("data_dir = \"/elsewhere\"", &[]).expect_err("a circle").to_string();
    assert!(line.starts_with("\"data_dir\" in "), "{line}");
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let line = with_file("auth = \"token\"\nlisten = ", &[]).expect_err("no TOML").to_string();
    assert!(line.contains("colloquy.toml: line 2: ") && !line.contains('\n'), "{line}");
    let line = with_file("auth = true", &[]).expect_err("a wrong type").to_string();
    assert!(line.starts_with("\"auth\" in ") && line.ends_with("the value has the wrong type"), "{line}");
}

#[test]
fn settings_of_later_versions_are_known() {
    let settings = read(&[("NATS_URL", "nats://x"), ("GITHUB_ORG", "x"), ("GEMINI_API_KEY", "x")]);
    assert_eq!(settings.expect("known names").warnings, Vec::<String>::new());
}

#[test]
fn projects_are_read_from_one_line_or_from_a_table() {
    let named = |settings: Settings| {
        let projects = settings.config.projects.into_iter();
        projects.map(|project| format!("{}={}", project.name, project.path.display())).collect::<Vec<_>>()
    };
    assert_eq!(named(read(&[("COLLOQUY_PROJECTS", "b=/b, a_1=/a")]).expect("good projects")), ["b=/b", "a_1=/a"]);
    let file = "[projects]\ndemo = \"/srv/demo\"\n";
    assert_eq!(named(with_file(file, &[]).expect("a good table")), ["demo=/srv/demo"]);
    assert_eq!(named(with_file(file, &[("COLLOQUY_PROJECTS", "x=/x")]).expect("both")), ["x=/x"], "the line beats the table");
    let line = with_file("[projects]\ndemo = 3\n", &[]).expect_err("no path").to_string();
    assert!(line.starts_with("\"projects.demo\" in "), "{line}");
}

#[test]
fn model_servers_are_read_from_their_tables() {
    let file = "
        [models.local]
        kind = \"anthropic\"
        base_url = \"http://127.0.0.1:8080\"
        api_key_env = \"LOCAL_KEY\"
        models = [\"a\", \"b\"]
        context_window = 1000
        max_output_tokens = 100
        idle_timeout_s = 600
        thinking_budget = 50
        prices.\"a\" = { input = 1, output = 2.5 }

        [models.anthropic]
        kind = \"anthropic\"
        models = [\"c\"]
    ";
    let environment = [("ANTHROPIC_API_KEY", "sk-vendor"), ("LOCAL_KEY", "sk-local")];
    let servers = with_file(file, &environment).expect("good tables").config.model_servers;
    let [ModelServer::Anthropic(vendor), ModelServer::Anthropic(local)] = servers.as_slice() else { panic!("{servers:?}") };
    let names = [vendor, local].map(|server| (server.name.as_str(), server.api_key.as_deref()));
    assert_eq!(names, [("anthropic", Some("sk-vendor")), ("local", Some("sk-local"))]);
    assert_eq!((local.models.len(), local.context_window, local.max_tokens), (2, 1000, 100));
    assert_eq!(local.idle_timeout, Duration::from_secs(600));
    assert!((local.prices["a"].input - 1.0).abs() < 1e-9 && (local.prices["a"].output - 2.5).abs() < 1e-9);
}

#[test]
fn servers_that_speak_chat_completions_are_read_from_their_tables() {
    let file = "
        [models.local]
        kind = \"openai\"
        base_url = \"http://127.0.0.1:8080\"
        reasoning_effort = \"low\"

        [models.ollama]
        kind = \"openai\"
        models = [\"small\"]
    ";
    let servers = with_file(file, &[("OPENAI_API_KEY", "sk-vendor")]).expect("good tables").config.model_servers;
    let servers: Vec<_> = servers
        .iter()
        .map(|server| match server {
            ModelServer::OpenAi(config) => (config.name.as_str(), config.vendor.name, config.api_key.as_deref()),
            ModelServer::Anthropic(config) => panic!("{config:?}"),
        })
        .collect();
    assert_eq!(servers, [("openai", "openai", Some("sk-vendor")), ("local", "compatible", None), ("ollama", "ollama", None)]);
}

#[test]
fn wrong_model_servers_are_refused() {
    for (table, expected) in [
        ("[models.x]\nkind = \"gemini\"", "does not support the kind \"gemini\""),
        ("[models.x]\nkind = \"openai\"\nvendor = \"x\"", "there is no vendor"),
        ("[models.x]\nkind = \"openai\"\nreasoning_effort = \"x\"", "is none of none, minimal"),
        ("[models.x]\nbase_url = \"http://h\"", "kind is missing"),
        ("[models.demo]\nkind = \"anthropic\"", "the name is taken"),
        ("[models.\"a/b\"]\nkind = \"anthropic\"", "the name is taken"),
        ("[models.x]\nkind = \"anthropic\"\ncontext_window = 0", "expected a whole number above 0"),
        ("[models.x]\nkind = \"anthropic\"\nidle_timeout_s = 999999", "expected at most 86400 seconds"),
        ("[models.x]\nkind = \"anthropic\"\nmodels = \"a\"", "expected a list of texts"),
        ("[models.x]\nkind = \"anthropic\"\napi_key = \"a\"\napi_key_env = \"B\"", "one of them is enough"),
        ("[models.x]\nkind = \"anthropic\"\nprices.a = { input = -1 }", "has no usable input"),
        ("models = 1", "expected tables"),
    ] {
        let line = with_file(table, &[]).expect_err(table).to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{table}: {line}");
    }
}

#[test]
fn the_program_exits_with_78_and_one_line() {
    let data = tempfile::tempdir().expect("a directory");
    for (environment, arguments, named) in [
        (&[("COLLOQUY_NONSENSE", "1")][..], &["serve"][..], "COLLOQUY_NONSENSE"),
        (&[("COLLOQUY_AUTH", "off"), ("COLLOQUY_LISTEN", "0.0.0.0:0")], &["serve"], "COLLOQUY_AUTH"),
        (&[], &["serve", "--listen", "nowhere"], "--listen"),
        (&[], &["serve", "--nonsense"], "--nonsense"),
        (&[("COLLOQUY_MODEL", "nobody/nothing")], &["serve", "--listen", ":0"], "COLLOQUY_MODEL"),
    ] {
        let output = Program::new(data.path()).environment(environment).output(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {error}");
        assert!(error.lines().count() == 1 && error.contains(named), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}
