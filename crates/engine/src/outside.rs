use std::fmt;
use std::sync::Arc;

use domain::Platform;
use domain::sockets::agent::{AgentCaller, NoAgents};
use domain::sockets::channel::Channel;
use domain::sockets::egress::{Egress, NoEgress};

/// What plugs the engine into other programs.
#[derive(Clone)]
pub struct Outside {
    /// The way to every address that somebody else chose.
    pub egress: Arc<dyn Egress>,
    /// How services elsewhere are called as agents.
    pub agents: Arc<dyn AgentCaller>,
    /// One connector for each platform that can be spoken to.
    pub channels: Vec<Arc<dyn Channel>>,
}

impl Outside {
    /// Calls nobody and knows no platform.
    #[must_use]
    pub fn closed() -> Self {
        Self { egress: Arc::new(NoEgress), agents: Arc::new(NoAgents), channels: Vec::new() }
    }

    /// How to speak with a platform; `None` if nobody here can.
    #[must_use]
    pub fn channel(&self, platform: Platform) -> Option<&Arc<dyn Channel>> {
        self.channels.iter().find(|channel| channel.platform() == platform)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platforms: Vec<_> = self.channels.iter().map(|channel| channel.platform()).collect();
        f.debug_struct("Outside").field("channels", &platforms).finish_non_exhaustive()
    }
}
