//! Who somebody is: the owner's token, sign-in codes, the cookies of browsers, people with accounts, and their tokens.

mod attempts;
mod forget;
mod passwords;
mod secrets;
mod sessions;
mod sign_in;
mod tokens;
mod users;

use std::net::IpAddr;
use std::sync::Mutex;

use domain::hub::TokenId;
use domain::{Account, AccountId, Principal, Timestamp};
use tokio::sync::Semaphore;

pub(crate) use forget::ForgetAccount;

use crate::{Engine, Result, access};

pub use passwords::MAX_PASSWORD_BYTES;
pub use sessions::{NewAccount, Session};
pub use sign_in::{Cookie, SignInCode};
pub use tokens::{PersonalToken, Proven, Secret, TokenView};
pub use users::AccountChange;

pub(crate) use secrets::{fresh, hash, hex, random_bytes, random_number, random_secret, random_word};
pub(crate) use tokens::{AGENT_TOKEN_MS, Issue, issue, view};
pub(crate) use users::known as known_account;

/// What is remembered of proofs in memory.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// The hash of each unused code, and when it expires. Codes are good for one run of the program.
    codes: Mutex<Vec<(String, Timestamp)>>,
    wrong: attempts::Attempts,
    /// Passwords that may be hashed at the same time.
    hashing: Semaphore,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            codes: Mutex::default(),
            wrong: attempts::Attempts::default(),
            hashing: Semaphore::new(passwords::AT_THE_SAME_TIME),
        }
    }
}

/// Signing in and out.
impl Engine {
    /// Who holds this bearer token, if anybody.
    ///
    /// # Errors
    /// The database's.
    pub async fn holder_of_token(&self, token: &str) -> Result<Proven> {
        tokens::holder(self, token).await
    }

    /// Whose browser holds this cookie, if anybody's.
    ///
    /// # Errors
    /// The database's.
    pub async fn principal_of_cookie(&self, cookie: &str) -> Result<Option<Principal>> {
        sign_in::principal_of_cookie(self, cookie).await
    }

    /// A fresh code for a sign-in link: good once, and for 10 minutes.
    #[must_use]
    pub fn new_sign_in_code(&self) -> SignInCode {
        sign_in::new_sign_in_code(self)
    }

    /// Signs a browser in with a code of [`Self::new_sign_in_code`]. `None`: the code is wrong, used or old.
    ///
    /// # Errors
    /// [`Error::RateLimited`](crate::Error::RateLimited): too many wrong attempts from `peer`; or the database's.
    pub async fn sign_in_with_code(&self, code: &str, peer: IpAddr) -> Result<Option<Cookie>> {
        sign_in::sign_in_with_code(self, code, peer).await
    }

    /// Signs a browser in with the owner's token. `None`: the token is wrong.
    ///
    /// # Errors
    /// As [`Self::sign_in_with_code`].
    pub async fn sign_in_with_token(&self, token: &str, peer: IpAddr) -> Result<Option<Cookie>> {
        sign_in::sign_in_with_token(self, token, peer).await
    }

    /// Signs a browser in with an account's name or e-mail address and password. `None`: unknown, wrong or inactive, which
    /// take equally long to say.
    ///
    /// # Errors
    /// [`Error::RateLimited`](crate::Error::RateLimited): too many wrong attempts for this name from `peer`; or the database's.
    pub async fn sign_in_with_password(&self, name: &str, password: &str, peer: IpAddr) -> Result<Option<Cookie>> {
        match sessions::prove(self, name, password, peer).await? {
            Some(account) => sign_in::new_cookie(self, account.id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Signs the browser out. Sockets and streams of this cookie end within 5 s.
    ///
    /// # Errors
    /// The database's.
    pub async fn sign_out(&self, cookie: &str) -> Result<()> {
        sign_in::sign_out(self, cookie).await
    }

    /// What the caller is called: a name and a role.
    ///
    /// # Errors
    /// The database's.
    pub async fn name_of(&self, who: Principal) -> Result<(String, &'static str)> {
        users::name_of(self, who).await
    }

    /// The caller's personal tokens, the newest first.
    ///
    /// # Errors
    /// [`Error::Forbidden`](crate::Error::Forbidden): the caller has no account; or the database's.
    pub async fn personal_tokens(&self, who: Principal) -> Result<Vec<TokenView>> {
        tokens::personal_tokens(self, who).await
    }

    /// A token that opens everything that the caller may do, for a year. It is shown this once.
    ///
    /// # Errors
    /// As [`Self::personal_tokens`].
    pub async fn new_personal_token(&self, who: Principal, name: String) -> Result<PersonalToken> {
        tokens::new_personal_token(self, who, name).await
    }

    /// Makes a personal token of the caller worthless.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound); or the database's.
    pub async fn revoke_personal_token(&self, who: Principal, token: TokenId) -> Result<()> {
        tokens::revoke_personal_token(self, who, token).await
    }
}

/// The hub's accounts.
impl Engine {
    /// Asked before a request is read any further.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused).
    pub fn must_be_admin(&self, who: Principal) -> Result<()> {
        access::hub::admin(who)
    }

    /// # Errors
    /// [`Refused`](crate::Refused).
    pub fn may_read_users(&self, who: Principal) -> Result<()> {
        access::hub::reads_users(who)
    }

    /// # Errors
    /// [`Refused`](crate::Refused).
    pub fn may_change_user(&self, who: Principal, id: AccountId) -> Result<()> {
        access::hub::changes_user(who, id)
    }

    /// Characters that a new password must have.
    #[must_use]
    pub fn min_password_characters(&self) -> usize {
        passwords::min_characters(self)
    }

    /// Whether anybody has an account.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_accounts(&self) -> Result<bool> {
        sessions::has_accounts(self).await
    }

    /// Whether `who` (nobody, if `None`) may make the first account now.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused): there are accounts already, or it takes the owner; or the database's.
    pub async fn may_sign_up(&self, who: Option<Principal>) -> Result<()> {
        sessions::may_sign_up(self, who).await
    }

    /// Makes the first account, an ADMIN, and signs it in. Of two at once, one wins.
    ///
    /// # Errors
    /// As [`Self::may_sign_up`].
    pub async fn sign_up(&self, who: Option<Principal>, new: NewAccount) -> Result<Session> {
        sessions::sign_up(self, who, new).await
    }

    /// Signs an account in to the hub, by name or e-mail address.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused): unknown, wrong and inactive alike, in equal time;
    /// [`Error::RateLimited`](crate::Error::RateLimited): too many wrong attempts for this name from `peer`; or the database's.
    pub async fn log_in(&self, name: &str, password: &str, peer: IpAddr) -> Result<Session> {
        sessions::log_in(self, name, password, peer).await
    }

    /// A new session for an old one, which dies. A refresh token that comes twice kills the whole chain.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused): it is none, old, used, or its account inactive; or the database's.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session> {
        sessions::refresh(self, refresh_token).await
    }

    /// Makes the token worthless, and the rest of its session with it.
    ///
    /// # Errors
    /// The database's.
    pub async fn log_out(&self, token: TokenId) -> Result<()> {
        sessions::log_out(self, token).await
    }

    /// Accounts that are active, or those that are not, by name.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn accounts(&self, who: Principal, is_active: bool) -> Result<Vec<Account>> {
        users::list(self, who, is_active).await
    }

    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn account(&self, who: Principal, id: AccountId) -> Result<Account> {
        users::get(self, who, id).await
    }

    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn create_account(&self, who: Principal, new: NewAccount) -> Result<Account> {
        users::create(self, who, new).await
    }

    /// Changes what `change` names. A new password and the loss of activity make all proofs of the account worthless.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn change_account(&self, who: Principal, id: AccountId, change: AccountChange) -> Result<Account> {
        users::change(self, who, id, change).await
    }

    /// Makes the account inactive, or (`hard`) removes it.
    ///
    /// # Errors
    /// [`Refused`](crate::Refused), or the database's.
    pub async fn delete_account(&self, who: Principal, id: AccountId, hard: bool) -> Result<()> {
        users::delete(self, who, id, hard).await
    }
}
