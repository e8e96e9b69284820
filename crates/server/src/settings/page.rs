//! `docs/settings.md`, written from the definitions.

use std::fmt::Write;

use super::models::MODEL_KEYS;
use super::table::{Kind, SETTINGS, Setting};

const INTRODUCTION: &str = "# Settings

<!-- Generated from crates/server/src/settings. `COLLOQUY_UPDATE=1 cargo test -p colloquy settings` writes it anew. -->

A flag beats the environment variable, which beats `colloquy.toml` in the data directory (or the file named by `--config FILE`).
The key in the file is the flag with underscores. An empty value is as good as none. A wrong or unknown setting stops the start
with one line that names it, and exit code 78; so does a `COLLOQUY_` variable that is none of these.

| variable | flag | default | meaning |
|---|---|---|---|
";

const MODELS: &str = "
## Model servers

Each `[models.NAME]` table in `colloquy.toml` is one more provider, whose models are called `NAME/model`. The table
`[models.anthropic]` is about Anthropic's own server, `[models.openai]` about OpenAI's; `ANTHROPIC_API_KEY`, `OPENAI_API_KEY` and
their kin fill in what they leave out.

```toml
model = \"local/qwen3\"

[models.local]
kind = \"openai\"
vendor = \"llama.cpp\"
base_url = \"http://127.0.0.1:8080\"
models = [\"qwen3\"]
context_window = 32768
idle_timeout_s = 600
```

| key | default | meaning |
|---|---|---|
";

const LATER: &str = "
## Known, but not used by this version

They have a place in the interface already. A `COLLOQUY_` one that is set is noted in the log; the others are ignored.

| variable | key in the file | meaning |
|---|---|---|
";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for setting in SETTINGS.iter().filter(|setting| !is_later(setting)) {
        let flag = setting.flag().map_or_else(|| format!("none; `{}` in the file", setting.key), |flag| format!("`--{flag}`"));
        row(&mut page, &[&code(setting.env), &flag, setting.default, setting.help]);
    }
    page.push_str(MODELS);
    for key in MODEL_KEYS {
        row(&mut page, &[&code(key.key), key.default, key.help]);
    }
    page.push_str(LATER);
    for setting in SETTINGS.iter().filter(|setting| is_later(setting)) {
        row(&mut page, &[&code(setting.env), &code(setting.key), setting.help]);
    }
    page
}

/// Markdown as a terminal shows it.
pub(super) fn plain(markdown: &str) -> String {
    markdown.replace('`', "").trim_end_matches('.').to_owned()
}

fn is_later(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::Later)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}
