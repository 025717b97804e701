//! How much a peer may make us keep (RFC 6455, 10.4).

use longwire_ws::{Limits, ProtocolError};

use crate::support::peer::{BINARY, CONTINUATION, Length, PING, TEXT};
use crate::support::{BOTH_ROLES, End, Frame, Heard, Outcome, binary, wire};

const LIMITS: Limits = Limits { max_frame_bytes: 200, max_message_bytes: 500, max_fragments: 4 };

/// What is heard within [`LIMITS`], in either role.
fn hear(frames: &[Frame]) -> Outcome {
    let [server, client] = BOTH_ROLES.map(|role| End::new(role).within(LIMITS).hear(&wire(role, frames)));
    assert_eq!(server, client);
    server
}

fn refused(error: ProtocolError) -> Outcome {
    Outcome { events: vec![], error: Some(error) }
}

fn heard(bytes: usize) -> Outcome {
    Outcome { events: vec![binary(vec![7; bytes])], error: None }
}

/// A message in fragments of these sizes.
fn fragments(sizes: &[usize]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = sizes.iter().map(|size| Frame::new(CONTINUATION, vec![7; *size]).unfinished()).collect();
    frames[0].opcode = BINARY;
    frames.last_mut().unwrap().fin = true;
    frames
}

#[test]
fn a_frame_may_reach_its_limit_and_not_pass_it_rfc6455_10_4() {
    assert_eq!(hear(&fragments(&[200])), heard(200));
    assert_eq!(hear(&fragments(&[201])), refused(ProtocolError::FrameTooBig { limit: 200 }));
    assert_eq!(hear(&fragments(&[1, 201])), refused(ProtocolError::FrameTooBig { limit: 200 }));
}

#[test]
fn a_message_may_reach_its_limit_and_not_pass_it_rfc6455_10_4() {
    assert_eq!(hear(&fragments(&[200, 200, 100])), heard(500));
    assert_eq!(hear(&fragments(&[200, 200, 101])), refused(ProtocolError::MessageTooBig { limit: 500 }));
    let limits = Limits { max_message_bytes: 100, ..LIMITS };
    for role in BOTH_ROLES {
        let outcome = End::new(role).within(limits.clone()).hear(&wire(role, &fragments(&[101])));
        assert_eq!(outcome, refused(ProtocolError::MessageTooBig { limit: 100 }));
    }
}

#[test]
fn fragments_are_counted_rfc6455_10_4() {
    assert_eq!(hear(&fragments(&[1; 4])), heard(4));
    assert_eq!(hear(&fragments(&[1; 5])), refused(ProtocolError::TooManyFragments { limit: 4 }));
    assert_eq!(hear(&fragments(&[0; 5])), refused(ProtocolError::TooManyFragments { limit: 4 }));
    let mut again = fragments(&[1; 4]);
    again.extend(fragments(&[2; 4]));
    assert_eq!(hear(&again).events.len(), 2, "each message is counted by itself");
}

#[test]
fn a_message_in_one_frame_is_never_too_many() {
    for role in BOTH_ROLES {
        let end = End::new(role).within(Limits { max_fragments: 0, ..LIMITS });
        assert_eq!(end.hear(&wire(role, &fragments(&[3]))), heard(3));
    }
}

/// RFC 6455, 5.4 and 5.5: control frames belong to no message and are bounded by themselves.
#[test]
fn control_frames_do_not_count_rfc6455_5_5() {
    let mut frames = fragments(&[200, 200, 50, 50]);
    for at in [1, 3, 5] {
        frames.insert(at, Frame::new(PING, [0; 125]));
    }
    assert_eq!(hear(&frames).events, [vec![Heard::Ping(vec![0; 125]); 3], heard(500).events].concat());
    for role in BOTH_ROLES {
        let end = End::new(role).within(Limits { max_frame_bytes: 0, max_message_bytes: 0, max_fragments: 0 });
        let wire = wire(role, &[Frame::new(PING, [1; 125])]);
        assert_eq!(end.hear(&wire).events, [Heard::Ping(vec![1; 125])]);
    }
}

/// RFC 6455, 10.4: the header tells; nothing of the payload is waited for.
#[test]
fn what_is_too_big_is_refused_by_its_header_rfc6455_10_4() {
    for role in BOTH_ROLES {
        let end = End::new(role).within(LIMITS);
        for length in [Length::U16(201), Length::U64(1 << 16), Length::U64(1 << 62), Length::U64((1 << 63) - 1)] {
            let header = Frame::new(TEXT, "").sent_to(role).header(length);
            assert_eq!(end.hear(&header), refused(ProtocolError::FrameTooBig { limit: 200 }), "{length:?}");
        }
        let mut begun = wire(role, &fragments(&[200, 200, 0])[..2]);
        begun.extend(Frame::new(CONTINUATION, "").sent_to(role).header(Length::Short(101)));
        assert_eq!(end.hear(&begun), refused(ProtocolError::MessageTooBig { limit: 500 }));
    }
}

#[test]
fn the_highest_limits_do_not_overflow() {
    let all = Limits { max_frame_bytes: usize::MAX, max_message_bytes: usize::MAX, max_fragments: usize::MAX };
    for role in BOTH_ROLES {
        let end = End::new(role).within(all.clone());
        let mut bytes = wire(role, &fragments(&[9, 0])[..1]);
        bytes.extend(Frame::new(CONTINUATION, "").sent_to(role).header(Length::U64((1 << 63) - 1)));
        bytes.extend([1, 2, 3]);
        assert_eq!(end.hear(&bytes), Outcome { events: vec![], error: None });
    }
}
