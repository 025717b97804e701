//! What every broker must do: the tests that each of them has to pass.
//!
//! ```ignore
//! contract::check(&mut MyFixture);        // whatever its clock is
//! contract::check_timed(&mut MyFixture);  // if it goes by the time that it is told
//! ```

mod channels;
mod positions;
mod streams;
mod timed;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Append, Data, ErrorCode, Member, Position, Publication, Publish, SessionId};

use super::{Answer, Ask, Broker, Delivery, Enter, Entered, Event, Failure, Now, Page, Request, Ticket, What};
use crate::options::{ChannelOptions, Namespaces, Slow};

/// Makes brokers to be tested.
pub trait Fixture {
    /// A broker without a channel.
    fn broker(&mut self, namespaces: Arc<Namespaces>) -> Box<dyn Broker>;

    /// Gives the broker a moment to hear from those whom it talks to. False if it talks to nobody, so that what it has not said
    /// by now it will never say.
    fn pause(&mut self) -> bool {
        false
    }
}

/// Runs everything that does not need time to pass.
///
/// # Panics
/// With the name of what does not hold.
pub fn check(fixture: &mut dyn Fixture) {
    run(fixture, &[channels::ALL, positions::ALL, streams::ALL]);
}

/// Runs what needs time to pass, for brokers that know no other time than the one that they are told.
///
/// # Panics
/// With the name of what does not hold.
pub fn check_timed(fixture: &mut dyn Fixture) {
    run(fixture, &[timed::ALL]);
}

/// Something that must hold.
struct Rule {
    name: &'static str,
    check: fn(&mut Bench<'_>),
}

fn run(fixture: &mut dyn Fixture, rules: &[&[Rule]]) {
    for Rule { name, check } in rules.iter().copied().flatten() {
        let named = Named(name);
        check(&mut Bench::new(fixture));
        std::mem::forget(named);
    }
}

/// Says which rule it was if it is dropped in a panic.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        eprintln!("the broker breaks the rule {:?}", self.0);
    }
}

/// A broker with a few namespaces, and what it says.
struct Bench<'a> {
    fixture: &'a mut dyn Fixture,
    broker: Box<dyn Broker>,
    now: Now,
    asked: u64,
    /// What it has said that nobody has taken.
    said: VecDeque<Event>,
}

impl<'a> Bench<'a> {
    fn new(fixture: &'a mut dyn Fixture) -> Self {
        let history = |size: usize| ChannelOptions { history_size: size, ..ChannelOptions::default() };
        let minute = Duration::from_secs(60);
        let all = [
            ("default", ChannelOptions::default()),
            ("log", history(250)),
            ("short", ChannelOptions { history_age: minute, once_window: minute, ..history(5) }),
            ("off", ChannelOptions { resume: false, ..history(5) }),
            ("room", ChannelOptions { presence: true, joins: true, ..history(10) }),
            ("quiet", ChannelOptions { presence: true, ..ChannelOptions::default() }),
            ("keys", ChannelOptions { state_keys: 3, ..ChannelOptions::default() }),
            ("latest", ChannelOptions { state_keys: 3, slow: Slow::Latest, ..history(10) }),
            (
                "ai",
                ChannelOptions {
                    streams: true,
                    stream_bytes: 100,
                    message_bytes: 50,
                    stream_lease: Duration::from_secs(10),
                    ..history(4)
                },
            ),
        ];
        let namespaces =
            Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options that go together");
        let broker = fixture.broker(Arc::new(namespaces));
        let now = Now { steady: 1000, wall: 1_700_000_000_000 };
        Self { fixture, broker, now, asked: 0, said: VecDeque::new() }
    }

    /// Asks for shard 0, and waits for the answer; what is said before it stays to be taken.
    fn ask(&mut self, channel: &str, ask: Ask) -> Result<Answer, Failure> {
        self.asked += 1;
        let ticket = Ticket { shard: 0, id: self.asked };
        self.broker.submit(self.now, Request { channel: channel.into(), ticket, ask });
        loop {
            match self.next() {
                Some(Event::Answer(to, answer)) if to == ticket => return answer,
                Some(event) => self.said.push_back(event),
                None => panic!("no answer from {channel}"),
            }
        }
    }

    /// Says something that has no answer.
    fn tell(&mut self, shard: u16, channel: &str, ask: Ask) {
        self.broker.submit(self.now, Request { channel: channel.into(), ticket: Ticket { shard, id: 0 }, ask });
    }

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.broker.poll() {
                return Some(event);
            }
            if !self.fixture.pause() {
                return None;
            }
        }
    }

    /// All that was delivered since the last time, and to which shards.
    fn deliveries(&mut self) -> Vec<(u64, Delivery)> {
        while let Some(event) = self.next() {
            self.said.push_back(event);
        }
        let delivered = |event| if let Event::Deliver { shards, delivery } = event { Some((shards, delivery)) } else { None };
        self.said.drain(..).filter_map(delivered).collect()
    }

    /// The texts of the publications that were delivered.
    fn texts(&mut self) -> Vec<String> {
        let text = |(_, delivery): (u64, Delivery)| match delivery.what {
            What::Publication(publication) => Some(text(&publication)),
            _ => None,
        };
        self.deliveries().into_iter().filter_map(text).collect()
    }

    fn publish(&mut self, channel: &str, text: &str) -> Position {
        self.published(Publish::new(channel, text), None).0.expect("a position")
    }

    fn published(&mut self, publish: Publish, from: Option<u8>) -> (Option<Position>, bool) {
        match self.try_publish(publish, from) {
            Ok(published) => published,
            Err(failure) => panic!("not published: {failure:?}"),
        }
    }

    fn try_publish(&mut self, publish: Publish, from: Option<u8>) -> Result<(Option<Position>, bool), ErrorCode> {
        let (channel, from) = (publish.channel.clone(), from.map(member));
        let is_stream = publish.stream;
        match self.ask(&channel, Ask::Publish { publish: Box::new(publish), from }) {
            Ok(Answer::Published { position, repeated, lease }) => {
                assert_eq!(lease, is_stream.then_some(10), "the lease of a stream, in seconds");
                Ok((position, repeated))
            }
            Ok(other) => panic!("{other:?} to a publication"),
            Err(failure) => Err(failure.code),
        }
    }

    fn enter(&mut self, channel: &str, enter: Enter) -> Entered {
        match self.ask(channel, Ask::Enter(enter)) {
            Ok(Answer::Entered(entered)) => *entered,
            other => panic!("{other:?} to someone who enters"),
        }
    }

    fn page(&mut self, channel: &str, ask: Ask) -> Page {
        match self.ask(channel, ask) {
            Ok(Answer::Page(page)) => page,
            other => panic!("{other:?} to the wish for a page"),
        }
    }

    fn append(&mut self, append: Append, producer: Option<u8>) -> Result<(u64, bool), ErrorCode> {
        let (channel, producer) = (append.channel.clone(), producer.map(session));
        match self.ask(&channel, Ask::Append { append: Box::new(append), producer }) {
            Ok(Answer::Appended { length, cancel }) => Ok((length, cancel)),
            Ok(other) => panic!("{other:?} to a piece"),
            Err(failure) => Err(failure.code),
        }
    }

    /// Time passes, and the broker looks at its clock.
    fn pass(&mut self, millis: u64) {
        self.now.steady += millis;
        self.now.wall += millis;
        self.broker.look_at_clock(self.now);
    }
}

fn session(number: u8) -> SessionId {
    SessionId([number; 12])
}

fn member(number: u8) -> Arc<Member> {
    let user = (number < 100).then(|| format!("user {}", number / 2).into());
    Arc::new(Member { session: session(number), user, info: None })
}

fn text(publication: &Publication) -> String {
    publication.data.as_ref().map(|data: &Data| String::from_utf8_lossy(data.as_bytes()).into_owned()).unwrap_or_default()
}

fn texts(publications: &[Arc<Publication>]) -> Vec<String> {
    publications.iter().map(|publication| text(publication)).collect()
}

fn since(position: Position) -> Enter {
    Enter { since: Some(position), ..Enter::default() }
}

fn refused(answer: Result<Answer, Failure>) -> ErrorCode {
    match answer {
        Err(failure) => failure.code,
        Ok(answer) => panic!("{answer:?} instead of an error"),
    }
}
