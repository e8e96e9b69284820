//! What a call must not see although it lies in its directory: where this program keeps its own data, and files that by
//! their name hold keys or passwords. A link to such a file is judged by what it leads to.

use std::path::{Component, Path, PathBuf};

use domain::sockets::tool::Hidden;

/// Files whose whole name says it. Lower case.
const NAMES: [&str; 13] = [
    ".env",
    ".envrc",
    ".git-credentials",
    ".htpasswd",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "credentials.json",
];
/// Likewise, by what stands behind the last dot.
const ENDINGS: [&str; 7] = ["jks", "kdbx", "key", "keystore", "p12", "pem", "pfx"];
/// Variants of `.env` that are made to be shared.
const EXAMPLES: [&str; 4] = ["example", "sample", "template", "dist"];
/// Whole directories of such things.
const DIRECTORIES: [&str; 4] = [".aws", ".gnupg", ".password-store", ".ssh"];

/// The rules for one directory.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    ours: Vec<PathBuf>,
    secrets: bool,
}

impl Rules {
    pub(crate) fn of(hidden: &Hidden) -> Self {
        // The disk's own names: what is compared with them was asked of a descriptor.
        let ours = hidden.directories.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        Self { ours, secrets: hidden.secrets }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.ours.is_empty() && !self.secrets
    }

    /// `path` is the real one.
    pub(crate) fn hide(&self, path: &Path) -> bool {
        self.ours.iter().any(|ours| path.starts_with(ours))
    }

    /// `path` is relative to the directory: what its own directories are called is no matter of what is in them.
    pub(crate) fn hide_by_name(&self, path: &Path) -> bool {
        if !self.secrets {
            return false;
        }
        let mut names = path.components().rev().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().to_lowercase()),
            _ => None,
        });
        let is_secret = names.next().is_some_and(|name| is_secret(&name) || DIRECTORIES.contains(&name.as_str()));
        is_secret || names.any(|name| DIRECTORIES.contains(&name.as_str()))
    }
}

fn is_secret(name: &str) -> bool {
    if NAMES.contains(&name) {
        return true;
    }
    if let Some(variant) = name.strip_prefix(".env.") {
        return !EXAMPLES.contains(&variant);
    }
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let rules = Rules { ours: vec!["/data".into()], secrets: true };
        for path in
            [".env", "a/.ENV", ".env.production", "server.key", "x/y.pem", "id_rsa", ".ssh/config", "a/.aws/credentials", ".ssh"]
        {
            assert!(rules.hide_by_name(Path::new(path)), "{path}");
        }
        for path in ["env", ".env.example", "keys.md", "src/key", "monkey", "a.keys", "README.md", ""] {
            assert!(!rules.hide_by_name(Path::new(path)), "{path}");
        }
        assert!(rules.hide(Path::new("/data/token")) && rules.hide(Path::new("/data")) && !rules.hide(Path::new("/database")));
        assert!(!Rules::default().hide_by_name(Path::new(".env")) && Rules::default().is_empty());
    }
}
