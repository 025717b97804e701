//! The options of a namespace change from one run of the server to the next: whoever comes back has everything, or is told that it
//! has not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longwire_core::broker::{Answer, Ask, Broker, Enter, Now};
use longwire_core::{ChannelOptions, Namespaces, Random, Slow};
use longwire_protocol::{Append, Data, Position, Publication, Publish, StreamEnd};
use longwire_store::Store;

use crate::common::{Folder, Shard};

const CHANNEL: &str = "n:a";

/// What a namespace may be turned into.
fn options(pick: &mut impl FnMut(u64) -> u64) -> ChannelOptions {
    let history_size = [0, 0, 3, 1000][pick(4) as usize];
    let has_history = history_size > 0;
    ChannelOptions {
        history_size,
        history_age: Duration::from_secs([5, 3600][pick(2) as usize]),
        history_bytes: [70_000, 4 << 20][pick(2) as usize],
        resume: pick(8) > 0,
        state_keys: [0, 2, 100][pick(3) as usize],
        streams: has_history && pick(2) == 0,
        stream_bytes: 1000,
        stream_lease: Duration::from_secs(20),
        slow: if has_history && pick(3) == 0 { Slow::Latest } else { Slow::Close },
        once_window: Duration::from_secs([1, 300][pick(2) as usize]),
        ..ChannelOptions::default()
    }
}

fn shard(store: &Store, options: &ChannelOptions, now: Now, seed: u64) -> Shard {
    let namespaces = Namespaces::new([("n".to_owned(), options.clone())]).unwrap();
    Shard::restored_with(store, Arc::new(namespaces), now, seed)
}

fn text(publication: &Publication) -> String {
    publication.data.as_ref().map(|data| String::from_utf8_lossy(data.as_bytes()).into_owned()).unwrap_or_default()
}

/// Somebody who follows the channel, and is sometimes away.
struct Client {
    at: Option<Position>,
    keys: BTreeMap<String, String>,
    /// What it has missed, and nobody has told it.
    missed: Vec<String>,
}

impl Client {
    fn hears(&mut self, publication: &Publication, state: bool) {
        self.missed.retain(|missed| *missed != text(publication));
        let Some(rare) = &publication.rare else { return };
        let Some(key) = rare.key.as_deref() else { return };
        match rare.removed {
            true => drop(self.keys.remove(key)),
            false if state => drop(self.keys.insert(key.into(), text(publication))),
            // Where there is no state a key is only a word.
            false => {}
        }
    }

    /// Comes back, and must have everything, or be told.
    fn comes_back(&mut self, shard: &mut Shard, options: &ChannelOptions, what: &str) {
        let enter = Enter { since: self.at, state: true, ..Enter::default() };
        let Ok(Answer::Entered(entered)) = shard.ask(CHANNEL, Ask::Enter(enter)) else { panic!("{what}") };
        let is_recovered = matches!(entered.recovered, Some(Ok(())));
        if !is_recovered {
            self.missed.clear();
            self.keys.clear();
            if options.has_state() {
                assert!(entered.entries.is_some(), "{what}: it gets the keys");
            }
        }
        if let Some(entries) = &entered.entries {
            self.keys.clear();
            entries.iter().for_each(|entry| self.hears(entry, true));
        }
        let mut page = entered.page;
        loop {
            page.publications.iter().for_each(|publication| self.hears(publication, options.has_state()));
            assert!(!page.lost, "{what}: it was promised");
            if page.end.offset >= page.head {
                break;
            }
            let Ok(Answer::Page(next)) = shard.ask(CHANNEL, Ask::Page { since: page.end }) else { panic!("{what}") };
            page = next;
        }
        self.at = Some(page.end);
        assert_eq!(self.missed, Vec::<String>::new(), "{what}: {:?}", entered.recovered);
        if options.has_state() {
            let Ok(Answer::State { entries, more: false, .. }) = shard.ask(CHANNEL, Ask::State { limit: 1000, after: None })
            else {
                panic!("{what}")
            };
            let keys = entries.iter().map(|entry| {
                let key = entry.rare.as_ref().and_then(|rare| rare.key.as_deref()).expect("a key");
                (key.to_owned(), text(entry))
            });
            assert_eq!(self.keys, keys.collect(), "{what}: {:?}", entered.recovered);
        }
    }
}

#[test]
fn who_comes_back_after_any_change_of_options_has_everything_or_is_told() {
    for seed in 0..150 {
        let folder = Folder::new();
        let mut random = Random::seeded(seed);
        let mut pick = move |below: u64| random.number() % below;
        let mut now = Now { steady: 1000, wall: 4_000_000_000_000 };
        let mut client = Client { at: None, keys: BTreeMap::new(), missed: Vec::new() };
        let mut said = 0;
        let mut past = Vec::new();
        for run in 0..5 {
            let options = options(&mut pick);
            past.push((options.history_size, options.state_keys, options.slow));
            let what = format!("seed {seed}, runs {past:?}");
            let store = folder.open().unwrap();
            let mut shard = shard(&store, &options, now, seed * 100 + run);
            // Restarted within seconds, or much later.
            for _ in 0..pick(14) {
                said += 1;
                let mut publish = Publish::new(CHANNEL, format!("said {said}"));
                match pick(8) {
                    0..3 => publish.key = Some(format!("k{}", pick(3)).into()),
                    3 => (publish.key, publish.remove, publish.data) = (Some(format!("k{}", pick(3)).into()), true, None),
                    4 => publish.data = Some(Data::from(format!("said {said} {}", "x".repeat(30_000)))),
                    5 => {
                        let begins = Publish { stream: true, ..Publish::new(CHANNEL, format!("said {said}")) };
                        if let Ok(Answer::Published { position: Some(position), .. }) = shard.publish(begins) {
                            // The text grows, and comes as a whole to who was away: it is not counted.
                            let end = (pick(2) == 0).then_some(StreamEnd::Finished);
                            let append = Append {
                                channel: CHANNEL.into(),
                                stream: position.offset,
                                data: Some(" and more".into()),
                                at: None,
                                end,
                                reason: None,
                            };
                            shard.append(append).expect("it is ours");
                        }
                        continue;
                    }
                    _ => {}
                }
                let data = publish.data.clone();
                if shard.publish(publish).is_ok()
                    && let Some(data) = data
                {
                    client.missed.push(String::from_utf8_lossy(data.as_bytes()).into_owned());
                }
                if pick(6) == 0 {
                    client.comes_back(&mut shard, &options, &what);
                }
                if pick(6) == 0 {
                    let passes = pick(4000);
                    now = Now { steady: now.steady + passes, wall: now.wall + passes };
                    shard.now = now;
                    shard.broker.look_at_clock(now);
                    while shard.broker.poll().is_some() {}
                }
            }
            shard.commit();
            shard.settled().unwrap();
        }
        let options = ChannelOptions { history_size: 100, state_keys: 100, ..ChannelOptions::default() };
        let store = folder.open().unwrap();
        let mut shard = shard(&store, &options, now, seed * 100 + 99);
        client.comes_back(&mut shard, &options, &format!("seed {seed}, runs {past:?}, at last"));
    }
}
