//! Full-text search over what was said. The index is written in the transaction that stores the words.

use domain::{AccountId, ConversationId, Home, MessageId, Timestamp};
use uuid::Uuid;

use crate::{StoreError, Tx};

/// A text part in which the words occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub conversation: ConversationId,
    pub message: MessageId,
    pub text: String,
    pub created_at: Timestamp,
}

/// Where all of these words occur in conversations of this home, best first; the last word may be the beginning of one.
///
/// # Errors
/// The database's.
pub fn find(tx: &mut Tx, owner: AccountId, home: Home, words: &str, limit: u32) -> Result<Vec<Hit>, StoreError> {
    let Some(query) = tx.dialect().search_query(words) else { return Ok(Vec::new()) };
    let sql = tx.dialect().search();
    let rows = tx.query(sql, &[query.into(), owner.uuid().into(), home.as_str().into(), i64::from(limit).into()])?;
    rows.iter()
        .map(|row| {
            Ok(Hit {
                conversation: ConversationId::from_uuid(row.get::<Uuid>(0)?),
                message: MessageId::from_uuid(row.get::<Uuid>(1)?),
                text: row.get(2)?,
                created_at: Timestamp(row.get(3)?),
            })
        })
        .collect()
}
