//! Frames and bodies become calls of the engine.

use engine::RunRule;

use crate::kit::idempotency::MAX_KEY_CHARACTERS;
use crate::kit::json::{FieldError, Object};
use crate::socket::Refused;

/// Far above every id that a client makes, and every code of a file.
const MAX_ID_CHARACTERS: usize = 4_000;

/// A frame of this API.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Run { wish: RunRule, with_progress: bool },
    Cancel(Named),
}

/// By what a client names a run.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Run(String),
    Rule(String),
}

impl Named {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Run(name) | Self::Rule(name) => name,
        }
    }
}

/// `run_rule`
pub(crate) fn read_run(object: &Object) -> Result<Wish, Refused> {
    Ok(Wish::Run { wish: run_rule(object)?, with_progress: object.opt_bool("progress")?.unwrap_or_default() })
}

/// `cancel_rule`
pub(crate) fn read_cancel(object: &Object) -> Result<Wish, Refused> {
    let run_id = object.opt_text("run_id", 1, MAX_ID_CHARACTERS)?;
    let rule_id = object.opt_text("rule_id", 1, MAX_ID_CHARACTERS)?;
    match (run_id, rule_id) {
        (Some(id), _) => Ok(Wish::Cancel(Named::Run(id.to_owned()))),
        (None, Some(id)) => Ok(Wish::Cancel(Named::Rule(id.to_owned()))),
        (None, None) => Err(Refused::invalid_field("rule_id")),
    }
}

/// The envelope of later versions of the original, which nobody here speaks.
pub(crate) fn read_envelope(object: &Object) -> Result<Wish, Refused> {
    Err(if object.has("version") { Refused::because("unsupported", "Send run_rule") } else { Refused::unknown_type(object) })
}

/// The fields of `run_rule`.
pub(super) fn run_rule(object: &Object) -> Result<RunRule, FieldError> {
    let word = |name: &str, min, max| Ok::<_, FieldError>(object.opt_text(name, min, max)?.map(str::to_owned));
    Ok(RunRule {
        rule_code: object.string("rule_code")?.to_owned(),
        rule_id: word("rule_id", 0, MAX_ID_CHARACTERS)?.filter(|id| !id.is_empty()),
        client_id: word("client_id", 1, MAX_KEY_CHARACTERS)?,
        fresh: object.opt_bool("fresh")?.unwrap_or_default(),
        answer: word("answer", 1, MAX_ID_CHARACTERS)?,
        preview: object.opt_bool("preview")?.unwrap_or_default(),
    })
}
