//! A handler that does not receive: its client is not read from, and nothing is lost.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use longwire_server::{Closed, DeflateConfig, EndedBy, Message, ServerBuilder, Socket};
use longwire_ws::{MessageKind, Opcode, deflate::SharedDeflater, frame};

use crate::support::{Client, Hold, child, deflate_of, frame_of, next, rss, serve};

/// Receives nothing before `hold` is released; then checks that messages are numbered, and says how many there were.
fn counting(builder: ServerBuilder, hold: &Hold) -> ServerBuilder {
    let hold = hold.clone();
    builder.websocket("/count", move |mut socket: Socket| {
        let hold = hold.clone();
        async move {
            hold.wait().await;
            let mut count = 0u32;
            while let Some(message) = socket.recv().await {
                if message.as_text() == Some("done") {
                    socket.send(count.to_string()).await?;
                } else {
                    let number = message.as_bytes().first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                    assert!(number.is_none_or(|number| number == count), "{number:?} instead of {count}");
                    count += 1;
                }
            }
            Ok::<_, Closed>(())
        }
    })
}

fn numbered(count: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..count {
        let mut message = vec![0; len];
        message[..4].copy_from_slice(&n.to_be_bytes());
        bytes.extend(frame_of(Opcode::Binary, &message));
    }
    bytes
}

#[test]
fn the_client_is_stopped_and_resumed_and_nothing_is_lost() {
    for shards in [1, 2] {
        let hold = Hold::new();
        let server = serve(shards, |builder| counting(builder, &hold));
        let mut client = Client::open(server.address, "/count");
        let bytes = numbered(16_000, 1000);
        let sent = client.send_until_stuck(&bytes, Duration::from_millis(300));
        assert!(sent < bytes.len() / 2, "{sent} bytes were taken for a handler that does not receive");
        hold.release();
        client.send_raw(&bytes[sent..]);
        client.send_text("done");
        client.expect_text("16000");
        client.close();
    }
}

#[test]
fn messages_of_no_length_count_too() {
    let hold = Hold::new();
    let server = serve(1, |builder| counting(builder, &hold));
    let mut client = Client::open_narrow(server.address, "/count");
    let bytes = frame_of(Opcode::Binary, b"").repeat(500_000);
    let sent = client.send_until_stuck(&bytes, Duration::from_millis(300));
    assert!(sent < bytes.len() / 2, "{} empty messages were taken for a handler that does not receive", sent / 6);
    hold.release();
    client.send_raw(&bytes[sent..]);
    client.send_text("done");
    client.expect_text("500000");
    client.close();
}

/// A few kilobytes can hold many megabytes: they must not all be inflated while nobody receives them.
#[test]
fn compressed_messages_are_inflated_only_as_the_handler_receives_them() {
    child("backpressure::compressed_messages_are_inflated_only_as_the_handler_receives_them", || {
        const LINES: usize = 20;
        const EACH: usize = 6;
        let hold = Hold::new();
        let server = serve(1, |builder| {
            counting(builder, &hold)
                .websocket("/echo", crate::support::echo)
                .configure(|config| config.deflate = Some(DeflateConfig::default()))
        });
        // Numbers are in the first four bytes, the rest is zeros.
        let mut bytes = Vec::new();
        let mut deflater = SharedDeflater::new(15);
        for n in 0..EACH as u32 {
            let mut message = vec![0; 1 << 20];
            message[..4].copy_from_slice(&n.to_be_bytes());
            bytes.extend(masked(&mut deflater, &message));
        }
        assert!(bytes.len() < 64 << 10, "{} bytes do not come in one piece", bytes.len());
        let mut clients: Vec<Client> = (0..LINES)
            .map(|_| Client::tcp(server.address).upgrade("/count", "Sec-WebSocket-Extensions: permessage-deflate\r\n"))
            .map(|(client, response)| {
                assert!(deflate_of(&response).client_no_context_takeover);
                client
            })
            .collect();
        let before = rss();
        for client in &mut clients {
            client.send_raw(&bytes);
        }
        let mut other = Client::open(server.address, "/echo");
        other.send_text("all of it is read");
        other.expect_text("all of it is read");
        let grown = rss().saturating_sub(before);
        // One message each, and not six.
        assert!(grown < (LINES * 3) << 20, "{grown} bytes for {LINES} inboxes");
        hold.release();
        for mut client in clients {
            client.send_text("done");
            client.expect_text(&EACH.to_string());
            client.close();
        }
    });
}

fn masked(deflater: &mut SharedDeflater, message: &[u8]) -> Vec<u8> {
    let mut unmasked = Vec::new();
    deflater.encode(MessageKind::Binary, message, &mut unmasked);
    let (header, start) = frame::Header::decode(&unmasked).unwrap().unwrap();
    let mut bytes = Vec::new();
    frame::encode_with(frame::Header { mask: Some([1, 2, 3, 4]), ..header }, &unmasked[start..], &mut bytes);
    bytes
}

#[test]
fn a_close_behind_more_than_the_inbox_takes_comes_last() {
    let hold = Hold::new();
    let server = serve(1, |builder| counting(builder, &hold));
    let mut client = Client::open(server.address, "/count");
    client.send_raw(&numbered(300, 1000));
    client.send_text("done");
    client.send_close(4000, "");
    hold.release();
    client.expect_text("300");
    client.expect_close(4000);
    client.expect_end();
}

#[test]
fn a_handler_gets_all_that_came_before_its_client_was_cut() {
    for (count, len) in [(1, 4), (300, 1000), (1000, 1000)] {
        let hold = Hold::new();
        let (told, ends) = channel();
        let server = serve(1, |builder| {
            let hold = hold.clone();
            builder.websocket("/ws", move |mut socket: Socket| {
                let (hold, told) = (hold.clone(), told.clone());
                async move {
                    hold.wait().await;
                    let mut count = 0;
                    while socket.recv().await.is_some() {
                        count += 1;
                    }
                    let _ = told.send((count, socket.end().expect("an end").by));
                }
            })
        });
        let mut client = Client::open(server.address, "/ws");
        // The kernel has it all, and the end, before the handler begins to receive.
        client.send_raw(&numbered(count, len));
        client.end_sending();
        hold.release();
        assert_eq!(next(&ends), (count, EndedBy::Cut));
        client.expect_gone();
    }
}

/// The event that says that the client is gone comes while the line is not read; there is no other.
#[test]
fn a_client_that_is_gone_while_it_is_not_read_from_is_noticed_afterwards() {
    let hold = Hold::new();
    let (told, ends) = channel();
    let server = serve(1, |builder| {
        let hold = hold.clone();
        builder
            .websocket("/echo", crate::support::echo)
            .websocket("/ws", move |mut socket: Socket| {
                let (hold, told) = (hold.clone(), told.clone());
                async move {
                    hold.wait().await;
                    let mut count = 0;
                    while socket.recv().await.is_some() {
                        count += 1;
                    }
                    let _ = told.send((count, socket.end().expect("an end").by));
                }
            })
            .configure(|config| config.inbox_bytes = 10_000)
    });
    let mut other = Client::open(server.address, "/echo");
    let mut look = || {
        // What is answered has been read in this look or a later one than all before it.
        for _ in 0..2 {
            other.send_text("look");
            other.expect_text("look");
        }
    };
    let mut client = Client::open(server.address, "/ws");
    // More than the inbox takes, and then less.
    client.send_raw(&numbered(12, 1000));
    look();
    client.send_raw(&numbered(3, 1000));
    client.end_sending();
    look();
    hold.release();
    assert_eq!(next(&ends), (15, EndedBy::Cut));
}

/// While a line is not read from, its client cannot be heard.
#[test]
fn a_client_is_not_taken_for_dead_while_it_is_not_read_from() {
    let hold = Hold::new();
    let server = serve(1, |builder| {
        counting(builder, &hold).configure(|config| {
            config.ping_interval = Duration::from_millis(60);
            config.ping_timeout = Duration::from_millis(60);
            config.idle_timeout = Some(Duration::from_millis(250));
        })
    });
    let mut client = Client::open(server.address, "/count");
    client.send_raw(&numbered(1000, 1000));
    // Many times the time-outs; the client answers each ping, behind what is not read.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(600) {
        if let Some(frame) = client.recv_within(Duration::from_millis(20)) {
            assert_eq!(frame.opcode, Opcode::Ping, "{}", frame.shown());
            client.send(Opcode::Pong, &frame.payload);
        }
    }
    hold.release();
    client.send_text("done");
    loop {
        let frame = client.recv().expect("the line was dropped");
        match frame.opcode {
            Opcode::Ping => client.send(Opcode::Pong, &frame.payload),
            Opcode::Text => break assert_eq!(frame.payload, b"1000"),
            other => panic!("{other:?} {}", frame.shown()),
        }
    }
}

#[test]
fn a_message_that_is_passed_on_keeps_its_kind_and_bytes() {
    let (told, messages) = channel();
    let server = serve(1, |builder| {
        builder.websocket("/ws", move |mut socket: Socket| {
            let told = told.clone();
            async move {
                while let Some(message) = socket.recv().await {
                    let _ = told.send(message);
                }
            }
        })
    });
    let mut client = Client::open(server.address, "/ws");
    client.send_text("线");
    client.send(Opcode::Binary, b"\xff");
    assert_eq!(next(&messages), Message::from("线"));
    assert_eq!(next(&messages), Message::from(vec![0xff]));
}
