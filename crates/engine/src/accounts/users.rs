//! People with accounts, as ADMINs manage them.

use domain::{Account, AccountId, Principal, Role};
use store::Tx;
use store::hub::{accounts, chats, tokens};

use super::forget::ForgetAccount;
use super::{NewAccount, passwords};
use crate::hub::Changes;
use crate::{Engine, Refused, Result, access};

/// What to change; `None` stays as it is.
#[derive(Clone, Default)]
pub struct AccountChange {
    pub username: Option<String>,
    pub password: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub role: Option<Role>,
    pub is_active: Option<bool>,
}

impl std::fmt::Debug for AccountChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountChange").finish_non_exhaustive()
    }
}

pub(super) async fn name_of(engine: &Engine, who: Principal) -> Result<(String, &'static str)> {
    match who {
        Principal::Owner => Ok(("owner".to_owned(), Role::Admin.as_str())),
        Principal::Account { id, role } => {
            let account = engine.inner.store.read(move |tx| accounts::get(tx, id)).await?;
            Ok((account.map(|account| account.username).unwrap_or_default(), role.as_str()))
        }
        Principal::Agent { .. } => Err(crate::Error::Forbidden),
    }
}

pub(super) async fn list(engine: &Engine, who: Principal, is_active: bool) -> Result<Vec<Account>> {
    access::hub::reads_users(who)?;
    Ok(engine.inner.store.read(move |tx| accounts::list(tx, is_active)).await?)
}

pub(super) async fn get(engine: &Engine, who: Principal, id: AccountId) -> Result<Account> {
    access::hub::reads_users(who)?;
    engine.inner.store.read(move |tx| known(tx, id)).await
}

pub(super) async fn create(engine: &Engine, who: Principal, new: NewAccount) -> Result<Account> {
    access::hub::admin(who)?;
    let password = passwords::hash(engine, new.password.clone()).await?;
    let now = engine.inner.clock.now();
    engine
        .inner
        .store
        .write(move |tx| {
            let account = new.named(tx, now)?;
            refuse_taken(tx, &account)?;
            accounts::insert(tx, &account, &password)?;
            Ok(account)
        })
        .await
}

pub(super) async fn change(engine: &Engine, who: Principal, id: AccountId, change: AccountChange) -> Result<Account> {
    access::hub::changes_user(who, id)?;
    if change.role.is_some() || change.is_active.is_some() {
        access::hub::admin(who)?;
    }
    let password = match change.password.clone() {
        Some(password) => Some(passwords::hash(engine, password).await?),
        None => None,
    };
    let now = engine.inner.clock.now();
    let rights = engine.rights();
    engine
        .inner
        .store
        .write(move |tx| {
            let before = known(tx, id)?;
            let account = changed(&before, change);
            refuse_taken(tx, &account)?;
            refuse_without_admin(tx, &before, &account)?;
            accounts::update(tx, &account)?;
            if let Some(password) = &password {
                accounts::set_password(tx, id, password)?;
            }
            if password.is_some() || !account.is_active {
                tokens::revoke_account(tx, id, now)?;
            }
            rights.change_with(tx);
            Ok(account)
        })
        .await
}

pub(super) async fn delete(engine: &Engine, who: Principal, id: AccountId, hard: bool) -> Result<()> {
    access::hub::admin(who)?;
    let now = engine.inner.clock.now();
    let (rights, mut changes) = (engine.rights(), Changes::of(engine));
    engine
        .inner
        .store
        .write(move |tx| {
            let before = known(tx, id)?;
            let account = Account { is_active: false, ..before.clone() };
            refuse_without_admin(tx, &before, &account)?;
            rights.change_with(tx);
            if hard {
                // Whoever looks at a chat that was theirs sees at once that it is nobody's.
                for chat in chats::of_account(tx, id)? {
                    changes.chat_updated(chat);
                }
                accounts::delete(tx, id)?;
                changes.queue.enqueue(tx, &ForgetAccount { account: id }, now, None)?;
                return changes.end(tx);
            }
            accounts::update(tx, &account)?;
            Ok(tokens::revoke_account(tx, id, now)?)
        })
        .await
}

fn changed(before: &Account, change: AccountChange) -> Account {
    Account {
        id: before.id,
        username: change.username.unwrap_or_else(|| before.username.clone()),
        email: change.email.or_else(|| before.email.clone()),
        phone: change.phone.or_else(|| before.phone.clone()),
        role: change.role.unwrap_or(before.role),
        is_active: change.is_active.unwrap_or(before.is_active),
        created_at: before.created_at,
    }
}

pub(crate) fn known(tx: &mut Tx, id: AccountId) -> Result<Account> {
    accounts::get(tx, id)?.ok_or(Refused::NO_USER.into())
}

fn refuse_taken(tx: &mut Tx, account: &Account) -> Result<()> {
    match accounts::taken(tx, account)? {
        None => Ok(()),
        Some("username") => Err(Refused::USERNAME_TAKEN.into()),
        Some("email") => Err(Refused::EMAIL_TAKEN.into()),
        Some(_) => Err(Refused::PHONE_TAKEN.into()),
    }
}

/// Somebody must be left who can manage everybody.
fn refuse_without_admin(tx: &mut Tx, before: &Account, after: &Account) -> Result<()> {
    let rules = |account: &Account| account.role == Role::Admin && account.is_active;
    if rules(before) && !rules(after) && !accounts::other_admin(tx, before.id)? {
        return Err(Refused::LAST_ADMIN.into());
    }
    Ok(())
}
