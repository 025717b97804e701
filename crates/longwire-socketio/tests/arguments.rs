//! Writing and reading what events and acks carry.

use std::collections::BTreeMap;

use bytes::Bytes;
use longwire_socketio::{Arguments, Decoder, Limits, Packet, Protocol, Value};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Chat {
    user: String,
    text: Option<String>,
    mood: Mood,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mood {
    Good,
    Rated(u8),
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    #[serde(serialize_with = "bytes")]
    content: &'a [u8],
}

fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn chats() -> [Chat; 2] {
    [
        Chat { user: "anna".into(), text: Some("hi \"all\" 🦀".into()), mood: Mood::Good },
        Chat { user: "b".into(), text: None, mood: Mood::Rated(7) },
    ]
}

#[test]
fn values_are_written_and_read_with_and_without_binary_parts() {
    for with_part in [false, true] {
        let mut arguments = Arguments::event("chat");
        for chat in chats() {
            arguments.push(&chat).unwrap();
        }
        if with_part {
            arguments.push_binary(Bytes::from_static(b"picture"));
        }
        let [first, second] = chats();
        assert_eq!(arguments.read_event::<(Chat, Chat)>(), Ok((first.clone(), second.clone())));
        assert_eq!(arguments.read_event::<(Chat,)>(), Ok((first.clone(),)), "what is not taken is passed over");
        assert_eq!(arguments.read::<(String, Chat)>().unwrap().0, "chat");
        assert!(arguments.read_event::<(Chat, u8)>().is_err());
        assert!(arguments.read_event::<(Chat, Chat, Value, Value)>().is_err(), "there are fewer");
        assert_eq!(arguments.read_event::<Vec<Value>>().unwrap().len(), if with_part { 3 } else { 2 });
    }
}

#[test]
fn bytes_at_any_depth_become_parts() {
    let mut arguments = Arguments::event("file");
    arguments.push(&[File { name: "a", content: b"xyz" }, File { name: "b", content: b"" }]).unwrap();
    arguments.push_binary(Bytes::from_static(b"end"));
    let json = r#"["file",[{"name":"a","content":{"_placeholder":true,"num":0}},{"name":"b","content":{"_placeholder":true,"num":1}}],{"_placeholder":true,"num":2}]"#;
    assert_eq!(arguments.json(), json);
    assert_eq!(arguments.attachments(), [&b"xyz"[..], b"", b"end"]);
    let (files, _): (Vec<BTreeMap<String, Value>>, Value) = arguments.read_event().unwrap();
    assert_eq!(files[0]["content"], Value::Binary(Bytes::from_static(b"xyz")));
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq([Err(()), Ok(())].map(|fails: Result<(), ()>| Part(fails)))
        }
    }
    struct Part(Result<(), ()>);
    impl Serialize for Part {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Err(()) => serializer.serialize_bytes(b"x"),
                Ok(()) => Err(serde::ser::Error::custom("no")),
            }
        }
    }
    let mut arguments = Arguments::event("a");
    assert_eq!(arguments.push(&Broken).unwrap_err().to_string(), "no");
    assert_eq!((arguments.json(), arguments.attachments().len()), (r#"["a"]"#, 0));
}

#[test]
fn arguments_are_appended_to_what_was_read() {
    for (json, appended) in [("[]", "[1]"), ("[ ]", "[ 1]"), ("[\"a\" ]", "[\"a\" ,1]")] {
        let text = format!("31{json}");
        let mut decoder = Decoder::new(Protocol::V5);
        let packet = decoder.text(&text, &Limits::default()).unwrap().unwrap();
        let Packet::Ack { mut arguments, .. } = packet else { panic!("{packet:?}") };
        arguments.push(&1).unwrap();
        assert_eq!(arguments.json().replace(' ', ""), appended.replace(' ', ""));
        assert!(arguments.values().is_ok());
    }
}

#[test]
fn names_with_escapes_are_read() {
    let arguments = Arguments::event("a\"b\n");
    assert_eq!(arguments.event_name().as_deref(), Some("a\"b\n"));
    assert_eq!(Arguments::new().event_name(), None);
}

/// An event as it comes from a client, with so many parts.
fn event(json: &str, parts: &[&'static [u8]]) -> Arguments {
    let mut decoder = Decoder::new(Protocol::V5);
    let kind = if parts.is_empty() { "2".to_owned() } else { format!("5{}-", parts.len()) };
    let mut packet = decoder.text(&format!("{kind}{json}"), &Limits::default()).expect("a packet");
    for part in parts {
        packet = decoder.binary(Bytes::from_static(part), &Limits::default()).expect("a part");
    }
    let Some(Packet::Event { arguments, .. }) = packet else { panic!("{packet:?} is no event") };
    arguments
}

#[test]
fn half_a_surrogate_pair_is_passed_on_as_it_came_and_read_as_a_replacement() {
    for (json, read) in [
        (r#""a\ud83c""#, "a\u{fffd}"),
        (r#""\uDF89b""#, "\u{fffd}b"),
        (r#""\ud83c\ud83c\udf89""#, "\u{fffd}🎉"),
        (r#""\udf89\ud83c""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83c\u0041""#, "\u{fffd}A"),
        (r#""\ud83c\\udf89""#, "\u{fffd}\\udf89"),
        (r#""\\ud83c""#, "\\ud83c"),
        (r#""\u0041\ud83c\udf89é\n""#, "A🎉é\n"),
    ] {
        for parts in [&[][..], &[&b"x"[..]]] {
            let part = if parts.is_empty() { "" } else { r#",{"_placeholder":true,"num":0}"# };
            let arguments = event(&format!(r#"["say",{json}{part}]"#), parts);
            assert_eq!(arguments.read_event::<(String,)>(), Ok((read.to_owned(),)), "{json}");
            assert_eq!(arguments.values().expect("values")[1], Value::String(read.into()), "{json}");
            let mut on = Arguments::event("said");
            on.append(&arguments.without_name()).expect("it is written");
            assert_eq!(on.json(), format!(r#"["said",{json}{part}]"#), "word for word");
            assert_eq!(on.attachments(), arguments.attachments());
        }
        let arguments = event(&format!("[{json}]"), &[]);
        assert_eq!(arguments.event_name().as_deref(), Some(read), "it may be the name");
        assert_eq!(longwire_socketio::Json::parse(json, 9).expect("JSON").read::<String>(), Ok(read.to_owned()));
    }
}

#[test]
fn doubles_are_read_to_the_last_bit() {
    // The nearest double of the second is not what a short-cut gives.
    for text in ["122.416294033786585", "0.1", "2.2250738585072011e-308", "5e-324", "-0.0", "1.7976931348623157e308", "1e21"] {
        let number: f64 = text.parse().expect("a number");
        let arguments = event(&format!(r#"["n",{text}]"#), &[]);
        let (read,): (f64,) = arguments.read_event().expect("a double");
        assert_eq!(read.to_bits(), number.to_bits(), "{text}");
        let mut on = Arguments::new();
        on.push(&arguments.values().expect("values")[1]).expect("it is written");
        let (back,): (f64,) = on.read().expect("a double");
        assert_eq!(back.to_bits(), number.to_bits(), "{text} as a value");
    }
    let arguments =
        event(r#"["n",-0,9007199254740993,18446744073709551615,-9223372036854775808,1E+2,1180591620717411303424]"#, &[]);
    assert_eq!(
        arguments.without_name().json(),
        "[-0,9007199254740993,18446744073709551615,-9223372036854775808,1E+2,1180591620717411303424]"
    );
    let read: (f64, u64, u64, i64, f64, u128) = arguments.read_event().expect("numbers");
    assert_eq!((read.0.is_sign_negative(), read.1, read.2), (true, 9_007_199_254_740_993, u64::MAX));
    assert_eq!((read.3, read.4, read.5), (i64::MIN, 100.0, 1_180_591_620_717_411_303_424));
}

#[test]
fn members_stay_in_their_order() {
    let json = r#"[{"z":1,"a":{"y":2,"b":3},"m":[{"q":4,"c":5}]}]"#;
    let mut arguments = Arguments::new();
    arguments.push_json(&json[1..json.len() - 1]);
    let mut on = Arguments::new();
    arguments.values().expect("values").iter().for_each(|value| on.push(value).expect("it is written"));
    assert_eq!(on.json(), json);
    let (value,): (serde_json::Value,) = arguments.read().expect("a value");
    assert_eq!(format!("[{value}]"), json);
}

#[test]
fn arguments_with_parts_are_appended_to_others_with_parts() {
    let mut arguments = Arguments::event("both");
    arguments.push_binary(Bytes::from_static(b"mine"));
    arguments.append(&event(r#"["x",{"_placeholder":true,"num":0}]"#, &[b"theirs"]).without_name()).expect("written");
    arguments.append(&Arguments::new()).expect("nothing");
    arguments.append(&event(r#"["x"]"#, &[]).without_name()).expect("nothing");
    let read: (Value, Value) = arguments.read_event().expect("both");
    assert_eq!(read, (Bytes::from_static(b"mine").into(), Bytes::from_static(b"theirs").into()));
    assert_eq!(event(r#" [ "x" , 1 ,2 ] "#.trim(), &[]).without_name().json(), "[1 ,2 ]");
    assert_eq!(event(r#"["x" ]"#, &[]).without_name(), Arguments::new());
}
