//! Replies come in the order of their commands, whatever their answers do.

use longwire_core::engine::SessionOptions;
use serde_json::{Value, json};

use crate::support::{Node, assert_heard, types};

fn ids(heard: &[Value]) -> Vec<u64> {
    heard.iter().filter_map(|heard| heard["id"].as_u64()).collect()
}

#[test]
fn a_batch_is_answered_in_order() {
    let mut node = Node::new();
    let line = node.open(0);
    let heard = node.ask(
        line,
        concat!(
            r#"{"type":"connect","id":1}"#,
            "\n",
            r#"{"type":"history","id":2,"channel":"log:a"}"#,
            "\n\n",
            r#"{"type":"ping","id":3}"#,
            "\n",
            "nonsense\n",
            r#"{"type":"subscribe","id":4,"channel":"log:a"}"#,
            "\n",
            r#"{"type":"publish","id":5,"channel":"log:a","data":1}"#,
            "\n",
            r#"{"type":"unsubscribe","id":6,"channel":"log:a"}"#,
            "\n",
            r#"{"type":"ping","id":7}"#,
        ),
    );
    assert_eq!(ids(&heard), [1, 2, 3, 4, 5, 6, 7]);
    let replies: Vec<_> = types(&heard).into_iter().filter(|kind| *kind != "publication").collect();
    assert_eq!(replies[..5], ["connected", "history", "pong", "error", "error"], "it was left before it had begun");
    assert_eq!(replies[5..], ["published", "unsubscribed", "pong"]);
}

#[test]
fn a_reply_that_is_known_early_waits_for_its_turn() {
    let mut node = Node::new();
    let line = node.connect();
    node.say(line, r#"{"type":"history","id":1,"channel":"log:a"}"#);
    node.say(line, r#"{"type":"ping","id":2}"#);
    node.say(line, r#"{"type":"unsubscribe","id":3,"channel":"log:a"}"#);
    assert!(node.heard(line).is_empty());
    node.run();
    assert_eq!(types(&node.heard(line)), ["history", "pong", "error"]);
}

#[test]
fn a_subscription_that_is_left_at_once_is_answered_all_the_same() {
    let mut node = Node::new();
    let line = node.connect();
    node.say(line, r#"{"type":"subscribe","id":1,"channel":"room:a"}"#);
    node.say(line, r#"{"type":"unsubscribe","id":2,"channel":"room:a"}"#);
    node.say(line, r#"{"type":"subscribe","id":3,"channel":"room:a","members":true}"#);
    node.run();
    let heard = node.heard(line);
    assert_heard(
        &heard,
        &[
            json!({"id": 1, "name": "not_subscribed"}),
            json!({"id": 2, "type": "unsubscribed"}),
            json!({"id": 3, "type": "subscribed"}),
        ],
    );
    assert_eq!(heard[2]["members"].as_array().unwrap().len(), 1);
}

#[test]
fn the_reply_of_an_early_error_survives_a_late_answer() {
    let mut node = Node::new();
    let line = node.connect();
    // The history is asked for first, and answered last: the answer to the subscription finds its error waiting.
    node.say(line, r#"{"type":"subscribe","id":1,"channel":"log:a"}"#);
    node.say(line, r#"{"type":"history","id":2,"channel":"log:a"}"#);
    node.say(line, r#"{"type":"subscribe","id":3,"channel":"log:b"}"#);
    node.say(line, r#"{"type":"unsubscribe","id":4,"channel":"log:b"}"#);
    node.run();
    assert_eq!(ids(&node.heard(line)), [1, 2, 3, 4]);
}

#[test]
fn nothing_of_a_channel_comes_after_unsubscribed() {
    let mut node = Node::new();
    let (line, other) = (node.connect(), node.connect());
    node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    node.say(other, r#"{"type":"publish","channel":"log:a","data":1}"#);
    while node.letter() {}
    // It is in the hub, and not dealt out yet.
    node.say(line, r#"{"type":"unsubscribe","channel":"log:a","id":1}"#);
    node.run();
    assert_eq!(types(&node.heard(line)), ["unsubscribed"]);
}

#[test]
fn a_client_that_asks_for_much_waits() {
    let mut node = Node::new();
    let line = node.connect();
    for id in 1..=40 {
        node.say(line, &format!(r#"{{"type":"history","id":{id},"channel":"log:a"}}"#));
    }
    assert_eq!(node.waiting(line), 32, "what was taken has a bound");
    node.run();
    assert_eq!(node.waiting(line), 0);
    assert_eq!(ids(&node.heard(line)), (1..=40).collect::<Vec<_>>());
}

#[test]
fn a_client_that_does_not_read_waits_and_goes_on() {
    let mut node = Node::new();
    let line = node.connect();
    let large = "x".repeat(60_000);
    for _ in 0..20 {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"log:a","data":"{large}"}}"#));
    }
    node.set_full(line, true);
    for id in 1..=10 {
        node.say(line, &format!(r#"{{"type":"history","id":{id},"channel":"log:a"}}"#));
    }
    node.run();
    let heard = node.heard(line);
    assert_eq!(ids(&heard), [1], "one page is more than the credit");
    node.set_full(line, false);
    node.run();
    assert_eq!(ids(&node.heard(line)), (2..=10).collect::<Vec<_>>());
    assert_eq!(node.waiting(line), 0);
}

#[test]
fn even_a_single_large_reply_gives_its_credit_back() {
    let mut node = Node::with(1, SessionOptions::default());
    let line = node.connect();
    let large = "x".repeat(60_000);
    for _ in 0..6 {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"log:a","data":"{large}"}}"#));
    }
    node.ask(line, r#"{"type":"history","id":1,"channel":"log:a"}"#);
    assert_heard(&node.ask(line, r#"{"type":"ping","id":2}"#), &[json!({"type": "pong", "id": 2})]);
}

#[test]
fn who_subscribes_and_takes_it_back_asks_no_more_at_a_time_than_anybody() {
    let mut node = Node::new();
    let line = node.connect();
    let both = "{\"type\":\"subscribe\",\"channel\":\"room:a\"}\n{\"type\":\"unsubscribe\",\"channel\":\"room:a\"}";
    node.say(line, &[both; 500].join("\n"));
    // Of each there may be following, entering, leaving the channel and its company.
    assert!(node.letters() <= 4 * 8, "{} letters of one line are on their way", node.letters());
    assert!(node.waiting(line) > 900);
    // A new line with another's index does not count what that one has asked.
    node.close(line);
    let line = node.connect();
    node.say(line, &[both; 500].join("\n"));
    node.run();
    assert_eq!(node.waiting(line), 0, "all is heard in the end");
    assert_eq!(node.heard(line).len(), 500, "each subscription was taken back");
    node.close(line);
    node.pass(60_000);
    node.assert_empty("room:a");
}
