//! Clients that announce too much, read too little, or ask too often: they harm nobody but themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use longwire_server::{CloseCode, Closed, ClosingReply, End, EndedBy, Line, LineHandler, MessageKind, Socket, codes};
use longwire_ws::Opcode;

use crate::support::{Client, EchoLine, child, commands_line, echo, eventually, frame_of, next, rss, serve};

/// The header of a masked binary frame that announces `len` bytes.
fn announcement(len: u64) -> Vec<u8> {
    [&[0x82, 0xFF][..], &len.to_be_bytes(), &[1, 2, 3, 4]].concat()
}

#[test]
fn ten_gigabytes_announced_are_refused_and_take_no_memory() {
    child("slow_readers::ten_gigabytes_announced_are_refused_and_take_no_memory", || {
        let server = serve(1, |builder| builder.websocket("/ws", echo));
        let mut clients: Vec<Client> = (0..100).map(|_| Client::open(server.address, "/ws")).collect();
        let before = rss();
        for client in &mut clients {
            client.send_raw(&announcement(10 << 30));
            client.send_raw(&[0; 1000]);
            client.expect_close(1009);
        }
        let grown = rss().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes");
    });
}

#[test]
fn what_is_announced_within_the_limit_takes_memory_only_as_it_comes() {
    child("slow_readers::what_is_announced_within_the_limit_takes_memory_only_as_it_comes", || {
        let server = serve(1, |builder| {
            builder.websocket("/ws", echo).configure(|config| {
                config.limits.max_frame_bytes = 1 << 30;
                config.limits.max_message_bytes = 1 << 30;
            })
        });
        let mut clients: Vec<Client> = (0..100).map(|_| Client::open(server.address, "/ws")).collect();
        let before = rss();
        for client in &mut clients {
            client.send_raw(&announcement(1 << 30));
            client.send_raw(&[0; 1000]);
        }
        // Once a later line is answered, all before it have been read.
        let mut last = Client::open(server.address, "/ws");
        last.send_text("read");
        last.expect_text("read");
        let grown = rss().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes");
    });
}

/// Subscribes at once, and says how the line ended.
struct Listener(Sender<End>);

impl LineHandler for Listener {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.subscribe("news");
        line.send(MessageKind::Text, b"subscribed");
    }

    fn closed(&mut self, end: &End) -> ClosingReply {
        let _ = self.0.send(end.clone());
        ClosingReply::Now
    }
}

#[test]
fn a_subscriber_that_never_reads_is_closed_at_the_outbox_bound_and_its_neighbours_miss_nothing() {
    for shards in [1, 2] {
        let (ended, ends) = channel();
        let server = serve(shards, |builder| {
            builder.line_handler("/news", move |_| Listener(ended.clone())).configure(|config| config.outbox_bytes = 64 << 10)
        });
        let mut neighbours: Vec<Client> = (0..3).map(|_| Client::open(server.address, "/news")).collect();
        let mut slow = Client::open_narrow(server.address, "/news");
        for client in neighbours.iter_mut().chain([&mut slow]) {
            client.expect_text("subscribed");
        }
        // In step with the neighbours, until the slow one's outbox and the kernel's buffers are full.
        let mut published = 0usize;
        let end = loop {
            let text = format!("{published:08} {}", "x".repeat(16 << 10));
            server.node().publish("news", text.as_str()).unwrap();
            for neighbour in &mut neighbours {
                neighbour.expect_text(&text);
            }
            published += 1;
            if let Ok(end) = ends.try_recv() {
                break end;
            }
            assert!(published < 4000, "64 MB wait for a client that does not read");
        };
        assert_eq!((end.code, end.by), (Some(codes::SLOW_READER), EndedBy::Server));
        for neighbour in &mut neighbours {
            neighbour.send(Opcode::Ping, b"alive");
            assert_eq!(neighbour.expect(Opcode::Pong), b"alive");
        }
        // What the slow one reads in the end: all from the first on, without a gap, and then why there is no more.
        let mut read = 0;
        let last = loop {
            let frame = slow.recv().expect("a frame");
            match frame.opcode {
                Opcode::Text => assert_eq!(&frame.payload[..8], format!("{read:08}").as_bytes()),
                _ => break frame,
            }
            read += 1;
        };
        assert_eq!((last.opcode, &last.payload[..2]), (Opcode::Close, &3002u16.to_be_bytes()[..]));
        assert!(read > 0 && read < published, "{read} of {published}");
        slow.send_close(3002, "");
        slow.expect_end();
    }
}

#[test]
fn an_async_handler_waits_for_a_client_that_does_not_read_until_the_write_timeout() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (told, ends) = channel();
    let server = serve(1, |builder| {
        let sent = sent.clone();
        builder
            .websocket("/ws", move |mut socket: Socket| {
                let (sent, told) = (sent.clone(), told.clone());
                async move {
                    while socket.send(vec![7; 1 << 20]).await.is_ok() {
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                    while socket.recv().await.is_some() {}
                    let _ = told.send(socket.end().expect("an end"));
                }
            })
            .configure(|config| config.write_timeout = Duration::from_millis(250))
    });
    let _client = Client::open_narrow(server.address, "/ws");
    let end = next(&ends);
    assert_eq!((end.code, end.by), (Some(codes::WRITE_TIMEOUT), EndedBy::Server));
    // What the kernel takes, and one outbox.
    assert!(sent.load(Ordering::SeqCst) < 16, "{sent:?} MiB were taken");
    server.expect_empty();
}

#[test]
fn an_async_handler_that_waits_goes_on_when_the_client_reads_again() {
    async fn pour(socket: Socket) -> Result<(), Closed> {
        for n in 0..200u32 {
            let mut message = vec![0; 100_000];
            message[..4].copy_from_slice(&n.to_be_bytes());
            socket.send(message).await?;
        }
        Ok(())
    }
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.websocket("/ws", pour).configure(|config| config.outbox_bytes = 150_000));
        let mut client = Client::open_narrow(server.address, "/ws");
        for n in 0..200u32 {
            assert_eq!(client.expect(Opcode::Binary)[..4], n.to_be_bytes());
        }
        client.expect_close(1000);
    }
}

/// Sends numbers until there is no room, and goes on when there is.
struct Pourer {
    next: u32,
}

impl Pourer {
    const COUNT: u32 = 2000;

    fn pour(&mut self, line: &mut Line<'_>) {
        while self.next < Self::COUNT {
            let mut message = vec![0; 10_000];
            message[..4].copy_from_slice(&self.next.to_be_bytes());
            if !line.try_send(MessageKind::Binary, &message) {
                return;
            }
            self.next += 1;
        }
        line.close(CloseCode::NORMAL, "");
    }
}

impl LineHandler for Pourer {
    fn opened(&mut self, line: &mut Line<'_>) {
        self.pour(line);
    }

    fn drained(&mut self, line: &mut Line<'_>) {
        self.pour(line);
    }
}

#[test]
fn a_line_handler_is_told_when_there_is_room_again() {
    let server = serve(1, |builder| {
        builder.line_handler("/calls", |_| Pourer { next: 0 }).configure(|config| config.outbox_bytes = 64 << 10)
    });
    let mut client = Client::open_narrow(server.address, "/calls");
    for n in 0..Pourer::COUNT {
        assert_eq!(client.expect(Opcode::Binary)[..4], n.to_be_bytes());
    }
    client.expect_close(1000);
}

/// Whatever it asks for: pings, or messages that a handler answers.
#[test]
fn a_client_that_asks_without_reading_the_answers_is_not_read_from_and_dropped_in_the_end() {
    for (path, opcode) in [("/calls", Opcode::Ping), ("/calls", Opcode::Text), ("/task", Opcode::Text)] {
        let server = serve(1, |builder| {
            builder.line_handler("/calls", |_| EchoLine).websocket("/task", echo).configure(|config| {
                config.outbox_bytes = 64 << 10;
                config.write_timeout = Duration::from_millis(400);
            })
        });
        let mut neighbour = Client::open(server.address, "/task");
        let mut client = Client::open(server.address, path);
        let flood = frame_of(opcode, &[b'x'; 125]).repeat(1000);
        let mut sent = 0;
        loop {
            let taken = client.send_until_stuck(&flood, Duration::from_millis(150));
            sent += taken;
            if taken < flood.len() {
                break;
            }
            assert!(sent < 64 << 20, "64 MB of questions are answered into nowhere");
        }
        neighbour.send_text("still here");
        neighbour.expect_text("still here");
        eventually("the flooder is gone", || server.node().connections() == 1);
    }
}

#[test]
fn a_client_that_reads_late_gets_an_answer_to_everything() {
    for path in ["/calls", "/task"] {
        let server = serve(1, |builder| {
            builder
                .line_handler("/calls", |_| EchoLine)
                .websocket("/task", echo)
                .configure(|config| config.outbox_bytes = 64 << 10)
        });
        let mut client = Client::open(server.address, path);
        let questions: Vec<u8> =
            (0..8000u32).flat_map(|n| frame_of(Opcode::Binary, &[n.to_be_bytes(); 1000].concat())).collect();
        let sent = client.send_until_stuck(&questions, Duration::from_millis(200));
        assert!(sent < questions.len() / 2, "{sent} bytes of answers wait for a client that does not read");
        let rest = client.send_in_background(questions[sent..].to_vec());
        for n in 0..8000u32 {
            let answer = client.expect(Opcode::Binary);
            assert_eq!((&answer[..4], answer.len()), (&n.to_be_bytes()[..], 4000));
        }
        rest.join().unwrap();
        client.close();
    }
}

#[test]
fn a_client_that_reads_what_it_pings_for_may_ping_as_much_as_it_likes() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).configure(|config| config.outbox_bytes = 64 << 10));
    let mut client = Client::open(server.address, "/ws");
    for round in 0..100u8 {
        client.send_raw(&frame_of(Opcode::Ping, &[round; 100]).repeat(100));
        for _ in 0..100 {
            assert_eq!(client.expect(Opcode::Pong), [round; 100]);
        }
    }
    client.close();
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_disturbs_nobody() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).line_handler("/calls", commands_line));
    let mut slow = Client::open(server.address, "/ws");
    let mut neighbour = Client::open(server.address, "/calls");
    let message = frame_of(Opcode::Text, b"slowly but surely");
    for byte in message {
        slow.send_raw(&[byte]);
        for n in 0..20 {
            neighbour.send_text(&n.to_string());
            neighbour.expect_text(&n.to_string());
        }
    }
    slow.expect_text("slowly but surely");
}
