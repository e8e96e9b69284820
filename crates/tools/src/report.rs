//! How searches write paths, and what they say about what they did not see.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::walk::Missed;
use crate::workdir::DEPTH_LIMIT;

/// A path as text. Bytes that are not UTF-8 become U+FFFD and control characters are escaped, so that a file's name can
/// never pass for another line of the output.
pub(crate) fn display(path: &Path) -> String {
    let text = path.to_string_lossy();
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Appends a line for everything that was missed; whether a limit was the cause.
pub(crate) fn note_missed(output: &mut String, missed: &Missed, time_limit: Duration) -> bool {
    // Writing to a String does not fail.
    if missed.stopped {
        let _ = writeln!(output, "[Stopped after {} s, before everything was seen.]", time_limit.as_secs());
    }
    if missed.too_many {
        output.push_str("[Stopped: there are too many files. Work in a smaller directory.]\n");
    }
    if missed.too_deep > 0 {
        let _ = writeln!(output, "[Directories nested deeper than {DEPTH_LIMIT} levels were not entered: {}.]", missed.too_deep);
    }
    if missed.unreadable > 0 {
        let _ = writeln!(output, "[Files or directories that could not be read: {}.]", missed.unreadable);
    }
    missed.stopped || missed.too_many || missed.too_deep > 0
}
