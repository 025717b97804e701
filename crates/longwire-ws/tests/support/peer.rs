//! The other end, by hand: frames as the specification draws them and any kind of deflate, nothing of it shared with the crate.

use longwire_ws::Role;
use longwire_ws::handshake::deflate::DeflateParams;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Strategy};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Any frame, right or wrong (RFC 6455, 5.2).
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { fin: true, rsv: 0, opcode, key: None, payload: payload.as_ref().to_vec() }
    }

    /// More of the message is to come.
    pub(crate) fn unfinished(self) -> Self {
        Self { fin: false, ..self }
    }

    /// With reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3.
    pub(crate) fn rsv(self, rsv: u8) -> Self {
        Self { rsv, ..self }
    }

    pub(crate) fn masked(self, key: [u8; 4]) -> Self {
        Self { key: Some(key), ..self }
    }

    /// As the peer of `role` must send it (RFC 6455, 5.1).
    pub(crate) fn sent_to(self, role: Role) -> Self {
        match role {
            Role::Server => self.masked(KEY),
            Role::Client => Self { key: None, ..self },
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let len = self.payload.len();
        let mut bytes = self.header(match len {
            0..=125 => Length::Short(len as u8),
            126..=65535 => Length::U16(len as u16),
            _ => Length::U64(len as u64),
        });
        let mask = |(at, byte): (usize, &u8)| byte ^ self.key.map_or(0, |key| key[at % 4]);
        bytes.extend(self.payload.iter().enumerate().map(mask));
        bytes
    }

    /// The header alone, with any length in any form.
    pub(crate) fn header(&self, length: Length) -> Vec<u8> {
        let masked = if self.key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        match length {
            Length::Short(len) => bytes.push(masked | len),
            Length::U16(len) => {
                bytes.push(masked | 126);
                bytes.extend(len.to_be_bytes());
            }
            Length::U64(len) => {
                bytes.push(masked | 127);
                bytes.extend(len.to_be_bytes());
            }
        }
        bytes.extend(self.key.iter().flatten());
        bytes
    }
}

/// The three forms of a payload's length (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Short(u8),
    U16(u16),
    U64(u64),
}

/// A compressor as other implementations may have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compressing {
    pub(crate) context_takeover: bool,
    /// 9 to 15, as deflate has them.
    pub(crate) window_bits: u8,
    pub(crate) level: i32,
    pub(crate) strategy: Strategy,
}

/// The compressor with its state.
pub(crate) struct Compressor {
    compressing: Compressing,
    deflate: Deflate,
}

impl Compressor {
    pub(crate) fn new(compressing: Compressing) -> Self {
        let Compressing { window_bits, level, strategy, .. } = compressing;
        let config = DeflateConfig { window_bits: -i32::from(window_bits), level, strategy, ..DeflateConfig::default() };
        Self { compressing, deflate: Deflate::new_with_config(config) }
    }

    /// RFC 7692, 7.2.1, for a message whose pieces are each flushed.
    pub(crate) fn message<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        if !self.compressing.context_takeover {
            self.deflate.reset();
        }
        let mut compressed: Vec<u8> = pieces.into_iter().flat_map(|piece| self.flush(piece)).collect();
        if compressed.ends_with(&[0, 0, 0xff, 0xff]) {
            compressed.truncate(compressed.len() - 4);
        } else {
            // No piece, so nothing was flushed: an empty block without its end.
            compressed.push(0);
        }
        compressed
    }

    /// Compresses and flushes.
    pub(crate) fn flush(&mut self, piece: &[u8]) -> Vec<u8> {
        self.run(piece, DeflateFlush::SyncFlush)
    }

    /// Compresses and ends with a last block (RFC 7692, 7.2.3.4), after which the window is empty.
    pub(crate) fn finish(&mut self, piece: &[u8]) -> Vec<u8> {
        let compressed = self.run(piece, DeflateFlush::Finish);
        self.deflate.reset();
        compressed
    }

    fn run(&mut self, piece: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut compressed = vec![0; piece.len() * 2 + 1000];
        let (in_before, out_before) = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate.compress(piece, &mut compressed, flush).expect("deflate works");
        assert_eq!(self.deflate.total_in() - in_before, piece.len() as u64);
        compressed.truncate((self.deflate.total_out() - out_before) as usize);
        compressed
    }
}

/// Parameters by direction: what the peer of `role` does, and what `role` does itself.
pub(crate) fn params(role: Role, peer: (bool, u8), own: (bool, u8)) -> DeflateParams {
    let (client, server) = match role {
        Role::Server => (peer, own),
        Role::Client => (own, peer),
    };
    DeflateParams {
        server_no_context_takeover: !server.0,
        client_no_context_takeover: !client.0,
        server_max_window_bits: server.1,
        client_max_window_bits: client.1,
    }
}
