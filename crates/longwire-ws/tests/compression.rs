//! Compressed messages from a peer (RFC 7692, 6 and 7.2).

use longwire_ws::{Limits, ProtocolError, Role};

use crate::support::peer::{BINARY, CONTINUATION, Compressor, PING, TEXT, params};
use crate::support::{BOTH_ROLES, Compressing, End, Frame, Heard, Outcome, binary, text, wire};

const TAKEOVER: Compressing =
    Compressing { context_takeover: true, window_bits: 15, level: 6, strategy: zlib_rs::Strategy::Default };
const ALONE: Compressing = Compressing { context_takeover: false, ..TAKEOVER };

fn compressed(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame::new(opcode, payload).rsv(4)
}

/// What is heard of a peer with or without context takeover, in either role.
fn hear_as(context_takeover: bool, frames: &[Frame]) -> Outcome {
    let [server, client] = BOTH_ROLES.map(|role| {
        let end = End::deflating(role, params(role, (context_takeover, 15), (false, 15)));
        end.hear(&wire(role, frames))
    });
    assert_eq!(server, client);
    server
}

/// Heard the same with and without context takeover.
fn hear(frames: &[Frame]) -> Outcome {
    let outcome = hear_as(true, frames);
    assert_eq!(hear_as(false, frames), outcome);
    outcome
}

fn heard(events: &[Heard]) -> Outcome {
    Outcome { events: events.to_vec(), error: None }
}

fn refused(error: ProtocolError) -> Outcome {
    Outcome { events: vec![], error: Some(error) }
}

/// RFC 7692, 7.2.3.1: "Hello" in one frame, and in two.
#[test]
fn a_compressed_message_is_inflated_rfc7692_7_2_3_1() {
    assert_eq!(hear(&[compressed(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00")]), heard(&[text("Hello")]));
    let fragments = [compressed(TEXT, b"\xf2\x48\xcd").unfinished(), Frame::new(CONTINUATION, b"\xc9\xc9\x07\x00")];
    assert_eq!(hear(&fragments), heard(&[text("Hello")]));
}

/// RFC 7692, 7.2.3.2: the second "Hello" refers to the first.
#[test]
fn the_window_is_shared_between_messages_with_context_takeover_rfc7692_7_2_3_2() {
    let frames = [compressed(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), compressed(TEXT, b"\xf2\x00\x11\x00\x00")];
    assert_eq!(hear_as(true, &frames), heard(&[text("Hello"), text("Hello")]));
    // RFC 7692, 7.1.1: who promised not to refer back must not.
    let outcome = Outcome { events: vec![text("Hello")], error: Some(ProtocolError::InvalidDeflate) };
    assert_eq!(hear_as(false, &frames), outcome);
}

/// RFC 7692, 7.2.3.3: a block that is not compressed.
#[test]
fn a_stored_block_is_read_rfc7692_7_2_3_3() {
    assert_eq!(hear(&[compressed(TEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")]), heard(&[text("Hello")]));
}

/// RFC 7692, 7.2.3.4: a block that says that it is the last is followed by an empty one.
#[test]
fn a_message_may_end_with_a_last_block_rfc7692_7_2_3_4() {
    let hello = compressed(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00");
    assert_eq!(hear(&[hello.clone(), hello]), heard(&[text("Hello"), text("Hello")]));
    // Some leave the empty block out; nothing is missing.
    let hello = compressed(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(hear(&[hello.clone(), hello]), heard(&[text("Hello"), text("Hello")]));
}

/// RFC 7692, 7.2.3.5: two blocks, with a flush between them.
#[test]
fn a_message_may_have_several_blocks_rfc7692_7_2_3_5() {
    let message = compressed(TEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00");
    assert_eq!(hear(&[message]), heard(&[text("Hello")]));
}

/// RFC 7692, 7.2.3.6: the empty message, and one that goes on after it.
#[test]
fn an_empty_message_is_inflated_rfc7692_7_2_3_6() {
    let hello = compressed(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let frames = [compressed(TEXT, b"\x00"), hello.clone(), compressed(BINARY, b"\x00"), hello];
    assert_eq!(hear(&frames), heard(&[text(""), text("Hello"), binary([]), text("Hello")]));
    // Not a single bit: what some compressors make of nothing, right after a flush.
    assert_eq!(hear(&[compressed(TEXT, b"")]), heard(&[text("")]));
    let fragments = [compressed(BINARY, b"").unfinished(), Frame::new(CONTINUATION, b"")];
    assert_eq!(hear(&fragments), heard(&[binary([])]));
}

/// RFC 7692, 7.2.1: a sender may flush as often as it likes, with empty blocks too.
#[test]
fn a_message_may_be_flushed_many_times_rfc7692_7_2_1() {
    let mut compressor = Compressor::new(TAKEOVER);
    let pieces: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n % 3; usize::from(n)]).collect();
    let frames = [0; 2].map(|_| compressed(BINARY, compressor.message(pieces.iter().map(|piece| &piece[..]))));
    assert_eq!(hear_as(true, &frames), heard(&[binary(pieces.concat()), binary(pieces.concat())]));
}

/// RFC 7692, 7.2.3.4: several last blocks in a message, each begun anew, with what came before still in reach.
#[test]
fn a_message_may_go_on_after_a_last_block_rfc7692_7_2_3_4() {
    let mut compressor = Compressor::new(ALONE);
    let mut payload = compressor.finish(b"one, ");
    payload.extend(compressor.finish(b"two, "));
    payload.extend(compressor.message([&b"three"[..]]));
    assert_eq!(hear(&[compressed(TEXT, &payload)]), heard(&[text("one, two, three")]));

    // "Hello", last block; then a block that refers five bytes back, within the message and into the one before.
    let back = b"\xf2\x00\x11\x00\x00";
    let within = [&b"\xf3\x48\xcd\xc9\xc9\x07\x00"[..], back].concat();
    assert_eq!(hear(&[compressed(TEXT, within)]), heard(&[text("HelloHello")]));
    let frames = [compressed(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), compressed(TEXT, back)];
    assert_eq!(hear_as(true, &frames), heard(&[text("Hello"), text("Hello")]));
    // An empty last block at the front of the second message, and the window of the first behind it.
    let frames = [compressed(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), compressed(TEXT, [&b"\x03\x00"[..], back].concat())];
    assert_eq!(hear_as(true, &frames), heard(&[text("Hello"), text("Hello")]));
}

/// The same where the end of the output is not the end of a chunk of it, and where the empty block is left out.
#[test]
fn a_last_block_may_end_anywhere_rfc7692_7_2_3_4() {
    for len in 16_200..16_700 {
        let payload = vec![7; len];
        let frame = compressed(BINARY, Compressor::new(ALONE).finish(&payload)).bytes();
        let end = End::deflating(Role::Client, params(Role::Client, (false, 15), (false, 15)));
        assert_eq!(end.hear_pieces([&frame[..]]), heard(&[binary(payload)]));
    }
}

/// RFC 7692, 7.1.1: behind a last block there is the message so far, and behind that the messages before it.
#[test]
fn behind_a_last_block_the_window_is_in_order_rfc7692_7_2_3_4() {
    let (history, start, rest) = ("something old, ", "something new, ", "something new, something old, ");
    let mut rest_of_message = zlib_rs::Deflate::new(9, false, 15);
    rest_of_message.set_dictionary([history, start].concat().as_bytes()).unwrap();
    let mut out = [0; 100];
    rest_of_message.compress(rest.as_bytes(), &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    let out = &out[..rest_of_message.total_out() as usize - 4];
    assert!(out.len() < 12, "it consists of references");

    let mut compressor = Compressor::new(TAKEOVER);
    let first = compressed(TEXT, compressor.message([history.as_bytes()]));
    let second = compressed(TEXT, [&Compressor::new(ALONE).finish(start.as_bytes()), out].concat());
    assert_eq!(hear_as(true, &[first, second]), heard(&[text(history), text(&[start, rest].concat())]));
}

/// RFC 6455, 10.4: two bytes are a last block, and each may cost a window: there is an end to that.
#[test]
fn last_blocks_without_end_are_refused_rfc6455_10_4() {
    let blocks = |count| compressed(BINARY, b"\x03\x00".repeat(count));
    assert_eq!(hear(&[blocks(200)]), heard(&[binary([])]));
    assert_eq!(hear(&[blocks(300)]), refused(ProtocolError::InvalidDeflate));
}

/// RFC 7692, 6: only the first frame of a message has the bit, and no control frame has it.
#[test]
fn rsv1_elsewhere_is_refused_rfc7692_6() {
    let begun = compressed(TEXT, b"\xf2\x48\xcd").unfinished();
    let bad = Frame::new(CONTINUATION, b"\xc9\xc9\x07\x00").rsv(4);
    assert_eq!(hear(&[begun.clone(), bad]), refused(ProtocolError::ReservedBits));
    assert_eq!(hear(&[Frame::new(PING, "").rsv(4)]), refused(ProtocolError::ReservedBits));
    assert_eq!(hear(&[begun, Frame::new(PING, "").rsv(4)]), refused(ProtocolError::ReservedBits));
}

/// RFC 7692, 6: control frames are never compressed and may come in between.
#[test]
fn a_compressed_message_in_many_fragments_is_inflated_rfc7692_6() {
    let payload: Vec<u8> = (0..3000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    let wire = Compressor::new(ALONE).message([&payload[..]]);
    let mut frames: Vec<Frame> = Vec::new();
    let mut events = Vec::new();
    for (at, piece) in wire.chunks(500).enumerate() {
        frames.push(Frame::new(CONTINUATION, piece).unfinished());
        frames.push(Frame::new(PING, [at as u8]));
        frames.push(Frame::new(CONTINUATION, "").unfinished());
        events.push(Heard::Ping(vec![at as u8]));
    }
    frames[0] = frames[0].clone().rsv(4);
    frames[0].opcode = BINARY;
    frames.push(Frame::new(CONTINUATION, ""));
    events.push(binary(payload));
    assert_eq!(hear(&frames), heard(&events));
}

/// RFC 7692, 6: a message without the bit is not compressed; it stays out of the window.
#[test]
fn messages_without_rsv1_are_heard_as_they_are_rfc7692_6() {
    let frames = [
        compressed(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        Frame::new(TEXT, "World"),
        Frame::new(TEXT, "Wor").unfinished(),
        Frame::new(CONTINUATION, "ld"),
        compressed(TEXT, b"\xf2\x00\x11\x00\x00"),
    ];
    assert_eq!(hear_as(true, &frames), heard(&[text("Hello"), text("World"), text("World"), text("Hello")]));
}

/// RFC 7692, 7.2.2: what does not inflate fails the connection.
#[test]
fn a_malformed_stream_is_refused_rfc7692_7_2_2() {
    for bad in [
        &b"\x07"[..],                    // block type 3
        b"\x06\x00",                     // a block type 3 behind... of its own
        b"\x00\x05\x00\xfa\xfe\x48",     // a stored length without its complement
        b"\xf2\x48\xcd\xc9\xc9\x07\xff", // a bad block after a good one
        b"\x02\x01\x00",                 // refers to before the beginning
        b"\xff\xff\xff\xff",
        b"\x04\x00\x00", // a code without symbols
    ] {
        assert_eq!(hear(&[compressed(BINARY, bad)]), refused(ProtocolError::InvalidDeflate), "{bad:x?}");
    }
}

/// RFC 7692, 7.2.1 and 7.2.2: a message ends at the edge of a block; one that is cut off is not passed on as if it were whole.
#[test]
fn a_message_that_ends_in_the_middle_of_a_block_is_refused_rfc7692_7_2_2() {
    let whole = Compressor::new(ALONE).message([&b"something that is long enough to be cut in several places"[..]]);
    for cut in 1..whole.len() {
        assert_eq!(hear(&[compressed(TEXT, &whole[..cut])]), refused(ProtocolError::InvalidDeflate), "cut at {cut}");
    }
}

/// RFC 6455, 8.1, for the text that a compressed message holds.
#[test]
fn a_compressed_text_is_utf8_rfc6455_8_1() {
    for bad in [&b"\xff"[..], b"good \xed\xa0\x80", b"cut \xe4\xbd"] {
        let payload = Compressor::new(ALONE).message([bad]);
        assert_eq!(hear(&[compressed(TEXT, &payload)]), refused(ProtocolError::InvalidUtf8));
        assert_eq!(hear(&[compressed(BINARY, &payload)]), heard(&[binary(bad)]));
    }
    // The bytes of the stream itself need not be, of course.
    let sample = "κόσμε 你发送了 🦀".repeat(30);
    let payload = Compressor::new(ALONE).message([sample.as_bytes()]);
    assert_eq!(hear(&[compressed(TEXT, &payload)]), heard(&[text(&sample)]));
}

#[test]
fn the_limit_counts_what_comes_out_rfc6455_10_4() {
    for role in BOTH_ROLES {
        let end = End::deflating(role, params(role, (true, 15), (false, 15)))
            .within(Limits { max_message_bytes: 1000, ..Limits::default() });
        let message = |len| compressed(BINARY, Compressor::new(ALONE).message([&vec![7; len][..]]));
        assert_eq!(end.hear(&wire(role, &[message(1000)])), heard(&[binary([7; 1000])]));
        assert_eq!(end.hear(&wire(role, &[message(1001)])), refused(ProtocolError::MessageTooBig { limit: 1000 }));
    }
}

/// Output of several chunks, at and around their edges, from every kind of block.
#[test]
fn long_messages_are_inflated_whole_rfc7692_7_2_2() {
    for level in [0, 1, 6] {
        for len in [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 3 * 16 * 1024, 200_000] {
            for step in [0, 1, 7919] {
                let payload: Vec<u8> = (0..len).map(|n: usize| (n * step % 251) as u8).collect();
                let frame = compressed(BINARY, Compressor::new(Compressing { level, ..ALONE }).message([&payload[..]]));
                let end = End::deflating(Role::Client, params(Role::Client, (false, 15), (false, 15)));
                assert_eq!(end.hear_pieces([&frame.bytes()[..]]), heard(&[binary(payload)]), "{level} {len} {step}");
            }
        }
    }
}

/// RFC 7692, 7.1.2: a window of 2^bits bytes, to the last of them.
#[test]
fn the_window_reaches_as_far_as_agreed_rfc7692_7_1_2() {
    // A block of RFC 1951, 3.2.6 that repeats three bytes from `distance` back, given as RFC 1951, 3.2.5 does: a code, and how
    // many more bits that are all alike.
    let repeat = |code: u32, extra: u32, bit: u64| {
        let mut bits = vec![0, 1, 0];
        bits.extend([0, 0, 0, 0, 0, 0, 1]); // length 3
        bits.extend((0..5).rev().map(|place| u64::from(code) >> place & 1));
        bits.extend((0..extra).map(|_| bit));
        bits.extend([0; 7 + 3]); // the end of the block, and the beginning of the empty one
        let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | *bit as u8));
        compressed(BINARY, bytes.collect::<Vec<u8>>())
    };
    for bits in 8..=15 {
        let window: Vec<u8> = (0..1u32 << bits).map(|n| (n / 3) as u8).collect();
        let before = [b"out of sight", &window[..]].concat();
        let first = compressed(BINARY, Compressor::new(Compressing { window_bits: 9, ..TAKEOVER }).message([&before[..]]));
        let hear = |second: &Frame| {
            let end = End::deflating(Role::Client, params(Role::Client, (true, bits), (false, 15)));
            end.hear_pieces([&wire(Role::Client, [&first, second])[..]])
        };
        let edge = u32::from(bits) * 2 - 1;
        let extra = u32::from(bits) - 2;
        assert_eq!(hear(&repeat(edge, extra, 1)), heard(&[binary(&before[..]), binary(&window[..3])]), "{bits}");
        let beyond = Outcome { events: vec![binary(&before[..])], error: Some(ProtocolError::InvalidDeflate) };
        assert_eq!(hear(&repeat(edge + 1, extra + 1, 0)), beyond, "{bits}");
    }
}

/// RFC 7692, 7.1.1: a window that moves on over many messages, and messages longer than it.
#[test]
fn the_window_moves_on_rfc7692_7_1_1() {
    for (bits, lengths) in [(15, [20_000, 20_000, 40_000, 5, 30_000]), (9, [100, 600, 3, 400, 200]), (9, [5, 5, 5, 5, 5])] {
        let mut compressor = Compressor::new(Compressing { window_bits: bits, level: 9, ..TAKEOVER });
        let payload = |len: usize| -> Vec<u8> { (0..len).map(|n| (n * n / 7 % 13) as u8).collect() };
        let frames = lengths.map(|len| compressed(BINARY, compressor.message([&payload(len)[..]])));
        let end = End::deflating(Role::Server, params(Role::Server, (true, bits), (false, 15)));
        let bytes = wire(Role::Server, &frames);
        assert_eq!(end.hear_pieces([&bytes[..]]), heard(&lengths.map(|len| binary(payload(len)))));
        assert_eq!(end.hear_pieces(bytes.chunks(7)), heard(&lengths.map(|len| binary(payload(len)))));
    }
}
