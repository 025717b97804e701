use http::{HeaderValue, StatusCode, Uri};

use super::super::client::{ClientError, ClientHandshake, ClientRequest, Established};
use super::super::deflate::{ConfigError, DeflateConfig, ResponseError};
use super::super::{Limits, ParseError};
use super::{SAMPLE_ACCEPT, SAMPLE_KEY};

fn request(uri: &str) -> ClientRequest {
    let uri = Uri::try_from(uri).expect("a URI");
    ClientRequest::new(uri, *b"the sample nonce")
}

fn encoded(request: &ClientRequest) -> String {
    String::from_utf8(request.encode().expect("valid")).expect("ASCII")
}

/// A valid answer to the sample request, with these lines more.
fn answer(lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {SAMPLE_ACCEPT}\r\n{lines}\r\n"
    )
}

fn verify(request: &ClientRequest, response: &str) -> Result<Established, ClientError> {
    let verified = ClientHandshake::new(request).verify(response.as_bytes(), &Limits::default())?;
    let (established, consumed) = verified.expect("complete");
    assert_eq!(consumed, response.len());
    Ok(established)
}

/// The error that a plain request's answer gives.
fn refused(response: &str) -> ClientError {
    verify(&request("ws://a/"), response).expect_err("refused")
}

#[test]
fn a_request_has_all_lines_rfc6455_4_1() {
    let mut request = request("ws://server.example.com/chat?room=1&x");
    request.subprotocols = vec!["chat".into(), "superchat".into()];
    request.deflate = Some(DeflateConfig::default());
    request.headers.insert("origin", HeaderValue::from_static("http://example.com"));
    request.headers.append("cookie", HeaderValue::from_static("a=1"));
    assert_eq!(
        encoded(&request),
        format!(
            "GET /chat?room=1&x HTTP/1.1\r\n\
             Host: server.example.com\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: {SAMPLE_KEY}\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover; client_max_window_bits\r\n\
             origin: http://example.com\r\n\
             cookie: a=1\r\n\r\n"
        )
    );
}

#[test]
fn the_address_gives_host_and_resource_rfc6455_3_and_4_1() {
    for (uri, host, resource) in [
        ("ws://a.example", "a.example", "/"),
        ("ws://a.example?q", "a.example", "/?q"),
        ("WSS://a.example:443/", "a.example", "/"),
        ("WS://a.example/b/", "a.example", "/b/"),
        // The port is named unless it is the scheme's own.
        ("ws://a.example:80/", "a.example", "/"),
        ("ws://a.example:/", "a.example", "/"),
        ("ws://a.example:443/", "a.example:443", "/"),
        ("wss://a.example:443/", "a.example", "/"),
        ("wss://a.example:80/", "a.example:80", "/"),
        ("ws://localhost:8000/ws", "localhost:8000", "/ws"),
        ("ws://[::1]:8000/ws", "[::1]:8000", "/ws"),
        ("ws://[::1]/ws", "[::1]", "/ws"),
    ] {
        let text = encoded(&request(uri));
        let expected = format!("GET {resource} HTTP/1.1\r\nHost: {host}\r\n");
        assert!(text.starts_with(&expected), "{uri}: {text}");
    }
    for uri in [
        "http://a/",
        "wsx://a/",
        "/only/a/path",
        "a.example",
        "ws://user:secret@a/",
        "ws://user@a:8000/",
        "ws://",
        "ws:///path",
        "ws://:8000/",
        "ws://a:65536/",
        "ws://a/\u{e9}",
        "ws://a/?\u{e9}",
    ] {
        let encoded = Uri::try_from(uri).map(|uri| ClientRequest::new(uri, [0; 16]).encode());
        assert!(matches!(encoded, Err(_) | Ok(Err(ClientError::Uri(_)))), "{encoded:?}");
    }
}

#[test]
fn subprotocols_are_different_tokens_rfc6455_4_1() {
    for (names, culprit) in [
        (&[""][..], ""),
        (&["a", "b c"], "b c"),
        (&["a,b"], "a,b"),
        (&["chat\r\nX-Injected: 1"], "chat\r\nX-Injected: 1"),
        (&["a", "b", "a"], "a"),
    ] {
        let mut request = request("ws://a/");
        request.subprotocols = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(request.encode(), Err(ClientError::Subprotocol(culprit.to_owned())));
    }
}

#[test]
fn headers_of_the_handshake_cannot_be_set_rfc6455_4_1() {
    for name in [
        "host",
        "upgrade",
        "connection",
        "content-length",
        "transfer-encoding",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "sec-websocket-accept",
        "sec-websocket-anything",
    ] {
        let mut request = request("ws://a/");
        request.headers.insert(name, HeaderValue::from_static("x"));
        let expected = ClientError::ReservedHeader(name.parse().expect("a name"));
        assert_eq!(request.encode(), Err(expected));
    }
    // Line ends do not get past the types.
    assert!(HeaderValue::from_str("a\r\nb: c").is_err());
    assert!(Uri::try_from("ws://a/ HTTP/1.1\r\nb: c").is_err());
}

#[test]
fn compression_out_of_bounds_is_refused_rfc7692_7_1_2() {
    let mut request = request("ws://a/");
    request.deflate = Some(DeflateConfig { client_max_window_bits: 7, ..DeflateConfig::default() });
    let expected = ClientError::Deflate(ConfigError::ClientMaxWindowBits(7));
    assert_eq!(request.encode(), Err(expected));
}

#[test]
fn a_valid_answer_opens_the_connection_rfc6455_4_1() {
    let established = verify(&request("ws://a/"), &answer("X-Node: 7\r\n")).expect("valid");
    assert_eq!(established.subprotocol, None);
    assert_eq!(established.deflate, None);
    assert_eq!(established.response.headers()["x-node"], "7");

    // Bytes of the first frame stay with the caller.
    let response = answer("");
    let input = [response.as_bytes(), b"\x81\x00"].concat();
    let (_, consumed) =
        ClientHandshake::new(&request("ws://a/")).verify(&input, &Limits::default()).expect("valid").expect("complete");
    assert_eq!(consumed, response.len());
}

#[test]
fn another_status_than_101_is_an_http_answer_rfc6455_4_1() {
    let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n";
    let input = format!("{head}no");
    let error = ClientHandshake::new(&request("ws://a/")).verify(input.as_bytes(), &Limits::default()).expect_err("refused");
    let ClientError::Status { status, headers, head_bytes } = error else {
        panic!("{error:?}");
    };
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(headers["www-authenticate"], "Bearer");
    assert_eq!(head_bytes, head.len());
    for status in ["200 OK", "204 No Content", "302 Found", "500", "102 Processing"] {
        let input = format!("HTTP/1.1 {status}\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n");
        let error =
            ClientHandshake::new(&request("ws://a/")).verify(input.as_bytes(), &Limits::default()).expect_err("refused");
        assert!(matches!(error, ClientError::Status { .. }), "{error:?}");
    }
}

#[test]
fn interim_answers_are_passed_over_rfc9110_15_2() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let response = format!("{interim}{interim}{}", answer(""));
    assert!(verify(&request("ws://a/"), &response).is_ok());

    // Together they stay within the limit.
    let limits = Limits { max_header_bytes: 3 * interim.len(), ..Limits::default() };
    let handshake = ClientHandshake::new(&request("ws://a/"));
    assert!(matches!(handshake.verify(interim.repeat(2).as_bytes(), &limits), Ok(None)));
    let error = handshake.verify(interim.repeat(9).as_bytes(), &limits);
    assert_eq!(error.err(), Some(ClientError::Http(ParseError::HeadTooLong)));
}

#[test]
fn the_answer_is_http_1_1_rfc6455_4_1() {
    assert_eq!(refused(&answer("").replace("HTTP/1.1", "HTTP/1.0")), ClientError::HttpVersion);
    assert_eq!(refused(&answer("").replace("HTTP/1.1", "HTTP/2.0")), ClientError::Http(ParseError::HttpVersion));
    for response in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 101 x\r\na b\r\n\r\n"] {
        let error =
            ClientHandshake::new(&request("ws://a/")).verify(response.as_bytes(), &Limits::default()).expect_err("refused");
        assert!(matches!(error, ClientError::Http(_)), "{error:?}");
    }
}

#[test]
fn upgrade_has_to_be_websocket_rfc6455_4_1() {
    let with = |value: &str| answer("").replace("Upgrade: websocket", value);
    assert!(verify(&request("ws://a/"), &with("Upgrade: WebSocket ")).is_ok());
    for value in ["X: y", "Upgrade:", "Upgrade: h2c", "Upgrade: websocket, h2c"] {
        assert_eq!(refused(&with(value)), ClientError::Upgrade, "{value}");
    }
    assert_eq!(refused(&answer("Upgrade: websocket\r\n")), ClientError::Upgrade);
}

#[test]
fn connection_has_to_list_upgrade_rfc6455_4_1() {
    let with = |value: &str| answer("").replace("Connection: Upgrade", value);
    assert!(verify(&request("ws://a/"), &with("Connection: keep-alive, UPGRADE")).is_ok());
    for value in ["X: y", "Connection:", "Connection: close"] {
        assert_eq!(refused(&with(value)), ClientError::Connection, "{value}");
    }
}

#[test]
fn accept_has_to_answer_the_key_rfc6455_4_1() {
    let line = format!("Sec-WebSocket-Accept: {SAMPLE_ACCEPT}");
    let with = |value: &str| answer("").replace(&line, value);
    assert_eq!(refused(&with("X: y")), ClientError::MissingAccept);
    for value in [
        String::from("Sec-WebSocket-Accept:"),
        line.to_uppercase(),
        format!("Sec-WebSocket-Accept: {SAMPLE_KEY}"),
        format!("{line}, {SAMPLE_ACCEPT}"),
    ] {
        assert_eq!(refused(&with(&value)), ClientError::WrongAccept, "{value}");
    }
    // 11.3.3: once, even if both agree.
    let repeated = refused(&answer(&format!("{line}\r\n")));
    assert!(matches!(repeated, ClientError::RepeatedHeader(_)), "{repeated:?}");
}

#[test]
fn subprotocol_has_to_be_one_of_ours_rfc6455_4_1() {
    let mut request = request("ws://a/");
    request.subprotocols = vec!["chat".into(), "superchat".into()];
    let established = verify(&request, &answer("Sec-WebSocket-Protocol: superchat\r\n"));
    assert_eq!(established.expect("valid").subprotocol.as_deref(), Some("superchat"));
    assert_eq!(verify(&request, &answer("")).expect("declined").subprotocol, None);
    for value in ["", "other", "Chat", "chat, superchat"] {
        let error = verify(&request, &answer(&format!("Sec-WebSocket-Protocol: {value}\r\n")));
        let expected = ClientError::SubprotocolNotOffered(value.to_owned());
        assert_eq!(error.err(), Some(expected));
    }
    // 11.3.4: once, even if both agree.
    let error = refused(&answer(&"Sec-WebSocket-Protocol: chat\r\n".repeat(2)));
    assert!(matches!(error, ClientError::RepeatedHeader(_)), "{error:?}");
}

#[test]
fn extensions_have_to_be_offered_rfc6455_4_1_and_9_1() {
    let line = |value: &str| answer(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
    let not_offered = ResponseError::NotOffered("permessage-deflate".to_owned());
    assert_eq!(refused(&line("permessage-deflate")), ClientError::Extension(not_offered));
    assert_eq!(refused(&line("")), ClientError::MalformedExtensions);
    assert_eq!(refused(&line("permessage-deflate;")), ClientError::MalformedExtensions);
    // 11.3.2: one line.
    let repeated = refused(&answer(&"Sec-WebSocket-Extensions: a\r\n".repeat(2)));
    assert!(matches!(repeated, ClientError::RepeatedHeader(_)), "{repeated:?}");

    let mut request = request("ws://a/");
    request.deflate = Some(DeflateConfig::default());
    let response = line("permessage-deflate; server_no_context_takeover; client_max_window_bits=9");
    let agreed = verify(&request, &response).expect("valid").deflate.expect("agreed");
    assert_eq!(agreed.client_max_window_bits, 9);
    assert!(agreed.server_no_context_takeover && agreed.client_no_context_takeover);
}
