//! What holds for any stream of bytes: how it is divided does not matter, what is sent is heard, and nothing does harm.

use longwire_ws::handshake::deflate::DeflateParams;
use longwire_ws::{CloseCode, Connection, Limits, MessageKind, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use zlib_rs::Strategy as Deflating;

use crate::support::heap::watch;
use crate::support::peer::{BINARY, CLOSE, CONTINUATION, Compressor, PING, PONG, TEXT, params};
use crate::support::{Compressing, End, Frame, Heard, Outcome, binary, text};

const LIMITS: Limits = Limits { max_frame_bytes: 3000, max_message_bytes: 4000, max_fragments: 12 };

/// Something that a peer does.
#[derive(Clone, Debug)]
enum Act {
    Message {
        kind: MessageKind,
        payload: Vec<u8>,
        compressed: bool,
        /// Where the message, as it goes over the wire, is cut into fragments.
        cuts: Vec<Index>,
        /// Where the compressor flushes in between.
        flushes: Vec<Index>,
        /// A ping after every fragment but the last.
        pings: bool,
    },
    Control(u8, Vec<u8>),
    Close(Option<(u16, String)>),
}

/// A change to the bytes on their way.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

fn roles() -> impl Strategy<Value = Role> {
    select(vec![Role::Server, Role::Client])
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[ -~你κ🦀]{0,40}", ("[a-d é]{1,8}", 1..200usize).prop_map(|(piece, times)| piece.repeat(times)),]
        .prop_map(String::into_bytes)
}

fn payloads() -> impl Strategy<Value = (MessageKind, Vec<u8>)> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..200),
        (vec(any::<u8>(), 1..40), 1..90usize).prop_map(|(piece, times)| piece.repeat(times)),
        // Around the edges of the length's forms.
        (select(vec![0, 1, 125, 126, 127]), any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    prop_oneof![texts().prop_map(|text| (MessageKind::Text, text)), bytes.prop_map(|bytes| (MessageKind::Binary, bytes))]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let message = (payloads(), any::<bool>(), vec(any::<Index>(), 0..5), vec(any::<Index>(), 0..3), any::<bool>()).prop_map(
        |((kind, payload), compressed, cuts, flushes, pings)| Act::Message { kind, payload, compressed, cuts, flushes, pings },
    );
    let control =
        (select(vec![PING, PONG]), vec(any::<u8>(), 0..126)).prop_map(|(opcode, payload)| Act::Control(opcode, payload));
    let reason = (select(vec![1000u16, 1001, 1014, 3000, 4999]), "[a-z é]{0,20}");
    let close = proptest::option::of(reason).prop_map(Act::Close);
    (vec(prop_oneof![4 => message, 1 => control], 0..8), proptest::option::of(close)).prop_map(|(mut acts, close)| {
        acts.extend(close);
        acts
    })
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Truncate),
    ]
}

/// Any end, and how its peer compresses: within what was agreed, or at times with takeover and a window that were not.
fn ends() -> impl Strategy<Value = (End, Compressing)> {
    proptest::bool::weighted(0.1).prop_flat_map(ends_with)
}

fn ends_with(dishonest_peer: bool) -> impl Strategy<Value = (End, Compressing)> {
    let strategies = vec![Deflating::Default, Deflating::Filtered, Deflating::HuffmanOnly, Deflating::Rle, Deflating::Fixed];
    let deflate = (any::<bool>(), 8..=15u8, any::<bool>(), 8..=15u8);
    (roles(), proptest::option::weighted(0.8, deflate), 0..=9i32, select(strategies)).prop_map(
        move |(role, deflate, level, strategy)| {
            let deflate = deflate
                .map(|(takeover, bits, own_takeover, own_bits)| params(role, (takeover, bits), (own_takeover, own_bits)));
            let (context_takeover, bits) = deflate.map_or((false, 15), |deflate| match role {
                Role::Server => (!deflate.client_no_context_takeover, deflate.client_max_window_bits),
                Role::Client => (!deflate.server_no_context_takeover, deflate.server_max_window_bits),
            });
            let window_bits = if dishonest_peer { 15 } else { bits.max(9) };
            let end = End { role, deflate, limits: LIMITS };
            (end, Compressing { context_takeover: context_takeover || dishonest_peer, window_bits, level, strategy })
        },
    )
}

/// The bytes of these acts, and what is to be heard of them.
fn perform(acts: &[Act], end: &End, compressing: Compressing) -> (Vec<u8>, Vec<Heard>) {
    let mut compressor = Compressor::new(compressing);
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    for act in acts {
        match act {
            Act::Message { kind, payload, compressed, cuts, flushes, pings } => {
                let compressed = *compressed && end.deflate.is_some();
                let wire = if compressed { compressor.message(pieces(payload, flushes)) } else { payload.clone() };
                let first = frames.len();
                for piece in pieces(&wire, cuts) {
                    frames.push(Frame::new(CONTINUATION, piece).unfinished());
                    if *pings {
                        frames.push(Frame::new(PING, "between"));
                        events.push(Heard::Ping(b"between".into()));
                    }
                }
                if *pings {
                    frames.pop();
                    events.pop();
                }
                frames.last_mut().expect("there is a piece").fin = true;
                frames[first].opcode = if *kind == MessageKind::Text { TEXT } else { BINARY };
                frames[first].rsv = if compressed { 4 } else { 0 };
                events.push(match kind {
                    MessageKind::Text => text(std::str::from_utf8(payload).expect("texts are made as such")),
                    MessageKind::Binary => binary(&payload[..]),
                });
            }
            Act::Control(opcode, payload) => {
                frames.push(Frame::new(*opcode, payload));
                events.push(if *opcode == PING { Heard::Ping(payload.clone()) } else { Heard::Pong(payload.clone()) });
            }
            Act::Close(reason) => {
                let payload =
                    reason.as_ref().map_or(vec![], |(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat());
                frames.push(Frame::new(CLOSE, payload));
                events.push(Heard::Close(reason.clone()));
            }
        }
    }
    (crate::support::wire(end.role, &frames), events)
}

/// Cuts bytes at these places; one piece at least.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    places.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn harm(bytes: &mut Vec<u8>, damages: &[Damage]) {
    for damage in damages {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match *damage {
            Damage::Flip(at, bit) => bytes[at.index(len)] ^= bit,
            Damage::Set(at, byte) => bytes[at.index(len)] = byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(len), byte),
            Damage::Remove(at) => {
                bytes.remove(at.index(len));
            }
            Damage::Truncate(at) => bytes.truncate(at.index(len)),
        }
    }
}

proptest! {
    // What fails is printed as it is; there is no file beside an integration test to keep it in.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RFC 6455, 5 to 8, and RFC 7692, 7.2: whatever a peer does by the rules is heard, in whatever pieces it comes.
    #[test]
    fn a_peer_that_keeps_the_rules_is_heard((end, compressing) in ends_with(false), acts in acts(), cuts in vec(any::<Index>(), 0..8)) {
        let end = end.within(Limits { max_frame_bytes: 1 << 20, max_message_bytes: 1 << 20, max_fragments: 12 });
        let (wire, events) = perform(&acts, &end, compressing);
        prop_assert_eq!(end.hear_pieces(pieces(&wire, &cuts)), Outcome { events, error: None });
    }

    /// Right or wrong: the same events and the same error, however the stream is divided.
    #[test]
    fn the_division_of_a_stream_changes_nothing(
        (end, compressing) in ends(),
        acts in acts(),
        damages in vec(damages(), 0..4),
        cuts in vec(any::<Index>(), 1..10),
    ) {
        let (mut wire, _) = perform(&acts, &end, compressing);
        harm(&mut wire, &damages);
        let whole = end.hear_pieces([&wire[..]]);
        prop_assert_eq!(&end.hear_pieces(pieces(&wire, &cuts)), &whole);
        prop_assert_eq!(&end.hear_pieces(wire.chunks(1)), &whole);
    }

    /// Damage changes nothing that came before it.
    #[test]
    fn what_comes_before_the_damage_is_heard((end, compressing) in ends(), acts in acts(), at in any::<Index>(), byte: u8) {
        let (mut wire, _) = perform(&acts, &end, compressing);
        wire.push(0);
        let at = at.index(wire.len());
        let before = end.hear_pieces([&wire[..at]]);
        wire[at] = byte;
        let damaged = end.hear_pieces([&wire[..]]);
        prop_assert!(damaged.events.starts_with(&before.events));
    }

    /// Any bytes at all, within bounded memory. The first bytes are such that there is something to go wrong further on.
    #[test]
    fn any_bytes_do_no_harm((end, _) in ends(), soup in vec((select(vec![0x01, 0x02, 0x41, 0x42, 0x80, 0x81, 0x82, 0xC1, 0xC2, 0x89, 0x8A, 0x88, 0x00]), vec(any::<u8>(), 0..60), any::<u8>()), 0..30), junk in vec(any::<u8>(), 0..20), size in 1..40usize) {
        let masked = end.role == Role::Server;
        let mut wire = Vec::new();
        for (first, payload, second) in &soup {
            wire.push(*first);
            // Mostly the right length, at times any.
            wire.push(if second % 16 == 0 { *second } else { payload.len() as u8 | if masked { 0x80 } else { 0 } });
            wire.extend(if masked { &[0; 4][..] } else { &[] });
            wire.extend(payload);
        }
        wire.extend(&junk);
        let whole = end.hear_pieces([&wire[..]]);
        prop_assert_eq!(&end.hear_pieces(wire.chunks(size)), &whole);

        // This thread has what compression takes by now; what else there is belongs to the connection and its events.
        let mut receiver = longwire_ws::Receiver::new(end.role, end.deflate);
        for piece in wire.chunks_mut(size) {
            let (_, heap) = watch(|| {
                let mut input = longwire_ws::Input::new(piece);
                while let Ok(Some(_)) = receiver.receive(&mut input, &end.limits) {}
            });
            // What is being assembled, what it inflates to (each perhaps twice while it grows), and a window.
            prop_assert!(heap.peak <= 4 * LIMITS.max_message_bytes as isize + 33_000, "{heap:?}");
        }
    }

    /// RFC 6455, 6, and RFC 7692, 7.2: what one end sends, the other hears.
    #[test]
    fn what_one_end_sends_the_other_hears(
        role in roles(),
        deflate in proptest::option::weighted(0.8, (any::<bool>(), 8..=15u8, any::<bool>(), 8..=15u8)),
        messages in vec((payloads(), any::<[u8; 4]>(), any::<bool>()), 0..12),
        close in proptest::option::of((1000..=1003u16, "[a-zé]{0,100}")),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let deflate: Option<DeflateParams> = deflate.map(|(takeover, bits, back, back_bits)| params(role, (back, back_bits), (takeover, bits)));
        let peer = if role == Role::Server { Role::Client } else { Role::Server };
        let mut near = Connection::new(role, deflate);
        let (mut wire, mut events) = (Vec::new(), Vec::new());
        for ((kind, payload), mask, ping) in &messages {
            near.send(*kind, payload, *mask, &mut wire).unwrap();
            events.push(match kind {
                MessageKind::Text => text(std::str::from_utf8(payload).unwrap()),
                MessageKind::Binary => binary(&payload[..]),
            });
            if *ping {
                near.sender.ping(mask, *mask, &mut wire).unwrap();
                near.sender.pong(&payload[..payload.len().min(125)], *mask, &mut wire).unwrap();
                events.extend([Heard::Ping(mask.to_vec()), Heard::Pong(payload[..payload.len().min(125)].to_vec())]);
            }
        }
        if let Some((code, reason)) = &close {
            near.sender.close(CloseCode::new(*code).map(|code| (code, &reason[..])), [1; 4], &mut wire).unwrap();
            let kept = &reason[..reason.floor_char_boundary(123)];
            events.push(Heard::Close(Some((*code, kept.to_owned()))));
        }
        let far = End { role: peer, deflate, limits: Limits::default() };
        prop_assert_eq!(far.hear_pieces(pieces(&wire, &cuts)), Outcome { events, error: None });
    }
}
