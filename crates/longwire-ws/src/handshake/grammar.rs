//! The header grammar that the handshake needs: tokens, comma lists and extension lists.
//!
//! RFC 6455, 4.3 and 9.1 write their rules in the ABNF of RFC 2616: blanks may stand around
//! every separator, and a list may have empty elements as long as one element is there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// One element of `Sec-WebSocket-Extensions`: an extension with its parameters, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The extension's name, compared as it is written.
    pub name: &'a str,
    /// The parameters, duplicates included; judging them is the extension's affair.
    pub params: Vec<Param<'a>>,
}

/// One parameter of an [`Extension`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param<'a> {
    /// The parameter's name, compared as it is written.
    pub name: &'a str,
    /// The value without its quotes, or `None` where the parameter has none.
    pub value: Option<Cow<'a, str>>,
}

/// A header value that does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header value does not follow its grammar")
    }
}

impl std::error::Error for Malformed {}

/// Parses all `Sec-WebSocket-Extensions` values of one message, in order.
///
/// No header at all is an empty list.
///
/// # Errors
/// [`Malformed`] if a value breaks the grammar, or if headers are there but name no extension.
pub fn extensions<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Result<Vec<Extension<'a>>, Malformed> {
    // RFC 6455, 9.1: extension-list = 1#extension; several header lines form one list.
    list(values, Scanner::extension)
}

/// Parses all values of a header that is a list of tokens, such as `Sec-WebSocket-Protocol`.
///
/// No header at all is an empty list.
///
/// # Errors
/// [`Malformed`] if an element is no token, or if headers are there but hold no element.
pub fn tokens<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Result<Vec<&'a str>, Malformed> {
    // RFC 6455, 4.3: Sec-WebSocket-Protocol-Client = 1#token.
    list(values, Scanner::token)
}

/// Whether `text` is a token (RFC 2616, 2.2): one or more visible ASCII characters, no separators.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// Whether any element of the comma lists in `values` is `token`, whatever its case.
///
/// Other elements are not judged: what else a peer or a proxy lists there does not concern us.
pub(super) fn list_contains<'a>(values: impl IntoIterator<Item = &'a HeaderValue>, token: &str) -> bool {
    values
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|element| trim(element).eq_ignore_ascii_case(token.as_bytes()))
}

/// The value of a header that may be there once at most, without the blanks around it.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Repeated),
        (value, None) => Ok(value.map(|value| trim(value.as_bytes()))),
    }
}

/// A header that is there more often than once.
#[derive(Debug)]
pub(super) struct Repeated;

/// The first element of a list that is in it a second time.
pub(super) fn first_repeated<'a>(elements: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A set, since the list comes from outside and comparing all pairs would take long.
    let mut seen = HashSet::new();
    elements.into_iter().find(|element| !seen.insert(*element))
}

/// `value` without the blanks around it.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn list<'a, T>(
    values: impl IntoIterator<Item = &'a HeaderValue>,
    element: fn(&mut Scanner<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut elements = Vec::new();
    let mut present = false;
    for value in values {
        present = true;
        let mut scanner = Scanner { rest: value.as_bytes() };
        loop {
            scanner.skip_blanks();
            if scanner.rest.is_empty() {
                break;
            }
            // RFC 2616, 2.1: an element of a list may be empty.
            if scanner.eat(b',') {
                continue;
            }
            elements.push(element(&mut scanner)?);
            scanner.skip_blanks();
            if !scanner.rest.is_empty() && !scanner.eat(b',') {
                return Err(Malformed);
            }
        }
    }
    if present && elements.is_empty() {
        return Err(Malformed);
    }
    Ok(elements)
}

/// A reader over one header value; `rest` is what is still unread.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// RFC 6455, 9.1: extension = extension-token *( ";" extension-param )
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut params = Vec::new();
        loop {
            self.skip_blanks();
            if !self.eat(b';') {
                return Ok(Extension { name, params });
            }
            self.skip_blanks();
            params.push(self.param()?);
        }
    }

    /// RFC 6455, 9.1: extension-param = token [ "=" (token | quoted-string) ]
    fn param(&mut self) -> Result<Param<'a>, Malformed> {
        let name = self.token()?;
        self.skip_blanks();
        if !self.eat(b'=') {
            return Ok(Param { name, value: None });
        }
        self.skip_blanks();
        let value = if self.eat(b'"') { self.rest_of_quoted_token()? } else { Cow::Borrowed(self.token()?) };
        Ok(Param { name, value: Some(value) })
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let end = self.rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        if token.is_empty() {
            return Err(Malformed);
        }
        self.rest = rest;
        // Tokens are ASCII, so this holds always.
        str::from_utf8(token).map_err(|_| Malformed)
    }

    /// Reads on after an opening quote.
    ///
    /// RFC 6455, 9.1: what a quoted value says, once unescaped, has to be a token too.
    fn rest_of_quoted_token(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let mut value = Cow::Borrowed("");
        loop {
            match self.rest {
                [b'"', rest @ ..] if !value.is_empty() => {
                    self.rest = rest;
                    return Ok(value);
                }
                [b'\\', byte, rest @ ..] if is_token_byte(*byte) => {
                    value.to_mut().push(char::from(*byte));
                    self.rest = rest;
                }
                _ => {
                    let run = self.token()?;
                    if value.is_empty() {
                        value = Cow::Borrowed(run);
                    } else {
                        value.to_mut().push_str(run);
                    }
                }
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// RFC 2616, 2.2: a token has no control characters, no blanks and no separators.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
