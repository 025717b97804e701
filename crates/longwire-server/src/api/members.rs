//! The members of a command: of a JSON object, or of a query. Each is taken by its name; what is left over is a mistake.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use longwire_core::broker::Failure;
use longwire_protocol::{Data, Epoch, ErrorCode, SessionId};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// More than any command has: whoever sends more is not answered about each.
const MEMBERS_MAX: usize = 32;

/// The members of one command that were not taken yet.
pub(crate) struct Members<'a> {
    /// What it is, for messages to people.
    of: &'static str,
    left: Vec<(Cow<'a, str>, Value<'a>)>,
}

enum Value<'a> {
    Json(&'a RawValue),
    /// Of a query: a text, a number and a flag look the same there.
    Plain(Cow<'a, str>),
}

/// A text, from the input if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Base64 (RFC 4648, 4), its padding left out or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'a> Members<'a> {
    /// Of a JSON object.
    ///
    /// # Errors
    /// `bad_message`, with the place where it is wrong.
    pub(super) fn of_json(json: &'a [u8]) -> Result<Self, Failure> {
        struct Left<'a>(Vec<(Cow<'a, str>, Value<'a>)>);
        impl<'de> Deserialize<'de> for Left<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(MembersVisitor).map(Left)
            }
        }
        let bad = |error: serde_json::Error| bad_message(format!("this is no JSON object of a command: {error}"));
        let Left(left) = serde_json::from_slice(json).map_err(bad)?;
        Ok(Self { of: "the command", left })
    }

    /// Of the query of an address: `name=value`, percent-encoded, with `&` between them.
    ///
    /// # Errors
    /// `bad_message`, if it cannot be decoded.
    pub(crate) fn of_query(query: &'a str) -> Result<Self, Failure> {
        let mut left: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) =
                decoded(name).zip(decoded(value)).ok_or_else(|| bad_message("the query is not UTF-8 in percent-encoding"))?;
            if left.iter().any(|(known, _)| *known == name) {
                return Err(bad_message(format!("member {} comes twice in the query", shown(&name))));
            }
            if left.len() == MEMBERS_MAX {
                return Err(bad_message("the query has too many members"));
            }
            left.push((name, Value::Plain(value)));
        }
        Ok(Self { of: "the query", left })
    }

    /// Says what the command is, when that is known.
    pub(crate) fn are_of(&mut self, of: &'static str) {
        self.of = of;
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Names a member that nobody has taken.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(bad_message(format!("{} has no member {}", self.of, shown(name)))),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(known, _)| known == name)
    }

    /// The error of a member with a wrong value.
    pub(super) fn wrong(&self, name: &str, must: impl fmt::Display) -> Failure {
        Failure::new(ErrorCode::BadValue, format!("member {name} of {} must be {must}", self.of))
    }

    /// What must not be left out.
    pub(super) fn needed<T>(&self, name: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| bad_message(format!("member {name} of {} is missing", self.of)))
    }

    fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.swap_remove(at).1)
    }

    /// `null` is as if it was left out.
    fn take_some(&mut self, name: &str) -> Option<Value<'a>> {
        self.take(name).filter(|value| !matches!(value, Value::Json(json) if json.get() == "null"))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        match self.take_some(name) {
            None => Ok(None),
            Some(Value::Plain(text)) => Ok(Some(text)),
            Some(Value::Json(json)) => {
                let text: Result<Text<'a>, _> = serde_json::from_str(json.get());
                text.map(|text| Some(text.0)).map_err(|_| self.wrong(name, "a text"))
            }
        }
    }

    pub(super) fn boxed(&mut self, name: &str) -> Result<Option<Box<str>>, Failure> {
        Ok(self.text(name)?.map(Into::into))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Failure> {
        match self.take_some(name).as_ref().map(Value::as_str) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub(super) fn u64(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(value) = self.take_some(name) else { return Ok(None) };
        let digits = value.as_str();
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        number.map(Some).ok_or_else(|| self.wrong(name, "a whole number from 0"))
    }

    pub(crate) fn u32(&mut self, name: &str) -> Result<Option<u32>, Failure> {
        let number = self.u64(name)?;
        number.map(|number| u32::try_from(number).map_err(|_| self.wrong(name, "a smaller number"))).transpose()
    }

    /// A command's id.
    pub(super) fn id(&mut self) -> Result<Option<u32>, Failure> {
        match self.u32("id") {
            Ok(Some(0)) | Err(_) => Err(bad_message("member id must be a whole number from 1 to 4294967295")),
            id => id,
        }
    }

    pub(super) fn channel(&mut self) -> Result<Arc<str>, Failure> {
        let name = self.text("channel")?;
        Ok(self.needed("channel", name)?.into())
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<Arc<str>>>, Failure> {
        match self.take_some(name) {
            None => Ok(None),
            Some(value) => {
                let texts: Result<Vec<Text<'_>>, _> = serde_json::from_str(value.as_str());
                let texts = texts.map_err(|_| self.wrong(name, "a list of texts"))?;
                Ok(Some(texts.into_iter().map(|text| text.0.into()).collect()))
            }
        }
    }

    /// An object of texts.
    pub(super) fn map<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        match self.take_some(name) {
            None => Ok(None),
            Some(value) => serde_json::from_str(value.as_str()).map(Some).map_err(|_| self.wrong(name, "an object of texts")),
        }
    }

    pub(super) fn session(&mut self, name: &str) -> Result<Option<SessionId>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        SessionId::parse(&text).map(Some).ok_or_else(|| self.wrong(name, "the id of a session"))
    }

    pub(super) fn epoch(&mut self) -> Result<Option<Epoch>, Failure> {
        Ok(self.text("epoch")?.map(|text| Epoch::parse(&text).unwrap_or(Epoch::NONE)))
    }

    /// JSON of any kind, `null` too, or bytes in base64; not both.
    pub(super) fn data(&mut self) -> Result<Option<Data>, Failure> {
        let json = match self.take("data") {
            None => None,
            Some(value) => {
                let json = Data::json(value.as_str());
                Some(json.map_err(|why| self.wrong("data", format_args!("JSON: {why}")))?)
            }
        };
        let Some(text) = self.text("bytes")? else { return Ok(json) };
        if json.is_some() {
            return Err(Failure::new(ErrorCode::BadValue, format!("{} takes data or bytes, not both", self.of)));
        }
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| self.wrong("bytes", "base64"))?;
        Ok(Some(Data::Bytes(bytes.into())))
    }
}

impl Value<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Plain(text) => text,
        }
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, Value<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut left: Self::Value = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            if left.iter().any(|(known, _)| *known == name) {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format_args!("member {} comes twice", shown(&name))));
            }
            if left.len() == MEMBERS_MAX {
                return Err(A::Error::custom("too many members"));
            }
            left.push((name, Value::Json(map.next_value()?)));
        }
        Ok(left)
    }
}

pub(super) fn bad_message(message: impl Into<Box<str>>) -> Failure {
    Failure::new(ErrorCode::BadMessage, message)
}

/// The name is the client's: only so much of it goes back.
pub(super) fn shown(name: &str) -> String {
    format!("'{}'", name.chars().take(40).collect::<String>())
}

/// Without percent-encoding; `+` is a space, as forms and `curl --data-urlencode` have it.
pub(crate) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push(match byte {
            b'%' => (digit(bytes.next()?)? << 4 | digit(bytes.next()?)?) as u8,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(failure: Failure) -> String {
        failure.message.map(String::from).unwrap_or_default()
    }

    #[test]
    fn a_body_and_a_query_say_the_same() {
        for mut members in [
            Members::of_json(br#"{"channel":"chat:a b","limit":7,"stream":true,"data":null,"after":null}"#).unwrap(),
            Members::of_query("channel=chat%3Aa+b&limit=7&stream=true&data=null").unwrap(),
        ] {
            assert_eq!(&*members.channel().unwrap(), "chat:a b");
            assert_eq!(members.u32("limit").unwrap(), Some(7));
            assert!(members.flag("stream").unwrap());
            assert_eq!(members.data().unwrap(), Some(Data::json("null").unwrap()));
            assert_eq!(members.u64("after").unwrap(), None);
            members.finish().unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = message(Members::of_json(b"{\"channel\":\n \"a\",}").err().unwrap());
        assert!(error.contains("line 2 column"), "{error}");
        let error = message(Members::of_json(br#"{"a":1,"a":2}"#).err().unwrap());
        assert!(error.contains("'a' comes twice"), "{error}");
        let many: String = (0..40).map(|n| format!(r#""m{n}":0,"#)).collect();
        let error = message(Members::of_json(format!("{{{many}\"z\":0}}").as_bytes()).err().unwrap());
        assert!(error.contains("too many"), "{error}");
        let members = Members::of_json(br#"{"colour":1}"#).unwrap();
        assert!(message(members.finish().unwrap_err()).contains("'colour'"));
        for query in ["a=%", "a=%zz", "a=%ff", "a=1&a=2"] {
            assert!(Members::of_query(query).is_err(), "{query}");
        }
        let mut members = Members::of_json(br#"{"limit":1.5,"stream":1,"channel":7,"bytes":"*"}"#).unwrap();
        assert!(message(members.u32("limit").unwrap_err()).contains("limit"));
        assert!(message(members.flag("stream").unwrap_err()).contains("true or false"));
        assert!(message(members.channel().unwrap_err()).contains("a text"));
        assert!(message(members.data().unwrap_err()).contains("base64"));
    }
}
