//! Each command, and each of its errors.

use serde_json::json;

use crate::support::{Node, assert_heard};

#[test]
fn nothing_comes_before_connect() {
    let mut node = Node::new();
    let line = node.open(0);
    assert_heard(&node.ask(line, r#"{"type":"ping","id":1}"#), &[json!({"type": "error", "id": 1, "name": "not_connected"})]);
    let heard = node.ask(line, r#"{"type":"connect","id":2}"#);
    assert_heard(&heard, &[json!({"type": "connected", "id": 2, "resumed": false, "ping": 25, "keep": 30, "max": 1_048_576})]);
    assert_heard(&node.ask(line, r#"{"type":"connect","id":3}"#), &[json!({"id": 3, "name": "already_connected"})]);
    assert_heard(&node.ask(line, r#"{"type":"ping"}"#), &[json!({"type": "pong"})]);
}

#[test]
fn tokens_say_who_one_is() {
    let mut node = Node::new();
    let line = node.open(0);
    assert_heard(&node.ask(line, r#"{"type":"connect","token":"bad"}"#), &[json!({"name": "unauthorized", "retry": false})]);
    assert_heard(&node.ask(line, r#"{"type":"connect","token":"old"}"#), &[json!({"name": "token_expired", "retry": true})]);
    let heard = node.ask(line, r#"{"type":"connect","token":"ann for 10"}"#);
    assert_heard(&heard, &[json!({"type": "connected", "user": "ann", "expires": 10})]);
    assert_heard(&node.ask(line, r#"{"type":"refresh","token":"bob","id":1}"#), &[json!({"name": "permission_denied"})]);
    let refreshed = node.ask(line, r#"{"type":"refresh","token":"ann for 20","id":2}"#);
    assert_heard(&refreshed, &[json!({"type": "refreshed", "id": 2, "expires": 20})]);
    node.pass(19_999);
    assert!(node.heard(line).is_empty());
    node.pass(1);
    assert_heard(&node.heard(line), &[json!({"closed": 3005})]);
}

#[test]
fn subscribe_publish_unsubscribe() {
    let mut node = Node::new();
    let (one, two) = (node.connect(), node.connect());
    let heard = node.ask(one, r#"{"type":"subscribe","id":1,"channel":"log:a"}"#);
    assert_heard(
        &heard,
        &[
            json!({"type": "subscribed", "id": 1, "channel": "log:a", "offset": 0, "head": 0, "options": ["history", "publish"]}),
        ],
    );
    let heard = node.ask(two, r#"{"type":"publish","id":1,"channel":"log:a","data":{"x":1},"event":"e","tags":{"t":"u"}}"#);
    assert_heard(&heard, &[json!({"type": "published", "id": 1, "offset": 1})]);
    assert_heard(
        &node.heard(one),
        &[
            json!({"type": "publication", "offset": 1, "data": {"x": 1}, "event": "e", "tags": {"t": "u"}, "time": 1_700_000_000_000u64}),
        ],
    );
    let again = node.ask(one, r#"{"type":"subscribe","id":2,"channel":"log:a"}"#);
    assert_heard(&again, &[json!({"id": 2, "name": "already_subscribed", "channel": "log:a"})]);
    let heard = node.ask(one, r#"{"type":"unsubscribe","id":3,"channel":"log:a"}"#);
    assert_heard(&heard, &[json!({"type": "unsubscribed", "id": 3, "channel": "log:a"})]);
    node.ask(two, r#"{"type":"publish","channel":"log:a","data":2}"#);
    assert!(node.heard(one).is_empty());
    let heard = node.ask(one, r#"{"type":"unsubscribe","channel":"log:a"}"#);
    assert_heard(&heard, &[json!({"type": "error", "name": "not_subscribed"})]);
    assert_eq!(node.followers("log:a"), 0);
}

#[test]
fn bare_successes_without_id_say_nothing() {
    let mut node = Node::new();
    let line = node.connect();
    assert!(node.ask(line, r#"{"type":"publish","channel":"ai:a","stream":true,"data":"x"}"#).is_empty());
    assert!(node.ask(line, r#"{"type":"append","channel":"ai:a","stream":1,"data":"y"}"#).is_empty());
    assert!(node.ask(line, r#"{"type":"cancel","channel":"ai:a","stream":1}"#).iter().all(|heard| heard["type"] == "cancel"));
    let heard = node.ask(line, r#"{"type":"append","channel":"ai:a","stream":1,"data":"z"}"#);
    assert_heard(&heard, &[json!({"type": "appended", "length": 3, "cancel": true})]);
    node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    assert!(node.ask(line, r#"{"type":"unsubscribe","channel":"log:a"}"#).is_empty());
    let heard = node.ask(line, r#"{"type":"publish","channel":"no:such","data":1}"#);
    assert_heard(&heard, &[json!({"type": "error", "name": "unknown_namespace", "channel": "no:such"})]);
}

#[test]
fn errors_have_their_numbers() {
    let mut node = Node::new();
    let line = node.connect();
    let cases = [
        (r#"{"type":"subscribe","channel":"no:such"}"#, 104),
        (r#"{"type":"subscribe","channel":"secret:a"}"#, 105),
        (r#"{"type":"history","channel":"secret:a"}"#, 105),
        (r#"{"type":"publish","channel":"secret:a","data":1}"#, 105),
        (r#"{"type":"publish","channel":"staff:a","data":1}"#, 105),
        (r#"{"type":"cancel","channel":"secret:a","stream":1}"#, 105),
        (r#"{"type":"publish","channel":"small:a","data":"eleven bytes"}"#, 108),
        (r#"{"type":"publish","channel":"log:a","key":"k","data":1}"#, 110),
        (r#"{"type":"publish","channel":"log:a","stream":true}"#, 110),
        (r#"{"type":"history","channel":"plain"}"#, 110),
        (r#"{"type":"presence","channel":"log:a"}"#, 110),
        (r#"{"type":"state","channel":"log:a"}"#, 110),
        (r#"{"type":"cancel","channel":"log:a","stream":1}"#, 110),
        (r#"{"type":"history","channel":"log:a","epoch":"00000001"}"#, 111),
        (r#"{"type":"append","channel":"ai:a","stream":1,"data":"x"}"#, 112),
        (r#"{"type":"subscribe","channel":"a\nb"}"#, 103),
        (r#"{"type":"dance"}"#, 100),
        ("nonsense", 100),
    ];
    for (said, code) in cases {
        assert_heard(&node.ask(line, said), &[json!({"type": "error", "code": code})]);
    }
    assert_heard(
        &node.ask(line, r#"{"type":"publish","channel":"small:a","key":"k","data":1,"id":1}"#),
        &[json!({"offset": 1})],
    );
    let full = node.ask(line, r#"{"type":"publish","channel":"small:a","key":"l","data":1}"#);
    assert_heard(&full, &[json!({"code": 133, "name": "state_full"})]);
}

#[test]
fn users_may_more_than_anyone() {
    let mut node = Node::new();
    let line = node.open(0);
    node.ask(line, r#"{"type":"connect","token":"ann"}"#);
    let heard = node.ask(line, r#"{"type":"subscribe","channel":"secret:a"}"#);
    assert_heard(&heard, &[json!({"type": "subscribed", "options": ["history"]})]);
    let heard = node.ask(line, r#"{"type":"publish","channel":"staff:a","data":1,"id":7}"#);
    assert_heard(&heard, &[json!({"type": "published", "offset": 1})]);
}

#[test]
fn there_are_only_so_many_subscriptions_and_channels() {
    let mut node = Node::new();
    let line = node.connect();
    for channel in 0..5 {
        node.ask(line, &format!(r#"{{"type":"subscribe","channel":"log:{channel}"}}"#));
    }
    let heard = node.ask(line, r#"{"type":"subscribe","channel":"log:9"}"#);
    assert_heard(&heard, &[json!({"name": "too_many_subscriptions"})]);
    for channel in 5..40 {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"log:{channel}","data":1}}"#));
    }
    let heard = node.ask(line, r#"{"type":"publish","channel":"log:more","data":1}"#);
    assert_heard(&heard, &[json!({"name": "too_many_channels", "retry": true})]);
    let other = node.connect();
    let heard = node.ask(other, r#"{"type":"subscribe","channel":"log:more","id":1}"#);
    assert_heard(&heard, &[json!({"name": "too_many_channels", "id": 1})]);
    let heard = node.ask(other, r#"{"type":"unsubscribe","channel":"log:more","id":2}"#);
    assert_heard(&heard, &[json!({"name": "not_subscribed"})]);
}

#[test]
fn repetitions_echoes_and_ephemera() {
    let mut node = Node::new();
    let line = node.connect();
    node.ask(line, r#"{"type":"subscribe","channel":"log:a"}"#);
    let once = r#"{"type":"publish","channel":"log:a","data":1,"once":"k","echo":false,"id":1}"#;
    assert_heard(&node.ask(line, once), &[json!({"type": "published", "offset": 1, "repeated": null})]);
    assert_heard(&node.ask(line, once), &[json!({"type": "published", "offset": 1, "repeated": true})]);
    let heard = node.ask(line, r#"{"type":"publish","channel":"log:a","data":2,"ephemeral":true,"id":2}"#);
    assert!(heard.iter().any(|heard| heard["type"] == "published" && heard["offset"].is_null()));
    assert!(heard.iter().any(|heard| heard["type"] == "publication" && heard["offset"].is_null() && heard["data"] == 2));
    assert_eq!(heard.len(), 2);
}

#[test]
fn reading_the_past_and_the_keys() {
    let mut node = Node::new();
    let line = node.connect();
    for value in 1..=4 {
        node.ask(line, &format!(r#"{{"type":"publish","channel":"keys:a","key":"k{}","data":{value}}}"#, value % 3));
    }
    let heard = node.ask(line, r#"{"type":"history","channel":"keys:a","after":1,"limit":2,"id":1}"#);
    assert_heard(&heard, &[json!({"type": "history", "head": 4, "more": true})]);
    let offsets: Vec<_> =
        heard[0]["publications"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [2, 3]);
    let heard = node.ask(line, r#"{"type":"state","channel":"keys:a","limit":2}"#);
    assert_heard(&heard, &[json!({"type": "state", "head": 4, "more": true})]);
    let keys: Vec<_> = heard[0]["entries"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["k0", "k1"]);
    let heard = node.ask(line, r#"{"type":"state","channel":"keys:a","after":"k1"}"#);
    assert_heard(&heard, &[json!({"more": false})]);
}

#[test]
fn who_is_there() {
    let mut node = Node::new();
    let (one, two) = (node.connect(), node.connect());
    node.ask(one, r#"{"type":"subscribe","channel":"room:a","members":true}"#);
    let heard = node.ask(two, r#"{"type":"subscribe","channel":"room:a","members":true}"#);
    assert_eq!(heard[0]["members"].as_array().unwrap().len(), 2);
    assert_heard(&node.heard(one), &[json!({"type": "join", "channel": "room:a"})]);
    let heard = node.ask(one, r#"{"type":"presence","channel":"room:a","limit":1}"#);
    assert_heard(&heard, &[json!({"type": "presence", "sessions": 2, "users": 0, "more": true})]);
    node.ask(two, r#"{"type":"unsubscribe","channel":"room:a"}"#);
    assert_heard(&node.heard(one), &[json!({"type": "leave", "channel": "room:a"})]);
}

#[test]
fn a_stream_from_beginning_to_end() {
    let mut node = Node::new();
    let (producer, reader) = (node.connect(), node.connect());
    node.ask(reader, r#"{"type":"subscribe","channel":"ai:a"}"#);
    node.ask(producer, r#"{"type":"publish","channel":"ai:a","stream":true,"data":"to "}"#);
    node.ask(producer, r#"{"type":"append","channel":"ai:a","stream":1,"data":"be","at":3}"#);
    let heard = node.ask(reader, r#"{"type":"cancel","channel":"ai:a","stream":1,"id":1}"#);
    assert!(heard.iter().any(|heard| heard["type"] == "cancelled"));
    assert_heard(&node.heard(producer), &[json!({"type": "cancel", "channel": "ai:a", "stream": 1})]);
    let other = node.ask(reader, r#"{"type":"append","channel":"ai:a","stream":1,"data":"x"}"#);
    assert_heard(&other, &[json!({"code": 114, "name": "not_the_producer"})]);
    let heard = node.ask(producer, r#"{"type":"append","channel":"ai:a","stream":1,"at":9,"data":"x"}"#);
    assert_heard(&heard, &[json!({"code": 115, "name": "stream_gap"})]);
    let end = r#"{"type":"append","channel":"ai:a","stream":1,"end":"cancelled","reason":"asked","id":2}"#;
    assert_heard(&node.ask(producer, end), &[json!({"type": "appended", "length": 5, "cancel": null})]);
    let heard = node.ask(producer, r#"{"type":"append","channel":"ai:a","stream":1,"data":"x"}"#);
    assert_heard(&heard, &[json!({"code": 113, "name": "stream_ended"})]);
    let late = node.connect();
    let heard = node.ask(late, r#"{"type":"subscribe","channel":"ai:a","last":1}"#);
    assert_eq!(heard[1]["data"], "to be");
    assert_eq!(heard[1]["stream"], json!({"began": 1, "length": 5, "end": "cancelled", "reason": "asked"}));
}

#[test]
fn a_silent_producer_is_lost() {
    let mut node = Node::new();
    let line = node.connect();
    node.ask(line, r#"{"type":"subscribe","channel":"ai:a"}"#);
    node.ask(line, r#"{"type":"publish","channel":"ai:a","stream":true,"data":"to "}"#);
    node.pass(30_000);
    assert_heard(&node.heard(line), &[json!({"type": "append", "stream": 1, "offset": 2, "end": "lost"})]);
}

#[test]
fn whoever_never_makes_sense_is_closed() {
    let mut node = Node::new();
    let line = node.connect();
    for _ in 0..99 {
        node.ask(line, "nonsense");
    }
    assert!(node.ask(line, r#"{"type":"ping"}"#).iter().all(|heard| heard["type"] == "pong"), "one word that makes sense");
    for _ in 0..99 {
        assert_heard(&node.ask(line, "nonsense"), &[json!({"type": "error"})]);
    }
    assert_heard(&node.ask(line, "nonsense"), &[json!({"closed": 3502})]);
}

#[test]
fn the_server_ends_subscriptions_and_sessions() {
    let mut node = Node::new();
    let line = node.open(0);
    let session = node.ask(line, r#"{"type":"connect"}"#)[0]["session"].as_str().unwrap().to_owned();
    let other = node.connect();
    node.ask(other, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    node.heard(other);
    assert!(node.unsubscribe(&session, "room:a"));
    assert!(!node.unsubscribe(&session, "room:a"));
    assert_heard(&node.heard(line), &[json!({"type": "unsubscribed", "channel": "room:a", "code": 105, "id": null})]);
    assert_heard(&node.heard(other), &[json!({"type": "leave"})]);
    node.ask(line, r#"{"type":"subscribe","channel":"room:a"}"#);
    assert!(node.disconnect(0, &session));
    assert!(!node.disconnect(0, &session));
    assert_heard(&node.heard(other), &[json!({"type": "join"}), json!({"type": "leave"})]);
    assert!(node.heard(line).contains(&json!({"closed": 3501})));
}
