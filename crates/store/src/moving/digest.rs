//! What a table holds, in a few bytes, whatever the order of its rows.

use sha2::{Digest as _, Sha256};

use crate::Value;

/// The number of rows, and the sum of their hashes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    rows: u64,
    sum: u128,
}

impl Digest {
    pub(super) const fn rows(self) -> u64 {
        self.rows
    }

    pub(super) fn add(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            match value {
                Value::Null => hash.update(b"n"),
                Value::Int(number) => {
                    hash.update(b"i");
                    hash.update(number.to_be_bytes());
                }
                Value::Text(text) => {
                    hash.update(b"t");
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
                Value::Uuid(id) => {
                    hash.update(b"u");
                    hash.update(id.as_bytes());
                }
                // No column holds lists.
                Value::Uuids(_) => hash.update(b"l"),
            }
        }
        let hash = hash.finalize();
        let half = hash.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(half);
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;
    use crate::Value;

    #[test]
    fn a_digest_knows_every_value_but_no_order() {
        let of = |rows: &[&[Value]]| {
            let mut digest = Digest::default();
            rows.iter().for_each(|row| digest.add(row));
            digest
        };
        let (one, two): (&[Value], &[Value]) = (&["a".into(), 1.into()], &["b".into(), Value::Null]);
        assert_eq!(of(&[one, two]), of(&[two, one]));
        assert_ne!(of(&[one, two]), of(&[one, one]));
        assert_ne!(of(&[&["ab".into(), "c".into()]]), of(&[&["a".into(), "bc".into()]]));
        assert_ne!(of(&[&[1.into(), Value::Null]]), of(&[&[Value::Null, 1.into()]]));
    }
}
