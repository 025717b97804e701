use http::{HeaderMap, Method, StatusCode};

use super::super::deflate::DeflateConfig;
use super::super::server::{Accepted, Rejection, ServerOptions, accept_connect};
use super::headers;

const VERSION: &str = "sec-websocket-version: 13";

fn options() -> ServerOptions {
    ServerOptions { subprotocols: vec!["chat".into()], deflate: Some(DeflateConfig::default()) }
}

fn connect(protocol: Option<&str>, headers: &HeaderMap) -> Result<Accepted, Rejection> {
    accept_connect(&Method::CONNECT, protocol, headers, &options())
}

/// The answer to a CONNECT with these header lines.
fn with(lines: &[&str]) -> Result<Accepted, Rejection> {
    connect(Some("websocket"), &headers(lines))
}

#[test]
fn a_connect_for_websocket_is_answered_200_without_a_key_rfc8441_5() {
    let accepted = with(&[VERSION, "sec-websocket-protocol: x, chat", "sec-websocket-extensions: permessage-deflate"]).unwrap();
    assert_eq!((accepted.accept.as_deref(), accepted.subprotocol.as_deref()), (None, Some("chat")));
    assert!(accepted.deflate.is_some());
    let response = accepted.response();
    assert_eq!(response.status(), StatusCode::OK);
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["sec-websocket-extensions", "sec-websocket-protocol"]);
    assert!(with(&[VERSION]).unwrap().response().headers().is_empty());
    // A key that is there all the same says nothing.
    assert!(with(&[VERSION, "sec-websocket-key: x"]).unwrap().accept.is_none());
}

#[test]
fn the_method_is_connect_rfc8441_5() {
    let get = accept_connect(&Method::GET, Some("websocket"), &headers(&[VERSION]), &options());
    assert_eq!(get, Err(Rejection::NotConnect(Method::GET)));
    let response = get.unwrap_err().response();
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"CONNECT".parse().unwrap())
    );
}

#[test]
fn the_protocol_is_websocket_rfc8441_5() {
    for protocol in [None, Some(""), Some("WebSocket"), Some("connect-udp")] {
        let refused = connect(protocol, &headers(&[VERSION]));
        assert_eq!(refused, Err(Rejection::OtherProtocol), "{protocol:?}");
    }
    assert_eq!(Rejection::OtherProtocol.status(), StatusCode::NOT_IMPLEMENTED);
}

#[test]
fn what_is_negotiated_keeps_its_rules_rfc8441_5() {
    assert_eq!(with(&[]), Err(Rejection::MissingVersion));
    assert_eq!(with(&["sec-websocket-version: 8"]), Err(Rejection::UnsupportedVersion));
    assert_eq!(with(&[VERSION, VERSION]), Err(Rejection::DuplicateVersion));
    assert_eq!(with(&[VERSION, "sec-websocket-protocol: a, a"]), Err(Rejection::DuplicateSubprotocol));
    assert_eq!(with(&[VERSION, "sec-websocket-extensions: permessage-deflate;"]), Err(Rejection::MalformedExtensions));
}
