//! Sessions: parked, taken up again, taken over, ended.

use longwire_core::engine::SessionOptions;
use serde_json::{Value, json};

use crate::support::{Line, Node, assert_heard, types};

fn begin(node: &mut Node, shard: usize) -> (Line, Value) {
    let line = node.open(shard);
    let heard = node.ask(line, r#"{"type":"connect"}"#);
    (line, heard[0].clone())
}

fn resume(node: &mut Node, shard: usize, connected: &Value) -> (Line, Value) {
    let line = node.open(shard);
    let (session, key) = (&connected["session"], &connected["key"]);
    let heard = node.ask(line, &json!({"type": "connect", "session": session, "key": key}).to_string());
    (line, heard[0].clone())
}

#[test]
fn a_line_without_connect_is_closed() {
    let mut node = Node::new();
    let (idle, busy) = (node.open(0), node.connect());
    node.pass(9_999);
    assert!(node.heard(idle).is_empty());
    node.pass(1);
    assert_heard(&node.heard(idle), &[json!({"closed": 3004})]);
    assert!(node.heard(busy).is_empty());
}

#[test]
fn a_session_outlives_its_line_for_a_while() {
    let mut node = Node::new();
    let observer = node.connect();
    node.ask(observer, r#"{"type":"subscribe","channel":"room:a"}"#);
    let (line, connected) = begin(&mut node, 0);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    assert_eq!(types(&node.heard(observer)), ["join"]);
    node.close(line);
    node.pass(29_999);
    let (line, again) = resume(&mut node, 0, &connected);
    assert_heard(&[again], &[json!({"resumed": true, "session": connected["session"], "key": connected["key"]})]);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.pass(60_000);
    assert!(node.heard(observer).is_empty(), "it has not been away");
    node.close(line);
    node.pass(30_000);
    assert_eq!(types(&node.heard(observer)), ["leave"]);
    let (_, gone) = resume(&mut node, 0, &connected);
    assert_heard(&[gone], &[json!({"resumed": false})]);
}

#[test]
fn who_does_not_come_back_to_a_channel_leaves_it() {
    let mut node = Node::new();
    let observer = node.connect();
    node.ask(observer, r#"{"type":"subscribe","channel":"room:a"}"#);
    let (mut line, connected) = begin(&mut node, 0);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.heard(observer);
    // Whoever changes lines again and again does not stay for that.
    for _ in 0..5 {
        node.close(line);
        node.pass(5_000);
        line = resume(&mut node, 0, &connected).0;
    }
    assert!(node.heard(observer).is_empty());
    node.pass(5_000);
    assert_eq!(types(&node.heard(observer)), ["leave"]);
}

#[test]
fn a_session_is_taken_from_a_line_that_still_stands() {
    for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 2)] {
        let mut node = Node::with(3, SessionOptions::default());
        let observer = node.connect_to(0);
        node.ask(observer, r#"{"type":"subscribe","channel":"room:a"}"#);
        let (line, connected) = begin(&mut node, from);
        node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
        node.heard(observer);
        let (second, again) = resume(&mut node, to, &connected);
        assert_heard(&[again], &[json!({"resumed": true, "session": connected["session"]})]);
        assert_eq!(node.heard(line).last(), Some(&json!({"closed": 3500})));
        node.close(line);
        node.ask(second, r#"{"type":"subscribe","channel":"room:a"}"#);
        // And on to a third shard: its birthplace knows where it is.
        let (third, again) = resume(&mut node, 2, &connected);
        assert_heard(&[again], &[json!({"resumed": true})]);
        node.close(second);
        node.ask(third, r#"{"type":"subscribe","channel":"room:a"}"#);
        node.pass(100_000);
        assert!(node.heard(observer).is_empty(), "nobody has come or gone");
        node.close(third);
        node.pass(30_000);
        assert_eq!(types(&node.heard(observer)), ["leave"]);
        node.close(observer);
        node.pass(30_000);
        node.assert_empty("room:a");
    }
}

/// A client gives a line up on which its `connect` is stuck, and opens another: what then still comes over the old one must not
/// close the new one, or the client would never come back.
#[test]
fn what_an_abandoned_line_still_says_takes_nothing() {
    for shard in 0..2 {
        let mut node = Node::with(2, SessionOptions::default());
        let (line, connected) = begin(&mut node, 0);
        node.close(line);
        let abandoned = node.open(shard);
        node.pass(1);
        let (line, again) = resume(&mut node, 0, &connected);
        assert_heard(&[again], &[json!({"resumed": true})]);
        let late = json!({"type": "connect", "session": connected["session"], "key": connected["key"]});
        assert_heard(&node.ask(abandoned, &late.to_string()), &[json!({"resumed": false})]);
        assert!(node.heard(line).is_empty());
    }
}

#[test]
fn a_key_or_user_that_is_wrong_takes_nothing() {
    let mut node = Node::new();
    let (line, connected) = begin(&mut node, 0);
    let mut wrong = connected.clone();
    wrong["key"] = "0".repeat(32).into();
    assert_heard(&[resume(&mut node, 0, &wrong).1], &[json!({"resumed": false})]);
    wrong["key"] = "short".into();
    assert_heard(&[resume(&mut node, 0, &wrong).1], &[json!({"resumed": false})]);
    let other = node.open(0);
    let stolen = json!({"type": "connect", "token": "bob", "session": connected["session"], "key": connected["key"]});
    assert_heard(&node.ask(other, &stolen.to_string()), &[json!({"resumed": false, "user": "bob"})]);
    assert!(node.heard(line).is_empty());
}

#[test]
fn a_session_of_a_shard_that_is_not_there_is_a_new_one() {
    let mut node = Node::new();
    let line = node.open(0);
    let key = "0".repeat(32);
    // The first two bytes of the id name the shard: 65535.
    let heard = node.ask(line, &format!(r#"{{"type":"connect","id":1,"session":"__8AAAAAAAAAAAAA","key":"{key}"}}"#));
    assert_heard(&heard, &[json!({"type": "connected", "id": 1, "resumed": false})]);
}

#[test]
fn a_line_that_ends_while_its_session_is_fetched_keeps_it() {
    let mut node = Node::with(2, SessionOptions::default());
    let (line, connected) = begin(&mut node, 0);
    node.close(line);
    let late = node.open(1);
    let take = json!({"type": "connect", "session": connected["session"], "key": connected["key"]});
    node.say(late, &take.to_string());
    node.say(late, r#"{"type":"ping"}"#);
    assert_eq!(node.waiting(late), 1, "nothing else is taken meanwhile");
    node.close(late);
    let (_, again) = resume(&mut node, 0, &connected);
    assert_heard(&[again], &[json!({"resumed": true})]);
}

#[test]
fn only_so_many_sessions_are_kept() {
    let mut node = Node::with(1, SessionOptions { parked: 2, ..SessionOptions::default() });
    let sessions: Vec<_> = (0..3).map(|_| begin(&mut node, 0)).collect();
    for (line, _) in &sessions {
        node.close(*line);
    }
    let resumed: Vec<_> = sessions.iter().map(|(_, connected)| resume(&mut node, 0, connected).1["resumed"].clone()).collect();
    assert_eq!(resumed, [true, true, false]);
}

#[test]
fn nothing_is_left_of_those_who_have_gone() {
    let mut node = Node::new();
    for round in 0..5 {
        let line = node.open(0);
        node.ask(line, &format!(r#"{{"type":"connect","token":"ann for {}"}}"#, 1000 + round));
        node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
        node.say(line, r#"{"type":"subscribe","channel":"log:a"}"#);
        node.close(line);
    }
    let idle = node.open(0);
    node.close(idle);
    node.pass(30_000);
    node.assert_empty("room:a");
    node.assert_empty("log:a");
}

#[test]
fn it_can_be_told_who_is_there() {
    let mut node = Node::new();
    let line = node.connect();
    node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    assert_eq!(node.sessions(), [Some(1)]);
    node.close(line);
    assert_eq!(node.sessions(), [None]);
}
