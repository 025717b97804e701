//! Packets of Socket.IO without binary parts.

use longwire_socketio::{
    Arguments, DecodeError, Decoder, InvalidNamespace, Json, Limits, Namespace, Packet, Protocol, RESERVED_EVENTS, pairs,
};

fn decode(protocol: Protocol, text: &str) -> Result<Packet, DecodeError> {
    let packet = Decoder::new(protocol).text(text, &Limits::default())?;
    Ok(packet.expect("it announces no attachments"))
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text, 100).unwrap()
}

fn event(name: &str, values: &[&str]) -> Arguments {
    let mut arguments = Arguments::event(name);
    values.iter().for_each(|value| arguments.push_json(value));
    arguments
}

#[test]
fn packets_that_are_written_as_they_are_read() {
    let ack = |values: &[&str]| {
        let mut arguments = Arguments::new();
        values.iter().for_each(|value| arguments.push_json(value));
        arguments
    };
    let cases = [
        ("0", Packet::Connect { namespace: Namespace::ROOT, query: None, data: None }),
        (
            r#"0{"token":"123"}"#,
            Packet::Connect { namespace: Namespace::ROOT, query: None, data: Some(json(r#"{"token":"123"}"#)) },
        ),
        ("0/custom,", Packet::Connect { namespace: namespace("/custom"), query: None, data: None }),
        (
            r#"0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#,
            Packet::connected(Protocol::V5, namespace("/admin"), "oSO0OpakMV_3jnilAAAA", None),
        ),
        (r#"0{"sid":"S","pid":"P"}"#, Packet::connected(Protocol::V5, Namespace::ROOT, "S", Some("P"))),
        ("1", Packet::Disconnect { namespace: Namespace::ROOT }),
        ("1/admin,", Packet::Disconnect { namespace: namespace("/admin") }),
        (r#"2["foo"]"#, Packet::Event { namespace: Namespace::ROOT, id: None, arguments: event("foo", &[]) }),
        (r#"2["hello",1]"#, Packet::Event { namespace: Namespace::ROOT, id: None, arguments: event("hello", &["1"]) }),
        (r#"2/admin,["bar"]"#, Packet::Event { namespace: namespace("/admin"), id: None, arguments: event("bar", &[]) }),
        (r#"212["foo"]"#, Packet::Event { namespace: Namespace::ROOT, id: Some(12), arguments: event("foo", &[]) }),
        (
            r#"2/admin,456["project:delete",123]"#,
            Packet::Event { namespace: namespace("/admin"), id: Some(456), arguments: event("project:delete", &["123"]) },
        ),
        (r#"3/admin,456[]"#, Packet::Ack { namespace: namespace("/admin"), id: 456, arguments: ack(&[]) }),
        (
            r#"30["bar",{"a":[]}]"#,
            Packet::Ack { namespace: Namespace::ROOT, id: 0, arguments: ack(&[r#""bar""#, r#"{"a":[]}"#]) },
        ),
        (r#"4{"message":"Not authorized"}"#, Packet::refused(Protocol::V5, Namespace::ROOT, "Not authorized", None)),
        (
            r#"4/chat,{"message":"no","data":{"retry":1}}"#,
            Packet::refused(Protocol::V5, namespace("/chat"), "no", Some(&json(r#"{"retry":1}"#))),
        ),
        (r#"4/random,{"message":"Invalid namespace"}"#, Packet::invalid_namespace(namespace("/random"))),
    ];
    for (text, packet) in cases {
        for protocol in [Protocol::V4, Protocol::V5] {
            assert_eq!(decode(protocol, text).as_ref(), Ok(&packet), "{text}");
        }
        let encoded = packet.encode();
        assert!(encoded.is_text_only());
        assert_eq!(encoded.text(), &format!("4{text}"));
    }
}

#[test]
fn packets_that_are_read_but_written_otherwise() {
    for (text, written) in [
        ("0/custom", "0/custom,"),
        ("0/,{}", "0{}"),
        ("31", "31[]"),
        (r#"2007["a"]"#, r#"27["a"]"#),
        ("2[\"a\"]\n", r#"2["a"]"#),
        ("2[ \"a\" ]", "2[ \"a\" ]"),
    ] {
        let packet = decode(Protocol::V5, text).unwrap();
        assert_eq!(packet.encode().text(), &format!("4{written}"));
    }
}

#[test]
fn protocol_4_has_queries_in_namespaces_and_texts_for_errors() {
    let packet = decode(Protocol::V4, "0/custom?token=x%2Cy&a=b,").unwrap();
    let Packet::Connect { namespace: custom, query: Some(query), data: None } = &packet else { panic!("{packet:?}") };
    assert_eq!(custom.as_str(), "/custom");
    assert_eq!(pairs(query).collect::<Vec<_>>(), [("token".into(), "x,y".into()), ("a".into(), "b".into())]);
    assert_eq!(packet.encode().text(), "40/custom?token=x%2Cy&a=b,");
    // Other packets are of the same namespace, with or without a query.
    let packet = decode(Protocol::V4, r#"2/custom?token=x,["a"]"#).unwrap();
    assert_eq!(packet, Packet::Event { namespace: custom.clone(), id: None, arguments: event("a", &[]) });
    assert_eq!(decode(Protocol::V4, "0/custom?a\u{1e}b,"), Err(DecodeError::InvalidNamespace));
    // In protocol 5 it is a part of the name.
    assert_eq!(decode(Protocol::V5, "0/custom?token=x,").unwrap().namespace().as_str(), "/custom?token=x");

    let text = |packet: &Packet| String::from_utf8(packet.encode().text().to_vec()).unwrap();
    let refused = |data| text(&Packet::refused(Protocol::V4, custom.clone(), "no \"entry\"", data));
    assert_eq!(refused(None), r#"44/custom,"no \"entry\"""#);
    assert_eq!(refused(Some(&json(r#"{"retry":1}"#))), r#"44/custom,{"retry":1}"#);
    assert_eq!(text(&Packet::connected(Protocol::V4, Namespace::ROOT, "S", Some("P"))), "40");
    assert!(Protocol::V4.joins_root_by_itself() && !Protocol::V5.joins_root_by_itself());
}

#[test]
fn what_is_no_packet_is_refused() {
    use DecodeError::{
        AckIdTooLarge, AttachmentCount, Empty, InvalidNamespace, MissingAckId, MissingPayload, NoEventName, NotAnArray,
        NotAnError, NotAnObject, NotJson, ReservedEvent, UnexpectedAckId, UnexpectedPayload, UnknownKind,
    };
    for (text, error) in [
        ("", Empty),
        ("abc", UnknownKind),
        ("7", UnknownKind),
        ("é", UnknownKind),
        ("2", MissingPayload),
        ("2/admin,", MissingPayload),
        ("2/admin,1", MissingPayload),
        ("2{}", NotAnArray),
        ("2null", NotAnArray),
        ("2abc[\"a\"]", NotJson),
        ("2 [\"a\"]", NotAnArray),
        ("2-1[\"a\"]", NotJson),
        ("2[", NotJson),
        ("2[\"a\"]]", NotJson),
        ("2[\"a\",]", NotJson),
        ("2[\"a\u{1}\"]", NotJson),
        ("2[]", NoEventName),
        ("2[null]", NoEventName),
        ("2[[\"a\"]]", NoEventName),
        ("2[{\"a\":1}]", NoEventName),
        ("2[true]", NoEventName),
        ("2[\"connect\"]", ReservedEvent),
        ("2[\"disconn\\u0065ct\",1]", ReservedEvent),
        ("29007199254740992[\"a\"]", AckIdTooLarge),
        ("299999999999999999999[\"a\"]", AckIdTooLarge),
        ("0/a\u{1e}b,", InvalidNamespace),
        ("3[]", MissingAckId),
        ("31{}", NotAnArray),
        ("0[]", NotAnObject),
        ("0\"a\"", NotAnObject),
        ("0{", NotJson),
        ("01{}", UnexpectedAckId),
        ("1{}", UnexpectedPayload),
        ("11", UnexpectedAckId),
        ("4", MissingPayload),
        ("4[]", NotAnError),
        ("4null", NotAnError),
        ("5[\"a\"]", AttachmentCount),
        ("5", AttachmentCount),
        ("5-[\"a\"]", AttachmentCount),
        ("50-[\"a\"]", AttachmentCount),
        ("5000-[\"a\"]", AttachmentCount),
        ("51[\"a\"]", AttachmentCount),
        ("51.0-[\"a\"]", AttachmentCount),
        ("5x-[\"a\"]", AttachmentCount),
        ("5-1-[\"a\"]", AttachmentCount),
        ("51-", MissingPayload),
        ("51-{}", NotAnArray),
        ("51-[1,", NotJson),
        ("61-[]", MissingAckId),
        ("51-[]", NoEventName),
        ("51-[\"connect\"]", ReservedEvent),
    ] {
        assert_eq!(decode(Protocol::V5, text), Err(error), "{text:?}");
    }
    for name in RESERVED_EVENTS {
        assert_eq!(decode(Protocol::V5, &format!(r#"2["{name}"]"#)), Err(ReservedEvent));
    }
}

#[test]
fn an_event_may_have_a_number_for_a_name() {
    let packet = decode(Protocol::V5, r#"2[-1.5,"a"]"#).unwrap();
    let Packet::Event { arguments, .. } = packet else { panic!("{packet:?}") };
    assert_eq!(arguments.event_name().as_deref(), Some("-1.5"));
}

#[test]
fn the_largest_ack_id_is_what_javascript_counts_to() {
    let packet = decode(Protocol::V5, "29007199254740991[\"a\"]").unwrap();
    assert!(matches!(packet, Packet::Event { id: Some(0x1F_FFFF_FFFF_FFFF), .. }));
}

#[test]
fn what_goes_past_a_limit_is_refused() {
    let limits = Limits { max_namespace_bytes: 4, max_query_bytes: 3, max_attachments: 2, max_depth: 3, ..Limits::default() };
    let read = |protocol, text: &str| Decoder::new(protocol).text(text, &limits);
    assert!(read(Protocol::V4, "0/abc?d=e,").is_ok());
    assert_eq!(read(Protocol::V4, "0/abc?d=ef,"), Err(DecodeError::QueryTooLong { limit: 3 }));
    assert_eq!(read(Protocol::V5, "0/abcd,"), Err(DecodeError::NamespaceTooLong { limit: 4 }));
    assert_eq!(read(Protocol::V5, "53-[\"a\"]"), Err(DecodeError::TooManyAttachments { limit: 2 }));
    let huge = format!("5{}-[]", "9".repeat(100));
    assert_eq!(read(Protocol::V5, &huge), Err(DecodeError::TooManyAttachments { limit: 2 }));
    assert!(read(Protocol::V5, r#"2["a[[[[{{{{",{"b":[]}]"#).is_ok());
    assert_eq!(read(Protocol::V5, r#"2["a",{"b":[{}]}]"#), Err(DecodeError::TooDeep { limit: 3 }));
    let deep = "[".repeat(1_000_000);
    assert_eq!(read(Protocol::V5, &format!("2{deep}")), Err(DecodeError::TooDeep { limit: 3 }));
}

#[test]
fn names_of_namespaces() {
    assert_eq!(Namespace::new("/"), Ok(Namespace::ROOT));
    assert!(Namespace::default().is_root());
    assert_eq!(namespace("/a b").to_string(), "/a b");
    for wrong in ["", "a", "/a,b", "/a\u{1e}b"] {
        assert_eq!(Namespace::new(wrong), Err(InvalidNamespace));
    }
}
