//! A request of a platform: whose channel it is for, whether it is genuine, and what it says, taken in by one transaction.

use domain::Platform;
use domain::hub::{Channel, ChannelId, HubId as _, InboundAuth};
use domain::sockets::channel::{Authenticity, Channel as Connector, ChannelAccess, Handshake, Inbound, InboundRequest};
use store::hub::channels;

use super::intake::Taken;
use super::knocks::Knock;
use super::typing;
use crate::{Engine, Error, Result};

/// What a platform gets for its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// In the order in which it was told.
    Taken(Vec<Taken>),
    /// The answer to setting the webhook up.
    Challenge(String),
}

/// Why nothing of the request was taken in.
#[derive(Debug, thiserror::Error)]
pub enum NotReceived {
    #[error("Unsupported platform: {0}")]
    UnknownPlatform(String),
    #[error("Channel {0} not found")]
    UnknownChannel(String),
    #[error("Platform mismatch. Channel is {ours}, received {theirs}")]
    OtherPlatform { ours: Platform, theirs: Platform },
    #[error("Platform {0} is not available")]
    NoConnector(Platform),
    #[error("Invalid signature")]
    Forged,
    #[error("Invalid {0} payload")]
    Unreadable(Platform),
    /// The platform is to repeat the request.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Engine {
    /// Takes in a request of the platform that calls itself `platform`, in any case, for a channel or, without one, for the
    /// only one of that platform. When this returns, what it says is on disk.
    ///
    /// # Errors
    /// [`NotReceived`]; nothing is stored then.
    pub async fn receive(&self, platform: &str, channel: Option<&str>, request: InboundRequest) -> Result<Received, NotReceived> {
        let unknown = || NotReceived::UnknownPlatform(platform.to_owned());
        let theirs = Platform::parse_any_case(platform).ok_or_else(unknown)?;
        let (channel, access) = self.channel_of(theirs, channel).await?;
        let (id, at) = (channel.id, request.received_at);
        let received = self.receive_for(theirs, channel, access, request).await;
        if let Err(refused) = &received {
            let error = match refused {
                NotReceived::Failed(_) => "The message could not be stored".to_owned(),
                other => other.to_string(),
            };
            self.inner.knocks.note(id, Knock { at, error });
        }
        received
    }

    async fn receive_for(
        &self,
        theirs: Platform,
        channel: Channel,
        access: ChannelAccess,
        request: InboundRequest,
    ) -> Result<Received, NotReceived> {
        if channel.platform != theirs {
            return Err(NotReceived::OtherPlatform { ours: channel.platform, theirs });
        }
        let connector = self.outside().channel(theirs).ok_or(NotReceived::NoConnector(theirs))?;
        if request.is_get {
            let asked = connector.handshake(&access, &request);
            return asked.map_or(Err(NotReceived::Unreadable(theirs)), answer_of);
        }
        if !self.is_genuine(&**connector, &channel, &access, &request) {
            return Err(NotReceived::Forged);
        }
        if let Some(handshake) = connector.handshake(&access, &request) {
            return answer_of(handshake);
        }
        let told = connector.parse(&access, &request).map_err(|_| NotReceived::Unreadable(theirs))?;
        let presses = presses(&told);
        let taken = self.take_in(channel.id, told).await?;
        typing::acknowledge(self, &channel, access, presses);
        Ok(Received::Taken(taken))
    }

    async fn channel_of(&self, platform: Platform, name: Option<&str>) -> Result<(Channel, ChannelAccess), NotReceived> {
        let shown = name.unwrap_or(platform.as_str()).to_owned();
        let unknown = || NotReceived::UnknownChannel(shown);
        let id = match name {
            Some(name) => ChannelId::read(name),
            None => {
                let all = self.inner.store.read(channels::list).await.map_err(Error::from)?;
                only(all.into_iter().filter(|channel| channel.platform == platform)).map(|channel| channel.id)
            }
        };
        match id {
            Some(id) => self.inbound_channel(id).await?.ok_or_else(unknown),
            None => Err(unknown()),
        }
    }

    /// Unsigned requests count only on channels that allow it, from this machine, while sign-in is off.
    fn is_genuine(&self, connector: &dyn Connector, channel: &Channel, access: &ChannelAccess, request: &InboundRequest) -> bool {
        let may_be_unsigned = channel.inbound_auth == InboundAuth::Local && self.inner.settings.hub.is_sign_in_off;
        match connector.verify(access, request) {
            Authenticity::Genuine => true,
            Authenticity::Unsigned => may_be_unsigned && request.loopback_host.is_some(),
            Authenticity::Forged => false,
        }
    }
}

/// What the platform wants to hear of buttons that were pressed.
pub(super) fn presses(told: &[Inbound]) -> Vec<String> {
    let token = |told: &Inbound| match told {
        Inbound::Message(message) => message.acknowledge.clone(),
        Inbound::Edited { .. } | Inbound::Status(_) | Inbound::Consent { .. } | Inbound::Ignored => None,
    };
    told.iter().filter_map(token).collect()
}

fn answer_of(handshake: Handshake) -> Result<Received, NotReceived> {
    match handshake {
        Handshake::Challenge(text) => Ok(Received::Challenge(text)),
        Handshake::Refused => Err(NotReceived::Forged),
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}
