//! What there is in a run, and how often what happens.

use std::sync::Arc;
use std::time::Duration;

use longwire_core::{ChannelOptions, Namespaces, Slow};

use crate::chance::Chance;
use crate::client::{Client, Model, Real};

/// How often what happens: another mix for each seed, so that each kind of trouble is sometimes rare and sometimes all there is.
pub(crate) struct Rates {
    /// Out of so many steps each, one of them; 0 for never.
    pub(crate) cut: usize,
    pub(crate) restart: usize,
    pub(crate) stall: usize,
    pub(crate) jump: usize,
    pub(crate) commit: usize,
    pub(crate) pass: usize,
}

impl Rates {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self {
            cut: *chance.pick(&[0, 30, 100, 300, 1000]),
            restart: *chance.pick(&[0, 0, 400, 1500]),
            stall: *chance.pick(&[0, 50, 200, 600]),
            jump: *chance.pick(&[0, 500]),
            commit: *chance.pick(&[2, 10, 30]),
            pass: *chance.pick(&[10, 30, 200]),
        }
    }

    pub(crate) fn is_time(chance: &mut Chance, rate: usize) -> bool {
        rate > 0 && chance.one_in(rate)
    }
}

/// Most clients are models, some are real.
pub(crate) fn client(
    number: usize,
    namespaces: &Arc<Namespaces>,
    channels: &Arc<[Arc<str>]>,
    chance: &mut Chance,
) -> Box<dyn Client> {
    let (namespaces, channels) = (namespaces.clone(), channels.clone());
    if chance.one_in(3) {
        Box::new(Real::new(number, namespaces, channels, chance))
    } else {
        Box::new(Model::new(number, namespaces, channels, chance))
    }
}

/// Channels of all kinds.
pub(crate) fn namespaces() -> Namespaces {
    let history = |size: usize| ChannelOptions {
        history_size: size,
        once_window: Duration::from_secs(36_000),
        ..ChannelOptions::default()
    };
    let all = [
        ("default", ChannelOptions::default()),
        ("log", history(400)),
        ("short", ChannelOptions { history_age: Duration::from_secs(20), ..history(8) }),
        ("off", ChannelOptions { resume: false, ..history(30) }),
        ("here", ChannelOptions { presence: true, joins: true, ..ChannelOptions::default() }),
        ("room", ChannelOptions { presence: true, joins: true, ..history(60) }),
        ("count", ChannelOptions { presence: true, ..history(10) }),
        ("keys", ChannelOptions { state_keys: 6, ..history(0) }),
        ("both", ChannelOptions { state_keys: 6, ..history(40) }),
        ("latest", ChannelOptions { state_keys: 20, slow: Slow::Latest, ..history(50) }),
        ("gap", ChannelOptions { slow: Slow::Gap, joins: true, presence: true, ..history(30) }),
        ("drop", ChannelOptions { slow: Slow::Gap, ..ChannelOptions::default() }),
        (
            "ai",
            ChannelOptions {
                streams: true,
                stream_lease: Duration::from_secs(15),
                stream_bytes: 4096,
                message_bytes: 4096,
                history_bytes: 40_000,
                ..history(15)
            },
        ),
        ("talk", ChannelOptions { streams: true, state_keys: 4, presence: true, joins: true, ..history(100) }),
    ];
    Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options that go together")
}
