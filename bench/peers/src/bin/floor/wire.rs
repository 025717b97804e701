//! As much of RFC 6455 as it takes to find the frames of a well-behaved client, and nothing more.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Opcode of a close frame (RFC 6455 section 5.2).
pub(crate) const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub(crate) const PING: u8 = 0x9;
/// Opcode of a pong.
pub(crate) const PONG: u8 = 0xA;

/// The answer to a path outside the contract.
pub(crate) const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const FIN: u8 = 0x80;

/// One masked frame of a client, as it lies in the read buffer.
pub(crate) struct Frame<'a> {
    /// FIN, RSV and opcode as they came: an echo repeats this byte.
    pub(crate) first: u8,
    mask: [u8; 4],
    masked: &'a [u8],
    /// Bytes from the start of this frame to the start of the next.
    pub(crate) length: usize,
}

impl<'a> Frame<'a> {
    /// The frame at the start of `input`, or `None` while some of it is missing (RFC 6455 section 5.2).
    #[inline]
    pub(crate) fn parse(input: &'a [u8]) -> Option<Self> {
        let (first, second) = (*input.first()?, *input.get(1)?);
        let (payload_length, at) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(array(input, 2)?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(array(input, 2)?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let mask = array(input, at)?;
        let length = payload_length.checked_add(at + 4)?;
        let masked = input.get(at + 4..length)?;
        Some(Self { first, mask, masked, length })
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    /// Appends the frame as a server sends it, unmasked, with `first` as its first byte.
    #[inline]
    pub(crate) fn append_as(&self, first: u8, out: &mut Vec<u8>) {
        let length = self.masked.len();
        if let Ok(short @ ..126) = u8::try_from(length) {
            out.extend_from_slice(&[first, short]);
        } else if let Ok(middle) = u16::try_from(length) {
            let [high, low] = middle.to_be_bytes();
            out.extend_from_slice(&[first, 126, high, low]);
        } else {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
        // Copied and then unmasked where it landed: both passes vectorise, and the second finds the bytes in the first-level cache.
        let start = out.len();
        out.extend_from_slice(self.masked);
        unmask(&mut out[start..], self.mask);
    }

    /// Appends the pong or the close frame that answers this ping or close frame.
    pub(crate) fn append_control_answer(&self, opcode: u8, out: &mut Vec<u8>) {
        self.append_as(FIN | opcode, out);
    }
}

#[inline]
fn array<const N: usize>(input: &[u8], at: usize) -> Option<[u8; N]> {
    input.get(at..)?.first_chunk().copied()
}

#[inline]
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask)) * 0x1_0000_0001;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// What a client asked for in its opening handshake.
pub(crate) struct Opening<'a> {
    pub(crate) path: &'a str,
    key: &'a str,
    /// Bytes of the request, the empty line included.
    pub(crate) length: usize,
}

impl<'a> Opening<'a> {
    /// The request at the start of `input`, or `None` while it is incomplete or is no opening.
    pub(crate) fn parse(input: &'a [u8]) -> Option<Self> {
        let length = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = str::from_utf8(&input[..length]).ok()?;
        let path = text.split(' ').nth(1)?;
        let key = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        })?;
        Some(Self { path, key, length })
    }

    /// The answer that opens the line (RFC 6455 section 4.2.2).
    pub(crate) fn answer(&self) -> String {
        let accept = derive_accept_key(self.key.as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn masked(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x82];
        match payload.len() {
            short @ ..126 => frame.push(0x80 | short as u8),
            middle @ ..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    #[test]
    fn every_length_form_is_found_and_comes_back_unmasked() {
        for length in [0, 1, 7, 8, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let mut input = masked(&payload);
            let whole = input.len();
            input.extend(b"next");
            let frame = Frame::parse(&input).unwrap();
            assert_eq!(frame.length, whole);
            let mut out = vec![];
            frame.append_as(frame.first, &mut out);
            assert_eq!(out[0], 0x82);
            // The header is as short as it can be, and nothing but the mask is missing.
            assert_eq!(out.len(), whole - 4);
            assert_eq!(out[out.len() - length..], payload);
        }
    }

    #[test]
    fn a_part_of_a_frame_is_no_frame() {
        let input = masked(&[5; 300]);
        for end in 0..input.len() {
            assert!(Frame::parse(&input[..end]).is_none());
        }
    }

    #[test]
    fn the_sample_key_gets_the_sample_answer() {
        let request = b"GET /sub/a HTTP/1.1\r\nHost: x\r\nsec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\nmore";
        let opening = Opening::parse(request).unwrap();
        assert_eq!((opening.path, opening.length), ("/sub/a", request.len() - 4));
        assert!(opening.answer().contains("Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n"));
    }
}
