use http::{Method, StatusCode, Version};

use super::super::server::{encode_head, parse};
use super::super::{Limits, ParseError};

const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nX-Many: 1\r\nx-many: 2\r\n\r\n";

/// The error that these bytes give under the default limits.
fn error(input: &[u8]) -> ParseError {
    parse(input, &Limits::default()).expect_err("an error")
}

#[test]
fn a_head_is_read_and_what_follows_is_left_rfc6455_4_2_1() {
    let input = [REQUEST, b"\x81\x80\0\0\0\0"].concat();
    let (request, head_bytes) = parse(&input, &Limits::default()).expect("valid").expect("complete");
    assert_eq!(head_bytes, REQUEST.len());
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri(), "/chat?room=1");
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.headers()["host"], "example.org");
    let many: Vec<_> = request.headers().get_all("x-many").iter().collect();
    assert_eq!(many, ["1", "2"]);
}

#[test]
fn every_truncation_asks_for_more() {
    for end in 0..REQUEST.len() {
        let parsed = parse(&REQUEST[..end], &Limits::default());
        assert!(matches!(parsed, Ok(None)), "{end}: {parsed:?}");
    }
}

#[test]
fn old_http_is_read_and_left_to_the_rules() {
    let (request, _) = parse(b"GET / HTTP/1.0\r\n\r\n", &Limits::default()).expect("valid").expect("complete");
    assert_eq!(request.version(), Version::HTTP_10);
}

#[test]
fn bytes_that_are_not_http_are_400_or_505() {
    for input in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc"[..],
        b"GET\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"G@T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
    ] {
        let error = error(input);
        assert!(matches!(error, ParseError::Malformed(_)), "{error:?}");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }
    for input in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/3\r\n\r\n"] {
        assert_eq!(error(input), ParseError::HttpVersion);
        assert_eq!(error(input).status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
}

#[test]
fn heads_are_bounded_in_bytes() {
    let exact = Limits { max_header_bytes: REQUEST.len(), ..Limits::default() };
    assert!(matches!(parse(REQUEST, &exact), Ok(Some(_))));
    let input = [REQUEST, &[0; 100]].concat();
    assert!(matches!(parse(&input, &exact), Ok(Some(_))));

    // One byte less is too few, whether the head is there completely or not.
    let short = Limits { max_header_bytes: REQUEST.len() - 1, ..Limits::default() };
    for input in [REQUEST, &REQUEST[..short.max_header_bytes], &input] {
        assert_eq!(parse(input, &short).err(), Some(ParseError::HeadTooLong));
    }
    assert!(matches!(parse(&REQUEST[..short.max_header_bytes - 1], &short), Ok(None)));
    assert_eq!(ParseError::HeadTooLong.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let nothing = Limits { max_header_bytes: 0, max_headers: 0 };
    assert_eq!(parse(b"", &nothing).err(), Some(ParseError::FirstLineTooLong));
}

#[test]
fn a_long_first_line_is_414() {
    let endless = [b"GET /".as_slice(), &vec![b'a'; 20_000]].concat();
    assert_eq!(error(&endless), ParseError::FirstLineTooLong);
    assert_eq!(ParseError::FirstLineTooLong.status(), StatusCode::URI_TOO_LONG);

    // Within generous limits, but more than a `Uri` can hold.
    let generous = Limits { max_header_bytes: 200_000, ..Limits::default() };
    let with_target = |bytes: usize| {
        let path = "a".repeat(bytes - 1);
        parse(format!("GET /{path} HTTP/1.1\r\n\r\n").as_bytes(), &generous)
    };
    assert!(matches!(with_target(65_534), Ok(Some(_))));
    assert_eq!(with_target(65_535).err(), Some(ParseError::FirstLineTooLong));
}

#[test]
fn header_lines_are_bounded_in_number() {
    let request = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(lines));
    let limits = Limits { max_headers: 3, ..Limits::default() };
    let parsed = |lines: usize| parse(request(lines).as_bytes(), &limits);
    assert!(matches!(parsed(3), Ok(Some(_))));
    assert_eq!(parsed(4).err(), Some(ParseError::TooManyHeaders));
    assert_eq!(ParseError::TooManyHeaders.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    // No limit given: what the bytes allow, and what a header map can hold.
    let unlimited = Limits { max_header_bytes: usize::MAX, max_headers: usize::MAX };
    assert!(matches!(parse(b"GET / HTTP/1.1\na:\n\n", &unlimited), Ok(Some(_))));
    let names: String = (0..40_000).map(|number| format!("h{number}:\r\n")).collect();
    let flood = format!("GET / HTTP/1.1\r\n{names}\r\n");
    assert_eq!(parse(flood.as_bytes(), &unlimited).err(), Some(ParseError::TooManyHeaders));
}

#[test]
fn errors_answer_for_themselves() {
    let response = ParseError::HeadTooLong.response();
    assert_eq!(response.status(), 431);
    assert_eq!(
        response.body(),
        r#"{"error":{"code":"head_too_long","message":"the headers are too long, send fewer or shorter ones"}}"#
    );
    assert_eq!(
        encode_head(&response),
        format!(
            "HTTP/1.1 431 Request Header Fields Too Large\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            response.body().len()
        )
        .as_bytes()
    );
}
