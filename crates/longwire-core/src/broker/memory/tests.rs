//! The memory broker keeps the contract, and so does what a store gives back of it.

use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Append, History, Member, Position, Publish, SessionId, StreamEnd};

use super::*;
use crate::broker::contract::{self, Fixture};
use crate::broker::{Enter, Event, Ticket};
use crate::options::ChannelOptions;

struct Plain;

impl Fixture for Plain {
    fn broker(&mut self, namespaces: Arc<Namespaces>) -> Box<dyn Broker> {
        Box::new(MemoryBroker::new(namespaces, Limits::default(), Random::seeded(1)))
    }
}

#[test]
fn it_keeps_the_contract() {
    contract::check(&mut Plain);
    contract::check_timed(&mut Plain);
}

/// A broker that is thrown away after each request, and made anew from all that its store has.
struct Forgetful {
    namespaces: Arc<Namespaces>,
    broker: MemoryBroker,
    kept: Vec<Record>,
    /// What no store keeps: who follows what.
    follows: Vec<(Arc<str>, u16)>,
    seed: u64,
}

impl Forgetful {
    fn new(namespaces: Arc<Namespaces>) -> Self {
        let broker = Self::empty(&namespaces, 0);
        Self { namespaces, broker, kept: Vec::new(), follows: Vec::new(), seed: 0 }
    }

    fn empty(namespaces: &Arc<Namespaces>, seed: u64) -> MemoryBroker {
        let mut broker = MemoryBroker::new(namespaces.clone(), Limits::default(), Random::seeded(seed));
        broker.make_durable();
        broker
    }

    /// Restarts the server.
    fn forget(&mut self, now: Now) {
        self.kept.extend(self.broker.take_records());
        let events = std::mem::take(&mut self.broker.out.events);
        self.seed += 1;
        self.broker = Self::empty(&self.namespaces, self.seed);
        self.broker.restore(now, self.kept.iter().cloned());
        for (channel, shard) in &self.follows {
            let ticket = Ticket { shard: *shard, id: 0 };
            self.broker.submit(now, Request { channel: channel.clone(), ticket, ask: Ask::Follow });
        }
        self.broker.out.events.extend(events);
    }
}

impl Broker for Forgetful {
    fn submit(&mut self, now: Now, request: Request) {
        let shard = request.ticket.shard;
        match &request.ask {
            Ask::Follow | Ask::Enter(_) => self.follows.push((request.channel.clone(), shard)),
            Ask::Unfollow => self.follows.retain(|follow| *follow != (request.channel.clone(), shard)),
            _ => {}
        }
        let has_company = self.namespaces.of(&request.channel).is_some_and(|options| options.presence || options.streams);
        self.broker.submit(now, request);
        // Who is there, and who was asked to stop, lives as long as the server.
        if !has_company {
            self.forget(now);
        }
    }

    fn look_at_clock(&mut self, now: Now) {
        self.broker.look_at_clock(now);
    }

    fn due(&self) -> Option<u64> {
        self.broker.due()
    }

    fn poll(&mut self) -> Option<Event> {
        self.broker.poll()
    }
}

impl Fixture for Forgetful {
    fn broker(&mut self, namespaces: Arc<Namespaces>) -> Box<dyn Broker> {
        Box::new(Self::new(namespaces))
    }
}

#[test]
fn it_keeps_the_contract_though_it_is_restarted_all_the_time() {
    let mut fixture = Forgetful::new(Arc::default());
    contract::check(&mut fixture);
}

fn namespaces() -> Arc<Namespaces> {
    let base = ChannelOptions {
        history_size: 6,
        history_age: Duration::from_secs(100),
        state_keys: 3,
        streams: true,
        stream_lease: Duration::from_secs(20),
        once_window: Duration::from_secs(50),
        ..ChannelOptions::default()
    };
    let keys = ChannelOptions { history_size: 0, streams: false, ..base.clone() };
    Arc::new(Namespaces::new([("all".to_owned(), base), ("keys".to_owned(), keys)]).unwrap())
}

/// What can be asked of a channel without changing it.
fn answers(broker: &mut MemoryBroker, now: Now, channel: &str, epoch: Epoch) -> Vec<String> {
    let history =
        |after, before| Ask::History(Box::new(History { channel: channel.into(), after, epoch: None, before, limit: None }));
    let enter = |offset| {
        let since = Some(Position { epoch, offset });
        Ask::Enter(Enter { since, state: true, ..Enter::default() })
    };
    let mut asks =
        vec![history(None, None), history(Some(4), None), history(None, Some(9)), Ask::State { limit: 10, after: None }];
    asks.extend([0, 1, 3, 8, 15, 30].map(enter));
    asks.push(Ask::Enter(Enter { last: Some(3), ..Enter::default() }));
    let mut answers = Vec::new();
    for ask in asks {
        // Whoever is no shard does not follow.
        let ticket = Ticket { shard: u16::MAX, id: 1 };
        broker.submit(now, Request { channel: channel.into(), ticket, ask });
        while let Some(event) = broker.poll() {
            answers.push(format!("{event:?}"));
        }
    }
    answers
}

/// Whatever was done, a broker that begins with what the store was told answers as the one that told it, with the same epoch.
#[test]
fn a_broker_from_its_records_answers_as_the_one_that_wrote_them() {
    for seed in 0..60 {
        let mut random = Random::seeded(seed);
        let mut below = move |bound: u64| random.number() % bound;
        let namespaces = namespaces();
        let mut broker = Forgetful::empty(&namespaces, seed);
        let mut now = Now { steady: 5000, wall: 1_700_000_000_000 };
        let (mut kept, mut streams) = (Vec::new(), Vec::new());
        for step in 0..60 {
            let channel = if below(3) == 0 { "keys:a" } else { "all:a" };
            let from = Some(Arc::new(Member { session: SessionId([below(2) as u8; 12]), user: None, info: None }));
            let mut publish = Publish::new(channel, format!("text {step}"));
            let ask = match below(10) {
                0..3 => Ask::Publish { publish: Box::new(publish), from },
                3 => {
                    publish.once = Some(format!("once {}", below(5)).into());
                    Ask::Publish { publish: Box::new(publish), from }
                }
                4..6 => {
                    publish.key = Some(format!("key {}", below(4)).into());
                    (publish.remove, publish.data) = if below(3) == 0 { (true, None) } else { (false, publish.data) };
                    Ask::Publish { publish: Box::new(publish), from }
                }
                6 => {
                    publish.stream = true;
                    Ask::Publish { publish: Box::new(Publish { channel: "all:a".into(), ..publish }), from }
                }
                7..9 => {
                    let Some(stream) = streams.get(below(streams.len().max(1) as u64) as usize).copied() else { continue };
                    let end = (below(4) == 0).then_some(StreamEnd::Finished);
                    let append =
                        Append { channel: "all:a".into(), stream, data: Some("more ".into()), at: None, end, reason: None };
                    Ask::Append { append: Box::new(append), producer: None }
                }
                _ => {
                    let millis = below(30_000);
                    (now.steady, now.wall) = (now.steady + millis, now.wall + millis);
                    broker.look_at_clock(now);
                    continue;
                }
            };
            let begins = matches!(&ask, Ask::Publish { publish, .. } if publish.stream);
            let channel: Arc<str> = if begins || matches!(ask, Ask::Append { .. }) { "all:a".into() } else { channel.into() };
            broker.submit(now, Request { channel, ticket: Ticket { shard: 0, id: 9 }, ask });
            while let Some(event) = broker.poll() {
                if let (true, Event::Answer(_, Ok(Answer::Published { position: Some(position), .. }))) = (begins, event) {
                    streams.push(position.offset);
                }
            }
            kept.extend(broker.take_records());
            let mut again = Forgetful::empty(&namespaces, seed + 1000);
            again.restore(now, kept.iter().cloned());
            for channel in ["all:a", "keys:a"] {
                let Some(epoch) = kept.iter().find_map(|record| match record {
                    Record::Epoch { channel: of, epoch, .. } if **of == *channel => Some(*epoch),
                    _ => None,
                }) else {
                    continue;
                };
                let answers = (answers(&mut broker, now, channel, epoch), answers(&mut again, now, channel, epoch));
                assert_eq!(answers.0, answers.1, "seed {seed}, step {step}, {channel}");
            }
            kept.extend(broker.take_records());
        }
    }
}

#[test]
fn a_channel_that_is_forgotten_keeps_its_company_and_its_store() {
    let mut broker = Forgetful::empty(&namespaces(), 1);
    let now = Now { steady: 5, wall: 5 };
    let channel: Arc<str> = "all:a".into();
    let request = |ask| Request { channel: channel.clone(), ticket: Ticket { shard: 3, id: 1 }, ask };
    broker.submit(now, request(Ask::Follow));
    broker.submit(now, request(Ask::Publish { publish: Box::new(Publish::new("all:a", "kept")), from: None }));
    let kept = broker.take_records();
    broker.submit(now, request(Ask::Publish { publish: Box::new(Publish::new("all:a", "not on disk")), from: None }));
    broker.take_records();
    broker.forget("all:a");
    broker.restore(now, kept);
    assert!(broker.take_records().is_empty(), "what the store has is right");
    assert_eq!(broker.followers("all:a"), 1 << 3);
    while broker.poll().is_some() {}
    broker.submit(
        now,
        request(Ask::History(Box::new(History {
            channel: channel.clone(),
            after: None,
            epoch: None,
            before: None,
            limit: None,
        }))),
    );
    assert!(matches!(broker.poll(), Some(Event::Answer(_, Ok(Answer::History { head, publications, .. })))
        if head.offset == 1 && publications.len() == 1));
}

fn publish_as(broker: &mut MemoryBroker, now: Now, from: Option<u8>, publish: Publish) -> Result<(), ErrorCode> {
    while broker.poll().is_some() {}
    let from = from.map(|from| Arc::new(Member { session: SessionId([from; 12]), user: None, info: None }));
    let channel = publish.channel.clone();
    let ask = Ask::Publish { publish: Box::new(publish), from };
    broker.submit(now, Request { channel, ticket: Ticket::default(), ask });
    match broker.poll() {
        Some(Event::Answer(_, answer)) => answer.map(drop).map_err(|failure| failure.code),
        other => panic!("{other:?}"),
    }
}

fn history_of(broker: &mut MemoryBroker, now: Now, channel: &str) -> usize {
    while broker.poll().is_some() {}
    let history = History { channel: channel.into(), after: None, epoch: None, before: None, limit: None };
    let ask = Ask::History(Box::new(history));
    broker.submit(now, Request { channel: channel.into(), ticket: Ticket::default(), ask });
    match broker.poll() {
        Some(Event::Answer(_, Ok(Answer::History { publications, .. }))) => publications.len(),
        other => panic!("{other:?}"),
    }
}

/// A broker whose node may keep two megabytes.
fn small() -> (Arc<Budget>, MemoryBroker) {
    let base = ChannelOptions { history_size: 100, once_keys: 1_000_000, ..ChannelOptions::default() };
    let state = ChannelOptions { history_size: 0, state_keys: 1_000_000, ..base.clone() };
    let plain = ChannelOptions { history_size: 0, presence: true, ..base.clone() };
    let names = [("log", base), ("state", state), ("plain", plain)].map(|(name, options)| (name.to_owned(), options));
    let budget = Budget::new(2 << 20);
    let mut broker = MemoryBroker::new(Arc::new(Namespaces::new(names).unwrap()), Limits::default(), Random::seeded(1));
    broker.count_in(budget.clone(), 1);
    (budget, broker)
}

/// Everything that somebody can have kept: each kind fills its share, and then it is refused; nobody else is, and nobody is emptied.
#[test]
fn who_has_much_kept_is_refused_at_the_bound_and_nobody_else() {
    type Kind = fn(usize) -> Publish;
    let kinds: [Kind; 5] = [
        |n| Publish::new(format!("log:{}", n / 50), "x".repeat(1000)),
        |n| Publish::new(format!("log:{n}"), "x"),
        |n| Publish { key: Some(format!("{n}").into()), ..Publish::new("state:a", "x".repeat(100)) },
        |n| Publish { once: Some(format!("{n}").into()), ..Publish::new("plain:a", "x") },
        |n| Publish { once: Some("1".into()), ..Publish::new(format!("plain:{n}"), "x") },
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let (budget, mut broker) = small();
        let now = Now { steady: 5, wall: 5 };
        for n in 0..20 {
            assert_eq!(publish_as(&mut broker, now, Some(1), Publish::new("log:victim", format!("{n}"))), Ok(()));
        }
        let made = (0..100_000).find(|n| publish_as(&mut broker, now, Some(2), kind(*n)) == Err(ErrorCode::MemoryFull));
        assert!(made.is_some_and(|made| made > 100), "kind {number}: {made:?}");
        let used = broker.kept_bytes();
        assert!((budget.bound() / 6..budget.bound() / 4).contains(&used), "kind {number}: {used} bytes are a fifth");
        // A hundred of them come after each other, as new sessions of one client do.
        for other in 10..110 {
            let mut next = usize::from(other) << 20..;
            while publish_as(&mut broker, now, Some(other), kind(next.next().unwrap_or(0))).is_ok() {}
            assert!(broker.kept_bytes() <= budget.bound(), "kind {number}");
        }
        assert_eq!(history_of(&mut broker, now, "log:victim"), 20, "kind {number}: nobody is emptied");
    }
}

#[test]
fn at_the_bound_what_does_not_grow_goes_on() {
    let (_, mut broker) = small();
    let now = Now { steady: 5, wall: 5 };
    let publish = |text: usize| Publish::new("log:full", "x".repeat(text));
    let key = |key: &str| Publish { key: Some(key.into()), ..Publish::new("state:a", "x".repeat(100)) };
    for _ in 0..100 {
        assert_eq!(publish_as(&mut broker, now, None, publish(500)), Ok(()));
    }
    assert_eq!(publish_as(&mut broker, now, None, key("a")), Ok(()));
    let once = Publish { once: Some("known".into()), ..publish(100) };
    assert_eq!(publish_as(&mut broker, now, None, once.clone()), Ok(()));
    let mut more = (0..).map(|n| Publish::new(format!("log:{n}"), "x".repeat(20)));
    while more.next().is_some_and(|publish| publish_as(&mut broker, now, None, publish).is_ok()) {}
    let full = Err(ErrorCode::MemoryFull);
    assert_eq!(publish_as(&mut broker, now, None, key("b")), full);
    assert_eq!(publish_as(&mut broker, now, Some(1), publish(5000)), full, "larger than the oldest, which would go");
    assert_eq!(publish_as(&mut broker, now, None, publish(500)), Ok(()), "as large as that");
    assert_eq!(publish_as(&mut broker, now, None, key("a")), Ok(()), "a value instead of another");
    assert_eq!(publish_as(&mut broker, now, None, once), Ok(()), "a repetition");
    assert_eq!(
        publish_as(&mut broker, now, Some(1), Publish::new("plain:a", "x".repeat(5000))),
        Ok(()),
        "nothing of it is kept"
    );
    let remove = Publish { remove: true, data: None, ..key("a") };
    assert_eq!(publish_as(&mut broker, now, None, remove), Ok(()));
}

/// What was counted when it came is taken off when it goes.
#[test]
fn when_nothing_is_kept_nothing_is_counted() {
    for seed in 0..30 {
        let mut random = Random::seeded(seed);
        let mut below = move |bound: u64| random.number() % bound;
        let mut broker = Forgetful::empty(&namespaces(), seed);
        let mut now = Now { steady: 5000, wall: 1_700_000_000_000 };
        let mut kept = Vec::new();
        for step in 0..200 {
            let name = ["all:a", "keys:a", "all:b"][below(3) as usize];
            let mut publish = Publish::new(name, "x".repeat(below(300) as usize));
            match below(6) {
                0 => publish.key = Some(format!("{}", below(5)).into()),
                1 => publish.once = Some(format!("{step}").into()),
                2 => publish.stream = true,
                3 => {
                    let data = Some("more ".into());
                    let (stream, end) = (below(40), (below(3) == 0).then_some(StreamEnd::Finished));
                    let append = Append { channel: name.into(), stream, data, at: None, end, reason: None };
                    let ask = Ask::Append { append: Box::new(append), producer: None };
                    broker.submit(now, Request { channel: name.into(), ticket: Ticket::default(), ask });
                }
                4 => publish.tags = Some(Box::new([("a".into(), "b".into())].into())),
                _ => {
                    let millis = below(30_000);
                    (now.steady, now.wall) = (now.steady + millis, now.wall + millis);
                    broker.look_at_clock(now);
                }
            }
            let _ = publish_as(&mut broker, now, (below(3) > 0).then_some(below(4) as u8), publish);
            kept.extend(broker.take_records());
            if below(40) == 0 {
                broker.forget(name);
                broker.restore(now, kept.iter().filter(|record| **record.channel() == *name).cloned());
                kept.extend(broker.take_records());
            }
        }
        assert!(broker.kept_bytes() > 0);
        for name in ["all:a", "keys:a", "all:b"] {
            for key in 0..5 {
                let remove = Publish { key: Some(format!("{key}").into()), remove: true, data: None, ..Publish::new(name, "") };
                let _ = publish_as(&mut broker, now, None, remove);
            }
        }
        for _ in 0..5 {
            now.steady += 1 << 32;
            broker.look_at_clock(now);
        }
        assert_eq!(broker.channels().count(), 0, "seed {seed}");
        assert!(broker.out.kept.is_empty(), "seed {seed}: {} bytes are left", broker.kept_bytes());
    }
}

#[test]
fn after_a_restart_without_a_store_it_is_not_known_what_was_published_before_where_nothing_says_so() {
    let options = |size| ChannelOptions { history_size: size, ..ChannelOptions::default() };
    let namespaces = Arc::new(Namespaces::new([("plain".into(), options(0)), ("log".into(), options(5))]).unwrap());
    let published = |broker: &mut MemoryBroker, channel: &str, age| {
        let publish = Publish { once: Some(format!("{age}").into()), age, ..Publish::new(channel, "x") };
        let ask = Ask::Publish { publish: Box::new(publish), from: None };
        let now = Now { steady: 10_000, wall: 1_700_000_000_000 };
        broker.submit(now, Request { channel: channel.into(), ticket: Ticket::default(), ask });
        match broker.poll() {
            Some(Event::Answer(_, answer)) => answer.map(drop).map_err(|failure| failure.code),
            other => panic!("{other:?}"),
        }
    };
    let unknown = Err(ErrorCode::MaybePublished);
    let mut broker = MemoryBroker::new(namespaces.clone(), Limits::default(), Random::seeded(1));
    broker.starts(Now { steady: 4000, wall: 0 });
    assert_eq!(published(&mut broker, "plain:a", 6000), unknown);
    assert_eq!(published(&mut broker, "plain:a", 5999), Ok(()));
    // There is a new numbering, and whoever knew the one before is told.
    assert_eq!(published(&mut broker, "log:a", 6000), Ok(()));
    broker.make_durable();
    assert_eq!(published(&mut broker, "plain:b", 6000), Ok(()), "the store would know");
}

#[test]
fn what_had_to_be_forgotten_for_want_of_room_is_not_published_again() {
    for most in [0, 2] {
        let options = ChannelOptions { once_keys: most, once_window: Duration::from_secs(60), ..ChannelOptions::default() };
        let namespaces = Arc::new(Namespaces::new([("plain".to_owned(), options)]).unwrap());
        let mut broker = MemoryBroker::new(namespaces, Limits::default(), Random::seeded(1));
        let mut say = |steady: u64, key: &str, age| {
            let publish = Publish { once: Some(key.into()), age, ..Publish::new("plain:a", "x") };
            let ask = Ask::Publish { publish: Box::new(publish), from: None };
            let now = Now { steady: 100_000 + steady, wall: 1_700_000_000_000 };
            broker.look_at_clock(now);
            broker.submit(now, Request { channel: "plain:a".into(), ticket: Ticket::default(), ask });
            match broker.poll() {
                Some(Event::Answer(_, answer)) => answer.map(drop).map_err(|failure| failure.code),
                other => panic!("{other:?}"),
            }
        };
        for at in 0..=most as u64 {
            assert_eq!(say(at, &format!("first {at}"), 0), Ok(()));
        }
        let now = most as u64 + 10;
        assert_eq!(say(now, "first 0", now), Err(ErrorCode::MaybePublished), "at most {most}");
        assert_eq!(say(now, "another", now - 1), Ok(()), "at most {most}");
        // When its window is over, the channel does not even know that it has forgotten something.
        assert_eq!(say(now + 70_000, "late", 59_999), Ok(()), "at most {most}");
    }
}

/// Whatever somebody who only looks can ask.
fn looks(channel: &str) -> Vec<Ask> {
    let since = Position { epoch: Epoch(1), offset: 5 };
    let history = History { channel: channel.into(), after: Some(3), epoch: None, before: None, limit: None };
    let append = Append { channel: channel.into(), stream: 1, data: Some("x".into()), at: None, end: None, reason: None };
    vec![
        Ask::History(Box::new(history)),
        Ask::State { limit: 10, after: None },
        Ask::Presence { limit: 10, after: None },
        Ask::Page { since },
        Ask::Latest { since },
        Ask::Cancel { stream: 1 },
        Ask::Append { append: Box::new(append), producer: None },
        Ask::Unfollow,
        Ask::Leave { session: SessionId::new(0, [1; 10]) },
        Ask::Publish { publish: Box::new(Publish { ephemeral: true, ..Publish::new(channel, "x") }), from: None },
    ]
}

fn head_of(broker: &mut MemoryBroker, now: Now, channel: &str) -> Position {
    while broker.poll().is_some() {}
    let ask = looks(channel).swap_remove(0);
    broker.submit(now, Request { channel: channel.into(), ticket: Ticket { shard: 0, id: 1 }, ask });
    match broker.poll() {
        Some(Event::Answer(_, Ok(Answer::History { head, .. }))) => head,
        other => panic!("{other:?}"),
    }
}

#[test]
fn looking_at_channels_makes_none() {
    let mut broker = Forgetful::empty(&namespaces(), 1);
    let now = Now { steady: 5, wall: 5 };
    for number in 0..1000 {
        let name = format!("{}:{number}", ["all", "keys"][number % 2]);
        for ask in looks(&name) {
            broker.submit(now, Request { channel: name.as_str().into(), ticket: Ticket { shard: 3, id: 1 }, ask });
        }
    }
    assert_eq!(broker.channels().count(), 0);
    assert_eq!(broker.due(), None);
    assert!(broker.take_records().is_empty(), "nothing for the disk");
}

#[test]
fn who_has_looked_at_a_channel_before_it_was_there_misses_nothing() {
    let mut broker = Forgetful::empty(&namespaces(), 1);
    let now = Now { steady: 5, wall: 5 };
    let seen = head_of(&mut broker, now, "all:a");
    for round in 1..=3 {
        let publish = Publish::new("all:a", format!("{round}"));
        let ask = Ask::Publish { publish: Box::new(publish), from: None };
        broker.submit(now, Request { channel: "all:a".into(), ticket: Ticket::default(), ask });
        assert_eq!(head_of(&mut broker, now, "all:a"), Position { offset: round, ..seen });
    }
    // When it is forgotten, its numbers are not given out again.
    let late = Now { steady: 1 << 40, wall: 1 << 40 };
    broker.look_at_clock(late);
    broker.look_at_clock(Now { steady: 1 << 41, ..late });
    assert_eq!(broker.channels().count(), 0);
    assert_ne!(head_of(&mut broker, late, "all:a").epoch, seen.epoch);
}

#[test]
fn a_channel_that_was_only_subscribed_to_goes_with_its_last_subscriber_and_is_the_same_when_it_is_back() {
    let mut broker = Forgetful::empty(&namespaces(), 1);
    let now = Now { steady: 5, wall: 5 };
    let enter = |shard| Request {
        channel: "all:a".into(),
        ticket: Ticket { shard, id: 1 },
        ask: Ask::Enter(Enter { member: None, ..Enter::default() }),
    };
    let unfollow = |shard| Request { channel: "all:a".into(), ticket: Ticket { shard, id: 0 }, ask: Ask::Unfollow };
    let entered = |broker: &mut MemoryBroker, now, shard| {
        broker.submit(now, enter(shard));
        match broker.poll() {
            Some(Event::Answer(_, Ok(Answer::Entered(entered)))) => entered.position,
            other => panic!("{other:?}"),
        }
    };
    let first = entered(&mut broker, now, 1);
    assert_eq!(entered(&mut broker, now, 2), first);
    broker.submit(now, unfollow(1));
    assert_eq!(broker.channels().count(), 1);
    let mut kept = broker.take_records();
    broker.submit(now, unfollow(2));
    assert_eq!((broker.channels().count(), broker.due()), (0, None));
    assert!(matches!(broker.take_records()[..], [Record::Gone { .. }]), "no row on disk is left");
    assert_eq!(entered(&mut broker, now, 1), first);
    // Those who were there when the server was killed have a minute to come back.
    let mut again = Forgetful::empty(&namespaces(), 2);
    again.restore(now, kept.drain(..));
    let later = Now { steady: now.steady + 50_000, ..now };
    again.look_at_clock(later);
    assert_eq!(entered(&mut again, later, 1), first);
    again.submit(later, unfollow(1));
    again.look_at_clock(Now { steady: later.steady + 61_000, ..later });
    assert_eq!(again.channels().count(), 0);
}

#[test]
fn a_channel_of_which_only_the_numbering_is_left_gives_its_place_to_a_new_one() {
    let namespaces = namespaces();
    let mut broker = MemoryBroker::new(namespaces, Limits { channels: 3, ..Limits::default() }, Random::seeded(1));
    let publish = |broker: &mut MemoryBroker, steady: u64, name: &str| {
        let now = Now { steady, wall: steady };
        broker.look_at_clock(now);
        while broker.poll().is_some() {}
        let ask = Ask::Publish { publish: Box::new(Publish::new(name, "x")), from: None };
        broker.submit(now, Request { channel: name.into(), ticket: Ticket::default(), ask });
        match broker.poll() {
            Some(Event::Answer(_, answer)) => answer.map(drop).map_err(|failure| failure.code),
            other => panic!("{other:?}"),
        }
    };
    for (at, name) in ["all:a", "all:b", "all:c"].into_iter().enumerate() {
        assert_eq!(publish(&mut broker, at as u64, name), Ok(()));
    }
    assert_eq!(publish(&mut broker, 10, "all:d"), Err(ErrorCode::TooManyChannels), "nobody's history goes for it");
    // A hundred seconds later their histories are too old.
    assert_eq!(publish(&mut broker, 110_000, "all:b"), Ok(()));
    assert_eq!(publish(&mut broker, 110_001, "all:d"), Ok(()));
    assert_eq!(publish(&mut broker, 110_002, "all:e"), Ok(()));
    assert_eq!(publish(&mut broker, 110_003, "all:f"), Err(ErrorCode::TooManyChannels));
    let mut names: Vec<&str> = broker.channels().map(|name| &**name).collect();
    names.sort_unstable();
    assert_eq!(names, ["all:b", "all:d", "all:e"]);
}
