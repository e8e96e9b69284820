//! Why a path could not be opened. Tools turn it into the sentence that their contract asks for.

use std::io;

use rustix::io::Errno;

use crate::workdir::PATH_LIMIT_BYTES;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    #[error("not found")]
    NotFound,
    #[error("Access denied: cannot read files outside working directory")]
    Outside,
    /// Ours, or a secret by its name.
    #[error("Access denied: files with keys or passwords cannot be read")]
    Hidden,
    #[error("the path is empty")]
    Empty,
    #[error("the path contains a NUL byte")]
    Nul,
    #[error("the path is longer than {PATH_LIMIT_BYTES} bytes or a name in it is too long")]
    TooLong,
    #[error("too many symbolic links")]
    Links,
    #[error("is a directory")]
    Directory,
    #[error("not a regular file")]
    NotRegular,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for PathError {
    fn from(errno: Errno) -> Self {
        match errno {
            // A name below something that is no directory does not exist either.
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::XDEV => Self::Outside,
            Errno::LOOP => Self::Links,
            Errno::NAMETOOLONG => Self::TooLong,
            // What the kernel answers when a socket, or a device without a driver, is opened.
            Errno::NXIO | Errno::NODEV => Self::NotRegular,
            other => Self::Io(other.into()),
        }
    }
}
