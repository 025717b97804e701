//! A publication or a piece of a stream as bytes: CRC-32 of what follows (little endian), then a message of the binary protocol
//! (`docs/longwire.proto`) without its channel, which stands elsewhere.

use std::sync::{Arc, LazyLock};

use longwire_protocol::{Message, Piece, Publication, Push, binary};

/// Writes the bytes of a publication over `out`.
pub(crate) fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    static NAMELESS: LazyLock<Arc<str>> = LazyLock::new(Arc::default);
    let nameless = Publication { channel: NAMELESS.clone(), ..publication.clone() };
    sealed(out, |out| binary::encode_publication(&nameless, out));
}

/// Writes the bytes of a piece over `out`.
pub(crate) fn encode_piece(piece: &Piece, out: &mut Vec<u8>) {
    let nameless = Piece { channel: Arc::default(), ..piece.clone() };
    sealed(out, |out| binary::encode_piece(&nameless, out));
}

/// Reads a publication of a channel.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn decode_publication(bytes: &[u8], channel: &Arc<str>) -> Result<Arc<Publication>, String> {
    match decode(bytes)? {
        Push::Publication(mut publication) => {
            Arc::make_mut(&mut publication).channel = channel.clone();
            Ok(publication)
        }
        _ => Err("not a publication".to_owned()),
    }
}

/// Reads a piece of a stream in a channel.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn decode_piece(bytes: &[u8], channel: &Arc<str>) -> Result<Arc<Piece>, String> {
    match decode(bytes)? {
        Push::Append(mut piece) => {
            Arc::make_mut(&mut piece).channel = channel.clone();
            Ok(piece)
        }
        _ => Err("not a piece of a stream".to_owned()),
    }
}

fn decode(bytes: &[u8]) -> Result<Push, String> {
    let (sum, message) = bytes.split_first_chunk::<4>().ok_or("too short")?;
    if u32::from_le_bytes(*sum) != crc32(message) {
        return Err("its checksum is wrong".to_owned());
    }
    match binary::decode_message(message) {
        Ok(Some(Message::Push(push))) => Ok(push),
        Ok(_) => Err("not a push".to_owned()),
        Err(malformed) => Err(malformed.to_string()),
    }
}

fn sealed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let sum = crc32(&out[4..]);
    out[..4].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32 as in zip and Ethernet. SQLite's own checksums end with the write-ahead log: in the file itself a flipped bit in a text
/// would go unnoticed.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut sum, mut bit) = (at as u32, 0);
            while bit < 8 {
                sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
                bit += 1;
            }
            table[at] = sum;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use longwire_protocol::{Data, Member, Rare, SessionId, Stream, StreamEnd};

    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn publications_and_pieces_come_back_whole() {
        let channel: Arc<str> = "chat:lobby".into();
        let member = Member { session: SessionId([9; 12]), user: Some("ann".into()), info: Some(r#"{"a":1}"#.into()) };
        let rare = Rare {
            event: Some("said".into()),
            key: Some("k".into()),
            removed: true,
            tags: [("a".into(), "b".into())].into(),
            stream: None,
        };
        let stream = Some(Stream { began: 3, length: 4, end: None, reason: None });
        let stream = Rare { stream, ..Rare::default() };
        let mut bytes = Vec::new();
        for data in [None, Some(Data::from("")), Some(Data::from(vec![0, 255])), Some(Data::json("[1, 2]").unwrap())] {
            let mut rares = vec![(None, None), (Some(Arc::new(member.clone())), Some(Box::new(rare.clone())))];
            if matches!(data, None | Some(Data::Text(_))) {
                rares.push((None, Some(Box::new(stream.clone()))));
            }
            for (from, rare) in rares {
                let publication =
                    Publication { channel: channel.clone(), offset: 3, time: 1 << 40, data: data.clone(), from, rare };
                encode_publication(&publication, &mut bytes);
                assert_eq!(*decode_publication(&bytes, &channel).unwrap(), publication);
                assert!(decode_piece(&bytes, &channel).is_err());
            }
        }
        let end = Some(StreamEnd::Failed);
        let piece = Piece {
            channel: channel.clone(),
            offset: 9,
            stream: 3,
            at: 4,
            data: Some("…".into()),
            end,
            reason: Some("x".into()),
        };
        encode_piece(&piece, &mut bytes);
        assert_eq!(*decode_piece(&bytes, &channel).unwrap(), piece);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let publication =
            Publication { channel: "c".into(), offset: 1, time: 5, data: Some("text".into()), from: None, rare: None };
        let mut bytes = Vec::new();
        encode_publication(&publication, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_publication(&bad, &"c".into()).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode_publication(&bytes[..len], &"c".into()).is_err(), "{len} bytes");
        }
    }
}
