//! Which names the server answers to.
//!
//! A browser lets a page read what its own host answers, and says no `Origin` then. So a page whose name its owner has resolve to
//! 127.0.0.1 (DNS rebinding) could read whatever a server tells this machine. Its requests carry that name as `Host`: while only this
//! machine reaches the server, a name that is neither this machine's nor known is refused.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, Version, header};

use crate::http::error;

/// The names that count as the server's own.
#[derive(Clone, Debug)]
pub(crate) struct HostPolicy {
    /// Without ports, in lower case.
    allowed: Vec<String>,
    any: bool,
    /// Only this machine reaches the server.
    loopback_only: bool,
}

impl HostPolicy {
    /// `hosts` are names, `origins` such of pages: a site whose pages may connect may also be what the server is called.
    pub(crate) fn new(hosts: &[String], origins: &[String], listeners: &[SocketAddr]) -> Self {
        let of_origins = origins.iter().filter_map(|origin| origin.split_once("://")).map(|(_, authority)| name_of(authority));
        let allowed: Vec<String> =
            hosts.iter().map(|host| host.to_ascii_lowercase()).chain(of_origins.map(str::to_owned)).collect();
        Self {
            any: allowed.iter().any(|host| host == "*") || origins.iter().any(|origin| origin == "*"),
            allowed,
            loopback_only: !listeners.is_empty() && listeners.iter().all(|address| address.ip().is_loopback()),
        }
    }

    /// The answer to a request that was not meant for this server, or does not say for whom.
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<Response> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        // RFC 9112, 3.2: HTTP/1.1 has exactly one. Of two, a proxy may have looked at the other.
        let bad = |code, message| Some(error(StatusCode::BAD_REQUEST, code, message));
        let host = match (hosts.next(), hosts.next()) {
            (None, _) if request.version() == Version::HTTP_11 => return bad("missing_host", "there must be one Host header"),
            (None, _) => return None,
            (Some(_), Some(_)) => return bad("duplicate_host", "there must be one Host header"),
            (Some(host), None) => host,
        };
        let Some(host) = authority(host) else { return bad("malformed_host", "the Host header is no host") };
        // RFC 9112, 3.2.2: what the request line names counts, and Host should be the same.
        let names = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
        let stranger = names.into_iter().chain([host]).find(|host| !self.knows(host))?;
        sparsely!(
            INFO,
            host = stranger,
            path = request.uri().path(),
            "a request for another host is refused: see --allowed-hosts"
        );
        Some(error(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            "this server answers to the names of this machine; add the name to allowed_hosts (--allowed-hosts) in its configuration",
        ))
    }

    /// Whether an authority names this server, or could not be a page's trick.
    pub(crate) fn knows(&self, authority: &str) -> bool {
        let name = name_of(authority);
        !self.loopback_only || self.any || is_address(name) || is_loopback(name) || self.allowed.iter().any(|host| host == name)
    }
}

/// An entry of [`Config::allowed_hosts`](crate::Config::allowed_hosts) that is the name of no host, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHost(String);

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "allowed_hosts: {:?} is the name of no host: write it as app.example.com, without scheme, port and path",
            self.0
        )
    }
}

impl std::error::Error for BadHost {}

/// # Errors
/// The first entry that is no name.
pub(crate) fn checked(hosts: &[String]) -> Result<(), BadHost> {
    let is_name = |host: &str| {
        host == "*"
            || !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    hosts.iter().find(|host| !is_name(host)).map_or(Ok(()), |host| Err(BadHost(host.clone())))
}

/// Host and port, in lower case.
pub(crate) fn authority(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_ascii_lowercase)
}

/// An authority without its port.
pub(crate) fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

pub(crate) fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || address(name).is_some_and(|address| address.is_loopback())
}

pub(crate) fn is_address(name: &str) -> bool {
    address(name).is_some()
}

fn address(name: &str) -> Option<IpAddr> {
    name.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(policy: &HostPolicy, version: Version, target: &str, hosts: &[&str]) -> Option<StatusCode> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        policy.refusal(&request.body(()).unwrap()).map(|response| response.status())
    }

    fn policy(hosts: &[&str], origins: &[&str], listener: &str) -> HostPolicy {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        HostPolicy::new(&owned(hosts), &owned(origins), &[listener.parse().unwrap()])
    }

    #[test]
    fn on_loopback_only_known_names_are_answered() {
        let local = policy(&["Chat.example.com"], &["https://app.example.com:8443"], "127.0.0.1:8000");
        let at = |host: &str| status(&local, Version::HTTP_11, "/v1/poll", &[host]);
        for known in [
            "localhost:8000",
            "a.localhost",
            "127.0.0.1:8000",
            "[::1]:8000",
            "192.168.1.5",
            "chat.example.com:443",
            "APP.example.com",
        ] {
            assert_eq!(at(known), None, "{known}");
        }
        for stranger in ["evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "example.com", ""] {
            assert_eq!(at(stranger), Some(StatusCode::FORBIDDEN), "{stranger}");
        }
        assert_eq!(status(&policy(&["*"], &[], "127.0.0.1:1"), Version::HTTP_11, "/", &["evil.example"]), None);
        assert_eq!(status(&policy(&[], &["*"], "[::1]:1"), Version::HTTP_11, "/", &["evil.example"]), None);
        assert_eq!(status(&policy(&[], &[], "0.0.0.0:1"), Version::HTTP_11, "/", &["chat.example.com"]), None);
    }

    #[test]
    fn a_request_says_once_where_it_goes() {
        let local = policy(&[], &[], "127.0.0.1:8000");
        assert_eq!(status(&local, Version::HTTP_11, "/", &[]), Some(StatusCode::BAD_REQUEST));
        assert_eq!(status(&local, Version::HTTP_11, "/", &["localhost", "localhost"]), Some(StatusCode::BAD_REQUEST));
        assert_eq!(status(&local, Version::HTTP_10, "/", &[]), None);
        assert_eq!(status(&local, Version::HTTP_10, "/", &["evil.example"]), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(&local, Version::HTTP_11, "http://evil.example/", &["localhost"]), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(&local, Version::HTTP_11, "http://localhost/", &["localhost"]), None);
    }

    #[test]
    fn names_of_hosts_have_neither_scheme_nor_port() {
        assert!(checked(&["*".into(), "app.example.com".into(), "my_host".into()]).is_ok());
        for wrong in ["", "https://app.example.com", "app.example.com:8443", "a/b", "*.example.com"] {
            assert_eq!(checked(&[wrong.into()]), Err(BadHost(wrong.into())));
        }
    }
}
