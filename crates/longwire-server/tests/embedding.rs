//! Inside of somebody else's application, over TCP and over what is not TCP.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use longwire_server::{Running, Server, ServerBuilder};
use longwire_ws::{Opcode, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use tower::Service as _;

use crate::support::{
    BOUND, Client, NEVER, answer, commands, commands_line, echo, eventually, frame_of, handshake, join_within_bound,
};

fn builder(shards: usize) -> ServerBuilder {
    Server::builder()
        .shards(shards)
        .websocket("/task", commands)
        .websocket("/echo", echo)
        .line_handler("/calls", commands_line)
        .configure(|config| {
            config.ping_interval = NEVER;
            config.drain = Duration::ZERO;
        })
}

/// The application's own runtime, on a thread of its own.
struct AppRuntime {
    runtime: Arc<Runtime>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn runtime() -> AppRuntime {
    let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let driven = runtime.clone();
    std::thread::spawn(move || driven.block_on(stopped));
    AppRuntime { runtime, _stop: stop }
}

impl Deref for AppRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

/// An axum application with our paths in it, on a runtime of its own.
fn application(runtime: &Runtime, shards: usize) -> (SocketAddr, Running) {
    let (websockets, running) = builder(shards).into_router().unwrap();
    let app = Router::new().route("/", get(|| async { "my page" })).nest("/live", websockets);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, app).await });
    (address, running)
}

#[test]
fn lines_of_an_axum_application_run_on_shards_of_their_own() {
    for shards in [1, 2] {
        let runtime = runtime();
        let (address, running) = application(&runtime, shards);
        assert_eq!(answer(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").body, "my page");
        answer(address, &handshake("/live/task", "").replace("Version: 13", "Version: 8"))
            .expect_error(426, "unsupported_websocket_version");
        let mut clients: Vec<Client> = (0..4).map(|n| Client::open(address, ["/live/task", "/live/calls"][n % 2])).collect();
        let mut threads = std::collections::BTreeSet::new();
        for client in &mut clients {
            client.send_text("shard");
            threads.insert(client.text());
            client.send_text("subscribe news");
            client.expect_text("ok");
        }
        let expected: Vec<String> = (0..shards).map(|shard| format!("longwire-shard-{shard}")).collect();
        assert!(threads.iter().eq(&expected), "{threads:?}");
        running.node().publish("news", "hello").unwrap();
        for client in &mut clients {
            client.expect_text("hello");
        }
        running.shutdown();
        for mut client in clients {
            client.expect_close(1001);
            client.send_close(1001, "");
            client.expect_end();
        }
        join_within_bound(running).unwrap();
        // The application goes on, and says so to those who still want a line.
        answer(address, &handshake("/live/task", "")).expect_error(503, "shutting_down");
        assert_eq!(answer(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").body, "my page");
    }
}

#[test]
fn lines_of_an_application_are_counted_and_limited_too() {
    let runtime = runtime();
    let (websockets, running) = builder(2).configure(|config| config.max_connections = 2).into_router().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, websockets).await });
    let mut lines: Vec<Client> = (0..2).map(|_| Client::open(address, "/echo")).collect();
    assert_eq!(running.node().connections(), 2);
    let refused = answer(address, &handshake("/echo", ""));
    refused.expect_error(503, "too_many_connections");
    assert!(refused.header("retry-after").is_some());
    lines.remove(0).close();
    eventually("a place is free", || running.node().connections() == 1);
    lines.push(Client::open(address, "/echo"));
}

#[test]
fn frames_behind_the_handshake_reach_a_line_of_an_application_too() {
    let runtime = runtime();
    let (address, _running) = application(&runtime, 2);
    let mut client = Client::tcp(address);
    client.send_raw(&[handshake("/live/echo", "").as_bytes(), &frame_of(Opcode::Text, b"first")].concat());
    client.upgraded();
    client.expect_text("first");
    client.close();
}

/// Serves our paths over one end of a pipe in memory; the other end is the client's.
fn over_a_pipe(runtime: &Runtime, running_router: &Router, capacity: usize) -> DuplexStream {
    let (client, server) = tokio::io::duplex(capacity);
    let router = running_router.clone();
    runtime.spawn(async move {
        let service = hyper::service::service_fn(move |request: Request<Incoming>| router.clone().call(request));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).with_upgrades().await;
    });
    client
}

/// Reads up to the end of the handshake's answer.
async fn read_head(client: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("an answer"));
    }
    String::from_utf8(head).unwrap()
}

async fn read_frame(client: &mut DuplexStream) -> (Opcode, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some((header, len)) = frame::Header::decode(&bytes).unwrap() {
            let mut payload = vec![0; header.payload_len as usize];
            assert_eq!(bytes.len(), len);
            client.read_exact(&mut payload).await.unwrap();
            return (header.opcode, payload);
        }
        bytes.push(client.read_u8().await.expect("a frame"));
    }
}

fn within_bound<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    runtime.block_on(async { tokio::time::timeout(BOUND, what).await }).expect("not within the bound")
}

#[test]
fn a_line_works_over_a_transport_that_is_no_socket() {
    for shards in [1, 2] {
        let runtime = runtime();
        let (router, running) = builder(shards).into_router().unwrap();
        for capacity in [64, 1 << 16] {
            let mut client = over_a_pipe(&runtime, &router, capacity);
            within_bound(&runtime, async {
                let (mut reader, mut writer) = tokio::io::split(&mut client);
                let sent = async {
                    writer.write_all(handshake("/echo", "").as_bytes()).await.unwrap();
                    writer.write_all(&frame_of(Opcode::Text, b"hello")).await.unwrap();
                    writer.write_all(&frame_of(Opcode::Binary, &vec![7; 900_000])).await.unwrap();
                    writer.write_all(&frame_of(Opcode::Close, &4000u16.to_be_bytes())).await.unwrap();
                };
                let received = async {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).await.unwrap();
                    all
                };
                let ((), all) = tokio::join!(sent, received);
                let head = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                assert!(all.starts_with(b"HTTP/1.1 101"));
                let mut expected = b"\x81\x05hello".to_vec();
                frame::encode(Opcode::Binary, &vec![7; 900_000], None, &mut expected);
                expected.extend(b"\x88\x02\x0f\xa0");
                assert!(all[head..] == expected);
            });
        }
        running.shutdown();
        join_within_bound(running).unwrap();
    }
}

#[test]
fn a_transport_that_breaks_off_ends_its_line() {
    let runtime = runtime();
    let (router, running) = builder(1).into_router().unwrap();
    let mut client = over_a_pipe(&runtime, &router, 1 << 16);
    within_bound(&runtime, async {
        client.write_all(handshake("/echo", "").as_bytes()).await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101"));
    });
    drop(client);
    running.shutdown();
    // Nobody answers the close any more; only the end of the transport can end the line before its time-out.
    join_within_bound(running).unwrap();
}

/// Once the server has closed, nothing may wait for the client to do the same.
#[test]
fn a_transport_whose_client_never_closes_is_dropped_in_the_end() {
    let runtime = runtime();
    let (router, running) =
        builder(1).configure(|config| config.close_timeout = Duration::from_millis(100)).into_router().unwrap();
    let mut client = over_a_pipe(&runtime, &router, 1 << 16);
    within_bound(&runtime, async {
        client.write_all(handshake("/calls", "").as_bytes()).await.unwrap();
        read_head(&mut client).await;
        client.write_all(&frame_of(Opcode::Text, b"close 4000")).await.unwrap();
        assert_eq!(read_frame(&mut client).await.0, Opcode::Close);
        // No answer. The server's direction ends, and then the other one.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        while client.write_all(&[0x8A, 0x80, 0, 0, 0, 0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut silent = over_a_pipe(&runtime, &router, 1 << 16);
    within_bound(&runtime, async {
        silent.write_all(handshake("/calls", "").as_bytes()).await.unwrap();
        read_head(&mut silent).await;
        silent.write_all(&frame_of(Opcode::Text, b"close 4000")).await.unwrap();
        assert_eq!(read_frame(&mut silent).await.0, Opcode::Close);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    });
    // A runtime's tasks that are alive: the one of each connection ends although nothing more is sent.
    let metrics = runtime.metrics();
    eventually("no task is left", || metrics.num_alive_tasks() == 0);
    drop((client, silent));
    running.shutdown();
    join_within_bound(running).unwrap();
}

/// The same for a client that does not even read.
#[test]
fn a_transport_whose_client_never_reads_is_dropped_in_the_end() {
    let runtime = runtime();
    let (router, running) = Server::builder()
        .shards(1)
        .websocket(
            "/pour",
            |socket: longwire_server::Socket| async move { while socket.send(vec![0; 100_000]).await.is_ok() {} },
        )
        .configure(|config| {
            config.write_timeout = Duration::from_millis(150);
            config.close_timeout = Duration::from_millis(100);
        })
        .into_router()
        .unwrap();
    let mut client = over_a_pipe(&runtime, &router, 1 << 10);
    within_bound(&runtime, async {
        client.write_all(handshake("/pour", "").as_bytes()).await.unwrap();
        read_head(&mut client).await;
    });
    let metrics = runtime.metrics();
    eventually("no task is left", || metrics.num_alive_tasks() == 0);
    drop(client);
    running.shutdown();
    join_within_bound(running).unwrap();
}

/// The answer to a handshake can be on its way while the server ends: nobody is left to take the line over.
#[test]
fn a_handshake_that_ends_after_the_server_is_dropped() {
    let runtime = runtime();
    let (router, running) = builder(2).into_router().unwrap();
    // So narrow that the answer does not fit.
    let mut client = over_a_pipe(&runtime, &router, 16);
    let first = within_bound(&runtime, async {
        client.write_all(handshake("/echo", "").as_bytes()).await.unwrap();
        client.read_u8().await.unwrap()
    });
    assert_eq!(first, b'H');
    running.shutdown();
    join_within_bound(running).unwrap();
    within_bound(&runtime, async {
        read_head(&mut client).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    });
}
