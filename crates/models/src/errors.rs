//! Failures of a provider in our own words: its name, the status, and a reason from the table here. What the provider
//! wrote is never repeated, since it may hold keys, paths or somebody's text.

use domain::sockets::language_model::{ModelError, ModelErrorKind};

use crate::retry::RetryAdvice;

/// Status of a mid-stream error whose type is not known: the provider's own fault.
pub(crate) const STATUS_UNKNOWN: u16 = 500;

/// A response, or an `error` event within one, that tells of a failure of that status.
pub(crate) fn refused(provider: &str, status: u16, advice: RetryAdvice) -> ModelError {
    refused_because(provider, status, status, advice)
}

/// A response whose body names another failure than its status does: `cause` is the status that belongs to it.
pub(crate) fn refused_because(provider: &str, status: u16, cause: u16, advice: RetryAdvice) -> ModelError {
    let (kind, reason) = meaning(cause);
    ModelError {
        kind,
        sentence: format!("{provider} answered {status}: {reason}."),
        retryable: advice.retryable,
        retry_after_ms: advice.retry_after_ms,
    }
}

fn meaning(status: u16) -> (ModelErrorKind, &'static str) {
    use ModelErrorKind::{Auth, RateLimited, Rejected, Unavailable};
    match status {
        300..400 => (Rejected, "it sent us to another address, which is not followed"),
        400 => (Rejected, "it did not accept the request"),
        401 => (Auth, "the API key is not valid"),
        402 => (Auth, "the account has a billing problem"),
        403 => (Auth, "the API key does not permit this"),
        404 => (Rejected, "the model or the address does not exist"),
        408 => (Unavailable, "the request took too long"),
        409 => (Unavailable, "the request met a conflict"),
        413 => (Rejected, "the request is too large"),
        429 => (RateLimited, "too many requests"),
        500 => (Unavailable, "it had an internal error"),
        503 => (Unavailable, "it is not available now"),
        504 => (Unavailable, "it took too long"),
        529 => (Unavailable, "it is overloaded"),
        501.. => (Unavailable, "it has a problem of its own"),
        _ => (Rejected, "it did not accept the request"),
    }
}

/// No connection, or one that failed before the response began.
pub(crate) fn unreachable(provider: &str) -> ModelError {
    unavailable(format!("{provider} could not be reached."))
}

/// The connection failed in mid-stream, or ended before it said anything.
pub(crate) fn broken(provider: &str) -> ModelError {
    unavailable(format!("The connection to {provider} broke off."))
}

pub(crate) fn silent(provider: &str, seconds: u64) -> ModelError {
    unavailable(format!("{provider} was silent for {seconds} seconds."))
}

/// The stream is not what the provider's documentation says.
pub(crate) fn unreadable(provider: &str) -> ModelError {
    unavailable(format!("{provider} sent something that could not be read."))
}

/// The stream ended in the middle of the answer.
pub(crate) fn truncated(provider: &str) -> ModelError {
    let sentence = format!("{provider} ended the answer before it was complete.");
    ModelError { kind: ModelErrorKind::Truncated, sentence, retryable: true, retry_after_ms: None }
}

/// A failure that no further try can mend.
pub(crate) fn hopeless(kind: ModelErrorKind, sentence: String) -> ModelError {
    ModelError { kind, sentence, retryable: false, retry_after_ms: None }
}

fn unavailable(sentence: String) -> ModelError {
    ModelError { kind: ModelErrorKind::Unavailable, sentence, retryable: true, retry_after_ms: None }
}
