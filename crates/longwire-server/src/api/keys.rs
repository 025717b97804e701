//! Keys that open the server API.

use std::fmt;
use std::sync::Arc;

/// What opens the server API.
///
/// ```
/// use longwire_server::ApiKeys;
/// assert!(ApiKeys::new(["a-long-and-random-key"]).is_ok());
/// assert!(ApiKeys::new(["short"]).is_err());
/// assert!(ApiKeys::new([""; 0]).is_err());
/// ```
#[derive(Clone)]
pub struct ApiKeys(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    /// One of these.
    These(Arc<[Box<str>]>),
    /// One that the server makes at its start.
    Local,
    /// Nothing: somebody else has looked.
    CheckedElsewhere,
}

/// The shortest key, in bytes: a shorter one can be guessed.
const KEY_MIN: usize = 16;
/// The longest, in bytes.
const KEY_MAX: usize = 255;

/// A text cannot be an API key, which has 16 to 255 visible ASCII characters; or there is none at all. The key itself is not in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadApiKey;

impl fmt::Display for BadApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an API key has {KEY_MIN} to {KEY_MAX} visible ASCII characters; `openssl rand -hex 32` makes a good one")
    }
}

impl std::error::Error for BadApiKey {}

impl ApiKeys {
    /// Any of these keys opens the API.
    ///
    /// # Errors
    /// One of them is no key, or there is none.
    pub fn new<T: Into<Box<str>>>(keys: impl IntoIterator<Item = T>) -> Result<Self, BadApiKey> {
        let keys: Arc<[Box<str>]> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() || !keys.iter().all(|key| is_key(key)) {
            return Err(BadApiKey);
        }
        Ok(Self(Kind::These(keys)))
    }

    /// A key that the server makes when it starts, and leaves in a file that nobody but its own user can read: for programs of that
    /// user on this machine. [`local_key`](crate::local_key) finds it, and so do `longwire key` and `longwire publish`.
    ///
    /// The server has to know where it listens, so there is none with [`into_router`](crate::ServerBuilder::into_router).
    pub fn local() -> Self {
        Self(Kind::Local)
    }

    /// No key is asked for: the application has let nobody in but whom it knows, by a layer of its own in front. Without such a layer whoever
    /// reaches the server can do everything; that it listens on this machine alone is none, since a proxy may pass on to it.
    pub fn checked_elsewhere() -> Self {
        Self(Kind::CheckedElsewhere)
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::These(keys) => write!(f, "ApiKeys({})", keys.len()),
            Kind::Local => f.write_str("ApiKeys(local)"),
            Kind::CheckedElsewhere => f.write_str("ApiKeys(checked elsewhere)"),
        }
    }
}

pub(crate) fn is_key(text: &str) -> bool {
    (KEY_MIN..=KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text is one of the keys. How long that takes tells nothing about them but their number.
pub(super) fn is_one_of(keys: &[Box<str>], given: &[u8]) -> bool {
    keys.iter().fold(false, |found, key| found | is_same(given, key.as_bytes()))
}

/// Takes as long for a text that differs early as for one that differs late; its time depends on what was given alone.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let different = given.iter().zip(key.iter().cycle()).fold(0, |different, (a, b)| std::hint::black_box(different | (a ^ b)));
    (different == 0) & (given.len() == key.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_compared_as_a_whole() {
        let keys = ["0123456789abcdef".into(), "another-good-key-1".into()];
        assert!(is_one_of(&keys, b"0123456789abcdef") && is_one_of(&keys, b"another-good-key-1"));
        for wrong in ["", "0", "0123456789abcdeF", "0123456789abcdef0", "0123456789abcdef0123456789abcdef", "another-good-key-"]
        {
            assert!(!is_one_of(&keys, wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_one_of(&[], b""));
    }

    #[test]
    fn keys_are_no_secret_in_a_log() {
        let keys = ApiKeys::new(["0123456789abcdef"]).unwrap();
        assert_eq!(format!("{keys:?}"), "ApiKeys(1)");
        assert_eq!(ApiKeys::new(["has a space in it, so no"]).unwrap_err(), BadApiKey);
    }
}
