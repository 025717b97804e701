//! The domain of Longwire: channels and their past, who is in them, and the sessions of those who follow them.
//!
//! It knows no bytes of any protocol, no socket, no clock and no runtime: time and randomness come in as values, so that a
//! simulation can run all of it from a seed.

pub mod broker;
mod budget;
pub mod engine;
mod hub;
mod names;
mod options;
mod random;

pub use budget::Budget;
pub use hub::{Encoder, Hub, Refused};
pub use options::{BadNamespace, ChannelOptions, DEFAULT_NAMESPACE, Namespaces, Slow, Who};
pub use random::Random;
