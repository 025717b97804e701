//! A node with several shards, many clients, and the network between them, in one process, in virtual time, from one seed.
//!
//! The engines and brokers are the real ones. Everything else is here: lines that are cut, delayed and not read, letters between
//! shards that take their time, a store that is slow to write, a server that is killed, clocks that jump. Chance decides what
//! happens next; what clients are told is held against what really happened. The same seed gives the same run.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | chance: what happens next, and how all comes to rest |
//! | [`node`] | the server: engines, brokers, letters between shards |
//! | [`store`] | its disk |
//! | [`client`] | clients: what they want, say and hear |
//! | [`watcher`] | the invariants of one client's view of one channel |
//! | [`truth`] | what really happened |

use std::panic::{AssertUnwindSafe, catch_unwind};

pub mod chance;
pub mod client;
pub mod node;
mod setting;
pub mod store;
pub mod truth;
pub mod watcher;
pub mod world;

pub use world::{Report, World};

/// A run that broke an invariant, and how to see it again.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its seed.
    pub seed: u64,
    /// How many steps it was to have.
    pub steps: u64,
    /// What was wrong.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, steps, what } = self;
        writeln!(f, "seed {seed}: {what}")?;
        write!(f, "again: cargo run -p longwire-sim --release -- --seed {seed} --steps {steps} --trace")
    }
}

impl std::error::Error for Broken {}

/// One run. `trace` is told what happens.
///
/// # Errors
/// The invariant that it broke.
pub fn run(seed: u64, steps: u64, trace: Option<Box<dyn FnMut(String)>>) -> Result<Report, Broken> {
    let broken = |what: String| Broken { seed, steps, what };
    let done = catch_unwind(AssertUnwindSafe(|| World::new(seed, trace).run(steps)));
    done.map_err(|_| broken("a panic".to_owned()))?.map_err(broken)
}
