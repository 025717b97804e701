//! Any bytes as a request: it is read or refused, and what is accepted is what a client would take for an answer.
//!
//! An input is a byte (1 subprotocols, 2 deflate, 4 small limits, and what is wanted of deflate), then the request.
#![no_main]

use base64::Engine as _;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use longwire_fuzz::Reader;
use longwire_ws::handshake::client::{ClientError, ClientHandshake, ClientRequest};
use longwire_ws::handshake::deflate::DeflateConfig;
use longwire_ws::handshake::server::{Accepted, ServerOptions, accept, encode_head, parse};
use longwire_ws::handshake::{Limits, grammar};

fuzz_target!(|input: &[u8]| {
    let mut input = Reader(input);
    let flags = input.byte();
    let limits = if flags & 4 != 0 { Limits { max_header_bytes: 300, max_headers: 6 } } else { Limits::default() };
    let options = ServerOptions {
        subprotocols: if flags & 1 != 0 { vec!["chat".into(), "v2.chat".into()] } else { Vec::new() },
        deflate: (flags & 2 != 0).then_some(DeflateConfig {
            server_no_context_takeover: flags & 8 != 0,
            client_no_context_takeover: flags & 16 != 0,
            server_max_window_bits: if flags & 32 != 0 { 10 } else { 15 },
            client_max_window_bits: if flags & 64 != 0 { 9 } else { 15 },
        }),
    };
    let wire = input.0;
    match parse(wire, &limits) {
        Ok(Some((request, head_bytes))) => {
            assert!(head_bytes <= wire.len() && head_bytes <= limits.max_header_bytes);
            assert!(request.headers().len() <= limits.max_headers);
            // What ends the head is its last byte, and nothing behind it changes what it says.
            assert!(matches!(parse(&wire[..head_bytes - 1], &limits), Ok(None)));
            let again = parse(&wire[..head_bytes], &limits).expect("as before").expect("as before");
            assert_eq!((again.0.headers(), again.1), (request.headers(), head_bytes));

            match accept(request.method(), request.version(), request.headers(), &options) {
                Ok(accepted) => check_accepted(&accepted, &request, &options),
                Err(rejection) => check_refusal(&rejection.response()),
            }
        }
        Ok(None) => assert!(wire.len() < limits.max_header_bytes),
        Err(error) => check_refusal(&error.response()),
    }
});

/// RFC 6455, 4.2.2, from the client's side.
fn check_accepted(accepted: &Accepted, request: &http::Request<()>, options: &ServerOptions) {
    let headers = request.headers();
    let response = accepted.response();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let key = headers.get("sec-websocket-key").expect("it was checked");
    assert_eq!(accepted.accept, Some(longwire_ws::handshake::accept_key(key.as_bytes().trim_ascii())));
    if let Some(subprotocol) = &accepted.subprotocol {
        assert!(options.subprotocols.contains(subprotocol));
        let offered = grammar::tokens(headers.get_all("sec-websocket-protocol")).expect("it was checked");
        assert!(offered.contains(&&**subprotocol));
    }
    if let Some(deflate) = accepted.deflate {
        let config = options.deflate.expect("no compression without being asked");
        assert!((8..=config.server_max_window_bits).contains(&deflate.server_max_window_bits));
        assert!((8..=config.client_max_window_bits).contains(&deflate.client_max_window_bits));
        assert!(deflate.server_no_context_takeover || !config.server_no_context_takeover);
        assert!(deflate.client_no_context_takeover || !config.client_no_context_takeover);
    }
    // A client that sent this key, and offered the same subprotocols and no compression, or this one, takes the answer.
    let nonce = base64::engine::general_purpose::STANDARD.decode(key.as_bytes().trim_ascii()).expect("it was checked");
    let mut client = request_to_compare(nonce.try_into().expect("16 bytes"));
    client.subprotocols = grammar::tokens(headers.get_all("sec-websocket-protocol"))
        .expect("it was checked")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let head = encode_head(&response);
    match ClientHandshake::new(&client).verify(&head, &Limits::default()) {
        Ok(Some((established, head_bytes))) => {
            assert_eq!((established.subprotocol, head_bytes), (accepted.subprotocol.clone(), head.len()));
            assert!(accepted.deflate.is_none());
        }
        Err(ClientError::Extension(_)) => assert!(accepted.deflate.is_some(), "the client did not offer it"),
        other => panic!("a client refuses this: {other:?}"),
    }
}

fn check_refusal(response: &http::Response<String>) {
    assert!(response.body().starts_with("{\"error\":{\"code\":\""));
    let head = encode_head(response);
    match ClientHandshake::new(&request_to_compare([0; 16])).verify(&head, &Limits::default()) {
        Err(ClientError::Status { status, head_bytes, .. }) => {
            assert_eq!((status, head_bytes), (response.status(), head.len()));
            assert!(status.is_client_error() || status.is_server_error());
        }
        other => panic!("a client reads a refusal as {other:?}"),
    }
}

fn request_to_compare(key: [u8; 16]) -> ClientRequest {
    ClientRequest::new(http::Uri::from_static("ws://localhost/"), key)
}
