//! What an end sends (RFC 6455, 5.1, 5.3, 6.1).

use longwire_ws::deflate::SharedDeflater;
use longwire_ws::{MessageKind, Opcode, Role, Sender, frame};

use crate::support::peer::{BINARY, KEY, PING, TEXT, params};
use crate::support::{End, Frame, Outcome, binary, text};

/// RFC 6455, 5.1: "A server MUST NOT mask any frames that it sends to the client."
#[test]
fn a_server_does_not_mask_rfc6455_5_1() {
    let mut out = Vec::new();
    let mut server = Sender::new(Role::Server, None);
    server.send(MessageKind::Text, "你发送了：m".as_bytes(), KEY, &mut out).unwrap();
    server.send(MessageKind::Binary, &[1; 200], KEY, &mut out).unwrap();
    server.ping(b"?", KEY, &mut out).unwrap();
    let expected = [Frame::new(TEXT, "你发送了：m"), Frame::new(BINARY, [1; 200]), Frame::new(PING, "?")];
    assert_eq!(out, expected.iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
}

/// RFC 6455, 5.1: "a client MUST mask all frames that it sends to the server"; 5.3: each with the key that it is given.
#[test]
fn a_client_masks_every_frame_by_its_key_rfc6455_5_3() {
    let mut out = Vec::new();
    let mut client = Sender::new(Role::Client, None);
    client.send(MessageKind::Text, b"hello", [1, 2, 3, 4], &mut out).unwrap();
    client.ping(b"", [5, 6, 7, 8], &mut out).unwrap();
    client.close(None, [9, 10, 11, 12], &mut out).unwrap();
    let expected = [
        Frame::new(TEXT, "hello").masked([1, 2, 3, 4]),
        Frame::new(PING, "").masked([5, 6, 7, 8]),
        Frame::new(8, "").masked([9, 10, 11, 12]),
    ];
    assert_eq!(out, expected.iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
}

/// RFC 6455, 5.5: a control frame that is asked to carry more carries 125 bytes.
#[test]
fn a_long_ping_is_cut_rfc6455_5_5() {
    let mut out = Vec::new();
    Sender::new(Role::Server, None).ping(&[7; 126], KEY, &mut out).unwrap();
    assert_eq!(out, Frame::new(PING, [7; 125]).bytes());
}

/// RFC 6455, 5.4: a sender may fragment; the frames are made one by one.
#[test]
fn fragments_can_be_made_by_hand_rfc6455_5_4() {
    let mut out = Vec::new();
    let header = |opcode, fin| frame::Header { fin, ..frame::Header::new(opcode, 0) };
    frame::encode_with(header(Opcode::Text, false), b"one ", &mut out);
    frame::encode_with(header(Opcode::Continuation, false), b"two ", &mut out);
    frame::encode_with(header(Opcode::Continuation, true), b"three", &mut out);
    let heard = Outcome { events: vec![text("one two three")], error: None };
    assert_eq!(End::new(Role::Client).hear(&out), heard);
}

/// RFC 7692, 6: RSV1 tells which messages are compressed; without context takeover that may be chosen for each.
#[test]
fn what_does_not_shrink_goes_as_it_is_without_context_takeover_rfc7692_6() {
    let mut sender = Sender::new(Role::Server, Some(params(Role::Server, (false, 15), (false, 15))));
    let mut shared = SharedDeflater::new(15);
    for len in 0..100 {
        let payload = &[b'x'; 100][..len];
        let (mut own, mut shareable) = (Vec::new(), Vec::new());
        sender.send(MessageKind::Binary, payload, KEY, &mut own).unwrap();
        shared.encode(MessageKind::Binary, payload, &mut shareable);
        assert_eq!(own, shareable, "the same compressor makes both");
        let expected = if own[0] == 0xC2 { own.len() < len + 2 } else { own == Frame::new(BINARY, payload).bytes() };
        assert!(expected, "{len}");
        // Short messages are not worth the time.
        assert_eq!(own[0] == 0xC2, len >= 64, "{len}");
        let end = End::deflating(Role::Client, params(Role::Client, (false, 15), (false, 15)));
        assert_eq!(end.hear(&own).events, [binary(payload)]);
    }
}

/// RFC 7692, 7.1.1: with context takeover every message goes through the window, so that both ends have the same.
#[test]
fn with_context_takeover_a_repeated_message_shrinks_rfc7692_7_1_1() {
    let mut sender = Sender::new(Role::Client, Some(params(Role::Client, (false, 15), (true, 15))));
    let payload: Vec<u8> = (0..=255).collect();
    let mut sizes = Vec::new();
    let mut wire = Vec::new();
    for _ in 0..3 {
        let before = wire.len();
        sender.send(MessageKind::Binary, &payload, KEY, &mut wire).unwrap();
        sizes.push(wire.len() - before);
    }
    assert!(sizes[0] > 256 && sizes[1] < 30 && sizes[2] < 30, "{sizes:?}");
    let server = End::deflating(Role::Server, params(Role::Server, (true, 15), (false, 15)));
    assert_eq!(server.hear(&wire).events, vec![binary(payload); 3]);
}

/// RFC 7692, 7.2.3.6: an empty message is one byte.
#[test]
fn an_empty_message_is_compressed_to_one_byte_rfc7692_7_2_3_6() {
    let mut sender = Sender::new(Role::Server, Some(params(Role::Server, (true, 15), (true, 15))));
    let mut out = Vec::new();
    sender.send(MessageKind::Text, b"", KEY, &mut out).unwrap();
    assert_eq!(out, b"\xc1\x01\x00");
}

#[test]
fn only_frames_without_context_are_shared() {
    let sender = |params| Sender::new(Role::Server, params);
    assert_eq!(sender(None).shared_window_bits(), None);
    assert_eq!(sender(Some(params(Role::Server, (false, 15), (true, 12)))).shared_window_bits(), None);
    assert_eq!(sender(Some(params(Role::Server, (true, 15), (false, 12)))).shared_window_bits(), Some(12));
}
