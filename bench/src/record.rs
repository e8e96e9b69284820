//! What a delta's text says: its number in the answer, and when it was sent.
//!
//! A record is 20 bytes long, about as long as the deltas of real models. Records may arrive joined or cut anywhere; the
//! [`Reader`] puts them together again and accepts nothing but all of them, in order, each once.

use crate::Result;

/// Five hexadecimal digits of number, fourteen of nanoseconds, and a space.
pub const RECORD_BYTES: usize = 20;
const SEQ_DIGITS: usize = 5;
/// As many as five hexadecimal digits can number.
pub const MAX_RECORDS: u32 = 0xf_ffff;

/// Appends the record with this number, sent at this time.
pub fn write(out: &mut Vec<u8>, seq: u32, sent_ns: u64) {
    let mut record = [b' '; RECORD_BYTES];
    hex(&mut record[..SEQ_DIGITS], seq.into());
    hex(&mut record[SEQ_DIGITS..RECORD_BYTES - 1], sent_ns);
    out.extend_from_slice(&record);
}

fn hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// Reads the records of one answer.
#[derive(Debug, Default)]
pub struct Reader {
    next: u32,
    partial: String,
}

impl Reader {
    /// Takes the next piece of text, and gives the send time of each record that it completes.
    pub fn push(&mut self, text: &str, mut on_record: impl FnMut(u32, u64)) -> Result<()> {
        if self.partial.is_empty() && text.len() == RECORD_BYTES {
            return self.take(text, &mut on_record);
        }
        self.partial.push_str(text);
        let whole = std::mem::take(&mut self.partial);
        let mut rest = whole.as_str();
        while let Some((record, behind)) = rest.split_at_checked(RECORD_BYTES) {
            self.take(record, &mut on_record)?;
            rest = behind;
        }
        self.partial.push_str(rest);
        Ok(())
    }

    fn take(&mut self, record: &str, on_record: &mut impl FnMut(u32, u64)) -> Result<()> {
        let (seq, sent) = record.split_at_checked(SEQ_DIGITS).unwrap_or_default();
        let seq = u32::from_str_radix(seq, 16).map_err(|_| format!("{record:?} is no record"))?;
        let sent_ns = u64::from_str_radix(sent.trim_end(), 16).map_err(|_| format!("{record:?} is no record"))?;
        if seq != self.next {
            return Err(format!("the stream is broken: delta {seq} came where {} was due", self.next).into());
        }
        self.next += 1;
        on_record(seq, sent_ns);
        Ok(())
    }

    /// How many records there were.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.next
    }

    /// Says whether the answer was whole.
    pub fn finish(&self, expected: u32) -> Result<()> {
        if self.next == expected && self.partial.is_empty() {
            return Ok(());
        }
        Err(format!("the stream is broken: {} of {expected} deltas came, and {:?} behind them", self.next, self.partial).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{RECORD_BYTES, Reader, write};

    fn text(numbers: &[u32]) -> String {
        let mut out = Vec::new();
        numbers.iter().for_each(|seq| write(&mut out, *seq, u64::from(*seq) + 1000));
        String::from_utf8(out).expect("ASCII")
    }

    fn read(pieces: &[&str], expected: u32) -> crate::Result<Vec<u64>> {
        let mut reader = Reader::default();
        let mut sent = Vec::new();
        for piece in pieces {
            reader.push(piece, |_, sent_ns| sent.push(sent_ns))?;
        }
        reader.finish(expected)?;
        Ok(sent)
    }

    #[test]
    fn records_are_read_however_they_are_cut() {
        let whole = text(&[0, 1, 2]);
        assert_eq!(whole.len(), 3 * RECORD_BYTES);
        for cut in 0..whole.len() {
            let (first, rest) = whole.split_at(cut);
            assert_eq!(read(&[first, rest], 3).expect("whole"), [1000, 1001, 1002], "cut at {cut}");
        }
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        for numbers in [&[0, 2][..], &[0, 0, 1], &[1, 0], &[0, 1, 2, 3], &[0]] {
            assert!(read(&[&text(numbers)], 2).is_err(), "{numbers:?}");
        }
        assert!(read(&[&text(&[0, 1]), "0"], 2).is_err());
        assert!(read(&["no record of twenty "], 1).is_err());
        assert!(read(&[&text(&[0, 1])], 2).is_ok());
    }
}
