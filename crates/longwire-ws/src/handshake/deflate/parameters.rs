//! The parameters of permessage-deflate as they stand in a header, and how an offer and an
//! answer come together.

use std::fmt;

use super::{Agreement, DeflateConfig, DeflateParams, Fault, MAX_WINDOW_BITS, NAME, WINDOW_BITS};
use crate::handshake::grammar::Param;

/// The parameters of one offer or one answer, as they stand in the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::handshake) struct Parameters {
    pub(in crate::handshake) server_no_context_takeover: bool,
    pub(in crate::handshake) client_no_context_takeover: bool,
    pub(in crate::handshake) server_max_window_bits: Option<u8>,
    pub(in crate::handshake) client_max_window_bits: ClientWindow,
}

/// RFC 7692, 7.1.2.2: `client_max_window_bits` says something even without a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::handshake) enum ClientWindow {
    /// The client cannot be told to limit its window.
    #[default]
    Absent,
    /// The client can be told to limit its window.
    Adjustable,
    /// In an offer: adjustable, and at most this by itself. In an answer: at most this.
    Bits(u8),
}

impl Parameters {
    pub(in crate::handshake) fn parse<'a>(params: &'a [Param<'_>]) -> Result<Self, (&'a str, Fault)> {
        let mut parsed = Self::default();
        for param in params {
            let (name, value) = (param.name, param.value.as_deref());
            let repeated = match name {
                "server_no_context_takeover" => std::mem::replace(&mut parsed.server_no_context_takeover, true),
                "client_no_context_takeover" => std::mem::replace(&mut parsed.client_no_context_takeover, true),
                "server_max_window_bits" => {
                    let bits = value.and_then(parse_bits);
                    let bits = bits.ok_or((name, Fault::InvalidValue))?;
                    parsed.server_max_window_bits.replace(bits).is_some()
                }
                "client_max_window_bits" => {
                    let window = match value.map(parse_bits) {
                        None => ClientWindow::Adjustable,
                        Some(Some(bits)) => ClientWindow::Bits(bits),
                        Some(None) => return Err((name, Fault::InvalidValue)),
                    };
                    let before = std::mem::replace(&mut parsed.client_max_window_bits, window);
                    before != ClientWindow::Absent
                }
                _ => return Err((name, Fault::Unknown)),
            };
            if repeated {
                return Err((name, Fault::Repeated));
            }
            // RFC 7692, 7.1.1.1, 7.1.1.2: the context takeover parameters have no value.
            if name.ends_with("_takeover") && value.is_some() {
                return Err((name, Fault::InvalidValue));
            }
        }
        Ok(parsed)
    }

    /// The server's side: what this offer and our configuration come to, if they fit.
    pub(super) fn accept(&self, config: &DeflateConfig) -> Option<Agreement> {
        // RFC 7692, 7.1.1.1: the client's wish binds the server; the server may also volunteer.
        let server_no_context_takeover = self.server_no_context_takeover || config.server_no_context_takeover;
        // RFC 7692, 7.1.1.2: the client's own promise holds; the server may also demand it.
        let client_no_context_takeover = self.client_no_context_takeover || config.client_no_context_takeover;

        // RFC 7692, 7.1.2.1: the same or less than the offer; confirmed whenever it was asked
        // for, and volunteered where it is less than the client would assume.
        let server_bits = self
            .server_max_window_bits
            .map_or(config.server_max_window_bits, |offered| offered.min(config.server_max_window_bits));
        let confirm = self.server_max_window_bits.is_some() || server_bits < MAX_WINDOW_BITS;

        // RFC 7692, 7.1.2.2: only a client that offers the parameter can be limited. Where we
        // need a limit and may not set one, the offer does not fit.
        let client_bits = match self.client_max_window_bits {
            ClientWindow::Absent if config.client_max_window_bits < MAX_WINDOW_BITS => return None,
            ClientWindow::Absent => MAX_WINDOW_BITS,
            ClientWindow::Adjustable => config.client_max_window_bits,
            ClientWindow::Bits(bits) => bits.min(config.client_max_window_bits),
        };

        let answer = Self {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits: confirm.then_some(server_bits),
            client_max_window_bits: if client_bits < MAX_WINDOW_BITS {
                ClientWindow::Bits(client_bits)
            } else {
                ClientWindow::Absent
            },
        };
        Some(Agreement {
            params: DeflateParams {
                server_no_context_takeover,
                client_no_context_takeover,
                server_max_window_bits: server_bits,
                client_max_window_bits: client_bits,
            },
            response: answer.to_string(),
        })
    }

    /// The client's offer.
    pub(super) fn offering(config: &DeflateConfig) -> Self {
        Self {
            server_no_context_takeover: config.server_no_context_takeover,
            client_no_context_takeover: config.client_no_context_takeover,
            server_max_window_bits: (config.server_max_window_bits < MAX_WINDOW_BITS).then_some(config.server_max_window_bits),
            client_max_window_bits: if config.client_max_window_bits < MAX_WINDOW_BITS {
                ClientWindow::Bits(config.client_max_window_bits)
            } else {
                ClientWindow::Adjustable
            },
        }
    }

    /// The client's side: whether this answer fits the offer, and what both come to.
    pub(in crate::handshake) fn verify(&self, offer: &Self) -> Result<DeflateParams, (&'static str, Fault)> {
        // RFC 7692, 7.1.1.1: a server accepts this wish by repeating it.
        if offer.server_no_context_takeover && !self.server_no_context_takeover {
            return Err(("server_no_context_takeover", Fault::Missing));
        }

        // RFC 7692, 7.1.2.1: a server accepts this limit by repeating or lowering it.
        const SERVER_BITS: &str = "server_max_window_bits";
        let server_max_window_bits = match (self.server_max_window_bits, offer.server_max_window_bits) {
            (None, Some(_)) => return Err((SERVER_BITS, Fault::Missing)),
            (Some(bits), Some(most)) if bits > most => {
                return Err((SERVER_BITS, Fault::ExceedsOffer));
            }
            (answered, _) => answered.unwrap_or(MAX_WINDOW_BITS),
        };

        // RFC 7692, 7.1.2.2: an answer has a value, it only answers an offer of the parameter,
        // and it does not go beyond a value that was offered.
        const CLIENT_BITS: &str = "client_max_window_bits";
        let client_max_window_bits = match (self.client_max_window_bits, offer.client_max_window_bits) {
            (ClientWindow::Adjustable, _) => return Err((CLIENT_BITS, Fault::InvalidValue)),
            (ClientWindow::Bits(_), ClientWindow::Absent) => {
                return Err((CLIENT_BITS, Fault::NotOffered));
            }
            (ClientWindow::Bits(bits), ClientWindow::Bits(most)) if bits > most => {
                return Err((CLIENT_BITS, Fault::ExceedsOffer));
            }
            (ClientWindow::Bits(bits), _) | (ClientWindow::Absent, ClientWindow::Bits(bits)) => bits,
            (ClientWindow::Absent, _) => MAX_WINDOW_BITS,
        };

        Ok(DeflateParams {
            server_no_context_takeover: self.server_no_context_takeover,
            // RFC 7692, 7.1.1.2: what we promised in the offer we keep, answered or not.
            client_no_context_takeover: self.client_no_context_takeover || offer.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        })
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            ClientWindow::Absent => Ok(()),
            ClientWindow::Adjustable => f.write_str("; client_max_window_bits"),
            ClientWindow::Bits(bits) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}

/// RFC 7692, 7.1.2.1, 7.1.2.2: a decimal number from 8 to 15 without leading zeros.
fn parse_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok()?;
    let canonical = value.starts_with(|first: char| matches!(first, '1'..='9'));
    (canonical && WINDOW_BITS.contains(&bits)).then_some(bits)
}
