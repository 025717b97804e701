//! Clients of HTTP/2 that do what no client should.

use std::time::Duration;

use axum::Router;
use axum::routing::get as page;

use super::raw::{
    CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, REFUSED_STREAM, RST_STREAM, SETTINGS, frame, get,
};
use super::{Http2, Raw};
use crate::support::{TestServer, echo, eventually, serve, within_bound};

const NEVER_READY: &str = "/waits";

fn start() -> TestServer {
    let pages = Router::new()
        .route("/page", page(|| async { "a page" }))
        .route(NEVER_READY, page(|| async { std::future::pending::<&str>().await }));
    serve(1, |builder| builder.websocket("/ws", echo).http(pages))
}

/// The server goes on for others.
fn expect_well(server: &TestServer) {
    within_bound(async {
        assert_eq!(Http2::connect(server.address).await.get("/page").await.0, 200);
    });
}

#[test]
fn streams_beyond_the_bound_are_refused_and_the_others_stay() {
    let server = start();
    let mut raw = Raw::connect(server.address);
    let head = get(NEVER_READY, &[]);
    // 100 that are open, one more than there may be.
    for n in 0..101 {
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * n, &head));
    }
    let refused = raw.expect(RST_STREAM);
    assert_eq!((refused.stream, refused.reason()), (201, REFUSED_STREAM));
    // When one has ended there is room again.
    raw.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 203, &get("/page", &[])));
    let answer = raw.expect(HEADERS);
    assert!(answer.stream == 203 && answer.is_ok(), "{answer:?}");
}

#[test]
fn heads_beyond_the_bound_are_refused_or_end_the_connection() {
    let server = start();
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let large = "x".repeat(15 << 10);
        let request = |value: &str| http::Request::get(client.uri("/page")).header("x-large", value).body(()).unwrap();
        let (fits, does_not) = (request(&large), request(&format!("{large}{large}")));
        assert_eq!(client.answer(fits).await.0.status(), 200);
        let (response, _) = client.answer(does_not).await;
        assert_eq!(response.status(), 431);
        assert_eq!(client.get("/page").await.0, 200);
    });
    // A head without end.
    let mut raw = Raw::connect(server.address);
    let field = get("/page", &[("x-large", &"x".repeat(10_000))]);
    raw.send(&frame(HEADERS, END_STREAM, 1, &field));
    let more = frame(CONTINUATION, 0, 1, &get("/page", &[("x-more", &"x".repeat(10_000))])[14..]);
    let sent = (0..1000).take_while(|_| std::io::Write::write_all(&mut raw.0, &more).is_ok()).count();
    assert!(sent < 1000, "10 MB of a head were taken");
    while raw.next().is_some() {}
    // One that says the same large thing many times by a byte of HPACK's table is as large as what it says.
    let mut bomb = vec![0x82, 0x86, 0x84, 0x40];
    bomb.extend_from_slice(&[1, b'x', 127, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'y'; 4000]);
    bomb.extend_from_slice(&[0xbe; 4000]);
    let mut raw = Raw::connect(server.address);
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    while let Some(frame) = raw.next() {
        assert!(!frame.is_ok(), "{frame:?}");
        if frame.kind == HEADERS {
            break;
        }
    }
    expect_well(&server);
}

/// CVE-2023-44487.
#[test]
fn streams_that_are_opened_and_reset_in_masses_end_the_connection() {
    let server = start();
    let mut raw = Raw::connect(server.address);
    let head = get("/page", &[]);
    let mut bytes = Vec::new();
    for n in 0..2000 {
        bytes.extend_from_slice(&frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * n, &head));
        bytes.extend_from_slice(&frame(RST_STREAM, 0, 1 + 2 * n, &8_u32.to_be_bytes()));
    }
    let _ = std::io::Write::write_all(&mut raw.0, &bytes);
    raw.expect_goaway(ENHANCE_YOUR_CALM);
    server.expect_empty();
    expect_well(&server);
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    let server = start();
    // A frame of more than 16 KiB, DATA on a stream that is not open, and HEADERS with an index that there is not.
    let broken: [Vec<u8>; 3] = [vec![0xff; 100], frame(0, 0, 1, b"x"), frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0x7f])];
    for bytes in broken {
        let mut raw = Raw::connect(server.address);
        raw.send(&bytes);
        while raw.next().is_some() {}
    }
    server.expect_empty();
    expect_well(&server);
}

#[test]
fn a_client_that_does_not_answer_pings_is_gone() {
    let server = serve(1, |builder| {
        builder.http(Router::new().route(NEVER_READY, page(|| async { std::future::pending::<&str>().await }))).configure(
            |config| {
                config.ping_interval = Duration::from_millis(100);
                config.ping_timeout = Duration::from_millis(100);
            },
        )
    });
    let mut raw = Raw::connect(server.address);
    // A request is under way, so that it is not idle.
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &get(NEVER_READY, &[])));
    eventually("it is there", || server.node().connections() == 1);
    server.expect_empty();
    while raw.next().is_some() {}
    // One that answers stays.
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let request = http::Request::get(client.uri(NEVER_READY)).body(()).unwrap();
        let (_response, _) = client.begin(request, true).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(client.get("/nothing").await.0, 404);
    });
}

#[test]
fn a_connection_without_requests_is_ended_in_order_and_one_with_a_line_is_not() {
    let server = serve(1, |builder| {
        builder.websocket("/ws", echo).configure(|config| config.keep_alive_timeout = Duration::from_millis(100))
    });
    within_bound(async {
        let idle = Http2::connect(server.address).await;
        let mut busy = Http2::connect(server.address).await;
        let mut line = busy.open("/ws").await;
        idle.driver.await.unwrap().expect("in order");
        drop(idle.requests);
        super::eventually("it is gone", || server.node().connections() == 2).await;
        line.send_text("still here").await;
        line.expect_text("still here").await;
    });
}

#[test]
fn one_that_never_reads_goes() {
    let big = axum::body::Bytes::from(vec![b'x'; 8 << 20]);
    let pages = Router::new().route("/big", page(move || async move { big }));
    let server = serve(1, |builder| builder.http(pages).configure(|config| config.write_timeout = Duration::from_millis(300)));
    let mut raw = Raw::connect(server.address);
    // As much as can be asked for: windows of 2 GiB.
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    raw.send(&frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    for n in 0..100 {
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * n, &get("/big", &[])));
    }
    eventually("it is there", || server.node().connections() == 1);
    server.expect_empty();
}
