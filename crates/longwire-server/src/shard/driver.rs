//! The thread of a shard and the order of its ticks.
//!
//! One tick: take what came in (commands, readable lines, due timers), let the handlers' tasks run, fan out, then flush every
//! line with something to write, once.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::{Future as _, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::LocalOptions;
use tokio::time::{Instant, Sleep};

use super::addresses::Addresses;
use super::behind::{Behind, WINDOW};
use super::channels::Channels;
use super::heartbeat::{TICK, ticks};
use super::outbox::QueuePool;
use super::poller::Poller;
use super::slab::Slab;
use super::socketio::{Call, Names, Places, keeps_sockets};
use super::unconfirmed::Unconfirmed;
use super::wheel::Wheel;
use super::{Command, Core, Drain, HERE, Home, Shard};
use crate::http::Http;
use crate::node::Node;
use crate::turnstile::Turnstile;

/// What a line is read into in one go. Larger joins more, and costs more cache.
const READ_BYTES: usize = 64 * 1024;

/// Starts a shard's thread; the shard has all that it needs once this returns.
///
/// # Errors
/// The system has no thread, or no descriptors, for it.
pub(crate) fn spawn(node: Node, index: usize, http: Http, home: Home) -> io::Result<JoinHandle<io::Result<()>>> {
    let (up, is_up) = mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("longwire-shard-{index}")).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            node.enter(index);
            let result = run(node.clone(), index, http, home, up).await;
            HERE.set(None);
            node.mailbox(index).close();
            if let Err(error) = &result {
                tracing::error!(%error, shard = index, "a shard has failed: shutting down");
                node.shard_is_drained();
                node.shutdown();
            }
            result
        })
    })?;
    match is_up.recv() {
        Ok(()) => Ok(thread),
        // It is at its end already, and says why.
        Err(_) => Err(match thread.join() {
            Ok(Err(error)) => error,
            _ => io::Error::other("a shard has ended before it began"),
        }),
    }
}

async fn run(node: Node, index: usize, http: Http, home: Home, up: mpsc::Sender<()>) -> io::Result<()> {
    let shard = Rc::new(RefCell::new(Shard::new(node.clone(), index, home)?));
    HERE.set(Some(shard.clone()));
    let driver = Driver::new(node, shard, http)?;
    // Nobody waits for it if the server was given up meanwhile.
    let _ = up.send(());
    // A task of its own: waking the future that the runtime blocks on costs two system calls more.
    tokio::task::spawn_local(driver.run()).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Driver {
    /// Before `shard`, so that it is dropped before the descriptor is closed.
    readiness: AsyncFd<PollFd>,
    node: Node,
    shard: Rc<RefCell<Shard>>,
    http: Http,
    turnstile: Rc<Turnstile>,
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` fires, if it is to.
    alarm: Option<Instant>,
    started: Instant,
    commands: Vec<Command>,
}

/// What follows a tick.
enum Next {
    Again,
    Wait,
    End,
}

/// The poller's descriptor, which becomes readable when a line is ready. The shard owns it.
struct PollFd(RawFd);

impl AsRawFd for PollFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Driver {
    fn new(node: Node, shard: Rc<RefCell<Shard>>, http: Http) -> io::Result<Self> {
        let fd = PollFd(shard.borrow().poller.as_raw_fd());
        #[expect(unsafe_code, reason = "the descriptor belongs to the shard's poller, which must stay there")]
        // SAFETY: the poller lives as long as the shard, which this driver holds, and is never replaced; `readiness` is dropped
        // before it.
        let readiness = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self {
            readiness,
            node,
            shard,
            http,
            turnstile: Rc::default(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm: None,
            started: Instant::now(),
            commands: Vec::new(),
        })
    }

    async fn run(mut self) -> io::Result<()> {
        loop {
            let began = Instant::now();
            let handlers_woken = self.take_in()?;
            let called = self.run_calls();
            if handlers_woken || called {
                step_aside().await;
            }
            let next = self.give_out(began);
            self.turnstile.next_tick(began.elapsed());
            match next {
                // HTTP and the handlers get their turn, too.
                Next::Again => step_aside().await,
                Next::Wait => poll_fn(|cx| self.poll_wait(cx)).await,
                Next::End => return Ok(()),
            }
        }
    }

    /// Calls the handlers of Socket.IO, which may do with the shard what they like. Tells whether there were any.
    fn run_calls(&self) -> bool {
        let mut any = false;
        loop {
            let mut calls = self.shard.borrow_mut().take_calls().peekable();
            if calls.peek().is_none() {
                return any;
            }
            any = true;
            let ended: Vec<_> = calls.filter_map(Call::run).collect();
            let mut shard = self.shard.borrow_mut();
            ended.into_iter().for_each(|connection| shard.handler_ended(connection));
        }
    }

    /// The second half of a tick: publications into outboxes, outboxes into sockets.
    fn give_out(&mut self, began: Instant) -> Next {
        let mut shard = self.shard.borrow_mut();
        shard.fan_out();
        shard.flush();
        if shard.do_some_of_what_waits(began) {
            shard.fan_out();
            shard.flush();
        }
        if shard.is_drained() && self.http.is_finished() {
            Next::End
        } else if shard.has_work() || self.turnstile.is_awaited() {
            Next::Again
        } else {
            Next::Wait
        }
    }

    /// Commands, lines that can be read or written, and deadlines.
    fn take_in(&mut self) -> io::Result<bool> {
        self.node.mailbox(self.shard.borrow().core.index).take(&mut self.commands);
        let mut shard = self.shard.borrow_mut();
        shard.core.now = (self.started.elapsed().as_nanos() / TICK.as_nanos()) as u32;
        for command in self.commands.drain(..) {
            match command {
                Command::Serve(stream, place, arrival) => self.http.serve(stream, place, arrival, &self.turnstile),
                Command::Adopt(adoption) => shard.adopt(*adoption),
                Command::Letters(letters) => shard.core.channels.inbox.extend(letters),
                Command::Stored(done) => shard.stored(&done),
                Command::Load => shard.load(),
                Command::Drain => shard.begin_drain(),
            }
        }
        shard.read_lines()?;
        shard.look_at_clock();
        Ok(std::mem::take(&mut shard.core.handlers_woken))
    }

    /// Ready when there is something to do.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shard = self.shard.borrow_mut();
        if shard.has_work() || self.turnstile.is_awaited() || self.node.mailbox(shard.core.index).poll_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Poll::Ready(guard) = self.readiness.poll_read_ready(cx) {
            // The next look empties the poller, and whatever comes after this line makes its descriptor readable anew.
            if let Ok(mut guard) = guard {
                guard.clear_ready();
            }
            return Poll::Ready(());
        }
        let tick = shard.ticks_to_next().map(|ticks| self.started + TICK * shard.core.now.wrapping_add(ticks));
        let channels = shard.core.channels.due().map(|due| self.node.steady(due).into());
        let due = tick.into_iter().chain(channels).min();
        if due.is_some_and(|due| self.alarm.is_none_or(|alarm| due < alarm)) {
            self.alarm = due;
            self.sleep.as_mut().reset(due.unwrap_or(self.started));
        }
        if self.alarm.is_some() && self.sleep.as_mut().poll(cx).is_ready() {
            self.alarm = None;
            return Poll::Ready(());
        }
        match &mut shard.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            None => shard.driver = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// Lets the tasks that are ready now run first. Unlike tokio's `yield_now` it does not look at the runtime's descriptors.
async fn step_aside() {
    let mut stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Shard {
    pub(super) fn new(node: Node, index: usize, home: Home) -> io::Result<Self> {
        let config = node.config();
        let (names, places) = (Names::default(), Places::kept(keeps_sockets(&node)));
        let core = Core {
            index,
            channels: Channels::new(&node, index, home, names.clone(), places.clone()),
            connections: HashMap::new(),
            names,
            places,
            keeps: HashMap::new(),
            next_keep: 0,
            calls: VecDeque::new(),
            may_go_on: Vec::new(),
            wheel: Wheel::new(),
            paces: node.paces(),
            limits: config.limits.clone(),
            // With none, no line would ever have room.
            outbox_bytes: config.outbox_bytes.max(1),
            inbox_bytes: config.inbox_bytes,
            behind: Behind::new(config.outbox_bytes.max(1), config.in_flight_bytes, node.behind().clone()),
            unconfirmed_for: ticks(config.handshake_timeout),
            now: 0,
            dirty: Vec::new(),
            queues: QueuePool::default(),
            deferred: Vec::new(),
            close_asked: false,
            handlers_woken: false,
            node,
        };
        Ok(Self {
            lines: Slab::new(),
            addresses: Addresses::default(),
            unconfirmed: Unconfirmed::default(),
            poller: Poller::new()?,
            core,
            readiness: Vec::new(),
            unread: Vec::new(),
            turn: 0,
            unfed: Vec::new(),
            later: VecDeque::new(),
            unlooked: false,
            read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
            due: Vec::new(),
            drain: None,
            driver: None,
        })
    }

    /// Whether a tick would do something without anything new coming in.
    fn has_work(&self) -> bool {
        let core = &self.core;
        !(core.dirty.is_empty() && core.deferred.is_empty() && core.calls.is_empty() && core.may_go_on.is_empty())
            || core.channels.has_work()
            || !self.later.is_empty()
            || self.unfed.iter().any(|key| !core.channels.engine.is_busy(key.index))
            || (self.unlooked || !self.unread.is_empty()) && !self.core.node.is_congested()
    }

    fn ticks_to_next(&self) -> Option<u32> {
        let drain = self.drain.as_ref().map(|_| 1);
        // Congestion ends elsewhere, without a word: look again soon.
        let unread = (self.unlooked || !self.unread.is_empty()).then_some(1);
        let behind = (!self.core.behind.is_empty()).then_some(WINDOW / 4);
        [self.core.wheel.ticks_to_next(), drain, unread, behind].into_iter().flatten().min()
    }

    fn begin_drain(&mut self) {
        let over = self.core.node.config().drain.as_nanos() / TICK.as_nanos();
        let over = over.min(i32::MAX as u128 / 2) as u32;
        let (since, lines) = (self.core.now, self.lines.len());
        self.drain.get_or_insert(Drain { since, over, lines, closed: 0, next: 0, told: false });
    }

    /// Whether all is over: not before every shard is without lines, since this one may be the home of their channels.
    fn is_drained(&mut self) -> bool {
        let Some(drain) = &mut self.drain else { return false };
        if self.lines.len() > 0 || !self.core.channels.home.is_settled() {
            return false;
        }
        if !std::mem::replace(&mut drain.told, true) {
            self.core.node.shard_is_drained();
        }
        self.core.node.is_drained()
    }
}
