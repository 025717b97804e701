//! Ping and pong (RFC 6455, 5.5). Close is in `closing`.

use longwire_ws::{ProtocolError, Role, Sender};

use crate::support::peer::{CLOSE, Length, PING, PONG, TEXT};
use crate::support::{BOTH_ROLES, End, Frame, Heard, Outcome, assert_heard, assert_refused, text};

#[test]
fn pings_and_pongs_carry_up_to_125_bytes_rfc6455_5_5() {
    for len in [0, 1, 124, 125] {
        let payload = vec![0xfe; len];
        let frames = [Frame::new(PING, &payload), Frame::new(PONG, &payload)];
        assert_heard(&frames, &[Heard::Ping(payload.clone()), Heard::Pong(payload)]);
    }
}

/// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less".
#[test]
fn a_long_control_frame_is_refused_rfc6455_5_5() {
    for opcode in [PING, PONG, CLOSE] {
        assert_refused(&[Frame::new(opcode, [0; 126])], &[], ProtocolError::ControlTooLong);
        assert_refused(&[Frame::new(opcode, vec![0; 70_000])], &[], ProtocolError::ControlTooLong);
        // The length need not even be short: its form says enough.
        for role in BOTH_ROLES {
            let wire = Frame::new(opcode, b"").sent_to(role).header(Length::U16(1));
            let outcome = Outcome { events: vec![], error: Some(ProtocolError::ControlTooLong) };
            assert_eq!(End::new(role).hear(&wire[..2]), outcome);
        }
    }
}

/// RFC 6455, 5.5: "All control frames ... MUST NOT be fragmented."
#[test]
fn a_control_frame_in_fragments_is_refused_rfc6455_5_5() {
    for opcode in [PING, PONG, CLOSE] {
        assert_refused(&[Frame::new(opcode, b"").unfinished()], &[], ProtocolError::FragmentedControl);
    }
}

/// RFC 6455, 5.5.2 and 5.5.3: the pong has the payload of the ping.
#[test]
fn a_pong_answers_with_the_payload_of_the_ping_rfc6455_5_5_3() {
    for role in BOTH_ROLES {
        let mut sender = Sender::new(role, None);
        for len in [0, 3, 125] {
            let mut out = Vec::new();
            sender.pong(&vec![7; len], [1, 2, 3, 4], &mut out).unwrap();
            let frame = Frame::new(PONG, vec![7; len]);
            let expected = if role == Role::Client { frame.masked([1, 2, 3, 4]) } else { frame };
            assert_eq!(out, expected.bytes());
        }
    }
}

/// RFC 6455, 5.5.3: a pong may come unasked.
#[test]
fn an_unasked_pong_is_heard_and_changes_nothing_rfc6455_5_5_3() {
    assert_heard(&[Frame::new(PONG, "?"), Frame::new(TEXT, "a")], &[Heard::Pong(b"?".into()), text("a")]);
}
