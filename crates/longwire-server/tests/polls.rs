//! Channels by polling: one answer with what has happened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longwire_protocol::Data;
use longwire_server::{ChannelOptions, Namespaces, Running, ServerBuilder};
use serde_json::{Value, json};

use crate::support::{Http, Response, TestServer, answer, eventually, serve, within_bound};

/// A cursor without who reads.
fn position(since: &str) -> &str {
    since.split('.').next().expect("something")
}

fn build(builder: ServerBuilder) -> ServerBuilder {
    let history = || ChannelOptions { history_size: 100, ..ChannelOptions::default() };
    let all = [
        ("chat", ChannelOptions { presence: true, ..history() }),
        ("small", ChannelOptions { history_size: 3, ..history() }),
        ("state", ChannelOptions { state_keys: 100, ..history() }),
        ("long", ChannelOptions { history_size: 400, ..history() }),
        ("live", ChannelOptions::default()),
    ];
    let namespaces = Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options");
    builder.polls("/v1/poll").configure(|config| config.namespaces = Arc::new(namespaces))
}

#[track_caller]
fn serve_polls(shards: usize) -> TestServer {
    serve(shards, build)
}

fn publish(server: &Running, channel: &str, data: impl Into<Data>) {
    within_bound(async { server.node().channel(channel).publish(data).await }).expect("published");
}

fn get(address: SocketAddr, query: &str, more: &str) -> Response {
    answer(address, &format!("GET /v1/poll?{query} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"))
}

/// What an answer says: where the client is now, and the messages.
#[track_caller]
fn news_of(response: &Response) -> (String, Vec<Value>) {
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")), "{}", response.body);
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    let mut body: Value = serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.body));
    let since = body["since"].as_str().expect("a position").to_owned();
    assert_eq!(response.header("etag"), Some(&*format!("\"{since}\"")));
    let Value::Array(messages) = body["messages"].take() else { panic!("{body}") };
    (since, messages)
}

#[track_caller]
fn poll(address: SocketAddr, query: &str) -> (String, Vec<Value>) {
    news_of(&get(address, query, ""))
}

#[track_caller]
fn data_of(messages: &[Value]) -> Vec<Value> {
    let data = |message: &Value| {
        assert_eq!(message["type"], "publication", "{message}");
        message["data"].clone()
    };
    messages.iter().map(data).collect()
}

/// How many are subscribed to a channel.
fn subscribers(server: &Running, channel: &str) -> usize {
    let channels = within_bound(async { server.node().channels().await }).expect("channels").channels;
    channels.iter().find(|info| *info.name == *channel).map_or(0, |info| info.subscribers)
}

#[test]
fn the_first_answer_says_where_one_is_and_the_next_what_has_happened_since() {
    for shards in [1, 3] {
        let server = serve_polls(shards);
        publish(&server, "chat:a", "before");
        let start = Instant::now();
        let (since, messages) = poll(server.address, "channel=chat:a");
        assert_eq!(messages, Vec::<Value>::new());
        assert!(position(&since).ends_with(":1") && start.elapsed() < Duration::from_secs(5), "{since}");
        // The past, if it is wanted.
        let (again, messages) = poll(server.address, "channel=chat:a&last=5");
        assert_eq!((position(&again), data_of(&messages)), (position(&since), vec![json!("before")]));
        publish(&server, "chat:a", "one");
        publish(&server, "chat:a", "two");
        let (since, messages) = poll(server.address, &format!("channel=chat:a&since={since}"));
        assert_eq!(data_of(&messages), ["one", "two"]);
        assert_eq!((&messages[0]["channel"], &messages[0]["offset"]), (&json!("chat:a"), &json!(2)));
        assert!(position(&since).ends_with(":3"), "{since}");
        let start = Instant::now();
        let (same, messages) = poll(server.address, &format!("channel=chat:a&since={since}&wait=1"));
        assert_eq!((same, messages.len()), (since.clone(), 0));
        assert!(start.elapsed() >= Duration::from_millis(980), "{:?}", start.elapsed());
        let start = Instant::now();
        assert_eq!(poll(server.address, &format!("channel=chat:a&since={since}&wait=0")).1.len(), 0);
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        server.expect_empty();
        eventually("nobody is subscribed", || subscribers(&server, "chat:a") == 0);
        let sessions = || within_bound(async { server.node().sessions().await }).expect("sessions").sessions;
        eventually("it is there between its polls, once", || sessions().len() == 1 && sessions()[0].subscriptions.is_none());
    }
}

#[test]
fn a_poll_waits_for_the_next_publication() {
    for shards in [1, 3] {
        let server = serve_polls(shards);
        for channel in ["chat:a", "chat:b", "live:c"] {
            let (since, _) = poll(server.address, &format!("channel={channel}"));
            let mut clients: Vec<Http> = (0..5).map(|_| Http::open(server.address)).collect();
            for client in &mut clients {
                client.ask("GET", &format!("/v1/poll?channel={channel}&since={since}"), "", b"");
            }
            eventually("all are waiting", || subscribers(&server, channel) == 5);
            publish(&server, channel, "now");
            for client in &mut clients {
                assert_eq!(data_of(&news_of(&client.0.response()).1), ["now"]);
            }
            eventually("nobody is left", || subscribers(&server, channel) == 0);
        }
    }
}

#[test]
fn a_condition_is_answered_with_304() {
    let server = serve_polls(2);
    publish(&server, "chat:a", "one");
    let looked = get(server.address, "channel=chat:a", "");
    // The second one is told who it is from now on.
    let tag = looked.header("etag").expect("a tag").to_owned();
    let first = get(server.address, "channel=chat:a&wait=0", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(position(&news_of(&first).0), position(&news_of(&looked).0));
    let tag = first.header("etag").expect("a tag").to_owned();
    let inner = tag.trim_matches('"');
    // As it stands, and as proxies rewrite it.
    for tag in [
        tag.clone(),
        format!("W/{tag}"),
        format!("w/{tag}"),
        format!("\"other\", {tag}"),
        format!("\"{inner}-gzip\""),
        format!("W/\"{inner}--gzip\""),
        format!("\"{inner};gz\""),
    ] {
        let same = get(server.address, "channel=chat:a&wait=0", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((same.status, &*same.body), (304, ""), "{}", same.head);
        assert_eq!(same.header("etag"), first.header("etag"));
    }
    // Whoever has anything has the newest: it learns where that is.
    let any = get(server.address, "channel=chat:a", "If-None-Match: *\r\n");
    assert_eq!((any.status, any.header("etag").map(position)), (304, first.header("etag").map(position)));
    publish(&server, "chat:a", "two");
    for tag in [tag.clone(), format!("\"x\", \"{inner}-gzip\"")] {
        let news = get(server.address, "channel=chat:a", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!(data_of(&news_of(&news).1), ["two"]);
    }
    let bad = get(server.address, "channel=chat:a", "If-None-Match: \"yesterday\"\r\n");
    assert_eq!(bad.status, 400, "{}", bad.body);
}

#[test]
fn several_channels_are_one_position() {
    let server = serve_polls(3);
    let channels = "channels=chat:a,chat:b,chat:c";
    publish(&server, "chat:b", "before");
    let (since, messages) = poll(server.address, channels);
    assert_eq!((since.split(',').count(), messages.len()), (3, 0), "{since}");
    publish(&server, "chat:a", "one");
    publish(&server, "chat:c", "two");
    let mut at = since;
    let mut told = Vec::new();
    while told.len() < 2 {
        let (since, messages) = poll(server.address, &format!("{channels}&since={at}"));
        assert!(!messages.is_empty());
        at = since;
        told.extend(data_of(&messages));
    }
    told.sort_by_key(Value::to_string);
    assert_eq!(told, ["one", "two"]);
    let offsets: Vec<&str> = position(&at).split(',').filter_map(|at| at.split_once(':')).map(|(_, offset)| offset).collect();
    assert_eq!(offsets, ["1", "1", "1"]);
    assert_eq!(poll(server.address, &format!("{channels}&since={at}&wait=0")).1.len(), 0);
}

#[test]
fn a_position_that_is_lost_is_said_to_be() {
    let server = serve_polls(2);
    (0..9).for_each(|n| publish(&server, "small:a", n.to_string()));
    let (since, _) = poll(server.address, "channel=small:a");
    let epoch = since.split_once(':').expect("a position").0;
    for (lost, reason) in [(format!("{epoch}:1"), "expired"), ("ffffffff:1".into(), "epoch"), (format!("{epoch}:99"), "ahead")]
    {
        let start = Instant::now();
        let (now, messages) = poll(server.address, &format!("channel=small:a&since={lost}"));
        assert!(start.elapsed() < Duration::from_secs(5), "what is lost is news");
        assert_eq!((messages.len(), &messages[0]["recovered"], &messages[0]["reason"]), (1, &json!(false), &json!(reason)));
        assert_eq!(now, since);
    }
    // As much as is there.
    assert_eq!(data_of(&poll(server.address, &format!("channel=small:a&since={epoch}:7")).1), ["7", "8"]);
}

#[test]
fn keys_come_with_the_first_answer_too() {
    let server = serve_polls(1);
    within_bound(async { server.node().channel("state:a").set("x", Data::from("1")).await }).expect("set");
    let (_, messages) = poll(server.address, "channel=state:a");
    let states: Vec<&Value> = messages.iter().filter(|message| message["type"] == "state").collect();
    assert_eq!(states.len(), 1, "{messages:?}");
    assert_eq!((&states[0]["done"], states[0]["entries"].as_array().map(Vec::len)), (&json!(true), Some(1)));
}

#[test]
fn no_answer_leaves_out_where_a_client_is() {
    for shards in [2, 4] {
        let server = serve_polls(shards);
        for round in 0..10 {
            let channels: Vec<String> = (0..8).map(|n| format!("chat:{round}-{n}")).collect();
            let query = format!("channels={}", channels.join(","));
            let (mut since, _) = poll(server.address, &query);
            let mut told = 0;
            for n in 0..5 {
                channels.iter().for_each(|channel| publish(&server, channel, n.to_string()));
                let (now, messages) = poll(server.address, &format!("{query}&since={since}&wait=0"));
                assert!(now.split(',').all(|at| !at.is_empty()), "{since} became {now}");
                (since, told) = (now, told + data_of(&messages).len());
            }
            assert_eq!(told, 5 * channels.len());
        }
    }
}

fn set(server: &Running, channel: &str, key: &str, value: impl Into<Data>) {
    within_bound(async { server.node().channel(channel).set(key, value).await }).expect("set");
}

#[test]
fn keys_that_one_answer_does_not_hold_come_in_several() {
    let server = serve_polls(2);
    let value = |n: usize| format!("{n} {}", "x".repeat(60_000));
    let key = |n: usize| format!("k\u{e4} {n:02}");
    (0..40).for_each(|n| set(&server, "state:a", &key(n), value(n)));
    let (mut since, mut keys, mut published, mut is_done, mut polls) = (String::new(), Vec::new(), Vec::new(), false, 0);
    while !is_done || published.len() < 2 {
        let (now, messages) = poll(server.address, &format!("channel=state:a&since={since}&wait=0"));
        assert!(!messages.is_empty(), "{since}");
        let bytes: usize = messages.iter().map(|message| message.to_string().len()).sum();
        assert!(bytes < 2 << 20, "an answer of {bytes} bytes");
        for message in messages {
            match message["type"].as_str() {
                Some("state") => {
                    let entries = message["entries"].as_array().expect("a list");
                    keys.extend(entries.iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()));
                    is_done = message["done"] == true;
                }
                _ => published.push(message["data"].clone()),
            }
        }
        (since, polls) = (now, polls + 1);
        if polls == 1 {
            // What happens meanwhile comes after the keys.
            publish(&server, "state:a", "while the keys come");
            set(&server, "state:a", &key(0), "new");
        }
    }
    assert!(polls > 1);
    assert_eq!(keys, (0..40).map(key).collect::<Vec<_>>(), "each key once");
    assert_eq!(published, [json!("while the keys come"), json!("new")]);
    assert_eq!(poll(server.address, &format!("channel=state:a&since={since}&wait=0")), (since, Vec::new()));
}

#[test]
fn a_past_that_one_answer_does_not_hold_comes_in_several() {
    let server = serve_polls(2);
    let data = |n: usize| format!("{n} {}", "x".repeat(10_000));
    (0..300).for_each(|n| publish(&server, "long:a", data(n)));
    let (mut since, messages) = poll(server.address, "channel=long:a&last=300");
    let mut told = data_of(&messages);
    while told.len() < 300 {
        let (now, messages) = poll(server.address, &format!("channel=long:a&since={since}&wait=0"));
        assert!(!messages.is_empty(), "{} of 300", told.len());
        (since, told) = (now, [told, data_of(&messages)].concat());
    }
    assert_eq!(told, (0..300).map(|n| json!(data(n))).collect::<Vec<_>>());
}

#[test]
fn bad_requests_are_answered_with_a_status_and_a_reason() {
    let server = serve_polls(1);
    for (query, status, name) in [
        ("", 400, "bad_value"),
        ("channel=", 400, "bad_channel"),
        ("channel=chat:a&nonsense=1", 400, "bad_message"),
        ("channel=chat:a&wait=soon", 400, "bad_value"),
        ("channel=chat:a&since=yesterday", 400, "bad_value"),
        ("channels=chat:a,chat:b&since=0000000a:1", 400, "bad_value"),
        ("channel=nothing:a", 404, "unknown_namespace"),
        ("channels=chat:a,chat:a", 409, "already_subscribed"),
        ("channel=chat:a&token=x", 401, "unauthorized"),
    ] {
        let refused = get(server.address, query, "");
        let body: Value = serde_json::from_str(&refused.body).unwrap();
        assert_eq!((refused.status, &body["error"]["name"]), (status, &json!(name)), "{query}: {}", refused.body);
    }
    get(server.address, "channel=chat:a", "Origin: https://elsewhere.example\r\n").expect_error(403, "origin_not_allowed");
    let wrong = Http::open(server.address).request("POST", "/v1/poll?channel=chat:a", b"");
    wrong.expect_error(405, "method_not_allowed");
    server.expect_empty();
}

#[test]
fn who_may_not_listen_is_told_so() {
    let server = serve(1, |builder| {
        build(builder).configure(|config| {
            let closed = ChannelOptions { subscribe: longwire_server::Who::Nobody, ..ChannelOptions::default() };
            config.namespaces = Arc::new(Namespaces::new([("closed".to_owned(), closed)]).expect("options"));
        })
    });
    for query in ["channel=closed:a", "channel=closed:a&since=00000001:0"] {
        let refused = get(server.address, query, "");
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(refused.body.contains("permission_denied"), "{}", refused.body);
    }
    server.expect_empty();
}

#[test]
fn pages_of_allowed_origins_may_poll() {
    let server =
        serve(1, |builder| build(builder).configure(|config| config.allowed_origins = vec!["https://page.example".into()]));
    let page = "Origin: https://page.example\r\n";
    let response = get(server.address, "channel=chat:a", page);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://page.example"));
    assert_eq!(response.header("access-control-expose-headers"), Some("ETag"));
    let preflight = answer(server.address, &format!("OPTIONS /v1/poll HTTP/1.1\r\nHost: localhost\r\n{page}\r\n"));
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET")));
}

#[test]
fn a_client_that_goes_away_while_it_waits_leaves_nothing() {
    for shards in [1, 3] {
        let server = serve(shards, |builder| build(builder).configure(|config| config.sessions.keep = 50));
        let (since, _) = poll(server.address, "channel=chat:a");
        let mut clients: Vec<Http> = (0..6).map(|_| Http::open(server.address)).collect();
        for client in &mut clients {
            client.ask("GET", &format!("/v1/poll?channel=chat:a&since={since}"), "", b"");
        }
        eventually("all are waiting", || subscribers(&server, "chat:a") == 6);
        let (some, others) = (clients.split_off(3), clients);
        some.into_iter().for_each(|client| client.0.reset());
        drop(others);
        server.expect_empty();
        eventually("nobody is subscribed", || subscribers(&server, "chat:a") == 0);
        let members = || within_bound(async { server.node().channel("chat:a").presence().await }).expect("presence").members;
        eventually("and nobody is there", || members().is_empty());
        let sessions = || within_bound(async { server.node().sessions().await }).expect("sessions").sessions;
        eventually("no session is kept", || sessions().is_empty());
    }
}

#[test]
fn polls_one_after_the_other_miss_nothing_and_hear_nothing_twice() {
    for shards in [1, 3] {
        let server = serve_polls(shards);
        let (first, _) = poll(server.address, "channel=chat:a");
        let node = server.node().clone();
        let publisher = std::thread::spawn(move || {
            within_bound(async {
                for n in 0..300 {
                    node.channel("chat:a").publish(Data::from(n.to_string())).await.expect("published");
                    if n % 7 == 0 {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                }
            });
        });
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (address, mut since) = (server.address, first.clone());
                std::thread::spawn(move || {
                    let mut client = Http::open(address);
                    let mut heard = Vec::new();
                    while heard.len() < 300 {
                        let response = client.request("GET", &format!("/v1/poll?channel=chat:a&since={since}&wait=5"), b"");
                        let (now, messages) = news_of(&response);
                        assert!(!messages.is_empty(), "{} of 300", heard.len());
                        since = now;
                        heard.extend(data_of(&messages));
                    }
                    heard
                })
            })
            .collect();
        publisher.join().expect("published");
        let all: Vec<Value> = (0..300).map(|n| json!(n.to_string())).collect();
        for reader in readers {
            assert_eq!(reader.join().expect("heard"), all);
        }
        server.expect_empty();
    }
}

#[test]
fn a_shutdown_answers_who_waits() {
    let server = serve_polls(2);
    let (since, _) = poll(server.address, "channel=chat:a");
    let mut client = Http::open(server.address);
    client.ask("GET", &format!("/v1/poll?channel=chat:a&since={since}"), "", b"");
    eventually("it is waiting", || subscribers(&server, "chat:a") == 1);
    server.shutdown();
    let told = client.0.response();
    assert!([200, 503].contains(&told.status), "{} {}", told.status, told.body);
    drop(client);
    server.join();
}
