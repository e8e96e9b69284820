//! One answer of the model, asked for again where that is allowed: only before anything of it was seen.

use std::time::Duration;

use domain::sockets::language_model::{ModelError, ModelRequest};
use domain::{EventKind, Failure, FailureCode, Outcome};
use futures_util::StreamExt;

use super::finish::End;
use super::fold::Fold;
use super::prompt;
use super::run::{Run, broken};
use crate::Error;

/// Times that one request is asked again.
const RETRIES: u32 = 3;
/// Waiting that one request may cost altogether.
const MAX_WAIT_MS: u64 = 60_000;
/// The first wait, if the provider does not name one; it doubles.
const FIRST_WAIT_MS: u64 = 500;
const LONGEST_WAIT_MS: u64 = 8_000;

pub(super) async fn ask(run: &mut Run) -> Result<Fold, End> {
    let (mut attempt, mut waited_ms) = (0, 0);
    loop {
        // Built for each attempt, because most need one: a long history is then never copied.
        let request = prompt::build(run).await.map_err(|error| broken(&error))?;
        let mut fold = Fold::new(run);
        let error = match listen(run, request, &mut fold).await {
            Ok(()) => return Ok(fold),
            Err(Silence::Cancelled) => return Err(End::Outcome { outcome: Outcome::Cancelled, fold: Some(fold) }),
            Err(Silence::Lost) => return Err(End::Lost),
            Err(Silence::Shutdown) => return Err(End::Shutdown { fold: Some(fold) }),
            Err(Silence::Broken(error)) => return Err(broken(&error)),
            Err(Silence::Failed(error)) => error,
        };
        let wait_ms = error.retry_after_ms.unwrap_or_else(|| backoff_ms(attempt));
        if fold.is_visible() || !error.retryable || attempt == RETRIES {
            return Err(End::Outcome { outcome: outcome(&error), fold: Some(fold) });
        }
        if waited_ms + wait_ms > MAX_WAIT_MS {
            return Err(End::Outcome { outcome: too_long(wait_ms), fold: Some(fold) });
        }
        waited_ms += wait_ms;
        attempt += 1;
        tracing::warn!(model = %run.model.name(), attempt, wait_ms, kind = ?error.kind, "the provider failed; asking again");
        note(run, "Retrying").await.map_err(|error| broken(&error))?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            () = run.stops.cancel.cancelled() => return Err(End::Outcome { outcome: Outcome::Cancelled, fold: None }),
            () = run.stops.shutdown.cancelled() => return Err(End::Shutdown { fold: None }),
            () = run.stops.hand_over.cancelled() => return Err(End::Shutdown { fold: None }),
            () = run.stops.lost.cancelled() => return Err(End::Lost),
        }
    }
}

/// Why no whole answer came.
enum Silence {
    Cancelled,
    Shutdown,
    Lost,
    Failed(ModelError),
    Broken(Error),
}

async fn listen(run: &Run, request: ModelRequest, fold: &mut Fold) -> Result<(), Silence> {
    let stopped = async {
        tokio::select! {
            () = run.stops.cancel.cancelled() => Silence::Cancelled,
            () = run.stops.shutdown.cancelled() => Silence::Shutdown,
            () = run.stops.lost.cancelled() => Silence::Lost,
        }
    };
    tokio::pin!(stopped);
    let mut stream = tokio::select! {
        biased;
        silence = &mut stopped => return Err(silence),
        () = run.stops.hand_over.cancelled() => return Err(Silence::Shutdown),
        stream = run.model.ask(request) => stream.map_err(Silence::Failed)?,
    };
    loop {
        let event = tokio::select! {
            biased;
            silence = &mut stopped => return Err(silence),
            // As long as nobody has seen anything of the answer, another node may ask for it just as well.
            () = run.stops.hand_over.cancelled(), if !fold.is_visible() => return Err(Silence::Shutdown),
            event = stream.next() => event,
        };
        match event {
            Some(Ok(event)) => fold.take(run, event).await.map_err(Silence::Broken)?,
            Some(Err(error)) => return Err(Silence::Failed(error)),
            None if fold.is_finished() => return Ok(()),
            None => return Err(Silence::Failed(truncated())),
        }
        if fold.is_finished() {
            return Ok(());
        }
    }
}

async fn note(run: &Run, text: &str) -> Result<(), Error> {
    let (append, turn, text) = (run.append(), run.turn().id, text.to_owned());
    let noted = run.engine.inner.store.write(move |tx| append.event(tx, Some(turn), |_| EventKind::StatusNoted { text })).await;
    noted.map(|_| ()).map_err(Error::from)
}

fn outcome(error: &ModelError) -> Outcome {
    Outcome::Failed(Failure { code: error.kind.failure_code(), sentence: error.sentence.clone() })
}

fn too_long(wait_ms: u64) -> Outcome {
    let sentence = format!("The provider asks to wait {} s before the next request.", wait_ms.div_ceil(1000));
    Outcome::Failed(Failure { code: FailureCode::ProviderRateLimited, sentence })
}

fn truncated() -> ModelError {
    ModelError {
        kind: domain::sockets::language_model::ModelErrorKind::Truncated,
        sentence: "The provider's answer broke off.".to_owned(),
        retryable: true,
        retry_after_ms: None,
    }
}

/// Doubles with each attempt, and varies by a quarter so that many do not come back at once.
pub(crate) fn backoff_ms(attempt: u32) -> u64 {
    let wait = (FIRST_WAIT_MS << attempt.min(10)).min(LONGEST_WAIT_MS);
    let mut byte = [0];
    // Without randomness the wait is merely not varied.
    let _ = getrandom::fill(&mut byte);
    wait - wait / 4 * u64::from(byte[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::backoff_ms;

    #[test]
    fn waits_double_up_to_a_limit() {
        for (attempt, longest) in [(0, 500), (1, 1000), (2, 2000), (3, 4000), (4, 8000), (40, 8000)] {
            let wait = backoff_ms(attempt);
            assert!((longest * 3 / 4..=longest).contains(&wait), "attempt {attempt}: {wait} ms");
        }
    }
}
