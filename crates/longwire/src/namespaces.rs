//! What channels can do when nobody has configured anything, and the tables of the file that do.

use std::collections::BTreeMap;
use std::time::Duration;

use longwire::{ChannelOptions, Namespaces, Slow, Who};
use serde::Deserialize;

use crate::units::{Size, Time};

/// A table `[namespaces.NAME]` of the file: what is left out is as in [`ChannelOptions::default`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    history_size: Option<usize>,
    history_age: Option<Time>,
    history_bytes: Option<Size>,
    resume: Option<bool>,
    presence: Option<bool>,
    joins: Option<bool>,
    state_keys: Option<usize>,
    streams: Option<bool>,
    stream_bytes: Option<Size>,
    stream_lease: Option<Time>,
    subscribe: Option<WhoName>,
    publish: Option<WhoName>,
    slow: Option<SlowName>,
    message_bytes: Option<Size>,
    once_window: Option<Time>,
    once_keys: Option<usize>,
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
