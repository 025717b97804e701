//! What is said and fetched.

use std::time::{Duration, Instant};

use longwire_protocol::SessionId;
use longwire_server::Server;
use serde_json::{Value, json};

use super::{build, publish, serve_lines};
use crate::support::{Http, HttpLine, LINES, body_of, eventually, lines_of, serve};

#[test]
fn commands_are_posted_and_messages_polled_for() {
    for shards in [1, 3] {
        let server = serve_lines(shards);
        // What is said with the first request is taken with it.
        let first = [json!({"type": "connect", "id": 1}), json!({"type": "subscribe", "id": 2, "channel": "chat:a"})];
        let mut line = HttpLine::open(server.address, &first);
        assert_eq!(line.next_of("connected")["id"], 1);
        assert_eq!(line.next_of("subscribed")["channel"], "chat:a");
        let published = line.ask(json!({"type": "publish", "channel": "chat:b", "data": {"n": 1}}));
        assert_eq!((&published["type"], &published["offset"]), (&json!("published"), &json!(1)));
        publish(&server, "chat:a", "hello");
        assert_eq!(line.next_of("publication")["data"], "hello");
        let empty = line.poll("?wait=0");
        assert_eq!((empty.status, &*empty.body), (204, ""));
        assert_eq!(line.poll("?wait=0").header("cache-control"), Some("no-store"));
        // Nothing, and empty lines, say nothing.
        for body in ["", "\n\n"] {
            assert_eq!(line.post(body.as_bytes()).status, 204);
        }
        let bad = [line.post(b"nonsense\n").status, line.post(b"{\"type\":\"ping\",\"id\":9}").status];
        assert_eq!((bad, line.next_of("error")["name"].clone()), ([204, 204], json!("bad_message")), "as over a WebSocket");
        assert_eq!(line.next_of("pong")["id"], 9);
        // The end.
        let target = line.target();
        assert_eq!(line.posts.request("DELETE", &target, b"").status, 204);
        assert_eq!(line.next_of("close"), json!({"type": "close", "code": 1000, "reason": ""}));
        line.expect_unknown();
        line.posts.request("DELETE", &target, b"").expect_error(404, "unknown_line");
        drop(line);
        server.expect_empty();
    }
}

#[test]
fn many_posts_keep_their_order() {
    let server = serve_lines(3);
    let (mut reader, _) = HttpLine::connect(server.address, json!({}));
    reader.subscribe("chat:a");
    let (mut writer, _) = HttpLine::connect(server.address, json!({}));
    for post in 0..200 {
        let commands: Vec<_> = (0..3)
            .map(|n| json!({"type": "publish", "id": post * 3 + n + 1, "channel": "chat:a", "data": post * 3 + n}))
            .collect();
        writer.say(&commands);
    }
    for n in 0..600 {
        assert_eq!((writer.next_of("published")["id"].clone(), writer_offset(&mut reader)), (json!(n + 1), json!(n)));
    }
    writer.say(&(0..500).map(|n| json!({"type": "ping", "id": n + 1})).collect::<Vec<_>>());
    for n in 0..500 {
        assert_eq!(writer.next_of("pong")["id"], n + 1);
    }
}

fn writer_offset(reader: &mut HttpLine) -> Value {
    reader.next_of("publication")["data"].clone()
}

#[test]
fn a_poll_waits_as_long_as_it_says_or_until_there_is_something() {
    let server = serve_lines(2);
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    line.subscribe("chat:a");
    let start = Instant::now();
    assert_eq!(line.poll("?wait=1").status, 204);
    // Less a tick.
    assert!(start.elapsed() >= Duration::from_millis(980), "{:?}", start.elapsed());
    for bad in ["?wait=x", "?wait=-1", "?wait=1&wait=2", "?until=1", "?wait="] {
        assert_eq!(line.poll(bad).status, 400, "{bad}");
    }
    // More than there is is as much as there is.
    for wait in ["?wait=4000000000", "?wait=60", ""] {
        let target = line.target();
        line.polls.ask("GET", &(target + wait), "", b"");
        publish(&server, "chat:a", wait);
        let body = line.polls.0.response().body;
        assert_eq!(lines_of(&body)[0]["data"], wait);
    }
}

#[test]
fn a_poll_that_is_given_up_loses_its_line() {
    let server = serve_lines(3);
    for close in [Http::reset as fn(Http), drop] {
        let (mut line, _) = HttpLine::connect(server.address, json!({}));
        line.subscribe("chat:a");
        let target = line.target();
        line.polls.ask("GET", &target, "", b"");
        let polls = std::mem::replace(&mut line.polls, Http::open(server.address));
        // The line must be waiting for the test to be one.
        std::thread::sleep(Duration::from_millis(20));
        close(polls);
        // The line's own place, and three connections less the one that is gone.
        eventually("the line is gone", || server.node().connections() == 2);
        line.expect_unknown();
        drop(line);
        server.expect_empty();
    }
}

impl Http {
    fn reset(self) {
        self.0.reset();
    }
}

#[test]
fn two_polls_at_a_time_lose_the_line_and_both_are_told() {
    let server = serve_lines(2);
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    line.subscribe("chat:a");
    let target = line.target();
    line.polls.ask("GET", &target, "", b"");
    std::thread::sleep(Duration::from_millis(30));
    let mut second = Http::open(server.address);
    let refused = second.request("GET", &target, b"");
    let (first, second) = if refused.status == 409 {
        (line.polls.0.response(), refused)
    } else {
        // It was the first to come, after all.
        (refused, line.polls.0.response())
    };
    second.expect_error(409, "overlap");
    match first.status {
        200 => assert_eq!(lines_of(&first.body).pop().expect("why")["type"], "close"),
        _ => first.expect_error(404, "unknown_line"),
    }
    line.expect_unknown();
}

#[test]
fn a_post_that_waits_for_the_client_to_poll_suffers_no_second_one() {
    let server = serve(2, |builder| build(builder).configure(|config| config.outbox_bytes = 4 << 10));
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let pings = |from: usize| (0..400).map(|n| json!({"type": "ping", "id": from + n})).collect::<Vec<_>>();
    // It is taken once its answers are.
    let target = line.target();
    line.posts.ask("POST", &target, "", body_of(&pings(1)).as_bytes());
    for id in 1..=400 {
        assert_eq!(line.next_of("pong")["id"], id);
    }
    assert_eq!(line.posts.0.response().status, 204);
    // And now with another one that does not wait for that.
    line.posts.ask("POST", &target, "", body_of(&pings(1)).as_bytes());
    std::thread::sleep(Duration::from_millis(30));
    let mut other = Http::open(server.address);
    other.request("POST", &target, b"{}").expect_error(409, "overlap");
    line.posts.0.response().expect_error(404, "unknown_line");
    line.expect_unknown();
}

#[test]
fn what_cannot_be_taken_loses_the_line() {
    let server = serve(2, |builder| {
        build(builder).configure(|config| {
            config.limits.max_message_bytes = 1000;
            config.sessions.message_bytes = 1000;
        })
    });
    let long = |length: usize| format!("{{\"type\":\"ping\",\"pad\":\"{}\"}}", "x".repeat(length)).into_bytes();
    // Exactly as much as there may be.
    let (mut line, connected) = HttpLine::connect(server.address, json!({}));
    assert_eq!(connected["max"], 1000);
    let body = long(1000 - long(0).len());
    assert_eq!((body.len(), line.post(&body).status), (1000, 204));
    for (body, status) in [(long(1000), 413), (long(3500), 413), (b"{\"type\":\"ping\xff\"}".to_vec(), 400)] {
        let (mut line, _) = HttpLine::connect(server.address, json!({}));
        let target = line.target();
        line.polls.ask("GET", &target, "", b"");
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(line.post(&body).status, status);
        // Who waits does not wait on.
        let told = line.polls.0.response().status;
        assert!([200, 404].contains(&told), "{told}");
        line.expect_unknown();
    }
    // Far too much is not read to its end.
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let target = line.target();
    line.posts
        .0
        .send_raw(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n").as_bytes());
    let _ = line.posts.0.send_until_stuck(&vec![b'x'; 100_000], Duration::from_millis(200));
    line.posts = Http::open(server.address);
    line.expect_unknown();
    // One that is cut off is none either.
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let target = line.target();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"type\":");
    line.posts.0.send_raw(head.as_bytes());
    line.posts = Http::open(server.address);
    let start = Instant::now();
    while line.poll("?wait=0").status != 404 {
        assert!(start.elapsed() < Duration::from_secs(8), "the line is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_post_that_does_not_end_is_given_up() {
    let server = serve(1, |builder| build(builder).configure(|config| config.handshake_timeout = Duration::from_millis(300)));
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"type\":", line.target());
    line.posts.0.send_raw(head.as_bytes());
    let answer = line.posts.0.response();
    assert!(answer.status == 408 && answer.body.contains("request_timeout"), "{} {}", answer.status, answer.body);
    // Connections that say nothing for so long are closed, too.
    (line.posts, line.polls) = (Http::open(server.address), Http::open(server.address));
    line.expect_unknown();
}

/// Browsers repeat a request by themselves if its connection breaks before the answer.
#[test]
fn requests_that_are_numbered_are_taken_once() {
    let server = serve_lines(2);
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let target = line.target();
    // The one that began the line does not count.
    let publish = |n: u32| body_of(&[json!({"type": "publish", "id": n + 1, "channel": "chat:a", "data": n})]);
    let post =
        |line: &mut HttpLine, n: u32| line.posts.request("POST", &format!("{target}?n={n}"), publish(n).as_bytes()).status;
    for n in [0, 0, 1, 1, 1, 2] {
        assert_eq!(post(&mut line, n), 204, "{n}");
    }
    // One poll was answered before.
    let polled = line.poll("?wait=1&n=1");
    let offsets: Vec<Value> = lines_of(&polled.body).iter().map(|reply| reply["offset"].clone()).collect();
    assert_eq!(offsets, [1, 2, 3]);
    assert_eq!(line.poll("?wait=0&n=2").status, 204);
    // Its answer was lost, and what was in it with it.
    line.poll("?wait=0&n=2").expect_error(409, "overlap");
    line.expect_unknown();
    // One in between is missing.
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let target = line.target();
    line.posts.request("POST", &format!("{target}?n=2"), publish(1).as_bytes()).expect_error(409, "overlap");
    line.expect_unknown();
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    assert_eq!(line.poll("?n=x").status, 400);
}

#[test]
fn an_address_that_is_none_is_unknown() {
    let server = serve_lines(2);
    let mut http = Http::open(server.address);
    let ids = [SessionId::new(0, [7; 10]), SessionId::new(63, [7; 10]), SessionId::new(u16::MAX, [7; 10])];
    for id in ids.iter().map(SessionId::to_string).chain(["x".into(), "%00".into(), "a".repeat(500)]) {
        for method in ["GET", "POST", "DELETE"] {
            http.request(method, &format!("{LINES}/{id}"), b"").expect_error(404, "unknown_line");
        }
    }
    http.request("PUT", LINES, b"").expect_error(405, "method_not_allowed");
    http.request("PATCH", &format!("{LINES}/x"), b"").expect_error(405, "method_not_allowed");
    for bad in ["", "?stream=xml", "?stream=ndjson&more=1"] {
        assert_eq!(http.request("GET", &format!("{LINES}{bad}"), b"").status, 400, "{bad}");
    }
    assert_eq!(server.node().connections(), 1);
}

#[test]
fn lines_of_all_shards_are_reached_over_any_connection() {
    let server = serve_lines(3);
    let mut lines: Vec<HttpLine> = (0..12).map(|_| HttpLine::connect(server.address, json!({})).0).collect();
    let shards: std::collections::BTreeSet<u16> =
        lines.iter().map(|line| SessionId::parse(&line.id).expect("an id").shard()).collect();
    assert_eq!(shards.len(), 3);
    lines.iter_mut().for_each(|line| drop(line.subscribe("chat:a")));
    for (n, line) in lines.iter_mut().enumerate() {
        line.say(&[json!({"type": "publish", "channel": "chat:a", "data": n})]);
    }
    for line in &mut lines {
        // From another shard each time.
        for n in 0..12 {
            line.polls = Http::open(server.address);
            let publication = line.next_of("publication");
            assert_eq!(publication["offset"], n + 1);
        }
    }
    drop(lines);
}

#[test]
fn pages_of_allowed_origins_may_and_others_may_not() {
    let server =
        serve(1, |builder| build(builder).configure(|config| config.allowed_origins = vec!["https://page.example".into()]));
    let mut http = Http::open(server.address);
    let page = "Origin: https://page.example\r\n";
    http.ask("POST", LINES, page, b"{\"type\":\"connect\"}");
    let opened = http.0.response();
    assert_eq!((opened.status, opened.header("access-control-allow-origin")), (201, Some("https://page.example")));
    assert_eq!(opened.header("vary"), Some("Origin"));
    let id = serde_json::from_str::<Value>(&opened.body).unwrap()["line"].as_str().unwrap().to_owned();
    let target = format!("{LINES}/{id}");
    for (method, status) in [("GET", 200), ("POST", 204), ("DELETE", 204), ("GET", 200), ("GET", 404)] {
        http.ask(method, &target, page, b"");
        let response = http.0.response();
        let allowed = response.header("access-control-allow-origin");
        assert_eq!((response.status, allowed), (status, Some("https://page.example")), "{method}");
    }
    for target in [LINES, &target] {
        http.ask("OPTIONS", target, &format!("{page}Access-Control-Request-Method: POST\r\n"), b"");
        let preflight = http.0.response();
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("https://page.example"));
        assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, POST, DELETE"));
    }
    for method in ["GET", "POST", "DELETE"] {
        http.ask(method, &target, "Origin: https://elsewhere.example\r\n", b"");
        http.0.response().expect_error(403, "origin_not_allowed");
    }
    http.ask("POST", LINES, "Origin: https://elsewhere.example\r\n", b"");
    http.0.response().expect_error(403, "origin_not_allowed");
    assert_eq!(server.node().connections(), 1, "no line was begun");
}

#[test]
fn somebody_s_own_server_can_have_them_too() {
    let (router, running) = build(Server::builder().shards(2)).into_router().expect("routes");
    let (up, is_up) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            up.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    let address = is_up.recv().unwrap();
    let (mut line, _) = HttpLine::connect(address, json!({}));
    line.subscribe("chat:a");
    publish(&running, "chat:a", "one");
    assert_eq!(line.next_of("publication")["data"], "one");
    let target = line.target();
    line.polls.ask("GET", &target, "", b"");
    std::thread::sleep(Duration::from_millis(20));
    drop(line);
    eventually("the line is gone with its poll", || running.node().connections() == 0);
}

#[test]
fn a_line_takes_a_place_of_its_own() {
    let server = serve(1, |builder| build(builder).configure(|config| config.max_polled_lines = 3));
    let mut http = Http::open(server.address);
    let mut used = || {
        let begun: Value = serde_json::from_str(&http.request("POST", LINES, b"").body).unwrap();
        let target = format!("{LINES}/{}", begun["line"].as_str().unwrap());
        assert_eq!(http.request("GET", &format!("{target}?wait=0"), b"").status, 204);
        target
    };
    let [target, ..] = [used(), used(), used()];
    let refused = http.request("POST", LINES, b"");
    refused.expect_error(503, "too_many_lines");
    assert!(refused.header("retry-after").is_some());
    assert_eq!((http.request("DELETE", &target, b"").status, http.request("GET", &target, b"").status), (204, 200));
    assert_eq!(http.request("POST", LINES, b"").status, 201);
}
