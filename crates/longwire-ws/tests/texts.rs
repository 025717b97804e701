//! Texts are UTF-8 (RFC 6455, 5.6 and 8.1).

use longwire_ws::{CloseCode, Input, Limits, ProtocolError, Receiver, Role};

use crate::support::peer::{BINARY, CONTINUATION, PING, TEXT};
use crate::support::{Frame, Heard, assert_heard, assert_refused, binary, hear_one, text};

const INVALID: [&[u8]; 9] = [
    b"\x80",                 // begins with a continuation byte
    b"a\xc0\xaf",            // longer than needed
    b"\xe0\x80\xaf",         // longer than needed
    b"\xed\xa0\x80",         // a surrogate
    b"\xf4\x90\x80\x80",     // beyond U+10FFFF
    b"\xf8\x88\x80\x80\x80", // no such length
    b"\xce\xba\xff",
    b"\xfe",
    b"\xe4\xbd\x28",
];

#[test]
fn texts_of_every_plane_are_heard_rfc6455_5_6() {
    for sample in ["", "plain", "κόσμε", "\0", "你发送了：m", "\u{7ff}\u{800}\u{ffff}", "🦀\u{10ffff}", "\u{fffe}"]
    {
        assert_heard(&[Frame::new(TEXT, sample)], &[text(sample)]);
    }
}

/// RFC 6455, 8.1: what is not UTF-8 fails the connection, in one frame or at the end of several.
#[test]
fn what_is_not_utf8_is_refused_rfc6455_8_1() {
    for bad in INVALID {
        assert_refused(&[Frame::new(TEXT, bad)], &[], ProtocolError::InvalidUtf8);
        let frames = [Frame::new(TEXT, "good ").unfinished(), Frame::new(CONTINUATION, bad)];
        assert_refused(&frames, &[], ProtocolError::InvalidUtf8);
    }
}

/// RFC 6455, 7.4.1: 1007 says so.
#[test]
fn a_bad_text_is_answered_with_1007_rfc6455_7_4_1() {
    assert_eq!(ProtocolError::InvalidUtf8.code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(ProtocolError::InvalidCloseReason.code(), CloseCode::INVALID_PAYLOAD);
}

/// RFC 6455, 5.6: "a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST contain valid
/// UTF-8".
#[test]
fn a_character_may_be_cut_by_a_fragment_rfc6455_5_6() {
    let sample = "a🦀你é".as_bytes();
    for cut in 0..=sample.len() {
        let (head, tail) = sample.split_at(cut);
        let frames = [Frame::new(TEXT, head).unfinished(), Frame::new(PING, "?"), Frame::new(CONTINUATION, tail)];
        assert_heard(&frames, &[Heard::Ping(b"?".into()), text("a🦀你é")]);
    }
    let mut frames: Vec<Frame> = sample.iter().map(|byte| Frame::new(CONTINUATION, [*byte]).unfinished()).collect();
    frames[0].opcode = TEXT;
    frames.last_mut().unwrap().fin = true;
    assert_heard(&frames, &[text("a🦀你é")]);
}

/// RFC 6455, 8.1: a character has to end where the text does.
#[test]
fn a_character_cut_by_the_end_of_the_text_is_refused_rfc6455_8_1() {
    for cut in 1..4 {
        let partial = &"🦀".as_bytes()[..cut];
        assert_refused(&[Frame::new(TEXT, partial)], &[], ProtocolError::InvalidUtf8);
        let frames = [Frame::new(TEXT, partial).unfinished(), Frame::new(CONTINUATION, "")];
        assert_refused(&frames, &[], ProtocolError::InvalidUtf8);
        let frames = [Frame::new(TEXT, partial).unfinished(), Frame::new(CONTINUATION, ""), Frame::new(TEXT, "next")];
        assert_refused(&frames, &[], ProtocolError::InvalidUtf8);
    }
}

/// RFC 6455, 8.1: a long text fails at its first bad byte, not at its end.
#[test]
fn a_text_fails_at_its_first_bad_byte_rfc6455_8_1() {
    for (good, bad) in [("κόσμε", b"\xed\xa0"), ("", b"\xf4\x90"), ("a", b"\xc1\x80")] {
        let mut receiver = Receiver::new(Role::Client, None);
        let (limits, mut events) = (Limits::default(), Vec::new());
        let header = Frame::new(TEXT, vec![b'x'; 1000]).bytes()[..4].to_vec();
        hear_one(&mut receiver, &header, &limits, &mut events).unwrap();
        hear_one(&mut receiver, good.as_bytes(), &limits, &mut events).unwrap();
        // The lead byte of a character promises nothing wrong yet, unless no character begins with it.
        let lead = hear_one(&mut receiver, &bad[..1], &limits, &mut events);
        assert_eq!(lead.is_err(), bad[0] == 0xc1);
        if lead.is_ok() {
            assert_eq!(hear_one(&mut receiver, &bad[1..], &limits, &mut events), Err(ProtocolError::InvalidUtf8));
        }
    }
}

/// RFC 6455, 5.6: binary data is not looked at.
#[test]
fn binary_messages_carry_any_bytes_rfc6455_5_6() {
    for bytes in INVALID {
        assert_heard(&[Frame::new(BINARY, bytes)], &[binary(bytes)]);
        let frames = [Frame::new(BINARY, bytes).unfinished(), Frame::new(CONTINUATION, bytes)];
        assert_heard(&frames, &[binary(bytes.repeat(2))]);
    }
}

#[test]
fn a_binary_message_is_no_text_and_either_can_be_kept() {
    let mut wire = [Frame::new(BINARY, "b").bytes(), Frame::new(TEXT, "t").bytes()].concat();
    let mut receiver = Receiver::new(Role::Client, None);
    let mut input = Input::new(&mut wire);
    let mut next = |as_str: Option<&str>, bytes: &[u8]| match receiver.receive(&mut input, &Limits::default()) {
        Ok(Some(longwire_ws::Event::Message(message))) => {
            assert_eq!((message.as_str(), message.as_bytes()), (as_str, bytes));
            assert_eq!(message.into_vec(), bytes);
        }
        other => panic!("unexpected {other:?}"),
    };
    next(None, b"b");
    next(Some("t"), b"t");
}
