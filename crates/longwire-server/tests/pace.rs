//! How slowly the bodies of requests may come, whoever reads them.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use longwire_server::ApiKeys;

use crate::support::{BOUND, Client, LINES, Response, TestServer, serve};

fn serve_slow() -> TestServer {
    let application = Router::new().route("/application", post(async |body: bytes::Bytes| body));
    serve(1, |builder| {
        builder
            .http(application)
            .http_lines(LINES)
            .api("/api/v1", ApiKeys::checked_elsewhere())
            .configure(|config| config.handshake_timeout = Duration::from_millis(300))
    })
}

/// Sends the head of a request and one piece of its body after the other, until there is an answer.
#[track_caller]
fn drip(server: &TestServer, target: &str, kind: &str, pieces: &[&str], pause: Duration) -> (Response, usize) {
    let mut client = Client::tcp(server.address);
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    client.send_raw(head.as_bytes());
    let began = Instant::now();
    let mut sent = 0;
    for piece in pieces {
        if client.try_send_raw(piece.as_bytes()).is_err() || began.elapsed() > BOUND {
            break;
        }
        sent += 1;
        std::thread::sleep(pause);
        if client.has_bytes() {
            break;
        }
    }
    (client.response(), sent)
}

#[test]
fn a_body_that_drips_is_given_up_whoever_reads_it() {
    let server = serve_slow();
    let pieces = [" "; 2000];
    let json = "application/json";
    for (target, kind, status) in [
        ("/application", "text/plain", 400),
        (LINES, "text/plain", 408),
        ("/api/v1/publish", json, 408),
        ("/api/v1/disconnect", json, 408),
    ] {
        let (response, sent) = drip(&server, target, kind, &pieces, Duration::from_millis(20));
        assert_eq!(response.status, status, "{target}: {}", response.body);
        assert!(sent < pieces.len(), "{target}: it was waited for all of it");
    }
}

#[test]
fn a_body_that_comes_steadily_may_take_longer_than_its_head() {
    let server = serve_slow();
    // A KiB each time, for much longer than a head may take.
    let piece = " ".repeat(1024);
    let mut pieces = vec![&*piece; 10];
    pieces.push("{}");
    let (response, sent) = drip(&server, "/api/v1/publish", "application/json", &pieces, Duration::from_millis(100));
    assert_eq!((response.status, sent), (400, 11), "{}", response.body);
    assert!(response.body.contains("channel"), "{}", response.body);
    let (response, _) = drip(&server, "/application", "text/plain", &pieces, Duration::from_millis(100));
    assert_eq!((response.status, response.body.len()), (200, 10 * 1024 + 2));
}

#[test]
fn a_batch_may_pause() {
    let server = serve_slow();
    let line = "{\"type\":\"nonsense\"}\n";
    let pieces = [line; 6];
    let (response, sent) = drip(&server, "/api/v1/batch", "application/x-ndjson", &pieces[..1], Duration::from_millis(1));
    assert_eq!((response.status, sent), (200, 1));
    let mut client = Client::tcp(server.address);
    let head = format!(
        "POST /api/v1/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        line.len() * 2
    );
    client.send_raw(head.as_bytes());
    client.send_raw(line.as_bytes());
    assert!(client.wait_for_bytes());
    // Longer than a body may that is wanted as a whole.
    std::thread::sleep(Duration::from_millis(700));
    client.send_raw(line.as_bytes());
    let rest = client.rest_of_connection();
    assert_eq!(rest.matches("\"error\"").count(), 2, "{rest}");
}
