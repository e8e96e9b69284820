//! The words by which contacts shut us out, and let us in again. They are the whole of a message, in any case.

use domain::sockets::channel::ConsentChange;

const SMS_OUT: [&str; 8] = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"];
const SMS_IN: [&str; 3] = ["START", "UNSTOP", "YES"];
const WHATSAPP_OUT: [&str; 1] = ["STOP"];
const WHATSAPP_IN: [&str; 1] = ["START"];

pub(crate) fn of_sms(text: &str) -> Option<ConsentChange> {
    change(text, &SMS_OUT, &SMS_IN)
}

pub(crate) fn of_whatsapp(text: &str) -> Option<ConsentChange> {
    change(text, &WHATSAPP_OUT, &WHATSAPP_IN)
}

fn change(text: &str, out: &[&str], back: &[&str]) -> Option<ConsentChange> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()));
    match (is_one_of(out), is_one_of(back)) {
        (true, _) => Some(ConsentChange::OptedOut),
        (false, true) => Some(ConsentChange::OptedIn),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::sockets::channel::ConsentChange::{OptedIn, OptedOut};

    use super::{of_sms, of_whatsapp};

    #[test]
    fn the_whole_message_counts_in_any_case() {
        for (text, sms, whatsapp) in [
            (" stop ", Some(OptedOut), Some(OptedOut)),
            ("Unsubscribe", Some(OptedOut), None),
            ("START", Some(OptedIn), Some(OptedIn)),
            ("yes", Some(OptedIn), None),
            ("please stop", None, None),
            ("HELP", None, None),
            ("", None, None),
        ] {
            assert_eq!((of_sms(text), of_whatsapp(text)), (sms, whatsapp), "{text:?}");
        }
    }
}
