//! Publications that grow.

use std::sync::Arc;

use longwire_protocol::{Append, ErrorCode, Piece, Position, Publish, StreamEnd};

use super::{Bench, Rule, session, since, text};
use crate::broker::{Ask, Enter, Event, What};

pub(super) const ALL: &[Rule] = &[
    Rule { name: "pieces have places of their own", check: pieces_have_places_of_their_own },
    Rule { name: "late comers get the whole", check: late_comers_get_the_whole },
    Rule { name: "a piece can be sent again", check: a_piece_can_be_sent_again },
    Rule { name: "only the producer appends", check: only_the_producer_appends },
    Rule { name: "what has ended has ended", check: what_has_ended_has_ended },
    Rule { name: "a wish to stop reaches the producer", check: a_wish_to_stop_reaches_the_producer },
    Rule { name: "streams have bounds", check: streams_have_bounds },
    Rule { name: "open streams stay", check: open_streams_stay },
];

pub(super) fn begin(bench: &mut Bench<'_>, text: &str) -> Position {
    let publish = Publish { stream: true, ..Publish::new("ai:a", text) };
    bench.published(publish, Some(1)).0.expect("a position")
}

pub(super) fn piece(began: Position, data: &str) -> Append {
    let data = (!data.is_empty()).then(|| data.into());
    Append { channel: "ai:a".into(), stream: began.offset, data, at: None, end: None, reason: None }
}

fn pieces(bench: &mut Bench<'_>) -> Vec<Arc<Piece>> {
    let piece = |(_, delivery): (u64, crate::broker::Delivery)| match delivery.what {
        What::Piece(piece) => Some(piece),
        _ => None,
    };
    bench.deliveries().into_iter().filter_map(piece).collect()
}

fn pieces_have_places_of_their_own(bench: &mut Bench<'_>) {
    bench.tell(0, "ai:a", Ask::Follow);
    let began = begin(bench, "a");
    assert_eq!(bench.append(piece(began, "bc"), Some(1)), Ok((3, false)));
    assert_eq!(bench.publish("ai:a", "between").offset, 3);
    assert_eq!(bench.append(piece(began, ""), Some(1)), Ok((3, false)), "just a sign of life");
    let end = Append { end: Some(StreamEnd::Failed), reason: Some("why".into()), ..piece(began, "d") };
    assert_eq!(bench.append(end, Some(1)), Ok((4, false)));
    let pieces: Vec<_> = pieces(bench).iter().map(|piece| (piece.offset, piece.at, piece.data.clone(), piece.end)).collect();
    assert_eq!(pieces, [(2, 1, Some("bc".into()), None), (4, 3, Some("d".into()), Some(StreamEnd::Failed))]);
}

fn late_comers_get_the_whole(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    bench.publish("ai:a", "between");
    bench.append(piece(began, "b"), Some(1)).expect("an open stream");
    let late = bench.enter("ai:a", Enter { last: Some(10), ..Enter::default() });
    let whole = late.page.publications.last().expect("a stream");
    assert_eq!((whole.offset, text(whole)), (3, "ab".to_owned()));
    let stream = whole.rare.as_ref().and_then(|rare| rare.stream.clone()).expect("a stream");
    assert_eq!((stream.began, stream.length, stream.end), (1, 2, None));
    // Whoever had the beginning gets it again, in the place of the piece.
    let back = bench.enter("ai:a", since(Position { offset: 2, ..began }));
    assert_eq!(back.recovered, Some(Ok(())));
    assert_eq!(back.page.publications.iter().map(|whole| text(whole)).collect::<Vec<_>>(), ["ab"]);
}

fn a_piece_can_be_sent_again(bench: &mut Bench<'_>) {
    bench.tell(0, "ai:a", Ask::Follow);
    let began = begin(bench, "ab");
    let at = |at, data: &str| Append { at: Some(at), ..piece(began, data) };
    assert_eq!(bench.append(at(2, "cd"), Some(1)), Ok((4, false)));
    assert_eq!(bench.append(at(2, "cd"), Some(1)), Ok((4, false)));
    assert_eq!(bench.append(at(2, "cdef"), Some(1)), Ok((6, false)));
    assert_eq!(bench.append(at(7, "x"), Some(1)), Err(ErrorCode::StreamGap));
    bench.append(at(6, "é"), Some(1)).expect("text");
    assert_eq!(bench.append(at(7, "é"), Some(1)), Err(ErrorCode::BadValue), "inside a character");
    let end = Append { end: Some(StreamEnd::Finished), ..at(8, "") };
    assert_eq!(bench.append(end.clone(), Some(1)), Ok((8, false)));
    assert_eq!(bench.append(end, Some(1)), Ok((8, false)));
    let pieces: Vec<_> = pieces(bench).iter().filter_map(|piece| piece.data.as_deref().map(str::to_owned)).collect();
    assert_eq!(pieces, ["cd", "ef", "é"]);
}

fn only_the_producer_appends(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    assert_eq!(bench.append(piece(began, "b"), Some(2)), Err(ErrorCode::NotTheProducer));
    assert_eq!(bench.append(piece(began, "b"), None), Ok((2, false)), "the server itself may");
    let plain = bench.publish("ai:a", "no stream");
    assert_eq!(bench.append(piece(plain, "b"), Some(1)), Err(ErrorCode::NoSuchStream));
    assert_eq!(bench.append(piece(Position { offset: 99, ..plain }, "b"), Some(1)), Err(ErrorCode::NoSuchStream));
}

fn what_has_ended_has_ended(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    let end = |end| Append { end: Some(end), ..piece(began, "") };
    bench.append(end(StreamEnd::Cancelled), Some(1)).expect("an open stream");
    assert_eq!(bench.append(piece(began, "b"), Some(1)), Err(ErrorCode::StreamEnded));
    assert_eq!(bench.append(end(StreamEnd::Finished), Some(1)), Err(ErrorCode::StreamEnded));
    let cancel = bench.ask("ai:a", Ask::Cancel { stream: began.offset });
    assert_eq!(super::refused(cancel), ErrorCode::StreamEnded);
}

fn a_wish_to_stop_reaches_the_producer(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    bench.ask("ai:a", Ask::Cancel { stream: began.offset }).expect("a wish");
    let told = bench.said.iter().any(|event| {
        matches!(event, Event::Cancel { producer, channel, stream }
            if *producer == session(1) && &**channel == "ai:a" && *stream == began.offset)
    });
    assert!(told, "before the answer");
    bench.said.clear();
    bench.ask("ai:a", Ask::Cancel { stream: began.offset }).expect("the same wish");
    assert!(!bench.said.iter().any(|event| matches!(event, Event::Cancel { .. })), "once is enough");
    assert_eq!(bench.append(piece(began, "b"), Some(1)), Ok((2, true)), "and again when it goes on");
    let end = Append { end: Some(StreamEnd::Cancelled), ..piece(began, "") };
    assert_eq!(bench.append(end, Some(1)), Ok((2, false)));
    assert_eq!(super::refused(bench.ask("ai:a", Ask::Cancel { stream: 99 })), ErrorCode::NoSuchStream);
}

fn streams_have_bounds(bench: &mut Bench<'_>) {
    let began = begin(bench, "");
    bench.append(piece(began, &"x".repeat(100)), Some(1)).expect("as long as may be");
    assert_eq!(bench.append(piece(began, "x"), Some(1)), Err(ErrorCode::TooLarge));
    for _ in 0..3 {
        begin(bench, "");
    }
    let publish = Publish { stream: true, ..Publish::new("ai:a", "one too many") };
    assert_eq!(bench.try_publish(publish, Some(1)), Err(ErrorCode::Overloaded), "four are all that the history has room for");
    bench.append(Append { end: Some(StreamEnd::Finished), ..piece(began, "") }, Some(1)).expect("an end");
    begin(bench, "one more");
}

fn open_streams_stay(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    for _ in 0..10 {
        bench.publish("ai:a", "x");
    }
    assert_eq!(bench.append(piece(began, "b"), Some(1)), Ok((2, false)));
    let entered = bench.enter("ai:a", Enter { last: Some(1), ..Enter::default() });
    assert_eq!(entered.page.publications.iter().map(|whole| text(whole)).collect::<Vec<_>>(), ["ab"]);
    bench.append(Append { end: Some(StreamEnd::Finished), ..piece(began, "") }, Some(1)).expect("an end");
    for _ in 0..10 {
        bench.publish("ai:a", "x");
    }
    assert_eq!(bench.append(piece(began, "c"), Some(1)), Err(ErrorCode::NoSuchStream), "it went the way of all history");
}
