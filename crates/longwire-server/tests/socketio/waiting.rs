//! What waits on a connection, and what does not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use longwire_server::socketio::{Ack, AckError, ConnectRefused, NamespaceBuilder, Reason, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{ACK, EVENT, Io, REFUSED, WAYS, Way};
use super::{commands, obedient, serve_also, serve_io};
use crate::support::{Hold, eventually, next};

/// Whose clients are let in when that is released.
fn judged(hold: &Hold) -> impl Fn(NamespaceBuilder) -> NamespaceBuilder + use<> {
    let hold = hold.clone();
    move |namespace| {
        let hold = hold.clone();
        commands(namespace).middleware(move |_: Socket| {
            let hold = hold.clone();
            async move {
                hold.wait().await;
                Ok(())
            }
        })
    }
}

fn pinged_often(io: SocketIo) -> SocketIo {
    io.engine(|engine| {
        engine.ping_interval = Duration::from_millis(100);
        engine.ping_timeout = Duration::from_millis(400);
    })
}

#[test]
fn a_middleware_that_takes_its_time_holds_up_nothing_else() {
    for way in WAYS {
        let hold = Hold::new();
        let server = serve_io(2, pinged_often(obedient().namespace("/slow", judged(&hold))));
        let (mut client, _) = Io::connected(server.address, way);
        client.ask_in("/slow", &Value::Null);
        // For longer than a client is given to answer a ping.
        while client.pings < 8 {
            assert_eq!(client.call(json!(["join", "a"])), json!(["a"]));
        }
        hold.release();
        client.connected_to("/slow");
        assert_eq!(client.call_in("/slow", json!(["rooms"])), json!([[]]));
    }
}

#[test]
fn a_middleware_that_does_not_decide_is_waited_for_as_long_as_a_client_may_be_without_a_namespace() {
    for way in WAYS {
        let (told, dropped) = channel();
        let io = obedient().connect_timeout(Duration::from_millis(100)).namespace("/never", |namespace| {
            namespace.middleware(move |_: Socket| {
                let dropped = Dropped(told.clone());
                async move {
                    std::future::pending::<()>().await;
                    drop(dropped);
                    Ok(())
                }
            })
        });
        let server = serve_io(1, io);
        let (mut client, _) = Io::connected(server.address, way);
        assert_eq!(client.refused("/never", &Value::Null), json!({"message": "middleware took too long"}));
        next(&dropped);
        client.expect_quiet();
    }
}

/// Says so when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_middleware_that_panics_refuses_its_client_and_nothing_else_happens() {
    fn panic() {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
    for way in WAYS {
        let io = obedient()
            .namespace("/at-once", |namespace| {
                namespace.middleware(|_: Socket| {
                    panic();
                    std::future::ready(Ok(()))
                })
            })
            .namespace("/later", |namespace| {
                namespace.middleware(async |_: Socket| {
                    tokio::task::yield_now().await;
                    panic();
                    Ok(())
                })
            });
        let server = serve_io(2, io);
        let (mut client, _) = Io::connected(server.address, way);
        for namespace in ["/at-once", "/later", "/later"] {
            assert_eq!(client.refused(namespace, &Value::Null), json!({"message": "middleware failed"}));
            client.expect_quiet();
        }
        // So it is for one that is nowhere else.
        let mut other = Io::open(server.address, way);
        other.refused("/later", &Value::Null);
        other.connect("/", &Value::Null);
        other.expect_quiet();
    }
}

#[test]
fn a_client_may_leave_while_it_is_judged_and_come_again() {
    let (told, dropped) = channel();
    let hold = Hold::new();
    let held = hold.clone();
    let io = obedient().namespace("/slow", |namespace| {
        commands(namespace).middleware(move |_: Socket| {
            let (held, dropped) = (held.clone(), Dropped(told.clone()));
            async move {
                held.wait().await;
                drop(dropped);
                Ok(())
            }
        })
    });
    let server = serve_io(1, io);
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    for _ in 0..3 {
        client.ask_in("/slow", &Value::Null);
        client.emit("/slow", json!(["join", "what it has said goes with it"]));
        client.expect_quiet();
        client.say("1/slow,");
        // What it was judged by ends, too.
        next(&dropped);
    }
    client.ask_in("/slow", &Value::Null);
    client.expect_quiet();
    hold.release();
    client.connected_to("/slow");
    assert_eq!(client.call_in("/slow", json!(["rooms"])), json!([[]]));
}

#[test]
fn a_client_that_is_let_in_nowhere_is_closed_in_time() {
    for way in WAYS {
        let io = SocketIo::new()
            .connect_timeout(Duration::from_millis(80))
            .namespace("/", |namespace| namespace.middleware(async |_: Socket| Err(ConnectRefused::new("no"))));
        let server = serve_io(1, io);
        let mut client = Io::open(server.address, way);
        assert_eq!(client.refused("/", &Value::Null)["message"], "no");
        client.expect_end();
    }
}

/// Handlers that count themselves, and wait: how many are at work, and how many there were.
#[derive(Clone, Default)]
struct Counts {
    at_work: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Counts {
    fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }
}

fn held(namespace: NamespaceBuilder, hold: &Hold, counts: &Counts) -> NamespaceBuilder {
    let (hold, counts) = (hold.clone(), counts.clone());
    commands(namespace)
        .on("hold", move |_: Socket, (number,): (usize,)| {
            assert_eq!(counts.all.fetch_add(1, Ordering::SeqCst), number, "in their order");
            counts.most.fetch_max(counts.at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (hold, counts) = (hold.clone(), counts.clone());
            async move {
                hold.wait().await;
                counts.at_work.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .on("ask", async |socket: Socket, (n,): (u32,), ack: Ack| {
            let answer = socket.emit_with_ack("question", (n,), Duration::from_secs(60)).await;
            ack.send((answer.map(|answer| answer.json().to_owned()).map_err(|error: AckError| error.to_string()).ok(),));
        })
}

fn holds(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|number| format!("2[\"hold\",{number}]"))
}

#[test]
fn handlers_that_wait_for_acks_of_the_client_do_not_keep_it_from_being_heard() {
    for way in WAYS {
        let io = SocketIo::new().namespace("/", |namespace| held(namespace, &Hold::new(), &Counts::default()));
        let server = serve_io(1, io);
        let (mut client, _) = Io::connected(server.address, way);
        // All of them wait at a time, for a client that answers only then.
        const MANY: usize = 300;
        client.say_many((0..MANY).map(|n| format!("2{n}[\"ask\",{n}]")));
        let asked: Vec<u64> = (0..MANY)
            .map(|n| {
                let packet = client.next().expect("a question");
                assert_eq!((packet.kind, packet.data), (EVENT, json!(["question", n])));
                packet.id.expect("an id")
            })
            .collect();
        client.say_many(asked.iter().rev().map(|id| format!("3{id}[\"yes\"]")));
        let mut answered: Vec<_> = (0..MANY)
            .map(|_| {
                let packet = client.next().expect("an ack");
                assert_eq!((packet.kind, packet.data), (ACK, json!(["[\"yes\"]"])));
                packet.id
            })
            .collect();
        answered.sort_unstable();
        answered.dedup();
        assert_eq!(answered.len(), MANY);
    }
}

/// 64 are at work, however fast the others come; and neither acks nor pongs nor other namespaces wait for them.
#[test]
fn what_slow_handlers_do_not_take_yet_waits_and_the_rest_is_heard() {
    for way in WAYS {
        let (hold, counts) = (Hold::new(), Counts::default());
        let io = SocketIo::new()
            .namespace("/", |namespace| held(namespace, &hold, &counts))
            .namespace("/b", |namespace| namespace.on_connect(|socket: Socket| socket.emit("hello", ())));
        let server = serve_io(1, pinged_often(io));
        let (mut client, _) = Io::connected(server.address, way);
        client.say("27[\"ask\",1]");
        let question = client.next().expect("a question").id.expect("an id");
        client.say_many(holds(0, 200));
        eventually("as many are at work as may be", || counts.all() >= 64);
        client.connect("/b", &Value::Null);
        assert_eq!(client.event_in("/b"), json!(["hello"]));
        client.say(&format!("3{question}[1]"));
        let packet = client.next().expect("an ack");
        assert_eq!((packet.kind, packet.id, packet.data), (ACK, Some(7), json!(["[1]"])));
        while client.pings < 8 {
            client.say("1/b,");
            client.connect("/b", &Value::Null);
            client.event_in("/b");
        }
        // The one that waited for an ack was not at work.
        assert!((64..=65).contains(&counts.all()), "{}", counts.all());
        hold.release();
        eventually("the others have had their turn", || counts.all() == 200);
        client.expect_quiet();
        assert!(counts.most.load(Ordering::SeqCst) <= 65);
    }
}

#[test]
fn a_flood_of_events_waits_where_it_takes_no_room_and_all_of_it_is_heard() {
    for way in WAYS {
        let (hold, counts) = (Hold::new(), Counts::default());
        let server = serve_io(1, SocketIo::new().namespace("/", |namespace| held(namespace, &hold, &counts)));
        let (mut client, _) = Io::connected(server.address, way);
        let opener = hold.clone();
        let seen = counts.clone();
        let releases = std::thread::spawn(move || {
            eventually("as many are at work as may be", || seen.all() >= 64);
            opener.release();
        });
        client.say_many(holds(0, 5000));
        client.expect_quiet();
        releases.join().expect("released");
        assert_eq!(counts.all(), 5000);
        assert_eq!(counts.most.load(Ordering::SeqCst), 64);
    }
}

#[test]
fn what_a_client_says_before_it_leaves_is_heard_and_before_that_it_does_not_come_again() {
    let (hold, counts) = (Hold::new(), Counts::default());
    let (told, reasons) = channel();
    let seen = counts.clone();
    let io = SocketIo::new().namespace("/", |namespace| {
        held(namespace, &hold, &counts).on_disconnect(move |_: Socket, reason: Reason| {
            let _ = told.send((seen.all(), reason));
        })
    });
    let server = serve_io(1, io);
    let (mut client, first) = Io::connected(server.address, Way::WebSocket);
    client.say_many(holds(0, 100).chain(["1".into(), "0".into()]));
    eventually("as many are at work as may be", || counts.all() >= 64);
    assert!(client.websocket().recv_within(Duration::from_millis(20)).is_none());
    hold.release();
    assert_eq!(next(&reasons), (100, Reason::ClientLeft));
    let second = client.connected_to("/");
    assert_ne!(first.sid, second.sid);
    client.expect_quiet();
    // One that is in already may not connect again.
    client.say("0");
    client.expect_end();
}

#[test]
fn the_end_of_a_client_is_noticed_while_its_handlers_are_at_work() {
    // Lost, closed by its system; with little that waits, and with more than is read.
    for (many, resets) in [(100, true), (100, false), (5000, true), (5000, false)] {
        let (hold, counts) = (Hold::new(), Counts::default());
        let (told, reasons) = channel();
        let io = SocketIo::new().namespace("/", |namespace| {
            held(namespace, &hold, &counts).on_disconnect(move |_: Socket, reason: Reason| {
                let _ = told.send(reason);
            })
        });
        let server = serve_also(1, io, |builder| builder.configure(|config| config.close_timeout = Duration::from_millis(100)));
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        client.say_many(holds(0, many));
        eventually("as many are at work as may be", || counts.all() >= 64);
        if resets {
            client.cut();
        } else {
            drop(client);
        }
        assert_eq!(next(&reasons), Reason::TransportClosed);
        if many == 100 {
            assert_eq!(counts.all(), 100, "what it has said before is heard");
        }
        server.expect_empty();
        hold.release();
    }
}

/// A panic of a handler ends its connection, so that its client knows that it is not answered; whenever it comes.
#[test]
fn a_handler_that_panics_later_closes_its_client_too() {
    for way in WAYS {
        let io = obedient().namespace("/", |namespace| {
            commands(namespace).on("panic later", async |_: Socket, (): ()| {
                tokio::task::yield_now().await;
                std::panic::resume_unwind(Box::new("on purpose"));
            })
        });
        let server = serve_io(1, io);
        let (mut other, _) = Io::connected(server.address, way);
        let (mut client, _) = Io::connected(server.address, way);
        client.emit("/", json!(["panic later"]));
        client.expect_end();
        other.expect_quiet();
    }
}

/// The first namespace that a client asks for is not the one that it gets first.
#[test]
fn a_namespace_that_is_refused_leaves_the_place_to_others() {
    let hold = Hold::new();
    let server = serve_io(2, obedient().namespace("/slow", judged(&hold)));
    let mut client = Io::open(server.address, Way::WebSocket);
    client.ask_in("/slow", &Value::Null);
    client.ask_in("/nothing", &Value::Null);
    let packet = client.next().expect("an answer");
    assert_eq!((packet.kind, &*packet.namespace), (REFUSED, "/nothing"));
    client.connect("/", &Value::Null);
    client.call(json!(["join", "a"]));
    hold.release();
    client.connected_to("/slow");
    client.say("1/slow,");
    assert_eq!(client.call(json!(["rooms"])), json!([["a"]]));
}
