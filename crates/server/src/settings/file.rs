//! `colloquy.toml`.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::table::SETTINGS;
use super::{SettingsError, models};

/// A settings file is written by hand; a larger one is something else.
const MAX_BYTES: u64 = 1024 * 1024;
/// Tables that interface and documents name for later versions.
const LATER_TABLES: [&str; 1] = ["agents"];
/// Also a setting of its own, as one line.
const PROJECTS: &str = "projects";

/// The file, or an empty one in its place.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    table: Table,
}

impl File {
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let wrong = |reason: String| SettingsError(format!("{}: {reason}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(wrong(format!("larger than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let table = text.parse::<Table>().map_err(|error| {
            let line =
                error.span().map_or(1, |span| text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count() + 1);
            wrong(format!("line {line}: {}", one_line(error.message())))
        })?;
        let file = Self { path: path.to_owned(), table };
        file.refuse_unknown()?;
        Ok(file)
    }

    /// The value of a key as the text that the environment would have, and the name of where it stands.
    pub fn find(&self, key: &str) -> Result<Option<(String, String)>, SettingsError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let source = self.source(key);
        match as_text(value) {
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => Ok(Some((source, text))),
            None if LATER_TABLES.contains(&key) => Ok(None),
            None if key == PROJECTS && value.is_table() => Ok(None),
            None => Err(SettingsError(format!("{source}: the value has the wrong type"))),
        }
    }

    /// The `[models.NAME]` tables in the order of the file's own map.
    pub fn models(&self) -> Result<impl Iterator<Item = (&str, &Table)>, SettingsError> {
        let models = match self.table.get(models::KEY) {
            None => None,
            Some(Value::Table(models)) => Some(models),
            Some(_) => return Err(self.wrong(models::KEY, "expected tables such as [models.NAME]")),
        };
        let mut found = Vec::new();
        for (name, value) in models.into_iter().flatten() {
            let Value::Table(table) = value else { return Err(self.wrong(&format!("models.{name}"), "expected a table")) };
            found.push((name.as_str(), table));
        }
        Ok(found.into_iter())
    }

    /// The names and paths of the `[projects]` table, and what to call each in an error.
    pub fn projects(&self) -> Result<Vec<(String, String, String)>, SettingsError> {
        let Some(Value::Table(table)) = self.table.get(PROJECTS) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (name, path) in table {
            let key = format!("{PROJECTS}.{name}");
            let Value::String(path) = path else { return Err(self.wrong(&key, "expected the path of a directory")) };
            found.push((self.source(&key), name.clone(), path.clone()));
        }
        Ok(found)
    }

    pub fn later_tables(&self) -> impl Iterator<Item = String> {
        let present = LATER_TABLES.iter().filter(|key| self.table.get(**key).is_some_and(|value| as_text(value).is_none()));
        present.map(|key| format!("{} is set but not used by this version", self.source(key)))
    }

    /// An error about a key of this file.
    pub fn wrong(&self, key: &str, reason: &str) -> SettingsError {
        SettingsError(format!("{}: {reason}", self.source(key)))
    }

    fn source(&self, key: &str) -> String {
        format!("{key:?} in {}", self.path.display())
    }

    fn refuse_unknown(&self) -> Result<(), SettingsError> {
        let known =
            |key: &str| key == models::KEY || LATER_TABLES.contains(&key) || SETTINGS.iter().any(|setting| setting.key == key);
        match self.table.keys().find(|key| !known(key)) {
            Some(key) => Err(self.wrong(key, "there is no such setting")),
            None => Ok(()),
        }
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str()).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
