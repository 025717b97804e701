//! Replies come in the order of their commands, pushes in the order of their channel, and nothing after its end.

use std::sync::atomic::{AtomicBool, Ordering};

use longwire_core::Random;
use longwire_protocol::Form;
use serde_json::{Value, json};

use super::{Native, serve_native};

#[test]
fn replies_come_in_the_order_of_commands_whatever_the_homes_of_their_channels() {
    for shards in [1, 2, 5] {
        let server = serve_native(shards, |config| config.sessions.subscriptions = 100);
        for form in Form::ALL {
            let mut random = Random::seeded(u64::from(form == Form::Json) + 2);
            let mut below = move |most: u64| random.number() % most;
            let mut native = Native::connected(server.address, form);
            let mut expected = Vec::new();
            for burst in 0..30u32 {
                let mut commands = Vec::new();
                for n in 0..100u32 {
                    let id = 1_000_000 + burst * 100 + n;
                    let channel = format!("{}:{}", ["chat", "ai", "live", "state"][below(4) as usize], below(10));
                    let (name, replies) = match below(8) {
                        0..=2 => ("publish", "published"),
                        3 => ("subscribe", "subscribed"),
                        4 => ("unsubscribe", "unsubscribed"),
                        5 => ("history", "history"),
                        6 => ("presence", "presence"),
                        _ => ("ping", "pong"),
                    };
                    commands.push(json!({"type": name, "id": id, "channel": channel, "data": id}));
                    expected.push((id, replies));
                }
                native.say_all(&commands);
            }
            for (id, name) in expected {
                let reply = loop {
                    let message = native.next();
                    if !message["id"].is_null() {
                        break message;
                    }
                };
                assert_eq!(reply["id"], id, "{name} {reply}");
                assert!(reply["type"] == name || reply["type"] == "error", "{name} {reply}");
            }
        }
    }
}

#[test]
fn replies_that_are_ready_together_come_together() {
    let server = serve_native(2, |_| ());
    for form in Form::ALL {
        let mut native = Native::connected(server.address, form);
        let before = native.messages;
        native.say_all(&(1..=1000).map(|id| json!({"type": "ping", "id": id})).collect::<Vec<_>>());
        (1..=1000).for_each(|id| assert_eq!(native.next()["id"], id));
        let messages = native.messages - before;
        assert!(messages < 200, "{messages} messages for 1000 replies");
    }
}

#[test]
fn what_a_session_does_not_want_back_comes_to_all_others() {
    for shards in [1, 2] {
        let server = serve_native(shards, |_| ());
        for channel in ["ai:echo", "ai:echo-2", "live:echo", "live:echo-2"] {
            let mut others: Vec<Native> = (0..6).map(|n| Native::connected(server.address, Form::ALL[n % 2])).collect();
            others.iter_mut().for_each(|other| drop(other.subscribe(channel, json!({}))));
            let mut publisher = Native::connected(server.address, Form::Json);
            publisher.subscribe(channel, json!({}));
            let publish = |n: usize| json!({"type": "publish", "channel": channel, "data": n, "echo": n.is_multiple_of(3)});
            publisher.say_all(&(0..300).map(publish).collect::<Vec<_>>());
            for other in &mut others {
                (0..300).for_each(|n| assert_eq!(other.next_of("publication")["data"], n));
                other.expect_quiet();
            }
            (0..300).step_by(3).for_each(|n| assert_eq!(publisher.next_of("publication")["data"], n));
            publisher.expect_quiet();
        }
    }
}

#[test]
fn after_unsubscribed_nothing_of_the_channel_comes() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.sessions.subscriptions = 100);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for shard in 0..shards as u16 {
                let mut publisher = Native::on_shard(server.address, Form::Binary, shard);
                let stop = &stop;
                scope.spawn(move || {
                    let some: Vec<Value> = ["ai:a", "live:a", "ai:b", "live:b"]
                        .iter()
                        .map(|channel| json!({"type": "publish", "channel": channel, "data": 1}))
                        .collect();
                    while !stop.load(Ordering::Relaxed) {
                        publisher.say_all(&some);
                        publisher.expect_quiet();
                    }
                });
            }
            let mut native = Native::connected(server.address, Form::Json);
            for round in 0..150 {
                let channel = ["ai:a", "live:a", "ai:b", "live:b"][round % 4];
                let last = if round % 3 == 0 { json!({"last": 50}) } else { json!({}) };
                native.subscribe(channel, last);
                // Live, catching up, or not even begun.
                (0..round % 7).for_each(|_| drop(native.next_of("publication")));
                let ended = native.ask_amid(json!({"type": "unsubscribe", "channel": channel}));
                assert_eq!(ended["type"], "unsubscribed");
                (0..3).for_each(|_| native.expect_quiet());
            }
            // Both in one message: the subscription has hardly begun.
            for round in 0..100u32 {
                let (subscribe, unsubscribe) = (2_000_000 + round * 3, 2_000_001 + round * 3);
                native.say_all(&[
                    json!({"type": "subscribe", "channel": "ai:a", "last": 5, "id": subscribe}),
                    json!({"type": "unsubscribe", "channel": "ai:a", "id": unsubscribe}),
                    json!({"type": "ping", "id": unsubscribe + 1}),
                ]);
                let subscribed = native.next();
                let is_answer = subscribed["type"] == "subscribed" || subscribed["name"] == "not_subscribed";
                assert!(subscribed["id"] == subscribe && is_answer, "{subscribed}");
                while native.next()["id"] != unsubscribe {}
                assert_eq!(native.next()["id"], unsubscribe + 1);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
