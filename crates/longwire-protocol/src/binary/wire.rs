//! Protocol Buffers on the wire: varints and what has a length. Messages of this protocol use no other types.

use bytes::Bytes;

use crate::data::{Data, SessionId, json_line};
use crate::error::{Result, bad_message, bad_value};

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// Takes a varint from the front, at most ten bytes; `None` if it is cut short or over 64 bits.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let part = u64::from(byte & 0x7f);
        if at == 9 && part > 1 {
            return None;
        }
        number |= part << (7 * at);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

/// The parts of `message`, each with its length before it. After an error nothing more.
pub(super) fn split(message: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    let mut rest = message;
    std::iter::from_fn(move || take_part(&mut rest))
}

/// Takes the next part, with its length before it; `None` once nothing is left. After an error nothing is.
pub(super) fn take_part<'a>(rest: &mut &'a [u8]) -> Option<Result<&'a [u8]>> {
    if rest.is_empty() {
        return None;
    }
    let part = take_bytes(rest);
    if part.is_none() {
        *rest = &[];
    }
    Some(part.ok_or_else(|| bad_message("a length is wrong: each message is preceded by its length as a varint")))
}

/// Appends what `write` appends, and its length as a varint before it.
pub fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Most are shorter than 128 bytes or not much longer, so that moving them by a byte costs less than measuring them first.
    let start = out.len();
    out.push(0);
    write(out);
    let len = out.len() - start - 1;
    if len < 0x80 {
        out[start] = len as u8;
        return;
    }
    let mut prefix = [0; 10];
    let mut more = 0;
    let mut number = len;
    while number >= 0x80 {
        prefix[more] = number as u8 | 0x80;
        number >>= 7;
        more += 1;
    }
    prefix[more] = number as u8;
    out.extend_from_slice(&[0; 9][..more]);
    out.copy_within(start + 1..start + 1 + len, start + 1 + more);
    out[start..=start + more].copy_from_slice(&prefix[..=more]);
}

/// Writes fields. As in proto3, what is zero or empty and not `some` is left out.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    fn tag(&mut self, field: u32, wire: u64) {
        push_varint(u64::from(field) << 3 | wire, self.0);
    }

    pub(super) fn number(&mut self, field: u32, number: impl Into<u64>) {
        let number = number.into();
        if number != 0 {
            self.some_number(field, Some(number));
        }
    }

    pub(super) fn some_number(&mut self, field: u32, number: Option<impl Into<u64>>) {
        if let Some(number) = number {
            self.tag(field, VARINT);
            push_varint(number.into(), self.0);
        }
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    pub(super) fn some_text(&mut self, field: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Bytes, if there are none too.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, BYTES);
        push_varint(bytes.len() as u64, self.0);
        self.0.extend_from_slice(bytes);
    }

    /// A message inside, if it is empty too.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, BYTES);
        delimited(self.0, |out| write(&mut Writer(out)));
    }

    /// A `map<string, string>`: a message for each pair.
    pub(super) fn map<'t>(&mut self, field: u32, pairs: impl IntoIterator<Item = (&'t str, &'t str)>) {
        for (name, text) in pairs {
            self.message(field, |w| {
                w.text(1, name);
                w.text(2, text);
            });
        }
    }

    /// The `oneof` of data, at three numbers from `first` on: `json`, `text`, `bytes`.
    pub(super) fn data(&mut self, first: u32, data: Option<&Data>) {
        match data {
            None => {}
            Some(Data::Json(bytes)) => self.bytes(first, bytes),
            Some(Data::Text(bytes)) => self.bytes(first + 1, bytes),
            Some(Data::Bytes(bytes)) => self.bytes(first + 2, bytes),
        }
    }
}

/// The fields of a message, in the order in which they come.
pub(super) struct Fields<'a> {
    of: &'static str,
    rest: &'a [u8],
}

/// One field: its number, and its value as it is on the wire.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    of: &'static str,
    pub(super) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that no field of ours has.
    Fixed,
}

impl<'a> Fields<'a> {
    /// `of` is what the message is, for people.
    pub(super) fn new(of: &'static str, message: &'a [u8]) -> Self {
        Self { of, rest: message }
    }

    fn take(&mut self) -> Option<Field<'a>> {
        let tag = take_varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
        let value = match tag & 7 {
            VARINT => Value::Number(take_varint(&mut self.rest)?),
            BYTES => Value::Bytes(take_bytes(&mut self.rest)?),
            fixed @ (FIXED_64 | FIXED_32) => {
                self.rest = self.rest.get(if fixed == FIXED_64 { 8 } else { 4 }..)?;
                Value::Fixed
            }
            _ => return None,
        };
        Some(Field { of: self.of, number, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Result<Field<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| bad_message(format!("{} is not in the encoding of Protocol Buffers, or cut short", self.of))))
    }
}

impl<'a> Field<'a> {
    fn wrong<T>(&self, must: &str) -> Result<T> {
        Err(bad_value(format!("field {} of {} must be {must}", self.number, self.of)))
    }

    fn wrong_type<T>(&self, must: &str) -> Result<T> {
        Err(bad_message(format!("field {} of {} must be {must}", self.number, self.of)))
    }

    pub(super) fn u64(&self) -> Result<u64> {
        match self.value {
            Value::Number(number) => Ok(number),
            _ => self.wrong_type("a varint"),
        }
    }

    pub(super) fn u32(&self) -> Result<u32> {
        self.u64()?.try_into().or_else(|_| self.wrong("at most 4294967295"))
    }

    pub(super) fn flag(&self) -> Result<bool> {
        Ok(self.u64()? != 0)
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => self.wrong_type("of a type with a length"),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).or_else(|_| self.wrong("UTF-8"))
    }

    pub(super) fn boxed(&self) -> Result<Box<str>> {
        Ok(self.text()?.into())
    }

    /// A message inside.
    pub(super) fn message(&self, of: &'static str) -> Result<Fields<'a>> {
        Ok(Fields::new(of, self.bytes()?))
    }

    /// A session's id; `None` if it has not the length of one.
    pub(super) fn session(&self) -> Result<Option<SessionId>> {
        Ok(self.bytes()?.try_into().ok().map(SessionId))
    }

    /// JSON of any kind, on one line.
    pub(super) fn json(&self) -> Result<Bytes> {
        json_line(self.text()?.to_owned().into()).or_else(|why| self.wrong(&format!("JSON: {why}")))
    }

    /// JSON of any kind but `null`, which counts as left out.
    pub(super) fn info(&self) -> Result<Option<Bytes>> {
        Ok(Some(self.json()?).filter(|json| json != "null"))
    }

    /// One of the three fields of data, the number of whose first is given.
    pub(super) fn data(&self, first: u32) -> Result<Data> {
        match self.number - first {
            0 => self.json().map(Data::Json),
            1 => Ok(Data::from(self.text()?)),
            _ => Ok(Data::from(self.bytes()?.to_vec())),
        }
    }

    /// An enum's value, of those from 1 on.
    pub(super) fn choice<T: Copy>(&self, of: &[T]) -> Result<Option<T>> {
        match self.u64()? {
            0 => Ok(None),
            number => match usize::try_from(number - 1).ok().and_then(|at| of.get(at)) {
                Some(choice) => Ok(Some(*choice)),
                None => self.wrong("a value of its enum"),
            },
        }
    }

    /// A pair of a `map<string, string>`.
    pub(super) fn pair(&self) -> Result<(Box<str>, Box<str>)> {
        let mut pair = <(Box<str>, Box<str>)>::default();
        for field in self.message(self.of)? {
            let field = field?;
            match field.number {
                1 => pair.0 = field.boxed()?,
                2 => pair.1 = field.boxed()?,
                _ => {}
            }
        }
        Ok(pair)
    }
}

/// The number of a choice in its enum; 0 is for none.
pub(super) fn number_of<T: PartialEq>(choice: Option<T>, of: &[T]) -> u64 {
    choice.and_then(|choice| of.iter().position(|other| *other == choice)).map_or(0, |at| at as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            push_varint(number, &mut out);
            assert_eq!(take_varint(&mut &out[..]), Some(number));
            assert_eq!(take_varint(&mut &out[..out.len() - 1]), None, "cut short");
        }
    }

    #[test]
    fn varints_of_more_than_64_bits_are_none() {
        assert_eq!(take_varint(&mut &[0xff; 10][..]), None);
        let mut two_to_the_64 = [0x80; 10];
        two_to_the_64[9] = 2;
        assert_eq!(take_varint(&mut &two_to_the_64[..]), None);
    }

    #[test]
    fn a_length_goes_before_what_was_written_whatever_it_is() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let content: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut out = b"before".to_vec();
            delimited(&mut out, |out| out.extend_from_slice(&content));
            delimited(&mut out, |out| out.push(9));
            let parts: Vec<_> = split(&out[6..]).collect::<Result<_>>().unwrap();
            assert_eq!(parts, [&content[..], &[9]]);
        }
    }

    #[test]
    fn a_wrong_length_is_the_end() {
        for message in [&[5, 1, 2][..], &[0x80], &[0xff; 20], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]] {
            let parts: Vec<_> = split(message).collect();
            assert!(parts.len() == 1 && parts[0].is_err());
        }
    }
}
