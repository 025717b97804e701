//! From Engine.IO messages to packets.

use bytes::Bytes;

use crate::arguments::Arguments;
use crate::engine::Data;
use crate::error::DecodeError;
use crate::header::{Header, Kind};
use crate::json::{self, Json};
use crate::limits::Limits;
use crate::namespace::Namespace;
use crate::packet::{Packet, Protocol};

/// Puts packets together from the messages of one session, in their order: a text, and as many binary messages as it announces.
///
/// After an error nothing is expected any more; the session is to be closed.
#[derive(Debug)]
pub struct Decoder {
    protocol: Protocol,
    // In a box: a session waits for attachments hardly ever.
    partial: Option<Box<Partial>>,
}

/// A packet that waits for attachments.
#[derive(Debug)]
struct Partial {
    namespace: Namespace,
    id: Option<u64>,
    is_ack: bool,
    arguments: Arguments,
    /// How many are still to come, at least one.
    missing: usize,
    /// How large those are that have come.
    bytes: usize,
}

impl Decoder {
    /// Of a new session.
    pub const fn new(protocol: Protocol) -> Self {
        Self { protocol, partial: None }
    }

    /// Whether an attachment must come next.
    pub const fn expects_attachment(&self) -> bool {
        self.partial.is_some()
    }

    /// Takes the data of the next Engine.IO message: a packet, or none as long as attachments are missing.
    ///
    /// # Errors
    /// If it breaks a rule: see [`DecodeError`].
    pub fn message(&mut self, data: &Data<'_>, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        match data {
            Data::Text(text) => self.text(text, limits),
            Data::Binary(bytes) => self.binary(Bytes::copy_from_slice(bytes), limits),
        }
    }

    /// Takes a text message.
    ///
    /// # Errors
    /// As [`message`](Self::message).
    pub fn text(&mut self, text: &str, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        if self.partial.take().is_some() {
            return Err(DecodeError::TextForAttachment);
        }
        let header = Header::read(text, limits)?;
        let (namespace, query) = self.namespace(&header, limits)?;
        match header.kind {
            Kind::Connect => {
                no_id(&header)?;
                let data = if header.data.is_empty() { None } else { Some(object(header.data, limits)?) };
                Ok(Some(Packet::Connect { namespace, query, data }))
            }
            Kind::Disconnect => {
                no_id(&header)?;
                if !header.data.is_empty() {
                    return Err(DecodeError::UnexpectedPayload);
                }
                Ok(Some(Packet::Disconnect { namespace }))
            }
            Kind::ConnectError => {
                no_id(&header)?;
                Ok(Some(Packet::ConnectError { namespace, data: connect_error(header.data, limits)? }))
            }
            Kind::Event => {
                let arguments = event(header.data, limits)?;
                Ok(Some(Packet::Event { namespace, id: header.id, arguments }))
            }
            Kind::Ack => {
                let id = header.id.ok_or(DecodeError::MissingAckId)?;
                Ok(Some(Packet::Ack { namespace, id, arguments: ack(header.data, limits)? }))
            }
            Kind::BinaryEvent | Kind::BinaryAck => {
                self.partial = Some(Box::new(Partial::new(&header, namespace, limits)?));
                Ok(None)
            }
        }
    }

    /// Takes a binary message, which must be an attachment.
    ///
    /// # Errors
    /// As [`message`](Self::message).
    pub fn binary(&mut self, bytes: Bytes, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        let mut partial = self.partial.take().ok_or(DecodeError::UnexpectedAttachment)?;
        partial.bytes = partial.bytes.saturating_add(bytes.len());
        if partial.bytes > limits.max_attachments_bytes {
            return Err(DecodeError::AttachmentsTooBig { limit: limits.max_attachments_bytes });
        }
        partial.arguments.attach(bytes);
        partial.missing -= 1;
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(None);
        }
        partial.finish().map(Some)
    }

    /// The namespace, and behind it, in protocol 4, a query, which counts in a CONNECT only.
    fn namespace(&self, header: &Header<'_>, limits: &Limits) -> Result<(Namespace, Option<Box<str>>), DecodeError> {
        let (name, query) = match self.protocol {
            Protocol::V5 => (header.namespace, None),
            Protocol::V4 => match header.namespace.split_once('?') {
                Some((name, query)) => (name, Some(query)),
                None => (header.namespace, None),
            },
        };
        let limit = limits.max_namespace_bytes;
        if name.len() > limit {
            return Err(DecodeError::NamespaceTooLong { limit });
        }
        if query.is_some_and(|query| query.len() > limits.max_query_bytes) {
            return Err(DecodeError::QueryTooLong { limit: limits.max_query_bytes });
        }
        let namespace = Namespace::new(name).map_err(|_| DecodeError::InvalidNamespace)?;
        if query.is_some_and(|query| query.contains(char::is_control)) {
            return Err(DecodeError::InvalidNamespace);
        }
        Ok((namespace, query.filter(|_| header.kind == Kind::Connect).map(Into::into)))
    }
}

impl Partial {
    fn new(header: &Header<'_>, namespace: Namespace, limits: &Limits) -> Result<Self, DecodeError> {
        let is_ack = header.kind == Kind::BinaryAck;
        if is_ack && header.id.is_none() {
            return Err(DecodeError::MissingAckId);
        }
        let arguments = if is_ack { ack(header.data, limits)? } else { event(header.data, limits)? };
        arguments.check_placeholders(header.attachments)?;
        Ok(Self { namespace, id: header.id, is_ack, arguments, missing: header.attachments, bytes: 0 })
    }

    fn finish(self) -> Result<Packet, DecodeError> {
        let Self { namespace, id, is_ack, arguments, .. } = self;
        if is_ack {
            let id = id.ok_or(DecodeError::MissingAckId)?;
            return Ok(Packet::Ack { namespace, id, arguments });
        }
        Ok(Packet::Event { namespace, id, arguments })
    }
}

fn no_id(header: &Header<'_>) -> Result<(), DecodeError> {
    if header.id.is_some() { Err(DecodeError::UnexpectedAckId) } else { Ok(()) }
}

fn object(data: &str, limits: &Limits) -> Result<Json, DecodeError> {
    let json = Json::parse(data, limits.max_depth)?;
    if data.starts_with('{') { Ok(json) } else { Err(DecodeError::NotAnObject) }
}

fn connect_error(data: &str, limits: &Limits) -> Result<Json, DecodeError> {
    if data.is_empty() {
        return Err(DecodeError::MissingPayload);
    }
    let json = Json::parse(data, limits.max_depth)?;
    if data.starts_with(['{', '"']) { Ok(json) } else { Err(DecodeError::NotAnError) }
}

fn event(data: &str, limits: &Limits) -> Result<Arguments, DecodeError> {
    let arguments = array(data, limits)?;
    let name = arguments.event_name().ok_or(DecodeError::NoEventName)?;
    if arguments.is_named_by_text() && crate::RESERVED_EVENTS.contains(&&*name) {
        return Err(DecodeError::ReservedEvent);
    }
    drop(name);
    Ok(arguments)
}

/// The reference takes an ack without data for one without arguments.
fn ack(data: &str, limits: &Limits) -> Result<Arguments, DecodeError> {
    if data.is_empty() { Ok(Arguments::new()) } else { array(data, limits) }
}

fn array(data: &str, limits: &Limits) -> Result<Arguments, DecodeError> {
    if data.is_empty() {
        return Err(DecodeError::MissingPayload);
    }
    json::check(data, limits.max_depth)?;
    if !data.starts_with('[') {
        return Err(DecodeError::NotAnArray);
    }
    // Arguments are appended at the bracket, which must be the last byte.
    Ok(Arguments::checked(data.trim_ascii_end()))
}
