//! Walking the working directory: every directory is opened by its descriptor beneath the root and no link is followed, so
//! that swapping a directory for a link in mid-walk leads nowhere. Entries come sorted by the bytes of their whole path.

mod ignored;

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::vec::IntoIter;

use rustix::fs::{AtFlags, Dir, FileType, statat};

use crate::error::PathError;
use crate::work::Stop;
use crate::workdir::{DEPTH_LIMIT, Workdir};
use ignored::Ignored;

/// So many names are held in memory at worst (about 100 MB); the largest repositories have half a million files.
const ENTRY_LIMIT: usize = 1_000_000;

/// How many names pass between two looks at the clock: less than 1 ms.
const ENTRIES_PER_CHECK: usize = 256;

/// Which entries a walk passes over, beside `.git` and what `.gitignore` files name.
pub(crate) struct Filter<'a> {
    /// Whether to look at names that begin with a dot.
    pub(crate) hidden: bool,
    /// Whether a directory, given by its path, is worth entering.
    pub(crate) enters: &'a dyn Fn(&[u8]) -> bool,
}

/// Something found. Its path is relative to the root and need not be UTF-8.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a Path,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link, wherever it points.
    Link,
}

/// What a walk did not see.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    /// It was cancelled or its time was up.
    pub(crate) stopped: bool,
    /// There were more than [`ENTRY_LIMIT`] entries.
    pub(crate) too_many: bool,
    /// Directories below [`DEPTH_LIMIT`].
    pub(crate) too_deep: usize,
    /// Directories that could not be opened or listed.
    pub(crate) unreadable: usize,
}

/// Shows `visit` every entry that passes, until it breaks or `stop` is due. An unreadable root is an error.
pub(crate) fn walk(
    workdir: &Workdir,
    filter: &Filter<'_>,
    stop: &Stop,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<Missed, PathError> {
    walk_to(DEPTH_LIMIT, workdir, filter, stop, visit)
}

/// The same for the entries of the root alone.
pub(crate) fn walk_root(
    workdir: &Workdir,
    filter: &Filter<'_>,
    stop: &Stop,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<Missed, PathError> {
    walk_to(1, workdir, filter, stop, visit)
}

fn walk_to(
    depth: usize,
    workdir: &Workdir,
    filter: &Filter<'_>,
    stop: &Stop,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<Missed, PathError> {
    let (path, levels, missed) = (Vec::new(), Vec::new(), Missed::default());
    let mut walk = Walk { depth, workdir, filter, stop, path, levels, listed: 0, missed };
    walk.enter()?;
    while walk.advance(visit).is_continue() {}
    Ok(walk.missed)
}

struct Walk<'a> {
    /// Levels that are entered.
    depth: usize,
    workdir: &'a Workdir,
    filter: &'a Filter<'a>,
    stop: &'a Stop,
    /// Path of the current entry.
    path: Vec<u8>,
    /// The directories being walked, from the root to the current one. They hold no descriptors.
    levels: Vec<Level>,
    listed: usize,
    missed: Missed,
}

struct Level {
    /// Length of this directory's path, including the `/` after it.
    prefix: usize,
    entries: IntoIter<Listed>,
    ignored: Option<Ignored>,
}

struct Listed {
    /// The name; a directory's ends in `/`, which makes names sort like whole paths.
    name: Vec<u8>,
    kind: Kind,
}

impl Walk<'_> {
    /// Goes one entry on; breaks at the end.
    fn advance(&mut self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(level) = self.levels.last_mut() else { return ControlFlow::Break(()) };
        self.path.truncate(level.prefix);
        let Some(Listed { name, kind }) = level.entries.next() else {
            self.levels.pop();
            return ControlFlow::Continue(());
        };
        if self.stop.is_due() {
            self.missed.stopped = true;
            return ControlFlow::Break(());
        }
        let is_directory = kind == Kind::Directory;
        self.path.extend_from_slice(name.strip_suffix(b"/").unwrap_or(&name));
        if self.is_ignored(is_directory) || is_directory && !(self.filter.enters)(&self.path) {
            return ControlFlow::Continue(());
        }
        if self.workdir.hides(Path::new(OsStr::from_bytes(&self.path))) {
            return ControlFlow::Continue(());
        }
        visit(Entry { path: Path::new(OsStr::from_bytes(&self.path)), kind })?;
        if is_directory { self.descend() } else { ControlFlow::Continue(()) }
    }

    /// The innermost `.gitignore` that has an opinion decides.
    fn is_ignored(&self, is_directory: bool) -> bool {
        let verdict = |level: &Level| level.ignored.as_ref()?.verdict(&self.path[level.prefix..], is_directory);
        self.levels.iter().rev().find_map(verdict).unwrap_or(false)
    }

    fn descend(&mut self) -> ControlFlow<()> {
        if self.levels.len() >= self.depth {
            self.missed.too_deep += 1;
            return ControlFlow::Continue(());
        }
        match self.enter() {
            Ok(()) => {}
            // Gone, or swapped for a link or a file, since its name was read: then it is no directory of this walk.
            Err(PathError::NotFound | PathError::Links) => {}
            Err(_) => self.missed.unreadable += 1,
        }
        if self.missed.stopped || self.missed.too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Lists the directory at the current path and makes it the current level.
    fn enter(&mut self) -> Result<(), PathError> {
        let descriptor = self.workdir.open_directory(Path::new(OsStr::from_bytes(&self.path)))?;
        let mut entries = self.list(Dir::new(descriptor)?)?;
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        let has_rules = entries.iter().any(|entry| entry.name == ignored::FILE_NAME && entry.kind == Kind::File);
        let in_force = self.levels.iter().filter_map(|level| level.ignored.as_ref()).map(Ignored::len).sum();
        let ignored = if has_rules { Ignored::read(self.workdir, &self.path, in_force) } else { None };
        if !self.filter.hidden {
            entries.retain(|entry| !entry.name.starts_with(b"."));
        }
        self.levels.push(Level { prefix: self.path.len(), entries: entries.into_iter(), ignored });
        Ok(())
    }

    fn list(&mut self, mut directory: Dir) -> Result<Vec<Listed>, PathError> {
        let mut entries = Vec::new();
        while let Some(entry) = directory.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || name.eq_ignore_ascii_case(b".git") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => match statat(directory.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
                known => known,
            };
            self.listed += 1;
            if self.listed > ENTRY_LIMIT {
                self.missed.too_many = true;
                break;
            }
            if self.listed.is_multiple_of(ENTRIES_PER_CHECK) && self.stop.is_due() {
                self.missed.stopped = true;
                break;
            }
            entries.extend(Listed::new(name, kind));
        }
        Ok(entries)
    }
}

impl Listed {
    /// FIFOs, sockets and devices are nothing to a tool.
    fn new(name: &[u8], kind: FileType) -> Option<Self> {
        match kind {
            FileType::RegularFile => Some(Self { name: name.to_vec(), kind: Kind::File }),
            FileType::Directory => Some(Self { name: [name, b"/"].concat(), kind: Kind::Directory }),
            FileType::Symlink => Some(Self { name: name.to_vec(), kind: Kind::Link }),
            _ => None,
        }
    }
}
