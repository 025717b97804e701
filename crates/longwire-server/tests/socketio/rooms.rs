//! Rooms: who is in them, and who gets what is emitted.

use serde_json::{Value, json};

use super::client::{Io, WAYS, Way};
use super::{obedient, serve_io};
use crate::support::{eventually, within_bound};

#[test]
fn who_is_in_a_room_gets_what_is_emitted_to_it() {
    for (shards, way, recovers) in [
        (1, Way::WebSocket, false),
        (3, Way::WebSocket, false),
        (3, Way::Polling, false),
        (1, Way::WebSocket, true),
        (3, Way::WebSocket, true),
    ] {
        let io = if recovers { obedient().recovery(std::time::Duration::from_secs(60)) } else { obedient() };
        let server = serve_io(shards, io);
        let mut clients: Vec<(Io, String)> = (0..6)
            .map(|_| {
                let (io, connected) = Io::connected(server.address, way);
                (io, connected.sid)
            })
            .collect();
        for (n, (client, _)) in clients.iter_mut().enumerate() {
            let rooms: &[&str] = [&["a"][..], &["b"], &["a", "b"], &["a", "b", "c"], &[], &["c"]][n];
            for room in rooms {
                assert_eq!(client.call(json!(["join", room])), json!([room]));
                // A second time is no other.
                client.call(json!(["join", room]));
            }
            eventually("it is in", || client.call(json!(["rooms"])) == json!([rooms]));
        }
        let ids: Vec<String> = clients.iter().map(|(_, id)| id.clone()).collect();
        let mut n = 0;
        let mut check = |clients: &mut Vec<(Io, String)>, from: usize, event: &str, to: Value, except: Value, who: &[usize]| {
            n += 1;
            clients[from].0.emit("/", json!([event, to, except, n]));
            for at in who {
                assert_eq!(clients[*at].0.event(), json!(["said", n]), "{event} {to} {except} to {at}");
            }
        };
        check(&mut clients, 0, "to", json!(["a"]), json!([]), &[2, 3]);
        check(&mut clients, 4, "to", json!(["a"]), json!([]), &[0, 2, 3]);
        // Those in several rooms get it once.
        check(&mut clients, 4, "to", json!(["a", "b", "c"]), json!([]), &[0, 1, 2, 3, 5]);
        check(&mut clients, 4, "to", json!(["a", "b"]), json!(["c"]), &[0, 1, 2]);
        check(&mut clients, 0, "to", json!([]), json!([]), &[1, 2, 3, 4, 5]);
        check(&mut clients, 0, "to", json!([]), json!(["b"]), &[4, 5]);
        check(&mut clients, 0, "to all", json!([]), json!([]), &[0, 1, 2, 3, 4, 5]);
        check(&mut clients, 3, "to all", json!(["a"]), json!(["b"]), &[0]);
        // One socket, by its id; and others with it, or without it.
        check(&mut clients, 0, "to", json!([ids[4]]), json!([]), &[4]);
        check(&mut clients, 4, "to all", json!([ids[4]]), json!([]), &[4]);
        check(&mut clients, 4, "to", json!([ids[4]]), json!([]), &[]);
        check(&mut clients, 0, "to", json!([ids[5], "b"]), json!([ids[3]]), &[1, 2, 5]);
        check(&mut clients, 0, "to", json!(["nobody"]), json!([]), &[]);
        // From outside.
        let (client, _) = &mut clients[3];
        client.call(json!(["leave", "a"]));
        client.call(json!(["leave", "never joined"]));
        eventually("it has left", || client.call(json!(["rooms"])) == json!([["b", "c"]]));
        check(&mut clients, 4, "to", json!(["a"]), json!([]), &[0, 2]);
        clients[3].0.call(json!(["join", "a"]));
        check(&mut clients, 4, "to", json!(["a"]), json!([]), &[0, 2, 3]);
        clients.iter_mut().for_each(|(client, _)| client.expect_quiet());
    }
}

#[test]
fn what_has_joined_is_joined_when_that_is_acknowledged() {
    for recovers in [false, true] {
        let io = if recovers { obedient().recovery(std::time::Duration::from_secs(60)) } else { obedient() };
        let server = serve_io(3, io);
        let (mut here, _) = Io::on_shard(server.address, Way::WebSocket, 0);
        let (mut there, _) = Io::on_shard(server.address, Way::WebSocket, 1);
        for n in 0..60 {
            let room = format!("room {n}");
            here.call(json!(["join", room]));
            there.call(json!(["to", [room], [], n]));
            assert_eq!(here.event(), json!(["said", n]), "recovers: {recovers}");
            here.call(json!(["leave", room]));
            there.call(json!(["to", [room], [], n]));
            here.expect_quiet();
        }
    }
}

#[test]
fn many_rooms_with_long_names_at_once() {
    let server = serve_io(3, obedient());
    let rooms: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "ä".repeat(90))).collect();
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    client.call(json!(["join", rooms[19]]));
    let (mut other, _) = Io::connected(server.address, Way::WebSocket);
    other.call(json!(["join", rooms[3]]));
    let (mut speaker, _) = Io::connected(server.address, Way::WebSocket);
    speaker.call(json!(["to", rooms, [], 1]));
    assert_eq!((client.event(), other.event()), (json!(["said", 1]), json!(["said", 1])));
    speaker.call(json!(["to", rooms, [rooms[3]], 2]));
    assert_eq!(client.event(), json!(["said", 2]));
    other.expect_quiet();
    assert_eq!(other.call(json!(["rooms"])), json!([[rooms[3]]]));
}

#[test]
fn the_application_emits_and_acts_from_anywhere() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::WebSocket), (3, Way::Polling)] {
        let io = obedient().namespace("/other", super::commands);
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        let mut clients: Vec<(Io, String)> = (0..6)
            .map(|_| {
                let (io, connected) = Io::connected(server.address, way);
                (io, connected.sid)
            })
            .collect();
        clients[0].0.connect("/other", &Value::Null);
        for (n, (client, _)) in clients.iter_mut().enumerate() {
            let room = ["even", "odd"][n % 2];
            client.call(json!(["join", room]));
            client.call(json!(["note", {"n": n}]));
        }
        let fetched = |which: longwire_server::socketio::Broadcast| {
            let mut all = within_bound(which.fetch_sockets()).expect("sockets");
            all.sort_by_key(|socket| socket.data::<Value>().expect("JSON").and_then(|data| data["n"].as_u64()));
            all
        };
        let all = fetched(everyone.clone());
        let ids: Vec<&String> = all.iter().map(|socket| &socket.id).collect();
        assert_eq!(ids, clients.iter().map(|(_, id)| id).collect::<Vec<_>>());
        assert!(all.iter().enumerate().all(|(n, socket)| socket.rooms == [["even", "odd"][n % 2]]), "{all:?}");
        let said = |socket: &longwire_server::socketio::RemoteSocket| {
            let auth = socket.auth::<std::collections::BTreeMap<String, Value>>().expect("an object");
            (auth.is_empty(), socket.handshake.uri().path().to_owned(), socket.handshake.headers().contains_key("host"))
        };
        assert!(all.iter().all(|socket| said(socket) == (true, super::client::PATH.to_owned(), true)));
        assert_eq!(fetched(everyone.clone().to("even").except(&clients[2].1)).len(), 2);
        assert_eq!(within_bound(everyone.clone().to("odd").sockets_join("more")).expect("joined"), 3);
        assert_eq!(within_bound(everyone.clone().to(&clients[0].1).sockets_join("more")).expect("joined"), 1);
        eventually("they have joined", || fetched(everyone.clone().to("more")).len() == 4);
        everyone.clone().to("more").emit("news", (1,));
        for n in [0, 1, 3, 5] {
            assert_eq!(clients[n].0.event(), json!(["news", 1]));
        }
        assert_eq!(within_bound(everyone.clone().sockets_leave("more")).expect("left"), 6);
        everyone.clone().to("more").emit("news", (2,));
        everyone.clone().to(&clients[4].1).emit("for you", ("alone", [1, 2]));
        assert_eq!(clients[4].0.event(), json!(["for you", "alone", [1, 2]]));
        everyone.emit("for all", ());
        for (client, _) in &mut clients {
            assert_eq!(client.event(), json!(["for all"]));
            client.expect_quiet();
        }
        // Put out, and closed.
        assert_eq!(within_bound(everyone.clone().to("odd").disconnect_sockets(false)).expect("put out"), 3);
        for n in [1, 3, 5] {
            assert_eq!(clients[n].0.next().expect("a packet").kind, super::client::DISCONNECT);
        }
        assert_eq!(within_bound(everyone.clone().except(&clients[0].1).disconnect_sockets(true)).expect("closed"), 2);
        for n in [2, 4] {
            clients[n].0.expect_end();
        }
        assert_eq!(fetched(everyone.clone()).len(), 1);
        clients[0].0.expect_quiet();
        clients[0].0.call_in("/other", json!(["sync"]));
    }
}

#[test]
fn who_is_not_there_any_more_is_in_no_room() {
    for way in WAYS {
        let io = obedient().engine(|engine| {
            engine.ping_interval = std::time::Duration::from_millis(80);
            engine.ping_timeout = std::time::Duration::from_millis(80);
        });
        let everyone = io.of("/");
        let server = serve_io(3, io);
        let clients: Vec<Io> = (0..6)
            .map(|n| {
                let (mut io, _) = Io::connected(server.address, way);
                io.call(json!(["join", format!("room {}", n % 2)]));
                io
            })
            .collect();
        drop(clients);
        server.expect_empty();
        let left = || within_bound(everyone.fetch_sockets()).expect("sockets").len();
        eventually("nobody is there", || left() == 0);
        let channels = || within_bound(async { server.node().channels().await }).expect("channels").channels;
        eventually("nobody is subscribed", || channels().iter().all(|channel| channel.subscribers == 0));
        eventually("no session is kept", || super::sessions(&server) == 0);
    }
}
