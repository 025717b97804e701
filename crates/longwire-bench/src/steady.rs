//! Somebody who goes on publishing at a steady pace on a thread of its own, whatever else is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::drive::Load;
use crate::histogram::Histogram;
use crate::lines::Lines;
use crate::opening::Target;
use crate::pair::Pair;
use crate::progress::Progress;
use crate::sequence::Faults;
use crate::{Error, Stop};

/// Longest wait for the server before the phase is looked at.
const TURN: Duration = Duration::from_millis(20);
/// The thread goes before the others of this program, where that is allowed: it sleeps most of the time, and what it measures is
/// how late the server is, not how late its own turn.
const NICENESS: i32 = -10;

/// The latencies of one phase.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// From publishing to the acknowledgement.
    pub(crate) acks: Histogram,
    /// From publishing to the delivery on another line.
    pub(crate) deliveries: Histogram,
}

/// What came of it.
pub(crate) struct Steadied {
    /// One for each phase, the time before the first one left out.
    pub(crate) phases: Vec<Phase>,
    pub(crate) faults: Faults,
    pub(crate) refusal: Option<String>,
}

pub(crate) struct Steady {
    /// The phase; [`OVER`] at the end.
    phase: Arc<AtomicU8>,
    /// None once it is awaited.
    thread: Option<JoinHandle<Result<Steadied, Error>>>,
}

const OVER: u8 = u8::MAX;

impl Steady {
    /// Opens lines, makes a pair of them with `join`, and begins. Returns when it runs.
    pub(crate) fn start(
        target: Target,
        stop: Stop,
        timeout: Duration,
        join: impl FnOnce(&mut Lines, &mut Progress) -> Result<Pair, Error> + Send + 'static,
    ) -> Result<Steady, Error> {
        let phase = Arc::new(AtomicU8::new(0));
        let (ready, is_ready) = mpsc::channel();
        let now = phase.clone();
        let thread = std::thread::spawn(move || {
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
            let mut lines = Lines::new(target, crate::native::MESSAGE_MAX, stop)?;
            let pair = join(&mut lines, &mut Progress::silent())?;
            // Nobody listens when the run has been given up meanwhile.
            let _ = ready.send(());
            run(pair, lines, &now, timeout)
        });
        let steady = Steady { phase, thread: Some(thread) };
        match is_ready.recv() {
            Ok(()) => Ok(steady),
            // It has ended before it began, and says why.
            Err(_) => Err(steady.finish().err().unwrap_or(Error::Interrupted)),
        }
    }

    /// From now on it is the next phase.
    pub(crate) fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<Steadied, Error> {
        self.phase.store(OVER, Ordering::Relaxed);
        let thread = self.thread.take().expect("only this takes it");
        thread.join().expect("the steady publisher does not panic")
    }
}

impl Drop for Steady {
    /// Also when the run has failed.
    fn drop(&mut self) {
        self.phase.store(OVER, Ordering::Relaxed);
    }
}

fn run(mut pair: Pair, mut lines: Lines, phase: &AtomicU8, timeout: Duration) -> Result<Steadied, Error> {
    let mut phases = Vec::new();
    let mut current = 0;
    while current != OVER && !pair.is_dead() && !lines.stop_requested() {
        pair.pump(&mut lines)?;
        lines.turn(TURN, &mut pair)?;
        let now = phase.load(Ordering::Relaxed);
        if now != current {
            if now == OVER {
                // What is still on its way belongs to the last phase.
                drain(&mut pair, &mut lines, timeout)?;
            }
            if current > 0 {
                let (acks, deliveries) = (pair.acks().clone(), pair.tally().latency.clone());
                phases.push(Phase { acks, deliveries });
            }
            pair.begin();
            current = now;
        }
    }
    let mut faults = pair.tally().faults;
    faults.missing += pair.outstanding();
    lines.close_all()?;
    Ok(Steadied { phases, faults, refusal: pair.refusal() })
}

fn drain(pair: &mut Pair, lines: &mut Lines, timeout: Duration) -> Result<(), Error> {
    pair.finish();
    let began = Instant::now();
    while pair.outstanding() > 0 && !pair.is_dead() && began.elapsed() < timeout {
        lines.turn(TURN, pair)?;
    }
    Ok(())
}
