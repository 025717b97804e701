//! What happens when time passes.

use longwire_protocol::{ErrorCode, Publish, StreamEnd, Unrecovered};

use super::streams::{begin, piece};
use super::{Bench, Rule, since, text};
use crate::broker::{Ask, Enter, What};

pub(super) const ALL: &[Rule] = &[
    Rule { name: "history grows old", check: history_grows_old },
    Rule { name: "idempotency keys are forgotten", check: idempotency_keys_are_forgotten },
    Rule { name: "what may be forgotten is not published again", check: what_may_be_forgotten_is_not_published_again },
    Rule { name: "a silent producer is lost", check: a_silent_producer_is_lost },
    Rule { name: "a producer that lives is not", check: a_producer_that_lives_is_not },
    Rule { name: "the wall clock may jump", check: the_wall_clock_may_jump },
    Rule { name: "what is due is told", check: what_is_due_is_told },
];

fn history_grows_old(bench: &mut Bench<'_>) {
    let first = bench.publish("short:a", "old");
    bench.pass(40_000);
    bench.publish("short:a", "young");
    bench.pass(20_000);
    let entered = bench.enter("short:a", Enter { last: Some(5), ..Enter::default() });
    assert_eq!(entered.page.publications.iter().map(|kept| text(kept)).collect::<Vec<_>>(), ["young"]);
    let early = longwire_protocol::Position { offset: 0, ..first };
    assert_eq!(bench.enter("short:a", since(early)).recovered, Some(Err(Unrecovered::Expired)));
    assert_eq!(bench.enter("short:a", since(first)).recovered, Some(Ok(())), "whoever had the old one misses nothing");
    bench.pass(60_000);
    assert_eq!(bench.publish("short:a", "x").offset, 3, "the numbering goes on");
}

fn idempotency_keys_are_forgotten(bench: &mut Bench<'_>) {
    let once = || Publish { once: Some("key".into()), ..Publish::new("short:a", "x") };
    assert!(!bench.published(once(), None).1);
    bench.pass(59_999);
    assert!(bench.published(once(), None).1);
    bench.pass(1);
    assert!(!bench.published(once(), None).1);
}

fn what_may_be_forgotten_is_not_published_again(bench: &mut Bench<'_>) {
    let said = |key: &str, age| Publish { once: Some(key.into()), age, ..Publish::new("short:a", "x") };
    let (first, _) = bench.published(said("a", 0), None);
    bench.pass(59_000);
    assert_eq!(bench.published(said("a", 59_000), None), (first, true));
    assert_eq!(bench.published(said("a", u64::MAX), None), (first, true), "what is known, is");
    bench.pass(1_000);
    let publish = |publish| Ask::Publish { publish: Box::new(publish), from: None };
    let refused = |bench: &mut Bench<'_>, again| bench.ask("short:a", publish(again)).map(drop).map_err(|failure| failure.code);
    assert_eq!(refused(bench, said("a", 60_000)), Err(ErrorCode::MaybePublished));
    assert_eq!(refused(bench, said("b", u64::MAX)), Err(ErrorCode::MaybePublished));
    assert!(bench.deliveries().is_empty());
    assert!(!bench.published(said("b", 59_999), None).1, "it would be known");
    assert!(!bench.published(said("a", 0), None).1, "whoever does not say so is believed");
}

fn a_silent_producer_is_lost(bench: &mut Bench<'_>) {
    bench.tell(0, "ai:a", Ask::Follow);
    let began = begin(bench, "a");
    bench.pass(9999);
    assert_eq!(bench.deliveries().len(), 1);
    bench.pass(1);
    let lost = bench.deliveries();
    assert!(matches!(&lost[..], [(_, delivery)]
        if matches!(&delivery.what, What::Piece(piece) if piece.end == Some(StreamEnd::Lost) && piece.offset == 2)));
    assert_eq!(bench.append(piece(began, "b"), Some(1)), Err(ErrorCode::StreamEnded));
}

fn a_producer_that_lives_is_not(bench: &mut Bench<'_>) {
    let began = begin(bench, "a");
    for _ in 0..5 {
        bench.pass(9000);
        bench.append(piece(began, ""), Some(1)).expect("an open stream");
    }
    bench.pass(10_000);
    assert_eq!(bench.append(piece(began, ""), Some(1)), Err(ErrorCode::StreamEnded));
}

fn the_wall_clock_may_jump(bench: &mut Bench<'_>) {
    let first = bench.publish("short:a", "x");
    bench.now.wall += 1_000_000;
    bench.pass(1);
    assert_eq!(bench.enter("short:a", Enter { last: Some(1), ..Enter::default() }).page.publications.len(), 1);
    bench.now.wall -= 2_000_000;
    assert_eq!(bench.publish("short:a", "y").offset, first.offset + 1);
    bench.pass(59_999);
    assert_eq!(bench.enter("short:a", Enter { last: Some(5), ..Enter::default() }).page.publications.len(), 1);
}

fn what_is_due_is_told(bench: &mut Bench<'_>) {
    begin(bench, "a");
    let due = bench.broker.due().expect("a lease");
    assert!(due <= bench.now.steady + 10_000, "no later than the lease");
    let left = due - bench.now.steady;
    bench.pass(left);
    assert!(bench.broker.due().is_none_or(|next| next > bench.now.steady), "what was due is done");
}
