//! Handlers that do many things in one go: everybody hears them in their order, as a model says that does them one after the other.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use longwire_server::socketio::{Ack, Broadcast, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{ACK, DISCONNECT, Io, WAYS, Way};
use super::{commands, serve_io};
use crate::support::within_bound;

const ROOMS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 4;

/// A server whose handlers do what a script says, in one go.
fn io(recovers: bool) -> SocketIo {
    let everyone = std::sync::Arc::new(std::sync::OnceLock::<Broadcast>::new());
    let later = everyone.clone();
    let io = SocketIo::new().namespace("/", move |namespace| {
        commands(namespace)
            .on("script", move |socket: Socket, steps: (Vec<(String, String, u64)>,), ack: Ack| {
                for (what, room, n) in &steps.0 {
                    match &**what {
                        "self" => socket.emit("n", (n,)),
                        "room" => socket.io().to(room).emit("n", (n,)),
                        "others" => socket.to(room).emit("n", (n,)),
                        "all" => socket.io().emit("n", (n,)),
                        "handle" => everyone.get().expect("it runs").clone().to(room).emit("n", (n,)),
                        "two" => socket.io().to(room).to("a").except("c").emit("n", (n,)),
                        "join" => socket.join(room).expect("a room"),
                        "leave" => socket.leave(room),
                        other => panic!("{other}"),
                    }
                }
                let mut rooms = socket.rooms();
                rooms.sort();
                ack.send((rooms,));
            })
            .on("act", async |socket: Socket, steps: (Vec<(String, String, u64)>,), ack: Ack| {
                for (what, room, n) in &steps.0 {
                    let those = socket.io().to(room);
                    match &**what {
                        "room" => those.emit("n", (n,)),
                        "all join" => drop(socket.io().sockets_join(room).await.expect("they join")),
                        "join a" => drop(those.sockets_join("a").await.expect("they join")),
                        "leave" => drop(those.sockets_leave(room).await.expect("they leave")),
                        "self" => socket.emit("n", (n,)),
                        other => panic!("{other}"),
                    }
                }
                ack.send(());
            })
    });
    let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
    let _ = later.set(io.of("/"));
    io
}

/// The clients of a server, and what each is still to hear.
struct Model {
    clients: Vec<Io>,
    rooms: Vec<BTreeSet<&'static str>>,
    expected: Vec<VecDeque<u64>>,
    n: u64,
    how: String,
}

impl Model {
    fn emit(&mut self, hears: impl Fn(usize, &BTreeSet<&str>) -> bool) -> u64 {
        self.n += 1;
        for at in (0..CLIENTS).filter(|at| hears(*at, &self.rooms[*at])) {
            self.expected[at].push_back(self.n);
        }
        self.n
    }

    /// One step of a handler of a client.
    fn step(&mut self, who: usize, what: &'static str, room: &'static str) -> Value {
        let n = match what {
            "self" => self.emit(|at, _| at == who),
            "room" | "handle" => self.emit(|_, rooms| rooms.contains(room)),
            "others" => self.emit(|at, rooms| at != who && rooms.contains(room)),
            "all" => self.emit(|_, _| true),
            "two" => self.emit(|_, rooms| (rooms.contains(room) || rooms.contains("a")) && !rooms.contains("c")),
            "join" => {
                self.rooms[who].insert(room);
                0
            }
            "leave" => {
                self.rooms[who].remove(room);
                0
            }
            other => panic!("{other}"),
        };
        json!([what, room, n])
    }

    fn act(&mut self, who: usize, what: &'static str, room: &'static str) -> Value {
        match what {
            "all join" => self.rooms.iter_mut().for_each(|rooms| rooms.extend([room])),
            "join a" => self.rooms.iter_mut().filter(|rooms| rooms.contains(room)).for_each(|rooms| rooms.extend(["a"])),
            "leave" => self.rooms.iter_mut().for_each(|rooms| rooms.retain(|of| *of != room)),
            _ => return self.step(who, what, room),
        }
        json!([what, room, 0])
    }

    /// What a client hears before it is answered is what it should, in order; and the answer.
    fn run(&mut self, who: usize, event: &str, steps: &[Value]) -> Value {
        let id = self.clients[who].emit_for_ack("/", json!([event, steps]));
        // All that it was to hear by now comes before the answer.
        let rest = std::mem::take(&mut self.expected[who]);
        for n in rest {
            assert_eq!(self.clients[who].event(), json!(["n", n]), "{}: {steps:?}", self.how);
        }
        let answer = self.clients[who].next().expect("an answer");
        assert_eq!((answer.kind, answer.id), (ACK, Some(id)), "{steps:?}");
        answer.data
    }

    /// And what the others hear.
    fn check_others(&mut self, steps: &[Value]) {
        for at in 0..CLIENTS {
            while let Some(n) = self.expected[at].pop_front() {
                assert_eq!(
                    self.clients[at].event(),
                    json!(["n", n]),
                    "{}: client {at}, in {:?} now: {steps:?}",
                    self.how,
                    self.rooms[at]
                );
            }
        }
    }
}

#[test]
fn what_a_handler_does_is_heard_in_its_order_by_everyone() {
    let mut random = longwire_core::Random::seeded(8);
    let mut random = move |below: usize| (random.number() % below as u64) as usize;
    for (shards, way, recovers) in [
        (1, Way::WebSocket, false),
        (3, Way::WebSocket, false),
        (3, Way::Polling, true),
        (3, Way::WebSocket, true),
        (1, Way::WebSocket, true),
    ] {
        let server = serve_io(shards, io(recovers));
        let clients = (0..CLIENTS).map(|_| Io::connected(server.address, way).0).collect();
        let (rooms, expected) = (vec![BTreeSet::new(); CLIENTS], vec![VecDeque::new(); CLIENTS]);
        let how = format!("{shards} {way:?} {recovers}");
        let mut model = Model { clients, rooms, expected, n: 0, how };
        for round in 0..60 {
            let who = random(CLIENTS);
            let kinds: &[_] = if round % 3 == 2 {
                &["room", "room", "self", "all join", "join a", "leave"]
            } else {
                &["self", "self", "room", "others", "all", "handle", "two", "join", "leave"]
            };
            let steps: Vec<_> = (0..1 + random(30)).map(|_| (kinds[random(kinds.len())], ROOMS[random(3)])).collect();
            let acts = round % 3 == 2;
            let step = |(what, room)| if acts { model.act(who, what, room) } else { model.step(who, what, room) };
            let steps: Vec<_> = steps.into_iter().map(step).collect();
            let answer = model.run(who, if acts { "act" } else { "script" }, &steps);
            if !acts {
                assert_eq!(answer, json!([model.rooms[who]]), "the rooms as the handler has left them");
            }
            model.check_others(&steps);
        }
    }
}

/// What was emitted to a client just before it is put out reaches it, and it knows who did it.
#[test]
fn who_is_put_out_hears_what_was_emitted_before_and_by_whom_it_was_done() {
    for (recovers, close) in [(false, false), (false, true), (true, false), (true, true)] {
        for way in WAYS {
            let io = SocketIo::new().namespace("/", |namespace| {
                commands(namespace)
                    .on("last words", |socket: Socket, (close,): (bool,)| {
                        socket.io().to("a").emit("n", (1,));
                        socket.emit("n", (2,));
                        match close {
                            true => socket.close(),
                            false => socket.disconnect(),
                        }
                        socket.to("b").emit("n", (3,));
                        socket.emit("n", (4,));
                    })
                    .on("put out", async |socket: Socket, (room, close): (String, bool), ack: Ack| {
                        socket.io().to(&room).emit("n", (1,));
                        let count = socket.io().to(&room).disconnect_sockets(close).await.expect("a number");
                        socket.io().to(&room).emit("n", (2,));
                        ack.send((count,));
                    })
            });
            let io = if recovers { io.recovery(Duration::from_secs(60)) } else { io };
            let everyone = io.of("/");
            let server = serve_io(3, io);
            let (mut watcher, _) = Io::connected(server.address, way);
            watcher.call(json!(["join", "b"]));
            let is_end = |client: &mut Io| {
                assert_eq!(client.next().expect("a packet").kind, DISCONNECT, "{way:?} {close}");
                if close {
                    assert_eq!(client.next(), None);
                }
            };
            for _ in 0..10 {
                let (mut client, _) = Io::connected(server.address, way);
                client.call(json!(["join", "a"]));
                client.emit("/", json!(["last words", close]));
                assert_eq!((client.event(), client.event()), (json!(["n", 1]), json!(["n", 2])), "{way:?} {close}");
                is_end(&mut client);
                assert_eq!(watcher.event(), json!(["n", 3]), "what it has done then is done");
            }
            // By others, in a handler and on another thread.
            for round in 0..6 {
                let mut clients: Vec<_> = (0..4).map(|_| Io::connected(server.address, way).0).collect();
                for client in &mut clients {
                    client.call(json!(["join", "a"]));
                }
                if round % 2 == 0 {
                    assert_eq!(watcher.call(json!(["put out", "a", close])), json!([4]));
                } else {
                    let room = everyone.clone().to("a");
                    room.emit("n", (1,));
                    assert_eq!(within_bound(room.disconnect_sockets(close)), Ok(4));
                    room.emit("n", (2,));
                }
                for client in &mut clients {
                    assert_eq!(client.event(), json!(["n", 1]), "{way:?} {close}");
                    is_end(client);
                }
            }
        }
    }
}

/// As the one before, for all namespaces of a connection.
#[test]
fn closing_puts_a_client_out_of_all_its_namespaces() {
    for way in WAYS {
        let io = SocketIo::new().namespace("/", commands).namespace("/b", commands).recovery(Duration::from_secs(60));
        let server = serve_io(2, io);
        let (mut client, connected) = Io::connected(server.address, way);
        client.connect("/b", &Value::Null);
        client.emit("/", json!(["close me"]));
        let mut left: Vec<_> = (0..2).map(|_| client.next().expect("a packet")).collect();
        left.sort_by_key(|packet| packet.namespace.clone());
        let left: Vec<_> = left.iter().map(|packet| (packet.kind, &*packet.namespace)).collect();
        assert_eq!(left, [(DISCONNECT, "/"), (DISCONNECT, "/b")]);
        assert_eq!(client.next(), None);
        // What it had is of no use any more.
        let mut again = Io::open(server.address, way);
        let new = again.connect("/", &json!({"pid": connected.pid, "offset": "-"}));
        assert_ne!(new.sid, connected.sid);
    }
}
