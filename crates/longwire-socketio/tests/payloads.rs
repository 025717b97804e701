//! Bodies of polling requests and answers.

use longwire_socketio::engine::Revision::{V3, V4};
use longwire_socketio::engine::payload::{self, Body, Content, PayloadError, PayloadLimits};
use longwire_socketio::engine::{EncodedPacket, Form, Packet, PacketError, PacketKind, Revision, Transport};

fn message(text: &str) -> Packet<'_> {
    Packet::text(PacketKind::Message, text)
}

fn encode(revision: Revision, wants_base64: bool, packets: &[Packet<'_>]) -> Body {
    let form = Form::new(revision, Transport::Polling, wants_base64);
    let encoded: Vec<EncodedPacket> = packets.iter().map(|packet| packet.encode(form)).collect();
    payload::encode(revision, &encoded)
}

fn decode<'a>(revision: Revision, content: Content, body: &'a [u8]) -> Result<Vec<Packet<'a>>, PayloadError> {
    payload::decode(revision, content, body, &PayloadLimits::default())?.collect()
}

/// Holds packets against the body that they make, both ways.
#[track_caller]
fn check(revision: Revision, wants_base64: bool, packets: &[Packet<'_>], content: Content, bytes: &[u8]) {
    let body = encode(revision, wants_base64, packets);
    assert_eq!((body.content, &*body.bytes), (content, bytes));
    assert_eq!(decode(revision, content, bytes).as_deref(), Ok(packets));
}

#[test]
fn payloads_of_both_revisions() {
    let binary = || Packet::binary(&[1, 2, 3, 4][..]);
    let ping = || Packet::text(PacketKind::Ping, "");
    check(V4, false, &[message("hello")], Content::Text, b"4hello");
    check(V4, false, &[message("hello"), ping(), message("world")], Content::Text, b"4hello\x1e2\x1e4world");
    check(V4, false, &[message("hello"), binary()], Content::Text, b"4hello\x1ebAQIDBA==");
    check(V3, false, &[message("hello")], Content::Text, b"6:4hello");
    check(V3, false, &[message("hello"), ping()], Content::Text, b"6:4hello1:2");
    // The euro sign is one code unit, the crab two.
    check(V3, false, &[message("€"), message("🦀a")], Content::Text, "2:4€4:4🦀a".as_bytes());
    check(V3, true, &[message("€"), binary()], Content::Text, "2:4€10:b4AQIDBA==".as_bytes());
    check(V3, false, &[], Content::Text, b"0:");
    check(V3, false, &[binary()], Content::Binary, b"\x01\x05\xFF\x04\x01\x02\x03\x04");
    // In the binary form a text's length is in bytes.
    let both = b"\x00\x04\xFF4\xE2\x82\xAC\x01\x05\xFF\x04\x01\x02\x03\x04";
    check(V3, false, &[message("€"), binary()], Content::Binary, both);
    let long = b"\x01\x05\xFF\x04\x01\x02\x03\x04\x00\x01\x01\xFF40123456789";
    check(V3, false, &[binary(), message("0123456789")], Content::Binary, long);
    check(V3, false, &[Packet::binary(&[][..])], Content::Binary, b"\x01\x01\xFF\x04");
}

#[test]
fn one_packet_of_revision_4_is_its_own_body() {
    let packet = message("hello").encode(Form::new(V4, Transport::Polling, false));
    let body = payload::encode(V4, std::slice::from_ref(&packet));
    assert_eq!(body.bytes.as_ptr(), packet.as_bytes().as_ptr());
}

#[test]
fn an_empty_binary_body_and_empty_texts_of_revision_3_have_no_packets() {
    assert_eq!(decode(V3, Content::Binary, b""), Ok(vec![]));
    assert_eq!(decode(V3, Content::Text, b"0:2:4a0:"), Ok(vec![message("a")]));
    assert_eq!(decode(V3, Content::Text, b"02:4a"), Ok(vec![message("a")]));
}

#[test]
fn what_is_no_payload_is_refused() {
    use PayloadError::{BinaryBody, Length, Marker, NotUtf8, Truncated};
    let unknown = PayloadError::Packet(PacketError::UnknownKind);
    let empty = PayloadError::Packet(PacketError::Empty);
    let cases: [(Revision, Content, &[u8], PayloadError); 27] = [
        (V4, Content::Text, b"", empty),
        (V4, Content::Text, b"abc", unknown),
        (V4, Content::Text, b"4a\x1e", empty),
        (V4, Content::Text, b"\x1e4a", empty),
        (V4, Content::Text, b"4a\xFF", NotUtf8),
        (V4, Content::Text, b"4a\x1eb!", PayloadError::Packet(PacketError::InvalidBase64)),
        (V4, Content::Binary, b"\x01\x01\xFF\x04", BinaryBody),
        (V3, Content::Text, b"", Length),
        (V3, Content::Text, b"4hello", Length),
        (V3, Content::Text, b":4a", Length),
        (V3, Content::Text, b"x:4a", Length),
        (V3, Content::Text, b"-1:4a", Length),
        (V3, Content::Text, b"1e1:4a", Length),
        (V3, Content::Text, b"2:4a2", Length),
        (V3, Content::Text, b"00000000002:4a", Length),
        (V3, Content::Text, b"9999999999:4a", Truncated),
        (V3, Content::Text, b"3:4a", Truncated),
        (V3, Content::Text, "2:4🦀".as_bytes(), Length),
        (V3, Content::Text, b"1:7", unknown),
        (V3, Content::Binary, b"\x02\x02\xFF4a", Marker(2)),
        (V3, Content::Binary, b"\x00\xFF4a", Length),
        (V3, Content::Binary, b"\x00\x02", Length),
        (V3, Content::Binary, b"\x002\xFF4a", Length),
        (V3, Content::Binary, b"\x00\x03\xFF4a", Truncated),
        (V3, Content::Binary, b"\x00\x02\xFF4\xE2", NotUtf8),
        (V3, Content::Binary, b"\x00\x00\xFF", empty),
        (V3, Content::Binary, b"\x01\x02\xFF4a", unknown),
    ];
    for (revision, content, body, error) in cases {
        assert_eq!(decode(revision, content, body), Err(error), "{revision:?} {body:?}");
        assert_eq!(error.status().as_u16(), 400);
    }
}

#[test]
fn packets_before_a_malformed_one_are_read_and_none_after() {
    let limits = PayloadLimits::default();
    for (revision, body) in [(V4, &b"4a\x1e9\x1e4b"[..]), (V3, b"2:4a1:92:4b")] {
        let all: Vec<_> = payload::decode(revision, Content::Text, body, &limits).unwrap().collect();
        assert_eq!(all, [Ok(message("a")), Err(PacketError::UnknownKind.into())]);
    }
}

#[test]
fn a_payload_has_limits() {
    let limits = PayloadLimits { max_bytes: 8, max_packets: 2 };
    let read = |body: &'static [u8]| payload::decode(V4, Content::Text, body, &limits)?.collect::<Result<Vec<_>, _>>();
    assert_eq!(read(b"4a\x1e4b").unwrap().len(), 2);
    assert_eq!(read(b"4a\x1e4b\x1e4c"), Err(PayloadError::TooManyPackets { limit: 2 }));
    assert_eq!(read(b"412345678"), Err(PayloadError::TooBig { limit: 8 }));
    assert_eq!(PayloadError::TooBig { limit: 8 }.status().as_u16(), 413);
}

#[test]
fn content_types() {
    assert_eq!(Content::from_content_type(Some("application/octet-stream")), Content::Binary);
    assert_eq!(Content::from_content_type(Some("text/plain;charset=UTF-8")), Content::Text);
    assert_eq!(Content::from_content_type(None), Content::Text);
    assert_eq!(Content::Text.content_type(), "text/plain; charset=UTF-8");
}
