//! Offsets, epochs, resuming, pages of the past.

use longwire_protocol::{Epoch, ErrorCode, History, Position, Publish, Unrecovered};

use super::{Bench, Rule, refused, since, texts};
use crate::broker::{Answer, Ask, Enter, Event, Request, Ticket};

pub(super) const ALL: &[Rule] = &[
    Rule { name: "offsets grow by one", check: offsets_grow_by_one },
    Rule { name: "answers stand where their heads are", check: answers_stand_where_their_heads_are },
    Rule { name: "a newcomer begins at the head", check: a_newcomer_begins_at_the_head },
    Rule { name: "whoever comes back gets the rest", check: whoever_comes_back_gets_the_rest },
    Rule { name: "pages have everything once", check: pages_have_everything_once },
    Rule { name: "who cannot continue is told why", check: who_cannot_continue_is_told_why },
    Rule { name: "the last so many", check: the_last_so_many },
    Rule { name: "history in both directions", check: history_in_both_directions },
    Rule { name: "a page of what is gone is lost", check: a_page_of_what_is_gone_is_lost },
    Rule { name: "the newest of each key", check: the_newest_of_each_key },
];

fn offsets_grow_by_one(bench: &mut Bench<'_>) {
    let first = bench.publish("log:a", "x");
    assert_eq!(first.offset, 1);
    assert_ne!(first.epoch, Epoch::NONE);
    let other = bench.publish("log:b", "x");
    assert_eq!(other.offset, 1, "each channel has its own");
    for offset in 2..300 {
        assert_eq!(bench.publish("log:a", "x"), Position { offset, ..first });
    }
}

fn answers_stand_where_their_heads_are(bench: &mut Bench<'_>) {
    bench.tell(0, "log:a", Ask::Follow);
    for number in 0..5 {
        bench.publish("log:a", "x");
        let ticket = Ticket { shard: 0, id: 1000 + number };
        let ask = Ask::Enter(Enter::default());
        bench.broker.submit(bench.now, Request { channel: "log:a".into(), ticket, ask });
    }
    let (mut newest, mut heads) = (0, Vec::new());
    let mut said: Vec<Event> = bench.said.drain(..).collect();
    while let Some(event) = bench.next() {
        said.push(event);
    }
    for event in said {
        match event {
            Event::Deliver { delivery, .. } => newest = delivery.position.expect("a position").offset,
            Event::Answer(_, Ok(Answer::Entered(entered))) => {
                assert_eq!(entered.page.head, newest, "all up to the head was delivered before, and nothing after it");
                heads.push(newest);
            }
            _ => {}
        }
    }
    assert_eq!(heads, [1, 2, 3, 4, 5]);
}

fn a_newcomer_begins_at_the_head(bench: &mut Bench<'_>) {
    let empty = bench.enter("log:a", Enter::default());
    assert_eq!((empty.position.offset, empty.page.head, empty.recovered), (0, 0, None));
    let first = bench.publish("log:a", "x");
    assert_eq!(first.epoch, empty.position.epoch, "the epoch that was told stays");
    let entered = bench.enter("log:a", Enter::default());
    assert_eq!((entered.position, entered.page.publications.len(), entered.page.lost), (first, 0, false));
}

fn whoever_comes_back_gets_the_rest(bench: &mut Bench<'_>) {
    let before = bench.enter("log:a", Enter::default()).position;
    for text in ["a", "b", "c"] {
        bench.publish("log:a", text);
    }
    for (offset, rest) in [(0, &["a", "b", "c"][..]), (1, &["b", "c"]), (3, &[])] {
        let entered = bench.enter("log:a", since(Position { offset, ..before }));
        assert_eq!((entered.recovered, entered.position.offset), (Some(Ok(())), offset));
        assert_eq!(texts(&entered.page.publications), rest);
        assert_eq!((entered.page.end.offset, entered.page.head, entered.page.lost), (3, 3, false));
    }
    // A position says more than a wish for the last.
    let entered = bench.enter("log:a", Enter { last: Some(3), ..since(Position { offset: 2, ..before }) });
    assert_eq!(texts(&entered.page.publications), ["c"]);
}

fn pages_have_everything_once(bench: &mut Bench<'_>) {
    for text in 0..240 {
        bench.publish("log:a", &text.to_string());
    }
    let entered = bench.enter("log:a", Enter { last: Some(230), ..Enter::default() });
    let (mut all, mut page) = (Vec::new(), entered.page);
    loop {
        all.extend(texts(&page.publications));
        if page.end.offset >= page.head {
            break;
        }
        assert_eq!(page.publications.last().map(|last| last.offset), Some(page.end.offset));
        page = bench.page("log:a", Ask::Page { since: page.end });
        assert!(!page.lost);
    }
    assert_eq!(all, (10..240).map(|text| text.to_string()).collect::<Vec<_>>());
    let large = "x".repeat(60_000);
    for _ in 0..20 {
        bench.publish("log:b", &large);
    }
    let entered = bench.enter("log:b", Enter { last: Some(20), ..Enter::default() });
    assert!(entered.page.publications.len() < 10, "a page has its bounds in bytes, too");
}

fn who_cannot_continue_is_told_why(bench: &mut Bench<'_>) {
    let from = |bench: &mut Bench<'_>, channel: &str, position: Position| {
        let entered = bench.enter(channel, since(position));
        assert_eq!(entered.position.offset, entered.page.head, "what was missed is not made up for");
        assert!(entered.page.publications.is_empty());
        entered.recovered.expect("an answer").expect_err("a reason")
    };
    let mut last = bench.publish("short:a", "x");
    let first = last;
    for _ in 0..5 {
        last = bench.publish("short:a", "x");
    }
    assert_eq!(from(bench, "short:a", Position { offset: 0, ..first }), Unrecovered::Expired);
    assert_eq!(bench.enter("short:a", since(first)).recovered, Some(Ok(())), "five are kept");
    assert_eq!(from(bench, "short:a", Position { offset: 7, ..last }), Unrecovered::Ahead);
    let other = Epoch(last.epoch.0.wrapping_add(1));
    assert_eq!(from(bench, "short:a", Position { epoch: other, offset: 6 }), Unrecovered::Epoch);
    assert_eq!(from(bench, "short:a", Position { epoch: Epoch::NONE, offset: 0 }), Unrecovered::Epoch);
    assert_eq!(from(bench, "plain", Position { offset: 0, ..last }), Unrecovered::Off);
    for channel in ["off:a", "keys:a"] {
        let first = bench.publish(channel, "x");
        assert_eq!(bench.enter(channel, since(first)).recovered, Some(Ok(())), "nothing was missed");
        bench.publish(channel, "x");
        assert_eq!(from(bench, channel, first), Unrecovered::Off);
    }
}

fn the_last_so_many(bench: &mut Bench<'_>) {
    for text in 0..8 {
        bench.publish("short:a", &text.to_string());
    }
    let mut last = |count| {
        let entered = bench.enter("short:a", Enter { last: Some(count), ..Enter::default() });
        assert_eq!(entered.recovered, None);
        (entered.position.offset, texts(&entered.page.publications).join(""))
    };
    assert_eq!(last(0), (8, String::new()));
    assert_eq!(last(2), (6, "67".to_owned()));
    assert_eq!(last(5), (3, "34567".to_owned()));
    assert_eq!(last(u32::MAX), (3, "34567".to_owned()));
}

fn history_in_both_directions(bench: &mut Bench<'_>) {
    let epoch = (0..8).map(|text| bench.publish("log:a", &text.to_string()).epoch).last();
    let page = |bench: &mut Bench<'_>, after, before, limit| {
        let history = History { channel: "log:a".into(), after, epoch, before, limit };
        let answer = bench.ask("log:a", Ask::History(Box::new(history)));
        let Ok(Answer::History { head, publications, more }) = answer else { panic!("{answer:?}") };
        assert_eq!(head.offset, 8);
        (texts(&publications).join(""), more)
    };
    assert_eq!(page(bench, None, None, None), ("01234567".to_owned(), false));
    assert_eq!(page(bench, Some(2), None, Some(3)), ("234".to_owned(), true));
    assert_eq!(page(bench, Some(6), None, Some(3)), ("67".to_owned(), false));
    assert_eq!(page(bench, None, None, Some(3)), ("567".to_owned(), true));
    assert_eq!(page(bench, None, Some(4), Some(2)), ("12".to_owned(), true));
    assert_eq!(page(bench, None, Some(3), Some(2)), ("01".to_owned(), false));
    assert_eq!(page(bench, None, None, Some(0)), (String::new(), true));
    let other = History { channel: "log:a".into(), after: Some(1), epoch: Some(Epoch::NONE), before: None, limit: None };
    assert_eq!(refused(bench.ask("log:a", Ask::History(Box::new(other)))), ErrorCode::BadValue);
    let none = History { channel: "plain".into(), after: None, epoch: None, before: None, limit: None };
    assert_eq!(refused(bench.ask("plain", Ask::History(Box::new(none)))), ErrorCode::NotEnabled);
}

fn a_page_of_what_is_gone_is_lost(bench: &mut Bench<'_>) {
    let first = bench.publish("short:a", "x");
    for _ in 0..7 {
        bench.publish("short:a", "x");
    }
    let page = bench.page("short:a", Ask::Page { since: first });
    assert!(page.lost && page.publications.is_empty() && page.end.offset == 8);
    let first = bench.publish("keys:a", "x");
    bench.publish("keys:a", "y");
    assert!(bench.page("keys:a", Ask::Page { since: first }).lost, "a channel without history has no past");
    let ahead = Position { offset: u64::MAX, ..first };
    assert_eq!(bench.page("keys:a", Ask::Page { since: ahead }).end.offset, 2);
}

fn the_newest_of_each_key(bench: &mut Bench<'_>) {
    let first = bench.publish("latest:a", "before");
    for (key, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
        bench.published(Publish { key: Some(key.into()), ..Publish::new("latest:a", text) }, None);
    }
    bench.publish("latest:a", "no key");
    let page = bench.page("latest:a", Ask::Latest { since: first });
    assert_eq!(texts(&page.publications), ["2", "3", "no key"]);
    assert_eq!((page.end.offset, page.lost), (5, true));
    let page = bench.page("latest:a", Ask::Latest { since: Position { offset: 3, ..first } });
    assert_eq!((texts(&page.publications).len(), page.lost), (2, false), "nothing was left out");
}
