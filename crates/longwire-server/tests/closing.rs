//! The closing handshake, from both sides, and lines that end without one (RFC 6455, 7).

use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::{CloseCode, Closed, End, EndedBy, Line, LineHandler, MessageKind, Received, Socket};
use longwire_ws::Opcode;

use crate::support::{Client, Hold, NEVER, commands, commands_line, frame_of, handshake, next, recorder, serve};

const PATHS: [&str; 2] = ["/task", "/calls"];

fn both(builder: longwire_server::ServerBuilder) -> longwire_server::ServerBuilder {
    builder.websocket("/task", commands).line_handler("/calls", commands_line)
}

/// A handler that says how its line ended.
fn teller(ends: std::sync::mpsc::Sender<End>) -> impl Fn(Socket) -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send + Sync {
    move |mut socket| {
        let ends = ends.clone();
        Box::pin(async move {
            while let Some(message) = socket.recv().await {
                let _ = socket.send(message).await;
            }
            let _ = ends.send(socket.end().expect("an end"));
        })
    }
}

#[test]
fn the_server_closes_with_a_code_and_reason_and_waits_for_the_answer() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            client.send_text("close 4000 enough of it");
            assert_eq!(client.expect_close(4000), "enough of it");
            // What still comes before the client's close frame is read and thrown away.
            client.send_text("late");
            client.send_close(4000, "");
            client.expect_end();
        }
        server.expect_empty();
    }
}

#[test]
fn a_long_reason_is_cut_and_not_refused() {
    let server = serve(1, both);
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        client.send_text(&format!("close 4000 {}", "线".repeat(100)));
        assert_eq!(client.expect_close(4000), "线".repeat(41));
    }
}

#[test]
fn both_may_close_at_once() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            // The client's close frame is there when the server decides to close.
            let close = frame_of(Opcode::Close, &4999u16.to_be_bytes());
            client.send_raw(&[frame_of(Opcode::Text, b"close 4000 mine"), close].concat());
            let payload = client.expect(Opcode::Close);
            // A task decides after the client's close has come, so the client was first.
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            assert_eq!(code, if path == "/task" { 4999 } else { 4000 });
            client.expect_end();
        }
        server.expect_empty();
    }
}

#[test]
fn a_handler_that_returns_closes_normally() {
    async fn greet(socket: Socket) -> Result<(), Closed> {
        socket.send("one").await?;
        socket.send("two").await
    }
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.websocket("/ws", greet));
        let mut client = Client::open(server.address, "/ws");
        client.expect_text("one");
        client.expect_text("two");
        client.expect_close(1000);
        client.send_close(1000, "");
        client.expect_end();
        server.expect_empty();
    }
}

#[test]
fn a_handler_that_panics_closes_its_line_with_1011_and_no_other() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut neighbours: Vec<Client> = PATHS.iter().cycle().take(4).map(|path| Client::open(server.address, path)).collect();
        for path in PATHS.iter().cycle().take(4) {
            let mut client = Client::open(server.address, path);
            client.send_text("panic");
            client.expect_close(1011);
            client.send_close(1011, "");
            client.expect_end();
        }
        for neighbour in &mut neighbours {
            neighbour.send_text("still here");
            neighbour.expect_text("still here");
        }
        drop(neighbours);
        server.expect_empty();
    }
}

#[test]
fn what_a_handler_says_before_it_panics_is_sent() {
    let server = serve(1, both);
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        client.send_raw(&[frame_of(Opcode::Text, b"before"), frame_of(Opcode::Text, b"panic")].concat());
        client.expect_text("before");
        client.expect_close(1011);
    }
}

#[test]
fn a_client_that_never_answers_a_close_is_dropped_after_the_close_timeout() {
    for shards in [1, 2] {
        let server =
            serve(shards, |builder| both(builder).configure(|config| config.close_timeout = Duration::from_millis(150)));
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            client.send_text("close 4000");
            client.expect_close(4000);
            client.expect_gone();
        }
        server.expect_empty();
    }
}

#[test]
fn a_handler_is_told_how_its_line_ended() {
    for shards in [1, 2] {
        let (ended, ends) = channel();
        let server =
            serve(shards, |builder| builder.websocket("/task", teller(ended.clone())).line_handler("/calls", recorder(ended)));
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            client.send_close(4001, "bye");
            client.expect_close(4001);
            let by_client = End { code: CloseCode::new(4001), reason: "bye".into(), by: EndedBy::Client };
            assert_eq!(next(&ends), by_client);

            let mut client = Client::open(server.address, path);
            client.send_raw(&[0x81, 0x00]);
            let end = next(&ends);
            assert_eq!((end.code, end.by), (Some(CloseCode::PROTOCOL_ERROR), EndedBy::Server));
            assert!(!end.reason.is_empty());

            // In the middle of a frame, and of a header; in order, and by a reset.
            for bytes in [&frame_of(Opcode::Text, &[b'x'; 1000])[..500], &[0x81][..], &[]] {
                let mut client = Client::open(server.address, path);
                client.send_raw(bytes);
                drop(client);
                let end = next(&ends);
                assert_eq!((end.code, end.by), (None, EndedBy::Cut), "{}", end.reason);

                let mut client = Client::open(server.address, path);
                client.send_raw(bytes);
                client.reset();
                let end = next(&ends);
                assert_eq!((end.code, end.by), (None, EndedBy::Cut), "{}", end.reason);
            }
        }
        server.expect_empty();
        assert!(ends.try_recv().is_err(), "each line ends once");
    }
}

#[test]
fn a_client_that_ends_its_direction_without_a_close_frame_is_cut() {
    let (ended, ends) = channel();
    let server = serve(1, |builder| builder.line_handler("/calls", recorder(ended)));
    let mut client = Client::open(server.address, "/calls");
    client.end_sending();
    assert_eq!(next(&ends).by, EndedBy::Cut);
    client.expect_gone();
}

/// A client that has said all may end its direction at once. It can still read.
#[test]
fn a_client_that_ends_its_direction_behind_its_last_frame_gets_all_answers() {
    let last_frames = [(frame_of(Opcode::Close, &4001u16.to_be_bytes()), 4001), (vec![0x81, 0x01, b'x'], 1002)];
    for path in PATHS {
        for (last, code) in &last_frames {
            let gate = crate::support::Gate::default();
            let server = serve(1, |builder| {
                both(builder)
                    .line_handler("/block", crate::support::blocker(&gate))
                    .configure(|config| config.close_timeout = NEVER)
            });
            let mut blocker = Client::open(server.address, "/block");
            let mut client = Client::open(server.address, path);
            blocker.send_text("hold");
            gate.wait_entered(1);
            // Everything is there before any of it is read.
            client.send_text("a question");
            client.send_raw(last);
            client.end_sending();
            gate.open();
            client.expect_text("a question");
            client.expect_close(*code);
            client.expect_end();
            // The client's end has come before: nothing more is waited for.
            drop(blocker);
            server.expect_empty();
        }
    }
}

#[test]
fn a_handler_may_close_its_line_as_soon_as_it_is_open() {
    struct Doorman;
    impl LineHandler for Doorman {
        fn opened(&mut self, line: &mut Line<'_>) {
            line.send(MessageKind::Text, b"sorry");
            line.close(CloseCode::POLICY_VIOLATION, "closed society");
            // Only the first counts.
            line.close(CloseCode::NORMAL, "");
        }

        fn message(&mut self, _: &mut Line<'_>, _: Received<'_>) {
            unreachable!("nobody is inside");
        }
    }
    let server = serve(1, |builder| builder.line_handler("/ws", |_| Doorman));
    let mut client = Client::tcp(server.address);
    // Even if the client is in a hurry.
    client.send_raw(&[handshake("/ws", "").as_bytes(), &frame_of(Opcode::Text, b"let me in")].concat());
    client.upgraded();
    client.expect_text("sorry");
    assert_eq!(client.expect_close(1008), "closed society");
    client.send_close(1008, "");
    client.expect_end();
    server.expect_empty();
}

/// The end of the connection is reported with the last of its bytes; more of them than one read takes must not hide it.
#[test]
fn a_client_that_is_gone_is_noticed_behind_a_lot_of_data() {
    for size in [0, 60_000, 65_536 - 14, 100_000, 200_000, 900_000] {
        let (ended, ends) = channel();
        let gate = crate::support::Gate::default();
        let server = serve(1, |builder| {
            builder.line_handler("/calls", recorder(ended)).line_handler("/block", crate::support::blocker(&gate))
        });
        let mut blocker = Client::open(server.address, "/block");
        let mut client = Client::open(server.address, "/calls");
        blocker.send_text("hold");
        gate.wait_entered(1);
        // All of it, and the end, comes while the shard is held: one event.
        client.send(Opcode::Binary, &vec![0; size]);
        client.end_sending();
        gate.open();
        assert_eq!(next(&ends).by, EndedBy::Cut, "{size} bytes");
    }
}

#[test]
fn a_close_goes_out_in_time_although_the_handler_does_not_listen() {
    let hold = Hold::new();
    let server = serve(1, |builder| {
        let hold = hold.clone();
        builder
            .websocket("/ws", move |socket: Socket| {
                let hold = hold.clone();
                async move {
                    hold.wait().await;
                    drop(socket);
                }
            })
            .configure(|config| config.close_timeout = Duration::from_millis(150))
    });
    let mut client = Client::open(server.address, "/ws");
    client.send_close(4000, "");
    // The handler never takes note; the close frame goes without it.
    client.expect_close(4000);
    client.expect_end();
    server.expect_empty();
    hold.release();
}

/// The close frame waits for a handler that does not listen, then for a client that does not read: each for one close time-out.
#[test]
fn a_closing_client_that_does_not_read_is_dropped_although_the_handler_does_not_listen() {
    let hold = Hold::new();
    let server = serve(1, |builder| {
        let hold = hold.clone();
        builder
            .websocket("/ws", move |socket: Socket| {
                let hold = hold.clone();
                async move {
                    let _ = socket.send(vec![0; 16 << 20]).await;
                    hold.wait().await;
                }
            })
            .configure(|config| {
                config.close_timeout = Duration::from_millis(150);
                // So that the client is still read from.
                config.outbox_bytes = 64 << 20;
            })
    });
    let mut client = Client::open_narrow(server.address, "/ws");
    client.send_close(4000, "");
    server.expect_empty();
    hold.release();
}

#[test]
fn a_line_that_is_closed_takes_no_more_and_says_so() {
    let (told, results) = channel();
    let server = serve(1, |builder| {
        builder.websocket("/ws", move |socket: Socket| {
            let told = told.clone();
            async move {
                let sender = socket.sender();
                socket.close(CloseCode::NORMAL, "");
                let _ = told.send((
                    sender.send("late").await,
                    sender.ping(b"late"),
                    sender.subscribe("late").map(|_| ()),
                    sender.unsubscribe("late"),
                ));
            }
        })
    });
    let mut client = Client::open(server.address, "/ws");
    assert_eq!(next(&results), (Err(Closed), Err(Closed), Err(Closed), Err(Closed)));
    client.expect_close(1000);
    client.send_close(1000, "");
    client.expect_end();
}
