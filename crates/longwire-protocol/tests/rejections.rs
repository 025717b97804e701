//! Every way in which a command can be wrong, in JSON and in the binary form: the code, the words, the id and the channel.

use longwire_protocol::*;

/// The code's name, the message, and what is known of the id and the channel.
fn rejected(result: Result<Command, Rejected>) -> (&'static str, String, Option<u32>, Option<String>) {
    let Rejected { id, error } = result.expect_err("it must be rejected");
    (error.code.name(), error.message.into(), id, error.channel.map(|name| name.as_ref().to_owned()))
}

/// A line with id 7 and a channel, whose members after those are given.
fn of(kind: &str, members: &str) -> String {
    format!(r#"{{"type":"{kind}","id":7,"channel":"a:b"{members}}}"#)
}

#[track_caller]
fn bad_value(kind: &str, members: &str, words: &str) {
    let (code, message, id, channel) = rejected(json::decode_command(of(kind, members).as_bytes()));
    assert_eq!((code, &*message, id, channel.as_deref()), ("bad_value", words, Some(7), Some("a:b")), "{kind} {members}");
}

#[test]
fn lines_that_are_no_json_objects() {
    for line in [
        "",
        "hello",
        "[]",
        "7",
        "null",
        "\"x\"",
        "{",
        "{}}",
        "{\"type\"}",
        "{'type':1}",
        "\u{feff}{}",
        "{\"a\":nan}",
        "{\"a\":01}",
    ] {
        let (code, message, id, channel) = rejected(json::decode_command(line.as_bytes()));
        assert!(message.starts_with("a command is no JSON object: "), "{line}: {message}");
        assert_eq!((code, id, channel), ("bad_message", None, None), "{line}");
    }
    assert_eq!(rejected(json::decode_command(b"{\"\xff\":1}")).0, "bad_message");
    assert_eq!(rejected(json::decode_command(b"{\"a\":\"\xff\"}")).0, "bad_message");
}

#[test]
fn the_id_and_the_channel_are_known_as_far_as_the_line_could_be_read() {
    let (code, _, id, channel) = rejected(json::decode_command(br#"{"id":9,"channel":"a:b","type":"publish","data":}"#));
    assert_eq!((code, id, channel.as_deref()), ("bad_message", Some(9), Some("a:b")));
    let (_, _, id, _) = rejected(json::decode_command(br#"{"data":tru,"id":9}"#));
    assert_eq!(id, None);
}

#[test]
fn ids_that_are_none() {
    for id in ["0", "-1", "1.0", "1e3", "4294967296", "99999999999999999999999999", "\"1\"", "true", "[1]", "{}"] {
        let (code, message, id, _) = rejected(json::decode_command(format!(r#"{{"type":"ping","id":{id}}}"#).as_bytes()));
        assert_eq!((code, id), ("bad_message", None));
        assert_eq!(message, "member id of a command must be a whole number from 1 to 4294967295");
    }
}

#[test]
fn types_that_are_none() {
    for (line, words) in [
        (r#"{"id":7}"#, "member type of a command is missing"),
        (r#"{"id":7,"type":null}"#, "member type of a command is missing"),
        (r#"{"id":7,"type":5}"#, "member type of a command must be a text"),
        (r#"{"id":7,"type":"Ping"}"#, "there is no command 'Ping'"),
    ] {
        assert_eq!(rejected(json::decode_command(line.as_bytes())), ("bad_message", words.to_owned(), Some(7), None));
    }
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(1000));
    assert_eq!(rejected(json::decode_command(long.as_bytes())).1, format!("there is no command '{}'", "é".repeat(40)));
}

#[test]
fn members_that_are_missing() {
    for kind in ["subscribe", "unsubscribe", "publish", "append", "cancel", "history", "presence", "state"] {
        let line = format!(r#"{{"type":"{kind}","id":7}}"#);
        let words = format!("member channel of {kind} is missing");
        assert_eq!(rejected(json::decode_command(line.as_bytes())), ("bad_message", words, Some(7), None));
    }
    for kind in ["append", "cancel"] {
        let words = format!("member stream of {kind} is missing");
        assert_eq!(
            rejected(json::decode_command(of(kind, "").as_bytes())),
            ("bad_message", words, Some(7), Some("a:b".to_owned()))
        );
    }
    assert_eq!(rejected(json::decode_command(br#"{"type":"refresh"}"#)).1, "member token of refresh is missing");
}

#[test]
fn names_that_no_channel_has() {
    let long = format!("\"{}\"", "x".repeat(256));
    for (name, words) in [
        ("\"\"", "member channel is empty"),
        (&*long, "member channel is longer than 255 bytes"),
        (r#""a\nb""#, "member channel has a control character"),
        (r#""a\u007f""#, "member channel has a control character"),
        (r#""a\u0085""#, "member channel has a control character"),
        ("5", "member channel of subscribe must be a text"),
        (r#""\ud800""#, "member channel of subscribe must be a text"),
    ] {
        let line = format!(r#"{{"type":"subscribe","id":7,"channel":{name}}}"#);
        assert_eq!(rejected(json::decode_command(line.as_bytes())), ("bad_channel", words.to_owned(), Some(7), None), "{name}");
    }
    let longest = format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "é".repeat(127) + "x");
    assert!(json::decode_command(longest.as_bytes()).is_ok());
}

#[test]
fn connect() {
    let bad = |members: &str, words: &str| {
        let line = format!(r#"{{"type":"connect","id":7{members}}}"#);
        assert_eq!(rejected(json::decode_command(line.as_bytes())), ("bad_value", words.to_owned(), Some(7), None));
    };
    bad(r#","token":1"#, "member token of connect must be a text");
    bad(r#","session":"AAAAAAAAAAAAAAAA""#, "connect takes session and key together, or none of them");
    bad(r#","key":"k""#, "connect takes session and key together, or none of them");
    bad(
        &format!(r#","session":"x","info":"{}","key":"k""#, "x".repeat(1023)),
        "member info of connect must have at most 1024 bytes",
    );
    let key = "k".repeat(256);
    bad(&format!(r#","session":"AAAAAAAAAAAAAAAA","key":"{key}""#), "member key of connect must have 0 to 255 bytes, not 256");
    let longest = format!(r#"{{"type":"connect","info":"{}"}}"#, "x".repeat(1022));
    assert!(json::decode_command(longest.as_bytes()).is_ok());
}

#[test]
fn subscribe() {
    let both = "subscribe takes epoch and offset together, or none of them";
    bad_value("subscribe", r#","offset":1"#, both);
    bad_value("subscribe", r#","epoch":"00000001""#, both);
    bad_value("subscribe", r#","epoch":1,"offset":1"#, "member epoch of subscribe must be a text");
    for offset in ["-1", "1.5", "1e2", "18446744073709551616", "\"1\"", "[]"] {
        let members = format!(r#","epoch":"00000001","offset":{offset}"#);
        bad_value("subscribe", &members, "member offset of subscribe must be a whole number from 0");
    }
    bad_value("subscribe", r#","last":4294967296"#, "member last of subscribe must be a whole number from 0 to 4294967295");
    bad_value("subscribe", r#","state":1"#, "member state of subscribe must be true or false");
    bad_value("subscribe", r#","members":"true""#, "member members of subscribe must be true or false");
}

#[test]
fn publish() {
    bad_value("publish", r#","data":1,"bytes":"AA==""#, "publish takes data or bytes, not both");
    for bytes in ["\"A\"", "\"AA=A\"", "\"-_-_\"", "\"AB==\"", "\" AA==\""] {
        bad_value("publish", &format!(r#","bytes":{bytes}"#), "member bytes of publish must be base64");
    }
    bad_value("publish", r#","bytes":[1]"#, "member bytes of publish must be a text");
    let deep = format!(r#","data":{}{}"#, "[".repeat(65), "]".repeat(65));
    bad_value("publish", &deep, "member data of publish must be simpler: JSON nests at most 64 deep");
    for (name, max) in [("event", 255), ("key", 255), ("once", 64)] {
        bad_value(
            "publish",
            &format!(r#","{name}":"""#),
            &format!("member {name} of publish must have 1 to {max} bytes, not 0"),
        );
        let words = format!("member {name} of publish must have 1 to {max} bytes, not {}", max + 1);
        bad_value("publish", &format!(r#","{name}":"{}""#, "x".repeat(max + 1)), &words);
        bad_value("publish", &format!(r#","{name}":7"#), &format!("member {name} of publish must be a text"));
        let longest = of("publish", &format!(r#","{name}":"{}""#, "x".repeat(max)));
        assert!(json::decode_command(longest.as_bytes()).is_ok());
    }
    bad_value("publish", r#","remove":true"#, "publish with remove needs a key");
    bad_value("publish", r#","remove":true,"key":"k","data":null"#, "publish with remove takes no data");
    bad_value("publish", r#","remove":true,"key":"k","bytes":"""#, "publish with remove takes no data");
    let ephemeral = "publish takes key or ephemeral, not both: a key's value has an offset";
    bad_value("publish", r#","key":"k","ephemeral":true"#, ephemeral);
    bad_value("publish", r#","key":"k","stream":true"#, "publish takes key or stream, not both");
    let stream = "publish takes stream or ephemeral, not both: a stream is named by its offset";
    bad_value("publish", r#","ephemeral":true,"stream":true"#, stream);
    bad_value("publish", r#","stream":true,"data":[]"#, "member data of publish must be a text");
    bad_value("publish", r#","stream":true,"bytes":"AA==""#, "the data of a stream must be a text");
    bad_value("publish", r#","age":5"#, "publish with age needs once");
    bad_value("publish", r#","once":"x","age":-1"#, "member age of publish must be a whole number from 0");
    bad_value("publish", r#","echo":"no""#, "member echo of publish must be true or false");
}

#[test]
fn tags() {
    let words = "member tags of publish must be an object of texts";
    for tags in ["[]", "1", r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":{"b":"c"}}"#] {
        bad_value("publish", &format!(r#","tags":{tags}"#), words);
    }
    let many: Vec<_> = (0..17).map(|n| format!(r#""t{n}":"""#)).collect();
    bad_value("publish", &format!(r#","tags":{{{}}}"#, many.join(",")), "member tags of publish must have at most 16 members");
    let most = of("publish", &format!(r#","tags":{{{}}}"#, many[..16].join(",")));
    assert!(json::decode_command(most.as_bytes()).is_ok());
    let name = "member tags of publish: a name in it must have 1 to 255 bytes, not 0";
    bad_value("publish", r#","tags":{"":"x"}"#, name);
    let text = "member tags of publish: a text in it must have 0 to 255 bytes, not 256";
    bad_value("publish", &format!(r#","tags":{{"a":"{}"}}"#, "x".repeat(256)), text);
}

#[test]
fn append_and_cancel() {
    for kind in ["append", "cancel"] {
        bad_value(kind, r#","stream":0"#, &format!("member stream of {kind} must be an offset, from 1"));
        bad_value(kind, r#","stream":true"#, &format!("member stream of {kind} must be a whole number from 0"));
    }
    bad_value("append", r#","stream":1,"data":1"#, "member data of append must be a text");
    bad_value("append", r#","stream":1,"data":"\ud800""#, "member data of append must be a text");
    bad_value("append", r#","stream":1,"at":-1"#, "member at of append must be a whole number from 0");
    let ends = "member end of append must be finished, failed or cancelled";
    bad_value("append", r#","stream":1,"end":"lost""#, ends);
    bad_value("append", r#","stream":1,"end":"over""#, ends);
    bad_value("append", r#","stream":1,"reason":"r""#, "append with reason needs end");
    let long = format!(r#","stream":1,"end":"failed","reason":"{}""#, "x".repeat(1025));
    bad_value("append", &long, "member reason of append must have 0 to 1024 bytes, not 1025");
}

#[test]
fn history_presence_and_state() {
    bad_value("history", r#","after":1,"before":9"#, "history takes after or before, not both");
    bad_value("history", r#","limit":101"#, "member limit of history must be a whole number from 0 to 100");
    bad_value("history", r#","before":"9""#, "member before of history must be a whole number from 0");
    for kind in ["presence", "state"] {
        let words = format!("member limit of {kind} must be a whole number from 0 to 1000");
        bad_value(kind, r#","limit":1001"#, &words);
    }
    bad_value("presence", r#","after":"nobody""#, "member after of presence must be the id of a session");
    bad_value("state", r#","after":"""#, "member after of state must have 1 to 255 bytes, not 0");
}

/// A binary command with id 7.
fn binary(number: u8, fields: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, 7, number << 3 | 2, fields.len() as u8];
    bytes.extend_from_slice(fields);
    bytes
}

#[track_caller]
fn bad_binary(number: u8, fields: &[u8], code: &str, words: &str, channel: Option<&str>) {
    let (other, message, id, at) = rejected(binary::decode_command(&binary(number, fields)));
    assert_eq!((other, &*message, id, at.as_deref()), (code, words, Some(7), channel));
}

#[test]
fn bytes_that_are_no_commands() {
    let cut = "a command is not in the encoding of Protocol Buffers, or cut short";
    for (bytes, words) in [
        (&b""[..], "there is no command that this server knows"),
        (&[0x08], cut),
        (&[0x00], cut),
        (&[0x0b], cut),
        (&[0x62, 5, 0], cut),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], cut),
        (&[0xfa, 0xff, 0xff, 0xff, 0xff, 0x01, 0], cut),
        (&[0x0a, 0], "field 1 of a command must be a varint"),
        (&[0x08, 0x80, 0x80, 0x80, 0x80, 0x10], "field 1 of a command must be at most 4294967295"),
        (&[0xfa, 0x06, 0], "there is no command that this server knows"),
        (&[0x60, 0], "field 12 of a command must be of a type with a length"),
    ] {
        assert_eq!(rejected(binary::decode_command(bytes)), ("bad_message", words.to_owned(), None, None), "{bytes:?}");
    }
}

#[test]
fn binary_values_that_are_not_allowed() {
    let utf8 = "field 1 of subscribe must be UTF-8";
    bad_binary(3, &[0x0a, 1, 0xff], "bad_channel", utf8, None);
    bad_binary(3, &[], "bad_channel", "member channel is empty", None);
    let at = [0x0a, 1, b'c'];
    let with = |fields: &[u8]| [&at[..], fields].concat();
    let channel = Some("c");
    bad_binary(
        3,
        &with(&[0x18, 0x80, 0x80, 0x80, 0x80, 0x10]),
        "bad_value",
        "field 3 of subscribe must be at most 4294967295",
        channel,
    );
    bad_binary(3, &with(&[0x22, 0]), "bad_message", "field 4 of subscribe must be a varint", channel);
    bad_binary(3, &with(&[0x12]), "bad_message", "subscribe is not in the encoding of Protocol Buffers, or cut short", channel);
    let json = "field 2 of publish must be JSON: ";
    let (code, message, ..) = rejected(binary::decode_command(&binary(5, &with(&[0x12, 1, b'{']))));
    assert!(code == "bad_value" && message.starts_with(json), "{message}");
    bad_binary(5, &with(&[0x1a, 1, 0xff]), "bad_value", "field 3 of publish must be UTF-8", channel);
    bad_binary(5, &with(&[0x60, 1, 0x12, 1, b'1']), "bad_value", "the data of a stream must be a text", channel);
    bad_binary(5, &with(&[0x2a, 0]), "bad_value", "member event of publish must have 1 to 255 bytes, not 0", channel);
    bad_binary(6, &with(&[]), "bad_value", "member stream of append must be an offset, from 1", channel);
    bad_binary(6, &with(&[0x10, 1, 0x28, 5]), "bad_value", "field 5 of append must be a value of its enum", channel);
    bad_binary(
        6,
        &with(&[0x10, 1, 0x28, 4]),
        "bad_value",
        "member end of append must be finished, failed or cancelled",
        channel,
    );
    bad_binary(9, &with(&[0x1a, 1, 0]), "bad_value", "field 3 of presence must be the id of a session, 12 bytes", channel);
    bad_binary(2, &[0x22, 1, b'k'], "bad_value", "connect takes session and key together, or none of them", None);
    let info = "field 2 of connect must be JSON: EOF while parsing a value at line 1 column 0";
    bad_binary(2, &[0x12, 0], "bad_value", info, None);
    bad_binary(11, &[], "bad_message", "field 1 of refresh is missing", None);
}
