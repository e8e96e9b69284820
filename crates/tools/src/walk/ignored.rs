//! What a directory's `.gitignore` says about the entries below it.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::workdir::{Links, Workdir};

pub(super) const FILE_NAME: &[u8] = b".gitignore";

/// Real files stay below 30 KB; what is beyond this is not obeyed.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;

/// So many rules may be in force together, from the root to the current directory, and the others are not obeyed. They are
/// compiled into automata of about 3 KB a rule, which nested directories made on purpose could multiply.
const RULE_LIMIT: usize = 5000;

pub(super) struct Ignored(Gitignore);

impl Ignored {
    /// Reads the file in the directory whose path, with a `/` at its end, is `directory`. Like git it follows no link there.
    /// `in_force` says how many rules of the directories above are.
    pub(super) fn read(workdir: &Workdir, directory: &[u8], in_force: usize) -> Option<Self> {
        let path = [directory, FILE_NAME].concat();
        let file = workdir.open_file(Path::new(OsStr::from_bytes(&path)), Links::Refuse).ok()?;
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut rules = GitignoreBuilder::new("");
        for line in text.trim_start_matches('\u{feff}').lines().take(RULE_LIMIT.saturating_sub(in_force)) {
            // A line that is no valid rule is passed over, as git does.
            let _ = rules.add_line(None, line);
        }
        rules.build().ok().map(Self)
    }

    /// How many rules there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the entry, given by its path below the directory, is ignored; `None` if no rule speaks of it.
    pub(super) fn verdict(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        match self.0.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }
}
