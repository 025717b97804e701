//! How far back our own compressors refer (RFC 7692, 7.1.2): read by an inflater that watches.

use longwire_ws::deflate::SharedDeflater;
use longwire_ws::frame::Header;
use longwire_ws::{MessageKind, Role, Sender};

use crate::support::deflate_reader::read;
use crate::support::peer::params;

/// Text that repeats itself at every distance, near and far.
fn repetitive(len: usize, mut seed: u32) -> Vec<u8> {
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < len {
        if bytes.len() > 20 && next(3) > 0 {
            // Distances around the edges of the windows are as likely as small ones.
            let edge = (1 << (4 + next(13))) + next(20);
            let distance = edge.saturating_sub(10).clamp(1, bytes.len());
            for _ in 0..4 + next(300) {
                bytes.push(bytes[bytes.len() - distance]);
            }
        } else {
            let first = bytes.len() * 7;
            bytes.extend((0..1 + next(20)).map(|n| (n * 31 + first) as u8));
        }
    }
    bytes.truncate(len);
    bytes
}

/// The payload of the compressed frame at the start of `wire`, with the end that is left out, and what follows.
fn compressed(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let (header, start) = Header::decode(wire).unwrap().unwrap();
    assert_eq!(header.rsv, longwire_ws::frame::RSV1);
    let end = start + header.payload_len as usize;
    let mut payload = wire[start..end].to_vec();
    payload.extend([0, 0, 0xff, 0xff]); // RFC 7692, 7.2.2
    (payload, &wire[end..])
}

/// RFC 7692, 7.1.2: who agreed to a window uses none that is larger. Ours for 8 bits is made by deflate with 9: this is the proof
/// that a reader with 8 can follow it.
#[test]
fn no_reference_goes_farther_than_the_window_rfc7692_7_1_2() {
    for bits in 8..=15u8 {
        let window = 1 << bits;
        let mut shared = SharedDeflater::new(bits);
        let mut farthest = 0;
        for seed in 0..20 {
            let payload = repetitive(if seed == 0 { 150_000 } else { 3000 * seed as usize }, seed);
            let mut frame = Vec::new();
            shared.encode(MessageKind::Binary, &payload, &mut frame);
            let read = read(&compressed(&frame).0, &[]);
            assert!(read.bytes == payload, "it reads as it was written");
            assert!(read.farthest <= window, "{} bytes back with {bits} bits", read.farthest);
            farthest = farthest.max(read.farthest);
        }
        // All of the window is used but the 262 bytes that deflate keeps for looking ahead: a reference that goes too far would
        // have been seen.
        let reach = (1 << bits.max(9)) - 262;
        assert!((reach - 20..=reach).contains(&farthest), "{farthest} with {bits} bits");
    }
}

/// RFC 7692, 7.1.1 and 7.1.2: over many messages too, where the window is all that is remembered.
#[test]
fn a_reader_that_remembers_only_the_window_can_read_rfc7692_7_1_2() {
    for role in [Role::Server, Role::Client] {
        for bits in 8..=15u8 {
            let mut sender = Sender::new(role, Some(params(role, (false, 15), (true, bits))));
            let mut history: Vec<u8> = Vec::new();
            for seed in 0..40u32 {
                let payload = repetitive(50 + 100 * seed as usize, seed / 2);
                let mut wire = Vec::new();
                sender.send(MessageKind::Binary, &payload, [0; 4], &mut wire).unwrap();
                let (message, rest) = compressed(&wire);
                assert!(rest.is_empty());
                let read = read(&message, &history);
                assert!(read.bytes == payload && read.farthest <= 1 << bits);
                history.extend(payload);
                history.drain(..history.len().saturating_sub(1 << bits));
            }
        }
    }
}

/// RFC 7692, 7.2.1: every message ends at a byte's edge with the end that is then left out, at whatever size of the output.
#[test]
fn output_of_every_size_is_complete_rfc7692_7_2_1() {
    let mut shared = SharedDeflater::new(15);
    let mut sizes = Vec::new();
    // Two bytes alternate so that nothing repeats for long: the output grows byte by byte through the edges of its chunks.
    for len in (16_000..17_500).step_by(13).chain(32_500..32_520) {
        let mut seed = 1u32;
        let payload: Vec<u8> = (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8 % 144
            })
            .collect();
        let mut frame = Vec::new();
        shared.encode(MessageKind::Binary, &[&payload[..], &[0; 3000]].concat(), &mut frame);
        sizes.push(frame.len());
        let read = read(&compressed(&frame).0, &[]);
        assert!(read.bytes == [&payload[..], &[0; 3000]].concat());
        assert!(read.references > 0);
    }
    assert!(sizes.iter().any(|size| *size < 16 * 1024) && sizes.iter().any(|size| *size > 16 * 1024), "{sizes:?}");
}
