//! The words for the small choices that messages make.

use crate::message::{Abilities, StreamEnd, Unrecovered};

impl StreamEnd {
    /// All of them; the last is not for producers to say.
    pub const ALL: [Self; 4] = [Self::Finished, Self::Failed, Self::Cancelled, Self::Lost];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl Unrecovered {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Epoch, Self::Off, Self::Ahead];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Epoch => "epoch",
            Self::Off => "off",
            Self::Ahead => "ahead",
        }
    }
}

impl Abilities {
    /// The names of those that there are.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { history, presence, joins, state, streams, publish } = self;
        let named = [
            (history, "history"),
            (presence, "presence"),
            (joins, "joins"),
            (state, "state"),
            (streams, "streams"),
            (publish, "publish"),
        ];
        named.into_iter().filter_map(|(has, name)| has.then_some(name))
    }

    /// Those of these names; of others nothing is known.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut abilities = Self::default();
        for name in names {
            match name {
                "history" => abilities.history = true,
                "presence" => abilities.presence = true,
                "joins" => abilities.joins = true,
                "state" => abilities.state = true,
                "streams" => abilities.streams = true,
                "publish" => abilities.publish = true,
                _ => {}
            }
        }
        abilities
    }
}
