//! Any packet, payload and value.

use bytes::Bytes;
use longwire_socketio::engine::{self, PacketKind};
use longwire_socketio::{Arguments, Json, Namespace, Object, Packet, RESERVED_EVENTS, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A text with all that is hard: controls, quotes, signs of the protocols, characters of every length.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[a-z0-9,/?:\[\]{}"\\\-é€🦀]{0,12}"#]
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        any::<u64>().prop_map(|number| Value::Number(number.into())),
        // Every bit of a double counts.
        any::<u64>().prop_map(|bits| serde_json::Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)),
        text().prop_map(Value::String),
        bytes().prop_map(Value::Binary),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::Array), members(inner).prop_map(Value::Object)]
    })
}

/// In any order, which stays as it is.
fn members(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Object> {
    vec((text().prop_filter("it would be a placeholder", |name| name != "_placeholder"), inner), 0..4)
        .prop_map(|members| members.into_iter().collect())
}

fn arguments(first: impl Strategy<Value = Option<String>>) -> impl Strategy<Value = Arguments> {
    // At most ten of them are bytes: that is the limit.
    let few_parts = |arguments: &Arguments| arguments.attachments().len() <= 10;
    (first, vec(value(), 0..4))
        .prop_map(|(name, values)| {
            let mut arguments = name.map_or_else(Arguments::new, |name| Arguments::event(&name));
            values.iter().for_each(|value| arguments.push(value).unwrap());
            arguments
        })
        .prop_filter("too many parts", few_parts)
}

fn event() -> impl Strategy<Value = Arguments> {
    arguments(text().prop_filter("reserved", |name| !RESERVED_EVENTS.contains(&&**name)).prop_map(Some))
}

fn namespace() -> impl Strategy<Value = Namespace> {
    let name = prop_oneof![Just("/".to_owned()), r"/[^,?\p{Cc}]{0,20}"];
    name.prop_map(|name| Namespace::new(&name).unwrap())
}

fn object() -> impl Strategy<Value = Json> {
    btree_map(text(), text(), 0..3).prop_map(|members| Json::of(&members).unwrap())
}

const IDS: std::ops::RangeInclusive<u64> = 0..=(1 << 53) - 1;

/// One that both protocols have.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let error = prop_oneof![object(), text().prop_map(|text| Json::of(&text).unwrap())];
    prop_oneof![
        (namespace(), prop::option::of(object())).prop_map(|(namespace, data)| Packet::Connect {
            namespace,
            query: None,
            data
        }),
        namespace().prop_map(|namespace| Packet::Disconnect { namespace }),
        (namespace(), prop::option::of(IDS), event()).prop_map(|(namespace, id, arguments)| Packet::Event {
            namespace,
            id,
            arguments
        }),
        (namespace(), IDS, arguments(Just(None))).prop_map(|(namespace, id, arguments)| Packet::Ack {
            namespace,
            id,
            arguments
        }),
        (namespace(), error).prop_map(|(namespace, data)| Packet::ConnectError { namespace, data }),
    ]
}

/// One of Engine.IO. A text has no U+001E: see `Packet::text`.
#[derive(Clone, Debug)]
pub(crate) enum EnginePacket {
    Text(PacketKind, String),
    Binary(Bytes),
}

impl EnginePacket {
    pub(crate) fn packet(&self) -> engine::Packet<'_> {
        match self {
            Self::Text(kind, text) => engine::Packet::text(*kind, text),
            Self::Binary(bytes) => engine::Packet::binary(&**bytes),
        }
    }
}

pub(crate) fn engine_packet() -> impl Strategy<Value = EnginePacket> {
    let text = text().prop_map(|text| text.replace('\u{1E}', ""));
    prop_oneof![
        (prop::sample::select(&PacketKind::ALL[..]), text).prop_map(|(kind, text)| EnginePacket::Text(kind, text)),
        bytes().prop_map(EnginePacket::Binary),
    ]
}
