//! Clients in Rust: subscribers, and the publishers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longwire_client::protocol::Publication;
use longwire_client::{Client, Data, Event, SubscribeOptions, Subscription, Transport};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::deal::{self, Deal, Digest};
use crate::ledger::{Ledger, Report};
use crate::random::Random;

/// All that was published.
const ALL: SubscribeOptions = SubscribeOptions { last: Some(u32::MAX), state: true, since: None, members: false };

/// Starts `clients` subscribers, each with a line of its own, which write to `ledger` until they are dropped.
pub(crate) fn subscribe(
    ledger: &Ledger,
    address: &str,
    transport: Transport,
    clients: usize,
    deal: Deal,
) -> Result<JoinSet<()>, String> {
    let mut subscribers = JoinSet::new();
    for index in 0..clients {
        let client = client(address, transport)?;
        for (place, channel) in deal.of(index).enumerate() {
            let (client, ledger) = (client.clone(), ledger.clone());
            // One of its channels is begun anew now and then.
            let renewals = if place == index % deal.follows { deal.renewals } else { 0 };
            let mut random = Random::new(index as u64 + 1);
            subscribers.spawn(async move {
                let mut note = |report| ledger.note(index, channel, report);
                for renewal in 0..=renewals {
                    let subscription = match client.subscribe_with(&deal::name(channel), ALL) {
                        Ok(subscription) => subscription,
                        Err(error) => return note(Report::Ended { reason: error.to_string() }),
                    };
                    let following = follow(subscription, &mut note);
                    if renewal == renewals {
                        return following.await;
                    }
                    tokio::select! {
                        () = following => return,
                        () = sleep(deal.renewal(random.fraction())) => {}
                    }
                }
            });
        }
    }
    Ok(subscribers)
}

async fn follow(mut subscription: Subscription, note: &mut impl FnMut(Report)) {
    let mut keys = BTreeMap::new();
    loop {
        let report = match subscription.next().await {
            Some(Event::Subscribed(_)) => Report::Subscribed,
            Some(Event::Recovered(_)) => Report::Recovered,
            Some(Event::Publication(publication)) => {
                let number = number(&publication);
                note(Report::Publication { number });
                if !change(&mut keys, &publication, number) {
                    continue;
                }
                Report::Keys(Digest::of(&keys))
            }
            Some(Event::State { entries, first, .. }) => {
                if first {
                    keys.clear();
                }
                for entry in entries {
                    change(&mut keys, &entry, number(&entry));
                }
                Report::Keys(Digest::of(&keys))
            }
            Some(Event::Missed(reason, _)) => Report::Missed { reason: format!("{reason:?}") },
            Some(Event::Gap(offset)) => Report::Missed { reason: format!("gap up to {offset}") },
            Some(Event::Ended(error)) => return note(Report::Ended { reason: format!("{error:?}") }),
            None => return note(Report::Ended { reason: "the client has ended".to_owned() }),
            Some(_) => continue,
        };
        note(report);
    }
}

/// Sets or removes a key, if the publication has one.
fn change(keys: &mut BTreeMap<String, u64>, publication: &Publication, number: Option<u64>) -> bool {
    let Some(rare) = &publication.rare else { return false };
    let (Some(key), Some(number)) = (&rare.key, number) else { return false };
    if rare.removed {
        keys.remove(&**key);
    } else {
        keys.insert(key.to_string(), number);
    }
    true
}

/// Publishes `0..each` in a channel, with a pause after each, and counts in `published` what the server has confirmed. Returns the client,
/// so that its line can stay.
pub(crate) async fn publish(
    client: Client,
    channel: usize,
    each: u64,
    pause: Duration,
    published: Arc<AtomicU64>,
) -> Result<Client, String> {
    for number in 0..each {
        client.publish_with(deal::publication(channel, number)).await.map_err(|error| error.to_string())?;
        published.fetch_add(1, Ordering::Relaxed);
        sleep(pause).await;
    }
    Ok(client)
}

/// A client that does not wait long to come back.
pub(crate) fn client(address: &str, transport: Transport) -> Result<Client, String> {
    Client::builder(address)
        .transports([transport])
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

/// The number of a publication: its event, or its data.
fn number(publication: &Publication) -> Option<u64> {
    if let Some(event) = publication.rare.as_ref().and_then(|rare| rare.event.as_deref()) {
        return event.parse().ok();
    }
    let text = publication.data.as_ref().map_or(&b""[..], Data::as_bytes);
    std::str::from_utf8(text).ok().and_then(|text| text.trim_matches('"').parse().ok())
}
