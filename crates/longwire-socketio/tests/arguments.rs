//! Writing and reading what events and acks carry.

use std::collections::BTreeMap;

use bytes::Bytes;
use longwire_socketio::{Arguments, Value};
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
        let mut decoder = longwire_socketio::Decoder::new(longwire_socketio::Protocol::V5);
        let packet = decoder.text(&text, &longwire_socketio::Limits::default()).unwrap().unwrap();
        let longwire_socketio::Packet::Ack { mut arguments, .. } = packet else { panic!("{packet:?}") };
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

#[test]
fn half_a_surrogate_pair_is_an_error_of_reading_only() {
    let mut arguments = Arguments::event("a");
    arguments.push_json(r#""\ud83e""#);
    assert_eq!(arguments.event_name().as_deref(), Some("a"));
    assert!(arguments.values().is_err());
}
