//! The rules file: what rules there are, what of the data may be read, and what it means.

use std::collections::BTreeMap;
use std::path::Path;

use domain::RulePolicy;
use sha2::{Digest, Sha256};
use store::dataset::Limits;

use super::yaml::{self, FileError, Node, Yaml};
use crate::accounts::hex;

/// By the contract.
const DEFAULT_LIMITS: Limits = Limits { rows: 100_000, bytes: 64 << 20, time_ms: 2_000, cost: 100_000_000.0 };
/// By the contract.
const MAX_SECONDS: f64 = 300.0;
const DEFAULT_KEEP: usize = 5;
/// Characters of a rule, by the contract.
pub(super) const MAX_RULE_CHARACTERS: usize = 4_000;

/// What the file says; the default is what holds without one.
#[derive(Debug, Clone, PartialEq)]
pub struct RulesFile {
    /// The owner's own words for the model.
    pub prompt: String,
    pub schema: Option<String>,
    pub policy: RulePolicy,
    pub allow_writable_role: bool,
    pub limits: Limits,
    /// Version tables kept for each rule.
    pub keep: usize,
    /// Empty: whatever the database offers.
    pub tables: Vec<Table>,
    pub joins: Vec<String>,
    pub metrics: Vec<(String, String)>,
    pub glossary: Vec<(String, String)>,
    /// Rule and SQL.
    pub examples: Vec<(String, String)>,
    pub rules: Vec<FileRule>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub name: String,
    pub description: Option<String>,
    /// Empty: all of them.
    pub columns: Vec<TableColumn>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableColumn {
    pub name: String,
    pub description: Option<String>,
    pub synonyms: Vec<String>,
    pub values: Vec<String>,
}

/// A rule that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    pub code: String,
    pub name: String,
    pub description: String,
    /// What the model is told.
    pub logic: String,
    pub refresh_ms: Option<i64>,
}

impl Default for RulesFile {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            schema: None,
            policy: RulePolicy::Auto,
            allow_writable_role: false,
            limits: DEFAULT_LIMITS,
            keep: DEFAULT_KEEP,
            tables: Vec::new(),
            joins: Vec::new(),
            metrics: Vec::new(),
            glossary: Vec::new(),
            examples: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl RulesFile {
    /// # Errors
    /// The first thing that is wrong, with its line and field.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let root = yaml::read(text)?;
        let mut file = Self::default();
        for (key, node) in map(&root, "the file")? {
            match key.as_str() {
                "SYSTEM" => file.read_system(node)?,
                "DATASET" => file.read_dataset(node)?,
                "DATA" => file.read_data(node)?,
                "EXAMPLES" => file.examples = list(node, "EXAMPLES")?.iter().map(example).collect::<Result<_, _>>()?,
                "RULES" => file.read_rules(node)?,
                _ => return Err(unknown(node, key)),
            }
        }
        Ok(file)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let failed = |error: std::io::Error| FileError::new(1, error.to_string());
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > yaml::MAX_BYTES as u64 {
            return Err(FileError::new(1, format!("the file is larger than {} bytes", yaml::MAX_BYTES)));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// SHA-256 over what the data means, in lower-case hex.
    pub(super) fn semantics_hash(&self) -> String {
        let mut hash = Sha256::new();
        let parts = (&self.prompt, &self.tables, &self.joins, &self.metrics, &self.glossary);
        hash.update(format!("{parts:?}"));
        hex(&hash.finalize())
    }

    /// What may be read, for [`store::dataset::Schema::allow`].
    pub(super) fn wanted(&self) -> BTreeMap<String, Vec<String>> {
        let columns = |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect();
        self.tables.iter().map(|table| (table.name.clone(), columns(table))).collect()
    }

    /// The rule of this code: exactly, then without regard to case.
    pub(super) fn rule(&self, code: &str) -> Option<&FileRule> {
        let exact = self.rules.iter().find(|rule| rule.code == code);
        exact.or_else(|| self.rules.iter().find(|rule| rule.code.to_lowercase() == code.to_lowercase()))
    }

    fn read_system(&mut self, node: &Node) -> Result<(), FileError> {
        for (key, value) in map(node, "SYSTEM")? {
            match key.as_str() {
                "prompt" => self.prompt = text(value, "SYSTEM.prompt")?,
                // Whoever keeps the file writes down what they like about it.
                "rev" | "date" | "author" => drop(scalar(value, &format!("SYSTEM.{key}"))?),
                _ => return Err(unknown(value, &format!("SYSTEM.{key}"))),
            }
        }
        Ok(())
    }

    fn read_dataset(&mut self, node: &Node) -> Result<(), FileError> {
        for (key, value) in map(node, "DATASET")? {
            let field = format!("DATASET.{key}");
            match key.as_str() {
                "schema" => self.schema = Some(name(value, &field)?),
                "policy" => {
                    let word = scalar(value, &field)?;
                    let policy = RulePolicy::parse(&word);
                    self.policy = policy.ok_or_else(|| wrong(value, &field, "expected auto, preview or approve"))?;
                }
                "allow_writable_role" => self.allow_writable_role = flag(value, &field)?,
                "keep" => self.keep = number(value, &field, 1.0, 1_000.0)? as usize,
                "limits" => self.read_limits(value)?,
                _ => return Err(unknown(value, &field)),
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are checked")]
    fn read_limits(&mut self, node: &Node) -> Result<(), FileError> {
        for (key, value) in map(node, "DATASET.limits")? {
            let field = format!("DATASET.limits.{key}");
            match key.as_str() {
                "rows" => self.limits.rows = number(value, &field, 1.0, 1e9)? as u64,
                "bytes" => self.limits.bytes = bytes(value, &field)?,
                "seconds" => self.limits.time_ms = (number(value, &field, 0.001, MAX_SECONDS)? * 1000.0) as u64,
                "cost" => self.limits.cost = number(value, &field, 1.0, 1e18)?,
                _ => return Err(unknown(value, &field)),
            }
        }
        Ok(())
    }

    fn read_data(&mut self, node: &Node) -> Result<(), FileError> {
        for (key, value) in map(node, "DATA")? {
            match key.as_str() {
                "tables" => {
                    self.tables = map(value, "DATA.tables")?
                        .iter()
                        .map(|(name, table)| read_table(name, table))
                        .collect::<Result<_, _>>()?;
                }
                "joins" => self.joins = texts(value, "DATA.joins")?,
                "metrics" => self.metrics = pairs(value, "DATA.metrics")?,
                "glossary" => self.glossary = pairs(value, "DATA.glossary")?,
                _ => return Err(unknown(value, &format!("DATA.{key}"))),
            }
        }
        Ok(())
    }

    fn read_rules(&mut self, node: &Node) -> Result<(), FileError> {
        for (index, item) in list(node, "RULES")?.iter().enumerate() {
            let rule = read_rule(item, &format!("RULES[{index}]"))?;
            if self.rules.iter().any(|known| known.code.to_lowercase() == rule.code.to_lowercase()) {
                return Err(wrong(item, &format!("RULES[{index}].rule_code"), "this code is there twice"));
            }
            self.rules.push(rule);
        }
        Ok(())
    }
}

fn read_rule(node: &Node, field: &str) -> Result<FileRule, FileError> {
    let (mut code, mut rule_name, mut description, mut logic, mut refresh_ms) = (None, None, None, None, None);
    for (key, value) in map(node, field)? {
        let field = format!("{field}.{key}");
        match key.as_str() {
            "rule_code" => code = Some(super::names::normal(&text(value, &field)?)),
            "name" => rule_name = Some(text(value, &field)?),
            "description" => description = Some(text(value, &field)?),
            "logic" => logic = Some(text(value, &field)?),
            "refresh" => refresh_ms = Some(duration_ms(value, &field)?),
            _ => return Err(unknown(value, &field)),
        }
    }
    let code = code.ok_or_else(|| wrong(node, &format!("{field}.rule_code"), "is missing"))?;
    let logic = logic.ok_or_else(|| wrong(node, &format!("{field}.logic"), "is missing"))?;
    if code.is_empty() || code.chars().count() > MAX_RULE_CHARACTERS {
        return Err(wrong(node, &format!("{field}.rule_code"), "expected 1 to 4000 characters"));
    }
    if logic.is_empty() || logic.chars().count() > MAX_RULE_CHARACTERS {
        return Err(wrong(node, &format!("{field}.logic"), "expected 1 to 4000 characters"));
    }
    Ok(FileRule {
        name: rule_name.unwrap_or_else(|| code.clone()),
        description: description.unwrap_or_default(),
        code,
        logic,
        refresh_ms,
    })
}

/// A list of columns, or a description.
fn read_table(table_name: &str, node: &Node) -> Result<Table, FileError> {
    let field = format!("DATA.tables.{table_name}");
    let mut table = Table { name: table_name.to_owned(), ..Table::default() };
    match &node.value {
        Yaml::Null => {}
        Yaml::List(columns) => {
            let column = |column: &Node| Ok(TableColumn { name: name(column, &field)?, ..TableColumn::default() });
            table.columns = columns.iter().map(column).collect::<Result<_, _>>()?;
        }
        Yaml::Map(entries) => {
            for (key, value) in entries {
                match key.as_str() {
                    "description" => table.description = Some(text(value, &format!("{field}.description"))?),
                    "columns" => table.columns = read_columns(value, &format!("{field}.columns"))?,
                    _ => return Err(unknown(value, &format!("{field}.{key}"))),
                }
            }
        }
        Yaml::Scalar(_) => return Err(wrong(node, &field, "expected a list of columns or a description")),
    }
    Ok(table)
}

fn read_columns(node: &Node, field: &str) -> Result<Vec<TableColumn>, FileError> {
    if let Yaml::List(columns) = &node.value {
        return columns.iter().map(|column| Ok(TableColumn { name: name(column, field)?, ..TableColumn::default() })).collect();
    }
    let mut columns = Vec::new();
    for (column_name, value) in map(node, field)? {
        let mut column = TableColumn { name: column_name.clone(), ..TableColumn::default() };
        let field = format!("{field}.{column_name}");
        let described = if value.value == Yaml::Null { &[] } else { map(value, &field)? };
        for (key, value) in described {
            let field = format!("{field}.{key}");
            match key.as_str() {
                "description" => column.description = Some(text(value, &field)?),
                "synonyms" => column.synonyms = texts(value, &field)?,
                "values" => column.values = texts(value, &field)?,
                _ => return Err(unknown(value, &field)),
            }
        }
        columns.push(column);
    }
    Ok(columns)
}

fn example(node: &Node) -> Result<(String, String), FileError> {
    let (mut rule, mut sql) = (None, None);
    for (key, value) in map(node, "EXAMPLES")? {
        match key.as_str() {
            "rule" => rule = Some(text(value, "EXAMPLES.rule")?),
            "sql" => sql = Some(text(value, "EXAMPLES.sql")?),
            _ => return Err(unknown(value, &format!("EXAMPLES.{key}"))),
        }
    }
    rule.zip(sql).ok_or_else(|| wrong(node, "EXAMPLES", "expected rule and sql"))
}

fn map<'a>(node: &'a Node, field: &str) -> Result<&'a [(String, Node)], FileError> {
    match &node.value {
        Yaml::Map(entries) => Ok(entries),
        Yaml::Null => Ok(&[]),
        _ => Err(wrong(node, field, "expected names with values")),
    }
}

fn list<'a>(node: &'a Node, field: &str) -> Result<&'a [Node], FileError> {
    match &node.value {
        Yaml::List(items) => Ok(items),
        Yaml::Null => Ok(&[]),
        _ => Err(wrong(node, field, "expected a list")),
    }
}

fn scalar(node: &Node, field: &str) -> Result<String, FileError> {
    match &node.value {
        Yaml::Scalar(text) => Ok(text.clone()),
        _ => Err(wrong(node, field, "expected one value")),
    }
}

/// Text without white space around it.
fn text(node: &Node, field: &str) -> Result<String, FileError> {
    let text = scalar(node, field)?;
    if text.contains('\0') {
        return Err(wrong(node, field, "contains a NUL character"));
    }
    Ok(text.trim().to_owned())
}

fn texts(node: &Node, field: &str) -> Result<Vec<String>, FileError> {
    list(node, field)?.iter().map(|item| text(item, field)).collect()
}

fn pairs(node: &Node, field: &str) -> Result<Vec<(String, String)>, FileError> {
    map(node, field)?.iter().map(|(key, value)| Ok((key.clone(), text(value, &format!("{field}.{key}"))?))).collect()
}

fn name(node: &Node, field: &str) -> Result<String, FileError> {
    let name = text(node, field)?;
    if name.is_empty() || name.chars().any(|char| matches!(char, '"' | '\'' | '`' | '\\') || char.is_control()) {
        return Err(wrong(node, field, "expected a name without quotes"));
    }
    Ok(name)
}

fn flag(node: &Node, field: &str) -> Result<bool, FileError> {
    match scalar(node, field)?.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(node, field, "expected true or false")),
    }
}

fn number(node: &Node, field: &str, least: f64, most: f64) -> Result<f64, FileError> {
    let number = scalar(node, field)?.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| wrong(node, field, &format!("expected a number from {least} to {most}")))
}

/// `65536`, `64KiB`, `64MiB`, `1GiB`.
fn bytes(node: &Node, field: &str) -> Result<u64, FileError> {
    let written = scalar(node, field)?;
    let digits = written.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit = match written[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" | "k" => Some(1 << 10),
        "mib" | "m" => Some(1 << 20),
        "gib" | "g" => Some(1 << 30),
        _ => None,
    };
    let count = digits.trim().parse::<u64>().ok().filter(|count| *count > 0);
    let size = count.zip(unit).and_then(|(count, unit): (u64, u64)| count.checked_mul(unit));
    size.ok_or_else(|| wrong(node, field, "expected a size such as 64MiB"))
}

/// `30s`, `15m`, `1h`, `7d`.
fn duration_ms(node: &Node, field: &str) -> Result<i64, FileError> {
    let written = scalar(node, field)?;
    let digits = written.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit = match &written[digits.len()..] {
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let count = digits.trim().parse::<i64>().ok().filter(|count| *count > 0);
    let length = count.zip(unit).and_then(|(count, unit): (i64, i64)| count.checked_mul(unit));
    length.ok_or_else(|| wrong(node, field, "expected a time such as 30s, 15m, 1h or 7d"))
}

fn wrong(node: &Node, field: &str, reason: &str) -> FileError {
    FileError::new(node.line, format!("{field}: {reason}"))
}

fn unknown(node: &Node, field: &str) -> FileError {
    wrong(node, field, "there is no such field")
}

#[cfg(test)]
mod tests {
    use domain::RulePolicy;

    use super::RulesFile;

    /// The example of the API's page.
    const EXAMPLE: &str = "
SYSTEM:
  rev: 3
  date: 2026-02-01
  author: Data team
  prompt: |
    Prefer short column names.
DATASET:
  schema: data
  policy: preview
  allow_writable_role: false
  limits: {rows: 100000, bytes: 64MiB, seconds: 2, cost: 100000000}
  keep: 5
DATA:
  tables:
    patterns:
      - id
      - name
      - kind
    orgs:
      description: Companies that appear in the podcast
      columns:
        stage: {description: Last funding round, synonyms: [round], values: [Seed, Series A, Series B, Bootstrapped]}
        funding: {description: Total raised in US dollars}
        date_founded: {}
  joins:
    - patterns.id = pattern_org_link.pattern_id
  metrics:
    time_to_funding: (date_funded - date_founded) in years
  glossary:
    anti-pattern: a pattern that harms; patterns.kind = 'anti-pattern'
EXAMPLES:
  - {rule: how many guests work for each company, sql: \"select o.name, count(*) as guests from orgs o join guests g on g.org_id = o.id group by o.name\"}
RULES:
  - rule_code: ORGS_BY_STAGE
    name: Organisations by stage
    description: Every organisation with its stage and dates.
    logic: |
      list the organisations with stage, date founded and date funded, newest first
    refresh: 1h
";

    #[test]
    fn the_whole_shape_is_read() {
        let file = RulesFile::parse(EXAMPLE).expect("good");
        assert_eq!(file.prompt, "Prefer short column names.");
        assert_eq!((file.policy, file.limits.bytes, file.limits.time_ms, file.keep), (RulePolicy::Preview, 64 << 20, 2_000, 5));
        assert_eq!(file.wanted()["patterns"], ["id", "name", "kind"]);
        assert_eq!(file.tables[1].columns[0].values.len(), 4);
        assert_eq!((file.joins.len(), file.metrics.len(), file.glossary.len(), file.examples.len()), (1, 1, 1, 1));
        let rule = file.rule("orgs_by_stage").expect("a rule");
        assert_eq!((rule.refresh_ms, rule.logic.ends_with("newest first")), (Some(3_600_000), true));
    }

    /// The original's own shape has nothing but system, tables with lists of columns, and rules.
    #[test]
    fn the_originals_shape_is_read() {
        let file = RulesFile::parse(
            "SYSTEM:\n  rev: '1'\n  prompt: x\nDATA:\n  tables:\n    patterns: [id, name]\nRULES:\n  - rule_code: A\n    logic: all\n",
        );
        assert_eq!(file.expect("good").rules[0].name, "A");
    }

    #[test]
    fn complaints_name_line_and_field() {
        for (text, complaint) in [
            ("RULES:\n  - rule_code: A\n", "line 2: RULES[0].logic: is missing"),
            ("RULES:\n  - rule_code: A\n    logic: x\n    colour: red\n", "line 4: RULES[0].colour: there is no such field"),
            ("DATASET:\n  policy: maybe\n", "line 2: DATASET.policy: expected auto, preview or approve"),
            ("DATASET:\n  limits: {bytes: many}\n", "line 2: DATASET.limits.bytes: expected a size such as 64MiB"),
            ("DATASET:\n  limits:\n    seconds: 301\n", "line 3: DATASET.limits.seconds: expected a number from 0.001 to 300"),
            ("COLOURS: 1\n", "line 1: COLOURS: there is no such field"),
            (
                "RULES:\n  - {rule_code: A, logic: x}\n  - {rule_code: a, logic: y}\n",
                "line 3: RULES[1].rule_code: this code is there twice",
            ),
        ] {
            assert_eq!(RulesFile::parse(text).expect_err(text).to_string(), complaint);
        }
    }
}
