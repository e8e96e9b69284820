//! Opening a path one name at a time, each without following a link, beneath a descriptor already held. A link is read and
//! its target put in front of the names still to go, so that no step can lead outside whatever is swapped meanwhile.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::{DEPTH_LIMIT, Links, OPEN, Workdir};

/// As many links as Linux follows in one path.
const LINK_LIMIT: usize = 40;

/// Directories on the way are only passed through, which needs no right to list them.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OPEN.union(OFlags::DIRECTORY);

impl Workdir {
    pub(super) fn open_by_component(&self, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        let mut names = reversed_names(path);
        let mut opened: Vec<OwnedFd> = Vec::new();
        let mut links_left = if links == Links::Follow { LINK_LIMIT } else { 0 };
        while let Some(name) = names.pop() {
            if name == "." {
                continue;
            }
            if name == ".." {
                opened.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            if opened.len() >= DEPTH_LIMIT {
                return Err(Errno::NAMETOOLONG);
            }
            let parent = opened.last().map_or(self.root.as_fd(), AsFd::as_fd);
            let flags = if names.is_empty() { flags } else { PASS };
            match openat(parent, &name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(descriptor) => opened.push(descriptor),
                Err(error) => {
                    let target = link_target(parent, &name).ok_or(error)?;
                    links_left = links_left.checked_sub(1).ok_or(Errno::LOOP)?;
                    let target = if target.is_absolute() {
                        opened.clear();
                        self.strip_root(&target).ok_or(Errno::XDEV)?
                    } else {
                        target
                    };
                    names.extend(reversed_names(&target));
                }
            }
        }
        match opened.pop() {
            Some(descriptor) => Ok(descriptor),
            None => openat(&self.root, ".", OPEN | OFlags::DIRECTORY, Mode::empty()),
        }
    }
}

/// The names of a path, last first. `Path::components` drops a `/` or `/.` at the end, which says "a directory": it becomes
/// a last `.`.
fn reversed_names(path: &Path) -> Vec<OsString> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut names: Vec<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        names.push(".".into());
    }
    names.reverse();
    names
}

fn link_target(parent: BorrowedFd<'_>, name: &OsStr) -> Option<PathBuf> {
    let target = readlinkat(parent, name, Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()).into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::PathError;

    /// A working directory on a kernel without openat2, holding `a/b.txt` and links; outside it lies `secret`.
    fn without_openat2(base: &Path) -> Workdir {
        let root = base.join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/b.txt"), "inside").unwrap();
        std::fs::write(base.join("secret"), "outside").unwrap();
        symlink("a/b.txt", root.join("relative")).unwrap();
        symlink(root.join("a/b.txt"), root.join("absolute")).unwrap();
        symlink("../a", root.join("a/up")).unwrap();
        symlink("../secret", root.join("leaves")).unwrap();
        symlink(base.join("secret"), root.join("leaves-absolutely")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        Workdir { kernel_resolves: false, ..Workdir::open(&root).unwrap() }
    }

    fn read(workdir: &Workdir, path: &str) -> Result<String, PathError> {
        let mut text = String::new();
        workdir.open_file(Path::new(path), Links::Follow)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn paths_and_links_that_stay_inside_are_followed() {
        let base = tempfile::tempdir().unwrap();
        let workdir = without_openat2(base.path());
        for path in ["a/b.txt", "./a/../a/b.txt", "relative", "absolute", "a/up/b.txt", "a/up/up/up/b.txt"] {
            assert_eq!(read(&workdir, path).unwrap(), "inside", "{path}");
        }
    }

    #[test]
    fn what_leaves_is_outside() {
        let base = tempfile::tempdir().unwrap();
        let workdir = without_openat2(base.path());
        for path in ["../secret", "a/../../secret", "leaves", "leaves-absolutely", "..", "a/up/../../secret"] {
            assert!(matches!(read(&workdir, path), Err(PathError::Outside)), "{path}");
        }
    }

    #[test]
    fn circles_directories_and_files_used_as_directories_are_errors() {
        let base = tempfile::tempdir().unwrap();
        let workdir = without_openat2(base.path());
        assert!(matches!(read(&workdir, "circle"), Err(PathError::Links)));
        for path in [".", "a", "a/..", "a/up/."] {
            assert!(matches!(read(&workdir, path), Err(PathError::Directory)), "{path}");
        }
        for path in ["a/b.txt/", "a/b.txt/.", "a/b.txt/x", "a/b.txt/../b.txt", "relative/", "none"] {
            assert!(matches!(read(&workdir, path), Err(PathError::NotFound)), "{path}");
        }
    }

    #[test]
    fn a_walk_follows_no_link() {
        let base = tempfile::tempdir().unwrap();
        let workdir = without_openat2(base.path());
        assert!(workdir.open_file(Path::new("a/b.txt"), Links::Refuse).is_ok());
        assert!(workdir.open_file(Path::new("relative"), Links::Refuse).is_err());
        assert!(workdir.open_directory(Path::new("a/up")).is_err());
    }
}
