//! Events, their arguments, and what is acknowledged.

use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::socketio::{Ack, AckError, Arguments, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{ACK, EVENT, Io, WAYS, Way};
use super::{commands, serve_io};
use crate::support::next;

#[test]
fn handlers_take_what_they_say_and_nothing_else() {
    let io = SocketIo::new().namespace("/", |namespace| {
        commands(namespace)
            .on("add", |_: Socket, (a, b): (i64, i64), ack: Ack| ack.send((a + b,)))
            .on("later", async |_: Socket, (n,): (u64,), ack: Ack| {
                tokio::time::sleep(Duration::from_millis(n)).await;
                ack.send((n,));
            })
            .on("nothing", |_: Socket, (): (), ack: Ack| ack.send(()))
            .on("maybe", |_: Socket, (first, second): (String, Option<String>), ack: Ack| ack.send((first, second)))
            .on("struct", |_: Socket, (point,): (std::collections::BTreeMap<String, i32>,), ack: Ack| ack.send((point,)))
            .on("fail", |_: Socket, (): ()| Err::<(), _>("no tea"))
            .on("fail later", async |_: Socket, (): (), _: Ack| Err::<(), _>("no tea"))
            .on("answer, and fail", |_: Socket, (): (), ack: Ack| {
                ack.send(("answered",));
                Err::<(), _>("no tea")
            })
            .on("raw", |_: Socket, arguments: Arguments, ack: Ack| {
                let is_wanted = ack.is_wanted();
                ack.send((arguments.json(), is_wanted));
            })
    });
    for way in WAYS {
        let server = serve_io(2, io.clone());
        let (mut client, _) = Io::connected(server.address, way);
        assert_eq!(client.call(json!(["add", 1, 2])), json!([3]));
        assert_eq!(client.call(json!(["add", 1, 2, "more"])), json!([3]), "what is too much is passed over");
        assert_eq!(client.call(json!(["nothing"])), json!([]));
        assert_eq!(client.call(json!(["nothing", 1])), json!([]));
        assert_eq!(client.call(json!(["maybe", "a", null])), json!(["a", null]));
        assert_eq!(client.call(json!(["struct", {"x": 1}])), json!([{"x": 1}]));
        assert_eq!(client.call(json!(["raw", 1])), json!(["[\"raw\",1]", true]));
        // What is something else is not handled: whoever waits is told, and the connection stays.
        for wrong in [json!(["add", "1", 2]), json!(["add", 1]), json!(["add"]), json!(["struct", [1]])] {
            let told = client.call(wrong.clone());
            assert_eq!(told[0]["error"]["code"], "bad_arguments", "{wrong} {told}");
            assert!(told[0]["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{told}");
            client.emit("/", wrong);
        }
        client.emit_for_ack("/", json!(["unknown", 1]));
        let failed = json!([{"error": {"code": "failed", "message": "no tea"}}]);
        assert_eq!(client.call(json!(["fail"])), failed);
        assert_eq!(client.call(json!(["fail later"])), failed);
        assert_eq!(client.call(json!(["answer, and fail"])), json!(["answered"]));
        client.emit("/", json!(["add", 1, 2]));
        client.expect_quiet();
        // Those that take their time do not hold up others.
        let slow = client.emit_for_ack("/", json!(["later", 100]));
        let fast = client.emit_for_ack("/", json!(["later", 1]));
        assert_eq!(client.next().expect("an ack").id, Some(fast));
        assert_eq!(client.next().expect("an ack").id, Some(slow));
        // An ack that nobody waits for is no harm.
        client.say("399[1]");
        client.expect_quiet();
    }
}

#[test]
fn the_server_asks_too() {
    for (way, recovers) in [(Way::WebSocket, false), (Way::Polling, false), (Way::WebSocket, true)] {
        let (told, answers) = channel::<Result<Value, AckError>>();
        let io = SocketIo::new().namespace("/", move |namespace| {
            commands(namespace).on("ask me", move |socket: Socket, (within,): (u64,)| {
                let told = told.clone();
                async move {
                    let answer = socket.emit_with_ack("question", (within,), Duration::from_millis(within)).await;
                    let read = |answer: Arguments| answer.read::<Vec<Value>>().map(Value::from).expect("JSON");
                    told.send(answer.map(read)).expect("told");
                }
            })
        });
        let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
        let server = serve_io(2, io);
        let (mut client, _) = Io::connected(server.address, way);
        let ask = |client: &mut Io, within: u64| {
            client.emit("/", json!(["ask me", within]));
            let packet = client.next_as_it_is().expect("a question");
            assert_eq!(
                (packet.kind, &packet.data),
                (EVENT, &json!(["question", within])),
                "an event with an ack has no offset"
            );
            packet.id.expect("an id")
        };
        let (first, second) = (ask(&mut client, 9000), ask(&mut client, 9001));
        assert_ne!(first, second);
        client.say(&format!("3{second}[\"two\",{{\"a\":1}}]"));
        assert_eq!(next(&answers), Ok(json!(["two", {"a": 1}])));
        client.say(&format!("3{first}[]"));
        assert_eq!(next(&answers), Ok(json!([])));
        // Not twice.
        client.say(&format!("3{first}[1]"));
        client.expect_quiet();
        let late = ask(&mut client, 20);
        assert_eq!(next(&answers), Err(AckError::TimedOut));
        client.say(&format!("3{late}[1]"));
        client.expect_quiet();
        // Who goes answers no more.
        ask(&mut client, 9000);
        client.say("1");
        assert_eq!(next(&answers), Err(AckError::Disconnected));
        client.connect("/", &Value::Null);
        ask(&mut client, 9000);
        if way == Way::WebSocket {
            client.cut();
            assert_eq!(next(&answers), Err(AckError::Disconnected));
        }
        assert!(answers.try_recv().is_err());
    }
}

#[test]
fn acks_with_arguments_of_all_kinds() {
    let io = SocketIo::new().namespace("/", |namespace| {
        namespace.on("echo", |_: Socket, arguments: Vec<Value>, ack: Ack| ack.send(eight(arguments))).on(
            "bytes",
            |_: Socket, (n,): (usize,), ack: Ack| {
                let mut arguments = Arguments::new();
                arguments.push(&n).expect("JSON");
                (0..n).for_each(|at| arguments.push_binary(vec![at as u8; at].into()));
                ack.send(arguments);
            },
        )
    });
    for way in WAYS {
        let server = serve_io(1, io.clone());
        let (mut client, _) = Io::connected(server.address, way);
        let all = json!(["echo", null, true, -1.5, "ä\u{1f600}\"\\\u{1e}", [], {}, {"a": [1]}, "2[]"]);
        assert_eq!(client.call(all.clone()).as_array().unwrap()[..], all.as_array().unwrap()[1..]);
        for n in [0, 1, 3] {
            let id = client.emit_for_ack("/", json!(["bytes", n]));
            let packet = client.next().expect("an ack");
            assert_eq!((packet.kind, packet.id, packet.parts.len()), (ACK, Some(id), n));
            assert!(packet.parts.iter().enumerate().all(|(at, part)| *part == vec![at as u8; at]));
        }
    }
}

type Eight = (Value, Value, Value, Value, Value, Value, Value, Value);

fn eight(values: Vec<Value>) -> Eight {
    let mut values = values.into_iter();
    let mut next = || values.next().unwrap_or_default();
    (next(), next(), next(), next(), next(), next(), next(), next())
}
