//! Channels as streams of events over HTTP, read byte by byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::Data;
use longwire_server::{ChannelOptions, Namespaces, Running, ServerBuilder};
use serde_json::{Value, json};

mod refused;

use crate::support::{TestServer, answer, eventually, serve, within_bound};

/// A stream that is open.
struct Events {
    reader: BufReader<TcpStream>,
    status: String,
    headers: Vec<String>,
    /// What has come and is not read.
    text: String,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: Option<String>,
    id: Option<String>,
    data: Value,
}

impl Events {
    fn open(address: SocketAddr, query: &str) -> Self {
        Self::request(address, &format!("GET /v1/events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn request(address: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let status = head.remove(0);
        Self { reader, status, headers: head, text: String::new() }
    }

    fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line.eq_ignore_ascii_case(header))
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        if !self.has("transfer-encoding: chunked") {
            let mut bytes = [0; 4096];
            let count = self.reader.read(&mut bytes).unwrap();
            self.text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            return count > 0;
        }
        let mut length = String::new();
        self.reader.read_line(&mut length).unwrap();
        let length =
            usize::from_str_radix(length.trim_end(), 16).unwrap_or_else(|_| panic!("the length of a chunk: {length:?}"));
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        self.text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        length > 0
    }

    /// What stands before the next empty line; `None` at the end.
    fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            if !self.fill() {
                assert_eq!(self.text, "");
                return None;
            }
        }
    }

    fn try_next(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(data) = field("data: ") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { name: field("event: "), id: field("id: "), data });
            }
            assert!(block.starts_with("retry: ") || block == ":", "{block}");
        }
    }

    fn next(&mut self) -> Event {
        self.try_next().expect("an event")
    }

    /// The next one, which has this name.
    #[track_caller]
    fn named(&mut self, name: &str) -> Event {
        let event = self.next();
        assert_eq!(event.name.as_deref(), Some(name), "{event:?}");
        event
    }

    /// The data of the next publication, and its id.
    #[track_caller]
    fn publication(&mut self) -> (Value, String) {
        let event = self.next();
        assert_eq!((event.name, &event.data["type"]), (None, &json!("publication")), "{}", event.data);
        (event.data["data"].clone(), event.id.expect("an id"))
    }
}

/// An id without who reads.
fn position(id: &str) -> &str {
    id.split('.').next().expect("something")
}

fn namespaces() -> Arc<Namespaces> {
    let history = || ChannelOptions { history_size: 3, ..ChannelOptions::default() };
    let all = [
        ("chat", ChannelOptions { presence: true, ..history() }),
        ("ai", ChannelOptions { streams: true, ..history() }),
        ("state", ChannelOptions { state_keys: 50, history_size: 100, ..history() }),
        ("long", ChannelOptions { history_size: 400, ..history() }),
        ("live", ChannelOptions::default()),
    ];
    Arc::new(Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("options"))
}

fn build(builder: ServerBuilder) -> ServerBuilder {
    builder.event_streams("/v1/events").configure(|config| config.namespaces = namespaces())
}

fn publish(server: &Running, channel: &str, data: &str) {
    within_bound(async { server.node().channel(channel).publish(Data::from(data)).await }).expect("published");
}

#[test]
fn publications_are_events_and_the_stream_resumes_after_the_last_one_seen() {
    for shards in [1, 2] {
        let server = serve(shards, build);
        let mut events = Events::open(server.address, "channel=chat:a");
        assert_eq!(events.status, "HTTP/1.1 200 OK");
        for header in ["content-type: text/event-stream", "x-accel-buffering: no", "cache-control: no-store, no-transform"] {
            assert!(events.has(header), "{:?}", events.headers);
        }
        events.named("connected");
        let subscribed = events.named("subscribed");
        assert_eq!(subscribed.data["channel"], "chat:a");
        // Before anything has come there is a position already.
        assert!(position(&subscribed.id.expect("an id")).ends_with(":0"));
        publish(&server, "chat:a", "one");
        publish(&server, "chat:a", "two");
        let (one, seen) = events.publication();
        assert_eq!((one, events.publication().0), (json!("one"), json!("two")));
        drop(events);
        publish(&server, "chat:a", "three");
        let request =
            format!("GET /v1/events?channel=chat:a&since=ignored HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {seen}\r\n\r\n");
        let mut again = Events::request(server.address, &request);
        again.named("connected");
        assert_eq!(again.named("subscribed").data["recovered"], true);
        assert_eq!((again.publication().0, again.publication().0), (json!("two"), json!("three")));
        drop(again);
        server.expect_empty();
    }
}

#[test]
fn one_stream_follows_many_channels_and_resumes_in_all() {
    let server = serve(2, build);
    let channels = ["chat:a", "chat:b", "chat:c", "live:d"];
    let query = format!("channels={}", channels.join(","));
    let mut events = Events::open(server.address, &query);
    events.named("connected");
    channels.iter().for_each(|_| drop(events.named("subscribed")));
    for channel in channels {
        publish(&server, channel, channel);
        assert_eq!(events.publication_or_live(), json!(channel));
    }
    publish(&server, "chat:b", "more");
    let (_, seen) = events.publication();
    assert_eq!(seen.split(',').count(), 4);
    drop(events);
    publish(&server, "chat:c", "later");
    publish(&server, "chat:a", "later");
    let mut again = Events::open(server.address, &format!("{query}&since={seen}"));
    again.named("connected");
    let mut told = Vec::new();
    // Those of different channels have no order among each other.
    while told.len() < 2 {
        let event = again.next();
        if event.name.is_none() {
            told.push(event.data["channel"].clone());
        }
    }
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [json!("chat:a"), json!("chat:c")]);
}

impl Events {
    /// As [`publication`](Self::publication), where there need not be an id.
    fn publication_or_live(&mut self) -> Value {
        let event = self.next();
        assert_eq!(event.data["type"], "publication", "{event:?}");
        event.data["data"].clone()
    }
}

#[test]
fn what_cannot_be_recovered_is_said_in_an_event_of_its_own() {
    let server = serve(1, build);
    (0..9).for_each(|number| publish(&server, "chat:a", &number.to_string()));
    let mut first = Events::open(server.address, "channel=chat:a&last=1");
    first.named("connected");
    first.named("subscribed");
    let (_, seen) = first.publication();
    let epoch = seen.split_once(':').expect("a position").0;
    for (since, reason) in [(format!("{epoch}:1"), "expired"), ("ffffffff:1".into(), "epoch"), (format!("{epoch}:99"), "ahead")]
    {
        let mut events = Events::open(server.address, &format!("channel=chat:a&since={since}"));
        events.named("connected");
        let missed = events.named("missed");
        assert_eq!((&missed.data["recovered"], &missed.data["reason"]), (&json!(false), &json!(reason)));
        assert_eq!(missed.id.as_deref().map(position), Some(&*format!("{epoch}:9")));
    }
}

#[test]
fn a_text_that_grows_comes_in_pieces_and_as_a_whole_to_who_is_late() {
    let server = serve(1, build);
    let mut early = Events::open(server.address, "channel=ai:a");
    early.named("connected");
    early.named("subscribed");
    let mut stream = within_bound(async { server.node().channel("ai:a").stream().await }).expect("a stream");
    within_bound(async {
        stream.append("It ").await?;
        stream.append("is ").await
    })
    .expect("appended");
    early.publication();
    assert_eq!(early.named("append").data["data"], "It ");
    let piece = early.named("append");
    let mut late = Events::open(server.address, "channel=ai:a&last=1");
    late.named("connected");
    late.named("subscribed");
    let (text, id) = late.publication();
    assert_eq!((text, Some(id)), (json!("It is "), piece.id));
    within_bound(async {
        stream.append("42.").await?;
        stream.finish().await
    })
    .expect("finished");
    assert_eq!(late.named("append").data["data"], "42.");
    assert_eq!(late.named("append").data["end"], "finished");
}

#[test]
fn keys_come_as_a_snapshot_first() {
    let server = serve(1, build);
    for (key, value) in [("x", "1"), ("y", "2")] {
        within_bound(async { server.node().channel("state:a").set(key, Data::from(value)).await }).expect("set");
    }
    let mut events = Events::open(server.address, "channel=state:a");
    events.named("connected");
    events.named("subscribed");
    let state = events.named("state");
    assert_eq!((state.data["entries"].as_array().map(Vec::len), &state.data["done"]), (Some(2), &json!(true)));
}

/// Events until so many are of a kind.
fn until(events: &mut Events, count: usize, counts: impl Fn(&Event) -> usize) -> Vec<Event> {
    let (mut all, mut counted) = (Vec::new(), 0);
    while counted < count {
        let event = events.next();
        counted += counts(&event);
        all.push(event);
    }
    all
}

#[test]
fn a_stream_that_is_cut_while_it_comes_back_goes_on_wherever_that_is() {
    const EACH: usize = 60;
    for shards in [1, 4] {
        let server = serve(shards, build);
        let channels: Vec<String> = (0..4).map(|n| format!("long:{n}")).collect();
        let query = format!("channels={}", channels.join(","));
        channels.iter().for_each(|channel| publish(&server, channel, "seen"));
        let mut events = Events::open(server.address, &format!("{query}&last=1"));
        let is_publication = |event: &Event| usize::from(event.name.is_none());
        let seen = until(&mut events, 4, is_publication).pop().and_then(|event| event.id).expect("an id");
        drop(events);
        for n in 0..EACH {
            channels.iter().for_each(|channel| publish(&server, channel, &format!("{n} {}", "x".repeat(10_000))));
        }
        let mut events = Events::open(server.address, &format!("{query}&since={seen}"));
        let told = until(&mut events, 4 * EACH, is_publication);
        assert!(told.iter().filter_map(|event| event.id.as_ref()).all(|id| id.split(',').all(|at| !at.is_empty())));
        // Cut behind any of them, first of all behind those that come before the first publications.
        for cut in (0..8).chain((8..told.len()).step_by(29)) {
            let before = &told[..=cut];
            let Some(id) = before.iter().rev().find_map(|event| event.id.clone()) else { continue };
            let told = before.iter().map(is_publication).sum::<usize>();
            let mut events = Events::open(server.address, &format!("{query}&since={id}"));
            let after = until(&mut events, 4 * EACH - told, is_publication);
            let all = before.iter().chain(&after).filter(|event| event.name.is_none());
            let mut all: Vec<_> = all.map(|event| (event.data["channel"].to_string(), event.data["offset"].as_u64())).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 4 * EACH, "cut behind event {cut}, {id}");
            assert!(after.iter().all(|event| event.name.as_deref() != Some("missed")));
        }
    }
}

#[test]
fn a_stream_that_is_cut_among_the_keys_gets_the_rest_of_them_and_what_came_since() {
    const KEYS: usize = 40;
    for channels in ["channel=state:a", "channels=chat:b,state:a"] {
        let server = serve(2, build);
        let set = |key: &str, value: &str| {
            within_bound(async { server.node().channel("state:a").set(key, Data::from(value)).await }).expect("set");
        };
        (0..KEYS).for_each(|n| set(&format!("key {n:02}"), &"x".repeat(30_000)));
        let keys = |event: &Event| event.data["entries"].as_array().map_or(0, Vec::len);
        let mut events = Events::open(server.address, channels);
        let told = until(&mut events, KEYS, keys);
        assert!(told.iter().filter(|event| keys(event) > 0).count() > 2, "in several events");
        assert_eq!(told.last().map(|event| &event.data["done"]), Some(&json!(true)));
        drop(events);
        publish(&server, "state:a", "no key");
        for cut in 0..told.len() {
            let Some(id) = told[..=cut].iter().rev().find_map(|event| event.id.clone()) else { continue };
            if !told[..=cut].iter().any(|event| event.data["channel"] == "state:a") {
                continue;
            }
            let before: usize = told[..=cut].iter().map(keys).sum();
            let mut events = Events::open(server.address, &format!("{channels}&since={id}"));
            let after = until(&mut events, KEYS - before, keys);
            assert_eq!(before + after.iter().map(keys).sum::<usize>(), KEYS, "cut behind event {cut}: the rest of them");
            let publication = until(&mut events, 1, |event| usize::from(event.name.is_none())).pop().expect("a publication");
            assert_eq!(publication.data["data"], "no key", "and then what has happened since");
        }
    }
}

#[test]
fn lines_of_json_on_request_and_an_old_protocol() {
    let server = serve(1, build);
    publish(&server, "chat:a", "one");
    for request in [
        "GET /v1/events?channel=chat:a&last=1 HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n",
        "GET /v1/events?channel=chat:a&last=1&format=ndjson HTTP/1.0\r\n\r\n",
    ] {
        let mut events = Events::request(server.address, request);
        assert!(events.has("content-type: application/x-ndjson"));
        assert_eq!(events.has("transfer-encoding: chunked"), request.contains("HTTP/1.1"));
        while events.text.lines().count() < 3 {
            assert!(events.fill());
        }
        let types: Vec<Value> =
            events.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
        assert_eq!(types, ["connected", "subscribed", "publication"]);
    }
}

#[test]
fn bad_requests_are_answered_with_a_status_and_a_reason() {
    let server = serve(1, build);
    let get = |query: &str, more: &str| {
        answer(server.address, &format!("GET /v1/events?{query} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"))
    };
    for (query, status, name) in [
        ("", 400, "bad_value"),
        ("channel=", 400, "bad_channel"),
        ("channel=chat:a&nonsense=1", 400, "bad_message"),
        ("channel=chat:a&channel=chat:b", 400, "bad_message"),
        ("channel=chat:a&since=yesterday", 400, "bad_value"),
        ("channels=chat:a,chat:b&since=0000000a:1", 400, "bad_value"),
        ("channel=chat:a&last=some", 400, "bad_value"),
        ("channel=chat:a&format=xml", 400, "bad_value"),
        ("channel=nothing:a", 404, "unknown_namespace"),
        ("channels=chat:a,chat:a", 409, "already_subscribed"),
        ("channel=chat:a&token=x", 401, "unauthorized"),
    ] {
        let answer = get(query, "");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["error"]["name"]), (status, &json!(name)), "{query}: {}", answer.body);
    }
    let many = (0..33).map(|number| format!("chat:{number}")).collect::<Vec<_>>().join(",");
    assert_eq!(get(&format!("channels={many}"), "").status, 400);
    get("channel=chat:a", "Origin: https://elsewhere.example\r\n").expect_error(403, "origin_not_allowed");
    answer(server.address, "POST /v1/events?channel=chat:a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .expect_error(405, "method_not_allowed");
    server.expect_empty();
}

#[test]
fn pages_of_allowed_origins_may_read_it() {
    let server =
        serve(1, |builder| build(builder).configure(|config| config.allowed_origins = vec!["https://page.example".into()]));
    let origin = "Host: localhost\r\nOrigin: https://page.example\r\n";
    let events = Events::request(server.address, &format!("GET /v1/events?channel=chat:a HTTP/1.1\r\n{origin}\r\n"));
    assert!(events.has("access-control-allow-origin: https://page.example") && events.has("vary: origin"));
    // So that it can read what is wrong, too.
    let wrong = answer(server.address, &format!("GET /v1/events?channel=no:a HTTP/1.1\r\n{origin}\r\n"));
    assert_eq!((wrong.status, wrong.header("access-control-allow-origin")), (404, Some("https://page.example")));
    let preflight = answer(server.address, &format!("OPTIONS /v1/events HTTP/1.1\r\n{origin}\r\n"));
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET")));
    let other = answer(server.address, "OPTIONS /v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: https://x.example\r\n\r\n");
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[test]
fn a_quiet_stream_has_heartbeats() {
    let server = serve(1, |builder| build(builder).configure(|config| config.ping_interval = Duration::from_millis(50)));
    let mut events = Events::open(server.address, "channel=chat:a");
    events.named("connected");
    events.named("subscribed");
    for _ in 0..3 {
        assert_eq!(events.block().as_deref(), Some(":"));
    }
}

#[test]
fn who_goes_away_is_not_there_any_more() {
    let server = serve(1, build);
    let events = Events::open(server.address, "channel=chat:a");
    let members = || within_bound(async { server.node().channel("chat:a").presence().await }).expect("presence").members.len();
    eventually("the client is there", || members() == 1);
    drop(events);
    server.expect_empty();
    eventually("nobody is there", || server.node().connections() == 0);
}

#[test]
fn a_stream_that_comes_back_is_the_same_member() {
    for shards in [1, 3] {
        let server = serve(shards, build);
        for query in ["channel=chat:a", "channels=chat:a,live:b"] {
            let members = || {
                let members =
                    within_bound(async { server.node().channel("chat:a").presence().await }).expect("presence").members;
                members.iter().map(|member| member.session).collect::<Vec<_>>()
            };
            let mut events = Events::open(server.address, query);
            eventually("it is there", || !members().is_empty());
            let first = members();
            events.named("connected");
            let mut id = events.named("subscribed").id.expect("an id");
            for round in 0..8 {
                drop(events);
                publish(&server, "chat:a", &round.to_string());
                let request = format!("GET /v1/events?{query} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {id}\r\n\r\n");
                events = Events::request(server.address, &request);
                assert_eq!(events.named("connected").data["resumed"], true);
                let event = std::iter::from_fn(|| events.try_next()).find(|event| event.name.is_none()).expect("a publication");
                id = event.id.expect("an id");
                assert_eq!(members(), first, "round {round}");
            }
            drop(events);
            // Somebody makes one up.
            let (known, tag) = id.split_at(id.len() - 16);
            let forged = format!("{known}{:016x}", u64::from_str_radix(tag, 16).expect("a tag") ^ 1);
            let mut other = Events::open(server.address, &format!("{query}&since={forged}"));
            assert_eq!(other.named("connected").data["resumed"], false);
            eventually("that is another", || members().len() == 2);
            drop(other);
            let sessions = within_bound(async { server.node().sessions().await }).expect("sessions").sessions;
            for session in sessions {
                within_bound(async { server.node().disconnect_session(session.member.session).await }).expect("an answer");
            }
            eventually("nobody is there", || members().is_empty());
        }
    }
}

#[test]
fn who_has_found_a_cursor_does_not_end_the_stream_of_its_owner() {
    let server = serve(2, build);
    let mut owner = Events::open(server.address, "channel=chat:a");
    let connected = owner.named("connected").data;
    let id = owner.named("subscribed").id.expect("an id");
    let mut other = Events::open(server.address, &format!("channel=chat:a&since={id}"));
    let taken = other.named("connected").data;
    assert_eq!((&taken["resumed"], &taken["session"]), (&json!(true), &connected["session"]));
    assert_ne!(taken["key"], connected["key"], "the secret is not told");
    other.named("subscribed");
    publish(&server, "chat:a", "one");
    assert_eq!((owner.publication().0, other.publication().0), (json!("one"), json!("one")));
    let members = || within_bound(async { server.node().channel("chat:a").presence().await }).expect("presence").members.len();
    assert_eq!(members(), 1);
    // And the other way round.
    let mut again = Events::open(server.address, &format!("channel=chat:a&since={id}"));
    assert_eq!(again.named("connected").data["session"], connected["session"]);
    again.named("subscribed");
    again.publication();
    publish(&server, "chat:a", "two");
    for stream in [&mut owner, &mut other, &mut again] {
        assert_eq!(stream.publication().0, json!("two"));
    }
    assert_eq!(members(), 1);
}

#[test]
fn a_reader_that_is_too_slow_is_told_where_it_can() {
    let server = serve(1, |builder| build(builder).configure(|config| config.outbox_bytes = 64 << 10));
    let mut events = Events::open(server.address, "channel=live:a");
    let data = "x".repeat(32 << 10);
    // More than the system takes for it.
    (0..600).for_each(|_| publish(&server, "live:a", &data));
    let last = std::iter::from_fn(|| events.try_next()).last().expect("events");
    assert_eq!((last.name.as_deref(), &last.data["code"]), (Some("close"), &json!(3002)));
}

#[test]
fn a_shutdown_ends_the_stream_with_its_reason() {
    let server = serve(1, |builder| build(builder).configure(|config| config.drain = Duration::ZERO));
    let mut events = Events::open(server.address, "channel=chat:a");
    events.named("connected");
    events.named("subscribed");
    server.shutdown();
    let end = events.named("close");
    assert_eq!(end.data["code"], 1001);
    assert_eq!(events.try_next(), None, "the response is complete");
    drop(events);
    server.join();
}

/// Serves the routes as somebody's own server does it.
fn serve_router(router: axum::Router) -> SocketAddr {
    let (up, is_up) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            up.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    is_up.recv().unwrap()
}

#[test]
fn somebody_s_own_server_can_give_them_too() {
    let (router, running) = build(longwire_server::Server::builder().shards(1)).into_router().expect("routes");
    let address = serve_router(router);
    let mut events = Events::open(address, "channel=chat:a");
    events.named("connected");
    events.named("subscribed");
    publish(&running, "chat:a", "one");
    assert_eq!(events.publication().0, "one");
    drop(events);
    eventually("the line is gone", || running.node().connections() == 0);
}

#[test]
fn thousands_of_streams_get_what_one_gets() {
    let server: TestServer = serve(2, build);
    let mut streams: Vec<Events> = (0..1000).map(|_| Events::open(server.address, "channel=chat:a")).collect();
    for events in &mut streams {
        events.named("connected");
        events.named("subscribed");
    }
    (0..20).for_each(|number| publish(&server, "chat:a", &number.to_string()));
    for events in &mut streams {
        for number in 0..20 {
            assert_eq!(events.publication().0, json!(number.to_string()));
        }
    }
}
