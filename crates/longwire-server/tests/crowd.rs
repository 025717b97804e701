//! Many at once, and some of them mad.

use longwire_ws::{Opcode, frame};

use crate::support::{Client, EchoLine, Gate, blocker, commands_line, echo, frame_of, handshake, serve};

/// Plain and fast; the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Opens many lines: all handshakes first, then all answers.
fn open_many(address: std::net::SocketAddr, path: &str, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::tcp(address)).collect();
    for client in &mut clients {
        client.send_raw(handshake(path, "").as_bytes());
    }
    for client in &mut clients {
        client.upgraded();
    }
    clients
}

/// The operating system reports only so many lines at a time; the others are as ready, and nothing else will say so.
#[test]
fn more_lines_can_be_ready_at_once_than_one_look_reports() {
    let gate = Gate::default();
    let server = serve(1, |builder| builder.line_handler("/block", blocker(&gate)).line_handler("/calls", |_| EchoLine));
    let mut clients = open_many(server.address, "/calls", 2500);
    let mut holder = Client::open(server.address, "/block");
    holder.send_text("hold");
    gate.wait_entered(1);
    for (n, client) in clients.iter_mut().enumerate() {
        client.send_text(&n.to_string());
    }
    gate.open();
    for (n, client) in clients.iter_mut().enumerate() {
        client.expect_text(&n.to_string());
    }
    holder.expect_text("hold");
}

/// Each has its turn, however much one of them says.
#[test]
fn beside_a_line_that_floods_its_neighbour_is_heard() {
    let server = serve(1, |builder| builder.line_handler("/calls", |_| EchoLine));
    let (mut flooder, mut neighbour) = (Client::open(server.address, "/calls"), Client::open(server.address, "/calls"));
    let pongs = frame_of(Opcode::Pong, b"").repeat(200_000);
    for _ in 0..20 {
        flooder.send_raw(&pongs);
        neighbour.send_text("there?");
        neighbour.expect_text("there?");
    }
    flooder.send_text("still");
    flooder.expect_text("still");
}

#[test]
fn a_publication_reaches_two_thousand_lines_and_all_of_them_may_leave_at_once() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.line_handler("/calls", commands_line));
        let mut clients = open_many(server.address, "/calls", 2000);
        for client in &mut clients {
            client.send_text("subscribe news");
        }
        for client in &mut clients {
            client.expect_text("ok");
        }
        for n in 0..3 {
            server.node().publish("news", n.to_string()).unwrap();
        }
        for client in &mut clients {
            for n in 0..3 {
                client.expect_text(&n.to_string());
            }
        }
        drop(clients);
        server.expect_empty();
    }
}

#[test]
fn random_bytes_from_a_thousand_clients_at_once_harm_nobody() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine));
        let mut neighbours: Vec<Client> =
            (0..2 * shards).map(|n| Client::open(server.address, ["/task", "/calls"][n % 2])).collect();
        let mut random = Random(0x5EED + shards as u64);
        let mut clients = open_many(server.address, "/task", 250);
        clients.extend(open_many(server.address, "/calls", 250));
        for round in 0..4 {
            for client in &mut clients {
                let len = random.below(300) as usize;
                // Some are closed by now.
                let _ = client.try_send_raw(&random.bytes(len));
            }
            for neighbour in &mut neighbours {
                neighbour.send_text(&round.to_string());
                neighbour.expect_text(&round.to_string());
            }
        }
        drop((clients, neighbours));
        server.expect_empty();
    }
}

/// Frames that are right for the most part get farther than plain noise.
#[test]
fn almost_valid_frames_from_a_thousand_clients_harm_nobody() {
    for shards in [1, 2] {
        let server = serve(shards, |builder| {
            builder.websocket("/task", echo).line_handler("/calls", commands_or_echo).configure(|config| {
                config.deflate = Some(longwire_server::DeflateConfig::default());
                config.limits.max_message_bytes = 5000;
                config.outbox_bytes = 20_000;
                config.inbox_bytes = 2000;
            })
        });
        let mut neighbour = Client::open(server.address, "/task");
        let mut random = Random(0xF00D + shards as u64);
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let mut clients: Vec<Client> = (0..500)
            .map(|n| {
                let more = if n % 3 == 0 { offer } else { "" };
                Client::tcp(server.address).upgrade(["/task", "/calls"][n % 2], more).0
            })
            .collect();
        for round in 0..6 {
            for client in &mut clients {
                let _ = client.try_send_raw(&almost_valid(&mut random));
            }
            neighbour.send_text(&round.to_string());
            neighbour.expect_text(&round.to_string());
            for _ in 0..20 {
                let leaver = random.below(clients.len() as u64) as usize;
                let client = clients.swap_remove(leaver);
                if random.below(2) == 0 { drop(client) } else { client.reset() }
            }
        }
        drop((clients, neighbour));
        server.expect_empty();
    }
}

/// Echoes, since random texts are no commands.
fn commands_or_echo(_: &longwire_server::Opening) -> EchoLine {
    EchoLine
}

/// A few frames, of which a byte may be wrong or the end missing.
fn almost_valid(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(6) {
        let opcode = [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Pong, Opcode::Close];
        let kinds = if random.below(8) == 0 { 6 } else { 5 };
        let opcode = opcode[random.below(kinds) as usize];
        let most = if opcode.is_control() { 126 } else { 3000 };
        let len = random.below(most) as usize;
        let payload = if random.below(2) == 0 { vec![b'a'; len] } else { random.bytes(len) };
        let header = frame::Header {
            fin: opcode.is_control() || random.below(3) > 0,
            rsv: if random.below(6) == 0 { frame::RSV1 } else { 0 },
            mask: Some([random.next() as u8, 7, 0, 255]),
            ..frame::Header::new(opcode, 0)
        };
        frame::encode_with(header, &payload, &mut bytes);
    }
    if !bytes.is_empty() && random.below(4) == 0 {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
    let keep = if random.below(4) == 0 { random.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
    bytes.truncate(keep);
    bytes
}

#[test]
fn lines_that_come_and_go_all_the_time_do_not_disturb_those_that_stay() {
    let server = serve(2, |builder| builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine));
    let address = server.address;
    std::thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || {
                for round in 0..60 {
                    let mut client = Client::open(address, ["/task", "/calls"][(thread + round) % 2]);
                    client.send_text("hello");
                    match round % 4 {
                        0 => drop(client),
                        1 => client.reset(),
                        2 => {
                            client.expect_text("hello");
                            client.close();
                        }
                        _ => {
                            client.send_raw(&[0xFF]);
                            client.expect_text("hello");
                            client.expect_close(1002);
                        }
                    }
                }
            });
        }
        let mut stays = Client::open(address, "/task");
        for n in 0..300 {
            stays.send_text(&n.to_string());
            stays.expect_text(&n.to_string());
        }
    });
    server.expect_empty();
}
