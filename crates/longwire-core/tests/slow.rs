//! Those who read too slowly: closed, or told of a gap, or given the newest of each key.

use serde_json::{Value, json};

use crate::support::{Line, Node, assert_heard, types};

fn publish(node: &mut Node, line: Line, channel: &str, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"{channel}","data":{number}}}"#));
    }
}

fn data(heard: &[Value]) -> Vec<u64> {
    heard.iter().filter(|heard| heard["type"] == "publication").map(|heard| heard["data"].as_u64().unwrap()).collect()
}

#[test]
fn a_slow_reader_is_closed_and_hears_nothing_more_of_the_channel() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    node.set_full(line, true);
    publish(&mut node, other, "log:a", 1..=1);
    assert_heard(&node.heard(line), &[json!({"closed": 3002})]);
    // There would be room for the next: but the first is missing.
    node.set_full(line, false);
    publish(&mut node, other, "log:a", 2..=2);
    assert!(node.heard(line).is_empty());
    assert_eq!(node.followers("log:a"), 0);
}

#[test]
fn a_slow_reader_that_was_closed_is_still_there_for_a_while() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(other, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.heard(other);
    node.set_full(line, true);
    publish(&mut node, other, "room:a", 1..=1);
    node.close(line);
    assert!(node.heard(other).is_empty());
    node.pass(30_000);
    assert_eq!(types(&node.heard(other)), ["leave"]);
}

#[test]
fn a_neighbour_is_not_slowed_down() {
    let mut node = Node::new();
    let (slow, fast, other) = (node.connect(), node.connect(), node.connect());
    for line in [slow, fast] {
        node.ask(line, r#"{"type":"subscribe","channel":"gap:a"}"#);
    }
    node.set_full(slow, true);
    publish(&mut node, other, "gap:a", 1..=30);
    assert_eq!(data(&node.heard(fast)), (1..=30).collect::<Vec<_>>());
    assert!(node.heard(slow).is_empty());
}

#[test]
fn a_gap_is_told_and_what_follows_comes() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"gap:a"}"#);
    publish(&mut node, other, "gap:a", 1..=1);
    node.set_full(line, true);
    publish(&mut node, other, "gap:a", 2..=9);
    node.set_full(line, false);
    node.run();
    publish(&mut node, other, "gap:a", 10..=10);
    let heard = node.heard(line);
    assert_eq!(types(&heard), ["publication", "gap", "publication"]);
    assert_eq!((heard[1]["offset"].clone(), data(&heard)), (json!(9), vec![1, 10]));
}

#[test]
fn the_newest_of_each_key_comes_once_there_is_room() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"latest:a"}"#);
    node.ask(other, r#"{"type":"publish","channel":"latest:a","key":"a","data":0}"#);
    node.set_full(line, true);
    for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)] {
        node.ask(other, &format!(r#"{{"type":"publish","channel":"latest:a","key":"{key}","data":{value}}}"#));
    }
    node.set_full(line, false);
    node.run();
    // What is missing is said before what comes after it.
    let gap = |offset: u64| json!({"type": "gap", "offset": offset});
    let publication = |data: u64| json!({"type": "publication", "data": data});
    assert_heard(&node.heard(line), &[publication(0), gap(3), publication(3), publication(4), publication(5)]);
    node.ask(other, r#"{"type":"publish","channel":"latest:a","key":"a","data":6}"#);
    assert_eq!(data(&node.heard(line)), [6]);
}

#[test]
fn the_newest_of_many_large_keys_come_as_there_is_room() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"latest:a"}"#);
    node.set_full(line, true);
    let large = "x".repeat(50_000);
    for key in 0..20 {
        node.ask(other, &format!(r#"{{"type":"publish","channel":"latest:a","key":"{key}","data":"{large}"}}"#));
    }
    node.set_full(line, false);
    while node.letter() {}
    node.run();
    let heard = node.heard(line);
    assert_eq!(heard.iter().filter(|heard| heard["type"] == "publication").count(), 20);
    assert!(types(&heard).iter().filter(|kind| **kind == "gap").count() >= 1);
}

#[test]
fn what_has_no_place_is_missing_with_a_gap() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"latest:a"}"#);
    node.set_full(line, true);
    node.ask(other, r#"{"type":"publish","channel":"latest:a","data":1,"ephemeral":true}"#);
    node.set_full(line, false);
    node.run();
    assert_eq!(types(&node.heard(line)), ["gap"]);
}

#[test]
fn unsubscribing_while_behind_ends_it() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"gap:a"}"#);
    node.set_full(line, true);
    publish(&mut node, other, "gap:a", 1..=2);
    node.say(line, r#"{"type":"unsubscribe","channel":"gap:a","id":1}"#);
    node.set_full(line, false);
    node.run();
    assert_eq!(types(&node.heard(line)), ["unsubscribed"]);
    assert_eq!(node.followers("gap:a"), 0);
}
