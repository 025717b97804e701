//! The order of publications.

use std::collections::HashMap;
use std::net::SocketAddr;

use longwire_server::{Line, LineHandler, Node, Received, ServerBuilder};
use longwire_ws::Opcode;

use crate::support::{Client, commands, commands_line, frame_of, serve};

fn both(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", commands).line_handler("/calls", commands_line)
}

fn subscribe(address: SocketAddr, path: &str, channel: &str) -> Client {
    let mut client = Client::open(address, path);
    client.send_text(&format!("subscribe {channel}"));
    client.expect_text("ok");
    client
}

#[test]
fn the_publications_of_one_publisher_arrive_in_their_order() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        // Channels whose home is this shard and that one, and publishers on both.
        for (n, path) in ["/task", "/calls", "/task", "/calls"].iter().enumerate() {
            let channel = format!("channel {n}").replace(' ', "-");
            let mut subscribers: Vec<Client> = (0..4).map(|_| subscribe(server.address, "/calls", &channel)).collect();
            let mut publisher = Client::open(server.address, path);
            let all: Vec<u8> =
                (0..1000).flat_map(|n| frame_of(Opcode::Text, format!("publish {channel} {n}").as_bytes())).collect();
            publisher.send_raw(&all);
            for subscriber in &mut subscribers {
                for n in 0..1000 {
                    subscriber.expect_text(&n.to_string());
                }
            }
        }
    }
}

#[test]
fn all_subscribers_see_the_publications_of_several_publishers_in_one_order() {
    const EACH: usize = 300;
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut subscribers: Vec<Client> =
            (0..6).map(|n| subscribe(server.address, ["/calls", "/task"][n % 2], "news")).collect();
        let address = server.address;
        let node = server.node().clone();
        std::thread::scope(|scope| {
            for publisher in 0..4 {
                scope.spawn(move || {
                    let mut client = Client::open(address, ["/calls", "/task"][publisher % 2]);
                    for n in 0..EACH {
                        client.send_text(&format!("publish news {publisher}:{n}"));
                    }
                    client.send_text("end");
                    client.expect_text("end");
                });
            }
            scope.spawn(move || {
                for n in 0..EACH {
                    node.publish("news", format!("node:{n}")).unwrap();
                }
            });
        });
        let sequences: Vec<Vec<String>> =
            subscribers.iter_mut().map(|client| (0..5 * EACH).map(|_| client.text()).collect()).collect();
        for sequence in &sequences[1..] {
            assert!(sequence == &sequences[0], "two subscribers saw different orders");
        }
        let mut next = HashMap::<&str, usize>::new();
        for text in &sequences[0] {
            let (publisher, n) = text.split_once(':').unwrap();
            let expected = next.entry(publisher).or_default();
            assert_eq!(n, expected.to_string(), "of {publisher}");
            *expected += 1;
        }
    }
}

/// Publishes through its line, and then through the node.
struct Both(std::sync::Arc<std::sync::OnceLock<Node>>);

impl LineHandler for Both {
    fn message(&mut self, line: &mut Line<'_>, _: Received<'_>) {
        let node = self.0.get().expect("a node");
        for n in 0..10 {
            line.publish("news", n.to_string()).unwrap();
        }
        for n in 10..20 {
            node.publish("news", n.to_string()).unwrap();
        }
    }
}

#[test]
fn what_a_line_publishes_is_before_what_its_handler_then_publishes_through_the_node() {
    for shards in [1, 2] {
        let node = std::sync::Arc::new(std::sync::OnceLock::new());
        let server = serve(shards, |builder| {
            let node = node.clone();
            both(builder).line_handler("/both", move |_| Both(node.clone()))
        });
        let _ = node.set(server.node().clone());
        let mut subscriber = subscribe(server.address, "/calls", "news");
        for _ in 0..2 {
            let mut publisher = Client::open(server.address, "/both");
            publisher.send_text("go");
            for n in 0..20 {
                subscriber.expect_text(&n.to_string());
            }
        }
    }
}

#[test]
fn what_is_published_after_a_subscription_is_confirmed_is_never_missed() {
    let server = serve(2, both);
    let node = server.node().clone();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = node.publish("news", n.to_string());
                n += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        for round in 0..100 {
            let mut client = Client::open(server.address, ["/calls", "/task"][round % 2]);
            client.send_text("subscribe news");
            let mut seen: Option<u64> = None;
            let mut confirmed = false;
            let mut after = 0;
            while after < 5 {
                let text = client.text();
                if text == "ok" {
                    confirmed = true;
                    continue;
                }
                let n: u64 = text.parse().unwrap();
                // Without a gap from the first on, also across the answer.
                assert!(seen.is_none_or(|seen| n == seen + 1), "{n} after {seen:?}");
                seen = Some(n);
                after += usize::from(confirmed);
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
