//! Keeps the channels of an embedded server on disk: their history, numbering, keys and idempotency keys, in one SQLite file.
//!
//! What a [`MemoryBroker`](longwire_core::broker::memory::MemoryBroker) says in
//! [`Record`](longwire_core::broker::memory::Record)s goes to a thread that owns the file. It joins the batches of all shards
//! that wait into one transaction, and then tells each shard how far it has come:
//!
//! ```
//! use longwire_core::broker::memory::Record;
//! use longwire_protocol::Epoch;
//! use longwire_store::{Done, Options, Store};
//!
//! # let dir = std::env::temp_dir().join(format!("longwire-store-doc-{}", std::process::id()));
//! let store = Store::open(&dir, Options::default())?;
//! store.restore(|kept| {
//!     println!("{}: {:?}", kept.channel, kept.records);
//!     true
//! })?;
//!
//! let (done, news) = std::sync::mpsc::channel();
//! let mut writer = store.writer(move |what| drop(done.send(what)));
//! let epoch = Record::Epoch { channel: "chat:lobby".into(), epoch: Epoch(7), head: 0 };
//! writer.commit(vec![epoch], 1).expect("there is room");
//! assert!(matches!(news.recv()?, Done::Committed { token: 1 }));
//! # drop(store);
//! # std::fs::remove_dir_all(dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/durability.md` says what survives what.

mod body;
mod checkpoint;
mod damage;
mod error;
mod file;
mod options;
mod read;
mod store;
mod tables;
mod thread;
mod writer;

pub use error::{Error, Trouble};
pub use options::{Fsync, Options};
pub use read::Kept;
pub use store::Store;
pub use writer::{Done, Refused, Writer, must_wait};
