//! Events that are commands of the native protocol, of clients that follow channels by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use longwire_socketio::Arguments;

/// The command that an event is; `None` if it is none.
pub(super) fn command_of(id: Option<u32>, arguments: &Arguments) -> Option<Vec<u8>> {
    use serde_json::Value;
    let mut values: Vec<Value> = serde_json::from_str(arguments.json()).ok()?;
    let mut members = match values.last() {
        Some(Value::Object(_)) if values.len() > 1 => match values.pop() {
            Some(Value::Object(members)) => members,
            _ => return None,
        },
        _ => serde_json::Map::new(),
    };
    let mut values = values.into_iter();
    let kind = values.next()?;
    let publishes = kind == "publish";
    let first = if kind == "refresh" { "token" } else { "channel" };
    if let Some(value) = values.next() {
        members.insert(first.into(), value);
    }
    match values.next() {
        Some(data) if publishes => match arguments.attachments() {
            [] => drop(members.insert("data".into(), data)),
            // Bytes are all of a publication, or none.
            [bytes] if data.get("_placeholder").is_some() => {
                members.insert("bytes".into(), BASE64.encode(bytes).into());
            }
            _ => return None,
        },
        // Two arguments, of which the second is the data, and an object.
        None if publishes && !arguments.attachments().is_empty() => {
            let [bytes] = arguments.attachments() else { return None };
            members.remove("_placeholder");
            members.remove("num");
            members.insert("bytes".into(), BASE64.encode(bytes).into());
        }
        None if publishes && !members.contains_key("data") => {
            let channel = members.remove("channel");
            members = serde_json::Map::from_iter([("data".to_owned(), Value::Object(members))]);
            members.extend(channel.map(|channel| ("channel".to_owned(), channel)));
        }
        _ => {}
    }
    members.insert("type".into(), kind);
    members.extend(id.map(|id| ("id".to_owned(), id.into())));
    serde_json::to_vec(&members).ok()
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
}
