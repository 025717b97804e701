//! No name that users choose means anything but itself.

use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::Form;
use longwire_server::socketio::SocketIo;
use longwire_server::{ChannelOptions, Error, Namespaces, Server};
use serde_json::{Value, json};

use super::client::{Io, PATH, Way};
use super::{commands, obedient, serve_also, serve_io};
use crate::native::client::Native;
use crate::support::{eventually, within_bound};

/// What might be taken for something else: all sockets, an id, an escape, the end of a name, another protocol's end.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> =
        ["", "#", "%", "%23", "a#b", "\0", "a\nb", "\u{1e}", "/", "io:/#", "socketio.to", "[\"a\"]", "AAAAAAAAAAAAAAAA"]
            .map(str::to_owned)
            .into();
    names.push("ä\u{1f600}".repeat(170));
    names
}

#[test]
fn any_text_is_a_room_and_nothing_else() {
    for (shards, recovers) in [(1, false), (3, false), (3, true)] {
        let io = if recovers { obedient().recovery(Duration::from_secs(60)) } else { obedient() };
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        let (mut inside, _) = Io::connected(server.address, Way::WebSocket);
        let (mut outside, _) = Io::connected(server.address, Way::WebSocket);
        let (mut speaker, _) = Io::connected(server.address, Way::WebSocket);
        for name in odd_names() {
            assert_eq!(inside.call(json!(["join", name])), json!([name]));
            eventually("it is in", || inside.call(json!(["rooms"])) == json!([[name]]));
            for (event, to, except) in [
                ("to", json!([name]), json!([])),
                ("to", json!([name, "nobody"]), json!([])),
                ("to", json!([]), json!(["nobody"])),
                ("to", json!([name]), json!(["nobody"])),
            ] {
                speaker.call(json!([event, to, except, name]));
                assert_eq!(inside.event(), json!(["said", name]), "{name:?} to {to}");
                if to == json!([]) {
                    assert_eq!(outside.event(), json!(["said", name]));
                }
            }
            speaker.call(json!(["to", [], [name], 1]));
            assert_eq!(outside.event(), json!(["said", 1]), "without those in {name:?}");
            let found = within_bound(everyone.clone().to(&name).fetch_sockets()).expect("sockets");
            assert_eq!((found.len(), &found[0].rooms), (1, &vec![name.clone()]));
            everyone.clone().to(&name).emit("from outside", ());
            assert_eq!(inside.event(), json!(["from outside"]));
            assert_eq!(within_bound(everyone.clone().to(&name).sockets_leave(&name)).expect("left"), 1);
            eventually("it has left", || inside.call(json!(["rooms"])) == json!([[]]));
            speaker.call(json!(["to", [name], [], 2]));
            inside.expect_quiet();
            outside.expect_quiet();
        }
        let too_long = "x".repeat(1025);
        assert!(inside.call(json!(["join", too_long]))[0].as_str().is_some_and(|error| error.starts_with("no room")));
        assert!(within_bound(everyone.clone().sockets_join(&too_long)).is_err());
        speaker.call(json!(["to", [too_long], [], 3]));
        inside.expect_quiet();
    }
}

#[test]
fn an_id_reaches_its_socket_and_whoever_has_joined_a_room_of_that_name() {
    for (shards, recovers) in [(1, false), (3, false), (3, true)] {
        let io = if recovers { obedient().recovery(Duration::from_secs(60)) } else { obedient() };
        let server = serve_io(shards, io);
        let (mut one, connected) = Io::connected(server.address, Way::WebSocket);
        let (mut other, _) = Io::connected(server.address, Way::WebSocket);
        let (mut speaker, _) = Io::connected(server.address, Way::WebSocket);
        let id = connected.sid;
        speaker.call(json!(["to", [id], [], 1]));
        assert_eq!(one.event(), json!(["said", 1]));
        other.call(json!(["join", id]));
        one.call(json!(["join", id]));
        for to in [json!([id]), json!([id, "x"])] {
            speaker.call(json!(["to", to, [], 2]));
            assert_eq!((one.event(), other.event()), (json!(["said", 2]), json!(["said", 2])), "recovers: {recovers}");
        }
        other.call(json!(["to all", [], [id], 3]));
        assert_eq!(speaker.event(), json!(["said", 3]));
        other.call(json!(["leave", id]));
        // Its own it cannot leave.
        one.call(json!(["leave", id]));
        speaker.call(json!(["to", [id], [], 4]));
        assert_eq!(one.event(), json!(["said", 4]));
        one.emit("/", json!(["to all", [id], [], 5]));
        assert_eq!(one.event(), json!(["said", 5]));
        one.expect_quiet();
        other.expect_quiet();
    }
}

#[test]
fn namespaces_whose_names_have_a_hash_share_no_room() {
    for recovers in [false, true] {
        let io = SocketIo::new().dynamic(|_| true, commands);
        let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
        let server = serve_io(3, io);
        let mut clients: Vec<(&str, &str, Io)> = [("/a", "#b"), ("/a#", "b"), ("/a#", "%b"), ("/a#%", "b"), ("/a%23", "b")]
            .into_iter()
            .map(|(namespace, room)| {
                let mut io = Io::open(server.address, Way::WebSocket);
                io.connect(namespace, &Value::Null);
                io.call_in(namespace, json!(["join", room]));
                (namespace, room, io)
            })
            .collect();
        for (at, (namespace, room, io)) in clients.iter_mut().enumerate() {
            io.emit(namespace, json!(["to all", [room], [], at]));
            assert_eq!(io.event_in(namespace), json!(["said", at]));
        }
        for (namespace, _, io) in &mut clients {
            io.call_in(namespace, json!(["sync"]));
        }
    }
}

#[test]
fn nobody_else_has_the_namespaces_in_which_rooms_are() {
    for name in ["io", "io-live", "io-sockets"] {
        let all = Arc::new(Namespaces::new([(name.to_owned(), ChannelOptions::default())]).expect("options"));
        let mine = all.clone();
        let started =
            Server::builder().socket_io(PATH, obedient()).configure(|config| config.namespaces = mine).start("127.0.0.1:0");
        assert!(matches!(started, Err(Error::Namespace(bad)) if bad.name == name));
        let alone = Server::builder().native("/v1/ws").configure(|config| config.namespaces = all).start("127.0.0.1:0");
        assert!(alone.is_ok(), "without Socket.IO they are names like others");
    }
    for (io, channels) in [
        (obedient(), ["io-live:/#", "io-live:/#a", "io-live:"]),
        (obedient().recovery(Duration::from_secs(60)), ["io:/#", "io:/#a", "io-sockets:0.0"]),
    ] {
        let server = serve_also(1, io, |builder| builder.native("/v1/ws"));
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        client.call(json!(["join", "a"]));
        let mut native = Native::connected(server.address, Form::Json);
        for channel in channels {
            assert_eq!(native.fails(json!({"type": "subscribe", "channel": channel})), "permission_denied");
            assert_eq!(native.fails(json!({"type": "publish", "channel": channel, "data": 1})), "permission_denied");
        }
        client.expect_quiet();
    }
}

#[test]
fn what_others_publish_in_a_room_cannot_pass_for_the_servers_own() {
    let chat = ChannelOptions { history_size: 100, ..ChannelOptions::default() };
    let namespaces = Arc::new(Namespaces::new([("chat".to_owned(), chat)]).expect("options"));
    for recovers in [false, true] {
        let io = SocketIo::new().namespace("/", |root| commands(root).rooms_in("chat"));
        let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
        let everyone = io.of("/");
        let namespaces = namespaces.clone();
        let server = serve_also(2, io, |builder| builder.native("/v1/ws").configure(|config| config.namespaces = namespaces));
        let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
        client.call(json!(["join", "lobby"]));
        eventually("it is in", || client.call(json!(["rooms"])) == json!([["lobby"]]));
        let mut native = Native::connected(server.address, Form::Json);
        for tag in ["socketio.packed", "socketio.only", "socketio.to", "socketio.except"] {
            let publish =
                json!({"type": "publish", "id": 99, "channel": "chat:lobby", "bytes": "AAAAAf8=", "tags": {tag: "1"}});
            native.client.send_text(&publish.to_string());
            assert_eq!(native.next()["name"], "bad_value");
        }
        let tagged = within_bound(async {
            server.node().channel("chat:lobby").publish(longwire_protocol::Data::from("x")).tag("socketio.only", "x").await
        });
        assert!(tagged.is_err());
        // A stock client would close its connection.
        for event in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
            native.say(json!({"type": "publish", "channel": "chat:lobby", "event": event, "data": 1, "echo": false}));
            assert_eq!(client.event(), json!(["message", 1]));
        }
        // What is for one socket is not for whoever follows a channel that is called so.
        native.subscribe(&format!("chat:{}", connected.sid), json!({}));
        everyone.clone().to(&connected.sid).emit("secret", (1,));
        assert_eq!(client.event(), json!(["secret", 1]));
        native.expect_quiet();
    }
}

#[test]
fn a_socket_is_told_when_it_is_in_as_many_rooms_as_it_may_be() {
    for recovers in [false, true] {
        let io = if recovers { obedient().recovery(Duration::from_secs(60)) } else { obedient() };
        let server = serve_io(2, io.clone().max_rooms(3));
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        for room in ["a", "b", "c", "a"] {
            assert_eq!(client.call(json!(["join", room])), json!([room]));
        }
        let told = "in 3 rooms already, which are all that a socket may be in";
        assert_eq!(client.call(json!(["join", "d"])), json!([told]));
        client.call(json!(["leave", "b"]));
        assert_eq!(client.call(json!(["join", "d"])), json!(["d"]));
        assert_eq!(client.call(json!(["rooms"])), json!([["a", "c", "d"]]));
        drop(server);
        let server = serve_io(2, io);
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        let joins = (0..1200).map(|n| format!("2{n}[\"join\",\"room {n}\"]"));
        client.say_many(joins);
        let answers: Vec<Value> = (0..1200).map(|_| client.next().expect("an ack").data).collect();
        let joined = answers.iter().filter(|answer| answer[0].as_str().is_some_and(|text| text.starts_with("room "))).count();
        assert_eq!(joined, 1000, "recovers: {recovers}");
        assert!(answers[1000..].iter().all(|answer| answer[0].as_str().is_some_and(|text| text.starts_with("in 1000 rooms"))));
        let (mut speaker, _) = Io::connected(server.address, Way::WebSocket);
        for n in [0, 998, 999, 1000] {
            speaker.call(json!(["to", [format!("room {n}")], [], n]));
            if n < 1000 {
                assert_eq!(client.event(), json!(["said", n]));
            }
        }
        client.expect_quiet();
    }
}
