//! JSON that is kept as text.

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

    /// What it says.
    ///
    /// # Errors
    /// If it says no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        Ok(serde_json::from_str(&self.0)?)
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
