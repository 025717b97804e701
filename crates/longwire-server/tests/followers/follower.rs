//! What somebody who follows channels knows, and what it must never find: that something is missing of which it was not told.

use std::collections::BTreeMap;

use serde_json::Value;

use super::world::World;

pub(super) struct Follower {
    what: String,
    pub(super) channels: Vec<Followed>,
    /// What it keeps of its transport to come back with: the id of the last event, the `since` of a poll.
    pub(super) cursor: Option<String>,
    /// Over Socket.IO: its id, the secret, and the last text that an event ended in.
    pub(super) socket: Option<(String, String)>,
    pub(super) offset: Option<String>,
}

/// What it knows of one channel.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) name: String,
    keeps_all: bool,
    /// Where it is, once it knows.
    pub(super) at: Option<(Option<String>, u64)>,
    /// Not all keys have come: the last that has.
    pub(super) after: Option<String>,
    keys: BTreeMap<String, u64>,
    /// It was answered that it is in.
    pub(super) is_in: bool,
    /// It is in a channel that tells slow readers of gaps, and was told of one.
    told: usize,
}

impl Follower {
    pub(super) fn new(what: String, world: &World) -> Self {
        let followed = world.channels.iter().map(|channel| Followed {
            name: channel.name.clone(),
            keeps_all: channel.keeps_all,
            ..Followed::default()
        });
        Self { what, channels: followed.collect(), cursor: None, socket: None, offset: None }
    }

    /// A message of the protocol.
    #[track_caller]
    pub(super) fn hears(&mut self, message: &Value) {
        let (kind, what) = (message["type"].as_str().expect("a type"), self.what.clone());
        if matches!(kind, "connected" | "line" | "close" | "error") {
            assert!(kind != "error" || message["name"] == "already_subscribed", "{what}: {message}");
            return;
        }
        let name = message["channel"].as_str().expect("a channel");
        let channel = self.channel(name);
        match kind {
            "subscribed" => channel.enters(message, &what),
            "state" => {
                for entry in message["entries"].as_array().expect("entries") {
                    let key = entry["key"].as_str().expect("a key").to_owned();
                    channel.after = Some(key.clone());
                    channel.keys.insert(key, entry["data"]["n"].as_u64().expect("a number"));
                }
                if message["done"] == true {
                    channel.after = None;
                }
            }
            "publication" => {
                let offset = message["offset"].as_u64().expect("an offset");
                assert_eq!(channel.after, None, "{what}, {name}: keys come first");
                channel.gets(offset, &what);
                if let Some(key) = message["key"].as_str() {
                    match message["removed"] == true {
                        true => drop(channel.keys.remove(key)),
                        false => drop(channel.keys.insert(key.to_owned(), offset)),
                    }
                }
            }
            "gap" => {
                let offset = message["offset"].as_u64().expect("an offset");
                channel.is_told(&what);
                if let Some((_, at)) = &mut channel.at {
                    *at = offset.max(*at);
                }
            }
            other => panic!("{what}: {other}"),
        }
    }

    #[track_caller]
    pub(super) fn channel(&mut self, name: &str) -> &mut Followed {
        self.channels.iter_mut().find(|channel| channel.name == name).unwrap_or_else(|| panic!("{name} is not followed"))
    }

    /// What the server says that this client has: it must have that, and all of it.
    #[track_caller]
    pub(super) fn keeps(&mut self, cursor: &str, is_exact: bool) {
        let parts: Vec<&str> = cursor.split('.').next().expect("places").split(',').collect();
        assert_eq!(parts.len(), self.channels.len(), "{}: {cursor}", self.what);
        for (part, channel) in parts.into_iter().zip(&mut self.channels) {
            let what = format!("{}, {}: the cursor {cursor}", self.what, channel.name);
            if part.is_empty() {
                assert_eq!(channel.at, None, "{what} leaves out a channel");
                continue;
            }
            let (position, after) = part.split_once('~').map_or((part, None), |(position, after)| (position, Some(after)));
            let (epoch, offset) = position.split_once(':').expect("a position");
            let offset: u64 = offset.parse().expect("an offset");
            match &channel.at {
                // It was not said in so many words.
                None if is_exact => channel.at = Some((Some(epoch.to_owned()), offset)),
                None => panic!("{what} says of a channel that it has not heard of"),
                Some((known, at)) => {
                    assert!(known.as_deref().is_none_or(|known| known == epoch), "{what}: {known:?}");
                    assert!(offset == *at || !is_exact && offset < *at, "{what}: it has got as far as {at}");
                }
            }
            assert!(channel.after.is_none() || after.is_some(), "{what}: not all keys have come");
        }
        self.cursor = Some(cursor.to_owned());
    }

    /// Where it is, and whether it wants keys, for those who say that channel by channel.
    pub(super) fn since(&self) -> String {
        let one = |channel: &Followed| match &channel.at {
            Some((Some(epoch), offset)) => {
                let hex = |key: &String| key.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
                format!("{epoch}:{offset}{}", channel.after.as_ref().map_or(String::new(), |key| format!("~{}", hex(key))))
            }
            _ => String::new(),
        };
        self.channels.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// It has another session than before, and knows by that.
    pub(super) fn is_new(&mut self) {
        for channel in &mut self.channels {
            let (name, keeps_all) = (std::mem::take(&mut channel.name), channel.keeps_all);
            *channel = Followed { name, keeps_all, ..Followed::default() };
        }
    }

    /// Whether it is where the world is.
    pub(super) fn is_complete(&self, world: &World) -> bool {
        self.channels.iter().all(|channel| channel.is_complete(world))
    }

    #[track_caller]
    pub(super) fn has_everything(&self, world: &World) {
        for channel in &self.channels {
            let Followed { name, at, after, is_in, .. } = channel;
            let head = world.channel(name).head;
            let is_complete = channel.is_complete(world);
            assert!(
                is_complete,
                "{}, {name}: it has got as far as {at:?} of {head}, of the keys {after:?}, is in: {is_in}",
                self.what
            );
        }
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }
}

impl Followed {
    /// Something with this offset.
    #[track_caller]
    pub(super) fn gets(&mut self, offset: u64, what: &str) {
        let name = &self.name;
        match &mut self.at {
            // The answer was cut off.
            None => self.at = Some((None, offset)),
            Some((_, at)) => {
                assert!(offset > *at, "{what}, {name}: {offset} comes again after {at}");
                assert!(
                    offset == *at + 1,
                    "{what}, {name}: {offset} comes after {at}, and nothing says that something is missing"
                );
                *at = offset;
            }
        }
    }

    #[track_caller]
    fn enters(&mut self, message: &Value, what: &str) {
        self.is_in = true;
        let name = &self.name;
        let (offset, epoch) = (message["offset"].as_u64().expect("an offset"), message["epoch"].as_str().expect("an epoch"));
        let has_state = message["options"].as_array().is_some_and(|options| options.contains(&"state".into()));
        match (&message["recovered"], &self.at) {
            (Value::Bool(true), Some((known, at))) => {
                assert!(offset <= *at, "{what}, {name}: it has {at}, and continues after {offset}");
                assert!(known.as_deref().is_none_or(|known| known == epoch), "{what}, {name}: {message}");
            }
            (Value::Bool(false), _) => {
                self.is_told(what);
                self.keys.clear();
                self.after = has_state.then(String::new);
                self.at = Some((Some(epoch.to_owned()), offset));
            }
            (Value::Null, None) => {
                self.keys.clear();
                self.after = has_state.then(String::new);
                self.at = Some((Some(epoch.to_owned()), offset));
            }
            (_, at) => panic!("{what}, {name}: it was at {at:?}, and is told {message}"),
        }
    }

    #[track_caller]
    fn is_told(&mut self, what: &str) {
        assert!(!self.keeps_all, "{what}, {}: all of it is kept", self.name);
        self.told += 1;
    }

    fn is_complete(&self, world: &World) -> bool {
        let truth = world.channel(&self.name);
        let is_there = self.at.as_ref().is_some_and(|(_, at)| *at == truth.head);
        is_there && self.after.is_none() && (!truth.has_state || self.keys == truth.keys)
    }
}
