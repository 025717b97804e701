//! Rooms that are channels of others, too: of the native protocol, and of the API.

use std::sync::Arc;
use std::time::Duration;

use longwire_protocol::{Data, Form};
use longwire_server::socketio::SocketIo;
use longwire_server::{ChannelOptions, Namespaces};
use serde_json::{Value, json};

use super::client::{CONNECT, Io, WAYS, Way};
use super::{commands, serve_also};
use crate::native::client::Native;
use crate::support::{eventually, within_bound};

fn namespaces() -> Arc<Namespaces> {
    let chat = ChannelOptions { history_size: 100, history_age: Duration::from_secs(600), ..ChannelOptions::default() };
    Arc::new(Namespaces::new([("chat".to_owned(), chat)]).expect("options"))
}

#[test]
fn rooms_are_channels_and_channels_are_rooms() {
    for (shards, way, recovers) in [(1, Way::WebSocket, false), (3, Way::Polling, false), (3, Way::WebSocket, true)] {
        let io = SocketIo::new().namespace("/", |namespace| commands(namespace).rooms_in("chat"));
        let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
        let everyone = io.of("/");
        let server =
            serve_also(shards, io, |builder| builder.native("/v1/ws").configure(|config| config.namespaces = namespaces()));
        let (mut client, connected) = Io::connected(server.address, way);
        client.call(json!(["join", "lobby"]));
        // Where clients may come back it takes the way to the channel.
        eventually("it is in", || client.call(json!(["rooms"])) == json!([["lobby"]]));
        let mut native = Native::connected(server.address, Form::Json);
        native.subscribe("chat:lobby", json!({}));
        // What a socket emits is a publication.
        let (mut other, _) = Io::connected(server.address, way);
        other.call(json!(["to", ["lobby"], [], {"n": 1}]));
        assert_eq!(client.event(), json!(["said", {"n": 1}]));
        let publication = native.next_of("publication");
        assert_eq!((&publication["event"], &publication["data"]), (&json!("said"), &json!([{"n": 1}])));
        // And the other way round.
        native.say(json!({"type": "publish", "channel": "chat:lobby", "data": {"text": "hello"}, "echo": false}));
        assert_eq!(client.event(), json!(["message", {"text": "hello"}]));
        native
            .say(json!({"type": "publish", "channel": "chat:lobby", "event": "typing", "data": ["ada", true], "echo": false}));
        assert_eq!(client.event(), json!(["typing", "ada", true]));
        native.say(json!({"type": "publish", "channel": "chat:lobby", "bytes": "AQID", "echo": false}));
        let packet = client.next().expect("an event");
        assert_eq!((packet.data[0].clone(), packet.parts), (json!("message"), vec![vec![1, 2, 3]]));
        within_bound(async { server.node().channel("chat:lobby").publish(Data::from("a text")).await }).expect("published");
        assert_eq!(client.event(), json!(["message", "a text"]));
        assert_eq!(native.next_of("publication")["data"], "a text");
        // To several rooms, or to one socket, is nobody else's.
        other.call(json!(["to", [connected.sid], [], 2]));
        assert_eq!(client.event(), json!(["said", 2]));
        everyone.clone().to("lobby").to("other").emit("both", ());
        assert_eq!(client.event(), json!(["both"]));
        if recovers {
            let claim = json!({"pid": connected.pid, "offset": client.offset});
            client.cut();
            native.say(json!({"type": "publish", "channel": "chat:lobby", "data": "missed", "echo": false}));
            native.expect_quiet();
            client = Io::open(server.address, Way::WebSocket);
            client.recovers = true;
            client.ask_in("/", &claim);
            assert_eq!(client.connected_to("/").sid, connected.sid);
            assert_eq!(client.event(), json!(["message", "missed"]));
        }
        client.call(json!(["leave", "lobby"]));
        native.say(json!({"type": "publish", "channel": "chat:lobby", "data": 1, "echo": false}));
        native.expect_quiet();
        client.expect_quiet();
    }
}

#[test]
fn clients_that_follow_channels_by_themselves() {
    for (shards, way) in [(1, WAYS[0]), (3, WAYS[1])] {
        let server = serve_also(shards, SocketIo::channels(), |builder| {
            builder.native("/v1/ws").configure(|config| config.namespaces = namespaces())
        });
        let mut client = Io::open(server.address, way);
        let connected = client.connect("/", &Value::Null);
        assert!(connected.pid.is_some());
        let subscribed = client.call(json!(["subscribe", "chat:a"]));
        assert_eq!((&subscribed[0]["type"], &subscribed[0]["channel"]), (&json!("subscribed"), &json!("chat:a")));
        let mut native = Native::connected(server.address, Form::Json);
        native.publish("chat:a", 1);
        let push = client.event();
        assert_eq!((&push[0], &push[1]["data"], &push[1]["offset"]), (&json!("publication"), &json!(1), &json!(1)));
        let published = client.call(json!(["publish", "chat:b", {"n": 2}]));
        assert_eq!(published[0]["offset"], 1);
        let refused = client.call(json!(["subscribe", "nowhere:a"]));
        assert_eq!(refused[0]["name"], "unknown_namespace");
        let claim = json!({"pid": connected.pid, "offset": client.offset});
        client.cut();
        native.publish("chat:a", 2);
        let mut client = Io::open(server.address, Way::WebSocket);
        client.recovers = true;
        client.ask_in("/", &claim);
        let mut packets = [client.next().expect("a packet"), client.next().expect("a packet")];
        packets.sort_by_key(|packet| packet.kind);
        assert_eq!(packets[0].data["sid"], connected.sid.as_str());
        assert_eq!((&packets[1].data[0], &packets[1].data[1]["data"]), (&json!("publication"), &json!(2)));
    }
}

#[test]
fn who_is_cut_among_the_keys_of_a_channel_gets_them_when_it_comes_back() {
    const KEYS: usize = 40;
    for shards in [1, 3] {
        let server = serve_also(shards, SocketIo::channels(), |builder| {
            builder.configure(|config| {
                let state = ChannelOptions { history_size: 100, state_keys: 100, ..ChannelOptions::default() };
                config.namespaces = Arc::new(Namespaces::new([("state".to_owned(), state)]).expect("options"));
            })
        });
        for n in 0..KEYS {
            let channel = server.node().channel("state:a");
            within_bound(async { channel.set(format!("key {n:02}"), Data::from("x".repeat(30_000))).await }).expect("set");
        }
        let mut client = Io::open(server.address, Way::WebSocket);
        let connected = client.connect("/", &Value::Null);
        client.call(json!(["subscribe", "state:a", {"state": true}]));
        // What was missed comes behind the packet that says that the client is in.
        let next = |client: &mut Io| loop {
            let packet = client.next().expect("a packet");
            match packet.kind {
                CONNECT => assert_eq!(packet.data["sid"], connected.sid.as_str()),
                _ => break packet.data,
            }
        };
        let come_back = |client: Io| {
            let claim = json!({"pid": connected.pid, "offset": client.offset});
            client.cut();
            within_bound(async { server.node().channel("state:a").publish(Data::from("no key")).await }).expect("published");
            let mut client = Io::open(server.address, Way::WebSocket);
            client.recovers = true;
            client.ask_in("/", &claim);
            client
        };
        // How many events it gets before it is cut.
        for before in [0, 1, 2] {
            (0..before).for_each(|_| assert_eq!(next(&mut client)[0], "state"));
            client = come_back(client);
        }
        let mut keys = Vec::new();
        loop {
            let event = next(&mut client);
            assert_eq!(event[0], "state");
            keys.extend(event[1]["entries"].as_array().expect("a list").iter().map(|entry| entry["key"].clone()));
            if event[1]["done"] == true {
                break;
            }
        }
        assert_eq!(keys.len(), KEYS);
        for offset in [41, 42, 43] {
            let event = next(&mut client);
            assert_eq!((&event[0], &event[1]["offset"]), (&json!("publication"), &json!(offset)));
        }
        // It has them now.
        client = come_back(client);
        assert_eq!(next(&mut client)[0], "publication");
    }
}
