//! People and agents who answer contacts on connected platforms.

mod agents;

pub use agents::{AgentChange, AgentToken, NewAgent, TokenRef};
