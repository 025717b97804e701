//! A durable node that is killed as soon as it has answered: what was answered is there when it runs again.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use longwire_server::socketio::{Ack, Socket, SocketIo};
use longwire_server::{ChannelOptions, DataDir, Namespaces, StoreOptions};
use serde_json::{Value, json};

use super::client::{ACK, CONNECT, EVENT, Io, Packet, Way};
use super::{commands, serve_also};

const DIRECTORY: &str = "LONGWIRE_TEST_KEPT";
const LONG: Duration = Duration::from_secs(600);

/// A node in a process of its own, which is killed when dropped.
struct Node {
    process: Child,
    address: SocketAddr,
}

impl Node {
    /// `test` is the path of the test, which has to begin with [`be_a_node`].
    fn start(test: &str, directory: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let out = BufReader::new(process.stdout.take().unwrap());
        let address = out.lines().map(|line| line.expect("a line")).find_map(|line| Some(line.split_once("at ")?.1.to_owned()));
        let address = address.expect("an address").parse().expect("an address");
        Self { process, address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the process of a node: runs until it is killed.
fn be_a_node(shards: usize, io: impl FnOnce() -> SocketIo) {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let server = serve_also(shards, io(), |builder| {
        builder.configure(|config| {
            let chat = ChannelOptions { history_size: 100, history_age: LONG, ..ChannelOptions::default() };
            config.namespaces = Arc::new(Namespaces::new([("chat".to_owned(), chat)]).expect("options"));
            config.data = Some(DataDir { dir: dir.into(), options: StoreOptions::default() });
        })
    });
    println!("at {}", server.address);
    loop {
        std::thread::park();
    }
}

/// A directory that is gone when dropped.
struct Directory(String);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longwire-kept-{name}-{}", std::process::id()));
        Self(path.to_str().expect("a text").to_owned())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_a_client_was_answered_is_there_after_a_kill() {
    const TEST: &str = "socketio::kept::what_a_client_was_answered_is_there_after_a_kill";
    be_a_node(2, || {
        SocketIo::new()
            .namespace("/", |namespace| {
                commands(namespace).on("hop", |socket: Socket, (from, to): (String, String), ack: Ack| {
                    socket.leave(&from);
                    let _ = socket.join(&to);
                    socket.io().to(&to).emit("hopped", (&to,));
                    ack.send((to,));
                    socket.emit("behind", ());
                })
            })
            .recovery(LONG)
    });
    let directory = Directory::new("answered");
    let mut node = Node::start(TEST, &directory.0);
    let (mut client, mut known) = Io::connected(node.address, Way::WebSocket);
    let (mut rooms, mut data) = (Vec::<String>::new(), Value::Null);
    for round in 0..50 {
        let name = format!("{round}");
        match round % 5 {
            0 => rooms.push(client.call(json!(["join", name]))[0].as_str().expect("a room").to_owned()),
            1 => {
                let left = client.call(json!(["leave", rooms[0]]));
                rooms.retain(|room| left[0] != room.as_str());
            }
            2 => data = client.call(json!(["note", {"round": round}]))[0].clone(),
            3 => {
                // What comes with it comes in its order.
                let from = rooms.last().cloned().unwrap_or_default();
                let id = client.emit_for_ack("/", json!(["hop", from, name]));
                assert_eq!(client.event(), json!(["hopped", name]));
                assert_eq!(client.next().map(|Packet { kind, id, .. }| (kind, id)), Some((ACK, Some(id))));
                rooms.retain(|room| *room != from);
                rooms.push(name);
            }
            _ => {
                // Somebody new.
                client.cut();
                (client, known) = Io::connected(node.address, [Way::WebSocket, Way::Polling][round / 5 % 2]);
                (rooms, data) = (Vec::new(), Value::Null);
                client.offset = None;
            }
        }
        drop(node);
        node = Node::start(TEST, &directory.0);
        let claim = json!({"pid": known.pid, "offset": client.offset});
        let offset = client.offset.take();
        client = Io::open(node.address, Way::WebSocket);
        client.offset = offset;
        assert_eq!(client.connect("/", &claim), known, "round {round}, {claim}");
        // What was emitted behind the last answer may have been heard by nobody.
        let id = client.emit_for_ack("/", json!(["recovered"]));
        let mut packet = client.next().expect("a packet");
        if round % 5 == 3 && packet.kind == EVENT {
            assert_eq!(packet.data, json!(["behind"]), "round {round}");
            packet = client.next().expect("a packet");
        }
        assert_eq!((packet.kind, packet.id), (ACK, Some(id)), "round {round}, {packet:?}");
        let told = packet.data;
        assert_eq!(told, json!([true, data]), "round {round}");
        let mut expected = rooms.clone();
        expected.sort();
        assert_eq!(client.call(json!(["rooms"])), json!([expected]), "round {round}");
    }
}

#[test]
fn what_a_client_has_subscribed_to_is_there_after_a_kill() {
    const TEST: &str = "socketio::kept::what_a_client_has_subscribed_to_is_there_after_a_kill";
    be_a_node(2, || SocketIo::channels().recovery(LONG));
    let directory = Directory::new("subscribed");
    let mut node = Node::start(TEST, &directory.0);
    let (mut client, known) = Io::connected(node.address, Way::WebSocket);
    let mut channels = Vec::new();
    for round in 0..10 {
        let channel = format!("chat:{round}");
        client.call(json!(["subscribe", channel]));
        channels.push(channel);
        if round % 3 == 2 {
            let left = channels.remove(0);
            client.call(json!(["unsubscribe", left]));
        }
        drop(node);
        node = Node::start(TEST, &directory.0);
        let claim = json!({"pid": known.pid, "offset": client.offset});
        let offset = client.offset.take();
        client = Io::open(node.address, Way::WebSocket);
        client.offset = offset;
        client.ask_in("/", &claim);
        let packet = client.next().expect("an answer");
        assert_eq!((packet.kind, &packet.data["sid"]), (CONNECT, &json!(known.sid)), "round {round}");
        client.recovers = true;
        for channel in &channels {
            let id = client.emit_for_ack("/", json!(["publish", channel, round]));
            let mut packets = [client.next().expect("a packet"), client.next().expect("a packet")];
            packets.sort_by_key(|packet| packet.kind);
            assert_eq!(packets[0].data[0], "publication", "round {round}, {channel}");
            assert_eq!((packets[0].data[1]["channel"].as_str(), packets[1].id), (Some(channel.as_str()), Some(id)));
        }
    }
}

#[test]
fn what_comes_of_a_channel_follows_the_answer_to_its_subscription() {
    const TEST: &str = "socketio::kept::what_comes_of_a_channel_follows_the_answer_to_its_subscription";
    be_a_node(2, || SocketIo::channels().recovery(LONG));
    let directory = Directory::new("behind");
    let node = Node::start(TEST, &directory.0);
    let (mut client, _) = Io::connected(node.address, Way::WebSocket);
    client.call(json!(["publish", "chat:a", "past"]));
    for round in 0..10 {
        let id = client.emit_for_ack("/", json!(["subscribe", "chat:a", {"last": 1}]));
        let answer = client.next().expect("an answer");
        assert_eq!((answer.kind, answer.id), (ACK, Some(id)), "round {round}, {answer:?}");
        assert_eq!(client.event()[0], "publication", "round {round}");
        client.call(json!(["unsubscribe", "chat:a"]));
    }
}
