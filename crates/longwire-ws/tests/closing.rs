//! The closing handshake (RFC 6455, 5.5.1 and 7).

use longwire_ws::{AlreadyClosing, CloseCode, CloseFrame, Connection, Event, Input, Limits, MessageKind, ProtocolError, Role};

use crate::support::peer::{CLOSE, KEY, PING, TEXT};
use crate::support::{BOTH_ROLES, Frame, Heard, assert_heard, assert_refused, text};

fn close_frame(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    Frame::new(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

fn closed(code: u16, reason: &str) -> Heard {
    Heard::Close(Some((code, reason.to_owned())))
}

/// RFC 6455, 7.1.5: without a code, the connection was closed without one.
#[test]
fn an_empty_close_frame_says_nothing_rfc6455_7_1_5() {
    assert_heard(&[Frame::new(CLOSE, b"")], &[Heard::Close(None)]);
}

/// RFC 6455, 5.5.1: code and reason.
#[test]
fn a_close_frame_says_why_rfc6455_5_5_1() {
    assert_heard(&[close_frame(1000, "")], &[closed(1000, "")]);
    assert_heard(&[close_frame(4999, "再见")], &[closed(4999, "再见")]);
    let longest = "x".repeat(123);
    assert_heard(&[close_frame(3000, &longest)], &[closed(3000, &longest)]);
}

/// RFC 6455, 5.5.1: if there is a body, its first two bytes are the code.
#[test]
fn a_close_frame_with_one_byte_is_refused_rfc6455_5_5_1() {
    assert_refused(&[Frame::new(CLOSE, [3])], &[], ProtocolError::CloseTooShort);
    assert_eq!(ProtocolError::CloseTooShort.code(), CloseCode::PROTOCOL_ERROR);
}

/// RFC 6455, 5.5.1: the reason is UTF-8.
#[test]
fn a_reason_that_is_not_utf8_is_refused_rfc6455_5_5_1() {
    assert_refused(&[close_frame(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")], &[], ProtocolError::InvalidCloseReason);
    assert_refused(&[close_frame(1000, b"\xe4\xbd")], &[], ProtocolError::InvalidCloseReason);
}

/// RFC 6455, 7.4.1 and 7.4.2, over the whole range.
#[test]
fn every_close_code_is_heard_or_refused_as_it_should_rfc6455_7_4() {
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let decoded = CloseFrame::decode(&code.to_be_bytes());
        assert_eq!(decoded.is_ok(), allowed, "{code}");
        assert_eq!(CloseCode::new(code).map(CloseCode::value), allowed.then_some(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_refused(&[close_frame(code, "x")], &[], ProtocolError::InvalidCloseCode(code));
    }
}

/// RFC 6455, 5.5.1 and 1.4: nothing follows a close frame.
#[test]
fn nothing_is_heard_after_a_close_frame_rfc6455_5_5_1() {
    let frames = [Frame::new(TEXT, "a"), close_frame(1001, ""), Frame::new(TEXT, "b"), close_frame(9, ""), Frame::new(7, "")];
    assert_heard(&frames, &[text("a"), closed(1001, "")]);
}

/// RFC 6455, 5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
#[test]
fn nothing_is_sent_after_a_close_frame_rfc6455_5_5_1() {
    for role in BOTH_ROLES {
        let mut end = Connection::new(role, None);
        let mut out = Vec::new();
        end.sender.close(Some((CloseCode::NORMAL, "bye")), KEY, &mut out).unwrap();
        assert!(end.sender.close_sent());
        let len = out.len();
        assert_eq!(end.send(MessageKind::Text, b"more", KEY, &mut out), Err(AlreadyClosing));
        assert_eq!(end.sender.ping(b"", KEY, &mut out), Err(AlreadyClosing));
        assert_eq!(end.sender.pong(b"", KEY, &mut out), Err(AlreadyClosing));
        assert_eq!(end.sender.close(None, KEY, &mut out), Err(AlreadyClosing));
        end.sender.close_reply(None, KEY, &mut out);
        assert_eq!(out.len(), len);
    }
}

/// RFC 6455, 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint MUST send a
/// Close frame in response", as a rule with the same code.
#[test]
fn a_close_frame_is_answered_with_its_code_rfc6455_5_5_1() {
    for (received, answer) in [(Some((4321, "because")), &b"\x88\x02\x10\xe1"[..]), (None, &b"\x88\x00"[..])] {
        let mut server = Connection::new(Role::Server, None);
        let frame = received.map_or(Frame::new(CLOSE, b""), |(code, reason)| close_frame(code, reason));
        let mut wire = frame.masked(KEY).bytes();
        let mut out = Vec::new();
        assert!(!server.is_closed());
        match server.receiver.receive(&mut Input::new(&mut wire), &Limits::default()) {
            Ok(Some(Event::Close(frame))) => server.sender.close_reply(frame.as_ref(), [0; 4], &mut out),
            other => panic!("unexpected {other:?}"),
        }
        assert_eq!(out, answer);
        // RFC 6455, 7.1.1: both frames have gone, the server may close the line.
        assert!(server.is_closed() && !server.receiver.failed());
    }
}

/// RFC 6455, 7.1.2: the one who begins waits for the answer, and what comes before it is still heard.
#[test]
fn messages_are_heard_until_the_close_frame_is_answered_rfc6455_7_1_2() {
    let mut server = Connection::new(Role::Server, None);
    server.sender.close(Some((CloseCode::GOING_AWAY, "")), [0; 4], &mut Vec::new()).unwrap();
    let frames = [Frame::new(TEXT, "still here"), Frame::new(PING, ""), close_frame(1001, "")];
    let mut wire: Vec<u8> = frames.into_iter().flat_map(|frame| frame.masked(KEY).bytes()).collect();
    let mut input = Input::new(&mut wire);
    let mut events: Vec<Heard> = Vec::new();
    while let Some(event) = server.receive(&mut input, &Limits::default()).unwrap() {
        events.push(event.into());
    }
    assert_eq!(events, [text("still here"), Heard::Ping(vec![]), closed(1001, "")]);
    assert!(server.is_closed());
}

/// RFC 6455, 5.5: a close frame has 125 bytes at most; the rest of a reason is cut at a character's edge.
#[test]
fn a_long_reason_is_cut_rfc6455_5_5() {
    let mut out = Vec::new();
    let mut server = Connection::new(Role::Server, None);
    server.sender.close(Some((CloseCode::POLICY_VIOLATION, &"é".repeat(100))), [0; 4], &mut out).unwrap();
    assert_eq!(out, close_frame(1008, "é".repeat(61)).bytes());
}

/// RFC 6455, 7.1.7 and 7.4.1: each broken rule has the code that names it.
#[test]
fn every_broken_rule_has_its_close_code_rfc6455_7_1_7() {
    use ProtocolError::*;
    let limit = 1;
    for error in [
        ReservedBits,
        ReservedOpcode(3),
        UnmaskedFrame,
        MaskedFrame,
        LengthNotMinimal,
        LengthTooLarge,
        ControlTooLong,
        FragmentedControl,
        UnexpectedContinuation,
        ExpectedContinuation,
        CloseTooShort,
        InvalidCloseCode(5),
    ] {
        assert_eq!(error.code(), CloseCode::PROTOCOL_ERROR, "{error:?}");
        assert!(!error.to_string().is_empty());
    }
    for error in [InvalidUtf8, InvalidCloseReason, InvalidDeflate] {
        assert_eq!(error.code(), CloseCode::INVALID_PAYLOAD, "{error:?}");
    }
    for error in [FrameTooBig { limit }, MessageTooBig { limit }, TooManyFragments { limit }] {
        assert_eq!(error.code(), CloseCode::TOO_BIG, "{error:?}");
        assert!(error.to_string().contains('1'), "it names the limit");
    }
}
