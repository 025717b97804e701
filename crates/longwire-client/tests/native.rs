//! The client against the real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longwire_client::protocol::{Publication, Unrecovered};
use longwire_client::{
    Client, ClientBuilder, Data, Error, ErrorCode, Event, Form, HistoryRange, Publish, SubscribeOptions, Subscription,
};
use longwire_server::{ChannelOptions, Namespaces, Running, Server, ServerBuilder, Who};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::PATIENCE;

fn builder() -> ServerBuilder {
    let full = ChannelOptions {
        history_size: 100_000,
        history_bytes: 64 << 20,
        presence: true,
        joins: true,
        state_keys: 100,
        streams: true,
        ..ChannelOptions::default()
    };
    let short = ChannelOptions { history_size: 5, ..ChannelOptions::default() };
    let mute = ChannelOptions { publish: Who::Nobody, ..ChannelOptions::default() };
    let namespaces = [("full", full), ("short", short), ("none", ChannelOptions::default()), ("mute", mute)];
    let namespaces = Namespaces::new(namespaces.map(|(name, options)| (name.to_owned(), options))).unwrap();
    Server::builder().native("/v1/ws").configure(|config| {
        config.shards = 2;
        config.drain = Duration::ZERO;
        config.namespaces = Arc::new(namespaces);
    })
}

fn serve() -> (Running, SocketAddr) {
    let running = builder().start("127.0.0.1:0").unwrap();
    let address = running.addresses()[0];
    (running, address)
}

fn client(address: SocketAddr, form: Form) -> ClientBuilder {
    Client::builder(&format!("ws://{address}")).form(form).configure(|config| {
        config.backoff = Duration::from_millis(20);
        config.max_backoff = Duration::from_millis(50);
    })
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

async fn next(subscription: &mut Subscription) -> Event {
    within(subscription.next()).await.expect("an event")
}

async fn next_publication(subscription: &mut Subscription) -> Arc<Publication> {
    loop {
        match next(subscription).await {
            Event::Publication(publication) => return publication,
            Event::Missed(why, _) => panic!("missed: {why:?}"),
            Event::Ended(why) => panic!("ended: {why}"),
            _ => {}
        }
    }
}

fn text(publication: &Publication) -> String {
    match publication.data.as_ref().expect("data") {
        Data::Json(json) => serde_json::from_slice(json).unwrap(),
        data => String::from_utf8(data.as_bytes().to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn everything_works_in_both_forms() {
    let (_server, address) = serve();
    for form in Form::ALL {
        let channel = format!("full:{form:?}");
        let client = client(address, form).info(r#"{"name":"lin"}"#).connect().unwrap();
        let options = SubscribeOptions { state: true, members: true, ..SubscribeOptions::default() };
        let mut subscription = client.subscribe_with(&channel, options).unwrap();
        let Event::Subscribed(now) = next(&mut subscription).await else { panic!() };
        assert!(now.options.history && now.options.presence && now.options.state && now.options.streams);
        assert_eq!(now.members.map(|members| members.len()), Some(1), "{form:?}");
        while !matches!(next(&mut subscription).await, Event::State { first: true, done: true, .. }) {}

        let first = within(client.publish(&channel, "你好")).await.unwrap().position.unwrap();
        let publication = next_publication(&mut subscription).await;
        assert_eq!((publication.offset, text(&publication).as_str()), (first.offset, "你好"));
        let info = publication.from.as_ref().and_then(|from| from.info.clone());
        assert_eq!(info.as_deref(), Some(&br#"{"name":"lin"}"#[..]));
        assert_eq!(subscription.position(), Some(first));

        let keyed = Publish { key: Some("k".into()), once: Some("o".into()), ..Publish::new(channel.as_str(), vec![1, 2]) };
        let one = within(client.publish_with(keyed.clone())).await.unwrap();
        let two = within(client.publish_with(keyed)).await.unwrap();
        assert_eq!((one.position, two.repeated), (two.position, true));
        let page = within(client.state_of(&channel, None, None)).await.unwrap();
        assert_eq!(page.entries[0].data.as_ref().map(Data::as_bytes), Some(&[1, 2][..]));
        assert_eq!(next_publication(&mut subscription).await.rare.as_ref().unwrap().key.as_deref(), Some("k"));

        let range = HistoryRange { after: Some(first), ..HistoryRange::default() };
        let page = within(client.history(&channel, range)).await.unwrap();
        assert_eq!((page.publications.len(), page.more), (1, false));
        let page = within(client.presence(&channel, None, None)).await.unwrap();
        assert_eq!((page.members.len(), page.sessions), (1, 1));

        let mut stream = within(client.stream(Publish::new(channel.as_str(), "It"))).await.unwrap();
        stream.append(" is").await.unwrap();
        let began = stream.position().offset;
        within(client.cancel(&channel, began)).await.unwrap();
        within(stream.cancelled()).await;
        within(stream.finish()).await.unwrap();
        let mut whole = text(&*next_publication(&mut subscription).await);
        loop {
            if let Event::Append(piece) = next(&mut subscription).await {
                whole.push_str(piece.data.as_deref().unwrap_or_default());
                if piece.end.is_some() {
                    break;
                }
            }
        }
        assert_eq!(whole, "It is");
        within(client.close()).await;
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_said_with_its_code() {
    let (_server, address) = serve();
    let client = client(address, Form::Binary).connect().unwrap();
    let code = |error: Error| error.code().unwrap();
    assert_eq!(code(within(client.publish("mute:a", "x")).await.unwrap_err()), ErrorCode::PermissionDenied);
    assert_eq!(code(within(client.publish("nowhere:a", "x")).await.unwrap_err()), ErrorCode::UnknownNamespace);
    assert_eq!(code(within(client.presence("none:a", None, None)).await.unwrap_err()), ErrorCode::NotEnabled);
    let stream = Publish::new("short:a", "x");
    assert_eq!(code(within(client.stream(stream)).await.unwrap_err()), ErrorCode::NotEnabled);
    let mut refused = client.subscribe("nowhere:a").unwrap();
    assert!(matches!(next(&mut refused).await, Event::Ended(why) if why.code == ErrorCode::UnknownNamespace));
    within(client.close()).await;
}

/// Passes bytes on, and cuts each line after a number of bytes of its own.
async fn cutting_proxy(server: SocketAddr, cuts: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut near, _)) = listener.accept().await else { return };
            let number = cuts.fetch_add(1, Ordering::Relaxed);
            // From within the handshake to tens of kilobytes, the same in each run.
            let mut left = (number.wrapping_mul(2_654_435_761) % 40_000) as usize;
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                let (mut up, mut down) = ([0; 1000], [0; 1000]);
                while left > 0 {
                    let passed = tokio::select! {
                        read = near.read(&mut up) => pass(read, &up, &mut far, left).await,
                        read = far.read(&mut down) => pass(read, &down, &mut near, left).await,
                    };
                    let Some(passed) = passed else { return };
                    left -= passed;
                }
            });
        }
    });
    address
}

async fn pass(read: std::io::Result<usize>, bytes: &[u8], to: &mut TcpStream, left: usize) -> Option<usize> {
    let count = read.ok().filter(|count| *count > 0)?.min(left);
    to.write_all(&bytes[..count]).await.ok().map(|()| count)
}

#[tokio::test]
async fn cut_anywhere_nothing_is_lost_and_nothing_comes_twice() {
    const ALL: usize = 3000;
    let (_server, address) = serve();
    let cuts = Arc::new(AtomicU64::new(1));
    let proxy = cutting_proxy(address, cuts.clone()).await;
    let subscriber = client(proxy, Form::Json).connect().unwrap();
    let mut subscription = subscriber.subscribe("full:cuts").unwrap();
    // Until it has begun, there is nothing to lose.
    assert!(matches!(next(&mut subscription).await, Event::Subscribed(_)));
    let publisher = client(proxy, Form::Binary).connect().unwrap();
    let publishing: Vec<_> = (0..8)
        .map(|part| {
            let publisher = publisher.clone();
            tokio::spawn(async move {
                for n in 0..ALL / 8 {
                    publisher.publish("full:cuts", format!("{part} {n}")).await.unwrap();
                }
            })
        })
        .collect();
    let mut next_of = [0; 8];
    for offset in 1..=ALL as u64 {
        let publication = next_publication(&mut subscription).await;
        assert_eq!(publication.offset, offset);
        let said = text(&publication);
        let (part, n) = said.split_once(' ').unwrap();
        let expected = &mut next_of[part.parse::<usize>().unwrap()];
        assert_eq!(n.parse(), Ok(*expected), "of {part}");
        *expected += 1;
    }
    for publishing in publishing {
        within(publishing).await.unwrap();
    }
    assert!(cuts.load(Ordering::Relaxed) > 10, "{cuts:?} lines");
}

#[tokio::test]
async fn a_slow_consumer_gets_everything_in_the_end() {
    const ALL: u64 = 20_000;
    let (_server, address) = serve();
    let slow = client(address, Form::Binary).connect().unwrap();
    let mut subscription = slow.subscribe("full:slow").unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Subscribed(_)));
    let publisher = client(address, Form::Binary).connect().unwrap();
    let text = "x".repeat(500);
    let mut publishing = tokio::task::JoinSet::new();
    for part in 0..20 {
        let (publisher, text) = (publisher.clone(), text.clone());
        publishing.spawn(async move {
            for _ in 0..ALL / 20 {
                publisher.publish("full:slow", text.as_str()).await.unwrap_or_else(|error| panic!("{part}: {error}"));
            }
        });
    }
    // Ten megabytes: more than the server keeps for one line.
    while let Some(done) = within(publishing.join_next()).await {
        done.unwrap();
    }
    for offset in 1..=ALL {
        assert_eq!(next_publication(&mut subscription).await.offset, offset);
    }
}

#[tokio::test]
async fn what_is_gone_is_said_to_be_missing() {
    let (_server, address) = serve();
    let client = client(address, Form::Json).connect().unwrap();
    let mut subscription = client.subscribe("short:a").unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Subscribed(_)));
    within(client.publish("short:a", "seen")).await.unwrap();
    next_publication(&mut subscription).await;
    let since = subscription.position();
    drop(subscription);
    for n in 0..10 {
        within(client.publish("short:a", n.to_string())).await.unwrap();
    }
    let options = SubscribeOptions { since, ..SubscribeOptions::default() };
    let mut subscription = client.subscribe_with("short:a", options).unwrap();
    let Event::Missed(Unrecovered::Expired, now) = next(&mut subscription).await else { panic!() };
    assert_eq!((now.position.offset, subscription.position()), (11, Some(now.position)));
    drop(subscription);
    let mut subscription =
        client.subscribe_with("short:a", SubscribeOptions { last: Some(3), ..SubscribeOptions::default() }).unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Subscribed(_)));
    assert_eq!(next_publication(&mut subscription).await.offset, 9);
}

/// The memory of this server ends with it: that is said, and the subscription goes on.
#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let (server, address) = serve();
    let client = client(address, Form::Binary).connect().unwrap();
    let mut subscription = client.subscribe("full:restart").unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Subscribed(_)));
    within(client.publish("full:restart", "before")).await.unwrap();
    next_publication(&mut subscription).await;
    server.shutdown();
    tokio::task::spawn_blocking(|| server.join()).await.unwrap().unwrap();
    let publishing = tokio::spawn({
        let client = client.clone();
        async move { client.publish("full:restart", "while it was away").await }
    });
    let server = builder().start(address).unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Missed(Unrecovered::Epoch, _)));
    within(publishing).await.unwrap().unwrap();
    assert_eq!(text(&*next_publication(&mut subscription).await), "while it was away");
    drop(server);
}
