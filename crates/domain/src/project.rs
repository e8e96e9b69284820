//! A project: a named directory that agents may look at.

use std::fmt;
use std::path::PathBuf;

/// The longest name, by the contract.
const MOST_CHARACTERS: usize = 50;

/// `[A-Za-z0-9_-]{1,50}`. Names differ by case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);

impl ProjectName {
    /// `None` if the whole text is no name; a line break behind it is enough for that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MOST_CHARACTERS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        fits.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub name: ProjectName,
    /// Absolute. The directory may be gone: that is noticed at each use.
    pub path: PathBuf,
    pub source: ProjectSource,
}

/// Who has named the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProjectSource {
    /// The settings, and only they can drop it again.
    Settings,
    /// The owner, over our own endpoint.
    Registered,
}

#[cfg(test)]
mod tests {
    use super::ProjectName;

    #[test]
    fn only_whole_names_pass() {
        let longest = "x".repeat(50);
        for name in ["a", "A-b_9", longest.as_str()] {
            assert!(ProjectName::parse(name).is_some(), "{name:?}");
        }
        let too_long = "x".repeat(51);
        for name in ["", "a.b", "a b", "demo\n", "\ndemo", "é", "a/b", "..", too_long.as_str()] {
            assert!(ProjectName::parse(name).is_none(), "{name:?}");
        }
    }
}
