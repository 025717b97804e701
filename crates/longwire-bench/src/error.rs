//! Why a run could not be measured. Each text says what to do next.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a run could not be measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Arguments that are fine one by one do not go together, or name something that is not there.
    Usage(String),
    /// A line could not be connected.
    Connect {
        /// The server's address.
        address: SocketAddr,
        /// Lines that were open already.
        opened: usize,
        /// What the operating system said.
        source: io::Error,
    },
    /// The server answered the opening of a line with another HTTP status than that of success.
    Refused {
        /// The path asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
        /// Lines that were open already.
        opened: usize,
    },
    /// The server's answer to the opening handshake breaks RFC 6455, is no stream of events, or no HTTP.
    BadHandshake {
        /// The path asked for.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A Socket.IO server did not connect a line that it had opened.
    NotConnected {
        /// The path asked for.
        path: String,
        /// What the server said.
        said: String,
    },
    /// An opening handshake was not answered in time.
    HandshakeTimeout {
        /// The path asked for.
        path: String,
        /// Lines that were open already.
        opened: usize,
    },
    /// The limit of open files is too low for the number of lines.
    FileLimit {
        /// Files needed.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// Subscribers did not get what was published.
    NotDelivered {
        /// Subscribers that got nothing.
        subscribers: usize,
        /// Where they subscribed (the first of them).
        sub_path: String,
        /// Where was published.
        pub_path: String,
    },
    /// A session of the native protocol could not be connected and subscribed: why.
    NotJoined(String),
    /// A stream could not be received over one transport: why.
    NotReceived(String),
    /// The process given by `--pid` cannot be read.
    Process {
        /// The process id.
        pid: u32,
        /// What the operating system said.
        source: io::Error,
    },
    /// The process given by `--pid` ended during the run.
    ProcessEnded {
        /// The process id.
        pid: u32,
    },
    /// A file could not be written, or the operating system refused something else.
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Stopped before anything was measured.
    Interrupted,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) => f.write_str(text),
            Error::Connect { address, opened, source } => match source.kind() {
                io::ErrorKind::ConnectionRefused if *opened == 0 => {
                    write!(f, "nothing listens at {address}: start the server first, or give its HOST:PORT")
                }
                io::ErrorKind::ConnectionRefused => {
                    write!(f, "{address} stopped listening after {opened} lines: see whether the server is still running")
                }
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => write!(
                    f,
                    "no local port is left after {opened} lines to {address}: use fewer lines, or widen net.ipv4.ip_local_port_range"
                ),
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => write!(
                    f,
                    "{address} dropped a line during its handshake, after {opened} lines were open: \
                     see the server's log for a connection limit, or lower --connect-rate ({source})"
                ),
                _ => write!(f, "connecting to {address} failed after {opened} lines: {source}"),
            },
            Error::Refused { path, status, body, opened } => {
                write!(f, "the server answered {path} with HTTP status {status}")?;
                if *opened > 0 {
                    write!(f, " after {opened} lines")?;
                }
                if !body.is_empty() {
                    write!(f, ": {body}")?;
                }
                match status {
                    404 | 405 | 426 => {
                        f.write_str("; give the path of what this server offers with --path, or --sub-path and --pub-path")
                    }
                    401 | 403 => f.write_str("; give credentials with -H 'Authorization: ...', or an Origin it accepts"),
                    429 | 503 => f.write_str("; raise the server's connection limits, or ask for fewer lines"),
                    _ => Ok(()),
                }
            }
            Error::BadHandshake { path, reason } => {
                write!(f, "the answer to the handshake for {path} will not do: {reason}")
            }
            Error::NotConnected { path, said } => {
                write!(
                    f,
                    "the server at {path} did not connect a Socket.IO line: {said}; see whether it speaks Socket.IO, and its log"
                )
            }
            Error::HandshakeTimeout { path, opened } => write!(
                f,
                "no answer to the handshake for {path} in time, {opened} lines were open: \
                 see whether the server is stuck, raise --timeout or lower --connect-rate"
            ),
            Error::FileLimit { needed, limit } => write!(
                f,
                "this run needs {needed} open files and the limit is {limit}: raise it (ulimit -Hn, as root), or use fewer lines"
            ),
            Error::NotDelivered { subscribers, sub_path, pub_path } => write!(
                f,
                "{subscribers} subscribers got none of the messages published to {pub_path} (the first is on {sub_path}): \
                 see whether --sub-path and --pub-path name the same channel of this server"
            ),
            Error::NotJoined(why) => {
                write!(f, "{why}; see whether --path, --channel and --form are what this server offers")
            }
            Error::NotReceived(why) => f.write_str(why),
            Error::Process { pid, source } => {
                write!(f, "process {pid} cannot be read: {source}; give the server's process id with --pid")
            }
            Error::ProcessEnded { pid } => {
                write!(f, "process {pid} ended during the run: see the server's log for the reason")
            }
            Error::Io { what, source } => write!(f, "{what}: {source}"),
            Error::Interrupted => f.write_str("stopped before anything was measured"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Process { source, .. } | Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
