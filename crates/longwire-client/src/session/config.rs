//! What a session is told once.

use std::time::Duration;

use bytes::Bytes;

use crate::transport::Transport;

/// How a [`Session`](super::Session) behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who one is, for servers that want to know.
    pub token: Option<String>,
    /// Whether more tokens can be had: then the session asks for one ([`Output::Token`](super::Output::Token)) when it has none,
    /// and before the one it has expires.
    pub renews_token: bool,
    /// What the client says of itself: JSON of up to 1 KiB.
    pub info: Option<Bytes>,
    /// The first reconnect waits for anything up to this, each further one for up to twice as long. Default: 500 ms.
    pub backoff: Duration,
    /// But never longer than this. Default: 20 s.
    pub max_backoff: Duration,
    /// A line that stood for so long begins anew with the first back-off when it is lost. Default: 5 s.
    pub stable_after: Duration,
    /// How long opening a line may take, and `connect` on it. Default: 10 s each.
    pub connect_timeout: Duration,
    /// What may carry a line, from the best on. Default: the WebSocket only; a [`Client`](crate::Client) has all of them unless its
    /// [builder](crate::ClientBuilder::transports) says otherwise.
    pub transports: Vec<Transport>,
    /// How long both may take together while there is another transport to be tried; a stream is to begin within four fifths of it.
    /// Default: 5 s.
    pub open_timeout: Duration,
    /// On a transport that is not the best, better ones are tried after about so long, then after waits that double, up to ten times as
    /// long. Default: 60 s; zero: never.
    pub climb: Duration,
    /// After how long without a message to `ping`; sooner if the server would. Default: 20 s.
    pub ping_interval: Duration,
    /// How long to wait for anything then, before the line is given up. Default: 10 s.
    pub ping_timeout: Duration,
    /// Requests that may wait for their answers, on the line or for a line. Default: 1024.
    pub max_requests: usize,
    /// Their bytes, beyond which no further request is taken. Default: 1 MiB.
    pub max_request_bytes: usize,
    /// Subscriptions. Default: 10,000.
    pub max_subscriptions: usize,
    /// A publication is sent again after a lost line for so long, with its age, by which the server knows whether it would still know it.
    /// A server that does not look at that publishes it twice if its idempotency window is shorter. Default: 4 min.
    pub replay_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token: None,
            renews_token: false,
            info: None,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(20),
            stable_after: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            transports: vec![Transport::WebSocket],
            open_timeout: Duration::from_secs(5),
            climb: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            max_requests: 1024,
            max_request_bytes: 1 << 20,
            max_subscriptions: 10_000,
            replay_within: Duration::from_secs(240),
        }
    }
}
