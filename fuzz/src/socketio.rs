//! What holds of Engine.IO and Socket.IO whatever bytes come.

use longwire_socketio::engine::payload::{self, Content, PayloadError, PayloadLimits};
use longwire_socketio::engine::{Accepted, Data, EncodedPacket, Form, Handshake, Packet, Query, Revision, Transport, Upgrade};
use longwire_socketio::{Decoder, Limits, Packet as SocketPacket, Protocol};

use crate::Reader;

const FORMS: [Form; Form::COUNT] = [
    Form { revision: Revision::V3, base64: false },
    Form { revision: Revision::V3, base64: true },
    Form { revision: Revision::V4, base64: false },
    Form { revision: Revision::V4, base64: true },
];

/// Messages of one session, each behind a byte 255, which no text has: binary if a byte 0 comes first, text else. Before them
/// a byte: 1 protocol 4, 2 small limits.
pub fn check_packets(input: &[u8]) {
    let mut reader = Reader(input);
    let flags = reader.byte();
    let revision = if flags & 1 != 0 { Revision::V3 } else { Revision::V4 };
    let limits = if flags & 2 != 0 {
        Limits { max_namespace_bytes: 6, max_query_bytes: 6, max_attachments: 2, max_attachments_bytes: 9, max_depth: 4 }
    } else {
        Limits::default()
    };
    let mut decoder = Decoder::new(revision.into());
    for message in reader.0.split(|&byte| byte == 255) {
        let data = match message {
            [0, bytes @ ..] => Data::Binary(bytes.into()),
            text => match std::str::from_utf8(text) {
                Ok(text) => Data::Text(text),
                Err(_) => return,
            },
        };
        match decoder.message(&data, &limits) {
            Ok(Some(packet)) => check_packet(revision.into(), &packet, &limits),
            Ok(None) => assert!(decoder.expects_attachment()),
            Err(_) => {
                assert!(!decoder.expects_attachment());
                return;
            }
        }
    }
}

fn check_packet(protocol: Protocol, packet: &SocketPacket, limits: &Limits) {
    assert!(packet.namespace().as_str().len() <= limits.max_namespace_bytes.max(1));
    if let SocketPacket::Event { arguments, .. } | SocketPacket::Ack { arguments, .. } = packet {
        let parts = arguments.attachments();
        assert!(parts.len() <= limits.max_attachments);
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= limits.max_attachments_bytes);
        // With parts, they have been read once already, for their placeholders.
        assert!(arguments.values().is_ok() || parts.is_empty());
        assert!(arguments.event_name().is_some() || matches!(packet, SocketPacket::Ack { .. }));
    }
    let encoded = packet.encode();
    for form in FORMS {
        let mut decoder = Decoder::new(protocol);
        let mut back = None;
        for message in encoded.packets(form) {
            assert_eq!(back, None, "the last message ends it");
            let data = read(form.revision, &message);
            back = decoder.message(data.data(), limits).expect("what was read can be read again");
        }
        assert_eq!(back.as_ref(), Some(packet));
    }
}

fn read(revision: Revision, message: &EncodedPacket) -> Packet<'_> {
    let read = match message {
        EncodedPacket::Text(text) => Packet::decode_text(revision, std::str::from_utf8(text).expect("a text is UTF-8")),
        EncodedPacket::Binary(bytes) => Packet::decode_binary(revision, bytes),
    };
    read.expect("it is a packet")
}

/// A body, and before it a byte: 1 revision 3, 2 binary, 4 small limits.
pub fn check_payload(input: &[u8]) {
    let mut reader = Reader(input);
    let flags = reader.byte();
    let revision = if flags & 1 != 0 { Revision::V3 } else { Revision::V4 };
    let content = if flags & 2 != 0 { Content::Binary } else { Content::Text };
    let limits = if flags & 4 != 0 { PayloadLimits { max_bytes: 100, max_packets: 3 } } else { PayloadLimits::default() };
    let body = reader.0;
    if let Ok(text) = std::str::from_utf8(body) {
        check_text(revision, text);
    }
    let packets = match payload::decode(revision, content, body, &limits) {
        Ok(packets) => packets,
        Err(PayloadError::TooBig { limit }) => return assert!(body.len() > limit),
        Err(_) => return,
    };
    let mut upgrade = Upgrade::default();
    let mut read = Vec::new();
    let mut failed = false;
    for packet in packets {
        assert!(!failed, "nothing comes after an error");
        match packet {
            Ok(packet) => {
                if !upgrade.has_candidate() {
                    let opened = upgrade.candidate_opened();
                    assert_eq!(opened.is_err(), upgrade.is_done());
                }
                if upgrade.has_candidate() {
                    upgrade.candidate_packet(&packet);
                }
                read.push(packet);
            }
            Err(_) => failed = true,
        }
    }
    assert!(read.len() <= limits.max_packets);
    for wants_base64 in [false, true] {
        check_again(Form::new(revision, Transport::Polling, wants_base64), &read);
    }
}

fn check_again(form: Form, packets: &[Packet<'_>]) {
    // No packets are no payload of revision 4.
    if packets.is_empty() && form.revision == Revision::V4 {
        return;
    }
    let encoded: Vec<_> = packets.iter().map(|packet| packet.encode(form)).collect();
    let body = payload::encode(form.revision, &encoded);
    let limits = PayloadLimits { max_bytes: usize::MAX, ..PayloadLimits::default() };
    let back = payload::decode(form.revision, body.content, &body.bytes, &limits).expect("what was read can be written");
    let back: Vec<_> = back.collect::<Result<_, _>>().expect("and be read again");
    // A text of a binary body may have U+001E, but that is of revision 3, where it divides nothing.
    assert_eq!(back, packets);
}

fn check_text(revision: Revision, text: &str) {
    if let Ok(packet) = Packet::decode_text(revision, text) {
        let form = Form::new(revision, Transport::WebSocket, false);
        assert_eq!(read(revision, &packet.encode(form)), packet);
    }
    if let Ok(handshake) = Handshake::decode(text) {
        let encoded = handshake.encode();
        let Data::Text(text) = *read(revision, &encoded).data() else { panic!("it is a text") };
        assert_eq!(Handshake::decode(text), Ok(handshake));
    }
    if let Ok(query) = Query::parse(text, &Accepted::default()) {
        assert!(query.sid().is_none_or(|sid| !sid.is_empty()));
    }
}
