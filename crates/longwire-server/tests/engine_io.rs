//! Lines of Engine.IO: what keeps them, and what their requests are told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longwire_server::{EngineOptions, ServerBuilder};
use longwire_ws::handshake::deflate::DeflateConfig;
use longwire_ws::{Connection, MessageKind, Opcode, Role};

use crate::support::{BOUND, Client, Http, Response, TestServer, deflate_of, echo, serve};

const PATH: &str = "/engine.io/?EIO=4";

#[track_caller]
fn serve_echo(options: EngineOptions, more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    serve(2, |builder| more(builder.engine_io("/engine.io/", options, echo)))
}

/// Over a WebSocket, and its id.
#[track_caller]
fn websocket(address: SocketAddr) -> (Client, String) {
    let mut line = Client::open(address, &format!("{PATH}&transport=websocket"));
    let sid = sid_of(&line.text());
    (line, sid)
}

/// By polling: a connection, and the target of its requests.
#[track_caller]
fn polling(address: SocketAddr) -> (Http, String) {
    let mut http = Http::open(address);
    let opened = http.request("GET", &format!("{PATH}&transport=polling"), b"");
    let target = format!("{PATH}&transport=polling&sid={}", sid_of(&opened.body));
    (http, target)
}

#[track_caller]
fn sid_of(open: &str) -> String {
    let open = open.strip_prefix('0').unwrap_or_else(|| panic!("an open packet: {open}"));
    serde_json::from_str::<serde_json::Value>(open).expect("JSON")["sid"].as_str().expect("an id").to_owned()
}

/// A line that has begun by polling and is a WebSocket now.
#[track_caller]
fn upgraded(address: SocketAddr) -> (Client, String) {
    let (_, target) = polling(address);
    let mut line = Client::open(address, &target.replace("=polling", "=websocket"));
    line.send_text("2probe");
    line.expect_text("3probe");
    line.send_text("5");
    line.send_text("4here");
    line.expect_text("4here");
    (line, target)
}

#[track_caller]
fn expect_refused(response: &Response, code: u8) {
    assert_eq!(response.status, 400, "{}", response.head);
    assert!(response.body.starts_with(&format!("{{\"code\":{code},")), "{}", response.body);
}

fn fast(milliseconds: u64) -> EngineOptions {
    let time = Duration::from_millis(milliseconds);
    EngineOptions { ping_interval: time, ping_timeout: time, ..EngineOptions::default() }
}

/// Stock clients count pings alone, and give a server up that does not ping them.
#[test]
fn a_client_that_talks_is_pinged_as_one_that_does_not() {
    let server = serve_echo(fast(100), |builder| builder);
    let (mut line, _) = websocket(server.address);
    let (mut polls, target) = polling(server.address);
    let mut posts = Http::open(server.address);
    let (began, mut pings) = (Instant::now(), [0, 0]);
    while pings.iter().any(|pings| *pings < 5) {
        assert!(began.elapsed() < BOUND, "too few pings: {pings:?}");
        // It says nothing but messages, which are signs of life enough for the server.
        line.send_text("4x");
        while line.text() == "2" {
            pings[0] += 1;
        }
        assert_eq!(posts.request("POST", &target, b"4x").body, "ok");
        let polled = polls.request("GET", &target, b"");
        assert_eq!(polled.status, 200, "{}", polled.head);
        pings[1] += polled.body.split('\u{1e}').filter(|packet| *packet == "2").count();
    }
}

/// A client of revision 3 pings by itself, at any time within the interval.
#[test]
fn a_client_that_pings_by_itself_is_not_given_up() {
    let server = serve_echo(EngineOptions { revision_3: true, ..fast(300) }, |builder| builder);
    let mut line = Client::open(server.address, "/engine.io/?EIO=3&transport=websocket");
    assert!(line.text().starts_with('0'));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        line.send_text("2");
        line.expect_text("3");
        std::thread::sleep(Duration::from_millis(130));
    }
}

#[test]
fn a_client_may_compress() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for takeover in [false, true] {
        let deflate = DeflateConfig { client_no_context_takeover: !takeover, ..DeflateConfig::default() };
        let server = serve_echo(EngineOptions::default(), |builder| builder.configure(|config| config.deflate = Some(deflate)));
        let begun = Client::tcp(server.address).upgrade(&format!("{PATH}&transport=websocket"), OFFER);
        let (_, target) = polling(server.address);
        let probe = Client::tcp(server.address).upgrade(&target.replace("=polling", "=websocket"), OFFER);
        for (at, (mut line, response)) in [begun, probe].into_iter().enumerate() {
            let mut client = Connection::new(Role::Client, Some(deflate_of(&response)));
            let mut send = |line: &mut Client, text: &str| {
                let mut bytes = Vec::new();
                client.send(MessageKind::Text, text.as_bytes(), [1, 2, 3, 4], &mut bytes).expect("open");
                line.send_raw(&bytes);
                bytes[0] & 0x40 != 0
            };
            if at == 0 {
                assert!(line.text().starts_with('0'));
            } else {
                send(&mut line, "2probe");
                line.expect_text("3probe");
                send(&mut line, "5");
            }
            let long = format!("4{}", "round and ".repeat(200));
            for text in ["4", "4short", &long, &long] {
                let is_compressed = send(&mut line, text);
                assert!(is_compressed || text.len() < 1000, "a long message is compressed");
                line.expect_text(text);
            }
        }
    }
}

/// What the client may not send more of is counted as it is, and not as it comes.
#[test]
fn a_compressed_message_is_not_longer_than_others() {
    let options = EngineOptions { max_payload: 1000, ..EngineOptions::default() };
    let deflate = DeflateConfig::default();
    let server = serve_echo(options, |builder| builder.configure(|config| config.deflate = Some(deflate)));
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut line, response) = Client::tcp(server.address).upgrade(&format!("{PATH}&transport=websocket"), offer);
    let mut client = Connection::new(Role::Client, Some(deflate_of(&response)));
    let mut bytes = Vec::new();
    client.send(MessageKind::Text, format!("4{}", "x".repeat(1000)).as_bytes(), [1, 2, 3, 4], &mut bytes).expect("open");
    assert!(bytes.len() < 100, "{}", bytes.len());
    line.send_raw(&bytes);
    assert!(line.text().starts_with('0'));
    line.expect_close(1009);
}

#[test]
fn a_second_websocket_for_a_session_is_opened_and_closed_and_the_first_goes_on() {
    let server = serve_echo(EngineOptions::default(), |builder| builder);
    let address = server.address;
    let (begun, sid) = websocket(address);
    let target = format!("{PATH}&transport=polling&sid={sid}");
    for (mut line, target) in [upgraded(address), (begun, target)] {
        let mut second = Client::open(address, &target.replace("=polling", "=websocket"));
        // It has no say, whatever it tries before it knows.
        for _ in 0..2 {
            let _ = second.try_send_raw(&crate::support::frame_of(Opcode::Text, b"2probe"));
        }
        second.expect_close(1000);
        line.send_text("4first");
        line.expect_text("4first");
        // Nor can it be polled, or posted to; and there is another answer once it is over.
        let mut http = Http::open(address);
        expect_refused(&http.request("GET", &target, b""), 3);
        expect_refused(&http.request("POST", &target, b"4x"), 3);
        line.close();
        expect_refused(&http.request("GET", &target, b""), 1);
        expect_refused(&http.request("POST", &target, b"4x"), 1);
        let refused =
            crate::support::answer(address, &crate::support::handshake(&target.replace("=polling", "=websocket"), ""));
        assert_eq!((refused.status, &*refused.body), (400, "Session ID unknown"));
    }
}

/// While one WebSocket is on its way to be the transport, another is closed, and the one goes on.
#[test]
fn a_second_candidate_does_not_disturb_the_first() {
    let server = serve_echo(EngineOptions::default(), |builder| builder);
    let (mut http, target) = polling(server.address);
    let path = target.replace("=polling", "=websocket");
    let mut first = Client::open(server.address, &path);
    first.send_text("2probe");
    first.expect_text("3probe");
    let mut second = Client::open(server.address, &path);
    second.expect_close(1000);
    second.send_close(1000, "");
    second.expect_end();
    assert_eq!(http.request("GET", &target, b"").body, "6");
    first.send_text("5");
    first.send_text("4here");
    first.expect_text("4here");
}

#[test]
fn a_post_may_take_its_time_as_long_as_it_comes() {
    let server =
        serve_echo(fast(1000), |builder| builder.configure(|config| config.handshake_timeout = Duration::from_millis(500)));
    let (_, target) = polling(server.address);
    let mut post = Client::tcp(server.address);
    let body = format!("4{}", "x".repeat(8191));
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    post.send_raw(head.as_bytes());
    // For longer than a session is given without any other sign of life, and than a head may take.
    for piece in body.as_bytes().chunks(128) {
        post.send_raw(piece);
        std::thread::sleep(Duration::from_millis(50));
    }
    let posted = post.response();
    assert_eq!((posted.status, &*posted.body), (200, "ok"), "{}", posted.head);
    let polled = Http::open(server.address).request("GET", &target, b"").body;
    assert!(polled.split('\u{1e}').any(|packet| packet == body), "{} bytes", polled.len());
}

#[test]
fn a_post_that_stands_still_ends_its_session() {
    let server = serve_echo(EngineOptions::default(), |builder| {
        builder.configure(|config| config.handshake_timeout = Duration::from_millis(50))
    });
    let (_, target) = polling(server.address);
    let mut post = Client::tcp(server.address);
    post.send_raw(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4x").as_bytes());
    assert_eq!(post.response().status, 408);
    expect_refused(&Http::open(server.address).request("GET", &target, b""), 1);
}

/// The client is told by the answer, which nothing else may overtake; what it does then is its own matter.
#[test]
fn a_post_that_is_too_long_is_refused_and_nothing_else_is_said() {
    let server = serve_echo(EngineOptions { max_payload: 1000, ..EngineOptions::default() }, |builder| builder);
    let (mut polls, target) = polling(server.address);
    polls.ask("GET", &target, "", b"");
    let mut posts = Http::open(server.address);
    assert_eq!(posts.request("POST", &target, &[b'4'; 1001]).status, 413);
    assert_eq!(posts.request("POST", &target, b"4still here").body, "ok");
    assert_eq!(polls.0.response().body, "4still here");
}

/// More than the server takes before its answers are fetched.
#[track_caller]
fn post_much(posts: &mut Http, target: &str) -> String {
    let message = format!("4{}", "x".repeat(3000));
    posts.ask("POST", target, "", [&*message; 100].join("\u{1e}").as_bytes());
    message
}

/// It is not heard, since it does not fetch what it was answered; but it can be seen to fetch nothing.
#[test]
fn a_client_that_goes_before_it_has_fetched_its_answers_is_given_up() {
    let server = serve_echo(fast(100), |builder| builder.configure(|config| config.outbox_bytes = 10_000));
    let (mut http, target) = polling(server.address);
    post_much(&mut http, &target);
    assert_eq!(http.0.response().status, 400, "it was not all heard");
    drop(http);
    server.expect_empty();
}

#[test]
fn a_client_that_fetches_its_answers_slowly_is_not_given_up() {
    let server = serve_echo(fast(300), |builder| {
        builder.configure(|config| {
            config.outbox_bytes = 10_000;
            // What is waited for at the end by one that does not poll any more.
            config.close_timeout = Duration::from_secs(1);
        })
    });
    let (mut posts, target) = polling(server.address);
    let message = post_much(&mut posts, &target);
    let posted = std::thread::spawn(move || posts.0.response().body);
    let (mut polls, began) = (Http::open(server.address), Instant::now());
    while !posted.is_finished() {
        std::thread::sleep(Duration::from_millis(150));
        let polled = polls.request("GET", &target, b"");
        assert_eq!(polled.status, 200, "{}", polled.head);
        assert!(polled.body.split('\u{1e}').all(|packet| packet == "2" || packet == message));
    }
    assert_eq!(posted.join().expect("an answer"), "ok");
    assert!(began.elapsed() > Duration::from_secs(1), "that was no test");
}

/// The connection that was opened first was written to first, whichever is read first: each may be another shard's.
#[test]
fn a_poll_that_is_read_behind_the_close_that_was_sent_after_it_is_told_as_if_it_had_waited() {
    let server = serve_echo(EngineOptions::default(), |builder| builder);
    for _ in 0..10 {
        let (_, target) = polling(server.address);
        let [mut polls, mut late, mut posts] = std::array::from_fn(|_| Http::open(server.address));
        let mut later = Http::open(server.address);
        assert_eq!(posts.request("POST", &target, b"1").body, "ok");
        expect_refused(&later.request("GET", &target, b""), 1);
        assert_eq!(polls.request("GET", &target, b"").body, "6");
        // There is one answer to tell, and to one connection's first request alone.
        expect_refused(&late.request("GET", &target, b""), 1);
        let (_, target) = polling(server.address);
        assert_eq!(posts.request("POST", &target, b"1").body, "ok");
        expect_refused(&polls.request("GET", &target, b""), 1);
    }
}

#[test]
fn of_two_polls_at_a_time_the_one_that_was_sent_first_hears_the_end() {
    let server = serve_echo(EngineOptions::default(), |builder| builder);
    for _ in 0..20 {
        let (_, target) = polling(server.address);
        let [mut first, mut second] = std::array::from_fn(|_| Http::open(server.address));
        second.ask("GET", &target, "", b"");
        first.ask("GET", &target, "", b"");
        let (first, second) = (first.0.response(), second.0.response());
        assert_eq!((first.status, &*first.body), (200, "1"), "{}", first.head);
        assert_eq!(second.status, 400, "{}", second.body);
    }
}

/// Whether it was heard before it was given up or not: what might have been in its answer comes with the next one, or the session is over.
#[test]
fn a_poll_that_is_cancelled_swallows_nothing() {
    let server = serve_echo(EngineOptions::default(), |builder| builder);
    for pause_ms in [0, 0, 0, 1, 5].repeat(6) {
        let (_, target) = polling(server.address);
        let [mut cancelled, mut next, mut posts] = std::array::from_fn(|_| Http::open(server.address));
        cancelled.ask("GET", &target, "", b"");
        std::thread::sleep(Duration::from_millis(pause_ms));
        drop(cancelled);
        posts.ask("POST", &target, "", b"4hello");
        let next = next.request("GET", &target, b"");
        assert!(next.status == 400 || next.body == "4hello", "{} {}", next.head, next.body);
    }
}
