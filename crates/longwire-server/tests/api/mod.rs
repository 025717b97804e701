//! The server API over real HTTP, and the handle of the library.

mod batch;
mod doors;
mod endpoints;
mod errors;
mod handle;
mod openapi;
mod schema;
mod yaml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use longwire_server::{ApiKeys, ChannelOptions, Namespaces, ServerBuilder};
use serde_json::Value;

use crate::support::{Client, Response, TestServer, serve};

pub(super) const API: &str = "/api/v1";

/// As the command has them when nobody has configured anything, about.
fn namespaces() -> Arc<Namespaces> {
    let some = ChannelOptions { history_size: 100, history_age: Duration::from_secs(600), ..ChannelOptions::default() };
    let all = [
        ("default", some.clone()),
        ("chat", ChannelOptions { presence: true, joins: true, ..some.clone() }),
        ("state", ChannelOptions { state_keys: 10, ..some.clone() }),
        ("ai", ChannelOptions { streams: true, ..some.clone() }),
        ("small", ChannelOptions { message_bytes: 10, ..some }),
        ("live", ChannelOptions::default()),
    ];
    Arc::new(Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).unwrap())
}

/// A server with the API, open to this machine.
#[track_caller]
fn api(shards: usize) -> TestServer {
    api_with(shards, |builder| builder)
}

#[track_caller]
fn api_with(shards: usize, change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    serve(shards, |builder| {
        change(
            builder
                .native("/v1/ws")
                .api(API, ApiKeys::checked_elsewhere())
                .configure(|config| config.namespaces = namespaces()),
        )
    })
}

/// A request's head and body, as they go over the wire.
fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let host = if headers.starts_with("Host:") { "" } else { "Host: localhost\r\n" };
    format!("{method} {API}{target} HTTP/1.1\r\n{host}{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[track_caller]
fn respond(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::tcp(address);
    client.send_raw(request.as_bytes());
    client.response()
}

/// Sends a JSON body, or only a query if there is none.
#[track_caller]
fn call(server: &TestServer, method: &str, target: &str, body: &str) -> (u16, Value) {
    let headers = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let response = respond(server.address, &request(method, target, headers, body));
    assert_eq!(response.header("content-type"), Some("application/json"), "{}", response.head);
    let value = serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.body));
    (response.status, value)
}

/// As [`call`], and it must go well.
#[track_caller]
fn ok(server: &TestServer, method: &str, target: &str, body: &str) -> Value {
    let (status, value) = call(server, method, target, body);
    assert_eq!(status, 200, "{value}");
    value
}

/// As [`call`], and it must be refused so; gives the message for people.
#[track_caller]
fn refused(server: &TestServer, method: &str, target: &str, body: &str, status: u16, name: &str) -> String {
    let (got, value) = call(server, method, target, body);
    expect_error(got, &value, status, name)
}

#[track_caller]
fn expect_error(got: u16, value: &Value, status: u16, name: &str) -> String {
    let error = &value["error"];
    assert_eq!((got, &error["name"]), (status, &name.into()), "{value}");
    let code = longwire_server::ErrorCode::ALL.iter().find(|code| code.name() == name).unwrap();
    assert_eq!((&error["code"], &error["retry"]), (&code.number().into(), &code.retry().into()), "{value}");
    error["message"].as_str().unwrap().to_owned()
}

/// A client of the native protocol, and its session.
fn session(server: &TestServer, channels: &[&str]) -> (Client, String) {
    let mut client = Client::open(server.address, "/v1/ws");
    client.send_text(r#"{"type":"connect"}"#);
    let connected: Value = serde_json::from_str(&client.text()).unwrap();
    for channel in channels {
        client.send_text(&format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#));
        // Everybody's own coming is told, too.
        while next(&mut client)["type"] != "subscribed" {}
    }
    (client, connected["session"].as_str().unwrap().to_owned())
}

#[track_caller]
fn next(client: &mut Client) -> Value {
    serde_json::from_str(&client.text()).unwrap()
}

/// The next message of a type; what has another is passed over.
#[track_caller]
fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = next(client);
        if message["type"] == kind {
            return message;
        }
    }
}
