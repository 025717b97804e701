//! What is not a WebSocket.

use std::time::Duration;

use axum::Router;
use axum::routing::get;

use crate::support::{Client, answer, echo, eventually, serve};

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn an_address_with_nothing_is_404_and_a_wrong_method_405_with_a_json_body() {
    let server =
        serve(1, |builder| builder.websocket("/ws", echo).http(Router::new().route("/page", get(|| async { "a page" }))));
    answer(server.address, &request("GET", "/nothing")).expect_error(404, "not_found");
    let wrong = answer(server.address, &request("DELETE", "/page"));
    wrong.expect_error(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    assert_eq!(answer(server.address, &request("GET", "/page")).body, "a page");
    answer(server.address, &request("GET", "/ws")).expect_error(426, "upgrade_required");
    answer(server.address, &request("POST", "/ws")).expect_error(405, "method_not_allowed");
}

#[test]
fn one_connection_serves_many_requests() {
    let server = serve(2, |builder| builder.http(Router::new().route("/page", get(|| async { "a page" }))));
    let mut client = Client::tcp(server.address);
    // All at once, too.
    client.send_raw(request("GET", "/page").repeat(20).as_bytes());
    for _ in 0..20 {
        assert_eq!(client.response().body, "a page");
    }
    assert_eq!(server.node().connections(), 1);
}

#[test]
fn an_application_with_its_own_fallback_keeps_it() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).http(Router::new().fallback(|| async { "my fallback" })));
    assert_eq!(answer(server.address, &request("GET", "/anything")).body, "my fallback");
}

#[test]
fn a_client_that_never_reads_its_answer_does_not_stay_for_ever() {
    let server = serve(1, |builder| {
        let big = axum::body::Bytes::from(vec![b'x'; 32 << 20]);
        builder
            .http(Router::new().route("/big", get(move || async move { big })))
            .configure(|config| config.write_timeout = Duration::from_millis(300))
    });
    let mut client = Client::narrow_tcp(server.address);
    client.send_raw(request("GET", "/big").as_bytes());
    eventually("the request has come", || server.node().connections() == 1);
    server.expect_empty();
}

/// What a request still has to bring is not waited for when its answer is known.
#[test]
fn a_body_that_never_comes_holds_nobody() {
    let server = serve(1, |builder| {
        builder.websocket("/ws", echo).configure(|config| config.handshake_timeout = Duration::from_millis(150))
    });
    for path in ["/nothing", "/ws"] {
        let mut client = Client::tcp(server.address);
        client.send_raw(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nhalf").as_bytes());
        assert!(client.response().status >= 400);
        client.expect_gone();
    }
    server.expect_empty();
}
