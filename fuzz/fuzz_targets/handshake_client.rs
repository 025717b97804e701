//! Any bytes as an answer, or as an address: nothing is taken that was not asked for, and every request that can be sent is one
//! that a server accepts.
//!
//! An input is a byte (128 address, else: 1 subprotocols, 2 deflate, 4 small limits, and what is wanted of deflate), then the
//! address or the answer. The key is that of RFC 6455, 1.3.
#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use longwire_fuzz::Reader;
use longwire_ws::handshake::client::{ClientHandshake, ClientRequest};
use longwire_ws::handshake::deflate::DeflateConfig;
use longwire_ws::handshake::server::{ServerOptions, accept, parse};
use longwire_ws::handshake::{Limits, accept_key};

const KEY: [u8; 16] = *b"the sample nonce";

fuzz_target!(|input: &[u8]| {
    let mut input = Reader(input);
    let flags = input.byte();
    let uri = if flags & 128 != 0 {
        match Uri::try_from(input.0) {
            Ok(uri) => uri,
            Err(_) => return,
        }
    } else {
        Uri::from_static("ws://localhost:8000/ws")
    };
    let mut request = ClientRequest::new(uri, KEY);
    if flags & 1 != 0 {
        request.subprotocols = vec!["chat".into(), "v2.chat".into()];
    }
    request.deflate = (flags & 2 != 0).then_some(DeflateConfig {
        server_no_context_takeover: flags & 8 != 0,
        client_no_context_takeover: flags & 16 != 0,
        server_max_window_bits: if flags & 32 != 0 { 10 } else { 15 },
        client_max_window_bits: if flags & 64 != 0 { 9 } else { 15 },
    });
    if flags & 128 != 0 {
        check_request(&request);
    } else {
        let limits = if flags & 4 != 0 { Limits { max_header_bytes: 300, max_headers: 6 } } else { Limits::default() };
        check_answer(&request, input.0, &limits);
    }
});

/// RFC 6455, 4.1: what can be sent is what 4.2.1 asks for.
fn check_request(request: &ClientRequest) {
    let Ok(bytes) = request.encode() else { return };
    let roomy = Limits { max_header_bytes: 1 << 20, max_headers: 100 };
    let (read, head_bytes) = parse(&bytes, &roomy).expect("a server reads it").expect("all of it");
    assert_eq!(head_bytes, bytes.len());
    let options = ServerOptions { subprotocols: vec!["chat".into()], deflate: request.deflate };
    let accepted = accept(read.method(), read.version(), read.headers(), &options).expect("a server accepts it");
    assert_eq!(accepted.deflate.is_some(), request.deflate.is_some());
    assert_eq!(accepted.subprotocol.is_some(), !request.subprotocols.is_empty());
}

/// RFC 6455, 4.1: only what was offered can be agreed on.
fn check_answer(request: &ClientRequest, wire: &[u8], limits: &Limits) {
    let handshake = ClientHandshake::new(request);
    match handshake.verify(wire, limits) {
        Ok(Some((established, head_bytes))) => {
            assert!(head_bytes <= wire.len() && head_bytes <= limits.max_header_bytes);
            assert!(matches!(handshake.verify(&wire[..head_bytes - 1], limits), Ok(None)));
            let accept = established.response.headers().get("sec-websocket-accept").expect("it was checked");
            assert_eq!(accept.as_bytes().trim_ascii(), accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_bytes());
            assert!(established.subprotocol.is_none_or(|chosen| request.subprotocols.contains(&chosen)));
            if let Some(deflate) = established.deflate {
                let offered = request.deflate.expect("no compression without an offer");
                assert!((8..=offered.server_max_window_bits).contains(&deflate.server_max_window_bits));
                assert!((8..=offered.client_max_window_bits).contains(&deflate.client_max_window_bits));
                assert!(deflate.server_no_context_takeover || !offered.server_no_context_takeover);
                assert!(deflate.client_no_context_takeover || !offered.client_no_context_takeover);
            }
        }
        Ok(None) => assert!(wire.len() < limits.max_header_bytes),
        Err(_) => {}
    }
}
