//! Why a statement may not run.

/// Whether a model may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A mistake that anybody can make: told to the model, which may correct it.
    Mistake,
    /// Nothing that a query of a rule needs. Never tried again, and written to the audit log.
    Forbidden,
}

/// Why, in words of ours that are fit for everybody to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub class: Class,
    /// `syntax`, `statement`, `relation`, `column`, `function`, `type`, `unsupported`.
    pub code: &'static str,
    pub reason: String,
    /// The name that was not found, so that near ones can be offered.
    pub name: Option<String>,
    /// A relation that exists but is not allowed: the words are those for one that does not, but it is written down.
    pub probed: Option<String>,
}

impl Refusal {
    pub(crate) fn mistake(code: &'static str, reason: String) -> Self {
        Self { class: Class::Mistake, code, reason, name: None, probed: None }
    }

    pub(crate) fn forbidden(code: &'static str, reason: String) -> Self {
        Self { class: Class::Forbidden, ..Self::mistake(code, reason) }
    }

    pub(super) fn syntax(reason: &str) -> Self {
        Self::mistake("syntax", format!("syntax error: {reason}"))
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::mistake("unsupported", format!("{what} is not allowed"))
    }

    pub(super) fn only_a_query() -> Self {
        Self::forbidden("statement", "only a query is allowed".to_owned())
    }

    pub(super) fn one_statement() -> Self {
        Self::forbidden("statement", "exactly one statement is allowed".to_owned())
    }

    /// The same words whether it exists or not.
    pub(super) fn relation(name: &str) -> Self {
        let refusal = Self::mistake("relation", format!("relation {} is not available", shown(name)));
        Self { name: Some(name.to_owned()), ..refusal }
    }

    pub(super) fn function(name: &str) -> Self {
        let refusal = Self::mistake("function", format!("function {} is not allowed", shown(name)));
        let class = if crate::dataset::functions::is_never_honest(name) { Class::Forbidden } else { Class::Mistake };
        Self { class, ..refusal }
    }

    pub(super) fn too_deep() -> Self {
        Self::mistake("syntax", "the query is nested too deeply".to_owned())
    }

    pub(super) fn broken() -> Self {
        Self::mistake("syntax", "the query could not be read".to_owned())
    }
}

/// Characters of a name that a sentence repeats.
const SHOWN_CHARS: usize = 63;

/// A name as it may stand in a sentence: what a model wrote there may be anything.
fn shown(name: &str) -> String {
    name.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS).collect()
}
