//! How clients come into namespaces, or do not.

use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::socketio::{Arguments, ConnectRefused, NamespaceBuilder, Reason, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{DISCONNECT, Io, PATH, WAYS, Way};
use super::{commands, obedient, serve_io};
use crate::support::{Client, Hold, next};

#[test]
fn a_client_connects_to_what_there_is() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::WebSocket), (1, Way::Polling), (3, Way::Polling)] {
        let io = obedient()
            .namespace("/admin", |namespace| {
                commands(namespace).on_connect(|socket: Socket| socket.emit("hello", (socket.namespace(),)))
            })
            .dynamic(|name| name.starts_with("/team-"), commands)
            .dynamic(
                |name| name.starts_with("/t"),
                |namespace| namespace.on_connect(|socket: Socket| socket.emit("second", ())),
            );
        let server = serve_io(shards, io);
        let mut client = Io::open(server.address, way);
        let root = client.connect("/", &Value::Null);
        assert_eq!(root.pid, None, "nobody may come back");
        assert_eq!(client.call(json!(["rooms"])), json!([[]]));
        // Each with an id of its own.
        let admin = client.connect("/admin", &json!({}));
        assert_ne!(admin.sid, root.sid);
        assert_eq!(client.event_in("/admin"), json!(["hello", "/admin"]));
        client.connect("/team-7", &Value::Null);
        client.call_in("/team-7", json!(["join", "a"]));
        assert_eq!(client.call_in("/team-7", json!(["rooms"])), json!([["a"]]));
        assert_eq!(client.call_in("/admin", json!(["rooms"])), json!([[]]), "rooms are those of a namespace");
        client.connect("/table", &Value::Null);
        assert_eq!(client.event_in("/table"), json!(["second"]));
        assert_eq!(client.refused("/nothing", &Value::Null)["message"], "Invalid namespace");
        // The others do not suffer.
        client.expect_quiet();
        if way == Way::WebSocket {
            drop(client);
            server.expect_empty();
        }
    }
}

#[test]
fn what_is_said_to_a_namespace_that_one_is_not_in_ends_the_connection() {
    for packet in ["2[\"sync\"]", "0", "0/other,"] {
        let server = serve_io(1, obedient());
        let mut client = Io::open(server.address, Way::WebSocket);
        if packet.starts_with('0') {
            client.connect("/", &Value::Null);
        }
        client.say(packet);
        if packet == "0/other," {
            assert_eq!(client.next().expect("an answer").kind, super::client::REFUSED);
            client.expect_quiet();
        } else {
            client.expect_end();
        }
    }
}

#[test]
fn middleware_lets_in_and_refuses_with_data() {
    #[derive(serde::Deserialize)]
    struct Auth {
        name: Option<String>,
    }
    let check = |namespace: NamespaceBuilder| {
        namespace
            .middleware(async |socket: Socket| {
                tokio::time::sleep(Duration::from_millis(1)).await;
                match socket.auth::<Auth>() {
                    Ok(Auth { name: Some(_) }) => Ok(()),
                    Ok(Auth { name: None }) => {
                        Err(ConnectRefused::new("who are you?").with_data(&json!({"code": 7, "of": socket.namespace()})))
                    }
                    Err(error) => Err(ConnectRefused::new(error.to_string())),
                }
            })
            .middleware(async |socket: Socket| {
                let name = socket.auth::<Auth>().ok().and_then(|auth| auth.name).unwrap_or_default();
                if name == "mallory" { Err(ConnectRefused::new("not you")) } else { Ok(()) }
            })
            .on_connect(|socket: Socket| {
                let name = socket.auth::<Auth>().ok().and_then(|auth| auth.name);
                let agent = socket.handshake().headers().get("x-of").map(|of| of.to_str().unwrap_or_default().to_owned());
                socket.emit("welcome", (name, socket.handshake().uri().path(), agent, socket.handshake().peer().is_some()));
            })
    };
    for way in WAYS {
        let server = serve_io(2, SocketIo::new().namespace("/", check).namespace("/open", commands));
        let mut client = Io::open(server.address, way);
        let refused = client.refused("/", &Value::Null);
        assert_eq!(refused, json!({"message": "who are you?", "data": {"code": 7, "of": "/"}}));
        assert_eq!(client.refused("/", &json!({"name": "mallory"})), json!({"message": "not you"}));
        assert!(client.refused("/", &json!({"name": 7}))["message"].is_string());
        // The connection is still good for others, and for another try.
        client.connect("/open", &Value::Null);
        client.connect("/", &json!({"name": "ada"}));
        assert_eq!(client.event(), json!(["welcome", "ada", PATH, null, true]));
        client.call_in("/open", json!(["sync"]));
    }
}

/// What a client says behind CONNECT waits until it is let in.
#[test]
fn events_of_a_client_that_is_being_judged_wait() {
    let hold = Hold::new();
    let held = hold.clone();
    let io = SocketIo::new().namespace("/", move |namespace| {
        let held = held.clone();
        commands(namespace).middleware(move |_: Socket| {
            let held = held.clone();
            async move {
                held.wait().await;
                Ok(())
            }
        })
    });
    let server = serve_io(1, io);
    let mut client = Io::open(server.address, Way::WebSocket);
    client.say_many(["0".into(), "20[\"join\",\"a\"]".into(), "21[\"rooms\"]".into()]);
    assert!(client.websocket().recv_within(Duration::from_millis(50)).is_none());
    hold.release();
    client.connected_to("/");
    assert_eq!(client.next().expect("an ack").data, json!(["a"]));
    assert_eq!(client.next().expect("an ack").data, json!([["a"]]));
}

#[test]
fn a_client_that_goes_while_it_is_judged_is_forgotten() {
    let hold = Hold::new();
    let held = hold.clone();
    let (told, connects) = channel();
    let io = SocketIo::new().namespace("/", move |namespace| {
        namespace
            .middleware(move |_: Socket| {
                let held = held.clone();
                async move {
                    held.wait().await;
                    Ok(())
                }
            })
            .on_connect(move |socket: Socket| drop(told.send(socket.id().to_owned())))
    });
    let server = serve_io(1, io);
    let mut gone = Io::open(server.address, Way::WebSocket);
    gone.ask_in("/", &Value::Null);
    gone.cut();
    hold.release();
    server.expect_empty();
    let (_client, connected) = Io::connected(server.address, Way::WebSocket);
    // The one who has gone may have been let in before that was noticed, and is then told of once; when, is up to the threads.
    let told = next(&connects);
    assert!(told == connected.sid || next(&connects) == connected.sid, "{told} is nobody");
}

#[test]
fn a_client_that_connects_to_nothing_is_closed() {
    for way in WAYS {
        let server = serve_io(1, obedient().connect_timeout(Duration::from_millis(80)));
        let mut idle = Io::open(server.address, way);
        let (mut client, _) = Io::connected(server.address, way);
        idle.expect_end();
        client.expect_quiet();
    }
}

#[test]
fn one_namespace_of_a_connection_can_end_without_the_others() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::Polling)] {
        let (told, reasons) = channel();
        let io = obedient().namespace("/b", |namespace| {
            commands(namespace).on_disconnect(move |socket: Socket, reason: Reason| {
                told.send((socket.id().to_owned(), reason, socket.is_connected())).expect("told");
            })
        });
        let everyone = io.of("/b");
        let server = serve_io(shards, io);
        let (mut client, _) = Io::connected(server.address, way);
        // The first is not the one that leaves; then it is.
        for _ in 0..3 {
            let of_b = client.connect("/b", &Value::Null);
            client.call_in("/b", json!(["join", "room"]));
            client.say("1/b,");
            assert_eq!(next(&reasons), (of_b.sid, Reason::ClientLeft, false));
            everyone.emit("missed", ());
            client.expect_quiet();
        }
        client.connect("/b", &Value::Null);
        client.say("1");
        everyone.clone().to("nowhere").emit("missed", ());
        client.call_in("/b", json!(["sync"]));
        everyone.emit("heard", (1,));
        assert_eq!(client.event_in("/b"), json!(["heard", 1]));
        // And comes back.
        client.connect("/", &Value::Null);
        client.call(json!(["join", "x"]));
        assert_eq!(client.call(json!(["rooms"])), json!([["x"]]));
        // Put out by the server, which says so.
        client.emit("/b", json!(["put me out"]));
        let packet = client.next().expect("a packet");
        assert_eq!((packet.kind, &*packet.namespace), (DISCONNECT, "/b"));
        assert_eq!(next(&reasons).1, Reason::ServerPutOut);
        client.expect_quiet();
    }
}

#[test]
fn as_many_namespaces_as_there_may_be() {
    let server = serve_io(2, SocketIo::new().dynamic(|_| true, commands));
    let mut client = Io::open(server.address, Way::WebSocket);
    for n in 0..100 {
        client.connect(&format!("/{n}"), &Value::Null);
    }
    assert_eq!(client.refused("/more", &Value::Null)["message"], "Invalid namespace");
    for n in 0..100 {
        client.call_in(&format!("/{n}"), json!(["join", "a"]));
    }
    let mut other = Io::open(server.address, Way::WebSocket);
    other.connect("/55", &Value::Null);
    other.call_in("/55", json!(["to", ["a"], [], "hello"]));
    assert_eq!(client.event_in("/55"), json!(["said", "hello"]));
    drop((client, other));
    server.expect_empty();
}

/// Revision 3 of Engine.IO, which `socket.io-client` 2 speaks: the root is joined by itself, and errors are texts.
#[test]
fn old_clients_are_let_in_where_that_is_said() {
    let io = || {
        SocketIo::new().namespace("/", commands).namespace("/closed", |namespace| {
            namespace.middleware(async |_: Socket| Err(ConnectRefused::new("not you").with_data(&1)))
        })
    };
    let target = format!("{PATH}?EIO=3&transport=websocket");
    let server = serve_io(1, io());
    let answer = crate::support::answer(server.address, &crate::support::handshake(&target, ""));
    assert_eq!(answer.status, 400);
    let server = serve_io(2, io().engine(|options| options.revision_3 = true));
    let mut client = Client::open(server.address, &target);
    assert!(client.text().starts_with("0{"));
    client.expect_text("40");
    client.send_text("2");
    client.expect_text("3");
    client.send_text(r#"420["join","a"]"#);
    client.expect_text(r#"430["a"]"#);
    client.send_text("40/closed");
    client.expect_text(r#"44/closed,1"#);
    client.send_text("40/nothing");
    client.expect_text(r#"44/nothing,{"message":"Invalid namespace"}"#);
    let (mut other, _) = Io::connected(server.address, Way::WebSocket);
    other.call(json!(["to", ["a"], [], {"n": 1}]));
    client.expect_text(r#"42["said",{"n":1}]"#);
}

#[test]
fn an_event_has_all_its_handlers_called_in_their_order() {
    type Taken = longwire_server::socketio::Ack;
    let io = SocketIo::new().namespace("/", |namespace| {
        namespace
            .on_any(|socket: Socket, arguments: Arguments| socket.emit("any", (arguments.event_name(), arguments.json())))
            .on_any(|socket: Socket, _: Arguments| socket.emit("any too", ()))
            .prepend_any(async |socket: Socket, _: Arguments| socket.emit("at last", ()))
            .prepend_any(|socket: Socket, _: Arguments, ack: Taken| socket.emit("before any", (ack.is_wanted(),)))
            .on("known", |socket: Socket, (): ()| socket.emit("first", ()))
            .on("known", |socket: Socket, (): (), ack: Taken| {
                socket.emit("second", ());
                ack.send((2,));
            })
            .on("known", |_: Socket, (): (), ack: Taken| ack.send(("one answer is enough",)))
            .fallback(|socket: Socket, arguments: Arguments, ack: Taken| {
                socket.emit("unknown", (arguments.event_name(),));
                ack.send(arguments);
            })
            .on_connect(|socket: Socket| {
                socket.on("own", |socket: Socket, (n,): (u32,)| socket.emit("own", (n + 1,)));
                socket.once("own", |socket: Socket, (n,): (u32,)| {
                    socket.on("own", |socket: Socket, (): ()| socket.emit("added", ()));
                    socket.emit("once", (n,));
                });
                socket.on("known", |socket: Socket, (): ()| socket.emit("mine", ()));
                socket.on("forget", |socket: Socket, (event,): (String,)| socket.off(&event));
            })
    });
    let server = serve_io(1, io);
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    let mut heard = |said: Value, wants_ack: bool, told: &[Value]| {
        let name = said[0].clone();
        if wants_ack {
            client.emit_for_ack("/", said.clone());
        } else {
            client.emit("/", said.clone());
        }
        assert_eq!(client.event(), json!(["before any", wants_ack]));
        assert_eq!(client.event(), json!(["any", name, said.to_string()]));
        assert_eq!(client.event(), json!(["any too"]));
        for told in told {
            assert_eq!(client.next().expect("a packet").data, *told, "of {said}");
        }
        assert_eq!(client.event(), json!(["at last"]));
    };
    heard(json!(["what", 1]), true, &[json!(["unknown", "what"]), json!(["what", 1])]);
    heard(json!(["known"]), true, &[json!(["first"]), json!(["second"]), json!([2]), json!(["mine"])]);
    heard(json!(["own", 1]), false, &[json!(["own", 2]), json!(["once", 1])]);
    heard(json!(["own", 1]), false, &[json!(["own", 2]), json!(["added"])]);
    heard(json!(["forget", "own"]), false, &[]);
    heard(json!(["own", 1]), false, &[json!(["unknown", "own"])]);
    heard(json!(["forget", "known"]), false, &[]);
    heard(json!(["known"]), false, &[json!(["first"]), json!(["second"])]);
}

#[test]
#[should_panic(expected = "on_disconnect")]
fn what_happens_to_a_socket_by_itself_is_no_event() {
    let _ = SocketIo::new().namespace("/", |namespace| namespace.on("disconnect", |_: Socket, (): ()| ()));
}
