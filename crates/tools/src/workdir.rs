//! Path safety, once. Everything that a tool reads is opened beneath the descriptor of the working directory, and every
//! question about a file is asked of its descriptor. No path is checked first and opened later: between the two it could be
//! swapped for a link that leads outside.

mod by_component;

use std::fs::{File, canonicalize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use domain::sockets::tool::ToolContext;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::PathError;
use crate::hidden::Rules;

/// The longest path that Linux takes (`PATH_MAX`).
pub(crate) const PATH_LIMIT_BYTES: usize = 4096;

/// The deepest nesting that is opened. Real trees stay below 50; opening step by step holds one descriptor per level.
pub(crate) const DEPTH_LIMIT: usize = 256;

/// The kernel answers EAGAIN when it could not prove that a `..` stayed inside because something was renamed meanwhile.
const RACE_RETRIES: usize = 64;

/// Opening never waits (a FIFO would, until somebody writes), never makes a terminal ours, never leaks into children.
const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A directory that the tools of a conversation never leave.
#[derive(Debug)]
pub struct Workdir {
    root: OwnedFd,
    path: PathBuf,
    /// Whether this kernel has openat2. Without it (Linux before 5.6, some container filters, other systems) paths are
    /// opened component by component, which is as safe and slower.
    kernel_resolves: bool,
    rules: Rules,
    /// The path with every link in it resolved, if there are rules that need it.
    real_path: Option<PathBuf>,
}

/// Why a directory cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum WorkdirError {
    #[error("The path of the directory is not absolute")]
    NotAbsolute,
    #[error("The directory does not exist")]
    NotFound,
    #[error("The path is not a directory")]
    NotADirectory,
    #[error("The directory is not readable")]
    NotReadable,
    #[error("The directory cannot be opened: {0}")]
    Io(#[source] io::Error),
}

/// What to do with symbolic links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Follow those that stay inside the working directory.
    Follow,
    /// Follow none, so that a walk sees every file once and cannot run in circles.
    Refuse,
}

impl Workdir {
    /// Opens an existing, readable directory by its absolute path. Also the way to validate one: `open(path).map(drop)`.
    pub fn open(path: &Path) -> Result<Self, WorkdirError> {
        if !path.is_absolute() {
            return Err(WorkdirError::NotAbsolute);
        }
        let root = rustix::fs::open(path, OPEN | OFlags::DIRECTORY, Mode::empty())?;
        // Opening `.` inside also tells whether the directory may be searched, not only listed.
        let kernel_resolves = match openat2_beneath(root.as_fd(), Path::new("."), OPEN | OFlags::DIRECTORY, Links::Refuse) {
            Ok(_) => true,
            // Filters of older container runtimes answer EPERM to calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => {
                openat(&root, ".", OPEN | OFlags::DIRECTORY, Mode::empty())?;
                false
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { root, path: path.to_owned(), kernel_resolves, rules: Rules::default(), real_path: None })
    }

    /// The directory of a call, without what the call must not see.
    pub(crate) fn of(context: &ToolContext) -> Result<Self, WorkdirError> {
        let workdir = Self::open(&context.workdir)?;
        let rules = Rules::of(&context.hidden);
        let real_path = if rules.is_empty() { None } else { real_path(workdir.root.as_fd(), &context.workdir) };
        Ok(Self { rules, real_path, ..workdir })
    }

    /// Whether what is found at this path, on which there is no link, must not be seen.
    pub(crate) fn hides(&self, path: &Path) -> bool {
        let in_our_own = |root: &PathBuf| self.rules.hide(&root.join(path));
        self.rules.hide_by_name(path) || self.real_path.as_ref().is_some_and(in_our_own)
    }

    /// The same of something that was opened, wherever links on the way have led.
    fn hides_opened(&self, path: &Path, descriptor: BorrowedFd<'_>) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let Some(root) = &self.real_path else { return self.rules.hide_by_name(path) };
        let Some(real) = real_path(descriptor, &root.join(path)) else { return true };
        let inside = real.strip_prefix(root).unwrap_or(&real);
        self.rules.hide_by_name(path) || self.rules.hide_by_name(inside) || self.rules.hide(&real)
    }

    /// The path beneath the root that a model's `path` names. An absolute one is compared name by name with the root's path,
    /// as given and with links resolved; the disk is not asked about it. A `..` is left to the opening.
    pub(crate) fn relative(&self, path: &str) -> Result<PathBuf, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.contains('\0') {
            return Err(PathError::Nul);
        }
        if path.len() > PATH_LIMIT_BYTES {
            return Err(PathError::TooLong);
        }
        if names_another_place(path) {
            return Err(PathError::Outside);
        }
        if path.starts_with('/') { self.strip_root(Path::new(path)).ok_or(PathError::Outside) } else { Ok(path.into()) }
    }

    /// Opens a regular file. Directories, FIFOs, sockets, devices and the kernel's own files are errors, without waiting.
    pub(crate) fn open_file(&self, path: &Path, links: Links) -> Result<File, PathError> {
        let descriptor = self.open_beneath(path, OPEN, links)?;
        if self.hides_opened(path, descriptor.as_fd()) {
            return Err(PathError::Hidden);
        }
        match FileType::from_raw_mode(fstat(&descriptor)?.st_mode) {
            FileType::RegularFile if !belongs_to_kernel(descriptor.as_fd())? => Ok(File::from(descriptor)),
            FileType::Directory => Err(PathError::Directory),
            _ => Err(PathError::NotRegular),
        }
    }

    /// Opens a directory for listing, following no link. The empty path is the root.
    pub(crate) fn open_directory(&self, path: &Path) -> Result<OwnedFd, PathError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(self.open_beneath(path, OPEN | OFlags::DIRECTORY, Links::Refuse)?)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        if !self.kernel_resolves {
            return self.open_by_component(path, flags, links);
        }
        match openat2_beneath(self.root.as_fd(), path, flags, links) {
            // The kernel refuses every absolute link; step by step, those that come back inside can be followed.
            Err(Errno::XDEV) if links == Links::Follow => self.open_by_component(path, flags, links),
            result => result,
        }
    }

    fn strip_root(&self, path: &Path) -> Option<PathBuf> {
        let inside = |root: &Path| path.strip_prefix(root).ok().map(Path::to_owned);
        let rest = inside(&self.path).or_else(|| inside(&canonicalize(&self.path).ok()?))?;
        Some(if rest.as_os_str().is_empty() { ".".into() } else { rest })
    }
}

/// The path under which the kernel knows the opened thing; `None`: it does not say.
#[cfg(target_os = "linux")]
fn real_path(descriptor: BorrowedFd<'_>, _: &Path) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()
}

/// Elsewhere the path is asked instead of the descriptor: good enough for what has a name, and no wall against races.
#[cfg(not(target_os = "linux"))]
fn real_path(_: BorrowedFd<'_>, path: &Path) -> Option<PathBuf> {
    canonicalize(path).ok()
}

/// A URL or a home directory: no path of ours, although a file could bear such a name (it is reached as `./~`).
pub(crate) fn names_another_place(path: &str) -> bool {
    let is_file_url = path.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("file://"));
    is_file_url || path == "~" || path.starts_with("~/")
}

#[cfg(target_os = "linux")]
fn openat2_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..RACE_RETRIES {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(not(target_os = "linux"))]
fn openat2_beneath(_: BorrowedFd<'_>, _: &Path, _: OFlags, _: Links) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Files of /proc call themselves regular, but hold secrets of the process and may block.
#[cfg(target_os = "linux")]
fn belongs_to_kernel(descriptor: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(descriptor)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn belongs_to_kernel(_: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(false)
}

impl From<Errno> for WorkdirError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::NOTDIR => Self::NotADirectory,
            Errno::ACCESS | Errno::PERM => Self::NotReadable,
            other => Self::Io(other.into()),
        }
    }
}
