//! What a request asks for, by its query.

use std::borrow::Cow;

use http::Method;

use super::{Refusal, Revision, Transport};
use crate::query::pairs;

/// What a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Sessions over polling.
    pub polling: bool,
    /// Sessions over WebSocket, and the change to it.
    pub websocket: bool,
    /// Clients of revision 3.
    pub revision_3: bool,
}

impl Default for Accepted {
    /// Both transports, revision 4 only.
    fn default() -> Self {
        Self { polling: true, websocket: true, revision_3: false }
    }
}

/// The query of a request, as far as Engine.IO reads it.
///
/// The rules are applied in the reference's order: [`parse`](Self::parse) first, then, by whether there is a
/// [`sid`](Self::sid), [`check_session`](Self::check_session) or [`check_opening`](Self::check_opening).
///
/// Stricter than the reference: what is given twice is refused, and a missing `EIO` does not mean 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    transport: Transport,
    revision: Option<Revision>,
    sid: Option<Cow<'a, str>>,
    wants_base64: bool,
    jsonp: bool,
}

impl<'a> Query<'a> {
    /// Reads what stands behind the question mark.
    ///
    /// # Errors
    /// [`Refusal::TransportUnknown`], or [`Refusal::BadRequest`] if a parameter of Engine.IO is given twice.
    pub fn parse(query: &'a str, accepted: &Accepted) -> Result<Self, Refusal> {
        let [mut transport, mut revision, mut sid, mut base64, mut jsonp] = [const { None }; 5];
        let mut repeated = false;
        for (name, value) in pairs(query) {
            let place = match &*name {
                "transport" => &mut transport,
                "EIO" => &mut revision,
                "sid" => &mut sid,
                "b64" => &mut base64,
                "j" => &mut jsonp,
                _ => continue,
            };
            repeated |= place.replace(value).is_some();
        }
        let transport = transport.and_then(|name| Transport::parse(&name)).ok_or(Refusal::TransportUnknown)?;
        let offered = match transport {
            Transport::Polling => accepted.polling,
            Transport::WebSocket => accepted.websocket,
        };
        if !offered {
            return Err(Refusal::TransportUnknown);
        }
        if repeated {
            return Err(Refusal::BadRequest);
        }
        let not_empty = |value: &Cow<'_, str>| !value.is_empty();
        Ok(Self {
            transport,
            revision: revision.and_then(|number| Revision::parse(&number)),
            sid: sid.filter(not_empty),
            wants_base64: base64.as_ref().is_some_and(not_empty),
            jsonp: jsonp.is_some(),
        })
    }

    /// The transport of this request.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The revision that it says it speaks, if that is one.
    pub const fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The session that it belongs to; none if it opens one.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whether the client cannot read binary messages (`b64`).
    pub const fn wants_base64(&self) -> bool {
        self.wants_base64
    }

    /// Whether the answer should be a script (`j`): JSONP, which this crate does not have.
    pub const fn wants_jsonp(&self) -> bool {
        self.jsonp
    }

    /// Checks a request that opens a session; `is_upgrade` if it is a WebSocket's. The revision is the session's from now on.
    ///
    /// # Errors
    /// [`Refusal::BadHandshakeMethod`], [`Refusal::BadRequest`] if the transport is not what the request is made for,
    /// or [`Refusal::UnsupportedRevision`], in this order.
    pub fn check_opening(&self, method: &Method, is_upgrade: bool, accepted: &Accepted) -> Result<Revision, Refusal> {
        if method != Method::GET {
            return Err(Refusal::BadHandshakeMethod);
        }
        if is_upgrade != (self.transport == Transport::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        match self.revision {
            Some(Revision::V3) if !accepted.revision_3 => Err(Refusal::UnsupportedRevision),
            Some(revision) => Ok(revision),
            None => Err(Refusal::UnsupportedRevision),
        }
    }

    /// Checks a request for a session that there is (else: [`Refusal::SessionIdUnknown`]), against the transport and revision
    /// that the session has now. A WebSocket may come to a session that polls: see [`Upgrade`](super::Upgrade).
    ///
    /// # Errors
    /// [`Refusal::BadRequest`].
    pub fn check_session(&self, transport: Transport, revision: Revision, is_upgrade: bool) -> Result<(), Refusal> {
        let fits = match self.transport {
            Transport::Polling => !is_upgrade && transport == Transport::Polling,
            Transport::WebSocket => is_upgrade,
        };
        if fits && self.revision == Some(revision) { Ok(()) } else { Err(Refusal::BadRequest) }
    }
}
