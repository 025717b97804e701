//! What channels can do when nobody has configured anything, and the tables of the file that do.

use std::collections::BTreeMap;
use std::time::Duration;

use longwire::{ChannelOptions, Namespaces, Slow, Who};
use serde::Deserialize;

use crate::units::{Size, Time};

macro_rules! table {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal;)*) => {
        /// A table `[namespaces.NAME]` of the file: what is left out is as in [`ChannelOptions::default`].
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Table {
            $($(#[doc = $doc])+ $name: Option<$type>,)*
        }

        /// Name, default and description of each key.
        #[cfg(test)]
        const KEYS: &[(&str, &str, &str)] = &[$((stringify!($name), $default, concat!($($doc),+)),)*];
    };
}

table! {
    /// How many publications a channel keeps; with none they have no offsets either, unless there is state
    history_size: usize = "0";
    /// For how long it keeps them
    history_age: Time = "\"1h\"";
    /// How many bytes of them it keeps
    history_bytes: Size = "\"4MiB\"";
    /// Whether a client that comes back gets what it has missed; it takes a history
    resume: bool = "true";
    /// Whether it is known who is in the channel
    presence: bool = "false";
    /// Whether subscribers are told who comes and goes; it takes presence
    joins: bool = "false";
    /// How many keys with values a channel may have
    state_keys: usize = "0";
    /// Whether publications may grow, as the text of a language model does; it takes a history
    streams: bool = "false";
    /// How long such a stream may get
    stream_bytes: Size = "\"1MiB\"";
    /// How long a stream's producer may be silent before the stream is marked as lost
    stream_lease: Time = "\"30s\"";
    /// Who may subscribe, and look at history, presence and state: "anyone", "users" (sessions with a valid token) or "nobody"
    subscribe: WhoName = "\"anyone\"";
    /// Who may publish, beside the server itself and its API: the same words
    publish: WhoName = "\"anyone\"";
    /// What happens to a subscriber who reads too slowly: "close" (its line is closed, and it resumes), "latest" (it gets the newest
    /// publication of each key; it takes a history) or "gap" (it is told that it has missed something, and goes on)
    slow: SlowName = "\"close\"";
    /// The largest publication
    message_bytes: Size = "\"64KiB\"";
    /// Whether what one publisher says in several channels, whose names are the same up to a `#`, is heard in the order in which it was said
    ordered: bool = "false";
    /// For how long an idempotency key is remembered
    once_window: Time = "\"5m\"";
    /// How many of them a channel remembers at most: beyond it the oldest is forgotten before its time
    once_keys: usize = "100000";
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WhoName {
    Anyone,
    Users,
    Nobody,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SlowName {
    Close,
    Latest,
    Gap,
}

/// The namespaces of the file, or, if it has none, those that the pages and the first steps use.
///
/// # Errors
/// One line that says which namespace contradicts itself, and how.
pub(crate) fn namespaces(tables: &BTreeMap<String, Table>) -> Result<Namespaces, String> {
    let all: Vec<(String, ChannelOptions)> = match tables.is_empty() {
        true => built_in(),
        false => tables.iter().map(|(name, table)| (name.clone(), table.options())).collect(),
    };
    Namespaces::new(all).map_err(|error| error.to_string())
}

fn built_in() -> Vec<(String, ChannelOptions)> {
    let day = Duration::from_secs(24 * 3600);
    let some = ChannelOptions { history_size: 100, history_age: Duration::from_secs(600), ..ChannelOptions::default() };
    let chat = ChannelOptions { history_size: 1000, history_age: day, presence: true, joins: true, ..some.clone() };
    let state = ChannelOptions { state_keys: 1000, ..some.clone() };
    let ai = ChannelOptions { streams: true, history_age: day, ..some.clone() };
    let live = ChannelOptions { slow: Slow::Gap, ..ChannelOptions::default() };
    [("default", some), ("chat", chat), ("state", state), ("ai", ai), ("live", live)]
        .map(|(name, options)| (name.to_owned(), options))
        .into()
}

impl Table {
    fn options(&self) -> ChannelOptions {
        let default = ChannelOptions::default();
        let who = |who: Option<WhoName>, default| match who {
            None => default,
            Some(WhoName::Anyone) => Who::Anyone,
            Some(WhoName::Users) => Who::Users,
            Some(WhoName::Nobody) => Who::Nobody,
        };
        let time = |time: &Option<Time>, default| time.as_ref().map_or(default, |time| time.0);
        let size = |size: &Option<Size>, default| size.as_ref().map_or(default, |size| size.0);
        ChannelOptions {
            history_size: self.history_size.unwrap_or(default.history_size),
            history_age: time(&self.history_age, default.history_age),
            history_bytes: size(&self.history_bytes, default.history_bytes),
            resume: self.resume.unwrap_or(default.resume),
            presence: self.presence.unwrap_or(default.presence),
            joins: self.joins.unwrap_or(default.joins),
            state_keys: self.state_keys.unwrap_or(default.state_keys),
            streams: self.streams.unwrap_or(default.streams),
            stream_bytes: size(&self.stream_bytes, default.stream_bytes),
            stream_lease: time(&self.stream_lease, default.stream_lease),
            subscribe: who(self.subscribe, default.subscribe),
            publish: who(self.publish, default.publish),
            slow: self.slow.map_or(default.slow, |slow| match slow {
                SlowName::Close => Slow::Close,
                SlowName::Latest => Slow::Latest,
                SlowName::Gap => Slow::Gap,
            }),
            message_bytes: size(&self.message_bytes, default.message_bytes),
            ordered: self.ordered.unwrap_or(default.ordered),
            once_window: time(&self.once_window, default.once_window),
            once_keys: self.once_keys.unwrap_or(default.once_keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Result<Namespaces, String> {
        let tables: BTreeMap<String, Table> = toml::from_str(file).map_err(|error| error.to_string())?;
        namespaces(&tables)
    }

    #[test]
    fn what_is_built_in_holds_together() {
        let namespaces = namespaces(&BTreeMap::new()).unwrap();
        for (channel, joins, state, streams) in [
            ("lobby", false, 0, false),
            ("chat:tea", true, 0, false),
            ("state:x", false, 1000, false),
            ("ai:x", false, 0, true),
        ] {
            let options = namespaces.of(channel).unwrap();
            assert_eq!((options.joins, options.state_keys, options.streams), (joins, state, streams), "{channel}");
        }
        assert!(namespaces.of("nothing:x").is_none());
    }

    #[test]
    fn a_file_says_what_its_namespaces_can_do() {
        let namespaces =
            read("[news]\nhistory_size = 5\nhistory_age = \"2m\"\npublish = \"nobody\"\nslow = \"latest\"\n").unwrap();
        let options = namespaces.of("news:today").unwrap();
        assert_eq!((options.history_size, options.history_age, options.slow), (5, Duration::from_secs(120), Slow::Latest));
        assert_eq!((options.publish, options.subscribe), (Who::Nobody, Who::Anyone));
        assert!(namespaces.of("chat:tea").is_none(), "only what the file names");
    }

    /// The table in `docs/configuration.md` is this one.
    #[test]
    fn the_documentation_lists_the_keys() {
        let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
        for (name, default, doc) in KEYS {
            table += &format!("| `{name}` | `{default}` | {} |\n", doc.trim());
        }
        let docs = include_str!("../../../docs/configuration.md");
        assert!(docs.contains(&table), "put this table into docs/configuration.md:\n{table}");
    }

    /// A file that says all the defaults says nothing.
    #[test]
    fn the_documented_defaults_are_those_in_force() {
        let file: String = KEYS.iter().map(|(name, default, _)| format!("{name} = {default}\n")).collect();
        let namespaces = read(&format!("[news]\n{file}")).unwrap();
        assert_eq!(**namespaces.of("news:today").unwrap(), ChannelOptions::default());
    }

    /// The documentation shows the built-in namespaces as a file would have them.
    #[test]
    fn the_documentation_shows_what_is_built_in() {
        #[derive(Deserialize)]
        struct File {
            namespaces: BTreeMap<String, Table>,
        }
        let docs = include_str!("../../../docs/configuration.md");
        let shown = docs
            .split("```toml")
            .map(|part| part.split("```").next().unwrap())
            .find(|toml| toml.contains("[namespaces.default]"));
        let file: File = toml::from_str(shown.expect("the built-in namespaces")).unwrap();
        let shown: BTreeMap<_, _> = file.namespaces.iter().map(|(name, table)| (name.clone(), table.options())).collect();
        assert_eq!(shown, built_in().into_iter().collect());
    }

    #[test]
    fn a_mistake_is_named() {
        for (file, word) in [
            ("[news]\njoins = true\n", "presence"),
            ("[news]\nhistory = 5\n", "history"),
            ("[news]\nslow = \"never\"\n", "never"),
        ] {
            let error = read(file).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
