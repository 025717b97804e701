//! What is counted against the budget is what is kept, about.

use std::sync::Arc;

use longwire_core::broker::memory::{Limits, MemoryBroker};
use longwire_core::broker::{Ask, Broker as _, Enter, Event, Now, Request, Ticket};
use longwire_core::{Budget, ChannelOptions, Namespaces, Random};
use longwire_protocol::{Append, Data, Member, Publish, SessionId};

use crate::support::heap::kept;

const COUNT: usize = 20_000;

fn broker() -> MemoryBroker {
    let history = ChannelOptions { history_size: 1_000_000, history_bytes: 1 << 40, ..ChannelOptions::default() };
    let all = [
        ("log", history.clone()),
        ("state", ChannelOptions { history_size: 0, state_keys: 1_000_000, ..history.clone() }),
        ("plain", ChannelOptions { history_size: 0, presence: true, once_keys: 1_000_000, ..history.clone() }),
        ("ai", ChannelOptions { streams: true, ..history }),
    ];
    let namespaces = Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options");
    let mut broker = MemoryBroker::new(Arc::new(namespaces), Limits::default(), Random::seeded(1));
    broker.count_in(Budget::new(1 << 40), 1);
    broker
}

fn submit(broker: &mut MemoryBroker, channel: &str, ask: Ask) {
    let now = Now { steady: 5, wall: 1_700_000_000_000 };
    broker.submit(now, Request { channel: channel.into(), ticket: Ticket { shard: 0, id: 1 }, ask });
    while let Some(event) = broker.poll() {
        assert!(!matches!(event, Event::Answer(_, Err(_))), "{event:?}");
    }
}

fn publish(broker: &mut MemoryBroker, publish: Publish) {
    submit(broker, &publish.channel.clone(), Ask::Publish { publish: Box::new(publish), from: None });
}

fn text(text: impl Into<String>) -> Data {
    // As it comes from a line: bytes of their own.
    Data::Text(text.into().into_bytes().into())
}

/// Each kind of thing that is kept, many times: what is counted is between what they take and twice that.
#[test]
fn what_is_counted_is_what_is_kept() {
    type Fill = fn(&mut MemoryBroker, usize);
    let kinds: [(&str, Fill); 9] = [
        ("channels with a publication", |broker, n| publish(broker, Publish::new(format!("log:{n}"), text("x")))),
        ("subscribed channels", |broker, n| submit(broker, &format!("log:{n}"), Ask::Enter(Enter::default()))),
        ("small publications", |broker, n| publish(broker, Publish::new(format!("log:{}", n / 1000), text("x")))),
        ("publications", |broker, n| publish(broker, Publish::new(format!("log:{}", n / 1000), text("x".repeat(700))))),
        ("publications with tags", |broker, n| {
            let tags = [("one".into(), "1".into()), ("two".into(), "2".into())];
            let tags = Some(Box::new(tags.into()));
            publish(broker, Publish { tags, ..Publish::new(format!("log:{}", n / 1000), text("x")) });
        }),
        ("keys", |broker, n| {
            publish(broker, Publish { key: Some(format!("{n}").into()), ..Publish::new("state:a", text("1")) });
        }),
        ("idempotency keys", |broker, n| {
            publish(broker, Publish { once: Some(format!("{n:032}").into()), ..Publish::new("plain:a", text("1")) });
        }),
        ("streams", |broker, n| {
            let channel: Arc<str> = format!("ai:{n}").into();
            publish(broker, Publish { stream: true, data: None, ..Publish::new(channel.clone(), "") });
            for _ in 0..4 {
                let data = Some("some more words ".into());
                let append = Append { channel: channel.clone(), stream: 1, data, at: None, end: None, reason: None };
                submit(broker, &channel, Ask::Append { append: Box::new(append), producer: None });
            }
        }),
        ("those who are there", |broker, n| {
            let mut id = [0; 12];
            id[..8].copy_from_slice(&n.to_le_bytes());
            let member = Arc::new(Member { session: SessionId(id), user: None, info: None });
            submit(broker, "plain:a", Ask::Enter(Enter { member: Some(member), ..Enter::default() }));
        }),
    ];
    let mut wrong = String::new();
    for (name, fill) in kinds {
        let mut broker = broker();
        let (_, bytes) = kept(|| (0..COUNT).for_each(|n| fill(&mut broker, n)));
        let (bytes, counted) = (bytes as f64 / COUNT as f64, broker.kept_bytes() as f64 / COUNT as f64);
        if !(0.9..2.2).contains(&(counted / bytes)) {
            wrong += &format!("\n{name}: {counted:.0} bytes counted each, {bytes:.0} kept");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
