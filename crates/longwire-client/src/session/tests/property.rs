//! Whatever the network does, nothing is lost and nothing comes twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use longwire_protocol::{Action, Append, Message, Position, Publication, Reply, StreamEnd};
use proptest::prelude::*;

use super::model::{Channel, Model, stream_of};
use super::*;
use crate::session::Climber;
use crate::transport::Transport;

const CHANNELS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
/// This one has keys.
const KEYED: &str = CHANNELS[2];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One message arrives at the server, or at the client.
    ToServer,
    ToClient,
    /// The line is cut: what is under way is lost, up to so many messages arrive before.
    Cut(u8),
    /// The client has nothing to do for so many milliseconds.
    Wait(u16),
    /// Someone else publishes.
    Other(usize),
    /// The client publishes.
    Own(usize),
    /// The client begins a stream, or goes on with it.
    Stream(usize),
    /// The client leaves the channel and comes back from its position.
    Renew(usize),
    Aside(usize),
    TakeUp(usize),
    /// The server forgets all but so many.
    Forget(usize),
    /// The second line's messages arrive at the server, or at the client; or it is cut.
    SecondToServer,
    SecondToClient,
    SecondCut,
    /// A `connect` that was given up arrives all the same.
    Astray,
}

fn step(forget: bool) -> impl Strategy<Value = Step> {
    let channel = 0..CHANNELS.len();
    prop_oneof![
        12 => Just(Step::ToServer),
        16 => Just(Step::ToClient),
        2 => (0..4u8).prop_map(Step::Cut),
        6 => (0..3000u16).prop_map(Step::Wait),
        6 => channel.clone().prop_map(Step::Other),
        5 => channel.clone().prop_map(Step::Own),
        4 => channel.clone().prop_map(Step::Stream),
        1 => channel.clone().prop_map(Step::Renew),
        1 => channel.clone().prop_map(Step::Aside),
        2 => channel.clone().prop_map(Step::TakeUp),
        1 => (0..4usize).prop_map(move |keep| Step::Forget(if forget { keep } else { usize::MAX })),
        3 => Just(Step::SecondToServer),
        2 => Just(Step::SecondToClient),
        1 => Just(Step::SecondCut),
        1 => Just(Step::Astray),
    ]
}

/// A client, a server, and what is between them.
struct World {
    session: Session,
    server: Model,
    now: Duration,
    form: Form,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    ids: Vec<SubscriptionId>,
    seen: BTreeMap<Arc<str>, Seen>,
    /// What was asked for, in order, and the place of what was answered.
    own: Vec<(RequestId, String, Option<Position>)>,
    streams: BTreeMap<usize, Own>,
    published: u64,
    opening: bool,
    missed: u64,
    /// The server has accepted the session on the line.
    accepted: bool,
    /// The server has given the session to another line: this one ends when what was said before has arrived.
    replaced: bool,
    second: Option<Second>,
    /// The `connect` of a second line that was given up, and when.
    astray: Option<(Duration, Vec<u8>)>,
    climbed: u64,
    transports: usize,
}

/// A line to a better transport beside the first.
struct Second {
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
}

/// A stream of the client's own, in one channel.
#[derive(Default)]
struct Own {
    begun: Option<RequestId>,
    stream: Option<u64>,
    text: String,
}

/// What the user of one channel has got.
#[derive(Default)]
struct Seen {
    /// Everything up to here was handed on, or said to be missing.
    offset: Option<u64>,
    publications: Vec<(u64, String)>,
    streams: BTreeMap<u64, String>,
    /// What was said to be missing: after the first, up to the second.
    missed: Vec<(u64, u64)>,
    /// Where it was when the user left, to begin anew.
    left: Option<u64>,
    /// By the offset at which they were set; and whether they are all there.
    keys: BTreeMap<String, u64>,
    has_all: bool,
}

impl World {
    fn new(form: Form, seed: u64) -> Self {
        Self::over(form, seed, &[Transport::WebSocket])
    }

    /// With these transports, of which the WebSocket works as a second line only.
    fn over(form: Form, seed: u64, transports: &[Transport]) -> Self {
        // The model never forgets an idempotency key.
        let config = Config {
            replay_within: Duration::MAX,
            transports: transports.to_vec(),
            climb: Duration::from_millis(500),
            ..Config::default()
        };
        let mut session = Session::new(config, seed);
        let now = Duration::ZERO;
        let ids = CHANNELS.iter().map(|channel| session.subscribe(follows(channel)).unwrap()).collect();
        session.start(now);
        let mut world = Self {
            session,
            server: Model::default(),
            now,
            form,
            up: VecDeque::new(),
            down: VecDeque::new(),
            ids,
            seen: CHANNELS.iter().map(|channel| (Arc::from(*channel), Seen::default())).collect(),
            own: Vec::new(),
            streams: BTreeMap::new(),
            published: 0,
            opening: false,
            missed: 0,
            accepted: false,
            replaced: false,
            second: None,
            astray: None,
            climbed: 0,
            transports: transports.len(),
        };
        world.settle();
        // The channels are known from their beginning on.
        world.quiet();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ToServer => self.at_server(),
            Step::ToClient => self.at_client(),
            Step::Cut(arrive) => {
                (0..arrive).for_each(|_| self.at_server());
                self.line_over();
                self.session.line_lost(self.now, None);
            }
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis.into());
                self.session.time(self.now);
            }
            Step::Other(channel) => {
                self.published += 1;
                let mut publish = Publish::new(CHANNELS[channel], format!("other {}", self.published));
                if CHANNELS[channel] == KEYED && !self.published.is_multiple_of(3) {
                    publish.key = Some(format!("key {}", self.published % 7).into());
                    publish.remove = self.published.is_multiple_of(5);
                    publish.data = publish.data.filter(|_| !publish.remove);
                }
                let (_, push) = self.server.publish(publish);
                self.send_down(push.map(Message::Push).as_slice());
            }
            Step::Own(channel) => {
                self.published += 1;
                let text = format!("own {}", self.published);
                let publish = Publish::new(CHANNELS[channel], text.clone());
                let id = self.session.request(Request::Publish(publish)).expect("room");
                self.own.push((id, text, None));
            }
            Step::Stream(channel) => self.stream(channel),
            Step::Renew(channel) => {
                let id = self.ids[channel];
                let mut since = self.session.position(id);
                if CHANNELS[channel] == KEYED {
                    // Without a place, and so with all keys.
                    let seen = self.seen.get_mut(KEYED).unwrap();
                    (since, seen.has_all) = (None, false);
                    seen.left = seen.offset.take().or(seen.left);
                }
                self.session.unsubscribe(id);
                self.ids[channel] = self.session.subscribe(Subscribe { since, ..follows(CHANNELS[channel]) }).unwrap();
            }
            Step::Aside(channel) => self.session.set_aside(self.ids[channel]),
            Step::TakeUp(channel) => self.session.take_up(self.ids[channel]),
            Step::Forget(keep) => self.server.forget(keep),
            Step::SecondToServer => self.second_at_server(),
            Step::SecondToClient => self.second_at_client(),
            Step::SecondCut => {
                if self.second.is_some() {
                    self.second_over();
                    self.session.climber_lost(self.now);
                }
            }
            Step::Astray => {
                if let Some((since, connect)) = self.astray.take()
                    && self.now - since < Duration::from_secs(60)
                    && self.second.as_ref().is_none_or(|second| !second.up.is_empty())
                {
                    self.taken_up(&connect);
                }
            }
        }
        self.settle();
    }

    fn stream(&mut self, channel: usize) {
        let own = self.streams.entry(channel).or_default();
        let name: Arc<str> = CHANNELS[channel].into();
        match (own.begun, own.stream) {
            (None, _) => {
                let publish = Publish { stream: true, data: None, ..Publish::new(name, "") };
                own.begun = Some(self.session.request(Request::Publish(publish)).expect("room"));
            }
            (Some(_), None) => {}
            (Some(_), Some(stream)) => {
                self.published += 1;
                let data = format!("{} ", self.published);
                let at = Some(own.text.len() as u64);
                own.text.push_str(&data);
                let append = Append { channel: name, stream, data: Some(data.into()), at, end: None, reason: None };
                self.session.request(Request::Append(append)).expect("room");
            }
        }
    }

    /// What was on the line is lost.
    fn line_over(&mut self) {
        self.up.clear();
        self.down.clear();
        if self.second.as_ref().is_none_or(|second| !second.up.is_empty()) {
            self.server.line_lost();
        }
        (self.accepted, self.replaced) = (false, false);
    }

    /// What is said on the second line may arrive all the same.
    fn second_over(&mut self) {
        let Some(mut second) = self.second.take() else { return };
        self.astray = second.up.pop_front().map(|connect| (self.now, connect));
    }

    /// The server gives the session to another line; says what it answers there.
    fn taken_up(&mut self, connect: &[u8]) -> Vec<Message> {
        self.server.line_lost();
        self.replaced |= std::mem::take(&mut self.accepted);
        self.server.message(self.form, connect)
    }

    fn second_at_server(&mut self) {
        if let Some(connect) = self.second.as_mut().and_then(|second| second.up.pop_front()) {
            let replies = self.taken_up(&connect);
            let mut bytes = Vec::new();
            replies.iter().for_each(|reply| self.form.push_message(reply, &mut bytes));
            self.second.as_mut().unwrap().down.push_back(bytes);
        }
    }

    fn second_at_client(&mut self) {
        if let Some(message) = self.second.as_mut().and_then(|second| second.down.pop_front()) {
            assert!(self.session.climber_message(self.now, &message), "it is accepted");
            let second = self.second.take().unwrap();
            (self.up, self.down) = (second.up, second.down);
            (self.accepted, self.replaced) = (true, false);
            self.climbed += 1;
        }
        self.settle();
    }

    fn at_server(&mut self) {
        if self.replaced {
            self.up.clear();
        }
        if let Some(message) = self.up.pop_front() {
            self.accepted |= self.form.commands(&message).any(|command| matches!(command.unwrap().action, Action::Connect(_)));
            let replies = self.server.message(self.form, &message);
            self.send_down(&replies);
        }
    }

    fn at_client(&mut self) {
        if let Some(message) = self.down.pop_front() {
            self.session.line_message(self.now, &message);
        } else if std::mem::take(&mut self.replaced) {
            self.up.clear();
            self.session.line_lost(self.now, Some(3500));
        }
        self.settle();
    }

    /// One message of the line for two of the protocol's.
    fn send_down(&mut self, messages: &[Message]) {
        for pair in messages.chunks(2) {
            let mut bytes = Vec::new();
            pair.iter().for_each(|message| self.form.push_message(message, &mut bytes));
            self.down.push_back(bytes);
        }
    }

    /// Does all that the session wants.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.output(output);
            }
            self.session.check();
            for (id, channel) in self.ids.iter().zip(CHANNELS) {
                assert_eq!(self.seen[channel].offset, self.session.position(*id).map(|position| position.offset));
            }
            while let Some(climber) = self.session.poll_climber() {
                match climber {
                    Climber::Open(_) => {
                        let connect = self.session.climber_opened(self.form).expect("something to say");
                        self.second = Some(Second { up: VecDeque::from([connect]), down: VecDeque::new() });
                    }
                    Climber::Close => self.second_over(),
                }
            }
            if std::mem::take(&mut self.opening) {
                if self.transports > 1 && self.session.transport() == Transport::WebSocket {
                    self.session.line_lost(self.now, None);
                    continue;
                }
                self.session.line_opened(self.now, self.form);
            }
            match self.session.transmit(self.now) {
                Some(bytes) => self.up.push_back(bytes),
                None => return,
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Open => self.opening = true,
            Output::Close(code) => {
                assert_ne!(code, 1002, "the server keeps the protocol");
                self.line_over();
            }
            Output::Event(id, event) => self.event(id, event),
            Output::Answer(id, answer) => {
                let answer = answer.expect("nothing fails");
                if let Reply::Published { position, .. } = answer {
                    match self.own.iter_mut().find(|(own, ..)| *own == id) {
                        Some(own) => own.2 = position,
                        None => {
                            let own = self.streams.values_mut().find(|own| own.begun == Some(id)).unwrap();
                            own.stream = position.map(|position| position.offset);
                        }
                    }
                }
            }
            Output::State(State::Stopped(why)) => panic!("stopped: {why:?}"),
            Output::State(_) => {}
            Output::Token | Output::Cancel { .. } => panic!("{output:?}"),
        }
    }

    fn event(&mut self, id: SubscriptionId, event: Event) {
        let channel = self.ids.iter().position(|own| *own == id).expect("no event of an ended subscription");
        let seen = self.seen.get_mut(CHANNELS[channel]).unwrap();
        match event {
            Event::Subscribed(now) => {
                assert_eq!(seen.offset, None, "it has begun already");
                seen.missed.extend(seen.left.take().map(|left| (left, now.position.offset)));
                seen.offset = Some(now.position.offset);
            }
            Event::Recovered(now) => assert!(now.position.offset <= seen.offset.unwrap()),
            Event::Missed(_, now) => {
                self.missed += 1;
                seen.has_all = false;
                seen.missed.push((seen.offset.unwrap(), now.position.offset));
                seen.offset = Some(now.position.offset);
            }
            Event::Publication(publication) => {
                assert!(publication.offset > seen.offset.unwrap(), "{publication:?} is behind {:?}", seen.offset);
                seen.offset = Some(publication.offset);
                let mut text = String::from_utf8(publication.data.as_ref().map_or(Vec::new(), text_of)).unwrap();
                match key_of(&publication) {
                    Some((key, true)) => {
                        seen.keys.remove(key);
                        text = format!("removal at {}", publication.offset);
                    }
                    Some((key, false)) => drop(seen.keys.insert(key.to_owned(), publication.offset)),
                    None => {}
                }
                match stream_of(&publication) {
                    Some(stream) => drop(seen.streams.insert(stream.began, text)),
                    None => seen.publications.push((publication.offset, text)),
                }
            }
            Event::Append(piece) => {
                assert!(piece.offset > seen.offset.unwrap(), "{piece:?} is behind {:?}", seen.offset);
                seen.offset = Some(piece.offset);
                let missed = seen.missed.iter().any(|(_, until)| piece.stream <= *until);
                let text = seen.streams.entry(piece.stream).or_default();
                assert!(missed || text.len() as u64 == piece.at, "a hole in a stream");
                text.push_str(piece.data.as_deref().unwrap_or_default());
            }
            Event::State { entries, first, done } => {
                if first {
                    seen.keys.clear();
                }
                seen.keys.extend(entries.iter().map(|entry| (key_of(entry).unwrap().0.to_owned(), entry.offset)));
                seen.has_all = done;
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The network is good from now on, until everything has arrived.
    fn quiet(&mut self) {
        self.ids.clone().into_iter().for_each(|id| self.session.take_up(id));
        self.settle();
        for _ in 0..100_000 {
            if self.up.is_empty() && self.down.is_empty() && self.second.is_none() && !self.replaced {
                if self.session.is_connected() && !self.session.awaits_answers() {
                    return;
                }
                self.now = self.now.max(self.session.timeout().expect("something to wait for"));
                self.session.time(self.now);
                self.settle();
            }
            self.at_server();
            self.at_client();
            self.second_at_server();
            self.second_at_client();
        }
        panic!("it never becomes quiet");
    }

    fn check(&self) {
        let keys = self.server.channels.get(KEYED).map(|channel| channel.keys.iter());
        let keys: BTreeMap<_, _> = keys.into_iter().flatten().map(|(key, entry)| (key.to_string(), entry.offset)).collect();
        assert!(self.seen[KEYED].has_all);
        assert_eq!(self.seen[KEYED].keys, keys, "the keys are as they are");
        for (name, seen) in &self.seen {
            let Some(channel) = self.server.channels.get(name) else { continue };
            assert_eq!(seen.offset, Some(channel.head), "{name} is at its end");
            let missing = |offset: u64| seen.missed.iter().any(|(after, until)| offset > *after && offset <= *until);
            for entry in &channel.log {
                let text = String::from_utf8(entry.data.as_ref().map_or(Vec::new(), text_of)).unwrap();
                if let Some(stream) = stream_of(entry) {
                    if seen.missed.is_empty() {
                        assert_eq!(seen.streams.get(&stream.began), Some(&text), "stream {} of {name}", stream.began);
                    }
                } else if !missing(entry.offset) {
                    let times = seen.publications.iter().filter(|(offset, _)| *offset == entry.offset).count();
                    assert_eq!(times, 1, "{} of {name}", entry.offset);
                }
            }
            let once: std::collections::BTreeSet<_> = seen.publications.iter().map(|(_, text)| text).collect();
            assert_eq!(once.len(), seen.publications.len(), "something in {name} came twice");
        }
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, text, position) in &self.own {
            let position = position.unwrap_or_else(|| panic!("{text} was not answered"));
            let holds = |channel: &&Channel| {
                position.offset <= channel.kept_after
                    || channel.log.iter().any(|entry| {
                        entry.offset == position.offset && entry.data.as_ref().map(text_of) == Some(text.as_bytes().to_vec())
                    })
            };
            assert!(self.server.channels.values().any(|channel| holds(&channel)), "{text} is nowhere");
        }
        // In the order in which they were asked for.
        for (name, channel) in &self.server.channels {
            for entry in &channel.log {
                let Some(asked) =
                    self.own.iter().position(|(_, text, _)| entry.data.as_ref().map(text_of) == Some(text.as_bytes().to_vec()))
                else {
                    continue;
                };
                let before = last.insert(name, asked as u64 + 1).unwrap_or(0);
                assert!(asked as u64 + 1 > before, "{name}: order");
            }
        }
        for (channel, own) in &self.streams {
            let Some(stream) = own.stream else { panic!("a stream was not begun") };
            let log = &self.server.channels[CHANNELS[*channel]].log;
            let entry = log.iter().find(|entry| stream_of(entry).is_some_and(|of| of.began == stream));
            assert_eq!(entry.and_then(|entry| entry.data.as_ref()).map_or(Vec::new(), text_of), own.text.as_bytes());
        }
    }
}

/// The key that it sets, or removes.
fn key_of(publication: &Publication) -> Option<(&str, bool)> {
    let rare = publication.rare.as_ref()?;
    Some((rare.key.as_deref()?, rare.removed))
}

fn follows(channel: &str) -> Subscribe {
    Subscribe { state: channel == KEYED, ..wants(channel) }
}

fn text_of(data: &Data) -> Vec<u8> {
    // The JSON form does not tell a text from other JSON.
    let bytes = data.as_bytes();
    match data {
        Data::Json(_) => serde_json::from_slice::<String>(bytes).map_or_else(|_| bytes.to_vec(), String::into_bytes),
        _ => bytes.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(steps in prop::collection::vec(step(false), 1..400), seed: u64, binary: bool) {
        let mut world = World::new(if binary { Form::Binary } else { Form::Json }, seed);
        steps.into_iter().for_each(|step| world.step(step));
        world.quiet();
        world.check();
        prop_assert_eq!(world.missed, 0);
    }

    #[test]
    fn nothing_is_lost_on_the_way_to_a_better_transport(
        steps in prop::collection::vec(step(false), 1..400), seed: u64, binary: bool
    ) {
        let transports = [Transport::WebSocket, Transport::Stream];
        let mut world = World::over(if binary { Form::Binary } else { Form::Json }, seed, &transports);
        steps.into_iter().for_each(|step| world.step(step));
        world.quiet();
        world.check();
        prop_assert_eq!(world.missed, 0);
    }

    #[test]
    fn what_the_server_has_forgotten_is_said_to_be_missing(steps in prop::collection::vec(step(true), 1..400), seed: u64) {
        let mut world = World::new(Form::Json, seed);
        steps.into_iter().for_each(|step| world.step(step));
        world.quiet();
        world.check();
    }
}

/// The model has no end of streams to check, but the session must carry one.
#[test]
fn a_stream_is_ended_once() {
    let mut world = World::new(Form::Json, 1);
    world.step(Step::Stream(0));
    world.quiet();
    world.step(Step::Stream(0));
    let own = &world.streams[&0];
    let append = Append {
        channel: CHANNELS[0].into(),
        stream: own.stream.unwrap(),
        data: None,
        at: Some(own.text.len() as u64),
        end: Some(StreamEnd::Finished),
        reason: None,
    };
    world.session.request(Request::Append(append)).unwrap();
    world.settle();
    world.quiet();
    world.check();
    let stream = stream_of(&world.server.channels[CHANNELS[0]].log[0]).unwrap();
    assert_eq!(stream.end, Some(StreamEnd::Finished));
}
