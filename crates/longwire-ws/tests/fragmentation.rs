//! Messages in several frames (RFC 6455, 5.4).

use longwire_ws::ProtocolError;

use crate::support::peer::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use crate::support::{Frame, Heard, assert_heard, assert_refused, binary, text};

fn first(opcode: u8, payload: &str) -> Frame {
    Frame::new(opcode, payload).unfinished()
}

fn middle(payload: &str) -> Frame {
    Frame::new(CONTINUATION, payload).unfinished()
}

fn last(payload: &str) -> Frame {
    Frame::new(CONTINUATION, payload)
}

#[test]
fn fragments_are_joined_in_order_rfc6455_5_4() {
    assert_heard(&[first(TEXT, "to"), last("gether")], &[text("together")]);
    assert_heard(&[first(BINARY, "a"), middle("b"), middle("c"), last("d")], &[binary(*b"abcd")]);
}

#[test]
fn fragments_may_be_empty_rfc6455_5_4() {
    assert_heard(&[first(TEXT, ""), middle(""), last("")], &[text("")]);
    assert_heard(&[first(TEXT, ""), middle("x"), last("")], &[text("x")]);
    assert_heard(&[first(BINARY, "x"), middle(""), last("y")], &[binary(*b"xy")]);
}

/// RFC 6455, 5.4: "Control frames MAY be injected in the middle of a fragmented message"; they are heard at once.
#[test]
fn control_frames_between_fragments_are_heard_first_rfc6455_5_4() {
    let frames =
        [first(TEXT, "a"), Frame::new(PING, "1"), middle("b"), Frame::new(PONG, "2"), Frame::new(PING, "3"), last("c")];
    let events = [Heard::Ping(b"1".into()), Heard::Pong(b"2".into()), Heard::Ping(b"3".into()), text("abc")];
    assert_heard(&frames, &events);
}

/// RFC 6455, 5.5.1: a close frame may come there too, and the message never ends.
#[test]
fn a_close_frame_between_fragments_ends_it_all_rfc6455_5_4() {
    let close = Frame::new(CLOSE, b"\x03\xe8enough");
    let frames = [first(TEXT, "never"), close, last(" heard"), Frame::new(TEXT, "nor this")];
    assert_heard(&frames, &[Heard::Close(Some((1000, "enough".into())))]);
}

/// RFC 6455, 5.4: a continuation continues something.
#[test]
fn a_continuation_of_nothing_is_refused_rfc6455_5_4() {
    assert_refused(&[last("a")], &[], ProtocolError::UnexpectedContinuation);
    assert_refused(&[middle("a")], &[], ProtocolError::UnexpectedContinuation);
    assert_refused(&[Frame::new(TEXT, "a"), last("b")], &[text("a")], ProtocolError::UnexpectedContinuation);
    let twice = [first(TEXT, "a"), last("b"), last("c")];
    assert_refused(&twice, &[text("ab")], ProtocolError::UnexpectedContinuation);
}

/// RFC 6455, 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
#[test]
fn a_message_inside_a_message_is_refused_rfc6455_5_4() {
    for opcode in [TEXT, BINARY] {
        let frames = [first(TEXT, "a"), Frame::new(opcode, "b")];
        assert_refused(&frames, &[], ProtocolError::ExpectedContinuation);
        let frames = [first(BINARY, "a"), middle("b"), Frame::new(PING, ""), first(opcode, "c")];
        assert_refused(&frames, &[Heard::Ping(vec![])], ProtocolError::ExpectedContinuation);
    }
}

#[test]
fn the_next_message_may_be_of_the_other_kind_rfc6455_5_4() {
    let frames = [first(TEXT, "a"), last("b"), first(BINARY, "c"), last("d"), Frame::new(TEXT, "e")];
    assert_heard(&frames, &[text("ab"), binary(*b"cd"), text("e")]);
}

#[test]
fn long_fragments_are_joined_rfc6455_5_4() {
    let piece = |n: u8| vec![n; 30_000];
    let frames = [
        Frame::new(BINARY, piece(1)).unfinished(),
        Frame::new(CONTINUATION, piece(2)).unfinished(),
        Frame::new(CONTINUATION, piece(3)),
    ];
    assert_heard(&frames, &[binary([piece(1), piece(2), piece(3)].concat())]);
}
