//! The hours after a contact's message in which a platform takes free text.

use domain::Timestamp;
use domain::hub::ChatView;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Whether free text may be sent now, and until when; `None`: always.
#[must_use]
pub fn of(view: &ChatView, now: Timestamp) -> Option<(bool, Option<Timestamp>)> {
    let hours = view.window_hours?;
    let until = view.chat.contact_wrote_at.map(|at| Timestamp(at.0.saturating_add(hours.saturating_mul(HOUR_MS))));
    Some((until.is_some_and(|until| now < until), until))
}
