//! The tools that a model may call. So far those that read: [`ReadFile`], [`Glob`], [`Grep`] and [`WebFetch`]; and
//! [`ProjectSurveyor`], which looks a whole project over.
//!
//! To add a tool: write its input type (serde `deny_unknown_fields` and schemars, with field docs that a model can follow),
//! implement `Tool`, reach files only through [`Workdir`], give every limit a named constant, and list it below.

mod error;
mod glob;
mod grep;
mod hidden;
mod input;
mod pattern;
mod read_file;
mod report;
mod survey;
mod walk;
mod web_fetch;
mod work;
mod workdir;

use std::sync::Arc;

use domain::Tool;
use domain::sockets::egress::Egress;

pub use glob::{Glob, GlobInput};
pub use grep::{Grep, GrepInput};
pub use read_file::{ReadFile, ReadFileInput};
pub use survey::ProjectSurveyor;
pub use web_fetch::{WebFetch, WebFetchInput};
pub use workdir::{Workdir, WorkdirError};

/// The tools that change nothing: `read_file`, `glob` and `grep`. Call it once per server: they share the limit on how many
/// searches run at the same time. Running them needs a tokio runtime with its timer enabled.
#[must_use]
pub fn read_tools() -> Vec<Arc<dyn Tool>> {
    let searches = work::Slots::for_searches();
    vec![Arc::new(ReadFile::new()), Arc::new(Glob::new(searches.clone())), Arc::new(Grep::new(searches))]
}

/// The tools that reach out, through the guarded client and to public addresses only: `web_fetch`.
#[must_use]
pub fn web_tools(egress: Arc<dyn Egress>) -> Vec<Arc<dyn Tool>> {
    vec![Arc::new(WebFetch::new(egress))]
}
