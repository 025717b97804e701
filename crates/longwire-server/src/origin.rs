//! Which pages may connect (RFC 6455, 10.2).
//!
//! A browser lets any page open a WebSocket to any server and says in `Origin` which page it is; without a check here, every
//! site that a user visits could talk to a server that trusts the user's machine or cookies.

use std::net::SocketAddr;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Uri, header};

use crate::host::{HostPolicy, authority, is_loopback, name_of};

/// Which origins may connect.
#[derive(Clone, Debug)]
pub(crate) struct OriginPolicy {
    allowed: Vec<String>,
    any: bool,
    hosts: HostPolicy,
}

/// The page that a request comes from, if it does.
pub(crate) struct Page {
    origin: Option<HeaderValue>,
    is_trusted: bool,
}

impl OriginPolicy {
    /// For the pages of these origins, and a server that is called by these names and listens there.
    pub(crate) fn new(allowed: &[String], hosts: &[String], listeners: &[SocketAddr]) -> Self {
        Self {
            any: allowed.iter().any(|origin| origin == "*"),
            allowed: allowed.to_vec(),
            hosts: HostPolicy::new(hosts, allowed, listeners),
        }
    }

    /// The names that the server answers to.
    pub(crate) fn hosts(&self) -> &HostPolicy {
        &self.hosts
    }

    /// Whether the page that a request comes from, if it does, may connect. Some requests of pages have no `Origin`; of these, those
    /// of other sites are told by `Sec-Fetch-Site` (Fetch Metadata). A link that a person follows is no such thing; a frame, of which a
    /// page can have hundreds, is.
    pub(crate) fn allows(&self, headers: &HeaderMap) -> bool {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
        let is_link =
            || is("sec-fetch-mode", "navigate") && headers.get("sec-fetch-dest").is_none_or(|given| given == "document");
        self.any
            || match headers.get(header::ORIGIN) {
                Some(origin) => self.trusts(origin, headers),
                None => !is("sec-fetch-site", "cross-site") || is_link(),
            }
    }

    /// The page that asks by a request; one that may not is told nothing, not even why.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Page {
        let origin = headers.get(header::ORIGIN).filter(|_| self.allows(headers));
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
        let at_this_machine = is_loopback(name_of(host));
        if origin == "file://" {
            return at_this_machine;
        }
        let Some(page) = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|authority| authority.to_string()))
        else {
            return false;
        };
        let same = without_default_port(&page) == without_default_port(host);
        at_this_machine && is_loopback(name_of(&page)) || same && self.hosts.knows(host)
    }
}

impl Page {
    /// Lets the page read an answer, if it may ask. With cookies it may ask only if it is trusted: where
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

fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(authority)
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
        let policy = OriginPolicy::new(&[], &[], &["127.0.0.1:8000".parse().unwrap()]);
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
        let named = OriginPolicy::new(&[], &["chat.example.com".into()], &["127.0.0.1:8000".parse().unwrap()]);
        assert!(allows(&named, "https://chat.example.com", "chat.example.com"));
        assert!(!allows(&named, "https://evil.example", "chat.example.com"));
    }

    #[test]
    fn a_page_of_another_site_is_refused_even_without_origin() {
        let allows_as = |policy: &OriginPolicy, mode: &'static str, destination: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "localhost:8000".parse().unwrap());
            headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
            headers.insert("sec-fetch-mode", mode.parse().unwrap());
            headers.insert("sec-fetch-dest", destination.parse().unwrap());
            policy.allows(&headers)
        };
        let allows = |policy: &OriginPolicy, mode: &'static str| allows_as(policy, mode, "document");
        let policy = OriginPolicy::new(&[], &[], &["127.0.0.1:8000".parse().unwrap()]);
        assert!(!allows(&policy, "no-cors") && allows(&policy, "navigate"));
        assert!(!allows_as(&policy, "navigate", "iframe") && !allows_as(&policy, "no-cors", "image"));
        assert!(allows(&OriginPolicy::new(&["*".into()], &[], &[]), "no-cors"));
    }

    #[test]
    fn on_a_network_pages_of_the_same_host_may_connect() {
        let policy = OriginPolicy::new(&["https://app.example.com".into()], &[], &["0.0.0.0:8000".parse().unwrap()]);
        assert!(allows(&policy, "http://192.168.1.5:8000", "192.168.1.5:8000"));
        assert!(allows(&policy, "https://chat.example.com", "chat.example.com:443"));
        assert!(allows(&policy, "https://app.example.com", "chat.example.com"));
        assert!(!allows(&policy, "https://other.example.com", "chat.example.com"));
        assert!(!allows(&policy, "http://localhost:3000", "chat.example.com"));
        let open = OriginPolicy::new(&["*".into()], &[], &[]);
        assert!(allows(&open, "null", "chat.example.com"));
    }

    #[test]
    fn only_a_page_that_is_allowed_by_name_may_ask_with_cookies() {
        let told = |allowed: &[String], origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("origin", origin.parse().unwrap());
            headers.insert("host", "chat.example.com".parse().unwrap());
            let mut response = Response::default();
            OriginPolicy::new(allowed, &[], &[]).page(&headers).may_read(&mut response);
            assert_eq!(response.headers().contains_key("access-control-allow-origin"), !allowed.is_empty());
            response.headers().get("access-control-allow-credentials").is_some_and(|value| value == "true")
        };
        assert!(told(&["https://app.example.com".into()], "https://app.example.com"));
        assert!(told(&["*".into(), "https://app.example.com".into()], "https://app.example.com"));
        assert!(!told(&["*".into()], "https://app.example.com"));
        assert!(!told(&[], "https://app.example.com"));
        let mut nobody = Response::default();
        OriginPolicy::new(&["*".into()], &[], &[]).page(&HeaderMap::new()).may_read(&mut nobody);
        assert_eq!(nobody.headers().keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["vary"]);
    }
}
