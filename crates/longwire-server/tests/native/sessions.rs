//! Sessions that change their lines, and the shards under them.

use longwire_protocol::{Form, SessionId};
use serde_json::{Value, json};

use super::{Native, connect, serve_native, session_id};
use crate::support::eventually;

/// What takes a session up again.
fn claim(connected: &Value) -> Value {
    json!({"session": connected["session"], "key": connected["key"]})
}

/// A new session whose id says that it was born on this shard.
fn born_on(address: std::net::SocketAddr, shard: u16, info: &Value) -> (Native, Value) {
    for _ in 0..64 {
        let (native, connected) = connect(address, Form::Json, json!({"info": info}));
        if session_id(&connected).shard() == shard {
            return (native, connected);
        }
    }
    panic!("no line came to shard {shard}");
}

/// A line on this shard, that has no session yet. Connections are dealt out in turn.
fn line_on(address: std::net::SocketAddr, shard: u16) -> Native {
    let (_probe, connected) = connect(address, Form::Json, json!({}));
    if session_id(&connected).shard() == shard {
        Native::open(address, Form::Json);
    }
    Native::open(address, Form::Json)
}

#[test]
fn a_session_moves_from_shard_to_shard_and_nobody_sees_it_leave() {
    let server = serve_native(2, |_| ());
    // Channels whose homes are here and there.
    let channels = ["chat:a", "chat:b", "chat:c", "chat:d"];
    let mut watchers: Vec<Native> = (0..2)
        .map(|shard| {
            let mut watcher = Native::on_shard(server.address, Form::Json, shard);
            channels.iter().for_each(|channel| drop(watcher.subscribe(channel, json!({}))));
            watcher
        })
        .collect();
    // They have seen each other come.
    while let Some(join) = watchers[0].next_within(std::time::Duration::from_millis(50)) {
        assert_eq!(join["type"], "join");
    }
    for born in [0, 1] {
        let (mut line, connected) = born_on(server.address, born, &json!("mover"));
        channels.iter().for_each(|channel| drop(line.subscribe(channel, json!({}))));
        let mut joined = Vec::new();
        for watcher in &mut watchers {
            for _ in channels {
                let join = watcher.next_of("join");
                assert_eq!(join["member"], json!({"session": connected["session"], "info": "mover"}));
                joined.push(join["channel"].clone());
            }
        }
        for (hop, to) in [1 - born, born, born, 1 - born, 1 - born, born].into_iter().enumerate() {
            // While the old line stands, after it was cut, and while it is being closed.
            let mut old = Some(line);
            match hop % 3 {
                0 => {}
                1 => old.take().unwrap().client.reset(),
                _ => old.as_mut().unwrap().client.send_close(1000, ""),
            }
            line = line_on(server.address, to);
            let again = line.ask(json!({"type": "connect", "session": connected["session"], "key": connected["key"]}));
            assert_eq!(
                (&again["session"], &again["resumed"], &again["key"]),
                (&connected["session"], &json!(true), &connected["key"])
            );
            if let Some(mut old) = old {
                let code = old.client.recv().expect("a close frame").payload;
                let is_right = [3500u16, 1000].map(|code| code.to_be_bytes().to_vec()).contains(&code[..2].to_vec());
                assert!(is_right, "{code:?}");
            }
            for (n, channel) in channels.iter().enumerate() {
                let subscribed = line.subscribe(channel, json!({"members": true}));
                let members = subscribed["members"].as_array().unwrap();
                assert_eq!(members.len(), 3, "hop {hop}: {subscribed}");
                // What it publishes comes from the same session, on both shards.
                line.ask_amid(json!({"type": "publish", "channel": channel, "data": hop * 10 + n, "echo": false}));
            }
        }
        for watcher in &mut watchers {
            for hop in 0..6 {
                for n in 0..channels.len() {
                    let publication = watcher.next_of("publication");
                    assert_eq!(publication["data"], hop * 10 + n);
                    assert_eq!(publication["from"], json!({"session": connected["session"], "info": "mover"}));
                }
            }
        }
        // Now it leaves, and is seen to.
        for channel in channels {
            line.ask(json!({"type": "unsubscribe", "channel": channel}));
            for watcher in &mut watchers {
                assert_eq!(watcher.next_of("leave")["channel"], channel);
            }
        }
    }
}

#[test]
fn a_session_that_is_claimed_by_many_at_once_is_one_line_s_in_the_end() {
    for shards in [1, 2] {
        let server = serve_native(shards, |_| ());
        let (first, connected) = connect(server.address, Form::Json, json!({}));
        let mut lines = vec![first];
        for _ in 0..5 {
            let mut claimants: Vec<Native> = (0..8).map(|_| Native::open(server.address, Form::Json)).collect();
            for claimant in &mut claimants {
                let mut command = claim(&connected);
                (command["type"], command["id"]) = ("connect".into(), 1.into());
                claimant.say(command);
            }
            for claimant in &mut claimants {
                let reply = claimant.next_of("connected");
                assert!(reply["resumed"] == true && reply["session"] == connected["session"] || shards == 2, "{reply}");
            }
            lines.extend(claimants);
        }
        // All but one of those who speak for it are told that they no longer do.
        let mut standing = Vec::new();
        for (n, line) in lines.iter_mut().enumerate() {
            line.say(json!({"type": "ping", "id": 99}));
            match line.next_or_close() {
                Ok(pong) => standing.push((n, pong)),
                Err(code) => assert_eq!(code, 3500),
            }
        }
        let mut last = Native::open(server.address, Form::Json);
        let mut command = claim(&connected);
        command["type"] = "connect".into();
        assert_eq!(last.ask(command)["resumed"], true);
        let replaced = standing.iter().filter(|(n, _)| lines[*n].next_or_close() == Err(3500));
        if shards == 1 {
            assert_eq!((standing.len(), replaced.count()), (1, 1));
        }
    }
}

#[test]
fn as_many_sessions_as_configured_are_kept_without_a_line() {
    let server = serve_native(1, |config| config.sessions.parked = 3);
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let (native, connected) = connect(server.address, Form::Json, json!({}));
        native.client.close();
        sessions.push(connected);
    }
    eventually("all are gone", || server.node().connections() == 0);
    let resumed: Vec<Value> =
        sessions.iter().map(|connected| connect(server.address, Form::Json, claim(connected)).1["resumed"].clone()).collect();
    assert_eq!(resumed, [true, true, true, false, false].map(Value::from));
}

#[test]
fn a_stream_s_producer_is_asked_to_stop_wherever_it_has_moved() {
    let server = serve_native(2, |_| ());
    for (born, from) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let channel = format!("ai:moved-{born}-{from}");
        let (mut producer, connected) = born_on(server.address, born, &json!(null));
        let began = producer.ask(json!({"type": "publish", "channel": channel, "data": "a", "stream": true}))["offset"].clone();
        producer.client.reset();
        let mut producer = line_on(server.address, 1 - born);
        let mut command = claim(&connected);
        command["type"] = "connect".into();
        assert_eq!(producer.ask(command)["resumed"], true);
        let mut other = Native::on_shard(server.address, Form::Json, from);
        other.ask(json!({"type": "cancel", "channel": channel, "stream": began}));
        assert_eq!(producer.next_of("cancel"), json!({"type": "cancel", "channel": channel, "stream": began}));
        let appended = producer.ask(json!({"type": "append", "channel": channel, "stream": began, "data": "b"}));
        assert_eq!((&appended["length"], &appended["cancel"]), (&json!(2), &json!(true)));
    }
}

#[test]
fn a_session_of_a_shard_that_is_not_there_any_more_is_not_resumed() {
    let server = serve_native(2, |_| ());
    let session = SessionId::new(6, [7; 10]).to_string();
    for form in Form::ALL {
        let (_, connected) = connect(server.address, form, json!({"session": session, "key": "once"}));
        assert_eq!(connected["resumed"], false);
    }
}
