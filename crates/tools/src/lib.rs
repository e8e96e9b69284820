//! The tools that a model may call. So far those that read: [`ReadFile`], [`Glob`] and [`Grep`].
//!
//! To add a tool: write its input type (serde `deny_unknown_fields` and schemars, with field docs that a model can follow),
//! implement `Tool`, reach files only through [`Workdir`], give every limit a named constant, and list it below.

mod error;
mod glob;
mod grep;
mod input;
mod pattern;
mod read_file;
mod report;
mod walk;
mod work;
mod workdir;

use std::sync::Arc;

use domain::Tool;

pub use glob::{Glob, GlobInput};
pub use grep::{Grep, GrepInput};
pub use read_file::{ReadFile, ReadFileInput};
pub use workdir::{Workdir, WorkdirError};

/// The tools that change nothing: `read_file`, `glob` and `grep`. Call it once per server: they share the limit on how many
/// searches run at the same time. Running them needs a tokio runtime with its timer enabled.
#[must_use]
pub fn read_tools() -> Vec<Arc<dyn Tool>> {
    let searches = work::Slots::for_searches();
    vec![Arc::new(ReadFile::new()), Arc::new(Glob::new(searches.clone())), Arc::new(Grep::new(searches))]
}
