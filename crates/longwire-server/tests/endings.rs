//! What is left of a line that has ended: nothing. And handlers that fail in unusual places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longwire_server::{ClosingReply, End, Line, LineHandler, Received, Socket};
use longwire_ws::Opcode;

use crate::support::{Client, child, echo, eventually, rss, serve};

/// Counts the values that are alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Token(Arc<AtomicUsize>);

impl Alive {
    fn token(&self) -> Token {
        self.0.fetch_add(1, Ordering::SeqCst);
        Token(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Holder {
    _token: Token,
}

impl LineHandler for Holder {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.subscribe("all");
        line.send(message.kind(), message.as_bytes());
    }
}

#[test]
fn handlers_and_their_tasks_are_let_go_however_their_lines_end() {
    for shards in [1, 2] {
        let (lines, tasks) = (Alive::default(), Alive::default());
        let server = serve(shards, |builder| {
            let (lines, tasks) = (lines.clone(), tasks.clone());
            builder
                .line_handler("/calls", move |_| Holder { _token: lines.token() })
                .websocket("/task", move |mut socket: Socket| {
                    let token = tasks.token();
                    async move {
                        while let Some(message) = socket.recv().await {
                            if socket.send(message).await.is_err() {
                                break;
                            }
                        }
                        drop(token);
                    }
                })
                .configure(|config| config.close_timeout = Duration::from_millis(100))
        });
        for path in ["/calls", "/task"] {
            for round in 0..40 {
                let mut client = Client::open(server.address, path);
                client.send_text("hello");
                client.expect_text("hello");
                match round % 5 {
                    0 => client.close(),
                    1 => drop(client),
                    2 => client.reset(),
                    3 => client.send_raw(&[0xFF, 0xFF]),
                    _ => {
                        client.send_raw(&[0x81]);
                        drop(client);
                    }
                }
            }
        }
        server.expect_empty();
        eventually("all handlers are dropped", || lines.count() == 0 && tasks.count() == 0);
    }
}

#[test]
fn handlers_are_let_go_at_a_shutdown() {
    let (lines, tasks) = (Alive::default(), Alive::default());
    let server = serve(2, |builder| {
        let (lines, tasks) = (lines.clone(), tasks.clone());
        builder.line_handler("/calls", move |_| Holder { _token: lines.token() }).websocket("/task", move |socket: Socket| {
            let token = tasks.token();
            async move {
                // Never takes note of the end.
                std::future::pending::<()>().await;
                drop((token, socket));
            }
        })
    });
    let clients: Vec<Client> =
        (0..8).map(|n| Client::open(server.address, if n % 2 == 0 { "/calls" } else { "/task" })).collect();
    eventually("all are open", || lines.count() == 4 && tasks.count() == 4);
    server.shutdown();
    drop(clients);
    server.join();
    assert_eq!((lines.count(), tasks.count()), (0, 0));
}

/// Memory that lines leave behind, after many came and went: only what an allocator keeps.
#[test]
fn lines_that_come_and_go_leave_no_memory_behind() {
    child("endings::lines_that_come_and_go_leave_no_memory_behind", || {
        let server = serve(1, |builder| builder.websocket("/task", echo).line_handler("/calls", |_| Subscriber(0)));
        let mut after = Vec::new();
        for _ in 0..5 {
            for n in 0..300 {
                let mut client = Client::open(server.address, if n % 2 == 0 { "/task" } else { "/calls" });
                client.send(Opcode::Binary, &[0; 50_000]);
                assert_eq!(client.expect(Opcode::Binary).len(), 50_000);
            }
            server.expect_empty();
            after.push(rss());
        }
        // Each round moved 30 MB through 300 lines: a leak of a kilobyte a line would be 1.2 MB.
        assert!(after[4] < after[0] + (1 << 20), "{after:?}");
    });
}

/// Subscribes to channels of its own with each message.
struct Subscriber(usize);

impl LineHandler for Subscriber {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        for n in 0..20 {
            line.subscribe(&format!("{:?} {} {n}", line_name(), self.0));
        }
        self.0 += 1;
        line.send(message.kind(), message.as_bytes());
    }
}

fn line_name() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A handler may be a function that does something before it returns its future. It then runs inside of the line's opening.
#[test]
fn an_async_handler_may_use_its_socket_before_its_future() {
    child("endings::an_async_handler_may_use_its_socket_before_its_future", || {
        let server = serve(1, |builder| {
            builder.websocket("/ws", |mut socket: Socket| {
                let subscribed = socket.subscribe("news");
                async move {
                    let _ = socket.send(format!("{subscribed:?}")).await;
                    while socket.recv().await.is_some() {}
                }
            })
        });
        let mut client = Client::open(server.address, "/ws");
        client.expect_text("Ok(true)");
        server.node().publish("news", "hello").unwrap();
        client.expect_text("hello");
    });
}

#[test]
fn an_async_handler_that_panics_before_its_future_closes_its_line_only() {
    child("endings::an_async_handler_that_panics_before_its_future_closes_its_line_only", || {
        let server = serve(1, |builder| {
            builder.websocket("/echo", echo).websocket("/ws", |socket: Socket| {
                if socket.node().is_some() {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                async move { drop(socket) }
            })
        });
        let mut neighbour = Client::open(server.address, "/echo");
        let mut client = Client::open(server.address, "/ws");
        client.expect_close(1011);
        neighbour.send_text("still here");
        neighbour.expect_text("still here");
    });
}

/// Panics wherever it is told to.
struct Clumsy(&'static str);

impl Clumsy {
    fn may_panic(&self, place: &str) {
        if self.0 == place {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

impl LineHandler for Clumsy {
    fn opened(&mut self, _: &mut Line<'_>) {
        self.may_panic("opened");
    }

    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
        self.may_panic("message");
    }

    fn closed(&mut self, _: &End) -> ClosingReply {
        self.may_panic("closed");
        ClosingReply::Now
    }
}

impl Drop for Clumsy {
    fn drop(&mut self) {
        self.may_panic("drop");
    }
}

#[test]
fn a_line_handler_may_panic_anywhere_without_harm_to_its_neighbours() {
    let server = serve(1, |builder| {
        let mut builder = builder.websocket("/echo", echo);
        for place in ["opened", "message", "closed", "drop"] {
            builder = builder.line_handler(&format!("/{place}"), move |_| Clumsy(place));
        }
        builder.line_handler("/make", |_| -> Clumsy { std::panic::resume_unwind(Box::new("on purpose")) })
    });
    let mut neighbour = Client::open(server.address, "/echo");
    for place in ["opened", "make"] {
        let mut client = Client::open(server.address, &format!("/{place}"));
        client.expect_close(1011);
    }
    let mut client = Client::open(server.address, "/message");
    client.send_text("hello");
    client.expect_text("hello");
    client.expect_close(1011);
    for place in ["closed", "drop"] {
        Client::open(server.address, &format!("/{place}")).close();
        drop(Client::open(server.address, &format!("/{place}")));
    }
    drop(client);
    neighbour.send_text("still here");
    neighbour.expect_text("still here");
    eventually("only the neighbour is left", || server.node().connections() == 1);
}

/// A future that is asked again and again, as in a `select!` loop, must not leave a waker behind each time.
#[test]
fn a_send_that_is_tried_again_and_again_keeps_one_waker() {
    use std::future::{Future, poll_fn};
    use std::task::{Context, Poll, Wake, Waker};

    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }

    let (told, counts) = std::sync::mpsc::channel();
    let server = serve(1, |builder| {
        builder.websocket("/ws", move |socket: Socket| {
            let told = told.clone();
            async move {
                let counted = Arc::new(Counted);
                let waker = Waker::from(counted.clone());
                // Fills the outbox, so that the next has to wait.
                let _ = socket.send(vec![0; 16 << 20]).await;
                poll_fn(|_| {
                    for _ in 0..1000 {
                        let mut send = std::pin::pin!(socket.send("more"));
                        assert_eq!(send.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
                    }
                    Poll::Ready(())
                })
                .await;
                let _ = told.send(Arc::strong_count(&counted));
            }
        })
    });
    let _client = Client::open_narrow(server.address, "/ws");
    let count = crate::support::next(&counts);
    assert!(count < 10, "{count} wakers are kept");
}
