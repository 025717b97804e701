//! Who may use the server API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::request::Parts;
use http::{HeaderMap, header};
use longwire_core::broker::Failure;
use longwire_protocol::ErrorCode;

use super::brake::Brake;
use super::keys::is_one_of;
use crate::origin::OriginPolicy;

/// Who is let in.
pub(crate) struct Access {
    door: Door,
    origins: OriginPolicy,
    brake: Brake,
}

/// What opens it.
pub(crate) enum Door {
    /// One of these keys.
    Keys(Arc<[Box<str>]>),
    /// Somebody else has looked.
    Open,
    /// Nothing: the server could not keep a key of its own.
    Closed,
}

impl Access {
    pub(crate) fn new(door: Door, origins: OriginPolicy) -> Self {
        Self { door, origins, brake: Brake::new() }
    }

    /// Whether a request may be answered, by its head. A wrong key may have to wait for its answer.
    pub(super) async fn check(&self, head: &Parts) -> Result<(), Failure> {
        let headers = &head.headers;
        if !self.origins.allows(headers) {
            let message = "pages of this origin may not use the API; add it to allowed_origins in the server's configuration";
            return Err(Failure::new(ErrorCode::OriginNotAllowed, message));
        }
        let keys = match &self.door {
            Door::Open => return Ok(()),
            Door::Closed => {
                let message = "the API has no key: none is configured, and the server could not keep one of its own, as its log says; \
                               set api_keys (LONGWIRE_API_KEYS) in the server's configuration, and send the key";
                return Err(Failure::new(ErrorCode::ApiClosed, message));
            }
            Door::Keys(keys) => keys,
        };
        match given_key(headers) {
            Some(given) if is_one_of(keys, given) => Ok(()),
            Some(_) => {
                let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
                match self.brake.mistake(peer).await {
                    true => Err(Failure::new(ErrorCode::Unauthorized, "the API key is not valid")),
                    false => Err(Failure::new(ErrorCode::Overloaded, "too many wrong API keys are tried: try again later")),
                }
            }
            None => Err(Failure::new(
                ErrorCode::Unauthorized,
                "the API key is missing: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. If the server has none configured, \
                 `longwire key` prints the one that it has made for its own user",
            )),
        }
    }
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

    fn access(door: Door) -> Access {
        Access::new(door, OriginPolicy::new(&[], &[], &["127.0.0.1:8000".parse().unwrap()]))
    }

    fn code(access: &Access, headers: &[(&'static str, &str)]) -> Option<ErrorCode> {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(access.check(&head)).err().map(|failure| failure.code)
    }

    #[test]
    fn one_of_the_keys_is_needed_wherever_one_is() {
        let access = access(Door::Keys([KEY.into()].into()));
        assert_eq!(code(&access, &[("authorization", "Bearer 0123456789abcdef")]), None);
        assert_eq!(code(&access, &[("authorization", "bearer 0123456789abcdef ")]), None);
        assert_eq!(code(&access, &[("x-api-key", KEY)]), None);
        for wrong in [
            &[][..],
            &[("host", "localhost:8000")],
            &[("authorization", "Basic 0123456789abcdef")],
            &[("authorization", "B")],
            &[("x-api-key", "no")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(code(&access, wrong), Some(ErrorCode::Unauthorized), "{wrong:?}");
        }
        let foreign = [("x-api-key", KEY), ("host", "localhost:8000"), ("origin", "https://evil.example")];
        assert_eq!(code(&access, &foreign), Some(ErrorCode::OriginNotAllowed));
    }

    #[test]
    fn without_any_key_nobody_is_answered_unless_somebody_else_has_looked() {
        for headers in [&[("host", "localhost:8000")][..], &[("x-api-key", "")], &[("x-api-key", KEY)]] {
            assert_eq!(code(&access(Door::Closed), headers), Some(ErrorCode::ApiClosed));
            assert_eq!(code(&access(Door::Open), headers), None);
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused_even_without_origin() {
        let open = access(Door::Open);
        let image = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(code(&open, &image), Some(ErrorCode::OriginNotAllowed));
        let link = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(code(&open, &link), None);
    }
}
