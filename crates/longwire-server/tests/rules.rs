//! Broken rules: each gets its close code, and the client gets to read it.

use std::time::{Duration, Instant};

use longwire_server::{DeflateConfig, ServerBuilder};
use longwire_ws::{Opcode, ProtocolError, frame};

use crate::support::{BOUND, Client, EchoLine, echo, frame_of, piece_of, serve};

const PATHS: [&str; 2] = ["/task", "/calls"];

fn small(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine).configure(|config| {
        config.limits.max_frame_bytes = 1000;
        config.limits.max_message_bytes = 1500;
        config.limits.max_fragments = 3;
        config.deflate = Some(DeflateConfig::default());
    })
}

/// A masked frame with any first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_of(Opcode::Binary, payload);
    bytes[0] = first;
    bytes
}

fn close_frame(payload: &[u8]) -> Vec<u8> {
    frame_of(Opcode::Close, payload)
}

/// What breaks each rule, and the rule.
fn violations() -> Vec<(Vec<u8>, ProtocolError)> {
    let mut bomb = longwire_ws::deflate::SharedDeflater::new(15);
    let mut bomb_frame = Vec::new();
    bomb.encode(longwire_ws::MessageKind::Binary, &[0; 100_000], &mut bomb_frame);
    let (_, start) = frame::Header::decode(&bomb_frame).unwrap().unwrap();
    let pieces = |count: usize| {
        let mut bytes = piece_of(false, Opcode::Binary, b"x");
        bytes.extend((1..count).flat_map(|_| piece_of(false, Opcode::Continuation, b"x")));
        bytes
    };
    vec![
        (masked(0xA2, b"x"), ProtocolError::ReservedBits),
        (masked(0x92, b"x"), ProtocolError::ReservedBits),
        (masked(0xC9, b"x"), ProtocolError::ReservedBits),
        (masked(0x83, b"x"), ProtocolError::ReservedOpcode(3)),
        (masked(0x8F, b"x"), ProtocolError::ReservedOpcode(15)),
        (vec![0x81, 0x01, b'x'], ProtocolError::UnmaskedFrame),
        (vec![0x82, 0xFE, 0x00, 0x7D, 0, 0, 0, 0], ProtocolError::LengthNotMinimal),
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], ProtocolError::LengthNotMinimal),
        (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], ProtocolError::LengthTooLarge),
        (vec![0x89, 0xFE, 0x00, 0x7E], ProtocolError::ControlTooLong),
        (masked(0x09, b"x"), ProtocolError::FragmentedControl),
        (masked(0x08, b"\x03\xe8"), ProtocolError::FragmentedControl),
        (masked(0x80, b"x"), ProtocolError::UnexpectedContinuation),
        ([piece_of(false, Opcode::Text, b"x"), frame_of(Opcode::Text, b"y")].concat(), ProtocolError::ExpectedContinuation),
        (frame_of(Opcode::Text, b"\xff"), ProtocolError::InvalidUtf8),
        (piece_of(false, Opcode::Text, b"\xed\xa0\x80"), ProtocolError::InvalidUtf8),
        (
            [piece_of(false, Opcode::Text, b"\xe7"), piece_of(true, Opcode::Continuation, b"")].concat(),
            ProtocolError::InvalidUtf8,
        ),
        (close_frame(b"\x03"), ProtocolError::CloseTooShort),
        (close_frame(&1005u16.to_be_bytes()), ProtocolError::InvalidCloseCode(1005)),
        (close_frame(&2999u16.to_be_bytes()), ProtocolError::InvalidCloseCode(2999)),
        (close_frame(b"\x03\xe8\xff"), ProtocolError::InvalidCloseReason),
        (frame_of(Opcode::Binary, &[0; 1001])[..8].to_vec(), ProtocolError::FrameTooBig { limit: 1000 }),
        (
            [piece_of(false, Opcode::Binary, &[0; 1000]), piece_of(true, Opcode::Continuation, &[0; 501])].concat(),
            ProtocolError::MessageTooBig { limit: 1500 },
        ),
        (masked(0xC2, &bomb_frame[start..]), ProtocolError::MessageTooBig { limit: 1500 }),
        (pieces(4), ProtocolError::TooManyFragments { limit: 3 }),
        (masked(0xC2, b"\xff\xff\xff\xff"), ProtocolError::InvalidDeflate),
    ]
}

fn open_deflating(address: std::net::SocketAddr, path: &str) -> Client {
    Client::tcp(address).upgrade(path, "Sec-WebSocket-Extensions: permessage-deflate\r\n").0
}

#[test]
fn each_broken_rule_gets_its_close_code_and_the_server_forgets_the_line() {
    for shards in [1, 2] {
        let server = serve(shards, small);
        for path in PATHS {
            for (bytes, error) in violations() {
                let mut client = open_deflating(server.address, path);
                client.send_raw(&bytes);
                assert_eq!(client.expect_close(error.code().value()), error.to_string(), "{error:?}");
                client.expect_end();
            }
        }
        server.expect_empty();
    }
}

#[test]
fn each_broken_rule_is_noticed_when_its_bytes_come_one_by_one() {
    let server = serve(1, small);
    for (bytes, error) in violations() {
        let mut client = open_deflating(server.address, "/calls");
        for byte in bytes {
            // The server may have closed its direction by now, not ours.
            client.send_raw(&[byte]);
        }
        client.expect_close(error.code().value());
        client.expect_end();
    }
}

#[test]
fn a_client_that_keeps_sending_still_gets_to_read_why_it_is_closed() {
    for shards in [1, 2] {
        let server = serve(shards, small);
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            client.send_raw(&[0x81, 0x00]);
            // Far more than the server reads in one go, before and after it has shut its direction.
            for _ in 0..64 {
                client.send_raw(&[0x55; 64 * 1024]);
            }
            client.expect_close(1002);
            client.expect_end();
            client.send_raw(&[0x55; 64 * 1024]);
        }
        server.expect_empty();
    }
}

#[test]
fn a_client_that_never_stops_sending_after_a_broken_rule_is_dropped_in_the_end() {
    let server = serve(1, |builder| small(builder).configure(|config| config.close_timeout = Duration::from_millis(200)));
    let mut client = Client::open(server.address, "/calls");
    client.send_raw(&[0x81, 0x00]);
    let start = Instant::now();
    while client.try_send_raw(&[0x55; 1024]).is_ok() {
        assert!(start.elapsed() < BOUND, "the server still listens");
    }
    server.expect_empty();
}

#[test]
fn a_line_that_broke_a_rule_gets_nothing_more_and_its_neighbours_everything() {
    let server = serve(1, |builder| small(builder).line_handler("/commands", crate::support::commands_line));
    let mut neighbour = Client::open(server.address, "/commands");
    let mut breaker = Client::open(server.address, "/commands");
    for client in [&mut neighbour, &mut breaker] {
        client.send_text("subscribe news");
        client.expect_text("ok");
    }
    breaker.send_raw(&[0x81, 0x00]);
    breaker.expect_close(1002);
    server.node().publish("news", "after").unwrap();
    neighbour.expect_text("after");
    breaker.expect_end();
}
