//! Server frames out of a byte stream.
//!
//! The load generator has to cost much less per message than the server that it measures, so it does not use
//! [`longwire_ws::Connection`] here, only its header decoder: a frame that lies whole in the read buffer is handed on as a
//! slice of it, and only what is cut by the end of a read is copied. Text is not checked for UTF-8 (its bytes are compared
//! with what was sent); everything that would lead the scanner astray is.

use longwire_ws::frame::Header;
use longwire_ws::{Opcode, ProtocolError};

/// Takes what a [`Scanner`] finds.
pub(crate) trait Sink {
    /// A whole message; `binary` tells its type.
    fn message(&mut self, binary: bool, payload: &[u8]);
    /// A ping, pong or close frame.
    fn control(&mut self, opcode: Opcode, payload: &[u8]);
}

/// The state of one line between reads. It holds no memory until a frame is cut by the end of a read.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The beginning of a frame whose end has not been read yet.
    cut: Vec<u8>,
    /// The fragments of the message that is not finished yet.
    fragments: Vec<u8>,
    /// The opcode of that message.
    fragmented: Option<Opcode>,
}

/// The header at the beginning of some bytes.
struct Frame {
    fin: bool,
    opcode: Opcode,
    /// Bytes of the header.
    header: usize,
    /// Bytes of header and payload.
    whole: usize,
}

impl Scanner {
    /// Hands every frame that `input` completes to the sink. `limit` bounds a message in bytes.
    pub(crate) fn scan(&mut self, mut input: &[u8], limit: usize, sink: &mut impl Sink) -> Result<(), ProtocolError> {
        while !self.cut.is_empty() && !input.is_empty() {
            // Without the header's end the length is unknown, and the next byte may be all that is missing.
            let wanted = decode(&self.cut, limit)?.map_or(self.cut.len() + 1, |frame| frame.whole);
            let (more, rest) = input.split_at(input.len().min(wanted - self.cut.len()));
            self.cut.extend_from_slice(more);
            input = rest;
            if let Some(frame) = decode(&self.cut, limit)?
                && self.cut.len() == frame.whole
            {
                let bytes = std::mem::take(&mut self.cut);
                self.frame(&frame, &bytes[frame.header..], limit, sink)?;
                self.cut = bytes;
                self.cut.clear();
            }
        }
        while let Some(frame) = decode(input, limit)? {
            let Some(payload) = input.get(frame.header..frame.whole) else { break };
            input = &input[frame.whole..];
            self.frame(&frame, payload, limit, sink)?;
        }
        self.cut.extend_from_slice(input);
        Ok(())
    }

    #[inline]
    fn frame(&mut self, frame: &Frame, payload: &[u8], limit: usize, sink: &mut impl Sink) -> Result<(), ProtocolError> {
        match (frame.opcode, self.fragmented) {
            (Opcode::Text | Opcode::Binary, None) if frame.fin => sink.message(frame.opcode == Opcode::Binary, payload),
            (Opcode::Text | Opcode::Binary, None) => {
                self.fragmented = Some(frame.opcode);
                self.fragments.extend_from_slice(payload);
            }
            (Opcode::Continuation, Some(opcode)) => {
                if self.fragments.len() + payload.len() > limit {
                    return Err(ProtocolError::MessageTooBig { limit });
                }
                self.fragments.extend_from_slice(payload);
                if frame.fin {
                    sink.message(opcode == Opcode::Binary, &self.fragments);
                    self.fragments.clear();
                    self.fragmented = None;
                }
            }
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (control, _) => sink.control(control, payload),
        }
        Ok(())
    }
}

/// The frame at the beginning of `bytes`; none when its header is not there whole yet (RFC 6455 section 5.2).
#[inline]
fn decode(bytes: &[u8], limit: usize) -> Result<Option<Frame>, ProtocolError> {
    let Some((found, header)) = Header::decode(bytes)? else { return Ok(None) };
    if found.rsv != 0 {
        return Err(ProtocolError::ReservedBits); // no extension is offered
    }
    if found.mask.is_some() {
        return Err(ProtocolError::MaskedFrame); // section 5.1
    }
    match usize::try_from(found.payload_len) {
        Ok(payload) if payload <= limit || found.opcode.is_control() => {
            Ok(Some(Frame { fin: found.fin, opcode: found.opcode, header, whole: header + payload }))
        }
        _ => Err(ProtocolError::MessageTooBig { limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100_000;

    #[derive(Debug, Default, PartialEq)]
    struct Found(Vec<(Opcode, Vec<u8>)>);

    impl Sink for Found {
        fn message(&mut self, binary: bool, payload: &[u8]) {
            self.0.push((if binary { Opcode::Binary } else { Opcode::Text }, payload.to_vec()));
        }
        fn control(&mut self, opcode: Opcode, payload: &[u8]) {
            self.0.push((opcode, payload.to_vec()));
        }
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..65536 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    /// Every kind of frame, with control frames between fragments, and what is to be found in it.
    fn sample(medium: usize) -> (Vec<u8>, Found) {
        let (medium, long) = (vec![7; medium], vec![9; 300]);
        let stream = [
            frame(0x81, b"hello"),
            frame(0x82, b""),
            frame(0x89, b"ping"),
            frame(0x01, b"one "),
            frame(0x8a, b""),
            frame(0x00, b"message"),
            frame(0x80, &long),
            frame(0x82, &medium),
            frame(0x88, &[0x03, 0xe8, b'x']),
        ]
        .concat();
        let whole = [b"one message".to_vec(), long].concat();
        let found = Found(vec![
            (Opcode::Text, b"hello".to_vec()),
            (Opcode::Binary, vec![]),
            (Opcode::Ping, b"ping".to_vec()),
            (Opcode::Pong, vec![]),
            (Opcode::Text, whole),
            (Opcode::Binary, medium),
            (Opcode::Close, vec![0x03, 0xe8, b'x']),
        ]);
        (stream, found)
    }

    #[test]
    fn any_two_cuts_give_the_same_frames() {
        let (stream, expected) = sample(126);
        for first in 0..=stream.len() {
            for second in (first..=stream.len()).step_by(7).chain([first]) {
                let (mut scanner, mut found) = (Scanner::default(), Found::default());
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    scanner.scan(part, LIMIT, &mut found).unwrap();
                }
                assert_eq!(found, expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn pieces_of_any_length_give_the_same_frames() {
        let (stream, expected) = sample(70_000);
        for length in [1, 2, 3, 5, 10, 127, 4096, 70_000] {
            let (mut scanner, mut found) = (Scanner::default(), Found::default());
            for part in stream.chunks(length) {
                scanner.scan(part, LIMIT, &mut found).unwrap();
            }
            assert_eq!(found, expected, "pieces of {length}");
            assert!(scanner.cut.is_empty() && scanner.fragments.is_empty());
        }
    }

    #[test]
    fn broken_streams_are_refused_wherever_they_are_cut() {
        let over = [&[0x82, 127][..], &(LIMIT as u64 + 1).to_be_bytes()].concat();
        let fragments_over = [frame(0x02, &vec![0; 60_000]), frame(0x80, &vec![0; 60_000])].concat();
        let too_big = ProtocolError::MessageTooBig { limit: LIMIT };
        for (stream, error) in [
            (frame(0xc1, b"compressed"), ProtocolError::ReservedBits),
            (vec![0x81, 0x85, 1, 2, 3, 4, 0, 0, 0, 0, 0], ProtocolError::MaskedFrame),
            (frame(0x83, b""), ProtocolError::ReservedOpcode(3)),
            (frame(0x8b, b""), ProtocolError::ReservedOpcode(11)),
            (frame(0x09, b"fragmented ping"), ProtocolError::FragmentedControl),
            (frame(0x89, &[0; 126]), ProtocolError::ControlTooLong),
            (frame(0x80, b"no beginning"), ProtocolError::UnexpectedContinuation),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), ProtocolError::ExpectedContinuation),
            (over, too_big),
            (fragments_over, too_big),
        ] {
            for length in [1, 2, 3, stream.len()] {
                let mut scanner = Scanner::default();
                let result = stream.chunks(length).try_for_each(|part| scanner.scan(part, LIMIT, &mut Found::default()));
                assert_eq!(result, Err(error), "pieces of {length}");
            }
        }
    }
}
