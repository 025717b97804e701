//! The members of an object, found in one pass over it and read one by one.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::check::is_channel;
use crate::codes::ErrorCode;
use crate::data::{Epoch, SessionId, one_line};
use crate::error::{Result, bad_message, bad_value};
use crate::message::{ErrorReply, StreamEnd};

macro_rules! names {
    ($($name:ident $text:literal)*) => {
        /// Every member that any message has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($name),* }

        impl Name {
            const COUNT: usize = [$(Self::$name),*].len();

            fn find(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

names! {
    After "after" Age "age" At "at" Before "before" Began "began" Bytes "bytes" Cancel "cancel" Channel "channel" Code "code"
    Data "data" Done "done" Echo "echo" End "end" Entries "entries" Ephemeral "ephemeral" Epoch "epoch" Event "event"
    Expires "expires" From "from" Head "head" Id "id" Info "info" Keep "keep" Key "key" Last "last" Lease "lease" Length "length"
    Limit "limit" Max "max" Member "member" Members "members" Message "message" More "more" Offset "offset" Once "once"
    Options "options" Ping "ping" Publications "publications" Reason "reason" Recovered "recovered" Remove "remove"
    Removed "removed" Repeated "repeated" Resumed "resumed" Retry "retry" Session "session" Sessions "sessions" State "state"
    Stream "stream" Tags "tags" Time "time" Token "token" Type "type" User "user" Users "users"
}

/// The members of an object that this protocol knows; of those that come twice, the last. Others are checked and forgotten.
pub(super) struct Members<'a> {
    /// What the object is, for messages to people.
    of: &'static str,
    values: [Option<&'a RawValue>; Name::COUNT],
}

/// Base64 (RFC 4648, 4), its padding left out or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text, from the input if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    /// None yet.
    pub(super) fn of(of: &'static str) -> Self {
        Self { of, values: [None; Name::COUNT] }
    }

    /// Takes the members of the object that `json` is. After an error it has those before the place of the error.
    pub(super) fn read(&mut self, json: &'a [u8]) -> Result<()> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let read = (&mut *self).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        read.map_err(|error| bad_message(format!("{} is no JSON object: {error}", self.of)))
    }

    /// Says what the object is, when that is known.
    pub(super) fn are_of(&mut self, of: &'static str) {
        self.of = of;
    }

    /// The JSON text of a member, `null` too.
    pub(super) fn raw(&self, name: Name) -> Option<&'a str> {
        self.values[name as usize].map(RawValue::get)
    }

    /// The JSON text of a member; `null` is as if it was left out.
    fn some(&self, name: Name) -> Option<&'a str> {
        self.raw(name).filter(|json| *json != "null")
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.some(name).is_some()
    }

    /// The error of a member with a wrong value.
    pub(super) fn wrong(&self, name: Name, must: impl fmt::Display) -> ErrorReply {
        bad_value(format!("member {} of {} must be {must}", name.text(), self.of))
    }

    /// What must not be left out.
    pub(super) fn needed<T>(&self, name: Name, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| bad_message(format!("member {} of {} is missing", name.text(), self.of)))
    }

    pub(super) fn text(&self, name: Name) -> Result<Option<Cow<'a, str>>> {
        let Some(json) = self.some(name) else { return Ok(None) };
        let text: Text<'a> = serde_json::from_str(json).map_err(|_| self.wrong(name, "a text"))?;
        Ok(Some(text.0))
    }

    pub(super) fn boxed(&self, name: Name) -> Result<Option<Box<str>>> {
        Ok(self.text(name)?.map(Into::into))
    }

    pub(super) fn flag(&self, name: Name) -> Result<Option<bool>> {
        match self.some(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A flag that is `false` unless said.
    pub(super) fn is(&self, name: Name) -> Result<bool> {
        Ok(self.flag(name)?.unwrap_or(false))
    }

    pub(super) fn whole(&self, name: Name, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(json) = self.some(name) else { return Ok(None) };
        let number = json.bytes().all(|byte| byte.is_ascii_digit()).then(|| json.parse().ok()).flatten();
        match number {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ if *range.end() == u64::MAX => Err(self.wrong(name, format_args!("a whole number from {}", range.start()))),
            _ => Err(self.wrong(name, format_args!("a whole number from {} to {}", range.start(), range.end()))),
        }
    }

    pub(super) fn u64(&self, name: Name) -> Result<Option<u64>> {
        self.whole(name, 0..=u64::MAX)
    }

    pub(super) fn u32(&self, name: Name) -> Result<Option<u32>> {
        Ok(self.whole(name, 0..=u64::from(u32::MAX))?.map(|number| number as u32))
    }

    /// The id of a command or reply.
    pub(super) fn id(&self) -> Result<Option<u32>> {
        let number = self.whole(Name::Id, 1..=u64::from(u32::MAX));
        number.map(|number| number.map(|number| number as u32)).map_err(|error| bad_message(error.message))
    }

    pub(super) fn channel(&self) -> Result<Arc<str>> {
        let name = self.text(Name::Channel).map_err(|error| ErrorReply::new(ErrorCode::BadChannel, error.message))?;
        Ok(self.needed(Name::Channel, name)?.into())
    }

    /// The channel, if it can be read and may be called so: for errors about something else.
    pub(super) fn valid_channel(&self) -> Option<Arc<str>> {
        self.channel().ok().filter(|name| is_channel(name))
    }

    /// A session's id; the inner `None` is a text that is none.
    pub(super) fn session(&self, name: Name) -> Result<Option<Option<SessionId>>> {
        Ok(self.text(name)?.map(|text| SessionId::parse(&text)))
    }

    /// An epoch; a text that is none is the one that no channel has.
    pub(super) fn epoch(&self) -> Result<Option<Epoch>> {
        Ok(self.text(Name::Epoch)?.map(|text| Epoch::parse(&text).unwrap_or(Epoch::NONE)))
    }

    pub(super) fn end(&self) -> Result<Option<StreamEnd>> {
        let Some(text) = self.text(Name::End)? else { return Ok(None) };
        let end = StreamEnd::ALL.into_iter().find(|end| end.name() == text);
        end.map(Some).ok_or_else(|| self.wrong(Name::End, "finished, failed or cancelled"))
    }

    /// JSON of any kind, on one line. `null` is a value.
    pub(super) fn json(&self, name: Name) -> Result<Option<Bytes>> {
        let Some(json) = self.raw(name) else { return Ok(None) };
        let compact = one_line(json.as_bytes()).map_err(|why| self.wrong(name, format_args!("simpler: {why}")))?;
        Ok(Some(compact.unwrap_or_else(|| Bytes::copy_from_slice(json.as_bytes()))))
    }

    /// JSON of any kind but `null`, on one line.
    pub(super) fn some_json(&self, name: Name) -> Result<Option<Bytes>> {
        if self.has(name) { self.json(name) } else { Ok(None) }
    }

    pub(super) fn base64(&self, name: Name) -> Result<Option<Bytes>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| self.wrong(name, "base64"))?;
        Ok(Some(bytes.into()))
    }

    /// A value that serde reads.
    pub(super) fn parsed<T: Deserialize<'a>>(&self, name: Name, must: &str) -> Result<Option<T>> {
        let Some(json) = self.some(name) else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| self.wrong(name, must))
    }

    /// The members of a member.
    pub(super) fn members(&self, name: Name) -> Result<Option<Members<'a>>> {
        self.some(name).map(|json| Self::inside(name, json)).transpose()
    }

    /// The members of each object in a list.
    pub(super) fn list(&self, name: Name) -> Result<Option<impl Iterator<Item = Result<Members<'a>>>>> {
        let list: Option<Vec<&'a RawValue>> = self.parsed(name, "a list of objects")?;
        Ok(list.map(|list| list.into_iter().map(move |json| Self::inside(name, json.get()))))
    }

    fn inside(name: Name, json: &'a str) -> Result<Members<'a>> {
        let mut members = Self::of(name.text());
        members.read(json.as_bytes())?;
        Ok(members)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Members<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Members<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value()?;
            if let Some(name) = Name::find(&name) {
                self.values[name as usize] = Some(value);
            }
        }
        Ok(())
    }
}
