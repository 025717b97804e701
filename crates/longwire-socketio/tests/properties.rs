//! What holds of all values and of all bytes.

use bytes::Bytes;
use longwire_socketio::engine::payload::{self, Content, PayloadLimits};
use longwire_socketio::engine::{self, Accepted, EncodedPacket, Form, Handshake, Query, Revision, Transport};
use longwire_socketio::{Decoder, Limits, Packet, Protocol, Value, pairs};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any;

const FORMS: [Form; Form::COUNT] = [
    Form { revision: Revision::V3, base64: false },
    Form { revision: Revision::V3, base64: true },
    Form { revision: Revision::V4, base64: false },
    Form { revision: Revision::V4, base64: true },
];

fn decode_message(revision: Revision, message: &EncodedPacket) -> engine::Packet<'_> {
    match message {
        EncodedPacket::Text(text) => engine::Packet::decode_text(revision, std::str::from_utf8(text).unwrap()).unwrap(),
        EncodedPacket::Binary(bytes) => engine::Packet::decode_binary(revision, bytes).unwrap(),
    }
}

fn decode_body(revision: Revision, messages: &[EncodedPacket], mut each: impl FnMut(engine::Packet<'_>)) {
    let body = payload::encode(revision, messages);
    let packets = payload::decode(revision, body.content, &body.bytes, &PayloadLimits::default()).unwrap();
    packets.for_each(|packet| each(packet.unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_come_back_over_a_websocket(packets in vec(any::packet(), 1..4)) {
        for form in FORMS {
            let mut decoder = Decoder::new(Protocol::from(form.revision));
            let mut back = Vec::new();
            for message in packets.iter().flat_map(|packet| packet.encode().packets(form)) {
                back.extend(decoder.message(decode_message(form.revision, &message).data(), &Limits::default()).unwrap());
            }
            prop_assert_eq!(&back, &packets);
        }
    }

    #[test]
    fn packets_come_back_over_polling_however_they_are_divided(packets in vec(any::packet(), 1..4), sizes in vec(1_usize..4, 1..4)) {
        for (revision, base64) in [(Revision::V3, false), (Revision::V3, true), (Revision::V4, false)] {
            let form = Form::new(revision, Transport::Polling, base64);
            let messages: Vec<_> = packets.iter().flat_map(|packet| packet.encode().packets(form)).collect();
            let mut decoder = Decoder::new(Protocol::from(revision));
            let mut back = Vec::new();
            let mut rest = &messages[..];
            for size in sizes.iter().cycle() {
                let (body, after) = rest.split_at((*size).min(rest.len()));
                decode_body(revision, body, |packet| {
                    back.extend(decoder.message(packet.data(), &Limits::default()).unwrap());
                });
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(&back, &packets);
        }
    }

    #[test]
    fn engine_packets_come_back(packets in vec(any::engine_packet(), 1..5)) {
        for form in FORMS {
            let messages: Vec<_> = packets.iter().map(|packet| packet.packet().encode(form)).collect();
            for (packet, message) in packets.iter().zip(&messages) {
                prop_assert_eq!(decode_message(form.revision, message), packet.packet());
            }
            // Polling of revision 4 has base64 only.
            if form != (Form { revision: Revision::V4, base64: false }) {
                let mut at = 0;
                decode_body(form.revision, &messages, |packet| {
                    assert_eq!(packet, packets[at].packet());
                    at += 1;
                });
                prop_assert_eq!(at, packets.len());
            }
        }
    }

    #[test]
    fn values_come_back(values in vec(any::value(), 0..4)) {
        let mut arguments = longwire_socketio::Arguments::new();
        values.iter().for_each(|value| arguments.push(value).unwrap());
        prop_assert_eq!(arguments.values().unwrap(), values.clone());
        prop_assert_eq!(arguments.read::<Vec<Value>>().unwrap(), values);
    }

    #[test]
    fn any_text_is_a_packet_or_an_error(text in any::text()) {
        read_text(&text);
    }

    #[test]
    fn almost_a_packet_is_one_or_an_error(text in r#"[0-7]([0-9]{0,2}-)?(/[a-z?=]{0,3},?)?[0-9]{0,3}(\[("(a|connect)"|1|null|\{"_placeholder":true,"num":[0-2]\}|,){0,4}\]|\{\})?"#) {
        read_text(&text);
    }

    #[test]
    fn a_packet_with_a_character_changed_is_one_or_an_error(packet in any::packet(), at in any::<prop::sample::Index>(), by in any::<char>()) {
        let text = packet.encode().text().clone();
        let mut text: Vec<char> = std::str::from_utf8(&text).unwrap().chars().skip(1).collect();
        let at = at.index(text.len());
        text[at] = by;
        read_text(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_bytes_are_a_payload_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        read_body(&bytes);
    }

    #[test]
    fn almost_a_payload_is_one_or_an_error(text in "([0-9]{0,2}:)?[0-7b][0-4]?[a-zA-Z=🦀\u{1e}:]{0,6}([0-9]:[0-7b]{0,2})?", bytes in "[\u{0}-\u{a}]{1,4}", more in vec(prop_oneof![0_u8..10, Just(255), any::<u8>()], 0..20)) {
        read_body(text.as_bytes());
        let mut bytes = bytes.into_bytes();
        bytes.push(255);
        bytes.extend(more);
        read_body(&bytes);
    }

    #[test]
    fn any_query_is_taken_apart(query in any::text(), escaped in "[a-c&=%+0-9A-F]{0,30}") {
        for query in [query, escaped] {
            pairs(&query).for_each(drop);
            let _ = Query::parse(&query, &Accepted::default());
            let _ = Query::parse(&format!("transport=polling&{query}"), &Accepted::default());
        }
    }

    #[test]
    fn handshakes_come_back(sid in any::text(), upgrades_to_websocket: bool, times in any::<[u32; 2]>(), max_payload: u32) {
        let [ping_interval, ping_timeout] = times.map(|millis| std::time::Duration::from_millis(millis.into()));
        let handshake =
            Handshake { sid: sid.into(), upgrades_to_websocket, ping_interval, ping_timeout, max_payload: max_payload as usize };
        let encoded = handshake.encode();
        let packet = decode_message(Revision::V4, &encoded);
        let engine::Data::Text(text) = packet.data() else { panic!("{packet:?}") };
        prop_assert_eq!(Handshake::decode(text), Ok(handshake.clone()));
    }
}

/// Reads a text in both protocols, and gives as many parts as it asks for. What is read can be written and read again, and is the
/// same then.
fn read_text(text: &str) {
    let limits = Limits::default();
    for protocol in [Protocol::V4, Protocol::V5] {
        let mut decoder = Decoder::new(protocol);
        let mut read = decoder.text(text, &limits);
        while decoder.expects_attachment() {
            assert_eq!(read, Ok(None));
            read = decoder.binary(Bytes::from_static(b"part"), &limits);
        }
        let Ok(packet) = read else { continue };
        let packet = packet.expect("nothing is missing");
        assert_eq!(again(protocol, &packet), packet, "{text}");
    }
}

fn again(protocol: Protocol, packet: &Packet) -> Packet {
    let mut decoder = Decoder::new(protocol);
    let mut back = None;
    for message in packet.encode().packets(Form { revision: Revision::V4, base64: false }) {
        assert_eq!(back, None);
        back = decoder.message(decode_message(Revision::V4, &message).data(), &Limits::default()).unwrap();
    }
    back.expect("it is whole")
}

/// Reads a body in every way there is. What is read can be written and read again, and is the same then.
fn read_body(bytes: &[u8]) {
    for (revision, content) in [(Revision::V3, Content::Text), (Revision::V3, Content::Binary), (Revision::V4, Content::Text)] {
        let Ok(packets) = payload::decode(revision, content, bytes, &PayloadLimits::default()) else { continue };
        let packets: Vec<_> = packets.map_while(Result::ok).collect();
        if packets.is_empty() {
            continue;
        }
        let form = Form::new(revision, Transport::Polling, false);
        let messages: Vec<_> = packets.iter().map(|packet| packet.encode(form)).collect();
        let mut back = packets.iter();
        decode_body(revision, &messages, |packet| assert_eq!(Some(&packet), back.next()));
        assert_eq!(back.next(), None);
    }
}
