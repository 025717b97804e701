//! The small values that messages are made of.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::check::DEPTH_MAX;

/// What a publication says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// JSON, as text, on one line: [`Data::json`] makes sure of it.
    Json(Bytes),
    /// A text, UTF-8: to JSON clients a JSON string.
    Text(Bytes),
    /// Any bytes: to JSON clients base64.
    Bytes(Bytes),
}

impl Data {
    /// From JSON text, which is checked. It is kept as it is, except that line breaks are taken out with all other white space.
    ///
    /// # Errors
    /// If it is no JSON, or nests deeper than [`DEPTH_MAX`].
    pub fn json(text: impl AsRef<[u8]>) -> Result<Self, NotJson> {
        json_line(Bytes::copy_from_slice(text.as_ref())).map(Self::Json)
    }

    /// Of a value that can be serialised, as JSON.
    ///
    /// ```
    /// #[derive(serde::Serialize)]
    /// struct Move { x: u8, y: u8 }
    ///
    /// let data = longwire_protocol::Data::of(&Move { x: 3, y: 4 })?;
    /// assert_eq!(data.as_bytes(), br#"{"x":3,"y":4}"#);
    /// # Ok::<(), longwire_protocol::NotJson>(())
    /// ```
    ///
    /// # Errors
    /// If it cannot be JSON (a map whose keys are no texts, say), or nests deeper than [`DEPTH_MAX`].
    pub fn of(value: &impl Serialize) -> Result<Self, NotJson> {
        let text = serde_json::to_vec(value).map_err(|error| NotJson(error.to_string().into()))?;
        json_line(text.into()).map(Self::Json)
    }

    /// Whether it is what it claims to be, since anybody can say that something is [`Data::Json`]; and on one line.
    ///
    /// # Errors
    /// If it is no JSON, or nests deeper than [`DEPTH_MAX`]; a text that is not UTF-8.
    pub fn checked(self) -> Result<Self, NotJson> {
        match self {
            Self::Json(text) => json_line(text).map(Self::Json),
            Self::Text(text) if std::str::from_utf8(&text).is_err() => Err(NotJson("a text is UTF-8".into())),
            other => Ok(other),
        }
    }

    /// As they are, whatever they mean.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Text(bytes) | Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Data {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// As JSON. One that nests deeper than [`DEPTH_MAX`] is refused where it is published.
impl From<serde_json::Value> for Data {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string().into())
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A text is not the JSON that data may be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson(pub Box<str>);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotJson {}

/// JSON text, checked, and put on one line.
///
/// # Errors
/// If it is no JSON, or nests deeper than [`DEPTH_MAX`].
pub(crate) fn json_line(text: Bytes) -> Result<Bytes, NotJson> {
    serde_json::from_slice::<&RawValue>(&text).map_err(|error| NotJson(error.to_string().into()))?;
    Ok(one_line(&text)?.unwrap_or(text))
}

/// `json` without white space if it has line breaks; `None` if it can stay as it is. `json` must be valid.
///
/// # Errors
/// If it nests deeper than [`DEPTH_MAX`].
pub(crate) fn one_line(json: &[u8]) -> Result<Option<Bytes>, NotJson> {
    let (mut depth, mut breaks, mut in_text, mut escaped) = (0, false, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(NotJson(format!("JSON nests at most {DEPTH_MAX} deep").into()));
                }
            }
            b']' | b'}' => depth -= 1,
            b'\n' | b'\r' => breaks = true,
            _ => {}
        }
    }
    Ok(breaks.then(|| without_space(json)))
}

fn without_space(json: &[u8]) -> Bytes {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ => {}
        }
        in_text || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    json.iter().copied().filter(keep).collect()
}

/// The identity of a channel's numbering. As text: eight digits of base 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Epoch {
    /// The identity that no channel has: what a text that is no epoch's is read as, so that whoever continues from it is told
    /// that the channel has lost its past.
    pub const NONE: Self = Self(0);

    /// From its text; any other text is the identity of no channel, and `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

/// A publication's place in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which numbering.
    pub epoch: Epoch,
    /// Which number; 0 before the first.
    pub offset: u64,
}

/// The public id of a session: which shard keeps it, and 80 random bits. As text: 16 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 12]);

impl SessionId {
    /// Of a shard, with random bits.
    pub fn new(shard: u16, random: [u8; 10]) -> Self {
        let mut id = [0; 12];
        id[..2].copy_from_slice(&shard.to_be_bytes());
        id[2..].copy_from_slice(&random);
        Self(id)
    }

    /// The shard that it was made on.
    pub fn shard(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 12];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut id).ok()?;
        (len == id.len()).then_some(Self(id))
    }

    /// Its text.
    pub fn text(self) -> [u8; 16] {
        let mut text = [0; 16];
        URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).expect("twelve bytes are sixteen characters");
        text
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("base64 is ASCII"))
    }
}
