//! Both protocols from outside: examples of what is said on the wire, everything that is refused and why, and what holds of all
//! values and of all bytes.

mod any;
mod arguments;
mod attachments;
mod engine_packets;
mod packets;
mod payloads;
mod properties;
mod requests;
mod upgrade;
