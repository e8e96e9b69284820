//! The sockets that models and tools plug into: traits, because each truly has many plugs.

pub mod language_model;
pub mod tool;
