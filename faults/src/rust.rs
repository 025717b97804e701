//! Clients in Rust: subscribers, and the publishers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longwire_client::{Client, Data, Event, Subscription, Transport};
use tokio::task::JoinSet;

use crate::ledger::{Ledger, Report};

/// The channel of this number.
pub(crate) fn channel(index: usize) -> String {
    format!("fault:{index}")
}

/// Starts `clients` subscribers, each with a line of its own, which write to `ledger` until they are dropped.
pub(crate) fn subscribe(ledger: &Ledger, address: &str, clients: usize, channels: usize) -> Result<JoinSet<()>, String> {
    let mut subscribers = JoinSet::new();
    for index in 0..clients {
        let client = client(address)?;
        let subscription = client.subscribe(&channel(index % channels)).map_err(|error| error.to_string())?;
        let ledger = ledger.clone();
        subscribers.spawn(async move {
            follow(subscription, |report| ledger.note(index, report)).await;
            drop(client);
        });
    }
    Ok(subscribers)
}

async fn follow(mut subscription: Subscription, note: impl Fn(Report)) {
    loop {
        note(match subscription.next().await {
            Some(Event::Subscribed(_)) => Report::Subscribed,
            Some(Event::Recovered(_)) => Report::Recovered,
            Some(Event::Publication(publication)) => Report::Publication { number: number(publication.data.as_ref()) },
            Some(Event::Missed(reason, _)) => Report::Missed { reason: format!("{reason:?}") },
            Some(Event::Gap(offset)) => Report::Missed { reason: format!("gap up to {offset}") },
            Some(Event::Ended(error)) => return note(Report::Ended { reason: format!("{error:?}") }),
            None => return note(Report::Ended { reason: "the client has ended".to_owned() }),
            Some(_) => continue,
        });
    }
}

/// Publishes `0..each` in a channel, with a pause after each, and counts in `published` what the server has confirmed. Returns the client,
/// so that its line can stay.
pub(crate) async fn publish(
    client: Client,
    channel: String,
    each: u64,
    pause: Duration,
    published: Arc<AtomicU64>,
) -> Result<Client, String> {
    for n in 0..each {
        client.publish(&channel, Data::from(n.to_string())).await.map_err(|error| error.to_string())?;
        published.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
    }
    Ok(client)
}

/// A client that does not wait long to come back.
pub(crate) fn client(address: &str) -> Result<Client, String> {
    Client::builder(address)
        .transports([Transport::WebSocket])
        .configure(|config| {
            config.backoff = Duration::from_millis(50);
            config.max_backoff = Duration::from_millis(1000);
            config.connect_timeout = Duration::from_secs(5);
            config.ping_interval = Duration::from_secs(2);
            config.ping_timeout = Duration::from_secs(2);
        })
        .connect()
        .map_err(|error| error.to_string())
}

fn number(data: Option<&Data>) -> Option<u64> {
    let text = data.map_or(&b""[..], Data::as_bytes);
    std::str::from_utf8(text).ok().and_then(|text| text.trim_matches('"').parse().ok())
}
