//! Bytes, both ways.

use longwire_server::socketio::{Ack, Arguments, Socket, SocketIo};
use serde_json::json;

use super::client::{EVENT, Io, Way};
use super::{commands, serve_io};

#[test]
fn bytes_go_both_ways_in_one_part_and_in_many() {
    for (shards, way, recovers) in
        [(1, Way::WebSocket, false), (3, Way::Polling, false), (3, Way::WebSocket, true), (1, Way::Polling, true)]
    {
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace).on("pass on", |socket: Socket, arguments: Arguments, ack: Ack| {
                let mut values = arguments.values().expect("values");
                values.remove(0);
                // To itself, to others, and as an answer.
                socket.emit("own", values.clone());
                socket.to("room").emit("others", values.clone());
                ack.send(values);
            })
        });
        let io = if recovers { io.recovery(std::time::Duration::from_secs(60)) } else { io };
        let server = serve_io(shards, io);
        let (mut client, _) = Io::connected(server.address, way);
        let (mut other, _) = Io::connected(server.address, way);
        other.call(json!(["join", "room"]));
        let big = vec![7; 70_000];
        let place = |n: usize| json!({"_placeholder": true, "num": n});
        for (arguments, parts) in [
            (json!([place(0)]), vec![&b"\x01\x02"[..]]),
            (json!([place(0)]), vec![&b""[..]]),
            (json!(["text", place(0), {"deep": [place(1), 1]}]), vec![&b"a\x00"[..], &big]),
            (json!([place(0), place(0)]), vec![&b"twice"[..]]),
            (json!([place(1), place(0)]), vec![&b"one"[..], b"two"]),
        ] {
            let mut event = json!(["pass on"]);
            event.as_array_mut().unwrap().extend(arguments.as_array().unwrap().iter().cloned());
            client.say_with_parts(&format!("5{}-77{event}", parts.len()), &parts);
            // Numbered anew: what is meant is what counts.
            let flat = |packet: &super::client::Packet| {
                fn fill(value: &mut serde_json::Value, parts: &[Vec<u8>]) {
                    if let Some(n) = value.get("num").and_then(serde_json::Value::as_u64) {
                        *value = json!(parts[n as usize]);
                    } else if let Some(list) = value.as_array_mut() {
                        list.iter_mut().for_each(|value| fill(value, parts));
                    } else if let Some(object) = value.as_object_mut() {
                        object.values_mut().for_each(|value| fill(value, parts));
                    }
                }
                let mut data = packet.data.clone();
                fill(&mut data, &packet.parts);
                data.as_array().unwrap().clone()
            };
            let sent = super::client::Packet {
                kind: EVENT,
                namespace: "/".into(),
                id: None,
                data: arguments,
                parts: parts.iter().map(|part| part.to_vec()).collect(),
            };
            let own = client.next().expect("an event");
            assert_eq!((flat(&own)[0].clone(), &flat(&own)[1..]), (json!("own"), &flat(&sent)[..]));
            let ack = client.next().expect("an ack");
            assert_eq!((ack.id, flat(&ack)), (Some(77), flat(&sent)));
            let others = other.next().expect("an event");
            assert_eq!((flat(&others)[0].clone(), &flat(&others)[1..]), (json!("others"), &flat(&sent)[..]));
        }
    }
}

#[test]
fn parts_that_do_not_come_or_were_not_announced_end_the_connection() {
    let server = serve_io(1, super::obedient());
    for wrong in ["51-[\"sync\",{\"_placeholder\":true,\"num\":1}]", "51-[\"sync\"", "5-[\"sync\"]"] {
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        client.say_with_parts(wrong, &[b"x"]);
        client.expect_end();
    }
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    client.websocket().send(longwire_ws::Opcode::Binary, b"out of the blue");
    client.expect_end();
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    client.say("51-[\"sync\",{\"_placeholder\":true,\"num\":0}]");
    client.say("2[\"sync\"]");
    client.expect_end();
    server.expect_empty();
}
