//! What there is room for. A place is for what costs: descriptors, which the process has only so many of, and lines without a socket, which
//! are memory alone. Each kind has its own bound, so that the one cannot take the other's places.
//!
//! | module | what it holds |
//! |---|---|
//! | [`shares`] | who has how much; who is refused first when little is left |
//! | [`trial`] | connections for which there is no place, until it is known what they are for |

mod shares;
mod trial;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use shares::Shares;
use trial::Trials;
pub(crate) use trial::{Always, Trial};

/// Counts what is open, from the moment it begins.
#[derive(Debug)]
pub(crate) struct Places {
    descriptors: Class,
    lines: Class,
    trials: Trials,
    /// Permits that are held.
    held: AtomicUsize,
    /// Hosts that speak for others: they have no share of their own.
    proxies: Vec<IpAddr>,
    max_per_address: Option<usize>,
    /// Only addresses with a connection, so never more than connections; if they are counted.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The bounds.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Descriptors of clients.
    pub(crate) descriptors: usize,
    /// Lines without a socket.
    pub(crate) lines: usize,
    pub(crate) per_address: Option<usize>,
    pub(crate) proxies: Vec<IpAddr>,
}

/// One kind of places.
#[derive(Debug)]
struct Class {
    max: AtomicUsize,
    open: AtomicUsize,
    shares: Shares,
}

/// What takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    /// A line on a stream of HTTP/2, whose bytes go over a pair of sockets.
    Bridge,
    /// A line that has no socket: requests bring and fetch its messages.
    Line,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server is full.
    Full,
    /// It has as many lines without a socket as it may.
    Lines,
    /// The address has as many as it may.
    Address,
    /// Little is left, and the address has more than its share.
    Share,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
    /// Whose it is; nobody's in particular if it comes from this machine or a proxy.
    address: Option<IpAddr>,
    kind: Kind,
    /// It is counted for its address.
    counted: bool,
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
            Self::Lines => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_lines",
                "the server has as many lines over HTTP requests as it may; try again later, or use a WebSocket or an event stream",
            ),
            Self::Address => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_connections_from_address",
                "your address has as many connections as it may; close one, or try again later",
            ),
            Self::Share => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_connections_from_address",
                "the server is nearly full, and your address has more than its share; close one, or try again later",
            ),
        }
    }
}

impl Places {
    pub(crate) fn new(bounds: &Bounds) -> Arc<Self> {
        Arc::new(Self {
            descriptors: Class::new(bounds.descriptors),
            lines: Class::new(bounds.lines),
            trials: Trials::new(trial::room(bounds.descriptors)),
            held: AtomicUsize::new(0),
            proxies: bounds.proxies.iter().map(IpAddr::to_canonical).collect(),
            max_per_address: bounds.per_address,
            by_address: Mutex::default(),
        })
    }

    /// A place for a connection.
    pub(crate) fn connection(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Arc<Permit>, Refusal> {
        self.admit(Kind::Connection, peer)
    }

    /// A place for a line on a stream of a connection that has one already.
    pub(crate) fn bridge(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Arc<Permit>, Refusal> {
        self.admit(Kind::Bridge, peer)
    }

    /// A place for a line without a socket.
    pub(crate) fn line(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Arc<Permit>, Refusal> {
        self.admit(Kind::Line, peer)
    }

    /// Lets in a connection for which there is no place, so that it is seen what it is for.
    pub(crate) fn try_out(&self) -> Option<Arc<Trial>> {
        self.trials.begin()
    }

    pub(crate) fn trial_ends(&self, trial: &Arc<Trial>) {
        self.trials.end(trial);
    }

    /// So many descriptors are there for clients, as is known now; never more than was said before.
    pub(crate) fn descriptors_are(&self, count: usize) {
        self.descriptors.max.fetch_min(count.max(1), Ordering::Relaxed);
        self.trials.set_room(trial::room(self.max_descriptors()));
    }

    pub(crate) fn max_descriptors(&self) -> usize {
        self.descriptors.max.load(Ordering::Relaxed)
    }

    /// How many lines without a socket there may be of which it is not known yet whether anybody listens.
    pub(crate) fn max_unconfirmed(&self) -> usize {
        (self.lines.max.load(Ordering::Relaxed) / 4).max(1)
    }

    /// Whether connections that do nothing are better closed.
    pub(crate) fn is_scarce(&self) -> bool {
        self.descriptors.is_scarce(self.descriptors.open.load(Ordering::Relaxed))
    }

    /// Permits that are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether an address speaks for others, so that it says nothing about who they are.
    pub(crate) fn speaks_for_others(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.proxies.contains(&peer)
    }

    fn admit(self: &Arc<Self>, kind: Kind, peer: Option<IpAddr>) -> Result<Arc<Permit>, Refusal> {
        let peer = peer.map(|peer| peer.to_canonical());
        let (class, weight) = self.of(kind);
        let open = class.open.fetch_add(weight, Ordering::Relaxed) + weight;
        let back = |refusal| {
            class.open.fetch_sub(weight, Ordering::Relaxed);
            Err(refusal)
        };
        if open > class.max.load(Ordering::Relaxed) {
            return back(if kind == Kind::Line { Refusal::Lines } else { Refusal::Full });
        }
        let owner = peer.filter(|peer| !self.speaks_for_others(*peer));
        if let Some(owner) = owner
            && class.is_scarce(open)
            && class.shares.has_more_than_its_share(owner, class.plenty())
        {
            return back(Refusal::Share);
        }
        let counted = peer.filter(|peer| self.max_per_address.is_some() && !self.proxies.contains(peer));
        if let (Some(max), Some(address)) = (self.max_per_address, counted) {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_address.get(&address).copied().unwrap_or(0);
            if count >= max {
                drop(by_address);
                return back(Refusal::Address);
            }
            by_address.insert(address, count + 1);
        }
        if let Some(owner) = owner {
            class.shares.add(owner, weight);
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Permit { places: self.clone(), address: counted.or(owner), kind, counted: counted.is_some() }))
    }

    /// Where a kind is counted, and how much it is there.
    fn of(&self, kind: Kind) -> (&Class, usize) {
        match kind {
            Kind::Connection => (&self.descriptors, 1),
            Kind::Bridge => (&self.descriptors, 2),
            Kind::Line => (&self.lines, 1),
        }
    }
}

impl Class {
    fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), open: AtomicUsize::new(0), shares: Shares::new() }
    }

    /// What there may be before places are scarce: four of five.
    fn plenty(&self) -> usize {
        let max = self.max.load(Ordering::Relaxed);
        max - max / 5
    }

    fn is_scarce(&self, open: usize) -> bool {
        open > self.plenty()
    }
}

impl Permit {
    /// How many places of the kind its address has, more or less; 0 if it has none of its own.
    pub(crate) fn share(&self) -> u32 {
        self.owner().map_or(0, |owner| self.places.of(self.kind).0.shares.of(owner))
    }

    fn owner(&self) -> Option<IpAddr> {
        self.address.filter(|address| !self.places.speaks_for_others(*address))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (class, weight) = self.places.of(self.kind);
        if let Some(owner) = self.owner() {
            class.shares.remove(owner, weight);
        }
        class.open.fetch_sub(weight, Ordering::Relaxed);
        self.places.held.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address.filter(|_| self.counted) {
            let mut by_address = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
    }
}

/// Who has an address: of IPv6, who has one has all of its network.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(descriptors: usize, lines: usize) -> Bounds {
        Bounds { descriptors, lines, per_address: None, proxies: Vec::new() }
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([203, 0, 113, last]))
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let places = Places::new(&Bounds { per_address: Some(2), ..bounds(3, 9) });
        let (a, b) = (Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 2])));
        let first = places.connection(a).unwrap();
        let _second = places.connection(a).unwrap();
        assert_eq!(places.connection(a).unwrap_err(), Refusal::Address);
        let _third = places.connection(b).unwrap();
        assert_eq!(places.connection(b).unwrap_err(), Refusal::Full);
        drop(first);
        assert!(places.connection(a).is_ok());
        drop((_second, _third));
        assert_eq!(places.held(), 0);
        assert!(places.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn lines_without_a_socket_take_no_descriptor_and_those_over_http2_take_two() {
        let places = Places::new(&bounds(5, 3));
        let lines: Vec<_> = (0..3).map(|_| places.line(None).unwrap()).collect();
        assert_eq!(places.line(None).unwrap_err(), Refusal::Lines);
        let bridges: Vec<_> = (0..2).map(|_| places.bridge(None).unwrap()).collect();
        assert_eq!(places.bridge(None).unwrap_err(), Refusal::Full);
        let last = places.connection(None).unwrap();
        assert_eq!((places.connection(None).unwrap_err(), places.held()), (Refusal::Full, 6));
        drop((lines, bridges, last));
        assert_eq!((places.held(), places.descriptors.open.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn an_address_has_all_it_wants_until_places_are_scarce_and_then_others_go_first() {
        let places = Places::new(&bounds(1000, 1000));
        // An office behind one address, many by themselves, and one who takes all that there is.
        let office: Vec<_> = (0..100).map(|_| places.connection(address(1)).unwrap()).collect();
        let others: Vec<_> = (10..200).map(|last| places.connection(address(last)).unwrap()).collect();
        let mut greedy = Vec::new();
        let refusal = loop {
            match places.connection(address(2)) {
                Ok(permit) => greedy.push(permit),
                Err(refusal) => break refusal,
            }
        };
        // More or less, since addresses may share a cell.
        assert!(refusal == Refusal::Share && (500..520).contains(&greedy.len()), "{}", greedy.len());
        // Those who have less come in as before.
        let more: Vec<_> = (0..50).map(|_| places.connection(address(1)).unwrap()).collect();
        let new: Vec<_> = (200..=255).map(|last| places.connection(address(last)).unwrap()).collect();
        // As does what comes from this machine, whatever it has: who knows for whom.
        let here: Vec<_> = (0..90).map(|_| places.connection(Some(IpAddr::from([127, 0, 0, 1]))).unwrap()).collect();
        assert_eq!(places.connection(address(2)).unwrap_err(), Refusal::Share);
        greedy.truncate(100);
        assert!(places.connection(address(2)).is_ok(), "there is plenty again");
        drop((office, others, more, new, here, greedy));
        assert_eq!(places.held(), 0);
        assert_eq!(places.descriptors.shares.of(address(2).unwrap()), 0);
    }

    #[test]
    fn a_proxy_that_is_named_has_no_share_of_its_own() {
        let proxy = IpAddr::from([10, 0, 0, 7]);
        let places = Places::new(&Bounds { proxies: vec![proxy], per_address: Some(3), ..bounds(100, 100) });
        let all: Vec<_> = (0..100).map(|_| places.connection(Some(proxy)).unwrap()).collect();
        assert_eq!(places.connection(Some(proxy)).unwrap_err(), Refusal::Full);
        drop(all);
    }
}
