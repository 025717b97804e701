//! Lets the HTTP connections of a shard through a few at a time: thousands that open at once do not keep it from its lines.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::shard;

/// How many connections are looked after in one tick of the shard, at least.
const TURNS: usize = 4;
/// And one for so much of what the tick has taken: about a quarter of the time.
const TURN_FOR: Duration = Duration::from_micros(150);

/// Where those wait who have something to do, in the order of their coming.
#[derive(Default)]
pub(crate) struct Turnstile {
    /// Those of this tick that are left.
    turns: Cell<usize>,
    waiting: RefCell<VecDeque<(Rc<Cell<Place>>, Waker)>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    #[default]
    Outside,
    Waiting,
    LetIn,
}

impl Turnstile {
    /// A future that is polled when it has something to do and it is its turn.
    pub(crate) async fn pass<F: Future>(self: Rc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        let place = Rc::default();
        poll_fn(move |cx| match self.poll_turn(&place, cx) {
            Poll::Ready(()) => future.as_mut().poll(cx),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Lets in as many as one tick has room for.
    pub(crate) fn next_tick(&self, took: Duration) {
        let mut turns = TURNS.max((took.as_nanos() / TURN_FOR.as_nanos()) as usize);
        while turns > 0
            && let Some((place, waker)) = self.waiting.borrow_mut().pop_front()
        {
            place.set(Place::LetIn);
            waker.wake();
            turns -= 1;
        }
        self.turns.set(turns);
    }

    /// Whether somebody waits for the next tick.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn poll_turn(&self, place: &Rc<Cell<Place>>, cx: &Context<'_>) -> Poll<()> {
        let turns = self.turns.get();
        match place.get() {
            Place::LetIn => {}
            Place::Waiting => return Poll::Pending,
            Place::Outside if turns > 0 => self.turns.set(turns - 1),
            Place::Outside => {
                place.set(Place::Waiting);
                self.waiting.borrow_mut().push_back((place.clone(), cx.waker().clone()));
                shard::with(shard::Shard::wake_driver);
                return Poll::Pending;
            }
        }
        place.set(Place::Outside);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_tick_lets_in_so_many_in_the_order_of_their_coming() {
        let turnstile = Turnstile::default();
        let cx = Context::from_waker(Waker::noop());
        let places: Vec<Rc<Cell<Place>>> = (0..TURNS * 2 + 1).map(|_| Rc::default()).collect();
        let poll = |places: &[Rc<Cell<Place>>]| -> Vec<bool> {
            places.iter().map(|place| turnstile.poll_turn(place, &cx).is_ready()).collect()
        };
        assert!(poll(&places).iter().all(|&passes| !passes), "no tick yet");
        assert!(turnstile.is_awaited());
        turnstile.next_tick(Duration::ZERO);
        let passed = poll(&places);
        assert!(passed[..TURNS].iter().all(|&passes| passes) && passed[TURNS..].iter().all(|&passes| !passes));
        // Those who had their turn queue up behind the others.
        assert!(poll(&places[..TURNS]).iter().all(|&passes| !passes));
        turnstile.next_tick(Duration::ZERO);
        let passed = poll(&places);
        assert_eq!(passed.iter().position(|&passes| passes), Some(TURNS));
        assert_eq!(passed.iter().filter(|&&passes| passes).count(), TURNS);
    }

    #[test]
    fn who_comes_while_there_is_room_does_not_wait() {
        let turnstile = Turnstile::default();
        turnstile.next_tick(Duration::ZERO);
        let cx = Context::from_waker(Waker::noop());
        let late: Vec<bool> = (0..=TURNS).map(|_| turnstile.poll_turn(&Rc::default(), &cx).is_ready()).collect();
        assert_eq!(late, (0..=TURNS).map(|number| number < TURNS).collect::<Vec<_>>());
        assert!(turnstile.is_awaited());
        turnstile.next_tick(Duration::ZERO);
        assert!(!turnstile.is_awaited());
        // A long tick leaves room for more.
        turnstile.next_tick(TURN_FOR * 10);
        assert!((0..10).all(|_| turnstile.poll_turn(&Rc::default(), &cx).is_ready()));
        assert!(turnstile.poll_turn(&Rc::default(), &cx).is_pending());
    }
}
