//! `longwire key`, and which key opens the API of a server.

use std::net::{SocketAddr, ToSocketAddrs as _};

use clap::Args;

use crate::output;
use crate::units::List;

/// What `longwire key` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The server, as ws://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "ws://localhost:8000", env = "LONGWIRE_URL", hide_env = true)]
    url: String,
}

/// Where a server is, as far as its API is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `HOST:PORT`
    pub(crate) authority: String,
}

/// Prints the key that a server of this user has made for itself.
///
/// # Errors
/// One line that says why there is none.
pub(crate) fn print(args: &KeyArgs) -> Result<(), String> {
    let place = Place::of(&args.url)?;
    let key = place.addresses()?.into_iter().find_map(longwire::local_key).ok_or_else(|| {
        format!("at {} no server of this user has made a key: is it running, and without api_keys of its own?", place.authority)
    })?;
    output::say(&key);
    Ok(())
}

impl Place {
    /// # Errors
    /// The address is none, or wants TLS.
    pub(crate) fn of(url: &str) -> Result<Self, String> {
        let wrong = || format!("{url:?} is not the address of a server; write it as ws://HOST:PORT");
        let rest = ["ws://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme)).ok_or_else(wrong)?;
        let authority = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']'));
        Ok(Self { authority: if has_port { authority.to_owned() } else { format!("{authority}:80") } })
    }

    /// # Errors
    /// There is no such host.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let addresses = self.authority.to_socket_addrs().map_err(|error| format!("{}: {error}", self.authority))?;
        Ok(addresses.collect())
    }

    /// The key that opens the API here, if we know one: the one that is given, the first in the environment, or the one that the server
    /// has made. The last is for this machine alone, and is sent nowhere else.
    ///
    /// # Errors
    /// What the environment has is none.
    pub(crate) fn key(&self, given: Option<&str>) -> Result<Option<String>, String> {
        if let Some(given) = given {
            return Ok(Some(given.to_owned()));
        }
        if let Some(keys) = std::env::var_os("LONGWIRE_API_KEYS") {
            let keys: List = keys.to_string_lossy().parse().unwrap_or_else(|never| match never {});
            return Ok(keys.items().map_err(|why| format!("LONGWIRE_API_KEYS: {why}"))?.first().cloned());
        }
        let here = self.addresses().unwrap_or_default().into_iter().filter(|address| address.ip().is_loopback());
        Ok(here.into_iter().find_map(longwire::local_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for (url, authority) in [
            ("ws://localhost:8000", "localhost:8000"),
            ("ws://localhost:8000/v1/ws", "localhost:8000"),
            ("http://[::1]:8000/", "[::1]:8000"),
            ("http://[::1]", "[::1]:80"),
            ("ws://example.org", "example.org:80"),
        ] {
            assert_eq!(Place::of(url).unwrap().authority, authority, "{url}");
        }
        for wrong in ["localhost:8000", "wss://localhost", "", "ws://", "ws:///x"] {
            assert!(Place::of(wrong).is_err(), "{wrong}");
        }
    }
}
