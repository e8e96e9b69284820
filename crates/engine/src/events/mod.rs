//! The log: appending to it, and following it.

mod append;
mod bus;
mod feed;
mod flush;
mod follow;
mod live;
mod mail;
mod pieces;
mod remote;

pub(crate) use append::{Append, AppendError};
pub(crate) use bus::Attached;
pub(crate) use bus::Bus;
pub(crate) use feed::feed;
pub(crate) use follow::follow;
pub(crate) use live::{Live, PartName};
pub(crate) use mail::Order;
pub(crate) use pieces::open_parts;

pub use feed::Feed;
pub use follow::{Follow, From, Opened, RunningTurn};
pub use live::{Entry, OpenPart, SLOTS, What};
