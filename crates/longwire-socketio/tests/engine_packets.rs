//! Packets of Engine.IO, and the handshake.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use longwire_socketio::engine::Revision::{V3, V4};
use longwire_socketio::engine::{
    Data, EncodedPacket, Form, Handshake, InvalidHandshake, Packet, PacketError, PacketKind, Transport,
};

#[test]
fn a_text_message_is_a_digit_and_the_text() {
    for (text, kind, data) in [
        ("4hello", PacketKind::Message, "hello"),
        ("4€ 你好 🦀", PacketKind::Message, "€ 你好 🦀"),
        ("4", PacketKind::Message, ""),
        ("40", PacketKind::Message, "0"),
        ("1", PacketKind::Close, ""),
        ("2", PacketKind::Ping, ""),
        ("2probe", PacketKind::Ping, "probe"),
        ("3probe", PacketKind::Pong, "probe"),
        ("5", PacketKind::Upgrade, ""),
        ("6", PacketKind::Noop, ""),
    ] {
        for revision in [V3, V4] {
            let packet = Packet::decode_text(revision, text).unwrap();
            assert_eq!(packet, Packet::text(kind, data));
            for base64 in [false, true] {
                let encoded = packet.encode(Form { revision, base64 });
                assert_eq!(encoded, EncodedPacket::Text(Bytes::from(text)));
            }
        }
    }
}

#[test]
fn the_four_forms_of_a_binary_message() {
    let packet = Packet::binary(&[1, 2, 3, 4][..]);
    for (form, encoded) in [
        (Form::new(V4, Transport::WebSocket, false), EncodedPacket::Binary(Bytes::from_static(&[1, 2, 3, 4]))),
        (Form::new(V4, Transport::WebSocket, true), EncodedPacket::Text(Bytes::from("bAQIDBA=="))),
        (Form::new(V4, Transport::Polling, false), EncodedPacket::Text(Bytes::from("bAQIDBA=="))),
        (Form::new(V3, Transport::WebSocket, false), EncodedPacket::Binary(Bytes::from_static(&[4, 1, 2, 3, 4]))),
        (Form::new(V3, Transport::Polling, false), EncodedPacket::Binary(Bytes::from_static(&[4, 1, 2, 3, 4]))),
        (Form::new(V3, Transport::Polling, true), EncodedPacket::Text(Bytes::from("b4AQIDBA=="))),
    ] {
        assert_eq!(packet.encode(form), encoded, "{form:?}");
        let back = match &encoded {
            EncodedPacket::Text(text) => Packet::decode_text(form.revision, std::str::from_utf8(text).unwrap()),
            EncodedPacket::Binary(bytes) => Packet::decode_binary(form.revision, bytes),
        };
        assert_eq!(back, Ok(packet.clone()), "{form:?}");
    }
}

#[test]
fn bytes_for_a_websocket_of_revision_4_are_not_copied() {
    let bytes = Bytes::from(vec![7; 100]);
    let encoded = EncodedPacket::binary(&bytes, Form::new(V4, Transport::WebSocket, false));
    assert_eq!(encoded.as_bytes().as_ptr(), bytes.as_ptr());
}

#[test]
fn every_form_has_its_own_place() {
    let mut places = [false; Form::COUNT];
    for revision in [V3, V4] {
        for base64 in [false, true] {
            assert!(!std::mem::replace(&mut places[Form { revision, base64 }.index()], true));
        }
    }
    assert_eq!(places, [true; Form::COUNT]);
}

#[test]
fn padding_of_base64_may_be_missing() {
    assert_eq!(Packet::decode_text(V4, "bAQIDBA").unwrap().data(), &Data::Binary(Cow::Borrowed(&[1, 2, 3, 4])));
    assert_eq!(Packet::decode_text(V4, "b").unwrap(), Packet::binary(&[][..]));
    assert_eq!(Packet::decode_text(V3, "b4").unwrap(), Packet::binary(&[][..]));
}

#[test]
fn what_is_no_packet_is_refused() {
    for (revision, text, error) in [
        (V4, "", PacketError::Empty),
        (V4, "abc", PacketError::UnknownKind),
        (V4, "7", PacketError::UnknownKind),
        (V4, "/", PacketError::UnknownKind),
        (V4, "é", PacketError::UnknownKind),
        (V4, "bAQ*=", PacketError::InvalidBase64),
        (V4, "b€", PacketError::InvalidBase64),
        (V3, "b", PacketError::Empty),
        (V3, "b2AQ==", PacketError::BinaryNotMessage),
        (V3, "bxAQ==", PacketError::UnknownKind),
        (V3, "b4A", PacketError::InvalidBase64),
    ] {
        assert_eq!(Packet::decode_text(revision, text), Err(error), "{revision:?} {text:?}");
    }
    for (bytes, error) in [
        (&[][..], PacketError::Empty),
        (&[7, 1], PacketError::UnknownKind),
        (b"4abc", PacketError::UnknownKind),
        (&[2, 1], PacketError::BinaryNotMessage),
    ] {
        assert_eq!(Packet::decode_binary(V3, bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn only_one_side_may_begin_a_heartbeat() {
    assert!(PacketKind::Ping.is_wrong_heartbeat_of_client(V4) && !PacketKind::Pong.is_wrong_heartbeat_of_client(V4));
    assert!(PacketKind::Pong.is_wrong_heartbeat_of_client(V3) && !PacketKind::Ping.is_wrong_heartbeat_of_client(V3));
    assert!(!PacketKind::Message.is_wrong_heartbeat_of_client(V4));
}

#[test]
fn the_handshake_has_these_members_and_no_others() {
    let polling = Handshake {
        sid: "lv_VI97HAXpY6yYWAAAC".into(),
        upgrades_to_websocket: true,
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        max_payload: 1_000_000,
    };
    let websocket = Handshake { upgrades_to_websocket: false, ..polling.clone() };
    for (handshake, text) in [
        (
            &polling,
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#,
        ),
        (
            &websocket,
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#,
        ),
    ] {
        assert_eq!(handshake.encode(), EncodedPacket::Text(Bytes::from(text)));
        assert_eq!(Handshake::decode(&text[1..]).as_ref(), Ok(handshake));
    }
    let old = r#"{"sid":"a\"b","upgrades":["flashsocket"],"pingInterval":25000,"pingTimeout":5000}"#;
    let old = Handshake::decode(old).unwrap();
    assert_eq!((&*old.sid, old.upgrades_to_websocket, old.max_payload), ("a\"b", false, usize::MAX));
    for wrong in ["", "{}", "[]", r#"{"sid":1,"upgrades":[],"pingInterval":1,"pingTimeout":1}"#] {
        assert_eq!(Handshake::decode(wrong), Err(InvalidHandshake));
    }
}
