//! How a server ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use longwire_server::{Line, LineHandler, MessageKind, Server, ServerBuilder, Signals, Socket};
use longwire_ws::Opcode;
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{
    Client, NEVER, child, commands, commands_line, echo, eventually, handshake, join_within_bound, serve, within_bound,
};

fn both(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", commands).line_handler("/calls", commands_line)
}

#[test]
fn lines_are_closed_with_1001_and_new_connections_are_refused() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut clients: Vec<Client> = (0..8).map(|n| Client::open(server.address, ["/task", "/calls"][n % 2])).collect();
        let address = server.address;
        let node = server.node().clone();
        server.shutdown();
        assert!(node.is_stopping());
        for client in &mut clients {
            assert_eq!(client.expect_close(1001), "the server is shutting down");
            client.send_close(1001, "");
            client.expect_end();
        }
        server.join();
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        assert_eq!(node.connections(), 0);
        // A second time is no error.
        node.shutdown();
    }
}

#[test]
fn the_closes_are_spread_over_the_drain() {
    let drain = Duration::from_millis(600);
    let server = serve(1, |builder| both(builder).configure(|config| config.drain = drain));
    let mut clients: Vec<Client> = (0..500).map(|_| Client::open(server.address, "/calls")).collect();
    let start = Instant::now();
    server.shutdown();
    // In the order of their opening, so that each is read about when it comes.
    let mut times = Vec::new();
    for client in &mut clients {
        client.expect_close(1001);
        client.send_close(1001, "");
        times.push(start.elapsed());
    }
    let (first, last) = (times[0], times[499]);
    assert!(last - first > drain / 2, "all between {first:?} and {last:?}");
    server.join();
}

#[test]
fn clients_that_never_answer_or_never_read_hold_nobody_beyond_the_close_timeout() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| {
            both(builder)
                .websocket("/pour", |socket: Socket| async move { while socket.send(vec![0; 100_000]).await.is_ok() {} })
                .websocket("/deaf", |socket: Socket| async move {
                    std::future::pending::<()>().await;
                    drop(socket);
                })
                .configure(|config| config.close_timeout = Duration::from_millis(200))
        });
        let _clients: Vec<Client> =
            (0..8).map(|n| Client::open_narrow(server.address, ["/task", "/calls", "/pour", "/deaf"][n % 4])).collect();
        server.shutdown();
        server.join();
    }
}

#[test]
fn a_server_without_lines_ends_at_once() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| {
            both(builder).http(Router::new().route("/page", get(|| async { "a page" }))).configure(|config| {
                config.drain = NEVER;
                config.close_timeout = NEVER;
                config.handshake_timeout = NEVER;
            })
        });
        // Connections that are no lines do not count.
        let _idle = Client::tcp(server.address);
        let mut kept_alive = Client::tcp(server.address);
        kept_alive.send_raw(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(kept_alive.response().body, "a page");
        server.shutdown();
        server.join();
        kept_alive.expect_gone();
    }
}

#[test]
fn dropping_the_handle_begins_the_shutdown() {
    let running = Server::builder().shards(2).websocket("/ws", echo).start("127.0.0.1:0").unwrap();
    let node = running.node().clone();
    let mut client = Client::open(running.addresses()[0], "/ws");
    drop(running);
    assert!(node.is_stopping());
    client.expect_close(1001);
    client.send_close(1001, "");
    client.expect_end();
}

#[test]
fn who_comes_during_the_drain_is_told_to_come_back() {
    let server = serve(1, both);
    let mut line = Client::open(server.address, "/task");
    // Accepted, but without a request.
    let mut late = Client::tcp(server.address);
    eventually("it is accepted", || server.node().connections() == 2);
    server.shutdown();
    line.expect_close(1001);
    // The line does not answer, so the server is still there.
    late.send_raw(handshake("/task", "").as_bytes());
    let response = late.response();
    response.expect_error(503, "shutting_down");
    assert!(response.header("retry-after").is_some());
    line.send_close(1001, "");
    line.expect_end();
    server.join();
}

/// Sends more than any socket takes at once, as soon as it is asked.
struct Large;

impl LineHandler for Large {
    fn message(&mut self, line: &mut Line<'_>, _: longwire_server::Received<'_>) {
        line.send(MessageKind::Binary, &vec![7; 12 << 20]);
        line.send(MessageKind::Text, b"end");
    }
}

#[test]
fn what_was_sent_before_the_shutdown_still_arrives() {
    let server =
        serve(1, |builder| builder.line_handler("/large", |_| Large).configure(|config| config.outbox_bytes = 64 << 20));
    let mut client = Client::open(server.address, "/large");
    client.send_text("go");
    // The first bytes say that it has begun.
    assert!(client.wait_for_bytes());
    server.shutdown();
    assert_eq!(client.expect(Opcode::Binary).len(), 12 << 20);
    client.expect_text("end");
    client.expect_close(1001);
    client.send_close(1001, "");
    client.expect_end();
    server.join();
}

/// The home of a channel must stay as long as any shard has lines.
#[test]
fn publications_arrive_until_a_line_is_closed_even_if_other_shards_have_none() {
    let server = serve(2, |builder| both(builder).configure(|config| config.drain = NEVER));
    // The drain goes by place: the last of many is late.
    let mut clients: Vec<Client> = (0..200).map(|_| Client::open(server.address, "/calls")).collect();
    let mut stay = Vec::new();
    for mut client in clients.drain(..) {
        client.send_text("shard");
        if client.text() == "longwire-shard-1" {
            stay.push(client);
        }
    }
    eventually("shard 0 has no line", || server.node().connections() == stay.len());
    let mut last = stay.pop().expect("a line on shard 1");
    // Of so many channels, some are put in order by each shard.
    for n in 0..8 {
        last.send_text(&format!("subscribe c{n}"));
        last.expect_text("ok");
    }
    server.shutdown();
    let start = Instant::now();
    let mut expected = std::collections::BTreeSet::new();
    for n in 0..40 {
        let text = n.to_string();
        server.node().publish(format!("c{}", n % 8), text.as_str()).unwrap();
        expected.insert(text);
        std::thread::sleep(Duration::from_millis(5));
    }
    while !expected.is_empty() {
        let frame = last.recv().expect("a frame");
        if frame.opcode == Opcode::Close {
            // Only if this machine took so long that the drain has come to the line.
            assert!(start.elapsed() > Duration::from_secs(1), "{expected:?} are missing");
            break;
        }
        let text = String::from_utf8(frame.payload).unwrap();
        assert!(expected.remove(&text), "{text} came twice");
    }
}

#[test]
fn publishing_after_the_end_is_no_leak_and_no_wait() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| both(builder).configure(|config| config.in_flight_bytes = 10_000));
        let node = server.node().clone();
        server.shutdown();
        server.join();
        for n in 0..100 {
            within_bound(node.publish_when_possible(format!("c{n}"), vec![0; 1000])).unwrap();
        }
    }
}

#[test]
fn the_termination_signal_ends_a_server_that_runs_in_the_foreground() {
    child("shutdown::the_termination_signal_ends_a_server_that_runs_in_the_foreground", || ended_by(Signal::TERM));
}

#[test]
fn the_interrupt_signal_ends_a_server_that_runs_in_the_foreground() {
    child("shutdown::the_interrupt_signal_ends_a_server_that_runs_in_the_foreground", || ended_by(Signal::INT));
}

#[track_caller]
fn ended_by(signal: Signal) {
    let signals = Signals::catch().unwrap();
    let running = Server::builder().shards(2).websocket("/ws", echo).start("127.0.0.1:0").unwrap();
    let node = running.node().clone();
    let mut client = Client::open(running.addresses()[0], "/ws");
    // Nobody waits for it yet, and still it does not end the process.
    kill_process(getpid(), signal).unwrap();
    let foreground = std::thread::spawn(move || running.run_until(signals));
    client.expect_close(1001);
    client.send_close(1001, "");
    client.expect_end();
    foreground.join().unwrap().unwrap();
    assert!(node.is_stopping());
    // A later one is none of this server's business: the process goes on.
    kill_process(getpid(), signal).unwrap();
    let next = serve(1, both);
    for n in 0..100 {
        let mut client = Client::open(next.address, "/calls");
        client.send_text(&n.to_string());
        client.expect_text(&n.to_string());
    }
}

#[test]
fn a_handler_may_shut_its_own_server_down() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| {
            builder.websocket("/stop", |mut socket: Socket| async move {
                socket.recv().await;
                socket.node().expect("a node").shutdown();
            })
        });
        let mut clients: Vec<Client> = (0..4).map(|_| Client::open(server.address, "/stop")).collect();
        clients[0].send_text("stop");
        for client in &mut clients {
            let payload = client.expect(Opcode::Close);
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            assert!(code == 1001 || code == 1000);
            client.send_close(code, "");
            client.expect_end();
        }
        server.join();
    }
}

#[test]
fn a_taken_port_is_said_before_anything_starts() {
    let server = serve(1, both);
    let error = Server::builder().start(server.address).map(drop).unwrap_err();
    assert!(error.to_string().contains("taken by another program"), "{error}");
}

#[test]
fn a_port_can_be_had_again_right_after_the_end() {
    let server = serve(1, both);
    let address = server.address;
    let mut client = Client::open(address, "/calls");
    server.shutdown();
    // The server closes first, so that its port is in TIME_WAIT.
    client.expect_close(1001);
    client.send_close(1001, "");
    client.expect_end();
    server.join();
    let running = Server::builder().shards(1).websocket("/ws", echo).start(address).expect("the same port");
    let client = Client::open(address, "/ws");
    client.close();
    running.shutdown();
    join_within_bound(running).unwrap();
}
