//! The functions that rules may call. Adding one is a reviewed change, with a line in both lists of hostile statements.

use super::schema::Engine;

const BOTH: &str = "count sum avg min max row_number rank dense_rank percent_rank ntile lag lead first_value last_value nth_value \
    lower upper length replace trim ltrim rtrim substr substring round abs sign coalesce nullif";

const POSTGRES: &str = "string_agg array_agg bool_and bool_or percentile_cont percentile_disc mode stddev_samp var_samp corr ceil \
    floor trunc mod power sqrt ln log exp width_bucket greatest least initcap char_length left right lpad rpad btrim split_part \
    strpos position overlay concat concat_ws reverse starts_with translate regexp_replace regexp_match to_char to_date to_number \
    date_trunc date_part extract age make_date make_interval current_date current_timestamp now cardinality unnest \
    array_to_string jsonb_array_length jsonb_extract_path_text generate_series";

const SQLITE: &str = "total group_concat cume_dist ifnull iif date time datetime julianday strftime unixepoch current_date \
    current_timestamp like glob instr printf format typeof unicode char hex quote json_extract json_array_length";

/// Written by keyword, without a schema.
const KEYWORD_FORMS: &str = "coalesce nullif greatest least current_date current_timestamp";

/// What reads files, runs SQL text, changes settings or reaches outside: asking for it is no honest mistake.
const NEVER: &str = "ts_stat set_config current_setting load_extension readfile writefile fts3_tokenizer";
const NEVER_BEGINNINGS: [&str; 4] = ["pg_", "lo_", "dblink", "pragma_"];
const NEVER_WITHIN: &str = "_to_xml";

pub(crate) fn is_allowed(engine: Engine, name: &str) -> bool {
    let own = match engine {
        Engine::Sqlite => SQLITE,
        Engine::Postgres => POSTGRES,
    };
    has(BOTH, name) || has(own, name)
}

pub(crate) fn is_keyword_form(name: &str) -> bool {
    has(KEYWORD_FORMS, name)
}

pub(crate) fn is_never_honest(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    has(NEVER, &name) || NEVER_BEGINNINGS.iter().any(|start| name.starts_with(start)) || name.contains(NEVER_WITHIN)
}

/// All of an engine's, for what the model is told.
#[must_use]
pub fn all(engine: Engine) -> Vec<&'static str> {
    let own = match engine {
        Engine::Sqlite => SQLITE,
        Engine::Postgres => POSTGRES,
    };
    BOTH.split_whitespace().chain(own.split_whitespace()).collect()
}

fn has(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}
