//! How sockets end, and what their handlers are told.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use longwire_server::socketio::{JoinError, Reason, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{Connected, DISCONNECT, Io, WAYS, Way};
use super::{commands, serve_also, serve_io};
use crate::support::{TestServer, eventually, next};

fn told(recovers: bool) -> (SocketIo, Receiver<(String, Reason)>) {
    let (told, reasons) = channel();
    let io = SocketIo::new().namespace("/", |namespace| {
        commands(namespace).on_disconnect(move |socket: Socket, reason: Reason| {
            // It is not there any more: all that is done with it does nothing.
            socket.emit("gone", ());
            assert_eq!(socket.join("room"), Err(JoinError::Disconnected));
            socket.disconnect();
            assert!(!socket.is_connected() && socket.rooms().is_empty() && socket.data::<Value>() == Ok(None));
            told.send((socket.id().to_owned(), reason)).expect("told");
        })
    });
    (if recovers { io.recovery(Duration::from_millis(100)) } else { io }, reasons)
}

#[track_caller]
fn expect_nothing(server: &TestServer) {
    server.expect_empty();
    eventually("no session is kept", || super::sessions(server) == 0);
}

#[test]
fn handlers_are_told_why() {
    for recovers in [false, true] {
        for way in WAYS {
            let (io, reasons) = told(recovers);
            let everyone = io.of("/");
            let server = serve_io(2, io);
            let connected = || Io::connected(server.address, way);
            // The client leaves; then the whole connection.
            let (mut client, Connected { sid, .. }) = connected();
            client.say("1");
            assert_eq!(next(&reasons), (sid, Reason::ClientLeft));
            drop(client);
            let (mut client, Connected { sid, .. }) = connected();
            client.emit("/", json!(["put me out"]));
            assert_eq!(client.next().expect("a packet").kind, DISCONNECT);
            assert_eq!(next(&reasons), (sid, Reason::ServerPutOut));
            // It may come again, as another.
            let again = client.connect("/", &Value::Null).sid;
            client.emit("/", json!(["close me"]));
            assert_eq!(client.next().expect("a packet").kind, DISCONNECT);
            client.expect_end();
            assert_eq!(next(&reasons), (again, Reason::ServerPutOut));
            let (client, Connected { sid, .. }) = connected();
            client.cut();
            assert_eq!(next(&reasons), (sid, Reason::TransportClosed));
            let (mut client, Connected { sid, .. }) = connected();
            client.emit("/", json!(["panic"]));
            client.expect_end();
            assert_eq!(next(&reasons).0, sid);
            let (mut last, Connected { sid, .. }) = connected();
            last.expect_quiet();
            assert!(crate::support::within_bound(everyone.fetch_sockets()).expect("sockets").len() == 1);
            server.shutdown();
            assert_eq!(next(&reasons), (sid, Reason::ShuttingDown));
            last.expect_end();
            drop(last);
            server.join();
        }
    }
}

#[test]
fn a_client_that_shows_no_life_is_gone() {
    for way in WAYS {
        for recovers in [false, true] {
            let (io, reasons) = told(recovers);
            let io = io.engine(|engine| {
                engine.ping_interval = Duration::from_millis(60);
                engine.ping_timeout = Duration::from_millis(60);
            });
            let server = serve_io(2, io);
            let (client, Connected { sid, .. }) = Io::connected(server.address, way);
            let (told, reason) = next(&reasons);
            assert_eq!((told, reason), (sid, Reason::PingTimeout), "{way:?}");
            drop(client);
            expect_nothing(&server);
        }
    }
}

#[test]
fn a_handler_that_panics_closes_its_client_only() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::Polling)] {
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace).on_connect(|socket: Socket| {
                if socket.auth::<Value>().is_ok_and(|auth| auth["panic"] == true) {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
            })
        });
        let server = serve_io(shards, io);
        let (mut other, _) = Io::connected(server.address, way);
        let (mut client, _) = Io::connected(server.address, way);
        client.emit("/", json!(["panic"]));
        client.expect_end();
        let mut client = Io::open(server.address, way);
        client.ask_in("/", &json!({"panic": true}));
        client.expect_end();
        other.expect_quiet();
        if way == Way::WebSocket {
            drop((client, other));
            server.expect_empty();
        }
    }
}

#[test]
fn a_client_that_reads_too_slowly_is_closed_with_all_its_namespaces() {
    for recovers in [false, true] {
        let (told, reasons) = channel();
        let tell = move |socket: Socket, reason: Reason| {
            told.send((socket.namespace().to_owned(), reason)).expect("told");
        };
        let (a, b) = (tell.clone(), tell);
        let io = SocketIo::new()
            .namespace("/", |namespace| commands(namespace).on_disconnect(a))
            .namespace("/b", |namespace| commands(namespace).on_disconnect(b));
        let io = if recovers { io.recovery(Duration::from_millis(100)) } else { io };
        let everyone = io.of("/b");
        let server = serve_also(2, io, |builder| builder.configure(|config| config.outbox_bytes = 64 << 10));
        let mut slow = Io::open_narrow(server.address);
        slow.connect("/", &Value::Null);
        slow.connect("/b", &Value::Null);
        let mut fast = Io::open(server.address, Way::WebSocket);
        fast.connect("/b", &Value::Null);
        let data = "x".repeat(32 << 10);
        let mut n = 0;
        while reasons.try_recv().is_err() {
            everyone.emit("big", (n, &data));
            assert_eq!(fast.event_in("/b")[1], n);
            n += 1;
            assert!(n < 2000, "it takes all");
        }
        next(&reasons);
        fast.call_in("/b", json!(["sync"]));
        drop((slow, fast));
        server.expect_empty();
        eventually("no session is kept", || super::sessions(&server) == 0);
    }
}

#[test]
fn what_a_socket_was_is_there_still_when_it_has_gone() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct User {
        name: String,
    }
    for recovers in [false, true] {
        let (told, was) = channel();
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace)
                .on_connect(|socket: Socket| {
                    socket.set_data(&User { name: "ada".to_owned() })?;
                    socket.join(["a", "b"]).expect("rooms");
                    socket.leave(["b"]);
                    Ok::<(), longwire_server::socketio::DataError>(())
                })
                .on_disconnect(move |socket: Socket, reason: Reason| {
                    assert!(!socket.is_connected() && socket.data::<u8>().is_err());
                    // The others in its rooms can be told.
                    socket.to(socket.rooms()).emit("has gone", (reason.to_string(),));
                    told.send((socket.rooms(), socket.data::<User>())).expect("told");
                })
        });
        let server = serve_io(2, if recovers { io.recovery(Duration::from_secs(60)) } else { io });
        let (mut witness, _) = Io::connected(server.address, Way::WebSocket);
        for end in ["1", "2[\"put me out\"]", "2[\"close me\"]", "cut"] {
            let (mut client, _) = Io::connected(server.address, Way::WebSocket);
            eventually("it is in", || client.call(json!(["rooms"])) == json!([["a"]]));
            if end == "cut" {
                client.cut();
            } else {
                client.say(end);
            }
            let ada = Ok(Some(User { name: "ada".to_owned() }));
            assert_eq!(next(&was), (vec!["a".to_owned()], ada), "{end}");
            assert_eq!(witness.event()[0], "has gone");
        }
    }
}
