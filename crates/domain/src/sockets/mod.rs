//! The sockets that models, tools, channels and the guarded client plug into: traits, because each truly has many plugs.

pub mod agent;
pub mod carrier;
pub mod channel;
pub mod egress;
pub mod language_model;
pub mod surveyor;
pub mod tool;
