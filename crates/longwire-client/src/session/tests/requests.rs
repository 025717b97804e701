//! Publications and other requests, through lost lines.

use longwire_protocol::{Append, ErrorCode, History, Reply};
use serde_json::json;

use super::*;

fn published(offset: u64) -> Value {
    json!({"type": "published", "channel": "chat:lobby", "epoch": "0000000a", "offset": offset})
}

fn answers(outputs: Vec<Output>) -> Vec<(RequestId, Result<Reply, Failure>)> {
    let answer = |output| if let Output::Answer(id, answer) = output { Some((id, answer)) } else { None };
    outputs.into_iter().filter_map(answer).collect()
}

#[test]
fn answers_belong_to_requests_in_order() {
    let mut script = Script::connected(Config::default());
    let first = script.publish("one").unwrap();
    let second = script.publish("two").unwrap();
    let third = script
        .session
        .request(Request::History(History { channel: "a".into(), after: None, epoch: None, before: None, limit: Some(1) }))
        .unwrap();
    assert_eq!(
        without_once(script.said()),
        [
            json!({"type": "publish", "channel": "chat:lobby", "data": "one"}),
            json!({"type": "publish", "channel": "chat:lobby", "data": "two"}),
            json!({"type": "history", "channel": "a", "limit": 1}),
        ]
    );
    script.answer(published(1));
    script.answer(error("permission_denied", 105, false));
    script
        .answer(json!({"type": "history", "channel": "a", "epoch": "0000000a", "head": 0, "publications": [], "more": false}));
    let answers = answers(script.outputs());
    assert!(matches!(&answers[0], (id, Ok(Reply::Published { .. })) if *id == first));
    assert!(
        matches!(&answers[1], (id, Err(Failure::Refused(why))) if *id == second && why.code == ErrorCode::PermissionDenied)
    );
    assert!(matches!(&answers[2], (id, Ok(Reply::History { .. })) if *id == third));
}

#[test]
fn what_was_not_answered_is_said_again_in_order_with_the_same_keys() {
    let mut script = Script::connected(Config::default());
    for text in ["one", "two", "three"] {
        script.publish(text).unwrap();
    }
    let said = script.said();
    script.answer(published(1));
    script.publish("four").unwrap();
    script.cut();
    script.publish("five").unwrap();
    script.open();
    let mut again = script.said();
    let ages: Vec<_> = again.iter_mut().map(|command| command.as_object_mut().unwrap().remove("age")).collect();
    let since = script.now.as_nanos().div_ceil(1_000_000) as u64;
    assert_eq!(ages, [Some(since.into()), Some(since.into()), None, None], "how long ago they were said for the first time");
    assert_eq!(again[..2], said[1..]);
    let texts: Vec<_> = again.iter().map(|command| command["data"].as_str().unwrap()).collect();
    assert_eq!(texts, ["two", "three", "four", "five"]);
    let mut keys: Vec<_> = said[..1].iter().chain(&again).map(|command| command["once"].as_str().unwrap()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 5, "every key is another: {keys:?}");
}

#[test]
fn the_users_own_key_is_kept() {
    let mut script = Script::connected(Config::default());
    let publish = Publish { once: Some("mine".into()), ..Publish::new("a", "x") };
    script.session.request(Request::Publish(publish)).unwrap();
    assert_eq!(script.said()[0]["once"], "mine");
}

#[test]
fn the_age_counts_from_where_the_user_has_it() {
    let mut script = Script::connected(Config::default());
    let publish = Publish { once: Some("mine".into()), age: 5000, ..Publish::new("a", "x") };
    script.session.request(Request::Publish(publish)).unwrap();
    assert_eq!(script.said()[0]["age"], 5000);
    for age in [8000, 11_000] {
        script.session.line_lost(script.now, None);
        script.wait();
        script.now = Duration::from_millis(age - 5000);
        assert!(script.outputs().contains(&Output::Open));
        script.open();
        assert_eq!(script.said()[0]["age"], age);
    }
}

#[test]
fn ephemeral_publications_do_not_wait_and_are_not_repeated() {
    let mut script = Script::new(Config::default());
    let typing = || Request::Publish(Publish { ephemeral: true, ..Publish::new("a", "typing") });
    script.session.start(script.now);
    assert_eq!(script.session.request(typing()), Err(Failure::Offline));
    script.open();
    let id = script.session.request(typing()).unwrap();
    assert_eq!(script.said()[0].get("once"), None);
    script.outputs();
    script.session.line_lost(script.now, None);
    assert_eq!(answers(script.outputs()), [(id, Err(Failure::Unknown))]);
    script.wait();
    script.open();
    assert_eq!(script.said(), [] as [Value; 0]);
}

#[test]
fn pieces_of_a_stream_are_repeated_only_with_their_place() {
    let mut script = Script::connected(Config::default());
    let append = |at| Append { channel: "a".into(), stream: 1, data: Some("x".into()), at, end: None, reason: None };
    let with = script.session.request(Request::Append(append(Some(0)))).unwrap();
    let without = script.session.request(Request::Append(append(None))).unwrap();
    assert_eq!(script.said().len(), 2);
    script.outputs();
    script.session.line_lost(script.now, None);
    assert_eq!(answers(script.outputs()), [(without, Err(Failure::Unknown))]);
    script.wait();
    script.open();
    assert_eq!(script.said().len(), 1);
    script.answer(json!({"type": "appended", "channel": "a", "stream": 1, "length": 1}));
    assert!(matches!(answers(script.outputs())[..], [(id, Ok(Reply::Appended { .. }))] if id == with));
}

#[test]
fn what_was_sent_too_long_ago_is_not_repeated() {
    let mut script = Script::connected(Config::default());
    let old = script.publish("old").unwrap();
    script.said();
    script.now += Config::default().replay_within + SECOND;
    let new = script.publish("new").unwrap();
    script.said();
    script.outputs();
    script.cut();
    script.open();
    assert_eq!(answers(script.outputs()), [(old, Err(Failure::Unknown))]);
    assert_eq!(script.said()[0]["data"], "new");
    script.answer(published(1));
    assert_eq!(answers(script.outputs())[0].0, new);
}

#[test]
fn the_queue_is_bounded_in_number_and_bytes() {
    let mut script = Script::new(Config { max_requests: 3, max_request_bytes: 10_000, ..Config::default() });
    for _ in 0..3 {
        script.publish("x").unwrap();
    }
    assert!(!script.session.has_room());
    assert_eq!(script.publish("x"), Err(Failure::Full));
    let mut script = Script::new(Config { max_requests: 3, max_request_bytes: 10_000, ..Config::default() });
    script.publish(&"x".repeat(10_000)).unwrap();
    assert_eq!(script.publish("x"), Err(Failure::Full));
    script.session.start(script.now);
    script.open();
    script.said();
    script.answer(published(1));
    assert!(script.session.has_room());
}

#[test]
fn messages_are_no_longer_than_the_server_takes() {
    let mut script = Script::new(Config::default());
    script.session.start(script.now);
    let small: Vec<_> = (0..50).map(|n| script.publish(&format!("{n:0100}")).unwrap()).collect();
    let large = script.publish(&"x".repeat(5000)).unwrap();
    let after = script.publish("after").unwrap();
    script.line();
    let mut reply = connected();
    reply["max"] = 2000.into();
    script.answer(reply);
    let mut sizes = Vec::new();
    while let Some(message) = script.session.transmit(script.now) {
        sizes.push(message.len());
    }
    assert!(sizes.iter().all(|size| *size <= 2000) && sizes.len() > 3, "{sizes:?}");
    assert_eq!(answers(script.outputs()), [(large, Err(Failure::TooLarge(2000)))]);
    assert_eq!(script.session.unanswered(), small.len() + 1);
    script.session.check();
    script.session.close();
    assert_eq!(answers(script.outputs()).last(), Some(&(after, Err(Failure::Stopped))));
}

#[test]
fn what_no_server_would_take_is_refused_at_once() {
    let mut script = Script::connected(Config::default());
    let publish = Publish { event: Some("x".repeat(300).into()), ..Publish::new("a", "x") };
    assert!(matches!(script.session.request(Request::Publish(publish)), Err(Failure::Refused(_))));
    for data in [Data::Json("{]".into()), Data::Text(b"\xff"[..].into())] {
        let publish = Request::Publish(Publish::new("a", data));
        let Err(Failure::Refused(why)) = script.session.request(publish) else { panic!() };
        assert_eq!(why.code, ErrorCode::BadValue);
    }
    assert_eq!(script.session.unanswered(), 0);
    let lines = Data::Json("{\n\"a\": 1\n}".into());
    script.session.request(Request::Publish(Publish::new("a", lines))).unwrap();
    assert_eq!(script.said()[0]["data"], json!({"a": 1}));
}

#[test]
fn a_producer_is_told_to_stop() {
    let mut script = Script::connected(Config::default());
    script.outputs();
    script.push(&json!({"type": "cancel", "channel": "a", "stream": 7}));
    assert_eq!(script.outputs(), [Output::Cancel { channel: "a".into(), stream: 7 }]);
}

/// A reply may bring the session to an end that drops all requests: nothing of them is left over.
#[test]
fn requests_end_with_the_session() {
    let mut script = Script::connected(Config::default());
    let on_line = script.publish("one").unwrap();
    script.said();
    let waiting = script.publish("two").unwrap();
    script.outputs();
    script.session.close();
    assert_eq!(answers(script.outputs()), [(on_line, Err(Failure::Stopped)), (waiting, Err(Failure::Stopped))]);
    script.session.check();
}
