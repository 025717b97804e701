//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

/// Counts connections from the moment they are accepted.
#[derive(Debug)]
pub(crate) struct Limiter {
    max: usize,
    open: AtomicUsize,
    max_per_address: Option<usize>,
    /// Only addresses with a connection, so never more than connections.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server is full.
    Full,
    /// The address has as many as it may.
    Address,
}

/// One connection; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    /// Where it counts, if addresses do.
    address: Option<IpAddr>,
}

impl Refusal {
    /// The HTTP status, stable code and message that tell the client.
    pub(crate) fn answer(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_connections",
                "the server has as many connections as it may; try again later",
            ),
            Self::Address => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_connections_from_address",
                "your address has as many connections as it may; close one, or try again later",
            ),
        }
    }
}

impl Limiter {
    pub(crate) fn new(max: usize, max_per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, open: AtomicUsize::new(0), max_per_address, by_address: Mutex::default() })
    }

    /// Takes a place for a connection. Without an address it counts for the whole only.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Arc<Permit>, Refusal> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Full);
        }
        let address = address.filter(|_| self.max_per_address.is_some());
        if let (Some(max), Some(address)) = (self.max_per_address, address) {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.get(&address).copied().unwrap_or(0);
            if count >= max {
                drop(by_address);
                self.open.fetch_sub(1, Ordering::Relaxed);
                return Err(Refusal::Address);
            }
            by_address.insert(address, count + 1);
        }
        Ok(Arc::new(Permit { limiter: self.clone(), address }))
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            let mut by_address = self.limiter.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let limiter = Limiter::new(3, Some(2));
        let (a, b) = (Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 2])));
        let first = limiter.admit(a).unwrap();
        let _second = limiter.admit(a).unwrap();
        assert_eq!(limiter.admit(a).unwrap_err(), Refusal::Address);
        let _third = limiter.admit(b).unwrap();
        assert_eq!(limiter.admit(b).unwrap_err(), Refusal::Full);
        drop(first);
        assert!(limiter.admit(a).is_ok());
        drop((_second, _third));
        assert_eq!(limiter.open(), 0);
        assert!(limiter.by_address.lock().unwrap().is_empty());
    }
}
