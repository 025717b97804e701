//! What channels can do: the options of their namespaces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The namespace of channels whose name has no `:`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Past this a history is no longer a history but a database.
const MAX_HISTORY_SIZE: usize = 1_000_000;

/// The options of a namespace's channels. Channels start out with nothing: each option costs something.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelOptions {
    /// Publications that a channel keeps. 0, the default: none, and then they have no offsets either, unless `state` is on.
    pub history_size: usize,
    /// For how long it keeps them. Default: an hour.
    pub history_age: Duration,
    /// How many bytes of them it keeps. Default: 4 MiB.
    pub history_bytes: usize,
    /// Whether a subscription may continue after a position. Default: true; it takes a history.
    pub resume: bool,
    /// Whether it is known who is in the channel. Default: false.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes; it takes `presence`. Default: false.
    pub joins: bool,
    /// How many keys with values a channel may have. 0, the default: it has no state.
    pub state_keys: usize,
    /// Whether publications may be streams; it takes a history. Default: false.
    pub streams: bool,
    /// How long a stream may get, in bytes. Default: 1 MiB.
    pub stream_bytes: usize,
    /// How long a stream's producer may be silent before it is taken for lost, in whole seconds, at least one. Default: 30 s.
    pub stream_lease: Duration,
    /// Who may subscribe. Default: anyone.
    pub subscribe: Who,
    /// Who may publish. Default: anyone.
    pub publish: Who,
    /// What happens to a subscriber who reads too slowly. Default: close.
    pub slow: Slow,
    /// The largest publication, in bytes of its data. Default: 64 KiB.
    pub message_bytes: usize,
    /// Whether what one publisher says in several channels is heard in the order in which it was said. Only channels whose names are
    /// the same up to a `#` have an order in common. They are numbered together, so that the offsets of each have gaps. Default: false,
    /// each channel has its own.
    pub ordered: bool,
    /// For how long an idempotency key is remembered. Default: 5 min.
    pub once_window: Duration,
    /// How many idempotency keys a channel remembers at most. Default: 10,000.
    pub once_keys: usize,
}

/// Who may do something in a channel, beside the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anyone who may connect.
    Anyone,
    /// Sessions with a user, that is, with a valid token.
    Users,
    /// Nobody.
    Nobody,
}

/// What happens to a subscriber who reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Its line is closed, and it resumes.
    Close,
    /// It gets, once it has room, the newest publication of each key; it takes a history.
    Latest,
    /// It is told that there is a gap, and goes on.
    Gap,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            history_size: 0,
            history_age: Duration::from_secs(3600),
            history_bytes: 4 << 20,
            resume: true,
            presence: false,
            joins: false,
            state_keys: 0,
            streams: false,
            stream_bytes: 1 << 20,
            stream_lease: Duration::from_secs(30),
            subscribe: Who::Anyone,
            publish: Who::Anyone,
            slow: Slow::Close,
            message_bytes: 64 << 10,
            ordered: false,
            once_window: Duration::from_secs(300),
            once_keys: 100_000,
        }
    }
}

impl ChannelOptions {
    /// Whether there is a history.
    pub fn has_history(&self) -> bool {
        self.history_size > 0
    }

    /// Whether there are keys with values.
    pub fn has_state(&self) -> bool {
        self.state_keys > 0
    }

    /// Whether publications have offsets.
    pub fn is_numbered(&self) -> bool {
        self.has_history() || self.has_state()
    }

    fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (self.history_size > MAX_HISTORY_SIZE, "history_size is at most 1000000"),
            (
                self.has_history() && self.history_age.is_zero(),
                "history_age must be more than nothing where there is a history",
            ),
            (self.message_bytes == 0, "message_bytes must be at least 1"),
            (
                self.has_history() && self.history_bytes < self.message_bytes,
                "history_bytes must hold one message: at least message_bytes",
            ),
            (self.joins && !self.presence, "joins takes presence: turn presence on"),
            (self.streams && !self.has_history(), "streams take a history: set history_size"),
            (self.streams && self.stream_bytes == 0, "stream_bytes must be at least 1"),
            (
                self.streams && self.history_bytes < self.stream_bytes,
                "history_bytes must hold one stream: at least stream_bytes",
            ),
            (self.streams && self.stream_lease < Duration::from_secs(1), "stream_lease must be at least a second"),
            (self.slow == Slow::Latest && !self.has_history(), "slow = \"latest\" takes a history: set history_size"),
        ];
        rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, rule)| Err(*rule))
    }
}

/// The options of every namespace.
#[derive(Clone, Debug)]
pub struct Namespaces {
    named: BTreeMap<String, Arc<ChannelOptions>>,
    /// For every other channel, if nobody has configured anything.
    all: Option<Arc<ChannelOptions>>,
}

/// A namespace whose options contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNamespace {
    /// Its name.
    pub name: String,
    /// What is wrong with it, and what to do.
    pub rule: &'static str,
}

impl fmt::Display for BadNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {:?}: {}", self.name, self.rule)
    }
}

impl std::error::Error for BadNamespace {}

impl Namespaces {
    /// Of these names and options; the one called [`DEFAULT_NAMESPACE`] is for channels without `:`.
    ///
    /// # Errors
    /// The first namespace whose options contradict themselves.
    pub fn new(namespaces: impl IntoIterator<Item = (String, ChannelOptions)>) -> Result<Self, BadNamespace> {
        let mut all = BTreeMap::new();
        for (name, options) in namespaces {
            let bad = |rule| BadNamespace { name: name.clone(), rule };
            if name.is_empty() || name.contains(|char: char| char == ':' || char.is_control()) {
                return Err(bad("a name is not empty, and has no colon and no control characters"));
            }
            options.check().map_err(bad)?;
            all.insert(name, Arc::new(options));
        }
        Ok(Self { named: all, all: None })
    }

    /// The same with another namespace, unless there is one of this name.
    ///
    /// # Errors
    /// Its options contradict themselves.
    pub fn and(&self, name: &str, options: ChannelOptions) -> Result<Self, BadNamespace> {
        options.check().map_err(|rule| BadNamespace { name: name.to_owned(), rule })?;
        let mut namespaces = self.clone();
        namespaces.named.entry(name.to_owned()).or_insert_with(|| Arc::new(options));
        Ok(namespaces)
    }

    /// Whether somebody has configured a namespace of this name.
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The options of a channel, if there is such a namespace.
    pub fn of(&self, channel: &str) -> Option<&Arc<ChannelOptions>> {
        let name = channel.split_once(':').map_or(DEFAULT_NAMESPACE, |(namespace, _)| namespace);
        self.named.get(name).or(self.all.as_ref())
    }
}

impl Default for Namespaces {
    /// All channels have the default options, whatever their names.
    fn default() -> Self {
        Self { named: BTreeMap::new(), all: Some(Arc::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut ChannelOptions)) -> Result<Namespaces, BadNamespace> {
        let mut options = ChannelOptions { history_size: 10, ..ChannelOptions::default() };
        change(&mut options);
        Namespaces::new([("chat".to_owned(), options)])
    }

    #[test]
    fn what_stands_before_the_first_colon_decides() {
        let namespaces = with(|_| ()).unwrap();
        assert_eq!(namespaces.of("chat:a:b").unwrap().history_size, 10);
        assert_eq!(namespaces.of("chat"), None, "that is a name in the default namespace, and there is none");
        assert_eq!(namespaces.of("other:x"), None);
        assert_eq!(Namespaces::default().of("anything").unwrap().history_size, 0);
    }

    #[test]
    fn options_that_contradict_themselves_are_named() {
        fn is_broken(word: &str, change: impl FnOnce(&mut ChannelOptions)) {
            let error = with(change).unwrap_err();
            assert!(error.to_string().contains(word) && error.name == "chat", "{error}");
        }
        is_broken("presence", |options| options.joins = true);
        is_broken("history_bytes", |options| options.history_bytes = 1);
        is_broken("history_age", |options| options.history_age = Duration::ZERO);
        is_broken("history_size", |options| (options.streams, options.history_size) = (true, 0));
        is_broken("history_size", |options| (options.slow, options.history_size) = (Slow::Latest, 0));
        is_broken("message_bytes", |options| options.message_bytes = 0);
        let error = Namespaces::new([("a:b".to_owned(), ChannelOptions::default())]).unwrap_err();
        assert_eq!(error.name, "a:b");
    }
}
