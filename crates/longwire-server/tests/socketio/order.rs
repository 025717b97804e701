//! What comes before what, for one socket and its connection.

use std::time::Duration;

use longwire_server::socketio::{Ack, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{ACK, EVENT, Io, WAYS, Way};
use super::{commands, serve_io};
use crate::support::Hold;

const ROOMS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn servers() -> impl Iterator<Item = (usize, Way, bool)> {
    [
        (1, Way::WebSocket, false),
        (3, Way::WebSocket, false),
        (3, Way::WebSocket, true),
        (1, Way::WebSocket, true),
        (3, Way::Polling, true),
    ]
    .into_iter()
}

fn io(recovers: bool) -> SocketIo {
    let io = SocketIo::new().namespace("/", |namespace| {
        commands(namespace)
            .on("burst", |socket: Socket, (n,): (usize,), ack: Ack| {
                // To itself, by its id, to all, and to rooms whose channels have other homes.
                socket.emit("burst", (n, 0));
                socket.io().to(socket.id()).emit("burst", (n, 1));
                socket.io().emit("burst", (n, 2));
                for (at, room) in ROOMS.iter().enumerate() {
                    socket.io().to(room).emit("burst", (n, 3 + at));
                }
                socket.emit("burst", (n, 8));
                ack.send((n,));
                socket.emit("after", (n,));
            })
            .on("late burst", async |socket: Socket, (n,): (usize,), ack: Ack| {
                for (at, room) in ROOMS.iter().enumerate() {
                    tokio::task::yield_now().await;
                    socket.to(room).emit("late", (n, at));
                }
                ack.send((n,));
            })
    });
    if recovers { io.recovery(Duration::from_secs(60)) } else { io }
}

#[test]
fn an_ack_comes_between_what_its_handler_emits_before_and_behind_it() {
    for (shards, way, recovers) in servers() {
        let server = serve_io(shards, io(recovers));
        let (mut client, _) = Io::connected(server.address, way);
        ROOMS.iter().for_each(|room| drop(client.call(json!(["join", room]))));
        for n in 0..40 {
            let id = client.emit_for_ack("/", json!(["burst", n]));
            for at in 0..9 {
                let packet = client.next().expect("an event");
                assert_eq!((packet.kind, &packet.data), (EVENT, &json!(["burst", n, at])), "{shards} {way:?} {recovers}");
            }
            let packet = client.next().expect("an ack");
            assert_eq!((packet.kind, packet.id), (ACK, Some(id)), "{shards} {way:?} {recovers}");
            assert_eq!(client.event(), json!(["after", n]));
        }
    }
}

#[test]
fn what_one_socket_emits_to_several_rooms_arrives_in_its_order() {
    for (shards, way, recovers) in servers() {
        let server = serve_io(shards, io(recovers));
        let mut listeners: Vec<Io> = (0..3).map(|_| Io::connected(server.address, way).0).collect();
        for listener in &mut listeners {
            ROOMS.iter().for_each(|room| drop(listener.call(json!(["join", room]))));
        }
        let (mut speaker, _) = Io::connected(server.address, way);
        for n in 0..40 {
            assert_eq!(speaker.call(json!(["late burst", n])), json!([n]));
        }
        for listener in &mut listeners {
            for n in 0..40 {
                for at in 0..5 {
                    assert_eq!(listener.event(), json!(["late", n, at]), "{shards} {way:?} {recovers}");
                }
            }
        }
    }
}

#[test]
fn events_are_handled_in_their_order() {
    for way in WAYS {
        let io = SocketIo::new()
            .namespace("/", |namespace| namespace.on("n", |socket: Socket, (n,): (u32,)| socket.emit("n", (n,))));
        let server = serve_io(2, io);
        let (mut client, _) = Io::connected(server.address, way);
        client.say_many((0..3000).map(|n| format!("2[\"n\",{n}]")));
        for n in 0..3000 {
            assert_eq!(client.event(), json!(["n", n]));
        }
    }
}

#[test]
fn handlers_that_take_their_time_are_bounded() {
    let hold = Hold::new();
    let held = hold.clone();
    let began = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = began.clone();
    let io = SocketIo::new().namespace("/", move |namespace| {
        commands(namespace).on("wait", move |_: Socket, (n,): (u32,), ack: Ack| {
            let (held, counted) = (held.clone(), counted.clone());
            async move {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                held.wait().await;
                ack.send((n,));
            }
        })
    });
    let server = serve_io(1, io);
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    let (mut other, _) = Io::connected(server.address, Way::WebSocket);
    client.say_many((0..60_000).map(|n| format!("2{n}[\"wait\",{n}]")));
    // The others are served; by then this one was read as far as it is.
    for _ in 0..20 {
        other.expect_quiet();
        std::thread::sleep(Duration::from_millis(5));
    }
    let at_work = began.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(at_work, 64);
    hold.release();
    let mut acked = vec![false; 60_000];
    for _ in 0..60_000 {
        let packet = client.next().expect("an ack");
        let id = packet.id.expect("an id") as usize;
        assert!(packet.kind == ACK && !acked[id] && packet.data == json!([id]));
        acked[id] = true;
    }
}

#[test]
fn a_flood_of_events_that_are_passed_on_and_acknowledged_is_no_reason_to_close() {
    for (shards, way, recovers) in servers() {
        let server = serve_io(shards, io(recovers));
        let (mut client, _) = Io::connected(server.address, way);
        let (mut other, _) = Io::connected(server.address, Way::WebSocket);
        other.call(json!(["join", "a"]));
        client.say_many((0..8000).map(|n| format!("2{n}[\"to\",[\"a\"],[],{n}]")));
        let reader = std::thread::spawn(move || {
            for n in 0..8000 {
                assert_eq!(other.event(), json!(["said", n]));
            }
        });
        for n in 0..8000 {
            assert_eq!(client.next().expect("an ack").id, Some(n), "{shards} {way:?} {recovers}");
        }
        reader.join().expect("all of them");
    }
}

/// A handler on one socket of a connection, and another socket of it.
#[test]
fn the_namespaces_of_a_connection_do_not_wait_for_each_other() {
    let hold = Hold::new();
    let held = hold.clone();
    let io = SocketIo::new().namespace("/", commands).namespace("/slow", move |namespace| {
        let held = held.clone();
        namespace.on("wait", move |_: Socket, _: (), ack: Ack| {
            let held = held.clone();
            async move {
                held.wait().await;
                ack.send(());
            }
        })
    });
    let server = serve_io(1, io);
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    client.connect("/slow", &Value::Null);
    let id = client.emit_for_ack("/slow", json!(["wait"]));
    client.expect_quiet();
    hold.release();
    let packet = client.next().expect("an ack");
    assert_eq!((packet.kind, &*packet.namespace, packet.id), (ACK, "/slow", Some(id)));
}
