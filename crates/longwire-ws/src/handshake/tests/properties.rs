use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::client::{ClientHandshake, ClientRequest};
use super::super::deflate::parameters::{ClientWindow, Parameters};
use super::super::deflate::{DeflateConfig, DeflateParams, negotiate};
use super::super::server::{Accepted, ServerOptions, accept, encode_head, parse};
use super::super::{Limits, grammar};

fn config() -> impl Strategy<Value = DeflateConfig> {
    (any::<bool>(), any::<bool>(), 8..=15u8, 8..=15u8).prop_map(|(server_no, client_no, server_bits, client_bits)| {
        DeflateConfig {
            server_no_context_takeover: server_no,
            client_no_context_takeover: client_no,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        }
    })
}

/// Few different names, so that both sides often have some in common.
fn subprotocols() -> impl Strategy<Value = Vec<String>> {
    btree_set("[a-c]|v1\\.json", 0..4).prop_map(|names| names.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn request() -> impl Strategy<Value = ClientRequest> {
    (
        "wss?://(localhost|\\[::1\\]|a\\.example)(:[1-9][0-9]{0,3})?(/[a-z%2]{0,5})?(\\?[a-z=&]{0,5})?",
        subprotocols(),
        proptest::option::of(config()),
        vec(("x-[a-z]{1,5}", "[ -~]{0,20}"), 0..5),
        any::<[u8; 16]>(),
    )
        .prop_map(|(uri, subprotocols, deflate, lines, key)| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name: http::HeaderName = name.parse().expect("a name");
                headers.append(name, HeaderValue::try_from(value).expect("a value"));
            }
            let uri = Uri::try_from(uri).expect("a URI");
            ClientRequest { uri, subprotocols, deflate, headers, key }
        })
}

fn options() -> impl Strategy<Value = ServerOptions> {
    (subprotocols(), proptest::option::of(config())).prop_map(|(subprotocols, deflate)| ServerOptions { subprotocols, deflate })
}

/// What our server makes of our client's request.
fn serve(request: &ClientRequest, options: &ServerOptions) -> Accepted {
    let bytes = request.encode().expect("encodable");
    let (parsed, consumed) = parse(&bytes, &Limits::default()).expect("readable").expect("complete");
    assert_eq!(consumed, bytes.len());
    accept(parsed.method(), parsed.version(), parsed.headers(), options).expect("acceptable")
}

/// What has to come of both sides' wishes: each gets all its restrictions.
fn expected_deflate(request: &ClientRequest, options: &ServerOptions) -> Option<DeflateParams> {
    let (client, server) = (request.deflate?, options.deflate?);
    Some(DeflateParams {
        server_no_context_takeover: client.server_no_context_takeover || server.server_no_context_takeover,
        client_no_context_takeover: client.client_no_context_takeover || server.client_no_context_takeover,
        server_max_window_bits: client.server_max_window_bits.min(server.server_max_window_bits),
        client_max_window_bits: client.client_max_window_bits.min(server.client_max_window_bits),
    })
}

proptest! {
    // RFC 6455, 4.1 and 4.2: the two sides understand each other, whatever they want.
    #[test]
    fn our_client_and_our_server_agree(request in request(), options in options()) {
        let accepted = serve(&request, &options);
        let bytes = encode_head(&accepted.response());
        let (established, consumed) = ClientHandshake::new(&request)
            .verify(&bytes, &Limits::default())
            .expect("acceptable")
            .expect("complete");
        prop_assert_eq!(consumed, bytes.len());
        prop_assert_eq!(&established.subprotocol, &accepted.subprotocol);
        prop_assert_eq!(established.deflate, accepted.deflate);

        let first_common = request.subprotocols.iter().find(|name| options.subprotocols.contains(name));
        prop_assert_eq!(accepted.subprotocol.as_ref(), first_common);
        prop_assert_eq!(accepted.deflate, expected_deflate(&request, &options));
    }

    #[test]
    fn any_truncation_asks_for_more(
        request in request(),
        options in options(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = request.encode().expect("encodable");
        let parsed = parse(&bytes[..cut.index(bytes.len())], &Limits::default());
        prop_assert!(matches!(parsed, Ok(None)), "{parsed:?}");

        let bytes = encode_head(&serve(&request, &options).response());
        let verified = ClientHandshake::new(&request)
            .verify(&bytes[..cut.index(bytes.len())], &Limits::default());
        prop_assert!(matches!(verified, Ok(None)), "{verified:?}");
    }

    // Whatever comes and whatever the limits: an answer, no panic, and no wish for more input
    // at the limit.
    #[test]
    fn arbitrary_bytes_are_answered(
        input in hostile(),
        max_header_bytes in 0..300usize,
        max_headers in 0..10usize,
    ) {
        let limits = Limits { max_header_bytes, max_headers };
        let parsed = parse(&input, &limits);
        prop_assert!(!(matches!(parsed, Ok(None)) && input.len() >= max_header_bytes));
        if let Ok(Some((request, head_bytes))) = parsed {
            prop_assert!(head_bytes <= input.len().min(max_header_bytes));
            let options = ServerOptions { deflate: Some(DeflateConfig::default()), ..Default::default() };
            let _ = accept(request.method(), request.version(), request.headers(), &options);
        }
        let request = ClientRequest::new(Uri::from_static("ws://a/"), [0; 16]);
        let verified = ClientHandshake::new(&request).verify(&input, &limits);
        prop_assert!(!(matches!(verified, Ok(None)) && input.len() >= max_header_bytes));
    }

    // RFC 6455, 9.1: header values of any kind are either lists of tokens or malformed.
    #[test]
    fn arbitrary_header_values_are_answered(values in vec(vec(header_byte(), 0..40), 0..3)) {
        let values: Vec<HeaderValue> = values
            .iter()
            .map(|value| HeaderValue::from_bytes(value).expect("a value"))
            .collect();
        for extension in grammar::extensions(&values).unwrap_or_default() {
            prop_assert!(grammar::is_token(extension.name.as_bytes()));
            for param in extension.params {
                prop_assert!(grammar::is_token(param.name.as_bytes()));
                prop_assert!(param.value.is_none_or(|value| grammar::is_token(value.as_bytes())));
            }
        }
        let _ = grammar::tokens(&values);

        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("a"));
        for name in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key"] {
            for value in &values {
                headers.append(name, value.clone());
            }
        }
        let _ = accept(&Method::GET, Version::HTTP_11, &headers, &ServerOptions::default());
    }

    // RFC 7692, 7.1: whatever is offered, the answer is one that the client takes in the same
    // sense and that keeps to our configuration; only offers that do not fit are declined.
    #[test]
    fn arbitrary_offers_are_answered_within_the_offer(
        offers in vec(vec(parameter(), 0..4), 1..3),
        config in config(),
    ) {
        let text = offers
            .iter()
            .map(|parameters| ["permessage-deflate".to_owned(), parameters.concat()].concat())
            .collect::<Vec<_>>()
            .join(", ");
        let value = [HeaderValue::try_from(text).expect("a value")];
        let offers = grammar::extensions(&value).expect("well formed");
        let fitting = offers
            .iter()
            .filter_map(|offer| Parameters::parse(&offer.params).ok())
            .find(|offer| {
                offer.client_max_window_bits != ClientWindow::Absent
                    || config.client_max_window_bits == 15
            });
        let agreement = negotiate(&offers, &config);
        prop_assert_eq!(agreement.is_some(), fitting.is_some());
        if let (Some(agreement), Some(offer)) = (agreement, fitting) {
            let answer = [HeaderValue::try_from(agreement.response).expect("a value")];
            let answer = grammar::extensions(&answer).expect("well formed");
            let answer = Parameters::parse(&answer[0].params).expect("valid");
            let agreed = agreement.params;
            prop_assert_eq!(answer.verify(&offer), Ok(agreed));
            prop_assert!(agreed.server_max_window_bits <= config.server_max_window_bits);
            prop_assert!(agreed.client_max_window_bits <= config.client_max_window_bits);
            prop_assert!(agreed.server_no_context_takeover >= config.server_no_context_takeover);
            prop_assert!(agreed.client_no_context_takeover >= config.client_no_context_takeover);
        }
    }
}

/// Bytes that get far: pieces of real heads in any order, with noise between them.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"GET / HTTP/1.1\r\n"[..]),
        Just(&b"HTTP/1.1 101 Switching Protocols\r\n"[..]),
        Just(&b"HTTP/1.1 103\r\n\r\n"[..]),
        Just(&b"Host: a\r\n"[..]),
        Just(&b"Upgrade: websocket\r\nConnection: Upgrade\r\n"[..]),
        Just(&b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"[..]),
        Just(&b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"[..]),
        Just(&b"Sec-WebSocket-Extensions: permessage-deflate; "[..]),
        Just(&b"client_max_window_bits=\"1\\0\""[..]),
        Just(&b"Sec-WebSocket-Protocol: a, "[..]),
        Just(&b"\r\n"[..]),
    ];
    let noise = vec(any::<u8>(), 0..4);
    let part = prop_oneof![9 => piece.prop_map(<[u8]>::to_vec), 1 => noise];
    prop_oneof![
        3 => vec(part, 0..12).prop_map(|parts| parts.concat()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

/// A byte that may stand in a header value, separators more often than chance has it.
fn header_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(b" \t,;=\"\\ab1".to_vec()),
        1 => (32..=255u8).prop_filter("DEL is no header byte", |&byte| byte != 127),
    ]
}

/// `; name` or `; name=value`, mostly valid.
fn parameter() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("; server_no_context_takeover".to_owned()),
        Just("; client_no_context_takeover".to_owned()),
        Just("; client_max_window_bits".to_owned()),
        (7..=16u8).prop_map(|bits| format!("; client_max_window_bits={bits}")),
        (7..=16u8).prop_map(|bits| format!("; server_max_window_bits={bits}")),
        Just("; unknown=1".to_owned()),
    ]
}
