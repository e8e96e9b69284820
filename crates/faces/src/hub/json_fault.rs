//! Where a text stops being JSON, and why, as Python's decoder tells it: clients of the hub's original know that decoder's
//! positions and sentences.

/// Deeper values than this nobody reads.
const MAX_DEPTH: usize = 128;

/// The number of characters before the fault, and its sentence.
pub(super) type JsonFault = (usize, &'static str);

const VALUE: &str = "Expecting value";

/// `None`: there is nothing wrong with it.
pub(super) fn find(text: &str) -> Option<JsonFault> {
    let mut scanner = Scanner { characters: text.chars().collect(), depth: 0 };
    let start = scanner.blank(0);
    match scanner.value(start) {
        Err(fault) => Some(fault),
        Ok(end) => {
            let end = scanner.blank(end);
            (end < scanner.characters.len()).then_some((end, "Extra data"))
        }
    }
}

struct Scanner {
    characters: Vec<char>,
    depth: usize,
}

/// Each function takes the place where something begins, and gives the place behind it.
type Scanned = Result<usize, JsonFault>;

impl Scanner {
    fn at(&self, index: usize) -> Option<char> {
        self.characters.get(index).copied()
    }

    fn blank(&self, mut index: usize) -> usize {
        while matches!(self.at(index), Some(' ' | '\t' | '\n' | '\r')) {
            index += 1;
        }
        index
    }

    fn value(&mut self, start: usize) -> Scanned {
        match self.at(start) {
            Some('"') => self.string(start),
            Some(opening @ ('{' | '[')) => {
                if self.depth >= MAX_DEPTH {
                    return Err((start, "Nested too deeply"));
                }
                self.depth += 1;
                let end = if opening == '{' { self.object(start + 1) } else { self.array(start + 1) };
                self.depth -= 1;
                end
            }
            Some('0'..='9' | '-') => self.number(start),
            _ => {
                let words = ["null", "true", "false", "NaN", "Infinity"];
                self.word(start, &words).ok_or((start, VALUE))
            }
        }
    }

    fn word(&self, start: usize, words: &[&str]) -> Option<usize> {
        let is_here = |word: &&&str| word.chars().enumerate().all(|(offset, c)| self.at(start + offset) == Some(c));
        words.iter().find(is_here).map(|word| start + word.len())
    }

    fn number(&self, start: usize) -> Scanned {
        let mut end = if self.at(start) == Some('-') { start + 1 } else { start };
        end = match self.at(end) {
            Some('0') => end + 1,
            Some('1'..='9') => self.digits(end),
            Some('I') if end > start => return self.word(end, &["Infinity"]).ok_or((start, VALUE)),
            _ => return Err((start, VALUE)),
        };
        // A point or an exponent without digits behind it is not part of the number.
        if self.at(end) == Some('.') && self.digits(end + 1) > end + 1 {
            end = self.digits(end + 1);
        }
        if matches!(self.at(end), Some('e' | 'E')) {
            let first = if matches!(self.at(end + 1), Some('+' | '-')) { end + 2 } else { end + 1 };
            if self.digits(first) > first {
                end = self.digits(first);
            }
        }
        Ok(end)
    }

    fn digits(&self, mut index: usize) -> usize {
        while self.at(index).is_some_and(|c| c.is_ascii_digit()) {
            index += 1;
        }
        index
    }

    fn string(&self, start: usize) -> Scanned {
        const UNTERMINATED: &str = "Unterminated string starting at";
        let mut index = start + 1;
        loop {
            match self.at(index) {
                None => return Err((start, UNTERMINATED)),
                Some('"') => return Ok(index + 1),
                Some('\0'..='\x1f') => return Err((index, "Invalid control character at")),
                Some('\\') => match self.at(index + 1) {
                    None => return Err((start, UNTERMINATED)),
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => index += 2,
                    Some('u') => index = self.escape(index)?,
                    Some(_) => return Err((index, "Invalid \\escape")),
                },
                Some(_) => index += 1,
            }
        }
    }

    /// Four hexadecimal digits, and something behind them.
    fn escape(&self, start: usize) -> Scanned {
        let is_whole = (2..6).all(|offset| self.at(start + offset).is_some_and(|c| c.is_ascii_hexdigit()));
        let fault = (start + 1, "Invalid \\uXXXX escape");
        if is_whole && self.at(start + 6).is_some() { Ok(start + 6) } else { Err(fault) }
    }

    fn object(&mut self, start: usize) -> Scanned {
        let mut index = self.blank(start);
        if self.at(index) == Some('}') {
            return Ok(index + 1);
        }
        loop {
            if self.at(index) != Some('"') {
                return Err((index, "Expecting property name enclosed in double quotes"));
            }
            index = self.string(index)?;
            index = self.blank(index);
            if self.at(index) != Some(':') {
                return Err((index, "Expecting ':' delimiter"));
            }
            index = self.blank(index + 1);
            index = self.value(index)?;
            index = self.blank(index);
            match self.at(index) {
                Some('}') => return Ok(index + 1),
                Some(',') => index = self.blank(index + 1),
                _ => return Err((index, "Expecting ',' delimiter")),
            }
        }
    }

    fn array(&mut self, start: usize) -> Scanned {
        let mut index = self.blank(start);
        if self.at(index) == Some(']') {
            return Ok(index + 1);
        }
        loop {
            index = self.value(index)?;
            index = self.blank(index);
            match self.at(index) {
                Some(']') => return Ok(index + 1),
                Some(',') => index = self.blank(index + 1),
                _ => return Err((index, "Expecting ',' delimiter")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    /// Texts, and what Python 3.11's decoder says of them.
    const KNOWN: &str = include_str!("json_faults.txt");

    #[test]
    fn faults_are_where_pythons_decoder_finds_them() {
        let mut count = 0;
        for line in KNOWN.lines() {
            let known: (String, Option<(usize, String)>) = serde_json::from_str(line).expect("a line of the list");
            let found = find(&known.0).map(|(place, why)| (place, why.to_owned()));
            assert_eq!(found, known.1, "{:?}", known.0);
            count += 1;
        }
        assert!(count > 300, "the list is read");
    }

    #[test]
    fn no_depth_is_too_deep() {
        assert_eq!(find(&"[".repeat(1_000_000)), Some((128, "Nested too deeply")));
    }
}
