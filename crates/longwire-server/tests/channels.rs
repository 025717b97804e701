//! Who gets what is published.

use longwire_server::{DeflateConfig, ServerBuilder};
use longwire_ws::Opcode;

use crate::support::{Client, TestServer, commands, commands_line, deflate_of, serve, within_bound};

const PATHS: [&str; 2] = ["/task", "/calls"];

fn both(builder: ServerBuilder) -> ServerBuilder {
    builder.websocket("/task", commands).line_handler("/calls", commands_line)
}

/// A line of each kind of handler on each shard, subscribed to `news`.
fn subscribers(server: &TestServer, shards: usize) -> Vec<Client> {
    let mut clients: Vec<Client> =
        PATHS.iter().flat_map(|path| (0..shards).map(move |_| path)).map(|path| Client::open(server.address, path)).collect();
    for client in &mut clients {
        client.send_text("subscribe news");
        client.expect_text("ok");
    }
    clients
}

/// What was published before has reached everybody, and this client got nothing of it: an answer of its own comes next.
#[track_caller]
fn expect_nothing(client: &mut Client) {
    client.send_text("marker");
    client.expect_text("marker");
}

#[test]
fn everyone_subscribed_gets_what_anyone_publishes() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut subscribers = subscribers(&server, shards);
        let mut publishers: Vec<Client> = PATHS.iter().cycle().take(4).map(|path| Client::open(server.address, path)).collect();
        for (n, publisher) in publishers.iter_mut().enumerate() {
            publisher.send_text(&format!("publish news from {n}"));
            for subscriber in &mut subscribers {
                subscriber.expect_text(&format!("from {n}"));
            }
        }
        server.node().publish("news", "from the node").unwrap();
        server.node().publish("news", vec![0xff, 0x00]).unwrap();
        for subscriber in &mut subscribers {
            subscriber.expect_text("from the node");
            assert_eq!(subscriber.expect(Opcode::Binary), [0xff, 0x00]);
        }
        publishers.iter_mut().for_each(expect_nothing);
    }
}

#[test]
fn a_publisher_that_is_subscribed_gets_its_own_publications() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        for client in &mut subscribers(&server, shards) {
            client.send_text("publish news mine");
        }
        let mut late = subscribers(&server, shards);
        late.iter_mut().for_each(expect_nothing);
    }
}

#[test]
fn a_second_subscription_to_a_channel_is_none() {
    let server = serve(1, both);
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        client.send_text("subscribe news");
        client.expect_text("ok");
        client.send_text("subscribe news");
        client.expect_text("already");
        server.node().publish("news", "once").unwrap();
        client.expect_text("once");
        expect_nothing(&mut client);
        client.send_text("unsubscribe news");
        client.expect_text("ok");
        server.node().publish("news", "no more").unwrap();
        expect_nothing(&mut client);
    }
}

#[test]
fn an_unsubscribed_line_gets_nothing_more() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut stay = subscribers(&server, shards);
        let mut leave = subscribers(&server, shards);
        for client in &mut leave {
            client.send_text("unsubscribe news");
            client.expect_text("ok");
            // Twice does no harm.
            client.send_text("unsubscribe news");
            client.expect_text("ok");
        }
        for n in 0..50 {
            server.node().publish("news", n.to_string()).unwrap();
        }
        for client in &mut stay {
            for n in 0..50 {
                client.expect_text(&n.to_string());
            }
        }
        leave.iter_mut().for_each(expect_nothing);
    }
}

#[test]
fn the_last_word_counts_when_a_line_leaves_a_channel_and_joins_it_again_at_once() {
    let server = serve(1, both);
    for path in PATHS {
        let mut client = Client::open(server.address, path);
        for _ in 0..3 {
            client.send_text("renew news");
            client.expect_text("ok");
            server.node().publish("news", "hello").unwrap();
            client.expect_text("hello");
            expect_nothing(&mut client);
        }
    }
}

#[test]
fn nothing_follows_a_close_frame() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        let mut stay = subscribers(&server, shards);
        let mut closing = subscribers(&server, shards);
        for client in &mut closing {
            client.send_text("close 4000");
            client.expect_close(4000);
        }
        for n in 0..50 {
            server.node().publish("news", n.to_string()).unwrap();
        }
        for client in &mut stay {
            for n in 0..50 {
                client.expect_text(&n.to_string());
            }
        }
        for client in &mut closing {
            client.send_close(4000, "");
            client.expect_end();
        }
    }
}

#[test]
fn lines_that_are_cut_leave_their_channels_to_the_others() {
    let server = serve(2, both);
    let mut stay = subscribers(&server, 2);
    for _ in 0..10 {
        let gone = subscribers(&server, 2);
        let mut more = subscribers(&server, 2);
        gone.into_iter().for_each(Client::reset);
        server.node().publish("news", "hello").unwrap();
        for client in stay.iter_mut().chain(&mut more) {
            client.expect_text("hello");
        }
    }
}

#[test]
fn a_line_may_be_in_many_channels_and_gets_each_publication_once() {
    for shards in [1, 2] {
        let server = serve(shards, both);
        for path in PATHS {
            let mut client = Client::open(server.address, path);
            for n in 0..200 {
                client.send_text(&format!("subscribe c{n}"));
                client.expect_text("ok");
            }
            for n in (0..200).step_by(3) {
                client.send_text(&format!("unsubscribe c{n}"));
                client.expect_text("ok");
            }
            for n in 0..200 {
                server.node().publish(format!("c{n}"), n.to_string()).unwrap();
                if n % 3 != 0 {
                    client.expect_text(&n.to_string());
                }
            }
            expect_nothing(&mut client);
        }
    }
}

#[test]
fn channels_are_made_and_forgotten_by_the_thousand_without_mixing_them_up() {
    let server = serve(2, both);
    let mut client = Client::open(server.address, "/calls");
    for round in 0..4 {
        let names: Vec<String> = (0..1000).map(|n| format!("r{round}c{n}")).collect();
        for name in &names {
            client.send_text(&format!("subscribe {name}"));
        }
        for _ in &names {
            client.expect_text("ok");
        }
        for name in names.iter().step_by(97) {
            server.node().publish(name.as_str(), name.as_str()).unwrap();
            client.expect_text(name);
        }
        for name in &names {
            client.send_text(&format!("unsubscribe {name}"));
        }
        for _ in &names {
            client.expect_text("ok");
        }
        for name in &names {
            server.node().publish(name.as_str(), "for nobody").unwrap();
        }
        expect_nothing(&mut client);
    }
}

#[test]
fn publications_of_any_size_arrive_whole() {
    for shards in [1, 2] {
        // The last is larger than an outbox: it is taken since nothing else waits.
        let server = serve(shards, both);
        let mut subscribers = subscribers(&server, shards);
        for size in [0, 1, 125, 126, 65_535, 65_536, 256 * 1024 - 1, 256 * 1024, 900 * 1024, 3 << 20] {
            let payload: Vec<u8> = (0..size).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
            server.node().publish("news", payload.clone()).unwrap();
            for subscriber in &mut subscribers {
                assert!(subscriber.expect(Opcode::Binary) == payload, "{size} bytes");
            }
        }
    }
}

#[test]
fn publishing_to_nobody_is_fine() {
    let server = serve(2, |builder| both(builder).configure(|config| config.in_flight_bytes = 1000));
    for n in 0..100 {
        let node = server.node().clone();
        // What nobody listens to goes away, too: there is always room again.
        within_bound(async move { node.publish_when_possible(format!("nobody {n}"), vec![0; 500]).await }).unwrap();
    }
}

#[test]
fn compressing_and_plain_lines_share_a_channel() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let small_window = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n";
    for shards in [1, 2] {
        let server = serve(shards, |builder| both(builder).configure(|config| config.deflate = Some(DeflateConfig::default())));
        let mut lines = Vec::new();
        for more in [offer, "", small_window].iter().cycle().take(6) {
            let (mut client, response) = Client::tcp(server.address).upgrade("/calls", more);
            client.send_text("subscribe news");
            client.expect_text("ok");
            lines.push((client, (!more.is_empty()).then(|| deflate_of(&response))));
        }
        let long = "compress me, ".repeat(5000);
        for text in ["short", long.as_str(), "short again", long.as_str()] {
            server.node().publish("news", text).unwrap();
        }
        for (client, params) in &mut lines {
            for text in ["short", long.as_str(), "short again", long.as_str()] {
                let frame = client.recv().expect("a frame");
                assert_eq!(frame.opcode, Opcode::Text);
                let payload = match params {
                    Some(params) => {
                        assert_eq!(frame.rsv != 0, text.len() > 100);
                        assert!(frame.payload.len() <= text.len() / 4 || text.len() < 100);
                        frame.inflated(*params)
                    }
                    None => {
                        assert_eq!(frame.rsv, 0);
                        frame.payload
                    }
                };
                assert_eq!(String::from_utf8(payload).unwrap(), text);
            }
        }
    }
}

/// A line whose frames depend on those before it cannot share any.
#[test]
fn lines_with_context_takeover_can_be_in_a_channel_too() {
    let server = serve(1, |builder| {
        both(builder).configure(|config| {
            config.deflate = Some(DeflateConfig { server_no_context_takeover: false, ..DeflateConfig::default() });
        })
    });
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut client, response) = Client::tcp(server.address).upgrade("/calls", offer);
    let params = deflate_of(&response);
    assert!(!params.server_no_context_takeover);
    let mut receiver = longwire_ws::Receiver::new(longwire_ws::Role::Client, Some(params));
    let long = "compress me, ".repeat(50);
    let expected = ["ok", long.as_str(), long.as_str(), long.as_str(), long.as_str()];
    client.send_text("subscribe news");
    for text in expected {
        let frame = client.recv().expect("a frame");
        let mut bytes = Vec::new();
        let header = longwire_ws::frame::Header { rsv: frame.rsv, ..longwire_ws::frame::Header::new(frame.opcode, 0) };
        longwire_ws::frame::encode_with(header, &frame.payload, &mut bytes);
        let mut input = longwire_ws::Input::new(&mut bytes);
        match receiver.receive(&mut input, &longwire_ws::Limits::default()) {
            Ok(Some(longwire_ws::Event::Message(message))) => assert_eq!(message.as_str(), Some(text)),
            other => panic!("{other:?}"),
        }
        // In turn from the channel and from the handler.
        server.node().publish("news", long.as_str()).unwrap();
        let _ = client.try_send_raw(&[]);
    }
}
