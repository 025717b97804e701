//! Server-Sent Events (WHATWG HTML, "Server-sent events") out of the body of a response that does not end.
//!
//! What is handed on are whole events with their bytes as they came, so that a load can compare them; only what it does not know
//! yet is read line by line. Lines end with LF or CRLF; a CR alone, which the standard has as well, is not looked for.

use std::ops::ControlFlow;

use crate::http::{Chunks, Malformed};

/// The state of one stream between reads. It holds no memory until an event is cut by the end of a read or of a chunk.
#[derive(Debug, Default)]
pub(crate) struct EventScanner {
    chunks: Option<Chunks>,
    /// The beginning of an event whose end has not been read yet.
    cut: Vec<u8>,
}

/// One event, or a comment, or something else that ends with an empty line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// As it came, the empty line included.
    pub(crate) whole: &'a [u8],
    /// The first line of its data; none if it has no data.
    pub(crate) data: Option<&'a [u8]>,
}

impl EventScanner {
    /// For a body that is in chunks, or as it is.
    pub(crate) fn new(chunked: bool) -> EventScanner {
        EventScanner { chunks: chunked.then(Chunks::default), cut: Vec::new() }
    }

    /// Hands the events that `input` completes to `take`, one or more at a time. `limit` bounds an event in bytes. Breaks when the
    /// stream has ended.
    pub(crate) fn scan(
        &mut self,
        input: &[u8],
        limit: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<ControlFlow<()>, Malformed> {
        let cut = &mut self.cut;
        let flow = match &mut self.chunks {
            Some(chunks) => chunks.read(input, |piece| collect(cut, piece, &mut take))?,
            None => {
                collect(cut, input, &mut take);
                ControlFlow::Continue(())
            }
        };
        if self.cut.len() > limit {
            return Err(Malformed("an event has no end"));
        }
        Ok(flow.map_break(drop))
    }
}

/// Hands on what is whole in what was cut and the piece behind it, and keeps the rest.
fn collect(cut: &mut Vec<u8>, piece: &[u8], take: &mut impl FnMut(&[u8])) {
    if cut.is_empty() {
        let end = events_end(piece, 0);
        if end > 0 {
            take(&piece[..end]);
        }
        cut.extend_from_slice(&piece[end..]);
        return;
    }
    let before = cut.len();
    cut.extend_from_slice(piece);
    let end = events_end(cut, before);
    if end > 0 {
        take(&cut[..end]);
        cut.drain(..end);
    }
}

/// Where the last whole event ends that ends behind `from`; 0 if none does. Looked for from the end, where it nearly always is.
fn events_end(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len()).rev().find(|&at| ends_event(&bytes[..=at])).map_or(0, |at| at + 1)
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n")
}

/// Takes the next event off the front of whole events; none at their end.
pub(crate) fn next<'a>(rest: &mut &'a [u8]) -> Option<Event<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (mut at, mut data) = (0, None);
    loop {
        let line = &rest[at..];
        let len = line.iter().position(|&byte| byte == b'\n').map_or(line.len(), |end| end + 1);
        let text = line[..len].strip_suffix(b"\n").unwrap_or(&line[..len]);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        at += len;
        if text.is_empty() || at == rest.len() {
            let (whole, after) = rest.split_at(at);
            *rest = after;
            return Some(Event { whole, data });
        }
        data = data.or_else(|| value(text));
    }
}

/// Where the data of the event at the front begins; none if it has none.
#[inline]
pub(crate) fn data_at(events: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = &events[at..];
        if let Some(value) = value(line) {
            return Some(events.len() - value.len());
        }
        let len = line.iter().position(|&byte| byte == b'\n')? + 1;
        if len <= 2 && matches!(line[..len], [b'\n'] | [b'\r', b'\n']) {
            return None;
        }
        at += len;
    }
}

/// What stands behind `data:` at the front, without the one space.
fn value(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data:")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [&[u8]; 5] = [
        b"retry: 1437\n\n",
        b"event: connected\nid: 7\ndata: {\"a\":1}\n\n",
        b":\n\n",
        b"data:no space\r\nid: 8\r\n\r\n",
        b"data: one\ndata: two\n\n",
    ];
    const DATA: [Option<&[u8]>; 5] = [None, Some(b"{\"a\":1}"), None, Some(b"no space"), Some(b"one")];

    fn found(chunked: bool, bytes: &[u8], length: usize) -> (Vec<Vec<u8>>, bool) {
        let (mut scanner, mut found, mut ended) = (EventScanner::new(chunked), Vec::new(), false);
        for part in bytes.chunks(length) {
            let take = |mut events: &[u8]| {
                while let Some(event) = next(&mut events) {
                    found.push(event.whole.to_vec());
                }
            };
            ended |= scanner.scan(part, 1000, take).unwrap().is_break();
        }
        assert!(ended || scanner.cut.is_empty());
        (found, ended)
    }

    #[test]
    fn events_are_whole_however_they_are_cut_and_chunked() {
        let plain = EVENTS.concat();
        // Chunks that end anywhere, as a proxy may make them.
        let mut chunked: Vec<u8> =
            plain.chunks(11).flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).collect();
        chunked.extend_from_slice(b"0\r\n\r\n");
        for length in 1..chunked.len() {
            assert_eq!(found(false, &plain, length), (EVENTS.map(<[u8]>::to_vec).to_vec(), false), "pieces of {length}");
            assert_eq!(found(true, &chunked, length), (EVENTS.map(<[u8]>::to_vec).to_vec(), true), "pieces of {length}");
        }
    }

    #[test]
    fn the_data_is_found() {
        let joined = EVENTS.concat();
        let mut rest = &joined[..];
        for (whole, data) in EVENTS.into_iter().zip(DATA) {
            let at = data_at(rest);
            assert_eq!(next(&mut rest), Some(Event { whole, data }));
            assert_eq!(at.map(|at| whole[at..].starts_with(data.unwrap())), data.map(|_| true));
        }
        assert_eq!(next(&mut rest), None);
        assert_eq!((data_at(b""), data_at(b"id: 1")), (None, None));
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        assert!(EventScanner::new(false).scan(&[b'x'; 1001], 1000, |_| {}).is_err());
        assert!(EventScanner::new(true).scan(b"not a length\r\n", 1000, |_| {}).is_err());
    }
}
