//! Rights over rules: every account runs them and reads results, and whoever made one changes it.

use domain::{AccountId, Principal, Rule};

use crate::{Error, Result};

/// Whoever has an account.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) const fn runs_rules(who: Principal) -> Result<()> {
    match who {
        Principal::Owner | Principal::Account { .. } => Ok(()),
        Principal::Agent { .. } => Err(Error::Forbidden),
    }
}

/// Approving and rejecting, which only people may who answer for the data.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) const fn decides_rules(who: Principal) -> Result<()> {
    if who.is_admin() { Ok(()) } else { Err(Error::Forbidden) }
}

/// New versions, refreshing and removing. Nobody made the rules of the file.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) fn changes_rule(who: Principal, rule: &Rule) -> Result<()> {
    let is_maker = rule.code.is_none() && rule.owner == who.account() && rule.owner != AccountId::NOBODY;
    if who.is_admin() || is_maker { Ok(()) } else { Err(Error::Forbidden) }
}
