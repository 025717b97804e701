//! Many commands in one request: lines of JSON in, lines of JSON out, in the same order.
//!
//! All of it happens while the answer's body is asked for more. A client that does not read its results is not read itself; one
//! that goes away takes everything with it. What is kept meanwhile is bounded: one line, the commands of the [window](WINDOW), and
//! some results.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use longwire_core::broker::Failure;
use longwire_protocol::{Action, ErrorCode};
use tokio::sync::mpsc;

use super::answer;
use super::command::{Command, Kind};
use super::execute::{Asked, Output, ask, execute};
use super::members::Members;
use crate::node::Node;

/// The most commands on their way at a time.
const WINDOW: usize = 512;
/// And what they may cost, in bytes; one over the bound is let in.
const WINDOW_COST: usize = 256 * 1024;
/// What a command costs whose answer may be long.
const READ_COST: usize = 64 * 1024;
/// Results are handed on once they are this many bytes, or sooner, when there is nothing else to do.
const RESULTS_BYTES: usize = 16 * 1024;

/// How a batch is to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The longest line, in bytes.
    pub(super) line_bytes: usize,
    /// Only what has failed is told, and at the end how many.
    pub(super) errors_only: bool,
}

/// The body of the answer. It does the work while it is asked for more.
pub(super) struct Results {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    results: mpsc::Receiver<Bytes>,
}

impl Batch {
    /// Carries out the commands of a body, as fast as their results are taken.
    pub(super) fn run(self, node: Node, body: Body) -> Results {
        let (sender, results) = mpsc::channel(1);
        let work = Work {
            batch: self,
            node,
            lines: Lines { body, bytes: BytesMut::new(), looked: 0, ended: false, skipping: false, most: self.line_bytes },
            window: VecDeque::new(),
            cost: 0,
            out: Vec::new(),
            commands: 0,
            failed: 0,
        };
        Results { work: Some(Box::pin(work.run(sender))), results }
    }
}

impl hyper::body::Body for Results {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        self.results.poll_recv(cx).map(|results| results.map(|results| Ok(Frame::data(results))))
    }
}

/// A command whose result is not told yet.
struct Pending {
    id: Option<u32>,
    cost: usize,
    state: State,
}

enum State {
    /// It could not even be asked.
    Failed(Option<Failure>),
    Asked(Asked),
    /// Not the matter of one channel: it begins when all before it is done, and nothing after it begins until it is.
    Alone(Pin<Box<dyn Future<Output = Result<Output, Failure>> + Send>>),
}

struct Work {
    batch: Batch,
    node: Node,
    lines: Lines,
    window: VecDeque<Pending>,
    /// Of what is in the window.
    cost: usize,
    /// Results that were not handed on yet.
    out: Vec<u8>,
    commands: u64,
    failed: u64,
}

impl Work {
    async fn run(mut self, results: mpsc::Sender<Bytes>) {
        loop {
            let takes_more = self.takes_more();
            let is_full = self.out.len() >= RESULTS_BYTES;
            tokio::select! {
                biased;
                line = self.lines.next(), if takes_more => match line {
                    Ok(Some(line)) => self.begin(line).await,
                    Ok(None) => {}
                    // The client has gone: there is nobody to tell.
                    Err(Gone) => return,
                },
                result = first(&mut self.window), if !self.window.is_empty() && !is_full => self.done(&result),
                room = results.reserve(), if !self.out.is_empty() => match room {
                    Ok(room) => room.send(std::mem::take(&mut self.out).into()),
                    Err(_) => return,
                },
                else => break,
            }
        }
        if self.batch.errors_only {
            answer::push_done(self.commands, self.failed, &mut self.out);
            self.out.push(b'\n');
            let _ = results.send(self.out.into()).await;
        }
    }

    fn takes_more(&self) -> bool {
        let is_alone = self.window.back().is_some_and(|last| matches!(last.state, State::Alone(_)));
        !self.lines.is_over()
            && !is_alone
            && self.window.len() < WINDOW
            && self.cost < WINDOW_COST
            && self.out.len() < RESULTS_BYTES
    }

    /// Has a line carried out.
    async fn begin(&mut self, line: Result<BytesMut, Failure>) {
        self.commands += 1;
        let cost = line.as_ref().map_or(0, |line| line.len());
        let (id, command) = match line {
            Ok(line) => read(&line),
            Err(failure) => (None, Err(failure)),
        };
        let cost = cost + command.as_ref().map_or(0, more_cost);
        let state = match command {
            Err(failure) => State::Failed(Some(failure)),
            Ok(Command::Channel(action)) => {
                // Publications of a batch wait where those of clients do.
                while self.node.is_congested() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                match ask(&self.node, action) {
                    Ok(asked) => State::Asked(asked),
                    Err(failure) => State::Failed(Some(failure)),
                }
            }
            Ok(command) => {
                let node = self.node.clone();
                State::Alone(Box::pin(async move { execute(&node, command).await }))
            }
        };
        self.cost += cost;
        self.window.push_back(Pending { id, cost, state });
    }

    /// The first of the window has its result.
    fn done(&mut self, result: &Result<Output, Failure>) {
        let Some(Pending { id, cost, .. }) = self.window.pop_front() else { return };
        self.cost -= cost;
        self.failed += u64::from(result.is_err());
        if !self.batch.errors_only || result.is_err() {
            answer::push(result, id, &mut self.out);
            self.out.push(b'\n');
        }
    }
}

/// The result of the command that came first. It may be given up and asked for again.
async fn first(window: &mut VecDeque<Pending>) -> Result<Output, Failure> {
    match window.front_mut().map(|pending| &mut pending.state) {
        None => std::future::pending().await,
        Some(State::Failed(failure)) => Err(failure.take().unwrap_or_else(|| ErrorCode::Internal.into())),
        Some(State::Asked(asked)) => asked.come().await.map(Output::Reply),
        Some(State::Alone(work)) => work.await,
    }
}

fn read(line: &[u8]) -> (Option<u32>, Result<Command, Failure>) {
    let mut members = match Members::of_json(line) {
        Ok(members) => members,
        Err(failure) => return (None, Err(failure)),
    };
    let id = match members.id() {
        Ok(id) => id,
        Err(failure) => return (None, Err(failure)),
    };
    let command = Kind::of(&mut members).and_then(|kind| kind.read(members, None));
    (id, command)
}

fn more_cost(command: &Command) -> usize {
    match command {
        Command::Channel(Action::History(_) | Action::Presence { .. } | Action::State { .. }) => READ_COST,
        _ => 0,
    }
}

/// The body ended before it was complete.
struct Gone;

/// The lines of a body.
struct Lines {
    body: Body,
    /// What came and was not taken yet.
    bytes: BytesMut,
    /// So many of them are known to have no line's end.
    looked: usize,
    ended: bool,
    /// The line at hand is too long; its rest is passed over.
    skipping: bool,
    /// The longest line.
    most: usize,
}

impl Lines {
    fn is_over(&self) -> bool {
        self.ended && self.bytes.is_empty()
    }

    /// The next line that says something, or that it is too long; `None` if there is none for now. It may be given up.
    async fn next(&mut self) -> Result<Option<Result<BytesMut, Failure>>, Gone> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(_)) => return Err(Gone),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.bytes.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take(&mut self) -> Option<Result<BytesMut, Failure>> {
        loop {
            let end = self.bytes[self.looked..].iter().position(|byte| *byte == b'\n').map(|at| self.looked + at);
            let is_long = end.unwrap_or(self.bytes.len()) > self.most;
            let end = match end {
                Some(end) => end + 1,
                None if self.ended => self.bytes.len(),
                None => {
                    self.looked = self.bytes.len();
                    if is_long || self.skipping {
                        self.bytes.clear();
                        self.looked = 0;
                    }
                    // Said once for each line.
                    let is_new = is_long && !std::mem::replace(&mut self.skipping, true);
                    return is_new.then(|| Err(self.too_long()));
                }
            };
            if end == 0 {
                return None;
            }
            self.looked = 0;
            let line = self.bytes.split_to(end);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if is_long {
                return Some(Err(self.too_long()));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(line));
            }
        }
    }

    fn too_long(&self) -> Failure {
        Failure::new(ErrorCode::TooLarge, format!("a line has at most {} bytes", self.most))
    }
}
