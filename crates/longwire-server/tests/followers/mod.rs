//! Whoever follows channels, however, has everything that happens there, or was told that it has not: over generated sets of channels,
//! shards, keys and pasts, and lines that are cut at any byte, while they catch up and among the keys, too.
//!
//! A seed makes a case. `LONGWIRE_FOLLOWERS` says how many cases there are for each transport, and `LONGWIRE_FOLLOWERS_SEED` which is
//! the first.

mod follower;
mod ways;
mod wire;
mod world;

use longwire_core::Random;

use follower::Follower;
use world::World;

/// Cases for each transport in the ordinary run.
const CASES: u64 = 15;

/// How often one comes back at last who is not cut.
const VISITS: usize = 5;

/// What is done by chance.
struct Chance(Random);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Random::seeded(seed))
    }

    /// From 0 up to, but not, `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.0.number() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Any size up to `most`, small ones as often as large ones.
    fn size(&mut self, most: usize) -> usize {
        let bits = most.ilog2() as usize + 1;
        let size = 1 << self.below(bits);
        (size + self.below(size)).min(most)
    }
}

/// How one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    WebSocket,
    Sse,
    JsonLines,
    Poll,
    HttpStream,
    HttpPolls,
    SocketIo,
    Rooms,
}

fn check(way: Way) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first: u64 = number("LONGWIRE_FOLLOWERS_SEED").unwrap_or(1);
    for seed in first..first + number("LONGWIRE_FOLLOWERS").unwrap_or(CASES) {
        let mut chance = Chance::new(seed * 100 + way as u64);
        let mut world = World::new(way, &mut chance);
        let mut follower = Follower::new(format!("{way:?}, seed {seed}"), &world);
        for _ in 0..4 + chance.below(8) {
            // It is away, or not there yet.
            if chance.one_in(2) {
                world.happens(&mut chance);
            }
            // Cut behind so many bytes, or after it has got all that there was.
            let bytes = chance.size(3 << 20);
            ways::visit(way, &mut follower, &mut world, &mut chance, Some(bytes));
        }
        world.ends();
        // The server may close who was too slow for what came at once.
        for _ in 0..VISITS {
            ways::visit(way, &mut follower, &mut world, &mut chance, None);
            if follower.is_complete(&world) {
                break;
            }
        }
        follower.has_everything(&world);
    }
}

#[test]
fn over_a_websocket() {
    check(Way::WebSocket);
}

#[test]
fn over_an_event_stream() {
    check(Way::Sse);
}

#[test]
fn over_lines_of_json() {
    check(Way::JsonLines);
}

#[test]
fn by_polls() {
    check(Way::Poll);
}

#[test]
fn over_http_by_a_stream() {
    check(Way::HttpStream);
}

#[test]
fn over_http_by_long_polls() {
    check(Way::HttpPolls);
}

#[test]
fn over_socket_io_without_code() {
    check(Way::SocketIo);
}

#[test]
fn in_rooms_of_socket_io() {
    check(Way::Rooms);
}
