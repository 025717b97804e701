//! How many connections there may be.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use longwire_server::{Config, Error, Server};
use longwire_ws::Opcode;

use crate::support::{Client, child, commands, commands_line, echo, eventually, handshake, serve, within_bound};

#[test]
fn a_full_server_answers_503_and_takes_the_next_when_a_place_is_free() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.websocket("/ws", echo).configure(|config| config.max_connections = 3));
        let mut lines: Vec<Client> = (0..2).map(|_| Client::open(server.address, "/ws")).collect();
        // One that has not asked for anything yet counts, too.
        let idle = Client::tcp(server.address);
        eventually("three connections", || server.node().connections() == 3);
        for _ in 0..5 {
            let mut refused = Client::tcp(server.address);
            refused.send_raw(handshake("/ws", "").as_bytes());
            let response = refused.response();
            response.expect_error(503, "too_many_connections");
            assert!(response.header("retry-after").is_some());
            refused.expect_end();
        }
        drop(idle);
        eventually("a place is free", || server.node().connections() == 2);
        lines.push(Client::open(server.address, "/ws"));
        lines.remove(0).close();
        eventually("a place is free", || server.node().connections() == 2);
        lines.push(Client::open(server.address, "/ws"));
        for line in &mut lines {
            line.send_text("hello");
            line.expect_text("hello");
        }
    }
}

#[test]
fn an_address_with_its_share_is_answered_429_and_others_are_not() {
    let server =
        serve(2, |builder| builder.websocket("/ws", echo).configure(|config| config.max_connections_per_address = Some(2)));
    let here: IpAddr = [127, 0, 0, 1].into();
    let there: IpAddr = [127, 0, 0, 2].into();
    let mut lines: Vec<Client> =
        [here, there, here, there].iter().map(|from| Client::tcp_from(*from, server.address).upgrade("/ws", "").0).collect();
    for from in [here, there] {
        let mut refused = Client::tcp_from(from, server.address);
        refused.send_raw(handshake("/ws", "").as_bytes());
        refused.response().expect_error(429, "too_many_connections_from_address");
    }
    lines.remove(0).reset();
    eventually("a place is free", || server.node().connections() == 3);
    let mut again = Client::tcp_from(here, server.address).upgrade("/ws", "").0;
    again.send_text("hello");
    again.expect_text("hello");
    let mut refused = Client::tcp_from(there, server.address);
    refused.send_raw(handshake("/ws", "").as_bytes());
    refused.response().expect_error(429, "too_many_connections_from_address");
}

#[test]
fn a_crowd_of_refused_connections_does_not_disturb_those_inside() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).configure(|config| config.max_connections = 1));
    let mut inside = Client::open(server.address, "/ws");
    // None of them reads, none closes.
    let crowd: Vec<Client> = (0..300).map(|_| Client::tcp(server.address)).collect();
    for n in 0..20 {
        inside.send_text(&n.to_string());
        inside.expect_text(&n.to_string());
    }
    drop(crowd);
    inside.close();
    server.expect_empty();
    Client::open(server.address, "/ws").close();
}

#[test]
fn settings_at_their_extremes_still_make_a_server() {
    let none = |config: &mut Config| {
        config.outbox_bytes = 0;
        config.inbox_bytes = 0;
        config.in_flight_bytes = 0;
        config.drain = Duration::ZERO;
    };
    let endless = |config: &mut Config| {
        let all = [
            &mut config.ping_interval,
            &mut config.ping_timeout,
            &mut config.write_timeout,
            &mut config.close_timeout,
            &mut config.drain,
        ];
        all.into_iter().for_each(|time| *time = Duration::MAX);
        config.idle_timeout = Some(Duration::MAX);
        config.outbox_bytes = usize::MAX;
        config.inbox_bytes = usize::MAX;
        config.in_flight_bytes = usize::MAX;
    };
    let both: [&dyn Fn(&mut Config); 2] = [&none, &endless];
    for extreme in both {
        let server =
            serve(2, |builder| builder.websocket("/task", commands).line_handler("/calls", commands_line).configure(extreme));
        for path in ["/task", "/calls"] {
            let mut client = Client::open(server.address, path);
            client.send_text("subscribe news");
            client.expect_text("ok");
            for n in 0..20 {
                within_bound(server.node().publish_when_possible("news", n.to_string())).unwrap();
                client.expect_text(&n.to_string());
                client.send_text("hello");
                client.expect_text("hello");
            }
            client.close();
        }
        server.expect_empty();
    }
}

#[test]
fn every_address_of_a_name_is_served_on_one_port() {
    let running = Server::builder().shards(1).websocket("/ws", echo).start("localhost:0").unwrap();
    let port = running.addresses()[0].port();
    for address in running.addresses() {
        assert_eq!(address.port(), port);
        Client::open(*address, "/ws").close();
    }
}

/// Takes all descriptors that the process may still have.
fn take_all_descriptors() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

/// How long the process has been running on a processor; `stat` is its file of that name.
fn cpu_time(stat: &std::fs::File) -> Duration {
    let mut bytes = [0; 4096];
    let len = stat.read_at(&mut bytes, 0).unwrap();
    let text = String::from_utf8_lossy(&bytes[..len]);
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_server_without_descriptors_waits_for_some_and_serves_on() {
    child("limits::a_server_without_descriptors_waits_for_some_and_serves_on", || {
        let few = rustix::process::Rlimit { current: Some(200), maximum: Some(200) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
        let server = serve(2, |builder| builder.websocket("/ws", echo).configure(|config| config.max_connections = 1000));
        let mut line = Client::open(server.address, "/ws");
        let stat = std::fs::File::open("/proc/self/stat").unwrap();
        let mut ballast = take_all_descriptors();
        assert!(ballast.len() > 50);
        // One for the client's end of a connection, none for the server's.
        ballast.pop();
        let mut waiting = Client::tcp(server.address);
        let before = cpu_time(&stat);
        for n in 0..50 {
            line.send(Opcode::Text, n.to_string().as_bytes());
            line.expect_text(&n.to_string());
            std::thread::sleep(Duration::from_millis(10));
        }
        let used = cpu_time(&stat) - before;
        assert!(used < Duration::from_millis(250), "{used:?} of processor time while nothing happens");
        drop(ballast);
        waiting = waiting.upgrade("/ws", "").0;
        waiting.send_text("at last");
        waiting.expect_text("at last");
    });
}

#[test]
fn a_server_that_starts_has_all_that_it_needs() {
    child("limits::a_server_that_starts_has_all_that_it_needs", || {
        let few = rustix::process::Rlimit { current: Some(200), maximum: Some(200) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
        let start = || Server::builder().shards(4).websocket("/ws", echo).start("127.0.0.1:0");
        // The runtime keeps some for the whole process once it was used.
        within_bound(async {});
        let mut ballast = take_all_descriptors();
        // One descriptor more each time, until they are enough.
        let mut free = 0;
        let running = loop {
            match start() {
                Ok(running) => break running,
                Err(Error::Io(_) | Error::Bind { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            eventually("what did start ends when the rest cannot", || take_all_descriptors().len() == free);
            ballast.pop().expect("a server needs fewer descriptors than that");
            free += 1;
        };
        assert!(free > 10, "{free} descriptors cannot be enough for four shards");
        ballast.clear();
        // Every shard serves.
        for _ in 0..8 {
            let mut line = Client::open(running.addresses()[0], "/ws");
            line.send_text("hello");
            line.expect_text("hello");
        }
    });
}

impl Client {
    /// A TCP connection from one of this machine's addresses.
    #[track_caller]
    fn tcp_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).expect("connect");
        Self::over(socket.into())
    }
}
