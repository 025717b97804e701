//! Messages there and back, in every shape, by both kinds of handlers.

use std::net::SocketAddr;

use longwire_server::ServerBuilder;
use longwire_ws::Opcode;

use crate::support::{Client, EchoLine, TestServer, echo, frame_of, piece_of, serve};

/// An echo by a task and one by function calls.
const PATHS: [&str; 2] = ["/task", "/calls"];

fn both(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine)
}

/// Runs `check` for both kinds of handlers, on one shard and on two.
#[track_caller]
fn for_all(check: impl Fn(SocketAddr, &str)) {
    for shards in [1, 2] {
        let server = serve(shards, both);
        for path in PATHS {
            check(server.address, path);
        }
        server.expect_empty();
    }
}

fn with_large_messages() -> TestServer {
    serve(1, |builder| {
        both(builder).configure(|config| {
            config.limits.max_frame_bytes = 16 << 20;
            config.limits.max_message_bytes = 16 << 20;
            config.outbox_bytes = 32 << 20;
        })
    })
}

/// Bytes that show where each belongs.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

#[test]
fn text_and_binary_come_back_as_they_went() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        for text in ["hello", "", "线 ✅ 🦀", "\0"] {
            client.send_text(text);
            client.expect_text(text);
        }
        for payload in [&b""[..], b"\xff\xfe\x00", &pattern(1000)] {
            client.send(Opcode::Binary, payload);
            assert_eq!(client.expect(Opcode::Binary), payload);
        }
        client.close();
    });
}

#[test]
fn messages_at_every_border_of_lengths_and_buffers_come_back_whole() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        for border in [126, 65_536 - 14, 65_536 - 8, 65_536, 2 * 65_536] {
            for len in border - 2..=border + 2 {
                let payload = pattern(len);
                client.send(Opcode::Binary, &payload);
                assert!(client.expect(Opcode::Binary) == payload, "{len} bytes");
            }
        }
        client.close();
    });
}

#[test]
fn the_largest_message_comes_back_whole_and_one_byte_more_is_too_big() {
    let server = with_large_messages();
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        let payload = pattern(16 << 20);
        client.send(Opcode::Binary, &payload);
        assert!(client.expect(Opcode::Binary) == payload);
        client.send_raw(&frame_of(Opcode::Binary, &vec![0; (16 << 20) + 1])[..20]);
        client.expect_close(1009);
    }
}

#[test]
fn fragments_come_back_as_one_message_and_pings_between_them_are_answered_at_once() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        client.send_raw(&piece_of(false, Opcode::Text, "线".as_bytes()));
        client.send(Opcode::Ping, b"first");
        assert_eq!(client.expect(Opcode::Pong), b"first");
        // A character cut in its middle, an empty piece, and an unasked pong.
        client.send_raw(&piece_of(false, Opcode::Continuation, &"🦀".as_bytes()[..2]));
        client.send(Opcode::Pong, b"unasked");
        client.send_raw(&piece_of(false, Opcode::Continuation, b""));
        client.send(Opcode::Ping, &[7; 125]);
        assert_eq!(client.expect(Opcode::Pong), [7; 125]);
        client.send_raw(&piece_of(true, Opcode::Continuation, &"🦀".as_bytes()[2..]));
        client.expect_text("线🦀");
        client.close();
    });
}

#[test]
fn a_ping_is_answered_while_a_large_message_is_under_way() {
    let server = with_large_messages();
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        let payload = pattern(3 << 20);
        for (at, chunk) in payload.chunks(1 << 20).enumerate() {
            let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
            client.send_raw(&piece_of(at == 2, opcode, chunk));
            if at < 2 {
                client.send(Opcode::Ping, &[at as u8]);
                assert_eq!(client.expect(Opcode::Pong), [at as u8]);
            }
        }
        assert!(client.expect(Opcode::Binary) == payload);
    }
}

#[test]
fn a_sender_of_single_bytes_is_understood() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        let bytes = [
            piece_of(false, Opcode::Text, "byte ".as_bytes()),
            frame_of(Opcode::Ping, b"ping"),
            piece_of(true, Opcode::Continuation, "by byte 线".as_bytes()),
            frame_of(Opcode::Binary, &pattern(300)),
        ]
        .concat();
        for byte in bytes {
            client.send_raw(&[byte]);
        }
        assert_eq!(client.expect(Opcode::Pong), b"ping");
        client.expect_text("byte by byte 线");
        assert_eq!(client.expect(Opcode::Binary), pattern(300));
        client.close();
    });
}

#[test]
fn many_messages_in_one_packet_are_answered_in_order() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        let texts: Vec<String> = (0..2_000).map(|n| format!("message {n}")).collect();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| frame_of(Opcode::Text, text.as_bytes())).collect();
        client.send_raw(&bytes);
        for text in &texts {
            client.expect_text(text);
        }
        client.close();
    });
}

#[test]
fn messages_directly_followed_by_a_close_are_answered_before_it() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        let close = frame_of(Opcode::Close, &[&4321u16.to_be_bytes()[..], b"enough"].concat());
        client.send_raw(&[frame_of(Opcode::Text, b"one"), frame_of(Opcode::Text, b"two"), close].concat());
        client.expect_text("one");
        client.expect_text("two");
        // RFC 6455, 5.5.1: the code comes back.
        client.expect_close(4321);
        client.expect_end();
    });
}

#[test]
fn messages_before_a_protocol_error_are_answered_before_its_close_frame() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        let unmasked = vec![0x81, 0x01, b'x'];
        client.send_raw(&[frame_of(Opcode::Text, b"one"), frame_of(Opcode::Text, b"two"), unmasked].concat());
        client.expect_text("one");
        client.expect_text("two");
        client.expect_close(1002);
        client.expect_end();
    });
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        client.send(Opcode::Close, b"");
        assert_eq!(client.expect(Opcode::Close), b"");
        client.expect_end();
    });
}

#[test]
fn what_comes_behind_a_close_is_not_read() {
    for_all(|address, path| {
        let mut client = Client::open(address, path);
        client.send_raw(&[frame_of(Opcode::Close, &1000u16.to_be_bytes()), frame_of(Opcode::Text, b"late")].concat());
        client.expect_close(1000);
        client.expect_end();
    });
}
