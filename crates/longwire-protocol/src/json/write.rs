//! Writing JSON straight into a buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::data::{Data, Epoch, SessionId};

/// An object that is being written.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// Writes the name of a member, and gives back where its value goes.
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        push_text(text.as_bytes(), self.name(name));
    }

    pub(super) fn some_text(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub(super) fn number(&mut self, name: &'static str, number: u64) {
        push_number(number, self.name(name));
    }

    pub(super) fn some_number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    pub(super) fn flag(&mut self, name: &'static str, flag: bool) {
        self.raw(name, if flag { b"true" } else { b"false" });
    }

    /// A member that is only there if it says `true`.
    pub(super) fn if_true(&mut self, name: &'static str, flag: bool) {
        if flag {
            self.flag(name, true);
        }
    }

    /// JSON as it is.
    pub(super) fn raw(&mut self, name: &'static str, json: &[u8]) {
        self.name(name).extend_from_slice(json);
    }

    pub(super) fn session(&mut self, name: &'static str, session: SessionId) {
        let out = self.name(name);
        out.push(b'"');
        out.extend_from_slice(&session.text());
        out.push(b'"');
    }

    pub(super) fn epoch(&mut self, epoch: Epoch) {
        let out = self.name("epoch");
        out.push(b'"');
        out.extend((0..8).rev().map(|digit| b"0123456789abcdef"[(epoch.0 >> (4 * digit) & 15) as usize]));
        out.push(b'"');
    }

    /// `data` or `bytes`.
    pub(super) fn data(&mut self, data: Option<&Data>) {
        match data {
            None => {}
            Some(Data::Json(json)) => self.raw("data", json),
            Some(Data::Text(text)) => push_text(text, self.name("data")),
            Some(Data::Bytes(bytes)) => push_base64(bytes, self.name("bytes")),
        }
    }

    pub(super) fn object(&mut self, name: &'static str, members: impl FnOnce(&mut Object<'_>)) {
        write(self.name(name), members);
    }

    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        mut members: impl FnMut(&mut Object<'_>, T),
    ) {
        let out = self.name(name);
        out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(out, |object| members(object, item));
        }
        out.push(b']');
    }

    pub(super) fn texts<'t>(&mut self, name: &'static str, texts: impl IntoIterator<Item = &'t str>) {
        let out = self.name(name);
        out.push(b'[');
        for (at, text) in texts.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_text(text.as_bytes(), out);
        }
        out.push(b']');
    }

    /// An object of texts.
    pub(super) fn map<'t>(&mut self, name: &'static str, texts: impl IntoIterator<Item = (&'t str, &'t str)>) {
        let out = self.name(name);
        out.push(b'{');
        for (at, (key, text)) in texts.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_text(key.as_bytes(), out);
            out.push(b':');
            push_text(text.as_bytes(), out);
        }
        out.push(b'}');
    }
}

/// Writes one object.
pub(super) fn write(out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object::begin(out);
    members(&mut object);
    object.end();
}

/// RFC 8259, 7: the quotation mark, the backslash and the control characters below U+0020 are escaped, nothing else.
fn push_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, after) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = after.split_first() else { break };
        push_escape(byte, out);
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes at the front need no escape. Eight are looked at in one go.
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero; above the first such byte it may be set wrongly, and that does no harm, since then
    // the eight are looked at one by one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = text.as_chunks::<8>();
    let plain = words.iter().take_while(|word| {
        let word = u64::from_ne_bytes(**word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\'))) == 0
    });
    let whole = plain.count() * 8;
    let tail = text[whole..].iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
    tail.map_or(text.len(), |at| whole + at)
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_number(mut number: u64, out: &mut Vec<u8>) {
    // The longest u64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("there is room for four characters for each three bytes");
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_comes_back_wherever_it_stands() {
        let characters = (0..0x180).chain([0x2028, 0xfffd, 0x1f980]).filter_map(char::from_u32);
        for character in characters {
            for before in 0..17 {
                let text = format!("{}{character}{}", "é".repeat(before / 2) + &"x".repeat(before % 2), "y".repeat(9));
                let json = written(|out| push_text(text.as_bytes(), out));
                assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
                assert!(!json.bytes().any(|byte| byte < 0x20));
            }
        }
    }

    #[test]
    fn only_what_must_be_is_escaped() {
        assert_eq!(written(|out| push_text("a/é\u{7f}\"\\\n\u{1}".as_bytes(), out)), "\"a/é\u{7f}\\\"\\\\\\n\\u0001\"");
    }

    #[test]
    fn numbers_are_written_to_their_bounds() {
        for number in [0, 7, 10, 99, 1_700_000_000_000, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(written(|out| push_number(number, out)), number.to_string());
        }
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(written(|out| push_base64(bytes.as_bytes(), out)), format!("\"{text}\""));
        }
    }
}
