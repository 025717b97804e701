//! Who is let in.

use std::time::{Duration, Instant};

use longwire_server::{ApiKeys, Server, local_key};
use serde_json::Value;

use super::{API, api, expect_error, request, respond};
use crate::support::{TestServer, serve};

const KEY: &str = "a-key-for-the-tests-1";

#[track_caller]
fn status(server: &TestServer, headers: &str) -> (u16, String) {
    let response = respond(server.address, &request("GET", "/channels", headers, ""));
    let value: Value = serde_json::from_str(&response.body).unwrap();
    if response.status == 401 {
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    }
    // No page of another origin may read any of it.
    assert_eq!(response.header("access-control-allow-origin"), None);
    (response.status, value["error"]["name"].as_str().unwrap_or("none").to_owned())
}

#[test]
fn with_keys_one_of_them_is_needed() {
    let server = serve(1, |builder| {
        let builder = builder.api(API, ApiKeys::new([KEY, "another-key-for-tests"]).unwrap());
        builder.configure(|config| config.allowed_hosts = vec!["api.example.com".into()])
    });
    for good in [
        format!("Authorization: Bearer {KEY}\r\n"),
        "authorization: bearer another-key-for-tests\r\n".into(),
        format!("X-API-Key: {KEY}\r\n"),
        format!("Host: api.example.com\r\nX-API-Key: {KEY}\r\nX-Forwarded-For: 203.0.113.7\r\n"),
    ] {
        assert_eq!(status(&server, &good), (200, "none".into()), "{good}");
    }
    for bad in [
        "",
        "X-API-Key: a-key-for-the-tests-2\r\n",
        "X-API-Key: \r\n",
        "Authorization: Basic YTpi\r\n",
        "Authorization: Bearer\r\n",
    ] {
        assert_eq!(status(&server, bad), (401, "unauthorized".into()), "{bad}");
    }
    // Before anything of the body is looked at.
    let response = respond(server.address, &request("POST", "/publish", "", "nonsense"));
    expect_error(response.status, &serde_json::from_str(&response.body).unwrap(), 401, "unauthorized");
}

/// Wherever a request seems to come from: a proxy on this machine sends what the whole internet asks.
#[test]
fn without_configured_keys_the_one_that_the_server_has_made_is_needed() {
    let running = Server::builder().shards(1).api(API, ApiKeys::local()).start("127.0.0.1:0").unwrap();
    let address = running.addresses()[0];
    let get = |headers: &str| respond(address, &request("GET", "/channels", headers, "")).status;
    for refused in ["", "X-API-Key: a-key-for-the-tests-1\r\n", "X-Forwarded-For: 203.0.113.7\r\n"] {
        assert_eq!(get(refused), 401, "{refused}");
    }
    let key = local_key(address).expect("a key for this user");
    assert_eq!(get(&format!("X-API-Key: {key}\r\n")), 200);
    let other = Server::builder().shards(1).api(API, ApiKeys::local()).start("127.0.0.1:0").unwrap();
    assert_ne!(local_key(other.addresses()[0]), Some(key), "each has its own");
    running.shutdown();
    running.join().unwrap();
    assert_eq!(local_key(address), None, "a key ends with its server");
}

#[test]
fn an_application_that_listens_by_itself_gives_keys_or_looks_itself() {
    let error = Server::builder().api(API, ApiKeys::local()).into_router().unwrap_err();
    assert!(error.to_string().contains("ApiKeys::new"), "{error}");
    for keys in [ApiKeys::new([KEY]).unwrap(), ApiKeys::checked_elsewhere()] {
        assert!(Server::builder().shards(1).api(API, keys).into_router().is_ok());
    }
}

/// Who tries keys is slowed down; who has one is not, though they come from the same address.
#[test]
fn wrong_keys_have_to_wait_and_right_ones_do_not() {
    let server = serve(1, |builder| builder.api(API, ApiKeys::new([KEY]).unwrap()));
    let attempts = 14;
    let start = Instant::now();
    for _ in 0..attempts {
        assert_eq!(status(&server, "X-API-Key: a-key-for-the-tests-2\r\n"), (401, "unauthorized".into()));
        assert_eq!(status(&server, &format!("X-API-Key: {KEY}\r\n")), (200, "none".into()));
    }
    assert!(start.elapsed() >= Duration::from_secs(4), "ten are free, and then each takes a second");
}

#[test]
fn pages_of_other_origins_do_not_reach_it() {
    let server = api(1);
    assert_eq!(status(&server, "Origin: http://localhost:5173\r\n"), (200, "none".into()));
    for foreign in
        ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"]
    {
        assert_eq!(status(&server, foreign), (403, "origin_not_allowed".into()), "{foreign}");
    }
    // What a browser asks before it sends such a request is not granted either.
    let response = respond(server.address, &request("OPTIONS", "/publish", "Origin: https://evil.example\r\n", ""));
    assert_eq!((response.status, response.header("access-control-allow-origin")), (405, None));
}
