//! The client over each transport, and from one to the other, with a real server and networks that let little through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longwire_client::session::Stopped;
use longwire_client::{Client, ClientBuilder, ConnectionStates, Data, Event, Lost, State, Subscription, Transport};
use longwire_server::{ChannelOptions, Namespaces, Running, Server};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::proxy::{Mood, Proxy};
use crate::support::PATIENCE;

const CHANNEL: &str = "full:a";

fn serve() -> (Running, SocketAddr) {
    let full = ChannelOptions { history_size: 100_000, history_bytes: 64 << 20, ..ChannelOptions::default() };
    let namespaces = Arc::new(Namespaces::new([("full".to_owned(), full)]).unwrap());
    let server = Server::builder().native("/v1/ws").http_lines("/v1/http").configure(|config| {
        config.shards = 2;
        config.drain = Duration::ZERO;
        config.namespaces = namespaces;
    });
    let running = server.start("127.0.0.1:0").unwrap();
    let address = running.addresses()[0];
    (running, address)
}

/// A client in a hurry.
fn client(address: SocketAddr) -> ClientBuilder {
    Client::builder(&format!("ws://{address}")).configure(|config| {
        config.backoff = Duration::from_millis(20);
        config.max_backoff = Duration::from_millis(50);
        config.open_timeout = Duration::from_secs(1);
        config.climb = Duration::from_millis(200);
    })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The next publication's offset and text; nothing may be missing.
async fn next(subscription: &mut Subscription) -> (u64, String) {
    loop {
        match within(subscription.next()).await.expect("an event") {
            Event::Publication(publication) => {
                let data = publication.data.as_ref().expect("data");
                let text = match data {
                    Data::Json(json) => serde_json::from_slice(json).unwrap(),
                    data => String::from_utf8(data.as_bytes().to_vec()).unwrap(),
                };
                return (publication.offset, text);
            }
            Event::Subscribed(_) | Event::Recovered(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until the line is carried so.
async fn carried(states: &mut ConnectionStates, wanted: Transport) {
    within(async {
        loop {
            match states.next().await.expect("the client is there") {
                State::Connected { transport, .. } if transport == wanted => return,
                State::Stopped(why) => panic!("stopped: {why}"),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn each_transport_alone_does_everything() {
    for transport in Transport::ALL {
        let (_server, address) = serve();
        let proxy = Proxy::start(address, Mood::Open).await;
        let client = client(proxy.address).transports([transport]).info(r#"{"name":"lin"}"#).connect().unwrap();
        let mut states = client.connection_states();
        let mut subscription = client.subscribe(CHANNEL).unwrap();
        assert!(matches!(within(subscription.next()).await, Some(Event::Subscribed(_))));
        assert_eq!(client.transport(), Some(transport));
        assert_eq!(within(client.publish(CHANNEL, "1 你好")).await.unwrap().position.unwrap().offset, 1);
        assert_eq!(next(&mut subscription).await, (1, "1 你好".to_owned()));
        // More than a read holds.
        let long = format!("2 {}", "x".repeat(60_000));
        within(client.publish(CHANNEL, long.as_str())).await.unwrap();
        assert_eq!(next(&mut subscription).await, (2, long));

        carried(&mut states, transport).await;
        proxy.cut();
        let publishing: Vec<_> = (3..=30)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.publish(CHANNEL, n.to_string()).await })
            })
            .collect();
        for publishing in publishing {
            within(publishing).await.unwrap().unwrap_or_else(|error| panic!("{transport}: {error}"));
        }
        for n in 3..=30 {
            assert_eq!(next(&mut subscription).await, (n, n.to_string()), "{transport}");
        }
        // The line that was there has gone, and it is the same session.
        carried(&mut states, transport).await;
        assert!(matches!(client.connection(), State::Connected { resumed: true, .. }), "{transport}");
        within(client.close()).await;
        let over_http = transport != Transport::WebSocket;
        assert_eq!(proxy.requests("DELETE /v1/http/"), usize::from(over_http), "{transport}: the server is told of the end");
        assert_eq!(proxy.requests("GET /v1/ws") == 0, over_http, "{transport}");
    }
}

#[tokio::test]
async fn what_waits_for_a_post_is_joined() {
    let (_server, address) = serve();
    let proxy = Proxy::start(address, Mood::Open).await;
    let client = client(proxy.address).transports([Transport::Poll]).connect().unwrap();
    carried(&mut client.connection_states(), Transport::Poll).await;
    let publishing: Vec<_> = (0..500)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.publish(CHANNEL, n.to_string()).await })
        })
        .collect();
    for publishing in publishing {
        within(publishing).await.unwrap().unwrap();
    }
    let posts = proxy.requests("POST /v1/http/");
    assert!((1..100).contains(&posts), "{posts} requests for 500 publications");
}

#[tokio::test]
async fn who_takes_events_slowly_gets_them_all() {
    const ALL: u64 = 4000;
    for transport in [Transport::Stream, Transport::Poll] {
        let (_server, address) = serve();
        let slow = client(address).transports([transport]).connect().unwrap();
        let mut subscription = slow.subscribe(CHANNEL).unwrap();
        assert!(matches!(within(subscription.next()).await, Some(Event::Subscribed(_))));
        let publisher = client(address).transports([transport]).connect().unwrap();
        let rest = "x".repeat(500);
        let mut publishing = tokio::task::JoinSet::new();
        for part in 0..20 {
            let (publisher, rest) = (publisher.clone(), rest.clone());
            publishing.spawn(async move {
                for n in 0..ALL / 20 {
                    publisher.publish(CHANNEL, format!("{part} {n} {rest}")).await.unwrap();
                }
            });
        }
        // Two megabytes: more than the client keeps, and than is on its way.
        while let Some(done) = within(publishing.join_next()).await {
            done.unwrap();
        }
        // Its own requests are answered, although there is no room for what stands before the answers.
        within(slow.publish(CHANNEL, "own")).await.unwrap();
        for offset in 1..=ALL + 1 {
            assert_eq!(next(&mut subscription).await.0, offset, "{transport}");
        }
    }
}

#[tokio::test]
async fn a_poll_is_answered_before_the_line_is_taken_for_dead() {
    let (_server, address) = serve();
    let proxy = Proxy::start(address, Mood::Open).await;
    let client = client(proxy.address).transports([Transport::Poll]).configure(|config| {
        config.ping_interval = Duration::from_secs(4);
    });
    let client = client.connect().unwrap();
    let mut states = client.connection_states();
    carried(&mut states, Transport::Poll).await;
    let quiet = timeout(Duration::from_secs(7), states.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert!(proxy.requests("GET /v1/http/") >= 3, "polls that were answered with nothing");
    assert_eq!(proxy.requests("POST /v1/http/"), 0, "no pings");
}

#[tokio::test]
async fn a_session_that_is_not_wanted_does_not_come_back() {
    let (server, address) = serve();
    for transport in [Transport::Stream, Transport::Poll] {
        let client = client(address).transports([transport]).connect().unwrap();
        let mut states = client.connection_states();
        carried(&mut states, transport).await;
        let State::Connected { session, .. } = client.connection() else { panic!() };
        within(server.node().disconnect_session(session)).await.unwrap();
        let stopped = within(async { while !matches!(states.next().await, None | Some(State::Stopped(_))) {} });
        stopped.await;
        assert_eq!(client.connection(), State::Stopped(Stopped::Closed(3501)), "{transport}");
    }
}

#[tokio::test]
async fn without_a_server_it_waits_between_rounds() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client(nobody).connect().unwrap();
    let mut states = client.connection_states();
    let lost = within(async {
        loop {
            if let Some(State::Waiting { lost, .. }) = states.next().await {
                return lost;
            }
        }
    });
    assert_eq!(lost.await, Lost::Cut);
    assert_eq!(client.transport(), None);
    assert!(client.trouble().is_some_and(|why| why.contains("cannot reach the server")), "{:?}", client.trouble());
}

/// Falls back behind such a proxy, and climbs when it lets everything through.
async fn falls_back(mood: Mood, to: Transport) {
    let (_server, address) = serve();
    let proxy = Proxy::start(address, mood).await;
    let client = client(proxy.address).connect().unwrap();
    let mut states = client.connection_states();
    let mut subscription = client.subscribe(CHANNEL).unwrap();
    within(client.publish(CHANNEL, "before")).await.unwrap();
    carried(&mut states, to).await;
    proxy.becomes(Mood::Open);
    // Nothing between but that it stands on another.
    within(async {
        loop {
            match states.next().await.unwrap() {
                State::Connected { transport: Transport::WebSocket, resumed, .. } => return assert!(resumed),
                State::Connected { transport, .. } => assert_ne!(transport, Transport::Poll, "from {to}"),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    within(client.publish(CHANNEL, "after")).await.unwrap();
    let mut last = next(&mut subscription).await;
    while last.1 != "after" {
        last = next(&mut subscription).await;
    }
    assert_eq!(last.0, 2);
    assert_eq!(client.transport(), Some(Transport::WebSocket));
}

#[tokio::test]
async fn where_upgrades_are_refused_it_streams() {
    falls_back(Mood::NoUpgrades, Transport::Stream).await;
}

#[tokio::test]
async fn where_websockets_are_mute_it_streams() {
    falls_back(Mood::MuteUpgrades, Transport::Stream).await;
}

#[tokio::test]
async fn where_answers_are_collected_it_polls() {
    falls_back(Mood::Collecting, Transport::Poll).await;
}

/// Publishes `0..`, one after the other, a thousand in a second at most, until told to stop; says how many.
fn publish(client: &Client, who: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (client, stop) = (client.clone(), stop.clone());
    tokio::spawn(async move {
        let mut count = 0;
        // The server must remember all that a client misses meanwhile.
        let mut pace = tokio::time::interval(Duration::from_millis(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            let done = client.publish(CHANNEL, format!("{who} {count}")).await.unwrap();
            assert!(done.position.is_some());
            count += 1;
            pace.tick().await;
        }
        count
    })
}

#[tokio::test]
async fn a_sequence_over_all_of_it_has_no_hole_and_no_repeat() {
    let (_server, address) = serve();
    let proxy = Proxy::start(address, Mood::Open).await;
    let near = client(proxy.address).connect().unwrap();
    let mut states = near.connection_states();
    let mut subscription = near.subscribe(CHANNEL).unwrap();
    assert!(matches!(within(subscription.next()).await, Some(Event::Subscribed(_))));
    let other = client(address).connect().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publishers = [publish(&near, "near", &stop), publish(&other, "other", &stop)];
    let following = tokio::spawn(async move {
        let (mut offset, mut counts) = (0, [0, 0]);
        loop {
            let (at, text) = next(&mut subscription).await;
            offset += 1;
            assert_eq!(at, offset, "{text}");
            let (who, number) = text.split_once(' ').unwrap();
            if who == "end" {
                return counts;
            }
            let count = &mut counts[usize::from(who == "other")];
            assert_eq!(number.parse(), Ok(*count), "of {who}");
            *count += 1;
        }
    });
    for (mood, transport) in [
        (Mood::NoUpgrades, Transport::Stream),
        (Mood::Open, Transport::WebSocket),
        (Mood::Collecting, Transport::Poll),
        (Mood::NoUpgrades, Transport::Stream),
        (Mood::Open, Transport::WebSocket),
        (Mood::MuteUpgrades, Transport::Stream),
        (Mood::Open, Transport::WebSocket),
    ] {
        proxy.becomes(mood);
        if mood != Mood::Open {
            proxy.cut();
        }
        carried(&mut states, transport).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut published = [0, 0];
    for (count, publisher) in published.iter_mut().zip(publishers) {
        *count = within(publisher).await.unwrap();
    }
    within(other.publish(CHANNEL, "end of it")).await.unwrap();
    assert_eq!(within(following).await.unwrap(), published);
    assert!(published.iter().all(|count| *count > 20), "{published:?}");
}
