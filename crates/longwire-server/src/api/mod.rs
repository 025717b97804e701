//! The server API: what a product's own back end asks of a node, over HTTP and in the process.
//!
//! | module | what it holds |
//! |---|---|
//! | [`routes`] | every method and path, and the way from a request to its answer |
//! | [`access`], [`keys`], [`brake`] | who may come in, by keys and origins; those who try keys are slowed down |
//! | [`members`] | the members of a body, a query or a line, read one by one |
//! | [`command`] | what can be asked, and how it is read from members |
//! | [`execute`] | the one executor: commands to answers |
//! | [`answer`] | answers and errors as JSON |
//! | [`batch`] | many commands in one request, with flow control |
//! | [`channel`], [`sessions`] | the same for whoever embeds the server |
//!
//! `docs/api.md` explains it to people, `docs/openapi.yaml` to programs.

mod access;
mod answer;
mod batch;
mod brake;
mod channel;
mod command;
mod execute;
mod keys;
mod members;
mod routes;
mod sessions;

pub(crate) use access::{Access, Door};
pub use channel::{
    Channel, HistoryPage, HistoryQuery, PresencePage, PresenceQuery, Published, Publishing, StatePage, StateQuery, Stream,
};
pub(crate) use command::{ChannelPage, SessionPage, Whom};
pub use keys::{ApiKeys, BadApiKey};
pub(crate) use keys::{Kind as KeyKind, is_key};
pub(crate) use members::{Members, decoded};
pub use routes::ROUTES;
pub(crate) use routes::{Api, refused, router};
pub use sessions::{ChannelInfo, ChannelList, ChannelQuery, SessionInfo, SessionList, SessionQuery};
