//! Packets with binary parts.

use bytes::Bytes;
use longwire_socketio::engine::Revision::{V3, V4};
use longwire_socketio::engine::{Data, EncodedPacket, Form, Transport};
use longwire_socketio::{Arguments, DecodeError, Decoder, Limits, Namespace, Packet, Protocol, Value};

/// What a decoder says to a text and then to each of these bytes.
fn decode(text: &str, parts: &[&'static [u8]], limits: &Limits) -> Result<Option<Packet>, DecodeError> {
    let mut decoder = Decoder::new(Protocol::V5);
    let mut packet = decoder.text(text, limits)?;
    for part in parts {
        assert_eq!((packet, decoder.expects_attachment()), (None, true), "more is to come");
        packet = decoder.message(&Data::Binary((*part).into()), limits)?;
    }
    Ok(packet)
}

fn named(name: &str, part: &'static [u8]) -> Arguments {
    let mut arguments = Arguments::event(name);
    arguments.push_binary(Bytes::from_static(part));
    arguments
}

#[test]
fn packets_with_parts_that_are_written_as_they_are_read() {
    let limits = Limits::default();
    let mut two = named("hello", b"\x01");
    two.push(&7).unwrap();
    two.push(&Value::Array(vec!["x".into(), Bytes::from_static(b"\x02\x03").into()])).unwrap();
    let mut answer = Arguments::new();
    answer.push_binary(Bytes::from_static(b""));
    let cases: [(&str, &[&'static [u8]], Packet); 3] = [
        (
            r#"51-["hello",{"_placeholder":true,"num":0}]"#,
            &[b"\x01"],
            Packet::Event { namespace: Namespace::ROOT, id: None, arguments: named("hello", b"\x01") },
        ),
        (
            r#"52-/admin,456["hello",{"_placeholder":true,"num":0},7,["x",{"_placeholder":true,"num":1}]]"#,
            &[b"\x01", b"\x02\x03"],
            Packet::Event { namespace: Namespace::new("/admin").unwrap(), id: Some(456), arguments: two },
        ),
        (
            r#"61-/admin,456[{"_placeholder":true,"num":0}]"#,
            &[b""],
            Packet::Ack { namespace: Namespace::new("/admin").unwrap(), id: 456, arguments: answer },
        ),
    ];
    for (text, parts, packet) in cases {
        assert_eq!(decode(text, parts, &limits).as_ref(), Ok(&Some(packet.clone())));
        let encoded = packet.encode();
        assert!(!encoded.is_text_only());
        let mut messages = vec![EncodedPacket::Text(Bytes::from(format!("4{text}")))];
        messages.extend(parts.iter().map(|part| EncodedPacket::Binary(Bytes::from_static(part))));
        assert_eq!(encoded.packets(Form::new(V4, Transport::WebSocket, false)), messages);
    }
}

#[test]
fn parts_have_four_forms_and_the_text_one() {
    let packet = Packet::Event { namespace: Namespace::ROOT, id: None, arguments: named("a", b"\x01\x02") };
    let encoded = packet.encode();
    for (form, part) in [
        (Form { revision: V4, base64: false }, EncodedPacket::Binary(Bytes::from_static(b"\x01\x02"))),
        (Form { revision: V4, base64: true }, EncodedPacket::Text(Bytes::from_static(b"bAQI="))),
        (Form { revision: V3, base64: false }, EncodedPacket::Binary(Bytes::from_static(b"\x04\x01\x02"))),
        (Form { revision: V3, base64: true }, EncodedPacket::Text(Bytes::from_static(b"b4AQI="))),
    ] {
        let messages = encoded.packets(form);
        assert_eq!(messages, [EncodedPacket::Text(encoded.text().clone()), part]);
    }
}

#[test]
fn parts_may_stand_anywhere_and_more_than_once() {
    let text = r#"52-["a",{"num":1,"_placeholder":true},{"b":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]"#;
    let Some(Packet::Event { arguments, .. }) = decode(text, &[b"x", b"y"], &Limits::default()).unwrap() else {
        panic!("it is an event")
    };
    let values = arguments.values().unwrap();
    assert_eq!(values[1], Value::Binary(Bytes::from_static(b"y")));
    let Value::Object(members) = &values[2] else { panic!("{values:?}") };
    let parts = Value::Array(vec![Bytes::from_static(b"x").into(), Bytes::from_static(b"y").into()]);
    assert_eq!(members.get("b"), Some(&parts));
    let (first, _): (Value, Value) = arguments.read_event().unwrap();
    assert_eq!(first, values[1]);
}

#[test]
fn a_placeholder_in_a_packet_without_parts_is_an_object() {
    let text = r#"2["a",{"_placeholder":true,"num":0}]"#;
    let Some(Packet::Event { arguments, .. }) = decode(text, &[], &Limits::default()).unwrap() else { panic!("an event") };
    assert!(matches!(&arguments.values().unwrap()[1], Value::Object(members) if members.len() == 2));
}

#[test]
fn placeholders_of_no_part_are_refused_at_once() {
    for placeholder in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":99999999999999999999}"#,
    ] {
        let text = format!(r#"51-["a",[{placeholder}]]"#);
        assert_eq!(decode(&text, &[], &Limits::default()), Err(DecodeError::Placeholder), "{text}");
    }
    let text = r#"51-["a",{"_placeholder":1,"num":5}]"#;
    assert!(decode(text, &[b"x"], &Limits::default()).is_ok(), "it is no placeholder");
}

#[test]
fn what_comes_out_of_turn_is_refused() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Protocol::V5);
    assert_eq!(decoder.binary(Bytes::from_static(b"x"), &limits), Err(DecodeError::UnexpectedAttachment));
    let header = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(decoder.text(header, &limits), Ok(None));
    assert_eq!(decoder.binary(Bytes::from_static(b"x"), &limits), Ok(None));
    assert_eq!(decoder.text(r#"2["b"]"#, &limits), Err(DecodeError::TextForAttachment));
    assert!(!decoder.expects_attachment());
    assert_eq!(decoder.binary(Bytes::from_static(b"x"), &limits), Err(DecodeError::UnexpectedAttachment));
}

#[test]
fn parts_have_a_limit_together() {
    let limits = Limits { max_attachments_bytes: 3, ..Limits::default() };
    let header = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert!(decode(header, &[b"xx", b"y"], &limits).unwrap().is_some());
    assert_eq!(decode(header, &[b"xx", b"yy"], &limits), Err(DecodeError::AttachmentsTooBig { limit: 3 }));
}

#[test]
fn a_waiting_session_is_small() {
    assert!(size_of::<Decoder>() <= 16, "{} bytes", size_of::<Decoder>());
}
