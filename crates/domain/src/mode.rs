use serde::{Deserialize, Serialize};

/// Which tools a turn may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Answers questions; looks but does not touch.
    Ask,
    /// Looks, and ends with a written plan.
    Plan,
    /// Works.
    #[default]
    Build,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Ask, Self::Plan, Self::Build];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Plan => "plan",
            Self::Build => "build",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}
