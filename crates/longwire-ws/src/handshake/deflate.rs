//! Negotiating permessage-deflate (RFC 7692, section 7.1), for both roles. Parameters only:
//! compressing is done elsewhere.

pub(super) mod parameters;

use std::fmt;
use std::ops::RangeInclusive;

use super::grammar::Extension;
use parameters::Parameters;

/// RFC 7692, 7: the extension's registered name.
const NAME: &str = "permessage-deflate";

/// RFC 7692, 7.1.2: a window of 2^bits bytes.
const WINDOW_BITS: RangeInclusive<u8> = 8..=15;
/// RFC 7692, 7.1.2.1, 7.1.2.2: the window where nobody asked for a smaller one.
const MAX_WINDOW_BITS: u8 = 15;

/// What one side wants of permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// The server shall compress each message on its own.
    pub server_no_context_takeover: bool,
    /// The client shall compress each message on its own.
    pub client_no_context_takeover: bool,
    /// Largest window of the server's compressor, 8 to 15 bits; never exceeded.
    pub server_max_window_bits: u8,
    /// Largest window of the client's compressor, 8 to 15 bits; never exceeded.
    pub client_max_window_bits: u8,
}

impl Default for DeflateConfig {
    /// No context takeover in either direction, full windows.
    fn default() -> Self {
        Self {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: MAX_WINDOW_BITS,
        }
    }
}

impl DeflateConfig {
    /// Checks the bounds of all fields.
    ///
    /// # Errors
    /// The first field that is out of its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !WINDOW_BITS.contains(&self.server_max_window_bits) {
            return Err(ConfigError::ServerMaxWindowBits(self.server_max_window_bits));
        }
        if !WINDOW_BITS.contains(&self.client_max_window_bits) {
            return Err(ConfigError::ClientMaxWindowBits(self.client_max_window_bits));
        }
        Ok(())
    }
}

/// A field of [`DeflateConfig`] that is out of its bounds, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigError {
    /// `server_max_window_bits` is not within 8 to 15.
    ServerMaxWindowBits(u8),
    /// `client_max_window_bits` is not within 8 to 15.
    ClientMaxWindowBits(u8),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerMaxWindowBits(bits) => {
                write!(f, "server_max_window_bits is {bits}, use 8 to 15")
            }
            Self::ClientMaxWindowBits(bits) => {
                write!(f, "client_max_window_bits is {bits}, use 8 to 15")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// Largest window that the server's compressor may use, 8 to 15 bits.
    pub server_max_window_bits: u8,
    /// Largest window that the client's compressor may use, 8 to 15 bits.
    pub client_max_window_bits: u8,
}

/// An accepted offer: what was agreed, and the words that tell the client so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// What both sides now keep to.
    pub params: DeflateParams,
    /// The value of `Sec-WebSocket-Extensions` in the response. It depends on the offer too,
    /// not only on `params`: a limit that was asked for is confirmed even if it limits nothing.
    pub response: String,
}

/// The server's choice: the first of the client's offers that fits `config`.
///
/// `None` means no compression: nothing was offered, all offers were declined, or `config` is
/// out of its bounds.
#[must_use]
pub fn negotiate(offers: &[Extension<'_>], config: &DeflateConfig) -> Option<Agreement> {
    config.validate().ok()?;
    // RFC 7692, 5: offers come in the client's order of preference; what is declined is skipped.
    offers
        .iter()
        .filter(|offer| offer.name == NAME)
        // RFC 7692, 7.1: an offer with an unknown, repeated or invalid parameter is declined.
        .filter_map(|offer| Parameters::parse(&offer.params).ok())
        .find_map(|offer| offer.accept(config))
}

/// The client's offer: the value of `Sec-WebSocket-Extensions` in its request.
#[must_use]
pub fn offer(config: &DeflateConfig) -> String {
    Parameters::offering(config).to_string()
}

/// The client's check of the server's answer to [`offer`].
///
/// `offered` is the configuration that was offered, or `None` where no offer was made. `Ok(None)`
/// means that the server declined.
///
/// # Errors
/// Whatever in the answer was not offered or must not be there; the connection has to fail.
pub fn verify_response(
    answer: &[Extension<'_>],
    offered: Option<&DeflateConfig>,
) -> Result<Option<DeflateParams>, ResponseError> {
    // RFC 6455, 4.1 (response, 5): the server may only use extensions that were offered.
    let foreign = answer.iter().find(|extension| offered.is_none() || extension.name != NAME);
    if let Some(extension) = foreign {
        return Err(ResponseError::NotOffered(extension.name.to_owned()));
    }
    match (answer, offered) {
        ([], _) => Ok(None),
        // RFC 7692, 7.1: an unknown, repeated or invalid parameter in the answer is fatal.
        ([extension], Some(config)) => Parameters::parse(&extension.params)
            .and_then(|answer| answer.verify(&Parameters::offering(config)))
            .map(Some)
            .map_err(|(name, fault)| ResponseError::Parameter(name.to_owned(), fault)),
        // RFC 7692, 5: one offer is accepted at most, so the extension is named at most once.
        _ => Err(ResponseError::Repeated),
    }
}

/// Why a client refuses the server's `Sec-WebSocket-Extensions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseError {
    /// The server uses an extension that was not offered.
    NotOffered(String),
    /// The server names permessage-deflate more than once.
    Repeated,
    /// A parameter of permessage-deflate, and what is wrong with it.
    Parameter(String, Fault),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered(name) => {
                write!(f, "the server uses the extension {name}, which was not offered")
            }
            Self::Repeated => write!(f, "the server accepts {NAME} more than once"),
            Self::Parameter(name, fault) => {
                write!(f, "the server's {NAME} parameter {name} {fault}")
            }
        }
    }
}

impl std::error::Error for ResponseError {}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// RFC 7692 does not define it.
    Unknown,
    /// It is there more than once.
    Repeated,
    /// It has a value where none belongs, none where one does, or one out of bounds.
    InvalidValue,
    /// It is only allowed in answer to an offer that has it.
    NotOffered,
    /// Its value is greater than the offered one.
    ExceedsOffer,
    /// It is missing although the offer has it.
    Missing,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "is unknown",
            Self::Repeated => "is repeated",
            Self::InvalidValue => "has an invalid value",
            Self::NotOffered => "was not offered",
            Self::ExceedsOffer => "is greater than offered",
            Self::Missing => "is missing although it was offered",
        })
    }
}
