//! How an agent proves itself to us (tokens), and we to it (the secret of its webhook).

use domain::hub::{AgentId, HubId as _, TokenId};
use domain::{Principal, Timestamp};
use store::Tx;
use store::hub::agents::{self, Secrets};
use store::hub::tokens::{self, Holder, Kind, Token};

use super::change::known;
use crate::accounts::{AGENT_TOKEN_MS, Issue, Secret, TokenView, hash, issue, random_secret, view};
use crate::hub::secrets::{open, seal};
use crate::{Engine, Refused, Result, access};

/// How long the first token can still be shown to whoever made the agent.
const SHOWN_FOR_MS: i64 = 15 * 60 * 1000;
/// How long the secret before is still signed with.
const ROTATION_MS: i64 = 24 * 60 * 60 * 1000;

/// A new token of an agent.
#[derive(Debug, Clone)]
pub struct AgentToken {
    pub id: TokenId,
    pub token: Secret,
    pub expires_at: Timestamp,
}

/// What names a token in a list: its id, what was shown of it, or the token itself.
#[derive(Debug, Clone)]
pub enum TokenRef {
    Id(TokenId),
    Shown(String),
}

/// The token and secret that come with a new agent.
pub(super) fn first(tx: &mut Tx, engine: &Engine, id: AgentId, now: Timestamp) -> Result<(AgentToken, Secret)> {
    let (token, secret) = issue(tx, wish(id, now))?;
    let sealed = seal(engine, &token_place(token.id), &secret.0)?;
    tokens::keep_sealed(tx, token.id, &sealed, Timestamp(now.0 + SHOWN_FOR_MS))?;
    let webhook = random_secret();
    let sealed = seal(engine, &secret_place(id), &webhook.0)?;
    agents::set_secrets(tx, id, &Secrets { secret: Some(sealed), old: None })?;
    Ok((AgentToken { id: token.id, token: secret, expires_at: token.expires_at }, webhook))
}

pub(super) async fn list(engine: &Engine, who: Principal, id: AgentId) -> Result<Vec<TokenView>> {
    access::hub::admin(who)?;
    let (seal, now) = (engine.clone(), engine.inner.clock.now());
    engine
        .inner
        .store
        .write(move |tx| {
            known(tx, id)?;
            let all = tokens::of(tx, Holder::Agent(id), Kind::Agent)?;
            all.into_iter().filter(|token| token.is_good(now)).map(|token| shown(tx, &seal, token, now)).collect()
        })
        .await
}

/// A token that was never shown is, this once.
fn shown(tx: &mut Tx, engine: &Engine, token: Token, now: Timestamp) -> Result<TokenView> {
    let Some((sealed, until)) = token.sealed.clone() else { return Ok(view(token)) };
    tokens::forget_sealed(tx, token.id)?;
    let (token, mut view) = (token.id, view(token));
    if until > now {
        view.shown = open(engine, &token_place(token), &sealed)?;
    }
    Ok(view)
}

pub(super) async fn create(engine: &Engine, who: Principal, id: AgentId) -> Result<AgentToken> {
    access::hub::admin(who)?;
    let now = engine.inner.clock.now();
    engine
        .inner
        .store
        .write(move |tx| {
            known(tx, id)?;
            let (token, secret) = issue(tx, wish(id, now))?;
            Ok(AgentToken { id: token.id, token: secret, expires_at: token.expires_at })
        })
        .await
}

pub(super) async fn revoke(engine: &Engine, who: Principal, id: AgentId, wanted: TokenRef) -> Result<()> {
    access::hub::admin(who)?;
    let (now, rights) = (engine.inner.clock.now(), engine.rights());
    engine
        .inner
        .store
        .write(move |tx| {
            known(tx, id)?;
            let all = tokens::of(tx, Holder::Agent(id), Kind::Agent)?;
            let in_full = match &wanted {
                TokenRef::Shown(text) => tokens::by_hash(tx, &hash(text))?.map(|token| token.id),
                TokenRef::Id(_) => None,
            };
            let is_meant = |token: &&Token| match &wanted {
                TokenRef::Id(id) => token.id == *id,
                TokenRef::Shown(text) => Some(token.id) == in_full || token.hint == *text,
            };
            let token = all.iter().find(is_meant).ok_or(Refused::NO_TOKEN)?;
            tokens::revoke(tx, token.id, now)?;
            rights.change_with(tx);
            Ok(())
        })
        .await
}

pub(super) async fn new_secret(engine: &Engine, who: Principal, id: AgentId) -> Result<Secret> {
    access::hub::admin(who)?;
    let secret = random_secret();
    let sealed = seal(engine, &secret_place(id), &secret.0)?;
    let until = Timestamp(engine.inner.clock.now().0 + ROTATION_MS);
    engine
        .inner
        .store
        .write(move |tx| {
            known(tx, id)?;
            let before = agents::secrets(tx, id)?.secret;
            let secrets = Secrets { secret: Some(sealed), old: before.map(|old| (old, until)) };
            agents::set_secrets(tx, id, &secrets).map_err(crate::Error::from)
        })
        .await?;
    Ok(secret)
}

fn wish(id: AgentId, now: Timestamp) -> Issue {
    Issue { holder: Holder::Agent(id), kind: Kind::Agent, chain: None, name: String::new(), now, lasts_ms: AGENT_TOKEN_MS }
}

fn token_place(id: TokenId) -> String {
    format!("token/{}", id.spelled())
}

/// Where the secret of an agent's webhook is sealed.
pub(crate) fn secret_place(id: AgentId) -> String {
    format!("agent/{}/webhook_secret", id.spelled())
}
