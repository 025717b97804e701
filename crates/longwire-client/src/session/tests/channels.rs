//! Subscriptions: positions, repetitions, snapshots, ends.

use longwire_protocol::{Epoch, ErrorCode, Position, Subscribe, Unrecovered};
use serde_json::{Value, json};

use super::*;

fn offsets(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Publication(publication) => Some(publication.offset),
            Event::Append(piece) => Some(piece.offset),
            _ => None,
        })
        .collect()
}

#[test]
fn what_came_before_is_not_handed_on_again() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("chat:lobby", 4);
    for offset in [5, 6, 6, 5, 7, 2] {
        script.push(&publication("chat:lobby", offset));
    }
    assert_eq!(offsets(&script.events()), [5, 6, 7]);
    assert_eq!(script.session.position(id), Some(Position { epoch: Epoch(10), offset: 7 }));
}

#[test]
fn all_channels_are_subscribed_anew_in_one_message_with_their_positions() {
    let mut script = Script::connected(Config::default());
    script.subscribed("a", 0);
    script.subscribed("b", 9);
    script.push(&publication("b", 10));
    script.events();
    script.cut();
    let connect = script.open();
    assert_eq!(connect, json!({"type": "connect", "session": "AAAAAAAAAAAAAAAA", "key": "secret"}));
    let message = script.session.transmit(script.now).unwrap();
    assert_eq!(message.split(|byte| *byte == b'\n').count(), 2);
    assert_eq!(script.session.transmit(script.now), None);
    let said: Vec<Value> = message.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(said[0], json!({"type": "subscribe", "id": 2, "channel": "a", "epoch": "0000000a", "offset": 0}));
    assert_eq!(said[1], json!({"type": "subscribe", "id": 3, "channel": "b", "epoch": "0000000a", "offset": 10}));
}

#[test]
fn a_recovered_subscription_goes_on_and_one_that_is_not_says_why() {
    let mut script = Script::connected(Config::default());
    let a = script.subscribed("a", 1);
    let b = script.subscribed("b", 1);
    script.cut();
    script.open();
    script.said();
    script.events();
    let mut reply = subscribed("a", 1);
    reply["recovered"] = true.into();
    script.answer(reply);
    script.push(&publication("a", 2));
    let mut reply = subscribed("b", 30);
    reply["recovered"] = false.into();
    reply["reason"] = "expired".into();
    script.answer(reply);
    script.push(&publication("b", 31));
    let events = script.outputs();
    assert!(matches!(&events[0], Output::Event(id, Event::Recovered(_)) if *id == a));
    assert!(
        matches!(&events[2], Output::Event(id, Event::Missed(Unrecovered::Expired, now)) if *id == b && now.position.offset == 30)
    );
    assert_eq!(script.session.position(b), Some(Position { epoch: Epoch(10), offset: 31 }));
}

#[test]
fn a_new_epoch_begins_a_new_numbering() {
    let mut script = Script::connected(Config::default());
    script.subscribed("a", 7);
    script.cut();
    script.open();
    script.said();
    script.events();
    let reply = json!({"type": "subscribed", "channel": "a", "epoch": "0000000b", "offset": 2, "head": 2, "recovered": false,
        "reason": "epoch", "options": []});
    script.answer(reply);
    script.push(&publication("a", 3));
    assert!(matches!(&script.events()[..], [Event::Missed(Unrecovered::Epoch, _), Event::Publication(_)]));
}

#[test]
fn a_position_or_the_last_publications_can_be_asked_for() {
    let mut script = Script::connected(Config::default());
    let since = Some(Position { epoch: Epoch(10), offset: 3 });
    script.session.subscribe(Subscribe { since, ..wants("a") }).unwrap();
    script.session.subscribe(Subscribe { last: Some(5), state: true, members: true, ..wants("b") }).unwrap();
    assert_eq!(
        script.said(),
        [
            json!({"type": "subscribe", "channel": "a", "epoch": "0000000a", "offset": 3}),
            json!({"type": "subscribe", "channel": "b", "last": 5, "state": true, "members": true}),
        ]
    );
}

#[test]
fn ephemeral_publications_have_no_place() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("a", 1);
    for _ in 0..2 {
        script.push(&json!({"type": "publication", "channel": "a", "time": 1, "data": "typing"}));
    }
    assert_eq!(offsets(&script.events()), [0, 0]);
    assert_eq!(script.session.position(id).unwrap().offset, 1);
}

#[test]
fn pieces_of_a_stream_come_once_each() {
    let mut script = Script::connected(Config::default());
    script.subscribed("a", 0);
    let piece =
        |offset: u64, at: u64| json!({"type": "append", "channel": "a", "offset": offset, "stream": 1, "at": at, "data": "ab"});
    script.push(&publication("a", 1));
    script.push(&piece(2, 0));
    script.push(&piece(2, 0));
    script.push(&piece(4, 2));
    // After a resume: the whole of it, in the place of a piece.
    script.push(&json!({"type": "publication", "channel": "a", "offset": 5, "time": 1, "data": "ababab",
        "stream": {"began": 1, "length": 6}, "began": 1}));
    script.push(&piece(5, 4));
    assert_eq!(offsets(&script.events()), [1, 2, 4, 5]);
}

/// What a channel with keys answers.
fn with_keys(offset: u64, recovered: Option<bool>) -> Value {
    let mut reply = subscribed("a", offset);
    reply["options"] = json!(["history", "state"]);
    if let Some(recovered) = recovered {
        reply["recovered"] = recovered.into();
        reply["reason"] = if recovered { Value::Null } else { "expired".into() };
    }
    reply
}

fn part(keys: &[&str], done: bool) -> Value {
    let entries: Vec<_> = keys.iter().map(|key| json!({"key": key, "offset": 1, "time": 1, "data": 1})).collect();
    json!({"type": "state", "channel": "a", "done": done, "entries": entries})
}

/// How the client goes on from offset 8, with the keys after this one.
fn goes_on(after: Option<&str>) -> Value {
    let mut said = json!({"type": "subscribe", "channel": "a", "epoch": "0000000a", "offset": 8, "state": true});
    if let Some(after) = after {
        said["after"] = after.into();
    }
    said
}

/// Whether events of state are the first and the last.
fn parts(events: &[Event]) -> Vec<(bool, bool)> {
    let part = |event: &Event| if let Event::State { first, done, .. } = event { Some((*first, *done)) } else { None };
    events.iter().filter_map(part).collect()
}

/// One that wants keys, which belong to offset 8.
fn wants_keys() -> (Script, SubscriptionId) {
    let mut script = Script::connected(Config::default());
    let id = script.session.subscribe(Subscribe { state: true, ..wants("a") }).unwrap();
    assert_eq!(script.said(), [json!({"type": "subscribe", "channel": "a", "state": true})]);
    script.answer(with_keys(8, None));
    (script, id)
}

#[test]
fn keys_that_were_cut_off_go_on_and_nothing_that_was_published_meanwhile_is_lost() {
    let (mut script, _) = wants_keys();
    for (after, keys) in [("", "x"), ("x", "y")] {
        script.cut();
        script.open();
        assert_eq!(script.said(), [goes_on(Some(after))]);
        script.answer(with_keys(8, Some(true)));
        script.push(&part(&[keys], false));
    }
    script.push(&part(&["z"], true));
    script.push(&part(&["zz"], true));
    script.push(&publication("a", 9));
    let events = script.events();
    assert_eq!(parts(&events), [(false, false), (false, true)], "before the cut was the first");
    assert_eq!(offsets(&events), [9]);
    assert!(events.iter().all(|event| !matches!(event, Event::Missed(..))));
    script.cut();
    script.open();
    let complete = json!({"type": "subscribe", "channel": "a", "epoch": "0000000a", "offset": 9, "state": true});
    assert_eq!(script.said(), [complete], "they are complete");
}

#[test]
fn keys_that_were_cut_off_begin_anew_where_something_is_missing() {
    let (mut script, _) = wants_keys();
    script.push(&part(&["x"], false));
    script.cut();
    script.open();
    assert_eq!(script.said(), [goes_on(Some("x"))]);
    script.answer(with_keys(20, Some(false)));
    script.push(&part(&["a", "x"], true));
    let events = script.events();
    assert!(matches!(events[..], [Event::Missed(Unrecovered::Expired, _), Event::State { .. }]));
    assert_eq!(parts(&events), [(true, true)]);
}

#[test]
fn keys_of_a_subscription_that_was_set_aside_go_on_when_it_is_taken_up() {
    let (mut script, id) = wants_keys();
    script.push(&part(&["x"], false));
    script.session.set_aside(id);
    script.push(&part(&["y"], true));
    assert_eq!(parts(&script.events()), [(true, false)]);
    script.said();
    script.session.take_up(id);
    assert_eq!(script.said(), [goes_on(Some("x"))]);
}

#[test]
fn a_channel_that_has_no_keys_any_more_sends_none() {
    let (mut script, _) = wants_keys();
    script.cut();
    script.open();
    assert_eq!(script.said(), [goes_on(Some(""))]);
    let mut reply = with_keys(8, Some(true));
    reply["options"] = json!(["history"]);
    script.answer(reply);
    script.cut();
    script.open();
    assert_eq!(script.said(), [goes_on(None)]);
}

#[test]
fn whoever_begins_from_a_place_has_its_keys() {
    let mut script = Script::connected(Config::default());
    let since = Some(Position { epoch: Epoch(10), offset: 8 });
    script.session.subscribe(Subscribe { state: true, since, ..wants("a") }).unwrap();
    assert_eq!(script.said(), [goes_on(None)]);
}

#[test]
fn a_gap_moves_the_position() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("a", 1);
    script.push(&json!({"type": "gap", "channel": "a", "offset": 20}));
    script.push(&publication("a", 20));
    script.push(&publication("a", 21));
    assert!(matches!(&script.events()[..], [Event::Gap(20), Event::Publication(publication)] if publication.offset == 21));
    assert_eq!(script.session.position(id).unwrap().offset, 21);
}

#[test]
fn who_comes_and_goes_is_told() {
    let mut script = Script::connected(Config::default());
    script.subscribed("a", 1);
    let member = json!({"session": "AAAAAAAAAAAAAAAB", "user": "lin"});
    script.push(&json!({"type": "join", "channel": "a", "member": member}));
    script.push(&json!({"type": "leave", "channel": "a", "member": member}));
    assert!(matches!(&script.events()[..], [Event::Join(come), Event::Leave(gone)] if come == gone));
}

#[test]
fn after_unsubscribing_nothing_comes() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("a", 1);
    script.push(&publication("a", 2));
    script.session.unsubscribe(id);
    assert_eq!(script.outputs(), [], "what was not taken yet is gone too");
    assert_eq!(script.said(), [json!({"type": "unsubscribe", "channel": "a"})]);
    script.push(&publication("a", 3));
    script.answer(json!({"type": "unsubscribed", "channel": "a"}));
    assert_eq!(script.outputs(), []);
    assert_eq!(script.session.position(id), None);
}

#[test]
fn a_channel_can_be_left_and_joined_before_the_server_has_answered() {
    let mut script = Script::connected(Config::default());
    let old = script.subscribe("a");
    script.said();
    script.session.unsubscribe(old);
    let new = script.subscribe("a");
    assert_eq!(script.said(), [json!({"type": "unsubscribe", "channel": "a"}), json!({"type": "subscribe", "channel": "a"})]);
    script.answer(subscribed("a", 1));
    script.push(&publication("a", 2));
    script.answer(json!({"type": "unsubscribed", "channel": "a"}));
    assert_eq!(script.outputs(), [], "all that was the old one's");
    script.answer(subscribed("a", 2));
    script.push(&publication("a", 3));
    let outputs = script.outputs();
    assert!(outputs.iter().all(|output| matches!(output, Output::Event(id, _) if *id == new)), "{outputs:?}");
    assert_eq!(outputs.len(), 2);
}

#[test]
fn what_was_never_asked_for_is_not_left() {
    let mut script = Script::connected(Config::default());
    for _ in 0..100 {
        let id = script.subscribe("a");
        script.session.unsubscribe(id);
    }
    assert_eq!(script.said(), [] as [Value; 0]);
}

#[test]
fn whoever_comes_and_goes_without_end_has_to_wait_for_the_server() {
    let mut script = Script::connected(Config { max_subscriptions: 10, max_requests: 10, ..Config::default() });
    let mut said = 0;
    for _ in 0..1000 {
        let id = script.subscribe("a");
        said += script.said().len();
        script.session.unsubscribe(id);
        said += script.said().len();
    }
    assert!(said <= 31, "{said} commands are on the line");
}

#[test]
fn set_aside_and_taken_up_nothing_is_lost() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("a", 1);
    script.push(&publication("a", 2));
    script.session.set_aside(id);
    script.push(&publication("a", 3));
    assert_eq!(offsets(&script.events()), [2]);
    script.session.take_up(id);
    assert_eq!(
        script.said(),
        [
            json!({"type": "unsubscribe", "channel": "a"}),
            json!({"type": "subscribe", "channel": "a", "epoch": "0000000a", "offset": 2})
        ]
    );
    script.answer(json!({"type": "unsubscribed", "channel": "a"}));
    let mut reply = subscribed("a", 2);
    reply["recovered"] = true.into();
    script.answer(reply);
    script.push(&publication("a", 3));
    assert!(matches!(&script.events()[..], [Event::Recovered(_), Event::Publication(_)]));
}

#[test]
fn the_server_can_end_a_subscription() {
    let mut script = Script::connected(Config::default());
    let id = script.subscribed("a", 1);
    script.push(&json!({"type": "unsubscribed", "channel": "a", "code": 105, "reason": "permission_denied"}));
    assert!(matches!(&script.events()[..], [Event::Ended(why)] if why.code == ErrorCode::PermissionDenied));
    assert_eq!(script.session.position(id), None);
    script.cut();
    script.open();
    assert_eq!(script.said(), [] as [Value; 0]);
}

#[test]
fn a_refused_subscription_ends_and_one_refused_for_now_is_tried_again() {
    let mut script = Script::connected(Config::default());
    script.subscribe("a");
    script.subscribe("b");
    script.said();
    script.answer(error("permission_denied", 105, false));
    script.answer(error("storage_failed", 131, true));
    assert!(matches!(&script.events()[..], [Event::Ended(_)]));
    assert_eq!(script.said(), [] as [Value; 0]);
    let waited = script.wait();
    assert!(waited <= Config::default().backoff, "{waited:?}");
    assert_eq!(script.said(), [json!({"type": "subscribe", "channel": "b"})]);
    script.answer(subscribed("b", 1));
    assert!(matches!(&script.events()[..], [Event::Subscribed(_)]));
}

#[test]
fn subscriptions_are_checked_and_bounded() {
    let mut script = Script::connected(Config { max_subscriptions: 2, ..Config::default() });
    let refused = |script: &mut Script, channel: &str| script.session.subscribe(wants(channel)).unwrap_err().code;
    assert_eq!(refused(&mut script, ""), ErrorCode::BadChannel);
    assert_eq!(refused(&mut script, "a\nb"), ErrorCode::BadChannel);
    script.subscribe("a");
    assert_eq!(refused(&mut script, "a"), ErrorCode::AlreadySubscribed);
    script.subscribe("b");
    assert_eq!(refused(&mut script, "c"), ErrorCode::TooManySubscriptions);
}
