//! Every setting, once.

use super::models::{ANTHROPIC, Draft, OPENAI};
use super::readers;
use crate::config::ServerConfig;

/// One setting, and everything that is known of it.
#[derive(Debug)]
pub(super) struct Setting {
    /// The environment variable.
    pub env: &'static str,
    /// The key in colloquy.toml, and the flag, with dashes.
    pub key: &'static str,
    /// What stands for the value in `--help`.
    pub value: &'static str,
    /// In words.
    pub default: &'static str,
    /// Markdown, one line.
    pub help: &'static str,
    pub kind: Kind,
}

/// What reading it does.
#[derive(Debug)]
pub(super) enum Kind {
    /// Sets the value; the error is the rest of a line that begins with the setting's name.
    Plain(fn(&mut ServerConfig, &str) -> Result<(), String>),
    /// About that vendor's model server. Never a flag: other users of the machine see the flags of a process.
    Vendor(&'static str, fn(&mut Draft, &str) -> Result<(), String>),
    /// The same for what holds a secret: never a flag either.
    Private(fn(&mut ServerConfig, &str) -> Result<(), String>),
    /// For a later version.
    Later,
}

impl Setting {
    pub fn flag(&self) -> Option<String> {
        matches!(self.kind, Kind::Plain(_)).then(|| self.key.replace('_', "-"))
    }
}

pub(super) const DATA_DIR: Setting = Setting {
    env: "COLLOQUY_DATA_DIR",
    key: "data_dir",
    value: "DIR",
    default: "`colloquy` in the platform's data directory",
    help: "Where database, token and `colloquy.toml` are; created with mode 0700.",
    // Read before the others, because it says where the file is.
    kind: Kind::Plain(|_, _| Ok(())),
};

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        env: "COLLOQUY_LISTEN",
        key: "listen",
        value: "ADDR[,ADDR]",
        default: "`127.0.0.1:8000`",
        help: "One or more addresses, comma separated. `:PORT` is short for `127.0.0.1:PORT`; port 0 picks a free one and prints it.",
        kind: Kind::Plain(readers::listen),
    },
    Setting {
        env: "COLLOQUY_AUTH",
        key: "auth",
        value: "token|off",
        default: "`token`",
        help: "`token`: every request needs the owner's token or the sign-in cookie. `off`: whoever reaches the server is the owner; allowed only while every address is a loopback address. Host and Origin are checked in any case.",
        kind: Kind::Plain(readers::auth),
    },
    Setting {
        env: "COLLOQUY_ORIGINS",
        key: "origins",
        value: "ORIGIN[,ORIGIN]",
        default: "none",
        help: "Other origins that may call the API from a browser, comma separated, exact with port: `https://chat.example:8443`.",
        kind: Kind::Plain(readers::origins),
    },
    Setting {
        env: "COLLOQUY_PUBLIC_URL",
        key: "public_url",
        value: "URL",
        default: "none",
        help: "The address under which others reach this server, with a path prefix if a proxy adds one.",
        kind: Kind::Plain(readers::public_url),
    },
    DATA_DIR,
    Setting {
        env: "DATABASE_URL",
        key: "database_url",
        value: "URL",
        default: "`colloquy.db` in the data directory",
        help: "`sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE` with `?sslmode=require` (and `&sslrootcert=FILE`) for an encrypted and verified way. With `sqlite::memory:` everything is lost at the end, which the server says at its start. A database that cannot be opened, or a PostgreSQL that runs with `fsync=off`, stops the start.",
        kind: Kind::Plain(readers::database),
    },
    Setting {
        env: "NATS_URL",
        key: "nats_url",
        value: "URL[,URL]",
        default: "none",
        help: "`nats://HOST:PORT`, with PostgreSQL: live text travels between nodes over NATS, which is faster than over the database. While NATS is away, nodes look in the database. No JetStream is needed.",
        kind: Kind::Plain(readers::nats),
    },
    Setting {
        env: "ANTHROPIC_API_KEY",
        key: "anthropic_api_key",
        value: "KEY",
        default: "none",
        help: "The key for Anthropic's models.",
        kind: Kind::Vendor(ANTHROPIC, readers::vendor_key),
    },
    Setting {
        env: "ANTHROPIC_BASE_URL",
        key: "anthropic_base_url",
        value: "URL",
        default: "the vendor's address",
        help: "Another address for the same API, such as a proxy.",
        kind: Kind::Vendor(ANTHROPIC, readers::vendor_base_url),
    },
    Setting {
        env: "OPENAI_API_KEY",
        key: "openai_api_key",
        value: "KEY",
        default: "none",
        help: "The key for OpenAI's models.",
        kind: Kind::Vendor(OPENAI, readers::vendor_key),
    },
    Setting {
        env: "OPENAI_BASE_URL",
        key: "openai_base_url",
        value: "URL",
        default: "the vendor's address",
        help: "Another address for the same API, such as a proxy.",
        kind: Kind::Vendor(OPENAI, readers::vendor_base_url),
    },
    Setting {
        env: "COLLOQUY_MODEL",
        key: "model",
        value: "PROVIDER/MODEL",
        default: "of the first provider with a key, else `demo`",
        help: "The model of conversations that choose none. Without it, a provider whose settings list no models is asked for them at the start, and its first one is taken.",
        kind: Kind::Plain(readers::model),
    },
    Setting {
        env: "COLLOQUY_WORKDIR",
        key: "workdir",
        value: "DIR",
        default: "the directory the server was started in",
        help: "Where the tools of a conversation work unless it has a directory of its own.",
        kind: Kind::Plain(readers::workdir),
    },
    Setting {
        env: "COLLOQUY_RULES_FILE",
        key: "rules_file",
        value: "FILE",
        default: "none",
        help: "The rules and what their data means, as YAML; see `docs/api/rules.md`. Read again when it changes; a broken one stops the start.",
        kind: Kind::Plain(readers::rules_file),
    },
    Setting {
        env: "COLLOQUY_RULES_DATABASE_URL",
        key: "rules_database_url",
        value: "URL",
        default: "`PGHOST` and its kin if `PGHOST` is set, else a sample data set in the data directory",
        help: "The database that rules read: `sqlite:PATH` or `postgres://…`, by a role that may do nothing but read. `colloquy doctor` prints how to make one.",
        kind: Kind::Private(readers::rules_database),
    },
    Setting {
        env: "COLLOQUY_EGRESS_ALLOW",
        key: "egress_allow",
        value: "HOST:PORT[,HOST:PORT]",
        default: "none",
        help: "Private addresses that may be called though a person, an agent or a platform chose them (agents on the same machine, tests), exact with port, by `http` too. Public addresses need no entry.",
        kind: Kind::Plain(readers::egress_allow),
    },
    Setting {
        env: "COLLOQUY_PROJECTS",
        key: "projects",
        value: "NAME=DIR[,NAME=DIR]",
        default: "none",
        help: "The projects of the assistant API: names of letters, digits, `-` and `_`, and absolute directories. In `colloquy.toml` also as a table `[projects]` with `NAME = \"DIR\"`. Others can be added over `/api/projects`.",
        kind: Kind::Plain(readers::projects),
    },
    Setting {
        env: "COLLOQUY_ASSISTANT_COMPAT",
        key: "assistant_compat",
        value: "on|off",
        default: "`off`",
        help: "`on` adds the few endpoints that the assistant API's own web client asks for before its panel opens.",
        kind: Kind::Plain(readers::assistant_compat),
    },
    Setting {
        env: "COLLOQUY_SOCKET_RATE",
        key: "socket_rate",
        value: "N",
        default: "`50`",
        help: "Frames per second that one socket may send for long; `0` means no limit.",
        kind: Kind::Plain(readers::socket_rate),
    },
    Setting {
        env: "COLLOQUY_LOG",
        key: "log",
        value: "FILTER",
        default: "`info`",
        help: "What is logged, as a tracing filter: `warn`, `info,engine=debug`. Logs go to standard error.",
        kind: Kind::Plain(readers::log),
    },
    Setting {
        env: "COLLOQUY_LOG_FORMAT",
        key: "log_format",
        value: "text|json",
        default: "`text`",
        help: "How a log line looks.",
        kind: Kind::Plain(readers::log_format),
    },
    later("GEMINI_API_KEY", "gemini_api_key", "The key for Gemini's models."),
    later("GEMINI_BASE_URL", "gemini_base_url", "Another address for the same API."),
    later("GITHUB_APP_ID", "github_app_id", "Where research projects are created."),
    later("GITHUB_PRIVATE_KEY", "github_private_key", "Its key."),
    later("GITHUB_INSTALLATION_ID", "github_installation_id", "Its installation."),
    later("GITHUB_ORG", "github_org", "The organisation that owns research projects."),
    later("GITHUB_API_URL", "github_api_url", "Another address for the same API."),
];

const fn later(env: &'static str, key: &'static str, help: &'static str) -> Setting {
    Setting { env, key, value: "VALUE", default: "none", help, kind: Kind::Later }
}
