//! What the demo model makes of a rule: fixed queries over the sample data set, in SQL that every engine takes.

use domain::PartBody;
use domain::sockets::language_model::ModelRequest;
use serde_json::{Map, Value, json};

/// The tool whose forced call this answers.
pub(super) const TOOL: &str = "answer_rule";

/// Marks the sections of the prompt that hold what the person said.
const RULE: &str = "## Rule\n";
const ANSWER: &str = "## Answer\n";

const TABLES: [(&str, &str); 5] = [
    ("patterns", "select id, name, kind, description from patterns order by id"),
    ("orgs", "select id, name, stage, funding, country from orgs order by id"),
    (
        "guests",
        "select g.id, g.name, g.job_description, o.name as organisation from guests g left join orgs o on o.id = g.org_id order by g.id",
    ),
    ("episodes", "select id, name, minutes, published_at from episodes order by published_at"),
    ("posts", "select id, name, published_at from posts order by published_at"),
];

struct Known {
    /// All of these occur in the rule.
    words: &'static [&'static str],
    title: &'static str,
    sql: &'static str,
    chart: Option<(&'static str, &'static str, &'static str)>,
}

const KNOWN: [Known; 8] = [
    Known {
        words: &["organisations", "stage", "newest"],
        title: "Organisations by stage",
        sql: "select name, stage, date_founded, date_funded from orgs order by date_founded desc",
        chart: None,
    },
    Known {
        words: &["patterns", "episodes"],
        title: "Patterns in episodes",
        sql: "select p.name as pattern, p.kind, e.name as episode, e.episode_url from patterns p \
              join pattern_episode_link l on l.pattern_id = p.id join episodes e on e.id = l.episode_id order by p.name, e.name",
        chart: None,
    },
    Known {
        words: &["pattern", "guests", "speak"],
        title: "Guests by pattern",
        sql: "select p.name as pattern, g.name as guest from patterns p join pattern_guest_link l on l.pattern_id = p.id \
              join guests g on g.id = l.guest_id order by p.name, g.name",
        chart: None,
    },
    Known {
        words: &["years", "founding", "funding"],
        title: "Time to funding",
        sql: "select name, cast(substr(cast(date_funded as text), 1, 4) as integer) \
              - cast(substr(cast(date_founded as text), 1, 4) as integer) as years from orgs \
              where date_funded is not null order by years desc, name",
        chart: Some(("bar", "name", "years")),
    },
    Known {
        words: &["find", "patterns"],
        title: "All patterns",
        sql: "select id, name, kind from patterns where kind = 'pattern' order by id",
        chart: None,
    },
    Known {
        words: &["patterns", "kind"],
        title: "Patterns by kind",
        sql: "select kind, count(*) as patterns from patterns group by kind order by kind",
        chart: Some(("bar", "kind", "patterns")),
    },
    Known {
        words: &["guests", "pattern"],
        title: "Guests per pattern",
        sql: "select p.name, count(*) as guests from patterns p join pattern_guest_link l on l.pattern_id = p.id \
              group by p.id, p.name order by guests desc, p.name",
        chart: Some(("bar", "name", "guests")),
    },
    Known {
        words: &["funding", "organisation"],
        title: "Funding of organisations",
        sql: "select name, funding from orgs where funding is not null order by funding desc",
        chart: Some(("bar", "name", "funding")),
    },
];

const SUGGESTIONS: [&str; 4] = ["Find all patterns", "Patterns by kind", "Guests per pattern", "Years from founding to funding"];

/// The input of the call.
pub(super) fn answer(request: &ModelRequest) -> Map<String, Value> {
    let asked = asked(request).to_lowercase();
    let has = |word: &&str| asked.contains(*word);
    let input = if let Some(known) = KNOWN.iter().find(|known| known.words.iter().all(has)) {
        let chart = known.chart.map(|(mark, x, y)| json!({"mark": mark, "x": x, "y": y}));
        query(known.sql, known.title, chart)
    } else if let Some((table, list)) = TABLES.iter().find(|(table, _)| asked.contains(table)) {
        let counts = asked.contains("how many") || asked.contains("count");
        let count = format!("select count(*) as {table} from {table}");
        query(if counts { &count } else { list }, &capitalised(table), None)
    } else {
        json!({
            "clarify": "I am the demo model and know only a few rules about the sample data. Which one do you mean?",
            "options": SUGGESTIONS,
        })
    };
    match input {
        Value::Object(input) => input,
        _ => Map::new(),
    }
}

fn query(sql: &str, title: &str, chart: Option<Value>) -> Value {
    let mut input = json!({
        "sql": sql,
        "title": title,
        "explanation": "The demo model wrote this: a fixed query over the sample data, not the work of an AI.",
        "assumptions": ["The rule means what the demo model has an answer for."],
    });
    if let (Some(input), Some(chart)) = (input.as_object_mut(), chart) {
        input.insert("chart".to_owned(), chart);
    }
    input
}

/// What the person said last: the answer to a question if there is one, else the rule.
fn asked(request: &ModelRequest) -> String {
    let texts = request.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        PartBody::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    let last = |mark: &str| texts.iter().rev().find_map(|text| text.rsplit_once(mark)).map(|(_, said)| said.to_owned());
    last(ANSWER).or_else(|| last(RULE)).unwrap_or_default()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
