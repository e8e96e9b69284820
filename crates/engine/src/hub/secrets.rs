//! Secrets that must be used again are sealed for the place that they are kept in.

use crate::{Engine, Result};

/// # Errors
/// [`Error::Internal`](crate::Error::Internal).
pub(crate) fn seal(engine: &Engine, place: &str, text: &str) -> Result<String> {
    engine.inner.seal.seal(place, text)
}

/// # Errors
/// [`Error::Internal`](crate::Error::Internal): it was sealed with another key or for another place, or was changed.
pub(crate) fn open(engine: &Engine, place: &str, sealed: &str) -> Result<String> {
    engine.inner.seal.open(place, sealed)
}
