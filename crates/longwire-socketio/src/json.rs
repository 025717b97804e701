//! JSON that is kept as text.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::{DataError, DecodeError};

/// JSON as text, checked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// From a value.
    ///
    /// # Errors
    /// If serde cannot write it as JSON: a map with keys that are no texts, or its own error.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, DataError> {
        Ok(Self(serde_json::to_string(value)?.into()))
    }

    /// From text, which is kept as it is.
    ///
    /// # Errors
    /// If it is not JSON, or nests deeper than `max_depth`.
    pub fn parse(text: &str, max_depth: usize) -> Result<Self, DecodeError> {
        check(text, max_depth)?;
        Ok(Self(text.into()))
    }

    /// Of a text that has been checked.
    pub(crate) fn checked(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says. Half a surrogate pair, which JavaScript's texts can have and Rust's cannot, is read as U+FFFD.
    ///
    /// # Errors
    /// If it says no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        Ok(serde_json::from_str(&readable(&self.0))?)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is one JSON value that nests at most so deep.
pub(crate) fn check(text: &str, max_depth: usize) -> Result<(), DecodeError> {
    if depth(text) > max_depth {
        return Err(DecodeError::TooDeep { limit: max_depth });
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| DecodeError::NotJson)?;
    Ok(())
}

/// How deep arrays and objects nest, of what is JSON; of anything else some number.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The same JSON with U+FFFD for each escape of half a surrogate pair. JavaScript cuts texts between the two halves of what is no
/// single unit of UTF-16 (an emoji), and JSON can say so; a text in Rust cannot.
pub(crate) fn readable(json: &str) -> Cow<'_, str> {
    let mut out: Option<Vec<u8>> = None;
    let (bytes, mut at) = (json.as_bytes(), 0);
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        at += match (escaped_unit(&bytes[at..]), bytes.get(at + 6..).and_then(escaped_unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                // Both are as long, so that places stay what they are.
                out.get_or_insert_with(|| bytes.to_vec())[at..at + 6].copy_from_slice(br"\ufffd");
                6
            }
            // A backslash, and what it escapes.
            _ => 2,
        };
        at = at.min(bytes.len());
    }
    // Whole characters of ASCII were replaced by others.
    out.and_then(|out| String::from_utf8(out).ok()).map_or(Cow::Borrowed(json), Cow::Owned)
}

/// The unit of UTF-16 that JSON begins with, if that is one in hexadecimal.
fn escaped_unit(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}
