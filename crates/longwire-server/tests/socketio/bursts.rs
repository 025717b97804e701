//! Much at a time: handlers that emit more than a client takes in a moment, and clients that take nothing.

use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::socketio::{Ack, EmitError, Reason, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{Io, WAYS, Way};
use super::{commands, serve_also, serve_io};
use crate::support::next;

/// Of an event of those that fill an outbox.
const SIZE: usize = 64 << 10;
const LONG: Duration = Duration::from_secs(60);

/// Emits as many events as it is told, of so many bytes.
fn io(recovers: bool) -> SocketIo {
    let io = SocketIo::new().namespace("/", |namespace| {
        commands(namespace)
            .on("flood", |socket: Socket, (n, size): (u64, usize), ack: Ack| {
                let text = "x".repeat(size);
                (0..n).for_each(|n| socket.emit("n", (n, &text)));
                ack.send((n,));
            })
            .on("flood a", |socket: Socket, (n, size): (u64, usize), ack: Ack| {
                let text = "x".repeat(size);
                let room = socket.io().to("a");
                (0..n).for_each(|n| room.emit("n", (n, &text)));
                ack.send((n,));
            })
    });
    if recovers { io.recovery(LONG) } else { io }
}

#[test]
fn a_client_that_reads_gets_all_that_a_handler_emits_at_once() {
    for (recovers, shards, way) in [(false, 1, Way::WebSocket), (false, 2, Way::Polling), (true, 2, Way::WebSocket)] {
        // So that the kernel does not take it all.
        let server = serve_also(shards, io(recovers), |builder| builder.configure(|config| config.outbox_bytes = 64 << 10));
        let (mut client, _) = match way {
            Way::WebSocket => Io::connected_narrow(server.address),
            Way::Polling => Io::connected(server.address, way),
        };
        client.call(json!(["join", "a"]));
        for flood in ["flood", "flood a"] {
            for (n, size) in [(100, 100), (900, 1000), (4, 200_000), (20_000, 1), (1, 900_000)] {
                let id = client.emit_for_ack("/", json!([flood, n, size]));
                for expected in 0..n {
                    let event = client.next().map(|packet| packet.data);
                    let event = event.unwrap_or_else(|| panic!("{expected}: {recovers} {way:?} {flood} {n} {size}"));
                    assert_eq!((&event[1], event[2].as_str().map(str::len)), (&json!(expected), Some(size)));
                }
                assert_eq!(client.next().expect("an ack").id, Some(id), "{recovers} {way:?} {flood} {n} {size}");
            }
        }
    }
}

#[test]
fn what_is_emitted_beyond_the_bound_is_refused_to_the_handler() {
    for way in WAYS {
        let (told, reasons) = channel();
        let (filled, fills) = channel();
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace)
                .on("fill", move |socket: Socket, (): ()| {
                    let text = "x".repeat(SIZE);
                    let mut taken = 0;
                    let refused = loop {
                        match socket.try_emit("n", (taken, &text)) {
                            Ok(()) => taken += 1,
                            Err(error) => break error,
                        }
                    };
                    filled.send((taken, refused)).expect("told");
                })
                .on_disconnect(move |_: Socket, reason: Reason| told.send(reason).expect("told"))
        });
        let server = serve_also(1, io, |builder| builder.configure(|config| config.outbox_bytes = 256 << 10));
        let (mut client, _) = match way {
            Way::WebSocket => Io::connected_narrow(server.address),
            Way::Polling => Io::connected(server.address, way),
        };
        client.emit("/", json!(["fill"]));
        // It reads nothing meanwhile: sixteen times the bound, and what the kernel took.
        let (taken, refused) = next(&fills);
        assert_eq!(refused, EmitError::Full);
        assert!((60..240).contains(&taken), "{taken} events of 64 KiB were taken");
        (0..taken).for_each(|n| assert_eq!(client.event()[1], n));
        let _: Value = client.call(json!(["rooms"]));
        // Who takes nothing is slow after a while.
        client.emit("/", json!(["fill"]));
        assert_eq!(next(&fills).1, EmitError::Full);
        assert_eq!(next(&reasons), Reason::TransportClosed);
    }
}

#[test]
fn a_page_of_what_was_missed_fits_whatever_the_bound() {
    for (shards, way) in [(1, Way::WebSocket), (2, Way::Polling)] {
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace).on_connect(|socket: Socket| {
                socket.emit("welcome", (socket.recovered(),));
                socket.io().to("a").emit("is here", ());
            })
        });
        let io = io.recovery(LONG);
        let room = io.of("/").to("a");
        let server = serve_also(shards, io, |builder| builder.configure(|config| config.outbox_bytes = 1));
        let (mut client, connected) = Io::connected(server.address, way);
        assert_eq!(client.event(), json!(["welcome", false]));
        client.call(json!(["join", "a"]));
        let claim = json!({"pid": connected.pid, "offset": client.offset});
        client.cut();
        // More than one page.
        let text = "x".repeat(10 << 10);
        (0..80).for_each(|n| room.emit("n", (n, &text)));
        let mut client = match way {
            Way::WebSocket => Io::open_narrow(server.address),
            Way::Polling => Io::open(server.address, way),
        };
        assert_eq!(client.connect("/", &claim), connected);
        let mut all: Vec<Value> = (0..82).map(|_| client.event()).collect();
        all.retain(|event| event[0] != "welcome");
        assert_eq!(all.len(), 81);
        assert_eq!(all[80], json!(["is here"]));
        (0..80).for_each(|n| assert_eq!(all[n][1], n));
    }
}

#[test]
fn volatile_broadcasts_are_not_kept_for_those_who_read_slowly() {
    for (recovers, shards) in [(false, 1), (true, 2)] {
        let io = io(recovers);
        let everyone = io.of("/");
        let server = serve_also(shards, io, |builder| builder.configure(|config| config.outbox_bytes = 64 << 10));
        let (mut slow, _) = Io::connected_narrow(server.address);
        let (mut fast, _) = Io::connected(server.address, Way::WebSocket);
        let text = "x".repeat(16 << 10);
        for n in 0..1000 {
            everyone.clone().volatile().emit("n", (n, &text));
            assert_eq!(fast.event()[1], n);
        }
        everyone.emit("last", ());
        let mut heard = 0;
        let mut before = -1;
        loop {
            let event = slow.event();
            if event[0] == "last" {
                break;
            }
            let n = event[1].as_i64().expect("a number");
            assert!(n > before);
            (heard, before) = (heard + 1, n);
        }
        assert!(heard < 1000, "it has heard all of 16 MB");
        assert_eq!(slow.call(json!(["rooms"])), json!([[]]), "and is there");
    }
}

/// One after the other, with others that are not volatile between them.
#[test]
fn volatile_and_other_events_stay_in_order() {
    for shards in [1, 2] {
        let io = SocketIo::new().namespace("/", |namespace| {
            commands(namespace).on("mix", |socket: Socket, (n,): (u64,), ack: Ack| {
                for n in 0..n {
                    match n % 3 {
                        0 => socket.io().to("a").volatile().emit("n", (n,)),
                        1 => socket.io().to("a").emit("n", (n,)),
                        _ => socket.emit_volatile("n", (n,)),
                    }
                }
                ack.send(());
            })
        });
        let server = serve_io(shards, io);
        let (mut client, _) = Io::connected(server.address, Way::WebSocket);
        client.call(json!(["join", "a"]));
        client.emit("/", json!(["mix", 300]));
        for n in 0..300 {
            assert_eq!(client.event(), json!(["n", n]));
        }
        let _: Value = client.call(json!(["rooms"]));
    }
}
