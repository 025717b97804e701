//! The opening handshake (RFC 6455, 4.2): what is refused, and how; what is taken.

use std::time::Duration;

use longwire_server::{DeflateConfig, Opening, Socket};
use longwire_ws::Opcode;

use crate::support::{Client, HANDSHAKE_KEY, Hold, NEVER, answer, echo, eventually, frame_of, handshake, next, serve};

#[test]
fn each_malformed_handshake_gets_its_own_answer() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let good = handshake("/ws", "");
    let without = |line: &str| {
        let end = good[good.find(line).unwrap()..].find("\r\n").unwrap() + 2;
        good.replace(&good[good.find(line).unwrap()..][..end], "")
    };
    let key = |key: &str| good.replace(HANDSHAKE_KEY, key);
    let cases = [
        (without("Host"), 400, "missing_host"),
        (good.replace("Host: localhost", "Host: a\r\nHost: b"), 400, "duplicate_host"),
        (without("Upgrade:"), 426, "upgrade_required"),
        (good.replace("Upgrade: websocket", "Upgrade: h2c"), 426, "upgrade_not_websocket"),
        (without("Connection"), 400, "connection_not_upgrade"),
        (good.replace("Connection: Upgrade", "Connection: keep-alive"), 400, "connection_not_upgrade"),
        (without("Sec-WebSocket-Version"), 426, "missing_websocket_version"),
        (good.replace("Version: 13", "Version: 8"), 426, "unsupported_websocket_version"),
        (good.replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"), 400, "duplicate_websocket_version"),
        (without("Sec-WebSocket-Key"), 400, "missing_websocket_key"),
        (key("c2hvcnQ="), 400, "invalid_websocket_key"),
        (key("not base64 at all!!!!!!!"), 400, "invalid_websocket_key"),
        (key(&format!("{HANDSHAKE_KEY}\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}")), 400, "duplicate_websocket_key"),
        (good.replace("GET", "POST"), 405, "method_not_allowed"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 400, "unsupported_http_version"),
        (handshake("/ws", "Content-Length: 1\r\n"), 400, "unexpected_body"),
        (handshake("/ws", "Sec-WebSocket-Protocol: a, a\r\n"), 400, "duplicate_subprotocol"),
        (handshake("/ws", "Sec-WebSocket-Protocol: a b\r\n"), 400, "malformed_subprotocols"),
        (handshake("/ws", "Sec-WebSocket-Extensions: ;\r\n"), 400, "malformed_extensions"),
    ];
    for (request, status, code) in cases {
        let response = answer(server.address, &request);
        response.expect_error(status, code);
        match status {
            // RFC 9110, 15.5.6.
            405 => assert_eq!(response.header("allow"), Some("GET")),
            // RFC 9110, 15.5.22.
            426 => assert_eq!(response.header("upgrade"), Some("websocket")),
            _ => {}
        }
        // RFC 6455, 4.4.
        let tells_version = response.header("sec-websocket-version") == Some("13");
        assert_eq!(tells_version, matches!(code, "missing_websocket_version" | "unsupported_websocket_version"), "{code}");
    }
    server.expect_empty();
}

#[test]
fn a_connection_can_try_again_after_a_refused_handshake() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let mut client = Client::tcp(server.address);
    client.send_raw(handshake("/ws", "").replace("Version: 13", "Version: 7").as_bytes());
    client.response().expect_error(426, "unsupported_websocket_version");
    let (mut client, _) = client.upgrade("/ws", "");
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn header_names_and_values_are_read_in_any_case_and_among_others() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let request = handshake("/ws", "")
        .replace("Upgrade: websocket", "UPGRADE: h2c, WebSocket")
        .replace("Connection: Upgrade", "connection: keep-alive, uPGRADE");
    let mut client = Client::tcp(server.address);
    client.send_raw(request.as_bytes());
    client.upgraded();
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let mut client = Client::tcp(server.address);
    for byte in handshake("/ws", "").bytes() {
        client.send_raw(&[byte]);
    }
    client.upgraded();
    client.send_text("hello");
    client.expect_text("hello");
}

#[test]
fn frames_behind_the_handshake_in_the_same_packet_are_not_lost() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.websocket("/ws", echo));
        for _ in 0..4 {
            let mut client = Client::tcp(server.address);
            // The second frame is cut in its middle.
            let second = frame_of(Opcode::Text, b"second");
            let first = [handshake("/ws", "").as_bytes(), &frame_of(Opcode::Text, b"first"), &second[..5]].concat();
            client.send_raw(&first);
            client.upgraded();
            client.expect_text("first");
            client.send_raw(&second[5..]);
            client.expect_text("second");
        }
    }
}

#[test]
fn a_protocol_error_behind_the_handshake_in_the_same_packet_is_answered() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let mut client = Client::tcp(server.address);
    client.send_raw(&[handshake("/ws", "").as_bytes(), &[0x81, 0x00]].concat());
    client.upgraded();
    client.expect_close(1002);
    client.expect_end();
}

#[test]
fn a_head_that_is_too_long_is_answered_with_431() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    let long = handshake("/ws", &format!("X-Long: {}\r\n", "x".repeat(20_000)));
    assert_eq!(answer(server.address, &long).status, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(answer(server.address, &handshake("/ws", &many)).status, 431);
    server.expect_empty();
}

#[test]
fn bytes_that_are_not_http_are_refused() {
    let server = serve(1, |builder| builder.websocket("/ws", echo));
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\0"]
    {
        let mut client = Client::tcp(server.address);
        client.send_raw(garbage);
        client.end_sending();
        client.expect_gone();
    }
    server.expect_empty();
}

#[test]
fn half_a_request_and_then_silence_is_given_up_after_the_handshake_timeout() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| {
            builder.websocket("/ws", echo).configure(|config| config.handshake_timeout = Duration::from_millis(150))
        });
        let mut silent = Client::tcp(server.address);
        let mut half = Client::tcp(server.address);
        half.send_raw(&handshake("/ws", "").as_bytes()[..40]);
        let mut line = Client::open(server.address, "/ws");
        half.expect_gone();
        silent.expect_gone();
        // A line is no longer an HTTP connection.
        line.send_text("still here");
        line.expect_text("still here");
        eventually("only the line is left", || server.node().connections() == 1);
    }
}

#[test]
fn a_connection_that_waits_between_requests_is_given_up_too() {
    let server = serve(1, |builder| builder.configure(|config| config.keep_alive_timeout = Duration::from_millis(150)));
    let mut client = Client::tcp(server.address);
    client.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.response().status, 404);
    client.expect_gone();
    server.expect_empty();
}

#[test]
fn a_connection_that_waits_between_requests_has_longer_than_one_that_says_half_of_one() {
    let server = serve(1, |builder| {
        builder.configure(|config| {
            config.handshake_timeout = Duration::from_millis(150);
            config.keep_alive_timeout = Duration::from_secs(75);
        })
    });
    let mut waits = Client::tcp(server.address);
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    waits.send_raw(request.as_bytes());
    assert_eq!(waits.response().header("keep-alive"), Some("timeout=75"));
    let mut half = Client::tcp(server.address);
    half.send_raw(request.as_bytes());
    half.response();
    half.send_raw(&request.as_bytes()[..10]);
    // By then both have said nothing for as long.
    half.expect_gone();
    for _ in 0..2 {
        waits.send_raw(request.as_bytes());
        assert_eq!(waits.response().status, 404);
    }
}

#[test]
fn answers_say_so_when_the_server_goes_down() {
    let (began, begun) = std::sync::mpsc::channel();
    let hold = Hold::new();
    let held = hold.clone();
    let page = axum::Router::new().route(
        "/slow",
        axum::routing::get(move || async move {
            began.send(()).expect("the test is there");
            held.wait().await;
            "an answer"
        }),
    );
    let server = serve(1, |builder| builder.websocket("/ws", echo).http(page).configure(|config| config.drain = NEVER));
    // Keeps the server until the answer is given.
    let line = Client::open(server.address, "/ws");
    let mut client = Client::tcp(server.address);
    client.send_raw(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    next(&begun);
    server.shutdown();
    hold.release();
    let response = client.response();
    assert_eq!((response.header("connection"), response.header("keep-alive")), (Some("close"), None));
    client.expect_end();
    drop(line);
    server.join();
}

#[test]
fn a_page_of_another_origin_may_not_connect_unless_it_is_allowed() {
    let server = serve(1, |builder| {
        builder.websocket("/ws", echo).configure(|config| config.allowed_origins = vec!["https://app.example.com".into()])
    });
    let request = |origin: &str| handshake("/ws", &format!("Origin: {origin}\r\n"));
    for foreign in ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com", "://"] {
        answer(server.address, &request(foreign)).expect_error(403, "origin_not_allowed");
    }
    for welcome in ["https://app.example.com", "http://localhost:3000", "http://127.0.0.1"] {
        assert_eq!(answer(server.address, &request(welcome)).status, 101, "{welcome}");
    }
}

#[test]
fn the_first_subprotocol_that_the_server_speaks_is_chosen_and_told_to_the_handler() {
    async fn tell(socket: Socket, opening: Opening) {
        let _ = socket.send(opening.subprotocol.unwrap_or_else(|| "none".into())).await;
    }
    let server = serve(1, |builder| {
        builder.websocket("/ws", tell).configure(|config| config.subprotocols = vec!["chat.v1".into(), "chat.v2".into()])
    });
    for (offer, chosen) in [("nothing, chat.v2, chat.v1", Some("chat.v2")), ("nothing", None)] {
        let more = format!("Sec-WebSocket-Protocol: {offer}\r\n");
        let (mut client, response) = Client::tcp(server.address).upgrade("/ws", &more);
        assert_eq!(response.header("sec-websocket-protocol"), chosen);
        client.expect_text(chosen.unwrap_or("none"));
    }
}

#[test]
fn a_handler_knows_how_its_line_was_opened() {
    async fn tell(socket: Socket, opening: Opening) {
        let peer = opening.peer.is_some_and(|peer| peer.ip().is_loopback());
        let header = opening.headers.get("x-who").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = format!("{} {:?} {:?} {header} {peer}", opening.uri, opening.param("name"), opening.param("none"));
        let _ = socket.send(text).await;
    }
    let server = serve(1, |builder| builder.websocket("/sub/{name}", tell));
    let (mut client, _) = Client::tcp(server.address).upgrade("/sub/a%20b?c=d", "X-Who: me\r\n");
    client.expect_text(r#"/sub/a%20b?c=d Some("a b") None me true"#);
}

#[test]
fn compression_is_agreed_on_only_if_it_is_configured() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let plain = serve(1, |builder| builder.websocket("/ws", echo));
    let (mut client, response) = Client::tcp(plain.address).upgrade("/ws", offer);
    assert_eq!(response.header("sec-websocket-extensions"), None);
    client.send_text("hello");
    client.expect_text("hello");

    let deflating =
        serve(1, |builder| builder.websocket("/ws", echo).configure(|config| config.deflate = Some(DeflateConfig::default())));
    let (_client, response) = Client::tcp(deflating.address).upgrade("/ws", offer);
    assert!(response.header("sec-websocket-extensions").is_some_and(|value| value.starts_with("permessage-deflate")));
    let (_client, response) = Client::tcp(deflating.address).upgrade("/ws", "");
    assert_eq!(response.header("sec-websocket-extensions"), None);
}
