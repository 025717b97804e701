//! Who may use the server API.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, header};
use longwire_core::broker::Failure;
use longwire_protocol::ErrorCode;

use crate::origin::{OriginPolicy, names_this_machine};

/// The keys that open the server API.
///
/// ```
/// use longwire_server::ApiKeys;
/// assert!(ApiKeys::new(["a-long-and-random-key"]).is_ok());
/// assert!(ApiKeys::new(["short"]).is_err());
/// ```
#[derive(Clone, Default)]
pub struct ApiKeys(Arc<[Box<str>]>);

/// The shortest key, in bytes: a shorter one can be guessed.
const KEY_MIN: usize = 16;
/// The longest, in bytes.
const KEY_MAX: usize = 255;

/// A text cannot be an API key: it has 16 to 255 visible ASCII characters. The key itself is not in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadApiKey;

impl fmt::Display for BadApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an API key has {KEY_MIN} to {KEY_MAX} visible ASCII characters; `openssl rand -hex 32` makes a good one")
    }
}

impl std::error::Error for BadApiKey {}

impl ApiKeys {
    /// Any of these keys opens the API. With none it is as with [`none`](Self::none).
    ///
    /// # Errors
    /// One of them is no key.
    pub fn new<T: Into<Box<str>>>(keys: impl IntoIterator<Item = T>) -> Result<Self, BadApiKey> {
        let keys: Arc<[Box<str>]> = keys.into_iter().map(Into::into).collect();
        let is_key = |key: &str| (KEY_MIN..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if keys.iter().all(|key| is_key(key)) { Ok(Self(keys)) } else { Err(BadApiKey) }
    }

    /// No key: the API answers programs and pages of this machine, as long as the server listens on loopback only.
    pub fn none() -> Self {
        Self::default()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a text is one of the keys. How long that takes tells nothing about them but their number.
    fn has(&self, given: &[u8]) -> bool {
        self.0.iter().fold(false, |found, key| found | is_same(given, key.as_bytes()))
    }
}

/// Takes as long for a text that differs early as for one that differs late; its time depends on what was given alone.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let different = given.iter().zip(key.iter().cycle()).fold(0, |different, (a, b)| std::hint::black_box(different | (a ^ b)));
    (different == 0) & (given.len() == key.len())
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

/// Who is let in.
pub(crate) struct Access {
    keys: ApiKeys,
    origins: OriginPolicy,
    /// Only this machine reaches the server.
    is_local: bool,
}

impl Access {
    pub(crate) fn new(keys: ApiKeys, origins: OriginPolicy, listeners: &[SocketAddr]) -> Self {
        let is_local = !listeners.is_empty() && listeners.iter().all(|address| address.ip().is_loopback());
        Self { keys, origins, is_local }
    }

    /// Whether a request may be answered, by its head.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if !self.origins.allows(headers) || is_of_another_site(headers) {
            let message = "pages of this origin may not use the API; add it to allowed_origins in the server's configuration";
            return Err(Failure::new(ErrorCode::OriginNotAllowed, message));
        }
        if self.keys.is_empty() {
            return self.check_machine(headers);
        }
        match given_key(headers) {
            Some(given) if self.keys.has(given) => Ok(()),
            Some(_) => Err(Failure::new(ErrorCode::Unauthorized, "the API key is not valid")),
            None => Err(Failure::new(
                ErrorCode::Unauthorized,
                "the API key is missing: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            )),
        }
    }

    /// Without a key, only this machine: not the network, not what a proxy lets in, and no page whose own name resolves to here.
    fn check_machine(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let is_forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
        if self.is_local && !is_forwarded && names_this_machine(headers) {
            return Ok(());
        }
        let message = "without an API key only programs of this machine are answered, at localhost and not through a proxy; \
                       set api_keys (LONGWIRE_API_KEYS) in the server's configuration, and send the key";
        Err(Failure::new(ErrorCode::ApiClosed, message))
    }
}

/// A page of another site asks, in a way that carries no `Origin`; browsers say so. A link that a person follows is no such thing.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    is("sec-fetch-site", "cross-site") && !headers.contains_key(header::ORIGIN) && !is("sec-fetch-mode", "navigate")
}

fn given_key(headers: &HeaderMap) -> Option<&[u8]> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return headers.get("x-api-key").map(|key| key.as_bytes().trim_ascii());
    };
    let (scheme, key) = authorization.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn access(keys: ApiKeys, listener: &str) -> Access {
        let listeners = [listener.parse().unwrap()];
        Access::new(keys, OriginPolicy::new(&[], &listeners), &listeners)
    }

    fn code(access: &Access, headers: &[(&'static str, &str)]) -> Option<ErrorCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        access.check(&map).err().map(|failure| failure.code)
    }

    #[test]
    fn a_key_is_compared_as_a_whole() {
        let keys = ApiKeys::new([KEY, "another-good-key-1"]).unwrap();
        assert!(keys.has(KEY.as_bytes()) && keys.has(b"another-good-key-1"));
        for wrong in ["", "0", "0123456789abcdeF", "0123456789abcdef0", "0123456789abcdef0123456789abcdef", "another-good-key-"]
        {
            assert!(!keys.has(wrong.as_bytes()), "{wrong}");
        }
        assert!(!ApiKeys::none().has(b""));
        assert!(!format!("{keys:?}").contains(KEY));
        assert_eq!(ApiKeys::new(["has a space in it, so no"]).unwrap_err(), BadApiKey);
    }

    #[test]
    fn with_keys_one_of_them_is_needed_wherever_one_is() {
        let access = access(ApiKeys::new([KEY]).unwrap(), "127.0.0.1:8000");
        assert_eq!(code(&access, &[("authorization", "Bearer 0123456789abcdef")]), None);
        assert_eq!(code(&access, &[("authorization", "bearer 0123456789abcdef ")]), None);
        assert_eq!(code(&access, &[("x-api-key", KEY)]), None);
        for wrong in
            [&[][..], &[("authorization", "Basic 0123456789abcdef")], &[("authorization", "B")], &[("x-api-key", "no")]]
        {
            assert_eq!(code(&access, wrong), Some(ErrorCode::Unauthorized), "{wrong:?}");
        }
        let foreign = [("x-api-key", KEY), ("host", "localhost:8000"), ("origin", "https://evil.example")];
        assert_eq!(code(&access, &foreign), Some(ErrorCode::OriginNotAllowed));
    }

    #[test]
    fn without_a_key_only_this_machine_is_answered() {
        let local = access(ApiKeys::none(), "127.0.0.1:8000");
        assert_eq!(code(&local, &[("host", "localhost:8000")]), None);
        assert_eq!(code(&local, &[("host", "[::1]:8000"), ("origin", "http://localhost:3000")]), None);
        assert_eq!(code(&local, &[("host", "evil.example:8000")]), Some(ErrorCode::ApiClosed), "a name that resolves to here");
        assert_eq!(code(&local, &[]), Some(ErrorCode::ApiClosed), "no Host");
        assert_eq!(code(&local, &[("host", "localhost"), ("x-forwarded-for", "203.0.113.7")]), Some(ErrorCode::ApiClosed));
        let network = access(ApiKeys::none(), "0.0.0.0:8000");
        assert_eq!(code(&network, &[("host", "localhost:8000")]), Some(ErrorCode::ApiClosed));
        let embedded = Access::new(ApiKeys::none(), OriginPolicy::new(&[], &[]), &[]);
        assert_eq!(code(&embedded, &[("host", "localhost:8000")]), Some(ErrorCode::ApiClosed));
    }

    #[test]
    fn a_page_of_another_site_is_refused_even_without_origin() {
        let local = access(ApiKeys::none(), "127.0.0.1:8000");
        let image = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(code(&local, &image), Some(ErrorCode::OriginNotAllowed));
        let link = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(code(&local, &link), None);
    }
}
