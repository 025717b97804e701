//! The budget for what is on its way, and what happens at its end.

use std::sync::mpsc::channel;
use std::time::Duration;

use longwire_server::{Message, Node, PublishError};

use crate::support::{Client, Gate, TestServer, blocker, commands, commands_line, echo, next, serve, within_bound};

/// A server whose second shard, or only one, can be held; a line on the first, the line that holds the other, and one beside it.
fn holdable(shards: usize, gate: &Gate, in_flight_bytes: usize) -> (TestServer, Client, Client, Client) {
    let server = serve(shards, |builder| {
        builder
            .line_handler("/block", blocker(gate))
            .line_handler("/calls", commands_line)
            .websocket("/task", commands)
            .websocket("/echo", echo)
            .configure(|config| config.in_flight_bytes = in_flight_bytes)
    });
    // Connections are dealt in turn: the first to the first shard.
    let mut first = Client::open(server.address, "/calls");
    first.send_text("shard");
    first.expect_text("longwire-shard-0");
    let second = Client::open(server.address, "/block");
    let _third = Client::open(server.address, "/calls");
    let mut beside = Client::open(server.address, "/calls");
    beside.send_text("shard");
    beside.expect_text(&format!("longwire-shard-{}", shards - 1));
    (server, first, second, beside)
}

/// Publishes until there is no room; says how many were taken.
#[track_caller]
fn publish_until_refused(node: &Node, channel: &str, payload: &str) -> usize {
    (0..1_000_000)
        .find(|_| match node.publish(channel, payload) {
            Ok(()) => false,
            Err(PublishError::Overloaded(back)) => {
                assert_eq!(back, Message::from(payload));
                true
            }
            Err(error) => panic!("{error}"),
        })
        .expect("there is no bound")
}

#[test]
fn too_much_on_its_way_is_refused_and_all_that_was_taken_arrives() {
    for shards in [1, 2] {
        let gate = Gate::default();
        let (server, mut subscriber, mut holder, mut beside) = holdable(shards, &gate, 100_000);
        for line in [&mut subscriber, &mut beside] {
            line.send_text("subscribe news");
            line.expect_text("ok");
        }
        holder.send_text("hold");
        gate.wait_entered(1);
        let taken = publish_until_refused(server.node(), "news", &"x".repeat(1000));
        assert!((20..=102).contains(&taken), "{taken}");
        gate.open();
        for _ in 0..taken {
            assert_eq!(subscriber.text().len(), 1000);
        }
        // And there is room again.
        run(server.node(), "after");
        subscriber.expect_text("after");
    }
}

/// Publishes when possible, within the bound.
#[track_caller]
fn run(node: &Node, text: &str) {
    within_bound(node.publish_when_possible("news", text)).unwrap();
}

#[test]
fn a_publisher_can_wait_until_there_is_room() {
    for shards in [1, 2] {
        let gate = Gate::default();
        let (server, mut subscriber, mut holder, mut beside) = holdable(shards, &gate, 10_000);
        for line in [&mut subscriber, &mut beside] {
            line.send_text("subscribe news");
            line.expect_text("ok");
        }
        holder.send_text("hold");
        gate.wait_entered(1);
        let taken = publish_until_refused(server.node(), "news", &"x".repeat(1000));
        let (done, results) = channel();
        for n in 0..4 {
            let (node, done) = (server.node().clone(), done.clone());
            std::thread::spawn(move || {
                run(&node, &format!("waited {n}"));
                done.send(()).unwrap();
            });
        }
        assert!(results.recv_timeout(Duration::from_millis(50)).is_err(), "there is no room yet");
        gate.open();
        (0..4).for_each(|_| next(&results));
        for _ in 0..taken {
            assert_eq!(subscriber.text().len(), 1000);
        }
        let mut waited: Vec<String> = (0..4).map(|_| subscriber.text()).collect();
        waited.sort();
        assert_eq!(waited, ["waited 0", "waited 1", "waited 2", "waited 3"]);
    }
}

#[test]
fn a_publication_larger_than_the_budget_is_possible() {
    let server =
        serve(2, |builder| builder.line_handler("/calls", commands_line).configure(|config| config.in_flight_bytes = 100));
    let mut subscriber = Client::open(server.address, "/calls");
    subscriber.send_text("subscribe news");
    subscriber.expect_text("ok");
    for _ in 0..3 {
        let large = "x".repeat(100_000);
        run(server.node(), &large);
        subscriber.expect_text(&large);
    }
}

/// A publication takes memory even if its payload has none.
#[test]
fn publications_of_no_length_are_bounded_too() {
    let gate = Gate::default();
    let (server, _first, mut holder, _beside) = holdable(1, &gate, 1 << 20);
    holder.send_text("hold");
    gate.wait_entered(1);
    let taken = publish_until_refused(server.node(), "news", "");
    assert!(taken < 100_000, "{taken}");
    gate.open();
}

/// Shards stop reading while too much is on its way. What came meanwhile must be read when that is over, without anything else
/// happening.
#[test]
fn what_came_during_congestion_is_read_after_it() {
    // Wherever a channel's home is: some of so many are put in order by the shard that is not held.
    for channel in 0..6 {
        let gate = Gate::default();
        let (server, mut client, mut holder, mut beside) = holdable(2, &gate, 1 << 20);
        let channel = format!("followed-{channel}");
        beside.send_text(&format!("subscribe {channel}"));
        beside.expect_text("ok");
        holder.send_text("hold");
        gate.wait_entered(1);
        // What waits for the held shard congests the other one.
        server.node().publish(channel, vec![0; 900_000]).unwrap();
        client.send_text("hello");
        assert_eq!(client.recv_within(Duration::from_millis(100)), None, "it is not read during congestion");
        gate.open();
        client.expect_text("hello");
        holder.expect_text("hold");
    }
}

/// A burst that comes within one tick is no reason to call anybody slow: first, the socket is asked.
#[test]
fn a_burst_larger_than_an_outbox_does_not_close_those_who_read() {
    for shards in [1, 2] {
        let gate = Gate::default();
        let server = serve(shards, |builder| {
            builder
                .line_handler("/block", blocker(&gate))
                .line_handler("/calls", commands_line)
                .configure(|config| config.outbox_bytes = 32 << 10)
        });
        let mut subscribers: Vec<Client> = (0..4).map(|_| Client::open(server.address, "/calls")).collect();
        for subscriber in &mut subscribers {
            subscriber.send_text("subscribe news");
            subscriber.expect_text("ok");
        }
        let mut holders: Vec<Client> = (0..shards).map(|_| Client::open(server.address, "/block")).collect();
        holders.iter_mut().for_each(|holder| holder.send_text("hold"));
        gate.wait_entered(shards);
        for n in 0..800 {
            server.node().publish("news", format!("{n:0>1000}")).unwrap();
        }
        gate.open();
        for subscriber in &mut subscribers {
            for n in 0..800 {
                subscriber.expect_text(&format!("{n:0>1000}"));
            }
        }
    }
}

#[test]
fn a_handler_is_told_that_there_is_no_room() {
    let gate = Gate::default();
    let (server, mut calls, mut holder, _beside) = holdable(2, &gate, 10_000);
    let mut task = Client::open(server.address, "/task");
    task.send_text("shard");
    task.expect_text("longwire-shard-0");
    holder.send_text("hold");
    gate.wait_entered(1);
    // Shards stop reading at half of the budget, so one packet has to bring it all.
    let flood: Vec<u8> = (0..200)
        .flat_map(|n| {
            let text = format!("publish nobody-{n} {}", "x".repeat(200));
            crate::support::frame_of(longwire_ws::Opcode::Text, text.as_bytes())
        })
        .collect();
    calls.send_raw(&flood);
    calls.expect_text("overloaded");
    gate.open();
    task.send_raw(&flood);
    task.send_text("end");
    while task.text() != "end" {}
}
