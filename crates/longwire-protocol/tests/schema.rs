//! `docs/longwire.proto` says how the binary form is read: here a reader that knows nothing but that file reads what the crate
//! writes, and what it finds, by the names of the file, is what the JSON form says.

use std::collections::BTreeMap;

use longwire_protocol::{binary, json};
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::any;

/// The fields of each message by their numbers, and the names of each enum's values.
#[derive(Default)]
struct Schema {
    messages: BTreeMap<String, BTreeMap<u64, Field>>,
    enums: BTreeMap<String, BTreeMap<u64, String>>,
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    is_repeated: bool,
    is_one_of: bool,
}

impl Schema {
    fn read() -> Self {
        let text = include_str!("../../../docs/longwire.proto");
        let mut schema = Self::default();
        let (mut current, mut is_enum, mut is_one_of) = (String::new(), false, false);
        for line in text.lines() {
            let line = line.split("//").next().unwrap().trim().trim_end_matches(';');
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["message", name, ..] => (current, is_enum) = (name.to_owned(), false),
                ["enum", name, "{"] => (current, is_enum) = (name.to_owned(), true),
                ["oneof", _, "{"] => is_one_of = true,
                ["}"] => is_one_of = false,
                [name, "=", number] if is_enum => {
                    schema.enums.entry(current.clone()).or_default().insert(number.parse().unwrap(), name.to_owned());
                    continue;
                }
                [.., "=", number] if !current.is_empty() => {
                    let field = field(line, is_one_of);
                    let fields = schema.messages.entry(current.clone()).or_default();
                    assert!(fields.insert(number.parse().unwrap(), field).is_none(), "{current}: {number} twice");
                    continue;
                }
                _ => continue,
            }
            if !is_enum {
                schema.messages.entry(current.clone()).or_default();
            }
        }
        schema
    }

    /// A message as the JSON form says it, but for its type.
    fn view(&self, of: &str, bytes: &[u8]) -> Map<String, Value> {
        let mut members = Map::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let field = self.messages[of].get(&(tag >> 3)).unwrap_or_else(|| panic!("{of} has no field {}", tag >> 3));
            let is_number = tag & 7 == 0;
            assert!(is_number || tag & 7 == 2, "{of}.{}: a wire type that we do not use", field.name);
            let number = varint(&mut rest);
            let content = if is_number { &[] } else { rest.split_off(..number as usize).expect("it is all there") };
            let is_varint = matches!(&*field.kind, "uint32" | "uint64" | "bool") || self.enums.contains_key(&field.kind);
            assert_eq!(is_number, is_varint, "{of}.{}: another wire type", field.name);
            self.add(&mut members, field, number, content);
        }
        members
    }

    fn add(&self, members: &mut Map<String, Value>, field: &Field, number: u64, content: &[u8]) {
        let name = &*field.name;
        let text = || String::from_utf8(content.to_vec()).unwrap();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        match (&*field.kind, name) {
            ("uint32", "epoch") => set(name, format!("{number:08x}").into()),
            ("uint32" | "uint64", _) => set(name, number.into()),
            ("bool", _) => set(name, (number != 0).into()),
            ("string", "json") => set("data", serde_json::from_str(&text()).unwrap()),
            ("string", "text") => set("data", text().into()),
            ("string", "info") => set(name, serde_json::from_str(&text()).unwrap()),
            ("string", _) => set(name, text().into()),
            ("bytes", "bytes") => set(name, base64(content, b"+/").into()),
            ("bytes", _) => set(name, base64(content, b"-_").into()),
            ("Position", _) => {
                let position = self.view("Position", content);
                set("epoch", position.get("epoch").cloned().unwrap_or("00000000".into()));
                set(if name == "head" { name } else { "offset" }, position.get("offset").cloned().unwrap_or(0.into()))
            }
            ("Members", _) => set(name, self.view("Members", content).remove("members").unwrap_or(Vec::<Value>::new().into())),
            ("Options", _) => set(name, self.view("Options", content).keys().cloned().collect()),
            ("map", _) => {
                let pair = self.view("pair", content);
                let [key, value] = ["key", "value"].map(|name| pair.get(name).and_then(Value::as_str).unwrap_or_default());
                let tags = members.entry(name).or_insert(Map::new().into());
                tags.as_object_mut().unwrap().insert(key.to_owned(), value.into())
            }
            ("Recovery", _) => {
                let recovery = self.word("Recovery", number, "RECOVERY_");
                set("recovered", (recovery == "recovered").into());
                if recovery == "recovered" { None } else { set("reason", recovery.into()) }
            }
            ("StreamEnd", _) => set(name, self.word("StreamEnd", number, "STREAM_END_").into()),
            (kind, _) if field.is_repeated => {
                let list = members.entry(name).or_insert(Value::Array(Vec::new()));
                list.as_array_mut().unwrap().push(self.view(kind, content).into());
                None
            }
            (kind, _) if field.is_one_of => {
                set("type", name.into());
                members.append(&mut self.view(kind, content));
                None
            }
            (kind, _) => set(name, self.view(kind, content).into()),
        };
    }

    fn word(&self, of: &str, number: u64, prefix: &str) -> String {
        self.enums[of][&number].strip_prefix(prefix).unwrap().to_lowercase()
    }
}

fn field(line: &str, is_one_of: bool) -> Field {
    let (is_repeated, line) = match line.strip_prefix("repeated ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("optional ").unwrap_or(line)),
    };
    let line = line.replace("map<string, string>", "map");
    let mut words = line.split_whitespace().map(str::to_owned);
    let (kind, name) = (words.next().unwrap(), words.next().unwrap());
    Field { name, kind, is_repeated, is_one_of }
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first().unwrap();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            text.push(if at > three.len() { '=' } else { letters[(bits >> (18 - 6 * at) & 63) as usize].into() });
        }
    }
    text
}

/// Without what proto3 leaves out: a member that is left out there is the same as one with these values.
fn without_defaults(value: Value) -> Value {
    let is_default = |value: &Value| *value == false || *value == 0 || *value == "" || *value == Value::Array(Vec::new());
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, without_defaults(value)))
            .filter(|(_, value)| !is_default(value))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_defaults).collect(),
        other => other,
    }
}

fn is_same(of: &str, binary: &[u8], json: &[u8]) {
    let mut schema = Schema::read();
    let text = |name: &str| Field { name: name.into(), kind: "string".into(), is_repeated: false, is_one_of: false };
    schema.messages.insert("pair".into(), [(1, text("key")), (2, text("value"))].into());
    let mut view = schema.view(of, binary);
    match view["type"].as_str() {
        Some("state_entries") => view["type"] = "state".into(),
        Some("subscription_ended") => view["type"] = "unsubscribed".into(),
        _ => {}
    }
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(without_defaults(sorted(view.into())), without_defaults(sorted(json)));
}

/// The options in the order of the alphabet, in which a map has its names.
fn sorted(mut json: Value) -> Value {
    if let Some(options) = json.get_mut("options").and_then(Value::as_array_mut) {
        options.sort_by_key(|name| name.as_str().map(str::to_owned));
    }
    json
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_file_describes_what_clients_say(command in any::command()) {
        let (mut bytes, mut line) = (Vec::new(), Vec::new());
        binary::encode_command(&command, &mut bytes);
        json::encode_command(&command, &mut line);
        is_same("Command", &bytes, &line);
    }

    #[test]
    fn the_file_describes_what_servers_say(message in any::message()) {
        let (mut bytes, mut line) = (Vec::new(), Vec::new());
        binary::encode_message(&message, &mut bytes);
        json::encode_message(&message, &mut line);
        is_same("Message", &bytes, &line);
    }
}
