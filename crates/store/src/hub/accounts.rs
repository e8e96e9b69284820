//! People who may sign in.

use domain::hub::{ChannelId, HubId as _};
use domain::{Account, AccountId, Role, Timestamp};
use uuid::Uuid;

use super::{flag, unreadable};
use crate::{Row, StoreError, Tx};

const COLUMNS: &str = "id, username, email, phone, role, is_active, created_at";

/// # Errors
/// [`StoreError::Duplicate`]: name, e-mail or phone is taken; or the database's.
pub fn insert(tx: &mut Tx, account: &Account, password: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO account (id, username, email, phone, role, is_active, password, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            account.id.uuid().into(),
            account.username.as_str().into(),
            account.email.clone().into(),
            account.phone.clone().into(),
            account.role.as_str().into(),
            flag(account.is_active).into(),
            password.into(),
            account.created_at.0.into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn get(tx: &mut Tx, id: AccountId) -> Result<Option<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM account WHERE id = $1");
    tx.query_one(&sql, &[id.uuid().into()])?.map(|row| account(&row)).transpose()
}

/// Those that are active, or those that are not, by name.
///
/// # Errors
/// The database's.
pub fn list(tx: &mut Tx, is_active: bool) -> Result<Vec<Account>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM account WHERE is_active = $1 ORDER BY username, id");
    tx.query(&sql, &[flag(is_active).into()])?.iter().map(account).collect()
}

/// Whether anybody has an account.
///
/// # Errors
/// The database's.
pub fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT id FROM account LIMIT 1", &[])?.is_some())
}

/// The account and its password's hash, by name or e-mail address; the name counts first.
///
/// # Errors
/// The database's.
pub fn with_password(tx: &mut Tx, name: &str) -> Result<Option<(Account, String)>, StoreError> {
    for column in ["username", "email"] {
        let sql = format!("SELECT {COLUMNS}, password FROM account WHERE {column} = $1");
        if let Some(row) = tx.query_one(&sql, &[name.into()])? {
            return Ok(Some((account(&row)?, row.get(7)?)));
        }
    }
    Ok(None)
}

/// Which of name, e-mail and phone another account has already, in this order.
///
/// # Errors
/// The database's.
pub fn taken(tx: &mut Tx, wanted: &Account) -> Result<Option<&'static str>, StoreError> {
    let values = [("username", Some(&wanted.username)), ("email", wanted.email.as_ref()), ("phone", wanted.phone.as_ref())];
    for (column, value) in values {
        let Some(value) = value else { continue };
        let sql = format!("SELECT id FROM account WHERE {column} = $1 AND id <> $2");
        if tx.query_one(&sql, &[value.as_str().into(), wanted.id.uuid().into()])?.is_some() {
            return Ok(Some(column));
        }
    }
    Ok(None)
}

/// Stores everything but the password.
///
/// # Errors
/// As [`insert`].
pub fn update(tx: &mut Tx, account: &Account) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE account SET username = $2, email = $3, phone = $4, role = $5, is_active = $6 WHERE id = $1",
        &[
            account.id.uuid().into(),
            account.username.as_str().into(),
            account.email.clone().into(),
            account.phone.clone().into(),
            account.role.as_str().into(),
            flag(account.is_active).into(),
        ],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn set_password(tx: &mut Tx, id: AccountId, password: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE account SET password = $2 WHERE id = $1", &[id.uuid().into(), password.into()])?;
    Ok(())
}

/// Removes the account, its permissions and its proofs.
///
/// # Errors
/// The database's.
pub fn delete(tx: &mut Tx, id: AccountId) -> Result<(), StoreError> {
    super::chats::forget_account(tx, id)?;
    for sql in [
        "DELETE FROM channel_permission WHERE account_id = $1",
        "DELETE FROM token WHERE account_id = $1",
        "DELETE FROM sign_in WHERE account_id = $1",
        "DELETE FROM account WHERE id = $1",
    ] {
        tx.execute(sql, &[id.uuid().into()])?;
    }
    Ok(())
}

/// Whether somebody else is an active ADMIN. The rows are locked, so that two cannot leave at once.
///
/// # Errors
/// The database's.
pub fn other_admin(tx: &mut Tx, id: AccountId) -> Result<bool, StoreError> {
    // Touching a row that all who ask this touch makes them wait for each other.
    tx.execute("UPDATE once_only SET at = at WHERE name = 'first sign-up'", &[])?;
    let sql = "SELECT id FROM account WHERE role = 'ADMIN' AND is_active = 1 AND id <> $1 LIMIT 1";
    Ok(tx.query_one(sql, &[id.uuid().into()])?.is_some())
}

/// Lets the account into a channel.
///
/// # Errors
/// The database's.
pub fn grant(tx: &mut Tx, channel: ChannelId, id: AccountId, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO channel_permission (channel_id, account_id, created_at) VALUES ($1, $2, $3) \
         ON CONFLICT (channel_id, account_id) DO NOTHING",
        &[channel.uuid().into(), id.uuid().into(), at.0.into()],
    )?;
    Ok(())
}

/// # Errors
/// The database's.
pub fn revoke(tx: &mut Tx, channel: ChannelId, id: AccountId) -> Result<(), StoreError> {
    let sql = "DELETE FROM channel_permission WHERE channel_id = $1 AND account_id = $2";
    tx.execute(sql, &[channel.uuid().into(), id.uuid().into()])?;
    Ok(())
}

/// Whether the account may do everything in the channel.
///
/// # Errors
/// The database's.
pub fn is_granted(tx: &mut Tx, channel: ChannelId, id: AccountId) -> Result<bool, StoreError> {
    let sql = "SELECT channel_id FROM channel_permission WHERE channel_id = $1 AND account_id = $2";
    Ok(tx.query_one(sql, &[channel.uuid().into(), id.uuid().into()])?.is_some())
}

/// The channels that the account may see.
///
/// # Errors
/// The database's.
pub fn granted(tx: &mut Tx, id: AccountId) -> Result<Vec<ChannelId>, StoreError> {
    let rows = tx.query("SELECT channel_id FROM channel_permission WHERE account_id = $1", &[id.uuid().into()])?;
    rows.iter().map(|row| Ok(ChannelId::from_uuid(row.get::<Uuid>(0)?))).collect()
}

/// Who was let into the channel, by name.
///
/// # Errors
/// The database's.
pub fn permitted(tx: &mut Tx, channel: ChannelId) -> Result<Vec<(AccountId, String)>, StoreError> {
    let sql = "SELECT a.id, a.username FROM channel_permission p JOIN account a ON a.id = p.account_id \
               WHERE p.channel_id = $1 ORDER BY a.username";
    let rows = tx.query(sql, &[channel.uuid().into()])?;
    rows.iter().map(|row| Ok((AccountId::from_uuid(row.get::<Uuid>(0)?), row.get(1)?))).collect()
}

fn account(row: &Row) -> Result<Account, StoreError> {
    let role: String = row.get(4)?;
    Ok(Account {
        id: AccountId::from_uuid(row.get::<Uuid>(0)?),
        username: row.get(1)?,
        email: row.get(2)?,
        phone: row.get(3)?,
        role: Role::parse(&role).ok_or_else(|| unreadable("role", &role))?,
        is_active: row.get::<i64>(5)? != 0,
        created_at: Timestamp(row.get(6)?),
    })
}
