//! WebSocket over HTTP/2 (RFC 8441).

use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use http::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use longwire_server::{CloseCode, Closed, DeflateConfig, EndedBy, EngineOptions, Opening, Server, Socket};
use longwire_ws::Opcode;

use super::client::send_bytes;
use super::{Http2, code_of, eventually};
use crate::support::{EchoLine, commands, commands_line, echo, frame_of, next, recorder, serve, within_bound};

#[test]
fn lines_echo_and_close_and_the_connection_stays() {
    let server = serve(2, |builder| builder.websocket("/task", echo).line_handler("/calls", |_| EchoLine));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        for path in ["/task", "/calls", "/task"] {
            let mut line = client.open(path).await;
            assert_eq!(server.node().connections(), 2, "the connection and the line");
            for n in 0..50 {
                line.send_text(&n.to_string()).await;
                line.expect_text(&n.to_string()).await;
            }
            line.send(Opcode::Ping, b"ping").await;
            assert_eq!(line.recv().await, Some((Opcode::Pong, b"ping".to_vec())));
            line.close().await;
            eventually("the line is gone", || server.node().connections() == 1).await;
        }
    });
    server.expect_empty();
}

#[test]
fn large_messages_go_both_ways_at_once_on_many_lines() {
    let server = serve(2, |builder| builder.line_handler("/calls", |_| EchoLine));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut tasks = Vec::new();
        for n in 0..8_u8 {
            let mut line = client.open("/calls").await;
            tasks.push(tokio::spawn(async move {
                let payload: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8 ^ n).collect();
                for _ in 0..2 {
                    line.send(Opcode::Binary, &payload).await;
                    let (opcode, back) = line.recv().await.expect("a message");
                    assert!(opcode == Opcode::Binary && back == payload);
                }
                line.close().await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn lines_of_both_versions_are_in_the_same_channels() {
    let server = serve(2, |builder| builder.websocket("/task", commands).line_handler("/calls", commands_line));
    let mut other = crate::support::Client::open(server.address, "/calls");
    other.send_text("subscribe news");
    other.expect_text("ok");
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut lines = Vec::new();
        for n in 0..90 {
            let mut line = client.open(["/task", "/calls"][n % 2]).await;
            line.send_text("subscribe news").await;
            line.expect_text("ok").await;
            lines.push(line);
        }
        for n in 0..10 {
            lines[n].send_text(&format!("publish news {n}")).await;
            for line in &mut lines {
                line.expect_text(&n.to_string()).await;
            }
        }
    });
    for n in 0..10 {
        other.expect_text(&n.to_string());
    }
}

#[test]
fn a_stream_that_is_reset_cuts_its_line_and_no_other() {
    let (ends, ended) = mpsc::channel();
    let server = serve(2, |builder| builder.websocket("/ws", echo).line_handler("/record", recorder(ends)));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut stays = client.open("/ws").await;
        let mut cut = client.open("/record").await;
        // In the middle of a message.
        send_bytes(&mut cut.to, frame_of(Opcode::Text, &[b'x'; 1000])[..500].to_vec().into()).await;
        cut.reset();
        assert_eq!(tokio::task::spawn_blocking(move || next(&ended)).await.unwrap().by, EndedBy::Cut);
        eventually("its place is free", || server.node().connections() == 2).await;
        // One that ends without a close frame is cut, too, and the server's side ends.
        let mut ends = client.open("/record").await;
        ends.to.send_data(Bytes::new(), true).unwrap();
        assert_eq!(ends.recv().await, None);
        stays.send_text("still here").await;
        stays.expect_text("still here").await;
        // With the connection all of its lines are gone.
        client.driver.abort();
    });
    server.expect_empty();
}

#[test]
fn what_breaks_the_rules_of_websocket_is_closed_as_elsewhere() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).configure(|config| config.limits.max_message_bytes = 1000));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let broken =
            [(frame_of(Opcode::Text, &[0xff]), 1007), (frame_of(Opcode::Text, &[b'x'; 1001]), 1009), (vec![0x81, 0], 1002)];
        for (bytes, code) in broken {
            let mut line = client.open("/ws").await;
            send_bytes(&mut line.to, bytes.into()).await;
            line.expect_close(code).await;
            assert_eq!(line.recv().await, None);
        }
        let mut kicked = client.open("/ws").await;
        kicked.send_text("last").await;
        kicked.expect_text("last").await;
    });
}

#[test]
fn a_handshake_that_breaks_a_rule_is_answered_with_the_rule() {
    let server = serve(1, |builder| {
        builder.websocket("/ws", echo).http(Router::new().route("/page", get(|| async { "a page" }))).event_streams("/events")
    });
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut expect = async |request: Request<()>, status: u16, code: &str| {
            let (response, body) = client.refused(request).await;
            assert_eq!((response.status().as_u16(), code_of(&body).as_str()), (status, code));
            response
        };
        let uri = |path: &str| format!("http://{}{path}", server.address);
        let connect = |path: &str| Request::builder().method(Method::CONNECT).uri(uri(path));
        let websocket = |path: &str| connect(path).extension(Protocol::from_static("websocket"));
        let udp = connect("/ws").extension(Protocol::from_static("connect-udp")).header("sec-websocket-version", "13");
        expect(udp.body(()).unwrap(), 501, "protocol_not_websocket").await;
        let refused = expect(websocket("/ws").body(()).unwrap(), 426, "missing_websocket_version").await;
        assert_eq!(refused.headers()["sec-websocket-version"], "13");
        let version = |path: &str| websocket(path).header("sec-websocket-version", "13");
        let foreign = version("/ws").header("origin", "https://evil.example");
        expect(foreign.body(()).unwrap(), 403, "origin_not_allowed").await;
        let twice = version("/ws").header("sec-websocket-protocol", "a, a");
        expect(twice.body(()).unwrap(), 400, "duplicate_subprotocol").await;
        expect(version("/nothing").body(()).unwrap(), 404, "not_found").await;
        for other in ["/page", "/events"] {
            expect(version(other).body(()).unwrap(), 405, "method_not_allowed").await;
        }
        let plain = expect(Request::get(uri("/ws")).body(()).unwrap(), 405, "connect_required").await;
        assert_eq!(plain.headers()["allow"], "CONNECT");
    });
}

#[test]
fn what_is_negotiated_and_what_the_handler_sees_is_as_over_http1() {
    async fn tell(socket: Socket, opening: Opening) -> Result<(), Closed> {
        let host = opening.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let told = format!("{} {:?} {:?} {:?}", opening.uri, host, opening.param("name"), opening.peer.map(|peer| peer.ip()));
        socket.send(told).await?;
        socket.close(CloseCode::NORMAL, "");
        Ok(())
    }
    let server = serve(1, |builder| {
        builder.websocket("/room/{name}", tell).configure(|config| {
            config.subprotocols = vec!["chat".into()];
            config.deflate = Some(DeflateConfig::default());
        })
    });
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let origin = format!("http://{}", server.address);
        let offers =
            [("sec-websocket-protocol", "x, chat"), ("origin", &origin), ("sec-websocket-extensions", "permessage-deflate")];
        let (mut line, response) = client.open_with("/room/one?a=b", &offers).await;
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        assert!(response.headers()["sec-websocket-extensions"].to_str().unwrap().contains("permessage-deflate"));
        assert!(!response.headers().contains_key("sec-websocket-accept") && !response.headers().contains_key("content-length"));
        line.recv().await.expect("a message");
        line.expect_close(1000).await;
        let (mut plain, _) = client.open_with("/room/one?a=b", &[]).await;
        let host = server.address.to_string();
        plain
            .expect_text(&format!(
                "/room/one?a=b {:?} {:?} {:?}",
                Some(host),
                Some("one"),
                Some("127.0.0.1".parse::<std::net::IpAddr>().unwrap())
            ))
            .await;
    });
}

#[test]
fn a_transport_of_engine_io_may_be_such_a_line() {
    let server = serve(2, |builder| builder.engine_io("/engine.io/", EngineOptions::default(), echo));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut line = client.open("/engine.io/?EIO=4&transport=websocket").await;
        let (_, open) = line.recv().await.expect("a packet");
        assert!(open.starts_with(b"0{"), "{}", String::from_utf8_lossy(&open));
        line.send_text("4hello").await;
        line.expect_text("4hello").await;
        // And what a line that polls becomes.
        let (status, open) = client.get("/engine.io/?EIO=4&transport=polling").await;
        assert_eq!(status, 200, "{open}");
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap();
        let mut probe = client.open(&format!("/engine.io/?EIO=4&transport=websocket&sid={sid}")).await;
        probe.send_text("2probe").await;
        probe.expect_text("3probe").await;
        probe.send_text("5").await;
        probe.send_text("4hello").await;
        probe.expect_text("4hello").await;
    });
}

#[test]
fn every_line_takes_a_place_of_its_own() {
    let server = serve(1, |builder| {
        // Of descriptors: the connection's, and a line has two.
        builder.websocket("/ws", echo).health("/healthz").configure(|config| config.max_connections = 5)
    });
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let lines = [client.open("/ws").await, client.open("/ws").await];
        let request = client.handshake("/ws", &[]);
        let (response, body) = client.refused(request).await;
        assert_eq!((response.status().as_u16(), code_of(&body).as_str()), (503, "too_many_connections"));
        let mut more = Http2::connect(server.address).await;
        assert_eq!((more.get("/healthz").await.0.as_u16(), more.get("/").await.0.as_u16()), (200, 503));
        let [first, _second] = lines;
        first.close().await;
        eventually("a place is free", || server.node().connections() == 2).await;
        client.open("/ws").await.close().await;
    });
}

/// Pressure goes back to the client of one line, while the others of its connection go on.
#[test]
fn a_line_that_is_not_read_waits_without_loss_and_holds_no_other_up() {
    const MESSAGES: usize = 20_000;
    let (go, wait) = tokio::sync::watch::channel(false);
    let slow = move |mut socket: Socket| {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.unwrap();
            let mut count = 0;
            while count < MESSAGES {
                let message = socket.recv().await.ok_or(Closed)?;
                assert_eq!(message.as_text(), Some(format!("{count:016}").as_str()));
                count += 1;
            }
            socket.send("all").await
        }
    };
    let server = serve(1, |builder| builder.websocket("/slow", slow).websocket("/ws", echo));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut slow = client.open("/slow").await;
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = sent.clone();
        let sending = async {
            for n in 0..MESSAGES {
                slow.send_text(&format!("{n:016}")).await;
                counted.set(n);
            }
        };
        let others = async {
            let mut line = client.open("/ws").await;
            let mut before = 0;
            // Until the slow one takes no more.
            for n in 0.. {
                line.send_text(&n.to_string()).await;
                line.expect_text(&n.to_string()).await;
                if n % 200 == 199 {
                    if sent.get() == before && before > 0 {
                        break;
                    }
                    before = sent.get();
                }
            }
            assert!(sent.get() < MESSAGES - 1, "everything was taken");
            line.close().await;
            go.send_replace(true);
        };
        tokio::join!(sending, others);
        slow.expect_text("all").await;
    });
}

/// A client that takes nothing from one of its streams loses that line.
#[test]
fn a_line_that_never_reads_is_given_up_and_its_neighbours_get_everything() {
    let server = serve(2, |builder| {
        builder.line_handler("/calls", commands_line).configure(|config| {
            config.outbox_bytes = 64 << 10;
            config.write_timeout = Duration::from_millis(500);
        })
    });
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut never = client.open("/calls").await;
        let mut reads = client.open("/calls").await;
        for line in [&mut never, &mut reads] {
            line.send_text("subscribe news").await;
            line.expect_text("ok").await;
        }
        let data = "x".repeat(8 << 10);
        for n in 0..100 {
            server.node().publish_when_possible("news", format!("{n} {data}")).await.unwrap();
            reads.expect_text(&format!("{n} {data}")).await;
        }
        eventually("the line is gone", || server.node().connections() == 2).await;
        // What was on its way to it comes to an end, too, once it reads: here by a reset.
        let end = loop {
            match never.try_recv().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(end.is_err() || end.unwrap().is_none());
        reads.close().await;
    });
}

#[test]
fn a_shutdown_closes_the_lines_and_ends_the_connection() {
    let server = serve(2, |builder| builder.websocket("/ws", echo).line_handler("/calls", |_| EchoLine));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut lines = [client.open("/ws").await, client.open("/calls").await, client.open("/ws").await];
        server.shutdown();
        for line in &mut lines {
            line.expect_close(1001).await;
            line.send(Opcode::Close, &1001_u16.to_be_bytes()).await;
            assert_eq!(line.recv().await, None);
            line.to.send_data(Bytes::new(), true).unwrap();
        }
        drop(client.requests);
        client.driver.await.unwrap().expect("in order");
    });
    server.join();
}

#[test]
fn somebody_s_own_server_can_do_it_too() {
    let (router, running) = Server::builder().shards(1).websocket("/ws", echo).into_router().unwrap();
    within_bound(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().enable_connect_protocol();
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router)).await;
        });
        let mut client = Http2::connect(address).await;
        let origin = format!("http://{address}");
        let (mut line, _) = client.open_with("/ws", &[("origin", &origin)]).await;
        line.send_text("hello").await;
        line.expect_text("hello").await;
        line.close().await;
        let mut reset = client.open("/ws").await;
        reset.to.send_reset(Reason::CANCEL);
        eventually("no line is left", || running.node().connections() == 0).await;
        serving.abort();
    });
}
