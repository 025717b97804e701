use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::super::deflate::DeflateConfig;
use super::super::server::{Accepted, Rejection, ServerOptions, accept, encode_head};
use super::{SAMPLE_ACCEPT, headers};

/// The request of RFC 6455, 1.3, without subprotocols.
const VALID: [&str; 5] = [
    "host: server.example.com",
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
];

fn get(headers: &HeaderMap, options: &ServerOptions) -> Result<Accepted, Rejection> {
    accept(&Method::GET, Version::HTTP_11, headers, options)
}

/// The answer to the valid request after `change`.
fn with(change: impl FnOnce(&mut HeaderMap)) -> Result<Accepted, Rejection> {
    let mut headers = headers(&VALID);
    change(&mut headers);
    get(&headers, &ServerOptions::default())
}

/// The answer to the valid request with this value in place of the header's own.
fn replacing(name: &'static str, value: &'static str) -> Result<Accepted, Rejection> {
    with(|headers| {
        headers.insert(name, HeaderValue::from_static(value));
    })
}

/// The answer to the valid request with this line added.
fn adding(name: &'static str, value: &'static str) -> Result<Accepted, Rejection> {
    with(|headers| {
        headers.append(name, HeaderValue::from_static(value));
    })
}

fn without(name: &'static str) -> Result<Accepted, Rejection> {
    with(|headers| {
        headers.remove(name);
    })
}

#[test]
fn a_valid_request_is_switched_rfc6455_4_2_2() {
    let accepted = get(&headers(&VALID), &ServerOptions::default()).expect("valid");
    assert_eq!(accepted.accept.as_deref(), Some(SAMPLE_ACCEPT));
    assert_eq!(accepted.subprotocol, None);
    assert_eq!(accepted.deflate, None);
    assert_eq!(accepted.response().status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        encode_head(&accepted.response()),
        b"HTTP/1.1 101 Switching Protocols\r\n\
          upgrade: websocket\r\n\
          connection: Upgrade\r\n\
          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn the_http_version_has_to_be_1_1_rfc6455_4_2_1() {
    let status = |version| {
        let rejection = accept(&Method::GET, version, &headers(&VALID), &ServerOptions::default()).expect_err("refused");
        assert_eq!(rejection, Rejection::HttpVersion(version));
        rejection.status()
    };
    assert_eq!(status(Version::HTTP_10), StatusCode::BAD_REQUEST);
    for version in [Version::HTTP_09, Version::HTTP_2, Version::HTTP_3] {
        assert_eq!(status(version), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
}

#[test]
fn the_method_has_to_be_get_rfc6455_4_2_1() {
    for method in [Method::POST, Method::HEAD, Method::OPTIONS, Method::CONNECT] {
        let rejection = accept(&method, Version::HTTP_11, &headers(&VALID), &ServerOptions::default()).expect_err("refused");
        assert_eq!(rejection, Rejection::Method(method));
        assert_eq!(rejection.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(rejection.headers(), headers(&["allow: GET"]));
    }
}

#[test]
fn there_has_to_be_one_host_rfc6455_4_2_1() {
    assert_eq!(without("host"), Err(Rejection::MissingHost));
    assert_eq!(replacing("host", " "), Err(Rejection::MissingHost));
    assert_eq!(adding("host", "other.example.com"), Err(Rejection::DuplicateHost));
}

#[test]
fn upgrade_has_to_list_websocket_rfc6455_4_2_1() {
    for value in ["WebSocket", "h2c, websocket", " WEBSOCKET\t"] {
        assert!(replacing("upgrade", value).is_ok(), "{value}");
    }
    assert!(adding("upgrade", "h2c").is_ok());
    for value in ["", "h2c", "websockets", "web socket", "websocket/13"] {
        assert_eq!(replacing("upgrade", value), Err(Rejection::OtherUpgrade), "{value}");
    }
}

#[test]
fn an_ordinary_request_is_told_to_upgrade_rfc9110_15_5_22() {
    let plain = get(&headers(&["host: a"]), &ServerOptions::default());
    assert_eq!(plain, Err(Rejection::NotAnUpgrade));
    for rejection in [Rejection::NotAnUpgrade, Rejection::OtherUpgrade] {
        assert_eq!(rejection.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(rejection.headers(), headers(&["upgrade: websocket", "connection: Upgrade"]));
    }
}

#[test]
fn connection_has_to_list_upgrade_rfc6455_4_2_1() {
    for value in ["upgrade", "keep-alive, Upgrade", "UPGRADE,x"] {
        assert!(replacing("connection", value).is_ok(), "{value}");
    }
    assert!(adding("connection", "keep-alive").is_ok());
    for value in ["", "close", "keep-alive", "upgraded"] {
        assert_eq!(replacing("connection", value), Err(Rejection::Connection), "{value}");
    }
    assert_eq!(without("connection"), Err(Rejection::Connection));
}

#[test]
fn a_body_is_refused_rfc9110_7_8() {
    assert!(adding("content-length", "0").is_ok());
    for value in ["1", "", "00", "x"] {
        assert_eq!(adding("content-length", value), Err(Rejection::Body), "{value}");
    }
    assert_eq!(adding("transfer-encoding", "chunked"), Err(Rejection::Body));
}

#[test]
fn the_version_has_to_be_13_rfc6455_4_2_1_and_4_4() {
    assert!(replacing("sec-websocket-version", " 13 ").is_ok());
    assert_eq!(without("sec-websocket-version"), Err(Rejection::MissingVersion));
    for value in ["", "8", "14", "013", "13, 8", "13.0", "hybi-00", "130"] {
        assert_eq!(replacing("sec-websocket-version", value), Err(Rejection::UnsupportedVersion), "{value}");
    }
    // 11.3.5: once, even if both agree.
    assert_eq!(adding("sec-websocket-version", "13"), Err(Rejection::DuplicateVersion));

    for rejection in [Rejection::MissingVersion, Rejection::UnsupportedVersion] {
        assert_eq!(rejection.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(rejection.headers(), headers(&["upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13"]));
    }
}

#[test]
fn the_key_has_to_be_16_bytes_of_base64_rfc6455_4_2_1() {
    let padded = replacing("sec-websocket-key", "\tdGhlIHNhbXBsZSBub25jZQ== ").expect("valid");
    assert_eq!(padded.accept.as_deref(), Some(SAMPLE_ACCEPT));
    assert_eq!(without("sec-websocket-key"), Err(Rejection::MissingKey));
    for value in [
        "",
        // 15, 17 and 13 bytes.
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZWU=",
        "SGVsbG8sIHdvcmxkIQ==",
        // No padding, too much of it, bits behind the end, another alphabet, no base64.
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZR==",
        "-_hlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBs SBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
        "************************",
    ] {
        assert_eq!(replacing("sec-websocket-key", value), Err(Rejection::InvalidKey), "{value}");
    }
    // 11.3.1: once, even if both agree.
    assert_eq!(adding("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), Err(Rejection::DuplicateKey));
}

#[test]
fn the_clients_order_of_subprotocols_decides_rfc6455_4_2_2() {
    let options = ServerOptions { subprotocols: vec!["a".into(), "b".into(), "c".into()], deflate: None };
    for (lines, chosen) in [
        (&[] as &[&str], None),
        (&["sec-websocket-protocol: x, c, a"], Some("c")),
        (&["sec-websocket-protocol: x", "sec-websocket-protocol: b,a"], Some("b")),
        (&["sec-websocket-protocol: x, A"], None),
    ] {
        let accepted = get(&headers(&[&VALID, lines].concat()), &options).expect("valid");
        assert_eq!(accepted.subprotocol.as_deref(), chosen);
        let response = accepted.response();
        let header = response.headers().get("sec-websocket-protocol");
        assert_eq!(header.map(HeaderValue::as_bytes), chosen.map(str::as_bytes));
    }
}

#[test]
fn subprotocols_have_to_be_different_tokens_rfc6455_4_1() {
    for value in ["", ",", "a b", "a/b", "a;b", "\"a\""] {
        assert_eq!(adding("sec-websocket-protocol", value), Err(Rejection::MalformedSubprotocols), "{value}");
    }
    assert_eq!(adding("sec-websocket-protocol", "a, b, a"), Err(Rejection::DuplicateSubprotocol));
    // Names differ in case.
    assert!(adding("sec-websocket-protocol", "a, A").is_ok());
}

#[test]
fn extensions_have_to_be_well_formed_rfc6455_9_1() {
    // Also for a server that uses none.
    assert_eq!(adding("sec-websocket-extensions", "permessage-deflate;"), Err(Rejection::MalformedExtensions));
    let accepted = adding("sec-websocket-extensions", "permessage-deflate").expect("declined");
    assert_eq!(accepted.deflate, None);
    assert!(!accepted.response().headers().contains_key("sec-websocket-extensions"));
}

#[test]
fn permessage_deflate_is_agreed_rfc7692_5() {
    let options = ServerOptions { deflate: Some(DeflateConfig::default()), ..ServerOptions::default() };
    let answer = |value: &str| {
        let line = format!("sec-websocket-extensions: {value}");
        let accepted = get(&headers(&[&VALID[..], &[&line]].concat()), &options).expect("valid");
        let response = accepted.response();
        let header = response.headers().get("sec-websocket-extensions");
        (accepted.deflate, header.map(|value| value.to_str().expect("ASCII").to_owned()))
    };
    let (agreed, header) = answer("permessage-deflate; client_max_window_bits");
    assert!(agreed.expect("accepted").server_no_context_takeover);
    assert_eq!(header.as_deref(), Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
    // An offer that does not fit is no error, the line just goes uncompressed.
    assert_eq!(answer("permessage-deflate; unknown"), (None, None));
    assert_eq!(answer("mux"), (None, None));
}

#[test]
fn rejections_answer_for_themselves() {
    let all = [
        Rejection::HttpVersion(Version::HTTP_10),
        Rejection::MissingHost,
        Rejection::DuplicateHost,
        Rejection::Method(Method::from_bytes(b"M'%|~").expect("a token")),
        Rejection::NotConnect(Method::GET),
        Rejection::OtherProtocol,
        Rejection::NotAnUpgrade,
        Rejection::OtherUpgrade,
        Rejection::Connection,
        Rejection::Body,
        Rejection::MissingVersion,
        Rejection::UnsupportedVersion,
        Rejection::DuplicateVersion,
        Rejection::MissingKey,
        Rejection::InvalidKey,
        Rejection::DuplicateKey,
        Rejection::MalformedSubprotocols,
        Rejection::DuplicateSubprotocol,
        Rejection::MalformedExtensions,
    ];
    let codes: std::collections::HashSet<_> = all.iter().map(Rejection::code).collect();
    assert_eq!(codes.len(), all.len());
    for rejection in &all {
        let response = rejection.response();
        let message = rejection.to_string();
        let code = rejection.code();
        assert_eq!(*response.body(), format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#));
        assert!(!message.contains(['"', '\\', '\n']) && !message.contains("  "), "{message}");
        assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        assert_eq!(response.status(), rejection.status());
        assert!(response.status().is_client_error() || *rejection == Rejection::OtherProtocol);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["content-length"], response.body().len().to_string());
        for (name, value) in &rejection.headers() {
            assert_eq!(response.headers()[name], value);
        }
    }
}
