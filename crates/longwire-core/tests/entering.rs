//! From the reply to the present: resuming, racing publications, snapshots.

use serde_json::{Value, json};

use crate::support::{Line, Node, assert_heard, types};

fn publish(node: &mut Node, line: Line, channel: &str, count: usize) {
    for number in 0..count {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"{channel}","data":{number}}}"#));
    }
}

fn offsets(heard: &[Value]) -> Vec<u64> {
    heard.iter().filter(|heard| heard["type"] == "publication").map(|heard| heard["offset"].as_u64().unwrap()).collect()
}

fn epoch(node: &mut Node, line: Line, channel: &str) -> String {
    let heard = node.ask(line, &format!(r#"{{"type":"history","channel":"{channel}","limit":0}}"#));
    heard[0]["epoch"].as_str().unwrap().to_owned()
}

#[test]
fn all_pages_come_after_the_reply_and_then_the_present() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    publish(&mut node, other, "log:a", 250);
    let epoch = epoch(&mut node, other, "log:a");
    node.say(line, &format!(r#"{{"type":"subscribe","channel":"log:a","epoch":"{epoch}","offset":10}}"#));
    // The present does not wait: something is published between any two letters.
    let mut heard = Vec::new();
    for _ in 0..80 {
        node.say(other, r#"{"type":"publish","channel":"log:a","data":"racing"}"#);
        node.letter();
        node.letter();
        heard.extend(node.heard(line));
    }
    node.run();
    heard.extend(node.heard(line));
    assert_eq!(types(&heard)[0], "subscribed");
    assert_eq!(offsets(&heard), (11..=330).collect::<Vec<_>>());
}

#[test]
fn the_last_so_many_and_then_the_present() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    publish(&mut node, other, "few:a", 8);
    let heard = node.ask(line, r#"{"type":"subscribe","channel":"few:a","last":3}"#);
    assert_heard(&heard[..1], &[json!({"type": "subscribed", "offset": 5, "head": 8, "recovered": null})]);
    assert_eq!(offsets(&heard), [6, 7, 8]);
    publish(&mut node, other, "few:a", 1);
    assert_eq!(offsets(&node.heard(line)), [9]);
}

#[test]
fn whoever_cannot_continue_is_told_why() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    publish(&mut node, other, "few:a", 8);
    let epoch = epoch(&mut node, other, "few:a");
    let mut from = |channel: &str, epoch: &str, offset: u64| {
        let heard =
            node.ask(line, &format!(r#"{{"type":"subscribe","channel":"{channel}","epoch":"{epoch}","offset":{offset}}}"#));
        node.ask(line, &format!(r#"{{"type":"unsubscribe","channel":"{channel}"}}"#));
        (heard[0].clone(), heard.len())
    };
    let missed = |reason: &str| json!({"recovered": false, "reason": reason});
    for (channel, epoch, offset, reason) in [
        ("few:a", &*epoch, 2, "expired"),
        ("few:a", &*epoch, 99, "ahead"),
        ("few:a", "00000001", 8, "epoch"),
        ("plain", &*epoch, 0, "off"),
    ] {
        let (heard, count) = from(channel, epoch, offset);
        assert_heard(std::slice::from_ref(&heard), &[missed(reason)]);
        assert_eq!((heard["offset"].clone(), count), (heard["head"].clone(), 1));
    }
    let (heard, count) = from("few:a", &epoch, 3);
    assert_heard(&[heard], &[json!({"recovered": true, "reason": null, "offset": 3, "head": 8})]);
    assert_eq!(count, 6);
}

#[test]
fn someone_who_never_got_anything_resumes() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    let heard = node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    let epoch = heard[0]["epoch"].as_str().unwrap().to_owned();
    node.close(line);
    publish(&mut node, other, "log:a", 2);
    let line = node.connect();
    let heard = node.ask(line, &format!(r#"{{"type":"subscribe","channel":"log:a","epoch":"{epoch}","offset":0}}"#));
    assert_heard(&heard[..1], &[json!({"recovered": true})]);
    assert_eq!(offsets(&heard), [1, 2]);
}

#[test]
fn keys_come_in_parts_before_what_changes_them() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    for key in 0..230 {
        node.ask(other, &format!(r#"{{"type":"publish","channel":"keys:a","key":"{key:03}","data":1}}"#));
    }
    node.say(line, r#"{"type":"subscribe","channel":"keys:a","state":true}"#);
    node.say(other, r#"{"type":"publish","channel":"keys:a","key":"000","remove":true}"#);
    node.run();
    let heard = node.heard(line);
    assert_eq!(types(&heard), ["subscribed", "state", "state", "state", "publication"]);
    let counts: Vec<_> = heard[1..4].iter().map(|heard| heard["entries"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [100, 100, 30]);
    assert_heard(&heard[3..], &[json!({"done": true}), json!({"removed": true, "key": "000"})]);
    let heard = node.ask(other, r#"{"type":"subscribe","channel":"keys:none","state":true}"#);
    assert_heard(&heard[1..], &[json!({"type": "state", "entries": [], "done": true})]);
}

#[test]
fn who_comes_while_the_reply_waits_is_in_it_or_told_after() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    // The history stands before the subscription, and its answer is late.
    node.say(line, r#"{"type":"history","id":1,"channel":"log:a"}"#);
    node.say(line, r#"{"type":"subscribe","id":2,"channel":"room:a","members":true}"#);
    node.say(other, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.run();
    let heard = node.heard(line);
    let subscribed = heard.iter().find(|heard| heard["type"] == "subscribed").unwrap();
    let known = subscribed["members"].as_array().unwrap().len() + types(&heard).iter().filter(|kind| **kind == "join").count();
    assert_eq!(known, 2);
}

#[test]
fn large_deliveries_while_entering_are_read_from_the_past() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    publish(&mut node, other, "log:a", 150);
    node.set_full(line, true);
    let large = "x".repeat(60_000);
    for _ in 0..10 {
        node.ask(other, &format!(r#"{{"type":"publish","channel":"log:a","data":"{large}"}}"#));
    }
    node.say(line, r#"{"type":"subscribe","channel":"log:a","last":500}"#);
    node.run();
    for _ in 0..10 {
        node.ask(other, &format!(r#"{{"type":"publish","channel":"log:a","data":"{large}"}}"#));
    }
    let bytes: usize = node.heard(line).iter().map(|heard| heard.to_string().len()).sum();
    assert!(bytes < 700_000, "no more than the credit and a page: {bytes}");
    node.set_full(line, false);
    node.run();
    assert_eq!(offsets(&node.heard(line)).last(), Some(&170));
}
