//! How lines end that are made of requests.

use std::time::Duration;

use longwire_protocol::{Form, SessionId};
use serde_json::{Value, json};

use super::{build, publish, serve_lines, sessions};
use crate::native::client::Native;
use crate::support::{Http, HttpLine, LINES, TestServer, eventually, lines_of, serve, within_bound};

/// What takes a session up again.
fn claim(connected: &Value) -> Value {
    json!({"session": connected["session"], "key": connected["key"]})
}

fn close_of(body: &str) -> Value {
    let close = lines_of(body).pop().expect("a message");
    assert_eq!(close["type"], "close", "{close}");
    close["code"].clone()
}

#[test]
fn a_session_that_is_taken_over_ends_its_line_and_the_next_poll_is_told() {
    for shards in [1, 3] {
        let server = serve_lines(shards);
        for waits in [true, false] {
            let (mut line, connected) = HttpLine::connect(server.address, json!({}));
            line.subscribe("chat:a");
            let target = line.target();
            if waits {
                line.polls.ask("GET", &target, "", b"");
                std::thread::sleep(Duration::from_millis(10));
            }
            // By another of its kind, and that by a WebSocket.
            let (mut second, again) = HttpLine::connect(server.address, claim(&connected));
            assert_eq!((&again["resumed"], &again["session"]), (&json!(true), &connected["session"]));
            let told = if waits { line.polls.0.response() } else { line.poll("?wait=8") };
            assert_eq!((told.status, close_of(&told.body)), (200, json!(3500)));
            line.expect_unknown();
            let (mut third, again) = crate::native::client::connect(server.address, Form::Json, claim(&connected));
            assert_eq!(again["resumed"], true);
            assert_eq!(second.next_of("close")["code"], 3500);
            // And back.
            let (mut fourth, again) = HttpLine::connect(server.address, claim(&connected));
            assert_eq!(again["resumed"], true);
            third.expect_close(3500);
            let since = fourth.ask(json!({"type": "subscribe", "channel": "chat:a", "epoch": "00000001", "offset": 0}));
            assert_eq!(since["type"], "subscribed", "{since}");
        }
    }
}

#[test]
fn a_session_that_the_application_ends_ends_its_line() {
    let server = serve_lines(3);
    for _ in 0..3 {
        let (mut line, connected) = HttpLine::connect(server.address, json!({}));
        let session = SessionId::parse(connected["session"].as_str().unwrap()).unwrap();
        line.subscribe("chat:a");
        publish(&server, "chat:a", "last words");
        assert_eq!(line.next_of("publication")["data"], "last words");
        within_bound(server.node().disconnect_session(session)).expect("disconnected");
        assert_eq!(line.next_of("close")["code"], 3501);
        line.expect_unknown();
        assert_eq!(sessions(&server), 0);
    }
}

#[test]
fn who_does_not_poll_any_more_is_gone_after_the_ping_times_and_leaves_nothing() {
    let server = serve(3, |builder| {
        build(builder).configure(|config| {
            config.ping_interval = Duration::from_millis(400);
            config.ping_timeout = Duration::from_millis(400);
            config.sessions.keep = 150;
        })
    });
    let mut kept: Vec<HttpLine> = (0..6).map(|_| HttpLine::connect(server.address, json!({})).0).collect();
    for line in &mut kept {
        line.subscribe("chat:a");
    }
    assert_eq!(sessions(&server), 6);
    // Some have never polled, and some never said a thing.
    let mut http = Http::open(server.address);
    for body in [&b"{\"type\":\"connect\"}"[..], b""] {
        assert_eq!(http.request("POST", LINES, body).status, 201);
    }
    drop(http);
    // While a poll waits the client is there, however long.
    let waiting = &mut kept[0];
    assert_eq!(waiting.poll("?wait=1").status, 204);
    assert_eq!(waiting.poll("?wait=0").status, 204);
    let one = waiting.target();
    waiting.polls.ask("GET", &one, "", b"");
    eventually("one session is left", || sessions(&server) == 1);
    for line in &mut kept[1..] {
        line.expect_unknown();
    }
    publish(&server, "chat:a", "still there");
    assert_eq!(lines_of(&kept[0].polls.0.response().body)[0]["data"], "still there");
    drop(kept);
    server.expect_empty();
    eventually("no session is left", || sessions(&server) == 0);
    expect_no_subscribers(&server, "chat:a");
}

#[track_caller]
fn expect_no_subscribers(server: &TestServer, channel: &str) {
    let subscribers = || {
        let channels = within_bound(async { server.node().channels().await }).expect("channels").channels;
        channels.iter().find(|info| *info.name == *channel).map_or(0, |info| info.subscribers)
    };
    eventually("nobody is subscribed", || subscribers() == 0);
}

#[test]
fn a_line_that_only_posts_is_not_there() {
    let server = serve(1, |builder| {
        build(builder).configure(|config| {
            config.ping_interval = Duration::from_millis(40);
            config.ping_timeout = Duration::from_millis(40);
            config.outbox_bytes = 16 << 10;
            config.close_timeout = Duration::from_millis(100);
        })
    });
    // However long somebody says things without listening, what waits for it is bounded: the line ends, or takes no more.
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    line.subscribe("live:a");
    let publish = format!(r#"{{"type":"publish","channel":"live:a","data":"{}"}}"#, "x".repeat(1000));
    eventually("there is an end to it", || line.post(publish.as_bytes()).status == 404);
}

#[test]
fn a_reader_that_never_polls_is_closed_within_the_bound() {
    let server = serve(2, |builder| build(builder).configure(|config| config.outbox_bytes = 64 << 10));
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    line.subscribe("live:a");
    let (mut other, _) = HttpLine::connect(server.address, json!({}));
    other.subscribe("live:a");
    // Beyond what may wait for a moment, which is 2 MiB.
    let data = "x".repeat(60 << 10);
    for n in 0..40 {
        publish(&server, "live:a", &data);
        // The others are not held up.
        assert_eq!(other.next_of("publication")["data"], data.as_str(), "{n}");
    }
    let told = line.poll("?wait=8");
    assert!(told.body.len() < 256 << 10, "{}", told.body.len());
    assert_eq!((told.status, close_of(&told.body)), (200, json!(3002)));
    line.expect_unknown();
}

#[test]
fn a_shutdown_is_told_to_who_waits_and_the_server_ends() {
    for shards in [1, 3] {
        let server = serve_lines(shards);
        let mut waiting: Vec<HttpLine> = (0..6).map(|_| HttpLine::connect(server.address, json!({})).0).collect();
        for line in &mut waiting {
            let target = line.target();
            line.polls.ask("GET", &target, "", b"");
        }
        // And some for whom nobody waits.
        let idle: Vec<HttpLine> = (0..3).map(|_| HttpLine::connect(server.address, json!({})).0).collect();
        let mut native = Native::connected(server.address, Form::Json);
        server.shutdown();
        for line in &mut waiting {
            let told = line.polls.0.response();
            assert_eq!((told.status, close_of(&told.body)), (200, json!(1001)));
        }
        native.expect_close(1001);
        drop((idle, native));
        server.join();
    }
}

#[test]
fn a_line_that_was_closed_and_is_never_polled_again_is_forgotten() {
    let server = serve(1, |builder| build(builder).configure(|config| config.close_timeout = Duration::from_millis(100)));
    let (line, connected) = HttpLine::connect(server.address, json!({}));
    let session = SessionId::parse(connected["session"].as_str().unwrap()).unwrap();
    within_bound(server.node().disconnect_session(session)).expect("disconnected");
    drop(line);
    server.expect_empty();
}
