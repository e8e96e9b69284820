//! Connected platforms: making, changing and removing them, and who may see them.

use std::collections::BTreeMap;

use domain::egress::ChosenBy;
use domain::hub::{Channel, ChannelId, Health, HubId as _, InboundAuth, Takeover};
use domain::sockets::channel::{ChannelAccess, Credentials, Secret as PlatformSecret};
use domain::{AccountId, Platform, Principal, Timestamp};
use store::Tx;
use store::hub::channels::{self, Secrets};
use store::hub::{Table, accounts};

use super::secrets::{open, seal};
use crate::accounts::{fresh, known_account, random_secret, random_word};
use crate::request_key::{RequestKey, once};
use crate::{Engine, Error, Refused, Result, access};

/// How long the secret before is still good.
const ROTATION_MS: i64 = 24 * 60 * 60 * 1000;
/// Characters that a credential shows of its end.
const SHOWN_CHARACTERS: usize = 4;
const HIDDEN: &str = "****";

/// The values of a channel; `None` stays as it is, or is the default. What may be nothing is an `Option` in the `Option`.
#[derive(Clone, Default)]
pub struct ChannelChange {
    pub name: Option<String>,
    pub platform: Option<Platform>,
    pub credentials: Option<BTreeMap<String, String>>,
    pub api_to_send_message: Option<Option<String>>,
    pub webhook_base_url: Option<Option<String>>,
    pub inbound_auth: Option<InboundAuth>,
    pub inbound_secret: Option<String>,
    pub takeover: Option<Takeover>,
    pub takeover_minutes: Option<i64>,
    pub buffer_max_messages: Option<i64>,
    pub send_read_receipts: Option<bool>,
    pub window_hours: Option<Option<i64>>,
}

impl std::fmt::Debug for ChannelChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelChange").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Somebody who was let into a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub account: AccountId,
    pub username: String,
    pub channel: ChannelId,
}

/// The hub's channels.
impl Engine {
    /// # Errors
    /// [`Refused`].
    pub fn may_change_channels(&self, who: Principal) -> Result<()> {
        access::hub::changes_channels(who)
    }

    /// The channels that `who` may see, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn channels(&self, who: Principal) -> Result<Vec<Channel>> {
        let read = move |tx: &mut Tx| {
            let seen = access::hub::visible_channels(tx, who)?;
            let all = channels::list(tx)?;
            Ok(all.into_iter().filter(|channel| seen.as_ref().is_none_or(|seen| seen.contains(&channel.id))).collect())
        };
        self.inner.store.read(read).await
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn channel(&self, who: Principal, id: ChannelId) -> Result<Channel> {
        self.inner.store.read(move |tx| access::hub::channel(tx, who, id)).await
    }

    /// # Errors
    /// [`Refused`], [`Error::InvalidValue`], [`Error::Conflict`], or the database's.
    pub async fn create_channel(&self, who: Principal, new: ChannelChange, key: Option<RequestKey>) -> Result<Channel> {
        access::hub::changes_channels(who)?;
        self.check_addresses(&new).await?;
        let (engine, now) = (self.clone(), self.inner.clock.now());
        let write = move |tx: &mut Tx| {
            let id = once(tx, who, key, now, |tx| {
                let platform = new.platform.ok_or(Error::InvalidValue { field: "platform", reason: "is missing" })?;
                let channel = default_channel(fresh(tx, Table::Channel)?, platform, now);
                let (channel, secrets) = applied(&engine, new, channel, Secrets::default(), None)?;
                channels::insert(tx, &channel, &secrets)?;
                super::listen::listen(tx, &engine.queue(), channel.id)?;
                Ok(channel.id)
            })?;
            channels::get(tx, id)?.ok_or(Refused::NO_CHANNEL.into())
        };
        self.inner.store.write(write).await
    }

    /// # Errors
    /// [`Refused`], [`Error::InvalidValue`], or the database's.
    pub async fn change_channel(&self, who: Principal, id: ChannelId, change: ChannelChange) -> Result<Channel> {
        access::hub::changes_channels(who)?;
        if change.credentials.is_some() || change.inbound_secret.is_some() {
            access::hub::admin(who)?;
        }
        self.check_addresses(&change).await?;
        let engine = self.clone();
        let write = move |tx: &mut Tx| {
            let before = access::hub::channel(tx, who, id)?;
            let secrets = channels::secrets(tx, id)?;
            let known = stored_credentials(&engine, id, &secrets)?;
            let (channel, secrets) = applied(&engine, change, before, secrets, Some(known))?;
            channels::update(tx, &channel, &secrets)?;
            super::listen::listen(tx, &engine.queue(), id)?;
            Ok::<_, Error>(channel)
        };
        self.inner.store.write(write).await
    }

    /// Stops everything of the channel at once; its data goes after 30 days, or now (`hard`).
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn delete_channel(&self, who: Principal, id: ChannelId, hard: bool) -> Result<()> {
        access::hub::admin(who)?;
        let (now, rights) = (self.inner.clock.now(), self.rights());
        let write = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            channels::delete(tx, id, now)?;
            if hard {
                channels::purge(tx, id)?;
            }
            rights.change_with(tx);
            Ok::<_, Error>(())
        };
        self.inner.store.write(write).await
    }

    /// The names of the channel's credentials, with the ends of their values; the secret of what comes in, in full.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn channel_credentials(&self, who: Principal, id: ChannelId) -> Result<(BTreeMap<String, String>, Option<String>)> {
        access::hub::admin(who)?;
        let engine = self.clone();
        let read = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            let secrets = channels::secrets(tx, id)?;
            let known = stored_credentials(&engine, id, &secrets)?;
            let masked = known.into_iter().map(|(name, value)| (name, masked(&value))).collect();
            let inbound = secrets.inbound_secret.map(|sealed| open(&engine, &inbound_place(id), &sealed)).transpose()?;
            Ok((masked, inbound))
        };
        self.inner.store.read(read).await
    }

    /// What a connector must know to speak for the channel. Nobody else is told.
    ///
    /// # Errors
    /// The database's; or the key is another.
    pub(crate) fn channel_access(&self, tx: &mut Tx, channel: &Channel) -> Result<ChannelAccess> {
        let secrets = channels::secrets(tx, channel.id)?;
        let now = self.inner.clock.now();
        let place = inbound_place(channel.id);
        let opened = |sealed: &String| open(self, &place, sealed).map(PlatformSecret);
        let previous = secrets.old_inbound_secret.as_ref().filter(|(_, until)| *until > now).map(|(sealed, _)| sealed);
        Ok(ChannelAccess {
            channel_id: channel.id.spelled(),
            credentials: Credentials(stored_credentials(self, channel.id, &secrets)?),
            api_to_send_message: channel.api_to_send_message.clone(),
            webhook_base_url: self.webhook_base_url(channel),
            inbound_secret: secrets.inbound_secret.as_ref().map(opened).transpose()?,
            previous_inbound_secret: previous.map(opened).transpose()?,
        })
    }

    /// Under which address the platform reaches this server: the channel's own, or the server's.
    #[must_use]
    pub fn webhook_base_url(&self, channel: &Channel) -> Option<String> {
        channel.webhook_base_url.clone().or_else(|| self.inner.settings.hub.public_url.clone())
    }

    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn permissions(&self, who: Principal, id: ChannelId) -> Result<Vec<Permission>> {
        access::hub::admin(who)?;
        let read = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            let permitted = accounts::permitted(tx, id)?.into_iter();
            Ok(permitted.map(|(account, username)| Permission { account, username, channel: id }).collect())
        };
        self.inner.store.read(read).await
    }

    /// Lets an account into the channel.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn grant(&self, who: Principal, id: ChannelId, account: AccountId) -> Result<Permission> {
        access::hub::admin(who)?;
        let (now, rights) = (self.inner.clock.now(), self.rights());
        let write = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            let username = known_account(tx, account)?.username;
            accounts::grant(tx, id, account, now)?;
            rights.change_with(tx);
            Ok(Permission { account, username, channel: id })
        };
        self.inner.store.write(write).await
    }

    /// Shuts an account out of the channel, also on sockets that are open.
    ///
    /// # Errors
    /// [`Refused`], or the database's.
    pub async fn revoke_permission(&self, who: Principal, id: ChannelId, account: AccountId) -> Result<()> {
        access::hub::admin(who)?;
        let rights = self.rights();
        let write = move |tx: &mut Tx| {
            access::hub::channel(tx, who, id)?;
            known_account(tx, account)?;
            accounts::revoke(tx, id, account)?;
            rights.change_with(tx);
            Ok(())
        };
        self.inner.store.write(write).await
    }

    /// Addresses are looked at when they are saved, and again whenever they are called.
    async fn check_addresses(&self, change: &ChannelChange) -> Result<()> {
        if let Some(Some(url)) = &change.api_to_send_message
            && self.outside().egress.check(url, ChosenBy::Admin).await.is_err()
        {
            return Err(Error::InvalidValue { field: "api_to_send_message", reason: "address not allowed" });
        }
        if change.inbound_auth == Some(InboundAuth::Local) && !self.inner.settings.hub.is_sign_in_off {
            return Err(Error::InvalidValue { field: "inbound_auth", reason: "local needs COLLOQUY_AUTH=off" });
        }
        Ok(())
    }
}

fn default_channel(id: ChannelId, platform: Platform, now: Timestamp) -> Channel {
    Channel {
        id,
        name: String::new(),
        platform,
        api_to_send_message: None,
        webhook_base_url: None,
        inbound_auth: InboundAuth::Required,
        takeover: Takeover::Auto,
        takeover_minutes: 30,
        buffer_max_messages: 20,
        send_read_receipts: false,
        window_hours: matches!(platform, Platform::Whatsapp | Platform::WhatsappTwilio).then_some(24),
        health: Health::Ok,
        created_at: now,
        deleted_at: None,
    }
}

/// The changed channel and its secrets. `known`: the credentials that are stored; `None` for a new channel.
fn applied(
    engine: &Engine,
    change: ChannelChange,
    before: Channel,
    secrets: Secrets,
    known: Option<BTreeMap<String, String>>,
) -> Result<(Channel, Secrets)> {
    let (id, is_new) = (before.id, known.is_none());
    let known = known.unwrap_or_default();
    // Whoever gives them again says that they are good now, at another address or because the platform was told.
    let are_given_anew = change.credentials.as_ref().is_some_and(|given| are_in_full(given, &known));
    let is_elsewhere = change.api_to_send_message.as_ref().is_some_and(|address| *address != before.api_to_send_message);
    let credentials = match change.credentials {
        Some(given) => unmasked(given, &known),
        None => known.clone(),
    };
    let platform = change.platform.unwrap_or(before.platform);
    let webhook_base_url = change.webhook_base_url.unwrap_or(before.webhook_base_url);
    let inbound_auth = match change.inbound_auth {
        Some(wanted) => wanted,
        None if is_new => default_auth(engine, platform, webhook_base_url.as_deref(), &credentials),
        None => before.inbound_auth,
    };
    let deserves_a_try = are_given_anew || is_elsewhere || credentials != known;
    let channel = Channel {
        id,
        name: change.name.unwrap_or(before.name),
        platform,
        api_to_send_message: change.api_to_send_message.unwrap_or(before.api_to_send_message),
        webhook_base_url,
        inbound_auth,
        takeover: change.takeover.unwrap_or(before.takeover),
        takeover_minutes: change.takeover_minutes.unwrap_or(before.takeover_minutes),
        buffer_max_messages: change.buffer_max_messages.unwrap_or(before.buffer_max_messages),
        send_read_receipts: change.send_read_receipts.unwrap_or(before.send_read_receipts),
        window_hours: change.window_hours.unwrap_or(before.window_hours),
        health: if deserves_a_try { Health::Ok } else { before.health },
        created_at: before.created_at,
        deleted_at: before.deleted_at,
    };
    let text = serde_json::to_string(&credentials).map_err(|error| Error::Internal(error.to_string()))?;
    let secret = match change.inbound_secret {
        Some(given) => Some(given),
        None if is_new => generated_secret(platform),
        None => None,
    };
    let secrets = match secret {
        Some(secret) => {
            let until = Timestamp(engine.inner.clock.now().0 + ROTATION_MS);
            Secrets {
                credentials: seal(engine, &credentials_place(id), &text)?,
                inbound_secret: Some(seal(engine, &inbound_place(id), &secret)?),
                old_inbound_secret: secrets.inbound_secret.map(|old| (old, until)),
            }
        }
        None => Secrets { credentials: seal(engine, &credentials_place(id), &text)?, ..secrets },
    };
    Ok((channel, secrets))
}

/// Unsigned messages are accepted by default only where nothing real is at stake.
fn default_auth(engine: &Engine, platform: Platform, base: Option<&str>, credentials: &BTreeMap<String, String>) -> InboundAuth {
    let hub = &engine.inner.settings.hub;
    let is_public = base.is_some() || hub.public_url.is_some();
    // Who has no connector speaks for nobody.
    let looks_real =
        engine.outside().channel(platform).is_none_or(|connector| connector.look_real(&Credentials(credentials.clone())));
    if !hub.is_sign_in_off || is_public || looks_real { InboundAuth::Required } else { InboundAuth::Local }
}

/// What the platform needs to know of us, where it needs something that we choose.
fn generated_secret(platform: Platform) -> Option<String> {
    match platform {
        Platform::Telegram => Some(random_word()),
        Platform::Webhook => Some(random_secret().0),
        Platform::Whatsapp | Platform::WhatsappTwilio | Platform::Instagram | Platform::SmsTwilio | Platform::Slack => None,
    }
}

/// At least one value is not the mask of the stored one.
fn are_in_full(given: &BTreeMap<String, String>, known: &BTreeMap<String, String>) -> bool {
    given.iter().any(|(name, value)| known.get(name).is_none_or(|stored| masked(stored) != *value))
}

/// A value that comes back masked leaves the stored one.
fn unmasked(given: BTreeMap<String, String>, known: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let real = |(name, value): (String, String)| {
        let stored = known.get(&name).filter(|stored| masked(stored) == value).cloned();
        (name, stored.unwrap_or(value))
    };
    given.into_iter().map(real).collect()
}

fn masked(value: &str) -> String {
    let characters = value.chars().count();
    // A short value would be given away by its end.
    let shown = if characters > 2 * SHOWN_CHARACTERS { SHOWN_CHARACTERS } else { 0 };
    HIDDEN.to_owned() + &value.chars().skip(characters - shown).collect::<String>()
}

fn stored_credentials(engine: &Engine, id: ChannelId, secrets: &Secrets) -> Result<BTreeMap<String, String>> {
    let text = open(engine, &credentials_place(id), &secrets.credentials)?;
    serde_json::from_str(&text).map_err(|error| Error::Internal(error.to_string()))
}

fn credentials_place(id: ChannelId) -> String {
    format!("channel/{}/credentials", id.spelled())
}

fn inbound_place(id: ChannelId) -> String {
    format!("channel/{}/inbound_secret", id.spelled())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{masked, unmasked};

    #[test]
    fn a_masked_value_that_comes_back_leaves_the_stored_one() {
        let pair = |value: &str| BTreeMap::from([("token".to_owned(), value.to_owned())]);
        let known = pair("0123456789abcdef");
        assert_eq!(masked("0123456789abcdef"), "****cdef");
        assert_eq!(masked("12345678"), "****", "a short value shows nothing");
        assert_eq!(unmasked(pair("****cdef"), &known), known);
        assert_eq!(unmasked(pair("new"), &known), pair("new"));
    }
}
