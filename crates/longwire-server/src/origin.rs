//! Which pages may connect (RFC 6455, 10.2).
//!
//! A browser lets any page open a WebSocket to any server and says in `Origin` which page it is; without a check here, every
//! site that a user visits could talk to a server that trusts the user's machine or cookies.

use std::net::{IpAddr, SocketAddr};

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Uri, header};

/// Which origins may connect.
#[derive(Clone, Debug)]
pub(crate) struct OriginPolicy {
    allowed: Vec<String>,
    any: bool,
    /// The server can be reached from this machine only, so a name that is not this machine's is a proxy's, or a trick of a
    /// page that has its own name resolve to 127.0.0.1.
    loopback_only: bool,
}

/// The page that a request comes from, if it does.
pub(crate) struct Page {
    origin: Option<HeaderValue>,
    is_trusted: bool,
}

impl OriginPolicy {
    pub(crate) fn new(allowed: &[String], listeners: &[SocketAddr]) -> Self {
        Self {
            any: allowed.iter().any(|origin| origin == "*"),
            allowed: allowed.to_vec(),
            loopback_only: !listeners.is_empty() && listeners.iter().all(|address| address.ip().is_loopback()),
        }
    }

    /// Whether the page that a request says it comes from may connect. A request without `Origin` does not come from a page.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        self.any || headers.get(header::ORIGIN).is_none_or(|origin| self.trusts(origin, headers))
    }

    /// The page that asks by a request.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Page {
        let origin = headers.get(header::ORIGIN);
        Page { is_trusted: origin.is_some_and(|origin| self.trusts(origin, headers)), origin: origin.cloned() }
    }

    /// Whether an origin may connect because it is this one, and not because any may.
    fn trusts(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(authority);
        origin.to_str().is_ok_and(|origin| self.allows_origin(&origin.to_ascii_lowercase(), host.as_deref()))
    }

    fn allows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if self.allowed.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let Some(host) = host else { return false };
        let at_this_machine = is_loopback(host_name(host));
        if origin == "file://" {
            return at_this_machine;
        }
        let Some(page) = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|authority| authority.to_string()))
        else {
            return false;
        };
        let same = without_default_port(&page) == without_default_port(host);
        let trusted_name = !self.loopback_only || host_name(host).trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        at_this_machine && is_loopback(host_name(&page)) || same && trusted_name
    }
}

impl Page {
    /// Lets the page read an answer; whether it may ask was decided before. With cookies it may ask only if it is trusted: where
    /// any page may connect, none has its user's.
    pub(crate) fn may_read(self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.is_trusted {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

fn authority(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_ascii_lowercase)
}

fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(authority)
}

fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &OriginPolicy, origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("origin", origin.parse().unwrap());
        headers.insert("host", host.parse().unwrap());
        policy.allows(&headers)
    }

    #[test]
    fn on_loopback_pages_of_this_machine_may_connect_and_no_others() {
        let policy = OriginPolicy::new(&[], &["127.0.0.1:8000".parse().unwrap()]);
        assert!(policy.allows(&HeaderMap::new()));
        assert!(allows(&policy, "http://localhost:8000", "localhost:8000"));
        assert!(allows(&policy, "http://localhost:5173", "127.0.0.1:8000"));
        assert!(allows(&policy, "https://[::1]", "[::1]:8000"));
        assert!(allows(&policy, "file://", "localhost:8000"));
        assert!(!allows(&policy, "null", "localhost:8000"));
        assert!(!allows(&policy, "https://evil.example", "localhost:8000"));
        assert!(!allows(&policy, "http://localhost.evil.example", "localhost:8000"));
        // A page whose own name resolves to this machine.
        assert!(!allows(&policy, "http://evil.example:8000", "evil.example:8000"));
    }

    #[test]
    fn on_a_network_pages_of_the_same_host_may_connect() {
        let policy = OriginPolicy::new(&["https://app.example.com".into()], &["0.0.0.0:8000".parse().unwrap()]);
        assert!(allows(&policy, "http://192.168.1.5:8000", "192.168.1.5:8000"));
        assert!(allows(&policy, "https://chat.example.com", "chat.example.com:443"));
        assert!(allows(&policy, "https://app.example.com", "chat.example.com"));
        assert!(!allows(&policy, "https://other.example.com", "chat.example.com"));
        assert!(!allows(&policy, "http://localhost:3000", "chat.example.com"));
        let open = OriginPolicy::new(&["*".into()], &[]);
        assert!(allows(&open, "null", "chat.example.com"));
    }

    #[test]
    fn only_a_page_that_is_allowed_by_name_may_ask_with_cookies() {
        let told = |allowed: &[String], origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("origin", origin.parse().unwrap());
            headers.insert("host", "chat.example.com".parse().unwrap());
            let mut response = Response::default();
            OriginPolicy::new(allowed, &[]).page(&headers).may_read(&mut response);
            assert_eq!(response.headers()["access-control-allow-origin"], origin);
            response.headers().get("access-control-allow-credentials").is_some_and(|value| value == "true")
        };
        assert!(told(&["https://app.example.com".into()], "https://app.example.com"));
        assert!(told(&["*".into(), "https://app.example.com".into()], "https://app.example.com"));
        assert!(!told(&["*".into()], "https://app.example.com"));
        assert!(!told(&[], "https://app.example.com"));
        let mut nobody = Response::default();
        OriginPolicy::new(&["*".into()], &[]).page(&HeaderMap::new()).may_read(&mut nobody);
        assert_eq!(nobody.headers().keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["vary"]);
    }
}
