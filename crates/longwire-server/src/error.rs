//! Why a server cannot start, or has failed.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use longwire_core::BadNamespace;
use longwire_ws::handshake::deflate::ConfigError;

use crate::allowed::BadOrigin;
use crate::host::BadHost;
use crate::node::MAX_SHARDS;

/// Why a server cannot start, or has failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The compression settings are out of bounds.
    Deflate(ConfigError),
    /// The library does not know where somebody else's server listens, so it cannot make a key for those who are on its machine.
    ApiKeys,
    /// There cannot be so many shards.
    Shards(usize),
    /// An allowed origin is none.
    Origin(BadOrigin),
    /// An allowed host is none.
    Host(BadHost),
    /// The options of a namespace contradict themselves.
    Namespace(BadNamespace),
    /// The directory for data cannot be used.
    Store(longwire_store::Error),
    /// A shard's thread has panicked; this is a bug.
    ShardPanicked,
    /// The system refuses something else.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is taken by another program: stop it, or listen on another port")
            }
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Deflate(error) => error.fmt(f),
            Self::ApiKeys => f.write_str(
                "ApiKeys::local needs a server that listens by itself: with into_router give keys (ApiKeys::new), or have a layer of \
                 yours look who asks (ApiKeys::checked_elsewhere)",
            ),
            Self::Shards(shards) => write!(f, "{shards} shards cannot be; there are 1 to {MAX_SHARDS}"),
            Self::Origin(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Namespace(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::ShardPanicked => f.write_str("a shard has panicked: this is a bug, please report it"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
