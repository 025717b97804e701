//! Publishing, following, who is there, keys.

use longwire_protocol::{Epoch, ErrorCode, Position, Publish, Unrecovered};

use super::{Bench, Rule, member, refused, session, texts};
use crate::broker::{Answer, Ask, Enter, What};

pub(super) const ALL: &[Rule] = &[
    Rule { name: "only those who follow are told", check: only_followers_are_told },
    Rule { name: "whoever enters follows", check: whoever_enters_follows },
    Rule { name: "a repetition publishes nothing", check: a_repetition_publishes_nothing },
    Rule { name: "what is ephemeral has no place", check: what_is_ephemeral_has_no_place },
    Rule { name: "who does not want its echo is named", check: who_does_not_want_its_echo_is_named },
    Rule { name: "what a channel does not take is refused", check: what_a_channel_does_not_take_is_refused },
    Rule { name: "sessions come and go once", check: sessions_come_and_go_once },
    Rule { name: "members come in pages", check: members_come_in_pages },
    Rule { name: "a newcomer gets those who are there", check: a_newcomer_gets_those_who_are_there },
    Rule { name: "keys are set and removed", check: keys_are_set_and_removed },
    Rule { name: "there are only so many keys", check: there_are_only_so_many_keys },
];

fn only_followers_are_told(bench: &mut Bench<'_>) {
    bench.publish("log:a", "nobody hears this");
    bench.tell(3, "log:a", Ask::Follow);
    bench.tell(5, "log:a", Ask::Follow);
    bench.tell(5, "log:b", Ask::Follow);
    bench.publish("log:a", "two");
    bench.tell(3, "log:a", Ask::Unfollow);
    bench.publish("log:a", "one");
    bench.tell(5, "log:a", Ask::Unfollow);
    bench.publish("log:a", "nobody again");
    let shards: Vec<u64> = bench.deliveries().iter().map(|(shards, _)| *shards).collect();
    assert_eq!(shards, [1 << 3 | 1 << 5, 1 << 5]);
}

fn whoever_enters_follows(bench: &mut Bench<'_>) {
    bench.enter("log:a", Enter::default());
    bench.publish("log:a", "x");
    assert_eq!(bench.texts(), ["x"]);
}

fn a_repetition_publishes_nothing(bench: &mut Bench<'_>) {
    bench.tell(0, "log:a", Ask::Follow);
    let once = |channel: &str, text: &str| Publish { once: Some("key".into()), ..Publish::new(channel, text) };
    let first = bench.published(once("log:a", "first"), Some(1));
    bench.publish("log:a", "between");
    assert_eq!(bench.published(once("log:a", "again"), Some(2)), (first.0, true));
    assert!(!first.1);
    assert_eq!(bench.texts(), ["first", "between"]);
    assert!(!bench.published(once("log:b", "another channel"), None).1);
    // What was refused was not published.
    let large = Publish { once: Some("large".into()), ..Publish::new("ai:a", "x".repeat(51)) };
    assert_eq!(bench.try_publish(large, Some(1)), Err(ErrorCode::TooLarge));
    assert!(!bench.published(Publish { once: Some("large".into()), ..Publish::new("ai:a", "small") }, Some(1)).1);
    // Also where nothing has a place.
    assert_eq!(bench.published(once("plain", "x"), None), (None, false));
    assert_eq!(bench.published(once("plain", "x"), None), (None, true));
}

fn what_is_ephemeral_has_no_place(bench: &mut Bench<'_>) {
    bench.tell(0, "log:a", Ask::Follow);
    bench.publish("log:a", "kept");
    let ephemeral = Publish { ephemeral: true, ..Publish::new("log:a", "passing") };
    assert_eq!(bench.published(ephemeral, None), (None, false));
    assert_eq!(bench.publish("log:a", "kept, too").offset, 2);
    assert_eq!(bench.texts(), ["kept", "passing", "kept, too"]);
    let entered = bench.enter("log:a", Enter { last: Some(10), ..Enter::default() });
    assert_eq!(texts(&entered.page.publications), ["kept", "kept, too"]);
    assert_eq!(bench.published(Publish::new("plain", "no numbers here"), None), (None, false));
}

fn who_does_not_want_its_echo_is_named(bench: &mut Bench<'_>) {
    bench.tell(0, "log:a", Ask::Follow);
    bench.published(Publish { echo: false, ..Publish::new("log:a", "x") }, Some(7));
    bench.published(Publish::new("log:a", "y"), Some(7));
    let except: Vec<_> = bench.deliveries().into_iter().map(|(_, delivery)| delivery.except).collect();
    assert_eq!(except, [Some(session(7)), None]);
}

fn what_a_channel_does_not_take_is_refused(bench: &mut Bench<'_>) {
    let plain = |channel: &str| Publish::new(channel, "x");
    let key = |channel: &str| Publish { key: Some("k".into()), ..plain(channel) };
    let cases = [
        (plain("nowhere:a"), ErrorCode::UnknownNamespace),
        (Publish::new("ai:a", "x".repeat(51)), ErrorCode::TooLarge),
        (key("log:a"), ErrorCode::NotEnabled),
        (Publish { remove: true, data: None, ..key("log:a") }, ErrorCode::NotEnabled),
        (Publish { stream: true, ..plain("log:a") }, ErrorCode::NotEnabled),
        (Publish { remove: true, ..key("keys:a") }, ErrorCode::BadValue),
        (Publish { stream: true, ephemeral: true, ..plain("ai:a") }, ErrorCode::BadValue),
    ];
    for (publish, code) in cases {
        assert_eq!(bench.try_publish(publish.clone(), Some(1)), Err(code), "{publish:?}");
    }
    assert!(bench.try_publish(Publish::new("ai:a", "x".repeat(51)), None).is_ok(), "the server itself has bounds of its own");
    let presence = Ask::Presence { limit: 10, after: None };
    assert_eq!(refused(bench.ask("log:a", presence)), ErrorCode::NotEnabled);
    assert_eq!(refused(bench.ask("log:a", Ask::State { limit: 10, after: None })), ErrorCode::NotEnabled);
    assert_eq!(refused(bench.ask("log:a", Ask::Cancel { stream: 1 })), ErrorCode::NotEnabled);
}

fn come(bench: &mut Bench<'_>, channel: &str, number: u8) {
    bench.enter(channel, Enter { member: Some(member(number)), ..Enter::default() });
}

fn sessions_come_and_go_once(bench: &mut Bench<'_>) {
    bench.tell(0, "room:a", Ask::Follow);
    come(bench, "room:a", 1);
    come(bench, "room:a", 2);
    come(bench, "room:a", 1);
    bench.tell(0, "room:a", Ask::Leave { session: session(1) });
    bench.tell(0, "room:a", Ask::Leave { session: session(1) });
    bench.tell(0, "room:a", Ask::Leave { session: session(9) });
    let changes = bench.deliveries().into_iter().map(|(_, delivery)| {
        assert_eq!(delivery.position, None);
        match delivery.what {
            What::Join(member) => (true, member.session),
            What::Leave(member) => (false, member.session),
            other => panic!("{other:?} instead of someone who comes or goes"),
        }
    });
    assert_eq!(changes.collect::<Vec<_>>(), [(true, session(1)), (true, session(2)), (false, session(1))]);
    come(bench, "quiet:a", 1);
    assert!(bench.deliveries().is_empty(), "this channel does not tell");
}

fn members_come_in_pages(bench: &mut Bench<'_>) {
    for number in [5, 3, 1, 2, 4, 200] {
        come(bench, "quiet:a", number);
    }
    bench.tell(0, "quiet:a", Ask::Leave { session: session(3) });
    let mut page = |limit, after: Option<u8>| {
        let answer = bench.ask("quiet:a", Ask::Presence { limit, after: after.map(session) });
        let Ok(Answer::Presence { members, sessions, users, more }) = answer else { panic!("{answer:?}") };
        // Users 0, 1 and 2; the last session has none.
        assert_eq!((sessions, users), (5, 3));
        (members.iter().map(|member| member.session.0[0]).collect::<Vec<_>>(), more)
    };
    assert_eq!(page(2, None), (vec![1, 2], true));
    assert_eq!(page(2, Some(2)), (vec![4, 5], true));
    assert_eq!(page(2, Some(5)), (vec![200], false));
    assert_eq!(page(0, None), (vec![], true));
}

fn a_newcomer_gets_those_who_are_there(bench: &mut Bench<'_>) {
    come(bench, "room:a", 1);
    let entered = bench.enter("room:a", Enter { members: true, member: Some(member(2)), ..Enter::default() });
    let members: Vec<_> = entered.members.expect("members").iter().map(|member| member.session).collect();
    assert_eq!(members, [session(1), session(2)]);
    let entered = bench.enter("log:a", Enter { members: true, member: Some(member(2)), ..Enter::default() });
    assert!(entered.members.is_none(), "this channel does not know");
}

fn set(bench: &mut Bench<'_>, channel: &str, key: &str, text: &str) -> Result<u64, ErrorCode> {
    let publish = match text {
        "" => Publish { key: Some(key.into()), remove: true, data: None, ..Publish::new(channel, "") },
        text => Publish { key: Some(key.into()), ..Publish::new(channel, text) },
    };
    bench.try_publish(publish, None).map(|(position, _)| position.expect("a position").offset)
}

fn keys_are_set_and_removed(bench: &mut Bench<'_>) {
    for channel in ["keys:a", "latest:a"] {
        set(bench, channel, "b", "1").expect("room");
        set(bench, channel, "a", "2").expect("room");
        set(bench, channel, "b", "3").expect("room");
        set(bench, channel, "c", "4").expect("room");
        set(bench, channel, "a", "").expect("a removal");
        assert_eq!(set(bench, channel, "never was", ""), Ok(6), "a removal has an offset whether there was something or not");
        let entered = bench.enter(channel, Enter { state: true, ..Enter::default() });
        assert_eq!(texts(&entered.entries.expect("entries")), ["3", "4"]);
        assert_eq!((entered.position.offset, entered.page.publications.len()), (6, 0));
        let again = bench.enter(channel, Enter { state: true, since: Some(entered.position), ..Enter::default() });
        assert!(again.entries.is_none(), "whoever continues knows the keys");
        let mut rest = |after: &str, since| {
            let enter = Enter { state: true, since: Some(since), after: Some(after.into()), ..Enter::default() };
            let entered = bench.enter(channel, enter);
            (entered.recovered, texts(&entered.entries.expect("entries")))
        };
        assert_eq!(rest("", entered.position), (Some(Ok(())), vec!["3".into(), "4".into()]), "unless it has none of them");
        assert_eq!(rest("b", entered.position), (Some(Ok(())), vec!["4".into()]), "or not all");
        let elsewhere = Position { epoch: Epoch(1), ..entered.position };
        assert_eq!(
            rest("b", elsewhere),
            (Some(Err(Unrecovered::Epoch)), vec!["3".into(), "4".into()]),
            "who cannot continue begins anew"
        );
        let mut page = |limit, after: Option<&str>| {
            let answer = bench.ask(channel, Ask::State { limit, after: after.map(Into::into) });
            let Ok(Answer::State { head, entries, more }) = answer else { panic!("{answer:?}") };
            assert_eq!(head.offset, 6);
            (texts(&entries), more)
        };
        assert_eq!(page(1, None), (vec!["3".to_owned()], true));
        assert_eq!(page(1, Some("b")), (vec!["4".to_owned()], false));
    }
}

fn there_are_only_so_many_keys(bench: &mut Bench<'_>) {
    for key in ["a", "b", "c"] {
        set(bench, "keys:a", key, "1").expect("room");
    }
    assert_eq!(set(bench, "keys:a", "d", "1"), Err(ErrorCode::StateFull));
    assert_eq!(set(bench, "keys:a", "a", "2"), Ok(4));
    set(bench, "keys:a", "b", "").expect("a removal");
    assert_eq!(set(bench, "keys:a", "d", "1"), Ok(6));
}
