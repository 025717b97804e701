//! Which version is spoken, and requests that are not lines.

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use bytes::Bytes;
use http::Method;
use longwire_server::ApiKeys;

use super::client::{next_bytes, send_bytes};
use super::raw::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame};
use super::{Http2, Raw, code_of};
use crate::support::{Client, answer, echo, eventually, serve, within_bound};

fn pages() -> Router {
    let seen = get(|request: Request| async move {
        let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        format!("{} {} {}", request.uri(), header("host"), header("cookie"))
    });
    Router::new()
        .route("/page", get(|| async { "a page" }))
        .route("/seen", seen)
        .route("/sent", post(|body: Bytes| async { body }))
}

#[test]
fn both_versions_are_spoken_on_one_port() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).http(pages()));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        for _ in 0..20 {
            assert_eq!(client.get("/page").await, (200.try_into().unwrap(), "a page".to_owned()));
        }
        let (status, body) = client.get("/nothing").await;
        assert_eq!((status.as_u16(), code_of(&body).as_str()), (404, "not_found"));
    });
    assert_eq!(answer(server.address, "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").body, "a page");
    Client::open(server.address, "/ws").close();
    server.expect_empty();
}

#[test]
fn a_request_looks_as_over_http1() {
    let server = serve(1, |builder| builder.http(pages()));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let request = http::Request::get(client.uri("/seen?a=b")).header("host", "other").header("cookie", "a=1");
        let (_, body) = client.answer(request.header("cookie", "b=2").body(()).unwrap()).await;
        assert_eq!(body, format!("/seen?a=b {} a=1; b=2", server.address));
    });
}

#[test]
fn a_large_body_goes_both_ways() {
    let server = serve(1, |builder| builder.http(pages()));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let request = http::Request::post(client.uri("/sent")).body(()).unwrap();
        let (response, mut to) = client.begin(request, false).await;
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        send_bytes(&mut to, body.clone()).await;
        to.send_data(Bytes::new(), true).unwrap();
        let mut from = response.await.unwrap().into_body();
        let mut back = Vec::new();
        while let Some(bytes) = next_bytes(&mut from).await.unwrap() {
            back.extend_from_slice(&bytes);
        }
        assert!(back == body);
    });
}

/// A key comes in a header, over HTTP/2 as over HTTP/1.1.
#[test]
fn the_api_is_opened_by_its_key() {
    let server = serve(1, |builder| builder.api("/api/v1", ApiKeys::new(["a-key-for-the-tests-1"]).unwrap()));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        assert_eq!(client.get("/api/v1/channels").await.0, 401);
        let request = http::Request::get(client.uri("/api/v1/channels")).header("x-api-key", "a-key-for-the-tests-1");
        let (response, body) = client.answer(request.body(()).unwrap()).await;
        assert!(response.status() == 200, "{body}");
    });
}

/// A server on loopback is closed to names that are not this machine's, whichever way the name is said.
#[test]
fn the_authority_is_the_host() {
    let server = serve(1, |builder| builder.http(pages()));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        assert_eq!(client.get("/page").await.0, 200);
        let request = http::Request::get("http://evil.example/page").header("host", "localhost").body(()).unwrap();
        let (response, body) = client.answer(request).await;
        assert!(response.status() == 403 && body.contains(r#""host_not_allowed""#), "{body}");
    });
}

#[test]
fn it_is_no_proxy() {
    let server = serve(1, |builder| builder.websocket("/ws", echo).http(pages().fallback(|| async { "my fallback" })));
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let request = http::Request::builder().method(Method::CONNECT).uri("example.com:443").body(()).unwrap();
        let (response, body) = client.refused(request).await;
        assert_eq!((response.status().as_u16(), code_of(&body).as_str()), (501, "not_a_proxy"));
    });
    let request = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    answer(server.address, request).expect_error(501, "not_a_proxy");
}

/// However the first bytes are cut, they are taken for what they are.
#[test]
fn the_version_is_told_from_bytes_that_come_one_by_one() {
    let server = serve(1, |builder| builder.http(pages()));
    let mut raw = Raw::tcp(server.address);
    let request =
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_STREAM | END_HEADERS, 1, &super::raw::get("/page", &[]))];
    for byte in request.concat() {
        raw.send(&[byte]);
    }
    assert!(raw.expect(HEADERS).is_ok());
    let http1 = [
        "POST /sent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab",
        "PRI /page HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for (request, status) in http1.into_iter().zip([200, 405]) {
        let mut client = Client::tcp(server.address);
        for byte in request.as_bytes() {
            client.send_raw(&[*byte]);
        }
        assert_eq!(client.response().status, status, "{request}");
    }
    // What begins like the preface and ends there is HTTP/1.1 that is not complete.
    let mut cut = Client::tcp(server.address);
    cut.send_raw(&PREFACE[..20]);
    cut.end_sending();
    cut.expect_gone();
}

#[test]
fn a_preface_that_does_not_come_is_not_waited_for() {
    let server = serve(1, |builder| {
        builder.http(pages()).configure(|config| config.handshake_timeout = std::time::Duration::from_millis(100))
    });
    let mut half = Raw::tcp(server.address);
    half.send(&PREFACE[..20]);
    let mut silent = Raw::tcp(server.address);
    silent.send(PREFACE);
    let mut idle = Raw::connect(server.address);
    eventually("all are there", || server.node().connections() > 0);
    for raw in [&mut half, &mut silent, &mut idle] {
        while raw.next().is_some() {}
    }
    server.expect_empty();
}
