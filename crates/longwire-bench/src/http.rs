//! HTTP/1.1 as far as a load needs it: the head of a response, bodies in chunks (RFC 9112), and whole responses one after another.

use std::ops::ControlFlow;

/// The most bytes of a response's head that are taken.
const HEAD_MAX: usize = 16 << 10;
/// The longest line of a chunk's length, with its extensions, and of a trailer.
const CHUNK_LINE_MAX: usize = 1024;
const HEADERS_MAX: usize = 64;

/// What does not belong into a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes of it, the empty line included.
    pub(crate) len: usize,
    pub(crate) content_type: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) body: Body,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Length(usize),
    Chunks,
    /// It ends with the connection.
    UntilClosed,
}

impl Head {
    /// Reads the head at the beginning of `bytes`; none while it is not there whole.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(bytes).map_err(|_| Malformed("it is no HTTP/1.1 response"))? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial if bytes.len() > HEAD_MAX => return Err(Malformed("its head has no end")),
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.ok_or(Malformed("it has no status"))?;
        let value = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(|value| value.trim().to_owned())
        };
        let chunked = value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let body = match (status, value("content-length")) {
            (100..=199 | 204 | 304, _) => Body::Length(0),
            _ if chunked => Body::Chunks,
            (_, Some(length)) => Body::Length(length.parse().map_err(|_| Malformed("its Content-Length is no number"))?),
            _ => Body::UntilClosed,
        };
        Ok(Some(Head { status, len, content_type: value("content-type"), etag: value("etag"), body }))
    }
}

/// Takes the chunks' frame off a body.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: ChunkState,
    /// The beginning of a line whose end has not been read yet.
    line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum ChunkState {
    /// At the line with the length.
    #[default]
    Length,
    /// So many bytes of data are to come.
    Data(usize),
    /// At the line break behind the data.
    Behind,
    /// At the lines behind the last chunk.
    Trailers,
}

impl Chunks {
    /// Hands the data in `input` to `take`, in pieces. Breaks with what follows when the last chunk has come.
    pub(crate) fn read<'a>(
        &mut self,
        mut input: &'a [u8],
        mut take: impl FnMut(&'a [u8]),
    ) -> Result<ControlFlow<&'a [u8]>, Malformed> {
        while !input.is_empty() {
            if let ChunkState::Data(left) = self.state {
                let (data, rest) = input.split_at(left.min(input.len()));
                input = rest;
                take(data);
                self.state = if data.len() == left { ChunkState::Behind } else { ChunkState::Data(left - data.len()) };
                continue;
            }
            let end = input.iter().position(|&byte| byte == b'\n');
            let (line, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
            input = rest;
            if end.is_none() || !self.line.is_empty() {
                self.line.extend_from_slice(line);
                if self.line.len() > CHUNK_LINE_MAX {
                    return Err(Malformed("a chunk's line has no end"));
                }
                if end.is_none() {
                    break;
                }
            }
            let last = if self.line.is_empty() { self.state.after(line)? } else { self.state.after(&self.line)? };
            self.line.clear();
            match last {
                Some(state) => self.state = state,
                None => return Ok(ControlFlow::Break(input)),
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl ChunkState {
    /// The state after a whole line; none after the last one.
    fn after(self, line: &[u8]) -> Result<Option<ChunkState>, Malformed> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self {
            ChunkState::Length => {
                let (digits, behind) = line.split_at(line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
                let is_end = matches!(behind.first(), None | Some(b';' | b' ' | b'\t'));
                // More than eight digits would be more than anybody sends.
                let digits = std::str::from_utf8(digits).ok().filter(|digits| is_end && digits.len() <= 8);
                let length = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
                match length.ok_or(Malformed("a chunk has no length"))? {
                    0 => Ok(Some(ChunkState::Trailers)),
                    length => Ok(Some(ChunkState::Data(length))),
                }
            }
            ChunkState::Behind if line.is_empty() => Ok(Some(ChunkState::Length)),
            ChunkState::Trailers if line.is_empty() => Ok(None),
            ChunkState::Trailers => Ok(Some(ChunkState::Trailers)),
            ChunkState::Behind | ChunkState::Data(_) => Err(Malformed("a chunk is longer than it says")),
        }
    }
}

/// Responses on one connection, one after another.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    /// The head as it came, then the body without the frame of its chunks.
    whole: Vec<u8>,
    head: Option<Head>,
    chunks: Chunks,
}

impl Responses {
    /// Hands every response that `input` completes to `take`: its head as it came, then its body, out of chunks. `limit` bounds a
    /// body in bytes.
    pub(crate) fn read(&mut self, mut input: &[u8], limit: usize, mut take: impl FnMut(&[u8])) -> Result<(), Malformed> {
        while !input.is_empty() {
            let Some(head) = &self.head else {
                let before = self.whole.len();
                self.whole.extend_from_slice(input);
                if let Some(head) = Head::read(&self.whole)? {
                    input = &input[head.len - before..];
                    self.whole.truncate(head.len);
                    self.head = Some(head);
                    self.finish(&mut take);
                    continue;
                }
                return Ok(());
            };
            match head.body {
                Body::Length(length) => {
                    let left = head.len + length - self.whole.len();
                    let (data, rest) = input.split_at(left.min(input.len()));
                    self.whole.extend_from_slice(data);
                    input = rest;
                }
                Body::Chunks => {
                    let whole = &mut self.whole;
                    match self.chunks.read(input, |data| whole.extend_from_slice(data))? {
                        ControlFlow::Continue(()) => input = &[],
                        ControlFlow::Break(rest) => {
                            input = rest;
                            take(&self.whole);
                            self.restart();
                            continue;
                        }
                    }
                }
                Body::UntilClosed => return Err(Malformed("a response's end cannot be told from the next one's beginning")),
            }
            if self.whole.len() > head.len + limit {
                return Err(Malformed("a response is too long"));
            }
            self.finish(&mut take);
        }
        Ok(())
    }

    /// Hands on the response if its length says that it is whole.
    fn finish(&mut self, take: &mut impl FnMut(&[u8])) {
        let is_whole = self.head.as_ref().is_some_and(|head| match head.body {
            Body::Length(length) => self.whole.len() == head.len + length,
            Body::Chunks | Body::UntilClosed => false,
        });
        if is_whole {
            // An interim response has another behind it (RFC 9110 section 15.2).
            if self.head.as_ref().is_some_and(|head| head.status >= 200) {
                take(&self.whole);
            }
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.whole.clear();
        self.head = None;
        self.chunks = Chunks::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 5\r\nETag: \"a\"\r\n\r\nhello\
        HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\ncontent-length: 5\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000003;x=y\r\none\r\nA\r\n, two, or \r\n0\r\nTrailer: t\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n";

    #[test]
    fn responses_are_taken_apart_wherever_they_are_cut() {
        for length in 1..STREAM.len() {
            let (mut responses, mut found) = (Responses::default(), Vec::new());
            for part in STREAM.chunks(length) {
                let take = |whole: &[u8]| {
                    let head = Head::read(whole).unwrap().expect("a whole head");
                    found.push((head.status, head.etag, whole[head.len..].to_vec()));
                };
                responses.read(part, 100, take).unwrap();
            }
            let etag = Some("\"a\"".to_owned());
            let expected = [
                (200, etag.clone(), b"hello".to_vec()),
                (304, etag, vec![]),
                (200, None, b"one, two, or ".to_vec()),
                (204, None, vec![]),
            ];
            assert_eq!(found, expected, "pieces of {length}");
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let read = |bytes: &[u8]| Responses::default().read(bytes, 4, |_| {});
        assert!(read(b"SSH-2.0\r\n\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\nwhere does it end").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde").is_err(), "over the limit");
        assert!(read(&[b'x'; HEAD_MAX + 1]).is_err());
    }
}
