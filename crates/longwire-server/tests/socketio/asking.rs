//! Events that many are to acknowledge.

use std::collections::BTreeMap;
use std::time::Duration;

use longwire_server::socketio::{Ack, Broadcast, Socket, Value as Argument};
use serde_json::{Value, json};

use super::client::{Io, Way};
use super::{obedient, serve_io};
use crate::support::{eventually, within_bound};

const LONG: Duration = Duration::from_secs(60);

/// Asks, in the background: the answers by socket, and who has not answered.
fn ask(which: Broadcast, within: Duration) -> std::thread::JoinHandle<(BTreeMap<String, Value>, Vec<String>)> {
    std::thread::spawn(move || {
        let answers = within_bound(which.emit_with_ack("ask", ("what?",), within)).expect("it is emitted");
        let all = answers.answers.into_iter();
        (all.map(|(id, answer)| (id, serde_json::from_str(answer.json()).expect("JSON"))).collect(), answers.missing)
    })
}

/// The client must be asked, and answers.
#[track_caller]
fn answer(client: &mut Io, answer: &Value) {
    let packet = client.next_as_it_is().expect("a packet");
    assert_eq!(packet.data, json!(["ask", "what?"]), "there is no offset where an answer is wanted");
    let id = packet.id.expect("an answer is wanted");
    client.say(&format!("3{id}{answer}"));
}

#[test]
fn each_of_many_answers_an_event() {
    for (shards, way, recovers) in [(1, Way::WebSocket, false), (3, Way::Polling, false), (3, Way::WebSocket, true)] {
        let io = if recovers { obedient().recovery(LONG) } else { obedient() };
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        let mut clients: Vec<(Io, String)> = (0..5)
            .map(|_| {
                let (io, connected) = Io::connected(server.address, way);
                (io, connected.sid)
            })
            .collect();
        for (client, _) in &mut clients[..3] {
            client.call(json!(["join", "a"]));
        }
        eventually("they are in", || within_bound(everyone.clone().to("a").fetch_sockets()).expect("sockets").len() == 3);
        // All answer; the last one ends it.
        let asking = ask(everyone.clone().to("a"), LONG);
        for (n, (client, _)) in clients[..3].iter_mut().enumerate() {
            answer(client, &json!([n, "yes"]));
        }
        let all = (0..3).map(|n| (clients[n].1.clone(), json!([n, "yes"]))).collect();
        assert_eq!(asking.join().expect("answers"), (all, vec![]));
        // One goes instead, and one is not asked.
        let asking = ask(everyone.clone().to("a").except(&clients[1].1), LONG);
        answer(&mut clients[0].0, &json!([]));
        let (mut gone, gone_id) = clients.remove(2);
        assert!(gone.next().is_some());
        gone.say("1");
        assert_eq!(asking.join().expect("answers"), ([(clients[0].1.clone(), json!([]))].into(), vec![gone_id]));
        // One says nothing in time. What it says later is nobody's.
        let asking = ask(everyone.clone().to([clients[2].1.clone(), clients[3].1.clone()]), Duration::from_millis(300));
        answer(&mut clients[2].0, &json!([1]));
        let (answers, missing) = asking.join().expect("answers");
        assert!(answers.len() <= 1 && missing.contains(&clients[3].1), "{answers:?} {missing:?}");
        answer(&mut clients[3].0, &json!([1]));
        for (client, _) in &mut clients {
            client.expect_quiet();
        }
        // Nobody is there.
        assert_eq!(ask(everyone.clone().to("nobody"), LONG).join().expect("answers"), (BTreeMap::new(), vec![]));
    }
}

#[test]
fn what_a_handler_asks_of_many_is_heard_in_its_order() {
    for recovers in [false, true] {
        let io = obedient().namespace("/", |root| {
            root.on("join", |socket: Socket, (room,): (String,)| socket.join(&room)).on(
                "poll",
                async |socket: Socket, (): (), ack: Ack| {
                    socket.io().to("a").emit("before", ());
                    let asked = socket.io().to("a").emit_with_ack("ask", ("what?",), LONG).await;
                    let answers = asked.expect("answers").answers.len();
                    socket.io().to("a").emit("after", (answers,));
                    ack.send((Argument::Null,));
                },
            )
        });
        let server = serve_io(3, if recovers { io.recovery(LONG) } else { io });
        let mut client = Io::connected(server.address, Way::WebSocket).0;
        client.emit("/", json!(["join", "a"]));
        client.emit("/", json!(["poll"]));
        assert_eq!(client.event(), json!(["before"]));
        let asked = client.next_as_it_is().expect("a packet");
        assert_eq!(asked.data, json!(["ask", "what?"]));
        client.say(&format!("3{}[]", asked.id.expect("an answer is wanted")));
        assert_eq!(client.event(), json!(["after", 1]));
    }
}
