//! What lines are dealt, against plain sets.

use std::collections::{BTreeMap, BTreeSet};

use longwire_protocol::{Data, Epoch, Publication};

use super::*;
use crate::random::Random;

/// How a line reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Shared(bool),
    Own(u32),
    /// Nothing concerns it.
    Deaf(u32),
}

/// Counts its calls.
#[derive(Default)]
struct Names {
    encoded: usize,
    dealt: usize,
    /// Who was refused, and is how far.
    refused: Vec<(Way, Option<u64>)>,
}

impl Encoder for Names {
    type Encoding = Way;

    fn encode(&mut self, way: Way, delivery: &Delivery, out: &mut Vec<u8>) {
        self.encoded += 1;
        if !matches!(way, Way::Deaf(_)) {
            out.extend_from_slice(text(way, delivery).as_bytes());
        }
    }

    fn is_shared(way: Way) -> bool {
        matches!(way, Way::Shared(_))
    }

    fn refused(&mut self, way: Way, _: &str, since: Option<Position>) {
        self.refused.push((way, since.map(|since| since.offset)));
    }

    fn dealt(&mut self) {
        self.dealt += 1;
    }
}

fn text(way: Way, delivery: &Delivery) -> String {
    let What::Publication(publication) = &delivery.what else { return String::new() };
    let data = publication.data.as_ref().map_or("", |data| str::from_utf8(data.as_bytes()).expect("a text"));
    format!("{} {way:?} {} {data}\n", delivery.channel, publication.offset)
}

fn delivery(channel: &str, offset: u64, data: Data) -> Delivery {
    let channel: Arc<str> = channel.into();
    let publication = Publication { channel: channel.clone(), offset, time: 0, data: Some(data), from: None, rare: None };
    let position = Some(Position { epoch: Epoch(1), offset });
    Delivery { channel, position, what: What::Publication(Arc::new(publication)), except: None }
}

fn way(line: u32) -> Way {
    match line % 4 {
        0 => Way::Shared(line.is_multiple_of(8)),
        1 => Way::Deaf(line),
        _ => Way::Own(line),
    }
}

/// Lines, each with how many of what was not dealt are not for it, and what was not dealt, by channel.
#[derive(Default)]
struct Model(BTreeMap<String, (BTreeMap<u32, usize>, Vec<Delivery>)>);

/// Lines without room.
const FULL: [u32; 2] = [7, 8];

impl Model {
    /// Deals, of one channel or all, and compares.
    fn deal(&mut self, hub: &mut Hub<Names>, only: Option<&str>) {
        let mut got = BTreeMap::new();
        let to = |line, share: &Share<'_>| {
            let text = str::from_utf8(share.bytes).expect("a text").to_string();
            let channel = text.split(' ').next().unwrap_or_default().to_string();
            assert_eq!(share.alone, self.0.values().filter(|(lines, _)| lines.contains_key(&line)).count() == 1);
            assert_eq!(got.insert((line, channel), text), None, "as one buffer");
            !FULL.contains(&line)
        };
        let refused = match only {
            Some(name) => hub.deal_one(name, to),
            None => hub.deal(to),
        };
        let mut want = BTreeMap::new();
        for (name, (lines, undealt)) in self.0.iter_mut().filter(|(name, _)| only.is_none_or(|only| only == **name)) {
            for (line, from) in lines {
                want.extend(wanted(*line, &undealt[*from..]).map(|text| ((*line, name.clone()), text)));
                *from = 0;
            }
            undealt.clear();
        }
        assert_eq!(got, want);
        let refused: BTreeSet<_> = refused.iter().map(|refused| (refused.line, refused.channel.to_string())).collect();
        assert_eq!(refused, want.into_keys().filter(|(line, _)| FULL.contains(line)).collect());
    }

    /// Deals what one line has not got, and compares.
    fn deal_to(&mut self, hub: &mut Hub<Names>, line: u32) {
        let mut got = BTreeSet::new();
        let refused = hub.deal_to(line, |share| {
            got.insert(str::from_utf8(share.bytes).expect("a text").to_string());
            !FULL.contains(&line)
        });
        let mut want = BTreeSet::new();
        for (lines, undealt) in self.0.values_mut() {
            if let Some(from) = lines.get_mut(&line) {
                want.extend(wanted(line, &undealt[*from..]));
                *from = undealt.len();
            }
        }
        assert_eq!(refused.len(), if FULL.contains(&line) { want.len() } else { 0 });
        assert_eq!(got, want);
    }
}

/// What a line is to get of these, if it is anything.
fn wanted(line: u32, deliveries: &[Delivery]) -> Option<String> {
    let is_heard = !deliveries.is_empty() && !matches!(way(line), Way::Deaf(_));
    is_heard.then(|| deliveries.iter().map(|delivery| text(way(line), delivery)).collect())
}

/// Against plain sets, over random subscriptions and their ends, with deliveries checked all along.
#[test]
fn everyone_subscribed_gets_each_publication_once() {
    let mut random = Random::seeded(3);
    let mut random = move |below: u64| (random.number() % below) as u32;
    let mut hub = Hub::new(Names::default());
    let mut model = Model::default();
    for step in 0..20_000 {
        let (line, name) = (random(20), format!("c{}", random(6)));
        match random(11) {
            0..=3 => {
                let new = hub.subscribe(line, way(line), &name);
                let (lines, undealt) = model.0.entry(name).or_default();
                assert_eq!(new, !lines.contains_key(&line));
                // A new one gets nothing of before.
                lines.entry(line).or_insert(undealt.len());
            }
            4..=5 => {
                let was = model.0.entry(name.clone()).or_default().0.remove(&line).is_some();
                assert_eq!(hub.is_subscribed(line, &name), was);
                assert_eq!(hub.unsubscribe(line, &name), was);
            }
            6 => {
                let mut left = BTreeSet::new();
                hub.leave(line, |name| assert!(left.insert(name.to_string())));
                for (name, (lines, _)) in &mut model.0 {
                    assert_eq!(lines.remove(&line).is_some(), left.contains(name));
                }
            }
            7..=8 => {
                let delivery = delivery(&name, step, "hello".into());
                let volatile = random(4) == 0;
                if hub.append(&delivery, volatile) == Appended::DealFirst {
                    model.deal(&mut hub, Some(&name));
                    assert_eq!(hub.append(&delivery, volatile), Appended::Yes);
                }
                model.0.entry(name).or_default().1.push(delivery);
            }
            9 => model.deal_to(&mut hub, line),
            _ => model.deal(&mut hub, Some(&*name).filter(|_| step.is_multiple_of(2))),
        }
        // What happens in a channel without subscribers is for nobody.
        model.0.retain(|_, (lines, _)| !lines.is_empty());
        assert_eq!(hub.names.len(), model.0.len(), "a channel without subscribers is forgotten");
    }
}

#[test]
fn lines_with_an_encoding_of_their_own_cost_no_more_than_their_number() {
    const LINES: u32 = 10_000;
    let mut hub = Hub::new(Names::default());
    for line in 0..LINES {
        assert!(hub.subscribe(line, Way::Own(line), "a"));
    }
    assert!(hub.subscribe(LINES, Way::Shared(true), "a") && hub.subscribe(LINES + 1, Way::Shared(true), "a"));
    let id = *hub.names.get("a").expect("a channel") as usize;
    let channel = |hub: &Hub<Names>| hub.channels[id].as_ref().map(|at| (at.encodings.len(), at.kept.is_some()));
    assert_eq!(channel(&hub), Some((1, true)), "there is no list to look through");
    let deliveries = [1, 2, 3].map(|offset| delivery("a", offset, "hello".into()));
    for delivery in &deliveries {
        hub.append(delivery, false);
    }
    assert_eq!(hub.encoder.encoded, 3, "those who share are encoded for at once, once");
    let mut got = 0;
    hub.deal(|line, share| {
        let way = if line < LINES { Way::Own(line) } else { Way::Shared(true) };
        assert_eq!(*share.bytes, deliveries.iter().map(|delivery| text(way, delivery)).collect::<String>());
        got += 1;
        true
    });
    assert_eq!((got, hub.encoder.encoded, hub.encoder.dealt), (LINES + 2, 3 + 3 * LINES as usize, 1));
    for line in 0..LINES {
        assert!(hub.unsubscribe(line, "a"));
    }
    hub.append(&deliveries[0], false);
    assert_eq!(channel(&hub), Some((1, false)), "nothing is kept for nobody");
}

#[test]
fn much_in_one_tick_comes_in_order_and_in_pieces_until_a_line_refuses() {
    let mut hub = Hub::new(Names::default());
    let ways = [Way::Shared(true), Way::Own(1), Way::Own(2), Way::Own(3), Way::Deaf(4)];
    for (line, way) in (0..).zip(ways) {
        hub.subscribe(line, way, "a");
    }
    hub.begin_at("a", Position { epoch: Epoch(1), offset: 0 });
    let deliveries: Vec<_> = (1..=10).map(|offset| delivery("a", offset, "x".repeat(60 << 10).as_str().into())).collect();
    let much: Vec<_> = deliveries.iter().map(|delivery| hub.append(delivery, false) == Appended::Much).collect();
    assert_eq!(much, [false, false, false, false, true, true, true, true, true, true]);
    let mut got = vec![Vec::new(); ways.len()];
    let refused = hub.deal(|line, share| {
        got[line as usize].push(share.bytes.clone());
        line < 2 || line == 2 && got[2].len() < 2
    });
    let texts = |way, deliveries: &[Delivery]| deliveries.iter().map(|delivery| text(way, delivery)).collect::<String>();
    assert_eq!(got[0], [texts(ways[0], &deliveries)]);
    assert_eq!(got[1], [0..5, 5..10].map(|piece| texts(ways[1], &deliveries[piece])));
    assert_eq!(got[2], [0..5, 5..10].map(|piece| texts(ways[2], &deliveries[piece])));
    assert_eq!(got[3], [texts(ways[3], &deliveries[..5])], "nothing after what it had no room for");
    assert_eq!(got[4].len(), 0);
    let refused: Vec<_> = refused.iter().map(|refused| (refused.line, refused.since.map(|since| since.offset))).collect();
    assert_eq!(refused, [(2, Some(5)), (3, Some(0))], "it has got what it took");
    assert_eq!(hub.append(&deliveries[0], false), Appended::Yes, "counted anew");
}

#[test]
fn a_line_without_room_before_what_is_for_it_alone_is_as_far_as_it_was() {
    let mut hub = Hub::new(Names::default());
    hub.subscribe(1, Way::Own(1), "a");
    hub.begin_at("a", Position { epoch: Epoch(1), offset: 4 });
    hub.append(&delivery("a", 5, "x".into()), false);
    let refused = hub.deal_to(1, |_| false);
    assert_eq!(refused.len(), 1);
    assert_eq!(hub.encoder.refused, [(Way::Own(1), Some(4))], "whoever keeps how far it is hears of it");
}
