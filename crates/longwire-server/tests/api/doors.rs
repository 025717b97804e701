//! Who is let in.

use longwire_server::ApiKeys;
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
    let server = serve(1, |builder| builder.api(API, ApiKeys::new([KEY, "another-key-for-tests"]).unwrap()));
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

#[test]
fn without_a_key_only_this_machine_is_answered() {
    let server = api(1);
    assert_eq!(status(&server, ""), (200, "none".into()));
    for refused in [
        "Host: evil.example:8000\r\n",
        "X-Forwarded-For: 203.0.113.7\r\n",
        "Forwarded: for=203.0.113.7\r\n",
        "Via: 1.1 proxy\r\n",
    ] {
        assert_eq!(status(&server, refused), (403, "api_closed".into()), "{refused}");
    }
    let open = longwire_server::Server::builder().shards(1).api(API, ApiKeys::none()).start("0.0.0.0:0").unwrap();
    let address = format!("127.0.0.1:{}", open.addresses()[0].port()).parse().unwrap();
    let response = respond(address, &request("GET", "/channels", "", ""));
    let message = expect_error(response.status, &serde_json::from_str(&response.body).unwrap(), 403, "api_closed");
    assert!(message.contains("api_keys"), "{message}");
    open.shutdown();
    open.join().unwrap();
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
