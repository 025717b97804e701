//! Events that are commands of the native protocol, of clients that follow channels by themselves.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use longwire_socketio::Arguments;
use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Names of members, and their values as they came.
type Members<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The command that an event is; `None` if it is none. Its values are those of the event word for word: no number, no text and no
/// order of members is another than what the client has said.
pub(super) fn command_of(id: Option<u32>, arguments: &Arguments) -> Option<Vec<u8>> {
    let mut values: Vec<&RawValue> = serde_json::from_str(arguments.json()).ok()?;
    let object = match values.last() {
        Some(last) if values.len() > 1 && last.get().starts_with('{') => values.pop(),
        _ => None,
    };
    let mut members = object.map_or(Some(Members::new()), |object| members_of(object))?;
    let mut values = values.into_iter().map(RawValue::get);
    let kind = values.next()?;
    let publishes = kind == r#""publish""#;
    let first = values.next();
    match values.next() {
        Some(data) if publishes => match arguments.attachments() {
            [] => put(&mut members, "data", data.into()),
            // Bytes are all of a publication, or none.
            [bytes] if is_placeholder(data) => put(&mut members, "bytes", encoded(bytes)),
            _ => return None,
        },
        // Two arguments, of which the second is the data, and an object.
        None if publishes && !arguments.attachments().is_empty() => {
            let [bytes] = arguments.attachments() else { return None };
            members.retain(|(name, _)| name != "_placeholder" && name != "num");
            put(&mut members, "bytes", encoded(bytes));
        }
        None if publishes && !has(&members, "data") => {
            members = vec![("data".into(), object.map_or("{}", RawValue::get).into())];
        }
        _ => {}
    }
    if let Some(first) = first {
        put(&mut members, if kind == r#""refresh""# { "token" } else { "channel" }, first.into());
    }
    put(&mut members, "type", kind.into());
    if let Some(id) = id {
        put(&mut members, "id", id.to_string().into());
    }
    let mut command = vec![b'{'];
    for (name, value) in members {
        if command.len() > 1 {
            command.push(b',');
        }
        serde_json::to_writer(&mut command, &*name).ok()?;
        command.push(b':');
        command.extend_from_slice(value.as_bytes());
    }
    command.push(b'}');
    Some(command)
}

fn members_of(object: &RawValue) -> Option<Members<'_>> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
            let mut members = Members::new();
            // Of those that come twice, the reader of commands takes the last.
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                members.push((name.into(), value.get().into()));
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(object.get()).deserialize_map(InOrder).ok()
}

fn has(members: &Members<'_>, name: &str) -> bool {
    members.iter().any(|(known, _)| known == name)
}

fn put<'a>(members: &mut Members<'a>, name: &'static str, value: Cow<'a, str>) {
    members.retain(|(known, _)| known != name);
    members.push((name.into(), value));
}

fn is_placeholder(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Placeholder {
        _placeholder: bool,
    }
    serde_json::from_str(json).is_ok_and(|Placeholder { _placeholder }| _placeholder)
}

/// As a text in JSON.
fn encoded(bytes: &[u8]) -> Cow<'static, str> {
    format!("\"{}\"", BASE64.encode(bytes)).into()
}

#[cfg(test)]
mod tests {
    use longwire_socketio::engine::Data;
    use longwire_socketio::{Decoder, Limits, Packet, Protocol};

    use super::*;

    fn command(json: &str) -> serde_json::Value {
        let mut decoder = Decoder::new(Protocol::V5);
        let packet = decoder.message(&Data::Text(&format!("2{json}")), &Limits::default()).expect("a packet").expect("whole");
        let Packet::Event { arguments, .. } = packet else { panic!("an event") };
        serde_json::from_slice(&command_of(Some(7), &arguments).expect("a command")).expect("JSON")
    }

    #[test]
    fn events_are_commands() {
        use serde_json::json;
        assert_eq!(command(r#"["subscribe","a"]"#), json!({"type": "subscribe", "id": 7, "channel": "a"}));
        let with_options = command(r#"["subscribe","a",{"last":5}]"#);
        assert_eq!(with_options, json!({"type": "subscribe", "id": 7, "channel": "a", "last": 5}));
        assert_eq!(command(r#"["publish","a",[1]]"#), json!({"type": "publish", "id": 7, "channel": "a", "data": [1]}));
        let object = command(r#"["publish","a",{"text":"x"}]"#);
        assert_eq!(object, json!({"type": "publish", "id": 7, "channel": "a", "data": {"text": "x"}}));
        let both = command(r#"["publish","a",{"text":"x"},{"once":"k"}]"#);
        assert_eq!(both, json!({"type": "publish", "id": 7, "channel": "a", "data": {"text": "x"}, "once": "k"}));
        assert_eq!(command(r#"["refresh","t"]"#), json!({"type": "refresh", "id": 7, "token": "t"}));
    }

    #[test]
    fn values_are_those_of_the_event_word_for_word() {
        for data in
            [r#"{"z":1.10,"a":[-0,1E2,122.416294033786585]}"#, r#""a\ud83c""#, "340282366920938463463374607431768211456"]
        {
            for options in ["", ",{}", r#",{"once":"k"}"#] {
                let mut arguments = Arguments::event("publish");
                arguments.push_json(&format!(r#""a",{data}{options}"#));
                let said = String::from_utf8(command_of(None, &arguments).expect("a command")).expect("a text");
                assert!(said.contains(&format!(r#""data":{data}"#)), "{said}");
            }
        }
    }
}
