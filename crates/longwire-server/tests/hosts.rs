//! Who a request is for, and whether a page of somebody else's asks: the same on every path.

use longwire_server::socketio::SocketIo;
use longwire_server::{ApiKeys, ServerBuilder};

use crate::support::{Client, TestServer, echo, serve};

const KEY: &str = "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n";

/// Each way to ask something.
fn requests() -> Vec<(&'static str, String)> {
    let upgrade = format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}");
    let plain = |path| (path, String::new());
    vec![
        ("GET /ws", upgrade.clone()),
        ("GET /v1/ws", upgrade.clone()),
        plain("GET /v1/events?channel=a"),
        plain("GET /v1/poll?channel=a"),
        plain("GET /v1/http?stream=ndjson"),
        ("POST /v1/http", "Content-Length: 0\r\n".to_owned()),
        plain("GET /socket.io/?EIO=4&transport=polling"),
        ("GET /socket.io/?EIO=4&transport=websocket", upgrade),
        plain("GET /api/v1/channels"),
    ]
}

fn every_path(builder: ServerBuilder) -> ServerBuilder {
    let builder = builder.websocket("/ws", echo).native("/v1/ws").event_streams("/v1/events").polls("/v1/poll");
    builder.http_lines("/v1/http").socket_io("/socket.io/", SocketIo::channels()).api("/api/v1", ApiKeys::checked_elsewhere())
}

#[track_caller]
fn expect(server: &TestServer, head: &str, headers: &str, status: u16, code: &str) {
    let mut client = Client::tcp(server.address);
    client.send_raw(format!("{head} HTTP/1.1\r\n{headers}\r\n").as_bytes());
    let response = client.response();
    assert_eq!(response.header("access-control-allow-origin"), None, "{head}");
    assert_eq!(response.status, status, "{head}: {}", response.body);
    assert!(response.body.contains(&format!("\"{code}\"")), "{head}: {}", response.body);
}

#[test]
fn on_loopback_no_path_answers_to_the_name_of_a_stranger() {
    let server = serve(1, every_path);
    for (head, headers) in requests() {
        // A page whose own name resolves to here: to a browser it asks its own host, and there is no Origin.
        let rebound = format!("Host: evil.example:8000\r\nSec-Fetch-Site: same-origin\r\n{headers}");
        expect(&server, head, &rebound, 403, "host_not_allowed");
    }
    expect(&server, "GET /nothing", "Host: evil.example\r\n", 403, "host_not_allowed");
}

#[test]
fn a_page_of_another_site_that_says_no_origin_opens_nothing() {
    let server = serve(1, every_path);
    for (head, headers) in requests() {
        let image = format!("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n{headers}");
        expect(&server, head, &image, 403, "origin_not_allowed");
        let page = format!("Host: localhost\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n{headers}");
        expect(&server, head, &page, 403, "origin_not_allowed");
    }
}

#[test]
fn names_that_are_allowed_are_answered() {
    let server = serve(1, |builder| {
        every_path(builder).configure(|config| {
            config.allowed_hosts = vec!["chat.example.com".into()];
            config.allowed_origins = vec!["https://app.example.com".into()];
        })
    });
    for host in ["chat.example.com", "app.example.com:443", "localhost", "127.0.0.1:8000", "[::1]"] {
        let mut client = Client::tcp(server.address);
        client.send_raw(format!("GET /v1/poll?channel=a HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(client.response().status, 200, "{host}");
    }
    expect(&server, "GET /v1/poll?channel=a", "Host: example.com\r\n", 403, "host_not_allowed");
}

#[test]
fn a_request_says_exactly_once_who_it_is_for() {
    let server = serve(1, every_path);
    expect(&server, "GET /v1/poll?channel=a", "", 400, "missing_host");
    expect(&server, "GET /v1/poll?channel=a", "Host: localhost\r\nHost: localhost\r\n", 400, "duplicate_host");
    let builder =
        longwire_server::Server::builder().configure(|config| config.allowed_hosts = vec!["https://a.example".into()]);
    let error = builder.start("127.0.0.1:0").unwrap_err().to_string();
    assert!(error.contains("allowed_hosts") && error.contains("without scheme"), "{error}");
}
