//! What connections keep in memory, and when they let it go (RFC 6455, 10.4).

use std::mem::size_of;

use longwire_ws::{Connection, Event, Input, Limits, MessageKind, ProtocolError, Receiver, Role, Sender};

use crate::support::heap::{Heap, watch};
use crate::support::peer::{BINARY, CONTINUATION, KEY, Length, PING, TEXT, params};
use crate::support::{Compressing, Frame, hear_one, peer};

const NOTHING: Heap = Heap { kept: 0, peak: 0, allocations: 0 };
/// What a connection may have on the heap in the middle of something, besides payload.
const ASSEMBLY_BYTES: isize = 256;
const FASTEST: Compressing =
    Compressing { context_takeover: true, window_bits: 15, level: 1, strategy: zlib_rs::Strategy::Default };

/// Feeds a receiver and forgets what it says; tells what that did to the heap.
fn feed(receiver: &mut Receiver, bytes: &mut [u8]) -> Heap {
    feed_within(receiver, bytes, &Limits::default()).1
}

fn feed_within(receiver: &mut Receiver, bytes: &mut [u8], limits: &Limits) -> (Result<usize, ProtocolError>, Heap) {
    watch(|| {
        let mut input = Input::new(bytes);
        let mut events = 0;
        while receiver.receive(&mut input, limits)?.is_some() {
            events += 1;
        }
        Ok(events)
    })
}

/// This thread's inflater and compressors are made on first use and stay; they are not the connection's.
fn warm_up() {
    let deflate = params(Role::Server, (false, 15), (false, 15));
    let mut ends = [Role::Client, Role::Server].map(|role| Connection::new(role, Some(deflate)));
    let mut wire = Vec::new();
    ends[0].send(MessageKind::Text, &[b'x'; 200], KEY, &mut wire).unwrap();
    feed(&mut ends[1].receiver, &mut wire);
}

#[test]
fn an_idle_connection_has_nothing_on_the_heap() {
    assert_eq!((size_of::<Receiver>(), size_of::<Sender>()), (24, 16));
    for deflate in [None, Some(params(Role::Server, (true, 15), (true, 15)))] {
        let (connection, heap) = watch(|| Connection::new(Role::Server, deflate));
        assert_eq!(heap, NOTHING);
        assert!(!connection.receiver.is_receiving());
    }
}

#[test]
fn frames_that_come_whole_need_no_memory() {
    let frames = [Frame::new(TEXT, "hello"), Frame::new(PING, "?"), Frame::new(BINARY, vec![7; 100_000])];
    let mut wire: Vec<u8> = frames.iter().flat_map(|frame| frame.clone().masked(KEY).bytes()).collect();
    let mut receiver = Receiver::new(Role::Server, None);
    assert_eq!(feed(&mut receiver, &mut wire), NOTHING);
}

#[test]
fn a_message_to_be_sent_needs_no_memory_but_the_callers() {
    let mut sender = Sender::new(Role::Client, None);
    let mut out = Vec::with_capacity(2000);
    let (_, heap) = watch(|| {
        sender.send(MessageKind::Binary, &[7; 1000], KEY, &mut out).unwrap();
        sender.ping(b"?", KEY, &mut out).unwrap();
    });
    assert_eq!(heap, NOTHING);
}

/// RFC 6455, 10.4: an announcement costs nothing, if it is refused or not.
#[test]
fn an_announced_length_costs_nothing_rfc6455_10_4() {
    for (length, refused) in [(1 << 20, false), ((1 << 20) + 1, true), (1 << 62, true)] {
        let mut receiver = Receiver::new(Role::Server, None);
        let mut wire = Frame::new(BINARY, "").masked(KEY).header(Length::U64(length));
        let (outcome, heap) = feed_within(&mut receiver, &mut wire, &Limits::default());
        assert_eq!(outcome.is_err(), refused);
        assert!(heap.peak <= ASSEMBLY_BYTES, "{heap:?}");
        assert_eq!(heap.kept == 0, refused, "after a broken rule nothing is kept");

        let (_, heap) = watch(|| feed(&mut receiver, &mut [1; 100]));
        assert!(heap.peak <= 100, "{heap:?}");
    }
}

/// RFC 6455, 10.4: memory follows what has come, at most as much again, and ends with the event.
#[test]
fn a_message_in_pieces_takes_what_has_come_and_is_let_go_rfc6455_10_4() {
    let mut receiver = Receiver::new(Role::Server, None);
    let payload = vec![b'x'; 300_000];
    let frames = [Frame::new(TEXT, &payload).unfinished(), Frame::new(CONTINUATION, &payload)];
    let mut wire: Vec<u8> = frames.iter().flat_map(|frame| frame.clone().masked(KEY).bytes()).collect();
    let last = wire.len() - 1;
    let mut kept = 0;
    for (at, piece) in wire[..last].chunks_mut(1000).enumerate() {
        kept += feed(&mut receiver, piece).kept;
        let come = (at as isize + 1) * 1000;
        assert!(kept <= 2 * come + ASSEMBLY_BYTES, "{kept} for {come}");
    }
    assert!(kept <= 600_000 + ASSEMBLY_BYTES, "not past the end that is announced: {kept}");
    assert!(receiver.is_receiving());
    let heap = feed(&mut receiver, &mut wire[last..]);
    assert_eq!(kept + heap.kept, 0, "after the event nothing is kept");
    assert!(!receiver.is_receiving());
}

#[test]
fn a_message_that_was_put_together_is_handed_over_without_a_copy() {
    let mut receiver = Receiver::new(Role::Client, None);
    let mut wire = [Frame::new(BINARY, vec![1; 50_000]).unfinished().bytes(), Frame::new(CONTINUATION, "").bytes()].concat();
    let (head, tail) = wire.split_at_mut(30_000);
    feed(&mut receiver, head);
    feed(&mut receiver, &mut tail[..20_000]);
    let mut input = Input::new(&mut tail[20_000..]);
    let (message, heap) = watch(|| match receiver.receive(&mut input, &Limits::default()) {
        Ok(Some(Event::Message(message))) => message.into_vec(),
        other => panic!("unexpected {other:?}"),
    });
    assert_eq!((message.len(), heap.allocations), (50_000, 0));
}

#[test]
fn a_control_frame_in_pieces_is_let_go() {
    let mut receiver = Receiver::new(Role::Client, None);
    let mut wire = Frame::new(PING, [9; 125]).bytes();
    let (head, tail) = wire.split_at_mut(60);
    let kept = feed(&mut receiver, head).kept;
    assert!(kept <= ASSEMBLY_BYTES + 125);
    assert_eq!(kept + feed(&mut receiver, tail).kept, 0);
}

/// RFC 6455, 10.4: a small message that inflates to a large one stops at the limit.
#[test]
fn an_inflating_bomb_stops_at_the_limit_rfc6455_10_4() {
    warm_up();
    let bomb = peer::Compressor::new(Compressing { level: 9, ..FASTEST }).message([&vec![0; 50 << 20][..]]);
    assert!(bomb.len() < 100_000);
    let deflate = params(Role::Client, (true, 15), (false, 15));
    for limit in [1 << 10, 100_000, 1 << 20] {
        let limits = Limits { max_message_bytes: limit, ..Limits::default() };
        let mut receiver = Receiver::new(Role::Client, Some(deflate));
        let mut wire = Frame::new(BINARY, &bomb[..bomb.len().min(limit)]).rsv(4).bytes();
        let (outcome, heap) = feed_within(&mut receiver, &mut wire, &limits);
        assert_eq!(outcome, Err(ProtocolError::MessageTooBig { limit }));
        // The buffer may be there twice while it is moved to a larger place.
        assert!(heap.peak <= 2 * limit as isize, "{heap:?} at {limit}");
        assert_eq!(heap.kept, 0);
    }
}

/// RFC 7692, 7.1.1: without context takeover a connection keeps nothing between messages.
#[test]
fn no_context_takeover_keeps_nothing_between_messages_rfc7692_7_1_1() {
    warm_up();
    let deflate = params(Role::Server, (false, 15), (false, 15));
    let mut server = Connection::new(Role::Server, Some(deflate));
    let mut compressor = peer::Compressor::new(Compressing { context_takeover: false, ..FASTEST });
    for _ in 0..3 {
        let compressed = compressor.message([&[b'x'; 5000][..]]);
        let mut wire = Frame::new(TEXT, compressed).rsv(4).masked(KEY).bytes();
        let heap = feed(&mut server.receiver, &mut wire);
        assert_eq!(heap.kept, 0);
        assert!(heap.peak <= 2 * 5000, "{heap:?}");
        let mut out = Vec::with_capacity(6000);
        let (_, heap) = watch(|| server.send(MessageKind::Text, &[b'y'; 5000], KEY, &mut out).unwrap());
        assert_eq!(heap.kept, 0);
    }
}

/// RFC 7692, 7.1.1 and 7.1.2: with it, what the peer's window holds.
#[test]
fn context_takeover_keeps_a_window_at_most_rfc7692_7_1_2() {
    warm_up();
    for bits in 8..=15 {
        let deflate = params(Role::Server, (true, bits), (true, bits));
        let mut receiver = Receiver::new(Role::Server, Some(deflate));
        let mut compressor = peer::Compressor::new(Compressing { window_bits: bits.max(9), ..FASTEST });
        let mut kept = 0;
        for n in 0..100u8 {
            let compressed = compressor.message([&[n; 1500][..]]);
            let mut wire = Frame::new(BINARY, compressed).rsv(4).masked(KEY).bytes();
            kept += feed(&mut receiver, &mut wire).kept;
            assert!(kept <= (1 << bits) + 64, "{kept} with {bits} bits");
        }
        let mut close = Frame::new(8, "").masked(KEY).bytes();
        assert_eq!(kept + feed(&mut receiver, &mut close).kept, 0, "after the close frame nothing is kept");
    }
}

/// A compressed message of which not all has come costs its compressed bytes, not an inflater.
#[test]
fn half_a_compressed_message_costs_what_has_come() {
    warm_up();
    let mut receiver = Receiver::new(Role::Client, Some(params(Role::Client, (false, 15), (false, 15))));
    let compressed = peer::Compressor::new(FASTEST).message([&[b'x'; 100_000][..]]);
    let mut wire = Frame::new(TEXT, compressed).rsv(4).bytes();
    let half = wire.len() / 2;
    let heap = feed(&mut receiver, &mut wire[..half]);
    assert!(heap.peak <= 2 * half as isize + ASSEMBLY_BYTES, "{heap:?} for {half}");
}

#[test]
fn the_compressor_of_a_connection_is_as_large_as_its_documentation_says() {
    let mut sender = Sender::new(Role::Server, Some(params(Role::Server, (true, 15), (true, 15))));
    let mut out = Vec::with_capacity(100);
    let (_, heap) = watch(|| sender.send(MessageKind::Text, b"hello", KEY, &mut out).unwrap());
    assert!((250_000..400_000).contains(&heap.kept), "{heap:?}");
}

#[test]
fn an_end_can_move_to_another_thread() {
    fn check<T: Send + 'static>(end: T) -> T {
        end
    }
    let mut server = check(Connection::new(Role::Server, Some(params(Role::Server, (true, 15), (true, 15)))));
    let mut compressor = peer::Compressor::new(FASTEST);
    for expected in ["first", "second, like the first"] {
        let frame = Frame::new(TEXT, compressor.message([expected.as_bytes()])).rsv(4).masked(KEY);
        server = std::thread::spawn(move || {
            let mut events = Vec::new();
            for piece in frame.bytes().chunks(3) {
                hear_one(&mut server.receiver, piece, &Limits::default(), &mut events).unwrap();
            }
            assert_eq!(events, [crate::support::text(expected)]);
            server
        })
        .join()
        .unwrap();
    }
}
