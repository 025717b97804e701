//! Clients: what they want, what they say, and what they make of what they are told.

mod model;
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longwire_protocol::{Form, SessionId};

pub use self::model::Model;
pub use self::real::Real;
use crate::chance::Chance;
use crate::truth::Truth;
use crate::watcher::Verdict;

/// Whoever is at the other end of lines. The world tells it what happens, and asks what it has to say.
pub trait Client {
    /// How it writes.
    fn form(&self) -> Form;

    /// Whether it wants a line.
    fn wants_line(&self, now: u64) -> bool;

    /// When it will want to do something by itself.
    fn due(&self) -> Option<u64>;

    /// Time has come this far.
    fn time(&mut self, now: u64) {
        let _ = now;
    }

    /// Whether it gives its line up.
    fn gives_up(&mut self) -> bool {
        false
    }

    /// Its line is open.
    fn opened(&mut self, now: u64);

    /// A message has come.
    ///
    /// # Errors
    /// The invariant that it breaks.
    fn received(&mut self, now: u64, bytes: &[u8], truth: &Truth) -> Verdict;

    /// Its line has ended, with this code if the server closed it.
    fn lost(&mut self, now: u64, code: Option<u16>, chance: &mut Chance);

    /// The next message to send.
    fn transmit(&mut self, chance: &mut Chance) -> Option<Vec<u8>>;

    /// Its user does something.
    ///
    /// # Errors
    /// The invariant that does not hold for what it has heard.
    fn act(&mut self, chance: &mut Chance, truth: &Truth) -> Verdict;

    /// Whether it has a line, and nothing that it asked for is still to come.
    fn is_settled(&self) -> bool;

    /// The sessions that it had, and the channels in which it is now.
    fn whereabouts(&self) -> (Option<SessionId>, Vec<Arc<str>>);

    /// Nothing is on its way any more.
    ///
    /// # Errors
    /// What it does not know.
    fn settled(&mut self, there: &BTreeMap<Arc<str>, BTreeSet<SessionId>>, truth: &Truth) -> Verdict;

    /// It wants no line any more.
    fn leave(&mut self);
}
