//! Engine.IO and Socket.IO without the sockets: packets and payloads as functions of bytes and values.
//!
//! Two protocols lie on each other. *Engine.IO* ([`engine`]) carries messages, text or binary, over a WebSocket or over HTTP
//! requests, and can change from the second to the first. *Socket.IO* (the rest of this crate) is what these messages say:
//! namespaces, events, acks, with binary parts sent behind the text that refers to them.
//!
//! | spoken by | Engine.IO | Socket.IO |
//! |---|---|---|
//! | clients 3.x and 4.x | revision 4 | protocol 5 |
//! | clients 2.x | revision 3 | protocol 4 |
//!
//! This crate reads no socket, looks at no clock and draws no random number. Whatever a peer sends gives a packet or a typed
//! error, never a panic, and nothing grows past the limits that the caller passes.
//!
//! # From a frame to an event, and back
//! ```
//! use longwire_socketio::engine::{self, Form, Revision, Transport};
//! use longwire_socketio::{Arguments, Decoder, Limits, Namespace, Packet, Protocol};
//!
//! // A WebSocket text frame: an Engine.IO message (4) with a Socket.IO event (2) that wants an ack (7).
//! let frame = engine::Packet::decode_text(Revision::V4, r#"42/chat,7["say","hello"]"#).unwrap();
//! let mut decoder = Decoder::new(Protocol::V5);
//! let packet = decoder.message(frame.data(), &Limits::default()).unwrap().unwrap();
//! let Packet::Event { namespace, id: Some(id), arguments } = packet else { panic!("it is an event with an id") };
//! assert_eq!((namespace.as_str(), arguments.event_name().as_deref()), ("/chat", Some("say")));
//! let (text,): (String,) = arguments.read_event().unwrap();
//! assert_eq!(text, "hello");
//!
//! // The answer, once for all receivers that read the same form.
//! let mut answer = Arguments::new();
//! answer.push(&true).unwrap();
//! let encoded = Packet::Ack { namespace, id, arguments: answer }.encode();
//! let form = Form::new(Revision::V4, Transport::WebSocket, false);
//! assert_eq!(encoded.packets(form)[0].as_bytes(), "43/chat,7[true]");
//! ```

mod arguments;
mod decoder;
mod encode;
pub mod engine;
mod error;
mod header;
mod json;
mod limits;
mod namespace;
mod packet;
mod query;
mod value;

pub use arguments::{Arguments, RESERVED_EVENTS};
pub use decoder::Decoder;
pub use encode::Encoded;
pub use error::{DataError, DecodeError};
pub use json::Json;
pub use limits::Limits;
pub use namespace::{InvalidNamespace, Namespace};
pub use packet::{Packet, Protocol};
pub use query::pairs;
pub use value::{Object, Value};
