//! The frame header and masking (RFC 6455, 5.1 to 5.3 and 5.7).

use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::{ProtocolError, Role};

use crate::support::peer::{BINARY, CLOSE, CONTINUATION, KEY, Length, PING, PONG, TEXT};
use crate::support::{BOTH_ROLES, End, Frame, Heard, Outcome, assert_heard, assert_refused, binary, hear, text, wire};

const DEFLATE: DeflateParams = DeflateParams {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

fn refused(error: ProtocolError) -> Outcome {
    Outcome { events: Vec::new(), error: Some(error) }
}

fn heard(event: Heard) -> Outcome {
    Outcome { events: vec![event], error: None }
}

/// A header in front of bytes that are sent as they are.
fn raw(role: Role, frame: &Frame, length: Length, rest: &[u8]) -> Vec<u8> {
    let mut bytes = frame.clone().sent_to(role).header(length);
    bytes.extend(rest);
    bytes
}

#[test]
fn the_examples_of_the_specification_are_heard_rfc6455_5_7() {
    let client = End::new(Role::Client);
    let server = End::new(Role::Server);
    assert_eq!(client.hear(b"\x81\x05Hello"), heard(text("Hello")));
    assert_eq!(server.hear(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), heard(text("Hello")));
    assert_eq!(client.hear(b"\x01\x03Hel\x80\x02lo"), heard(text("Hello")));
    assert_eq!(client.hear(b"\x89\x05Hello"), heard(Heard::Ping(b"Hello".into())));
    assert_eq!(server.hear(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), heard(Heard::Pong(b"Hello".into())));
    assert_eq!(client.hear(&[&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat()), heard(binary([7; 256])));
    assert_eq!(client.hear(&[&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[7; 65536]].concat()), heard(binary([7; 65536])));
}

/// RFC 6455, 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
#[test]
fn a_server_refuses_a_frame_without_a_mask_rfc6455_5_1() {
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        let frame = Frame::new(opcode, b"");
        assert_eq!(End::new(Role::Server).hear(&frame.bytes()), refused(ProtocolError::UnmaskedFrame));
        // The second byte shows it; nothing of what follows is waited for.
        assert_eq!(End::new(Role::Server).hear(&frame.header(Length::Short(100))), refused(ProtocolError::UnmaskedFrame));
    }
}

/// RFC 6455, 5.1: "A client MUST close a connection if it detects a masked frame."
#[test]
fn a_client_refuses_a_frame_with_a_mask_rfc6455_5_1() {
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        let frame = Frame::new(opcode, b"").masked(KEY);
        assert_eq!(End::new(Role::Client).hear(&frame.bytes()), refused(ProtocolError::MaskedFrame));
        assert_eq!(End::new(Role::Client).hear(&frame.bytes()[..2]), refused(ProtocolError::MaskedFrame));
    }
}

/// RFC 6455, 5.1: a mask that happens to change nothing is a mask all the same.
#[test]
fn a_masking_key_of_zeros_is_a_key_rfc6455_5_3() {
    assert_eq!(End::new(Role::Server).hear(&Frame::new(TEXT, "as it is").masked([0; 4]).bytes()), heard(text("as it is")));
}

/// RFC 6455, 5.3: every frame is masked with its own key, from its first byte on, however it is divided.
#[test]
fn every_fragment_is_unmasked_by_its_own_key_rfc6455_5_3() {
    let message: Vec<u8> = (0..=255).collect();
    let mut wire = Vec::new();
    for (at, piece) in message.chunks(37).enumerate() {
        let opcode = if at == 0 { BINARY } else { CONTINUATION };
        let frame = Frame::new(opcode, piece).masked([at as u8, 0x55, 0xAA, 255 - at as u8]);
        wire.extend(if at == 256 / 37 { frame } else { frame.unfinished() }.bytes());
        wire.extend(Frame::new(PING, [at as u8; 7]).masked([0x80 | at as u8; 4]).bytes());
    }
    let outcome = End::new(Role::Server).hear(&wire);
    assert_eq!(outcome.error, None);
    assert!(outcome.events.contains(&binary(message)));
    assert!(outcome.events.contains(&Heard::Ping(vec![3; 7])));
}

/// RFC 6455, 5.2: reserved bits "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values".
#[test]
fn reserved_bits_are_refused_without_an_extension_rfc6455_5_2() {
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        for rsv in 1..=7 {
            assert_refused(&[Frame::new(opcode, b"").rsv(rsv)], &[], ProtocolError::ReservedBits);
        }
    }
    let begun = Frame::new(TEXT, "a").unfinished();
    assert_refused(&[begun, Frame::new(CONTINUATION, "b").rsv(1)], &[], ProtocolError::ReservedBits);
}

/// RFC 7692, 6 gives a meaning to RSV1 alone.
#[test]
fn the_other_reserved_bits_stay_refused_with_compression_rfc7692_6() {
    for role in BOTH_ROLES {
        for rsv in [1, 2, 3, 5, 6, 7] {
            let wire = wire(role, &[Frame::new(BINARY, [0]).rsv(rsv)]);
            assert_eq!(End::deflating(role, DEFLATE).hear(&wire), refused(ProtocolError::ReservedBits));
        }
    }
}

/// RFC 6455, 5.2: the first byte shows it, so the first byte is enough.
#[test]
fn a_bad_first_byte_is_refused_before_the_second_comes_rfc6455_5_2() {
    for role in BOTH_ROLES {
        assert_eq!(End::new(role).hear(&[0xC1]), refused(ProtocolError::ReservedBits));
        assert_eq!(End::new(role).hear(&[0x83]), refused(ProtocolError::ReservedOpcode(3)));
        assert_eq!(End::new(role).hear(&[0x09]), refused(ProtocolError::FragmentedControl));
        assert_eq!(End::new(role).hear(&[0x80]), refused(ProtocolError::UnexpectedContinuation));
        assert_eq!(End::deflating(role, DEFLATE).hear(&[0xC9]), refused(ProtocolError::ReservedBits));
    }
}

/// RFC 6455, 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
#[test]
fn reserved_opcodes_are_refused_rfc6455_5_2() {
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        let first = Frame::new(TEXT, "before");
        let bad = Frame::new(opcode, b"");
        assert_refused(&[first.clone(), bad.clone()], &[text("before")], ProtocolError::ReservedOpcode(opcode));
        assert_refused(&[first, bad.unfinished()], &[text("before")], ProtocolError::ReservedOpcode(opcode));
    }
}

/// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length".
#[test]
fn a_length_that_is_not_minimal_is_refused_rfc6455_5_2() {
    for role in BOTH_ROLES {
        for opcode in [TEXT, BINARY] {
            for length in
                [Length::U16(0), Length::U16(125), Length::U64(0), Length::U64(125), Length::U64(126), Length::U64(65535)]
            {
                let wire = raw(role, &Frame::new(opcode, b""), length, &[]);
                assert_eq!(End::new(role).hear(&wire), refused(ProtocolError::LengthNotMinimal), "{length:?}");
            }
        }
    }
}

#[test]
fn lengths_at_the_edges_of_their_forms_are_heard_rfc6455_5_2() {
    for len in [0, 1, 125, 126, 127, 65535, 65536] {
        assert_heard(&[Frame::new(BINARY, vec![len as u8; len])], &[binary(vec![len as u8; len])]);
    }
}

/// RFC 6455, 5.2: "the most significant bit MUST be 0".
#[test]
fn a_length_of_2_to_the_63_is_refused_rfc6455_5_2() {
    for role in BOTH_ROLES {
        for length in [1 << 63, u64::MAX] {
            let wire = raw(role, &Frame::new(BINARY, b""), Length::U64(length), &[]);
            assert_eq!(End::new(role).hear(&wire), refused(ProtocolError::LengthTooLarge));
        }
    }
}

/// RFC 6455, 7.1.7: after a failure nothing more is read, not even what is right.
#[test]
fn nothing_is_heard_after_a_broken_rule_rfc6455_7_1_7() {
    let frames = [Frame::new(TEXT, "one"), Frame::new(TEXT, "two").rsv(4), Frame::new(TEXT, "three"), Frame::new(CLOSE, b"")];
    assert_refused(&frames, &[text("one")], ProtocolError::ReservedBits);
}

#[test]
fn many_messages_in_one_input_are_heard_in_order() {
    let frames: Vec<Frame> = (0..100u8).map(|n| Frame::new(BINARY, vec![n; usize::from(n) * 3])).collect();
    let events: Vec<Heard> = (0..100u8).map(|n| binary(vec![n; usize::from(n) * 3])).collect();
    assert_heard(&frames, &events);
    assert_eq!(hear(Role::Server, &[]).events, []);
}
