//! Names of channels, in whatever form somebody has one.

use std::borrow::Cow;
use std::sync::Arc;

/// The name of a channel: any text. An `Arc<str>` is taken as it is; of others a copy is made.
pub trait ChannelName {
    /// The name by itself.
    fn into_name(self) -> Arc<str>;
}

impl ChannelName for Arc<str> {
    fn into_name(self) -> Arc<str> {
        self
    }
}

impl ChannelName for &Arc<str> {
    fn into_name(self) -> Arc<str> {
        self.clone()
    }
}

macro_rules! copied {
    ($($text:ty),*) => {
        $(impl ChannelName for $text {
            fn into_name(self) -> Arc<str> {
                AsRef::<str>::as_ref(&self).into()
            }
        })*
    };
}

copied!(&str, String, &String, Box<str>, Cow<'_, str>);
