//! Who is pinged, who is given up, and when.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use longwire_server::{ClosingReply, Config, End, EndedBy, Line, LineHandler, MessageKind, ServerBuilder, codes};
use longwire_ws::Opcode;

use crate::support::{BOUND, Client, EchoLine, echo, frame_of, next, recorder, serve};

const INTERVAL: Duration = Duration::from_millis(80);
/// The clock of a shard ticks this often, and an event counts from the tick in which it came.
const TICK: Duration = Duration::from_millis(8);

fn quick(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine).configure(|config: &mut Config| {
        config.ping_interval = INTERVAL;
        config.ping_timeout = INTERVAL;
    })
}

#[test]
fn a_client_that_stays_silent_is_pinged_and_then_closed_with_3000() {
    for shards in [1, 2] {
        let server = serve(shards, quick);
        for path in ["/task", "/calls"] {
            let opening = Instant::now();
            let mut client = Client::open(server.address, path);
            assert_eq!(client.expect(Opcode::Ping), b"");
            assert!(opening.elapsed() + TICK > INTERVAL, "pinged after {:?}", opening.elapsed());
            client.expect_close(3000);
            assert!(opening.elapsed() + TICK > 2 * INTERVAL, "given up after {:?}", opening.elapsed());
            client.expect_gone();
        }
        server.expect_empty();
    }
}

#[test]
fn a_client_is_pinged_an_interval_after_its_last_sign_of_life_and_no_sooner() {
    let server = serve(1, |builder| quick(builder).configure(|config| config.ping_timeout = BOUND));
    for path in ["/task", "/calls"] {
        let mut client = Client::open(server.address, path);
        for round in 0..3 {
            std::thread::sleep(INTERVAL / 2);
            let sent = Instant::now();
            client.send_text(&round.to_string());
            // Only if this test was held up for long is there a ping before the answer.
            while client.expect_one_of(&[Opcode::Ping, Opcode::Text]) == Opcode::Ping {}
            client.expect(Opcode::Ping);
            assert!(sent.elapsed() + TICK > INTERVAL, "pinged after {:?}", sent.elapsed());
        }
    }
}

#[test]
fn a_client_that_answers_pings_lives_on() {
    // The time-out is generous here, since it is the test that has to answer within it.
    let server = serve(2, |builder| quick(builder).configure(|config| config.ping_timeout = BOUND));
    let mut clients: Vec<Client> = (0..4).map(|n| Client::open(server.address, ["/task", "/calls"][n % 2])).collect();
    for _ in 0..6 {
        for client in &mut clients {
            let ping = client.expect(Opcode::Ping);
            client.send(Opcode::Pong, &ping);
        }
    }
    for client in &mut clients {
        client.send_text("still here");
    }
    for client in &mut clients {
        while client.expect_one_of(&[Opcode::Ping, Opcode::Text]) == Opcode::Ping {}
    }
}

/// Whatever comes is a sign of life: a message, a ping, a single byte of a frame.
#[test]
fn a_client_that_sends_anything_lives_on() {
    let server = serve(1, |builder| quick(builder).configure(|config| config.ping_timeout = Duration::from_millis(400)));
    let byte_by_byte = frame_of(Opcode::Text, &[b'x'; 100]);
    let mut slow = Client::open(server.address, "/calls");
    let mut pinging = Client::open(server.address, "/task");
    let start = Instant::now();
    let mut bytes = byte_by_byte.iter();
    // Several times what silence would get.
    while start.elapsed() < Duration::from_millis(1200) {
        slow.send_raw(&[*bytes.next().expect("enough bytes")]);
        pinging.send(Opcode::Ping, b"");
        std::thread::sleep(Duration::from_millis(20));
    }
    slow.send_raw(bytes.as_slice());
    while slow.expect_one_of(&[Opcode::Ping, Opcode::Text]) == Opcode::Ping {}
    pinging.send_text("still here");
    while pinging.expect_one_of(&[Opcode::Ping, Opcode::Pong, Opcode::Text]) != Opcode::Text {}
}

#[test]
fn a_dead_client_is_given_up_although_much_is_published_to_it() {
    let (ended, ends) = channel();
    let server = serve(1, |builder| quick(builder).line_handler("/news", move |_| Listener(ended.clone())));
    let _client = Client::open(server.address, "/news");
    let start = Instant::now();
    let end = loop {
        server.node().publish("news", "small").unwrap();
        if let Ok(end) = ends.recv_timeout(Duration::from_millis(5)) {
            break end;
        }
        assert!(start.elapsed() < BOUND);
    };
    assert_eq!((end.code, end.by), (Some(codes::PING_TIMEOUT), EndedBy::Server));
    server.expect_empty();
}

#[test]
fn a_client_without_a_message_is_closed_with_3001_even_if_it_answers_pings() {
    let idle = Duration::from_millis(300);
    for shards in [1, 2] {
        let server = serve(shards, |builder| quick(builder).configure(|config| config.idle_timeout = Some(idle)));
        for path in ["/task", "/calls"] {
            let mut client = Client::open(server.address, path);
            let mut last_message = Instant::now();
            for n in 0..3 {
                std::thread::sleep(idle / 6);
                last_message = Instant::now();
                client.send_text(&n.to_string());
                while client.expect_one_of(&[Opcode::Ping, Opcode::Text]) == Opcode::Ping {
                    client.send(Opcode::Pong, b"");
                }
            }
            loop {
                let frame = client.recv().expect("a frame");
                if frame.opcode != Opcode::Ping {
                    assert_eq!((frame.opcode, &frame.payload[..2]), (Opcode::Close, &3001u16.to_be_bytes()[..]));
                    break;
                }
                client.send(Opcode::Pong, &frame.payload);
            }
            assert!(last_message.elapsed() + TICK > idle, "after {:?}", last_message.elapsed());
            client.send_close(3001, "");
            client.expect_end();
        }
        server.expect_empty();
    }
}

/// Subscribes at once, and says how the line ended.
struct Listener(Sender<End>);

impl LineHandler for Listener {
    fn opened(&mut self, line: &mut Line<'_>) {
        line.subscribe("news");
        // From here on it gets what is published; the answer to its handshake says no such thing.
        line.send(MessageKind::Text, b"subscribed");
    }

    fn closed(&mut self, end: &End) -> ClosingReply {
        let _ = self.0.send(end.clone());
        ClosingReply::Now
    }
}

/// The time-out counts from the last byte that was taken, not from the last attempt.
#[test]
fn a_line_that_takes_nothing_is_dropped_after_the_write_timeout_although_more_is_published() {
    let (ended, ends) = channel();
    let server = serve(1, |builder| {
        builder.line_handler("/news", move |_| Listener(ended.clone())).configure(|config| {
            config.write_timeout = Duration::from_millis(250);
            config.outbox_bytes = 64 << 20;
        })
    });
    let mut client = Client::open_narrow(server.address, "/news");
    client.expect_text("subscribed");
    server.node().publish("news", vec![0; 16 << 20]).unwrap();
    let start = Instant::now();
    let end = loop {
        server.node().publish("news", "small").unwrap();
        if let Ok(end) = ends.recv_timeout(Duration::from_millis(5)) {
            break end;
        }
        assert!(start.elapsed() < BOUND, "the line still waits");
    };
    assert_eq!((end.code, end.by), (Some(codes::WRITE_TIMEOUT), EndedBy::Server));
    server.expect_empty();
}

#[test]
fn a_line_that_takes_a_little_all_the_time_outlives_the_write_timeout() {
    let (ended, ends) = channel();
    let timeout = Duration::from_millis(800);
    let server = serve(1, |builder| {
        builder.line_handler("/news", move |_| Listener(ended.clone())).configure(|config| config.write_timeout = timeout)
    });
    let mut client = Client::open(server.address, "/news");
    client.expect_text("subscribed");
    server.node().publish("news", vec![0; 24 << 20]).unwrap();
    // About twice the time-out.
    client.read_slowly(24 << 20, 192 << 10, Duration::from_millis(12));
    assert!(ends.try_recv().is_err());
    client.send(Opcode::Ping, b"alive");
    assert_eq!(client.expect(Opcode::Pong), b"alive");
}

#[test]
fn a_line_with_nothing_to_write_knows_no_write_timeout() {
    let (ended, ends) = channel();
    let server = serve(1, |builder| {
        builder
            .line_handler("/calls", recorder(ended))
            .websocket("/task", echo)
            .configure(|config| config.write_timeout = Duration::from_millis(50))
    });
    let _quiet = Client::open(server.address, "/calls");
    let mut client = Client::open(server.address, "/task");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(250) {
        client.send_text("x");
        client.expect_text("x");
    }
    assert!(ends.try_recv().is_err());
}

#[test]
fn the_close_frame_of_a_given_up_line_names_the_reason() {
    let (ended, ends) = channel();
    let server = serve(1, |builder| quick(builder).line_handler("/recorded", recorder(ended)));
    let mut client = Client::open(server.address, "/recorded");
    client.expect(Opcode::Ping);
    let reason = client.expect_close(3000);
    assert!(!reason.is_empty());
    let end = next(&ends);
    assert_eq!((end.code, end.reason, end.by), (Some(codes::PING_TIMEOUT), reason, EndedBy::Server));
}
