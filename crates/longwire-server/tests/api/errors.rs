//! What is not as it should be, and how it is answered.

use std::time::Duration;

use serde_json::Value;

use super::{API, api, api_with, expect_error, refused, request, respond};
use crate::support::Client;

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn bad_json_is_refused_with_its_place() {
    let server = api(1);
    let message = refused(&server, "POST", "/publish", "{\"channel\":\"a\",\n\"data\":}", 400, "bad_message");
    assert!(message.contains("line 2 column 8"), "{message}");
    for body in ["[]", "7", "{", "\"text\"", "{} {}", "{\"channel\":\"\u{0}\"}", r#"{"channel":"a","channel":"b"}"#] {
        refused(&server, "POST", "/publish", body, 400, "bad_message");
    }
    let deep = format!(r#"{{"channel":"a","data":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
    assert!(refused(&server, "POST", "/publish", &deep, 400, "bad_value").contains("64"));
}

#[test]
fn a_member_that_does_not_belong_is_named() {
    let server = api(1);
    let cases = [
        ("POST", "/publish", r#"{"channel":"a","data":1,"color":"red"}"#, "'color'"),
        ("POST", "/publish", r#"{"channel":"a","data":1,"echo":false}"#, "'echo'"),
        ("POST", "/publish?channel=a", r#"{"data":1}"#, "'channel'"),
        ("POST", "/cancel", r#"{"channel":"ai:a","stream":1,"once":"x"}"#, "'once'"),
        ("GET", "/history?channel=a&page=1", "", "'page'"),
        ("DELETE", "/state?channel=state:a&key=k&data=1", "", "'data'"),
    ];
    for (method, target, body, named) in cases {
        let message = refused(&server, method, target, body, 400, "bad_message");
        assert!(message.contains(named), "{message}");
    }
    // One that is missing, or of another kind, is named, too.
    for (body, status_name, named) in [
        (r#"{"data":1}"#, "bad_message", "channel"),
        (r#"{"channel":7}"#, "bad_value", "channel"),
        (r#"{"channel":"a","event":7}"#, "bad_value", "event"),
        (r#"{"channel":"a","stream":"yes"}"#, "bad_value", "stream"),
        (r#"{"channel":"a","tags":{"a":1}}"#, "bad_value", "tags"),
        (r#"{"channel":"a","once":""}"#, "bad_value", "once"),
        (r#"{"channel":"a","bytes":"*"}"#, "bad_value", "bytes"),
        (r#"{"channel":"a","remove":true}"#, "bad_value", "remove"),
    ] {
        let message = refused(&server, "POST", "/publish", body, 400, status_name);
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn another_method_address_or_type_is_refused() {
    let server = api(1);
    let response = respond(server.address, &request("PUT", "/publish", JSON, "{}"));
    let value: Value = serde_json::from_str(&response.body).unwrap();
    expect_error(response.status, &value, 405, "method_not_allowed");
    assert_eq!(response.header("allow"), Some("POST"));
    refused(&server, "GET", "/nothing", "", 404, "not_found");
    refused(&server, "GET", "", "", 404, "not_found");
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        for target in ["/publish", "/batch", "/disconnect"] {
            let response = respond(server.address, &request("POST", target, kind, r#"{"channel":"a"}"#));
            let value: Value = serde_json::from_str(&response.body).unwrap();
            let message = expect_error(response.status, &value, 415, "unsupported_media_type");
            assert!(message.contains("json"), "{message}");
        }
    }
    let response = respond(
        server.address,
        &request("POST", "/publish", "content-type: Application/JSON; charset=utf-8\r\n", r#"{"channel":"a"}"#),
    );
    assert_eq!(response.status, 200, "{}", response.body);
}

#[test]
fn a_body_is_bounded_in_size_and_in_time() {
    let server = api_with(1, |builder| {
        builder.configure(|config| {
            config.limits.max_message_bytes = 1000;
            config.handshake_timeout = Duration::from_millis(300);
        })
    });
    let long = format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(1000));
    assert!(refused(&server, "POST", "/publish", &long, 413, "too_large").contains("1000"));
    // Without saying how long it will be.
    let head = format!("POST {API}/publish HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let mut client = Client::tcp(server.address);
    client.send_raw(format!("{head}{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).as_bytes());
    assert_eq!(client.response().status, 413);
    // And one that does not come.
    let mut client = Client::tcp(server.address);
    client.send_raw(format!("POST {API}/publish HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 50\r\n\r\n{{").as_bytes());
    let response = client.response();
    let value: Value = serde_json::from_str(&response.body).unwrap();
    expect_error(response.status, &value, 408, "request_timeout");
    assert!(
        refused(&server, "POST", "/publish", r#"{"channel":"small:a","data":"12345678901"}"#, 413, "too_large").contains("10")
    );
}

#[test]
fn what_a_channel_refuses_has_its_code_and_status() {
    let server = api(2);
    for n in 0..10 {
        super::ok(&server, "PUT", "/state", &format!(r#"{{"channel":"state:x","key":"k{n}","data":1}}"#));
    }
    let long = "x".repeat(256);
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        ("PUT", "/state", r#"{"channel":"state:x","key":"one more","data":1}"#, 409, "state_full"),
        ("POST", "/publish", r#"{"channel":"nowhere:x","data":1}"#, 404, "unknown_namespace"),
        ("POST", "/publish", &format!(r#"{{"channel":"{long}","data":1}}"#), 400, "bad_channel"),
        ("POST", "/publish", r#"{"channel":"a\u0001","data":1}"#, 400, "bad_channel"),
        ("POST", "/publish", r#"{"channel":"live:x","key":"k","data":1}"#, 409, "not_enabled"),
        ("POST", "/append", r#"{"channel":"ai:x","stream":1}"#, 404, "no_such_stream"),
        ("GET", "/presence?channel=live:x", "", 409, "not_enabled"),
        ("GET", "/history?channel=chat:x&epoch=00000001", "", 400, "bad_value"),
        ("POST", "/unsubscribe", r#"{"channel":"","user":"a"}"#, 400, "bad_channel"),
        ("POST", "/disconnect", r#"{"user":"a","session":"AAAAAAAAAAAAAAAA"}"#, 400, "bad_message"),
        ("POST", "/disconnect", r#"{"session":"short"}"#, 400, "bad_value"),
        ("POST", "/disconnect", r#"{"session":"AAAAAAAAAAAAAAAA"}"#, 404, "no_such_session"),
        ("GET", "/channels?prefix=%00%", "", 400, "bad_message"),
        ("GET", "/sessions?limit=1001", "", 400, "bad_value"),
    ];
    for (method, target, body, status, name) in cases {
        refused(&server, method, target, body, *status, name);
    }
    assert_eq!(super::ok(&server, "GET", "/history?channel=chat:x", "")["head"], 0);
}

#[test]
fn too_much_on_its_way_and_a_shutdown_are_503() {
    let server = api_with(1, |builder| builder.configure(|config| config.sessions.keep = 0));
    let (client, _) = super::session(&server, &[]);
    let mut http = Client::tcp(server.address);
    http.send_raw(request("GET", "/channels", "", "").as_bytes());
    assert_eq!(http.response().status, 200);
    server.shutdown();
    http.send_raw(request("GET", "/channels", "", "").as_bytes());
    // The shard may have ended before the request came; if it answers, then so.
    if http.wait_for_bytes() {
        let response = http.response();
        let value: Value = serde_json::from_str(&response.body).unwrap();
        expect_error(response.status, &value, 503, "overloaded");
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    drop(client);
}
