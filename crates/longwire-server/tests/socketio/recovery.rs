//! Clients that have lost their line and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::socketio::{Reason, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{CONNECT, Connected, EVENT, Io, WAYS, Way};
use super::{commands, serve_io, sessions};
use crate::support::{eventually, next};

const LONG: Duration = Duration::from_secs(60);

fn io() -> SocketIo {
    SocketIo::new().namespace("/", commands).recovery(LONG)
}

fn claim(connected: &Connected, client: &Io) -> Value {
    json!({"pid": connected.pid, "offset": client.offset})
}

/// What comes until the client is in, and what it is told then.
#[track_caller]
fn come_back(client: &mut Io, namespace: &str, claim: &Value) -> (Connected, Vec<Value>) {
    client.recovers = true;
    client.ask_in(namespace, claim);
    let mut missed = Vec::new();
    loop {
        let packet = client.next().expect("an answer");
        match packet.kind {
            CONNECT => {
                let text = |name: &str| packet.data[name].as_str().map(str::to_owned);
                return (Connected { sid: text("sid").expect("an id"), pid: text("pid") }, missed);
            }
            EVENT => missed.push(packet.data),
            _ => panic!("{packet:?}"),
        }
    }
}

/// Until so many have come.
#[track_caller]
fn events(client: &mut Io, mut already: Vec<Value>, count: usize) -> Vec<Value> {
    while already.len() < count {
        already.push(client.event());
    }
    already
}

#[test]
fn a_cut_line_loses_nothing() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::WebSocket), (1, Way::Polling), (3, Way::Polling)] {
        let io = io();
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        let (mut client, mut connected) = Io::connected(server.address, way);
        let id = connected.sid.clone();
        client.call(json!(["join", "a"]));
        client.call(json!(["join", "b"]));
        client.call(json!(["note", {"name": "ada"}]));
        let (mut other, _) = Io::connected(server.address, Way::WebSocket);
        for round in 0..6 {
            other.call(json!(["to", ["a"], [], ["before", round]]));
            assert_eq!(client.event(), json!(["said", ["before", round]]));
            let claim = claim(&connected, &client);
            client.cut();
            other.call(json!(["to", ["a"], [], 1]));
            other.call(json!(["to", ["a", "b"], [], 2]));
            other.call(json!(["to", [id], [], 3]));
            other.call(json!(["to", ["c"], [], "not for it"]));
            other.call(json!(["to", ["a"], [id], "not for it"]));
            everyone.clone().to("a").volatile().emit("volatile", ());
            other.call(json!(["to", [], [], 4]));
            other.call(json!(["to", ["b"], [], 5]));
            // To other shards, too.
            client = Io::open(server.address, WAYS[round % 2]);
            let (again, missed) = come_back(&mut client, "/", &claim);
            assert_eq!((&again.sid, again.pid.is_some()), (&id, true), "{shards} {way:?} {round}");
            connected = again;
            let got: Vec<u64> = events(&mut client, missed, 5).iter().filter_map(|event| event[1].as_u64()).collect();
            assert_eq!(got, [1, 2, 3, 4, 5], "in the order of emission");
            assert_eq!(client.call(json!(["recovered"])), json!([true, {"name": "ada"}]));
            assert_eq!(client.call(json!(["rooms"])), json!([["a", "b"]]));
        }
        other.call(json!(["to", ["b"], [], "still here"]));
        assert_eq!(client.event(), json!(["said", "still here"]));
    }
}

#[test]
fn a_line_that_still_stands_is_taken_over() {
    for shards in [1, 3] {
        let (told, reasons) = channel();
        let io = SocketIo::new()
            .namespace("/", |namespace| {
                commands(namespace).on_disconnect(move |socket: Socket, reason: Reason| {
                    told.send((socket.id().to_owned(), reason)).expect("told");
                })
            })
            .recovery(LONG);
        let server = serve_io(shards, io);
        let (mut client, mut connected) = Io::connected(server.address, Way::WebSocket);
        client.call(json!(["join", "a"]));
        let (mut other, _) = Io::connected(server.address, Way::WebSocket);
        for n in 0..8 {
            let mut second = Io::open(server.address, WAYS[n % 2]);
            let (again, missed) = come_back(&mut second, "/", &claim(&connected, &client));
            assert_eq!(again.sid, connected.sid);
            assert_eq!(next(&reasons), (connected.sid.clone(), Reason::Replaced));
            client.expect_end();
            other.call(json!(["to", ["a"], [], n]));
            let heard = events(&mut second, missed, 1);
            assert_eq!(heard, [json!(["said", n])]);
            (client, connected) = (second, again);
        }
        // Only one is there.
        assert_eq!(client.call(json!(["rooms"])), json!([["a"]]));
    }
}

#[test]
fn who_comes_back_is_not_judged_again_and_who_cannot_is_new() {
    let judged = Arc::new(AtomicUsize::new(0));
    let counted = judged.clone();
    let io = SocketIo::new()
        .namespace("/", move |namespace| {
            commands(namespace).middleware(move |_: Socket| {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok(()) }
            })
        })
        .recovery_events(10)
        .recovery(LONG);
    let everyone = io.of("/");
    let server = serve_io(3, io);
    let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
    client.call(json!(["join", "a"]));
    everyone.clone().to("a").emit("first", ());
    client.event();
    let seen = claim(&connected, &client);
    client.cut();
    let mut client = Io::open(server.address, Way::WebSocket);
    let (again, _) = come_back(&mut client, "/", &seen);
    assert_eq!((again.sid == connected.sid, judged.load(Ordering::Relaxed)), (true, 1));
    // What nobody gave, or what is of no use.
    let (_, key) = connected.pid.as_deref().unwrap().split_once('.').expect("an id and a secret");
    for (n, wrong) in [
        json!({"pid": "nonsense"}),
        json!({"pid": format!("{}.{}", connected.sid, "0".repeat(key.len())), "offset": "-"}),
        json!({"pid": format!("AAAAAAAAAAAAAAAA.{key}"), "offset": "-"}),
        json!({"pid": 7}),
        json!({"pid": connected.pid, "offset": "nonsense"}),
    ]
    .iter()
    .enumerate()
    {
        let mut stranger = Io::open(server.address, Way::WebSocket);
        let (new, missed) = come_back(&mut stranger, "/", wrong);
        assert_ne!(new.sid, connected.sid, "{wrong}");
        assert_eq!((missed.len(), judged.load(Ordering::Relaxed)), (0, n + 2), "{wrong}");
        assert_eq!(stranger.call(json!(["recovered"])), json!([false, null]));
        assert_eq!(stranger.call(json!(["rooms"])), json!([[]]));
    }
}

/// Pages of each of them, and what is emitted while it comes back.
#[test]
fn what_was_missed_in_several_rooms_comes_in_the_order_of_emission() {
    for (shards, way) in [(1, Way::WebSocket), (3, Way::Polling)] {
        let io = io();
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        let (mut client, connected) = Io::connected(server.address, way);
        let rooms = ["a", "b", "c"];
        for room in rooms {
            client.call(json!(["join", room]));
        }
        let claim = claim(&connected, &client);
        client.cut();
        let emit = |n: usize| {
            let text = "x".repeat(n % 7 * 300);
            match n * n % 11 {
                0..3 => everyone.emit("n", (n, text)),
                3 => everyone.clone().to("a").emit("n", (n, text)),
                4 => everyone.clone().to("b").emit("n", (n, text)),
                5..8 => everyone.clone().to(rooms).emit("n", (n, text)),
                8 => everyone.clone().to(&connected.sid).emit("n", (n, text)),
                _ => everyone.clone().to("c").emit("n", (n, text)),
            }
        };
        (0..900).for_each(emit);
        client = Io::open(server.address, WAYS[usize::from(way == Way::WebSocket)]);
        client.recovers = true;
        client.ask_in("/", &claim);
        (900..1000).for_each(emit);
        assert_eq!(client.connected_to("/"), connected);
        for n in 0..1000 {
            assert_eq!(client.event()[1], n);
        }
        client.expect_quiet();
    }
}

#[test]
fn who_has_missed_too_much_is_new() {
    for shards in [1, 3] {
        let io = SocketIo::new().namespace("/", commands).recovery_events(10).recovery(LONG);
        let everyone = io.of("/");
        let server = serve_io(shards, io);
        for (missed, recovers) in [(10, true), (11, false)] {
            let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
            client.call(json!(["join", "a"]));
            everyone.clone().to("a").emit("first", ());
            client.event();
            let seen = claim(&connected, &client);
            client.cut();
            let room = everyone.clone().to("a");
            (0..missed).for_each(|n| room.emit("n", (n,)));
            let mut probe = Io::connected(server.address, Way::WebSocket).0;
            probe.expect_quiet();
            let mut client = Io::open(server.address, Way::WebSocket);
            let (again, got) = come_back(&mut client, "/", &seen);
            assert_eq!(again.sid == connected.sid, recovers, "{missed}");
            if recovers {
                let got = events(&mut client, got, missed);
                assert_eq!(got, (0..missed).map(|n| json!(["n", n])).collect::<Vec<_>>());
            } else {
                assert_eq!((got.len(), client.call(json!(["rooms"]))), (0, json!([[]])));
            }
        }
    }
}

#[test]
fn two_namespaces_of_a_connection_come_back_at_once() {
    for shards in [1, 3] {
        let io = SocketIo::new().namespace("/", commands).namespace("/b", commands).recovery(LONG);
        let (root, of_b) = (io.of("/"), io.of("/b"));
        let server = serve_io(shards, io);
        for round in 0..5 {
            let mut client = Io::open(server.address, Way::WebSocket);
            let first = client.connect("/", &Value::Null);
            let second = client.connect("/b", &Value::Null);
            client.call(json!(["join", "a"]));
            client.call_in("/b", json!(["join", "a"]));
            root.clone().to("a").emit("root", (0,));
            client.event();
            let root_claim = claim(&first, &client);
            of_b.clone().to("a").emit("b", (0,));
            client.event_in("/b");
            let b_claim = claim(&second, &client);
            client.cut();
            root.clone().to("a").emit("root", (1,));
            of_b.clone().to("a").emit("b", (1,));
            let mut client = Io::open(server.address, WAYS[round % 2]);
            client.recovers = true;
            client.say_many([format!("0{root_claim}"), format!("0/b,{b_claim}")]);
            let mut got = Vec::new();
            while got.len() < 4 {
                let packet = client.next().expect("a packet");
                let what = if packet.kind == CONNECT { packet.data["sid"].clone() } else { packet.data[1].clone() };
                got.push((packet.namespace, what));
            }
            got.sort_by_key(|(namespace, what)| (namespace.clone(), what.to_string()));
            let mut expected = vec![
                ("/".to_owned(), json!(first.sid)),
                ("/".to_owned(), json!(1)),
                ("/b".to_owned(), json!(second.sid)),
                ("/b".to_owned(), json!(1)),
            ];
            expected.sort_by_key(|(namespace, what)| (namespace.clone(), what.to_string()));
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn who_has_left_or_was_put_out_does_not_come_back() {
    let server = serve_io(2, io());
    for end in ["1", "2[\"put me out\"]"] {
        let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
        client.say(end);
        if end != "1" {
            client.next().expect("a packet");
        }
        let mut again = Io::open(server.address, Way::WebSocket);
        let (new, _) = come_back(&mut again, "/", &claim(&connected, &client));
        assert_ne!(new.sid, connected.sid);
    }
}

#[test]
fn nothing_is_left_when_the_time_is_over() {
    for way in WAYS {
        let io = SocketIo::new().namespace("/", commands).namespace("/b", commands).recovery(Duration::from_millis(150));
        let everyone = io.of("/");
        let server = serve_io(3, io);
        let mut last = None;
        for _ in 0..6 {
            let (mut client, connected) = Io::connected(server.address, way);
            client.connect("/b", &Value::Null);
            client.call(json!(["join", "a"]));
            last = Some(claim(&connected, &client));
            client.cut();
        }
        eventually("no session is kept", || sessions(&server) == 0);
        server.expect_empty();
        assert!(crate::support::within_bound(everyone.fetch_sockets()).expect("sockets").is_empty());
        let mut late = Io::open(server.address, Way::WebSocket);
        let (new, _) = come_back(&mut late, "/", last.as_ref().unwrap());
        assert!(!last.unwrap()["pid"].as_str().unwrap().starts_with(&new.sid));
    }
}
