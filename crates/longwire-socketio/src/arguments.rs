//! What events and acks carry.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Serialize, de};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use crate::error::{DataError, DecodeError};
use crate::json::readable;
use crate::value::Value;

/// Names that no event may have: both libraries use them for what happens to a connection.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The array of an event (its name first) or of an ack, as JSON text, with the binary parts beside it: where one of them belongs,
/// the text has `{"_placeholder":true,"num":n}`.
///
/// It is kept as text because most of what comes goes on to others as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// An array, from bracket to bracket.
    json: String,
    attachments: Vec<Bytes>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self::new()
    }
}

impl Arguments {
    /// None, for an ack.
    pub fn new() -> Self {
        Self::checked("[]")
    }

    /// Those of an event with a name, which should be none of [`RESERVED_EVENTS`]: a peer closes the connection for such an event.
    pub fn event(name: &str) -> Self {
        let mut arguments = Self::new();
        arguments.push(name).expect("a text is JSON");
        arguments
    }

    /// From JSON that has been found to be an array.
    pub(crate) fn checked(json: &str) -> Self {
        Self { json: json.to_owned(), attachments: Vec::new() }
    }

    /// Appends a value. What serde calls bytes, at any depth, becomes an attachment (a `Vec<u8>` it calls a list of numbers).
    ///
    /// # Errors
    /// If serde cannot write it as JSON; then nothing is appended.
    pub fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), DataError> {
        let known = self.attachments.len();
        let mut json = Vec::new();
        let written = value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut json,
            Detaching { attachments: &mut self.attachments },
        ));
        let json = written
            .map_err(DataError::from)
            .and_then(|()| String::from_utf8(json).map_err(|_| DataError("what is written is not UTF-8".into())));
        match json {
            Ok(json) => {
                self.push_json(&json);
                Ok(())
            }
            Err(error) => {
                self.attachments.truncate(known);
                Err(error)
            }
        }
    }

    /// Appends bytes, without a copy.
    pub fn push_binary(&mut self, bytes: Bytes) {
        let placeholder = placeholder(self.attachments.len());
        self.push_json(&placeholder);
        self.attachments.push(bytes);
    }

    /// Appends what is JSON already. Nobody looks at it: what is not one JSON value makes a packet that nobody reads.
    ///
    /// Do not append what comes from strangers to arguments with binary parts: a placeholder in it would refer to those, or to
    /// none, and then receivers close the connection.
    pub fn push_json(&mut self, json: &str) {
        self.json.pop();
        let is_empty = self.json.trim_ascii_end() == "[";
        if !is_empty {
            self.json.push(',');
        }
        self.json.reserve(json.len() + 1);
        self.json.push_str(json);
        self.json.push(']');
    }

    /// Appends all of others, binary parts too. If there are none of these here yet, that is word for word what came.
    ///
    /// # Errors
    /// If both have binary parts and those others cannot be [read](Self::values); then nothing is appended.
    pub fn append(&mut self, others: &Self) -> Result<(), DataError> {
        if !self.attachments.is_empty() && !others.attachments.is_empty() {
            // Theirs get other numbers.
            return others.values()?.iter().try_for_each(|value| self.push(value));
        }
        let inner = others.json.strip_prefix('[').and_then(|json| json.strip_suffix(']')).unwrap_or_default();
        if !inner.trim_ascii().is_empty() {
            self.push_json(inner);
        }
        self.attachments.extend_from_slice(&others.attachments);
        Ok(())
    }

    /// Those of an event without its name, word for word.
    #[must_use]
    pub fn without_name(&self) -> Self {
        let mut values = serde_json::Deserializer::from_str(&self.json[1..]).into_iter::<IgnoredAny>();
        values.next();
        let rest = self.json[1 + values.byte_offset()..].trim_ascii_start();
        let json = rest.strip_prefix(',').map_or_else(|| "[]".to_owned(), |rest| format!("[{}", rest.trim_ascii_start()));
        Self { json, attachments: self.attachments.clone() }
    }

    /// A binary part that the text refers to already.
    pub(crate) fn attach(&mut self, bytes: Bytes) {
        self.attachments.push(bytes);
    }

    /// The array.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The binary parts, by number.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The name of the event; none if the array begins with something else than a text or a number. Of a number, the name is how
    /// it is written; half a surrogate pair is read as U+FFFD.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        let first = self.first()?;
        match first.as_bytes().first()? {
            b'"' if !first.contains('\\') => Some(Cow::Borrowed(&first[1..first.len() - 1])),
            b'"' => serde_json::from_str(&readable(first)).ok().map(Cow::Owned),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(first)),
            _ => None,
        }
    }

    /// Whether the first of them is a text.
    pub(crate) fn is_named_by_text(&self) -> bool {
        self.first().is_some_and(|first| first.starts_with('"'))
    }

    /// The JSON of the first one.
    fn first(&self) -> Option<&str> {
        let mut values = serde_json::Deserializer::from_str(&self.json[1..]).into_iter::<&RawValue>();
        values.next()?.ok().map(RawValue::get)
    }

    /// All of them, an event's name too, with binary parts in their places. What a [`Value`] cannot hold as it came is the nearest that
    /// it can; to pass arguments on as they came, [append](Self::append) them.
    ///
    /// # Errors
    /// If a number is larger than any double, or a placeholder refers to no attachment.
    pub fn values(&self) -> Result<Vec<Value>, DataError> {
        let mut values: Vec<Value> = serde_json::from_str(&readable(&self.json))?;
        if !self.attachments.is_empty() {
            for value in &mut values {
                value.attach(&self.attachments).map_err(|error| DataError(error.to_string().into()))?;
            }
        }
        Ok(values)
    }

    /// All of them as a tuple or struct. If there are more than it takes, they are left out. [`Value`] takes anything, bytes too. Half a
    /// surrogate pair, which JavaScript's texts can have and Rust's cannot, is read as U+FFFD.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        self.read_after(0)
    }

    /// As [`read`](Self::read), of an event: without its name.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn read_event<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        self.read_after(1)
    }

    fn read_after<T: DeserializeOwned>(&self, skipped: usize) -> Result<T, DataError> {
        let tuple = Tuple { skipped, read: PhantomData };
        if self.attachments.is_empty() {
            let json = readable(&self.json);
            let mut deserializer = serde_json::Deserializer::from_str(&json);
            return Ok(deserializer.deserialize_seq(tuple)?);
        }
        Value::Array(self.values()?).deserialize_seq(tuple)
    }

    /// Whether every placeholder refers to one of so many attachments.
    pub(crate) fn check_placeholders(&self, attachments: usize) -> Result<(), DecodeError> {
        let mut values: Vec<Value> = serde_json::from_str(&readable(&self.json)).map_err(|_| DecodeError::NotJson)?;
        let parts = vec![Bytes::new(); attachments];
        values.iter_mut().try_for_each(|value| value.attach(&parts))
    }
}

fn placeholder(number: usize) -> String {
    let mut json = String::with_capacity(32);
    write!(json, r#"{{"_placeholder":true,"num":{number}}}"#).expect("a text takes all");
    json
}

/// Writes JSON, with placeholders for bytes.
struct Detaching<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Detaching<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        let placeholder = placeholder(self.attachments.len());
        self.attachments.push(Bytes::copy_from_slice(value));
        writer.write_all(placeholder.as_bytes())
    }
}

/// Reads a `T` from an array, behind its first ones, and passes over what is left.
struct Tuple<T> {
    skipped: usize,
    read: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Tuple<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        for at in 0..self.skipped {
            seq.next_element::<IgnoredAny>()?.ok_or_else(|| de::Error::invalid_length(at, &"an event with a name"))?;
        }
        let value = T::deserialize(Elements(&mut seq))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// The rest of a list, as whatever takes a list; `()` takes nothing of it.
struct Elements<A>(A);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for Elements<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        SeqAccessDeserializer::new(self.0).deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
