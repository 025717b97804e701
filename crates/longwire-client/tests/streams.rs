//! The client's streams and polls against a scripted server.

use std::time::Duration;

use longwire_client::session::Lost;
use longwire_client::{Client, ClientBuilder, ConnectionStates, State, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};

use crate::support::PATIENCE;

const CONNECTED: &str =
    r#"{"type":"connected","id":1,"session":"AAAAAAAAAAAAAAAA","key":"k","resumed":false,"ping":25,"keep":60,"max":65536}"#;
const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n{\"type\":\"line\",\"line\":\"L\"}\n";

async fn listen(transport: Transport) -> (TcpListener, ClientBuilder) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    (listener, Client::builder(&address).transports([transport]))
}

/// Accepts a connection, and reads one request; says it.
async fn request(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").unwrap();
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "the client is gone");
        read.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8(read.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return (stream, text);
        }
    }
}

async fn lost(states: &mut ConnectionStates) -> Lost {
    let lost = async {
        loop {
            if let Some(State::Waiting { lost, .. }) = states.next().await {
                return lost;
            }
        }
    };
    timeout(PATIENCE, lost).await.expect("in time")
}

/// A stream on which `connect` was said.
async fn connecting(listener: &TcpListener) -> TcpStream {
    let (mut stream, get) = request(listener).await;
    assert!(get.starts_with("GET /v1/http?stream=ndjson HTTP/1.1\r\n"), "{get}");
    stream.write_all(STREAM.as_bytes()).await.unwrap();
    let (mut posts, post) = request(listener).await;
    assert!(post.starts_with("POST /v1/http/L HTTP/1.1\r\n") && post.contains("\"connect\""), "{post}");
    posts.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    stream
}

#[tokio::test]
async fn an_empty_line_is_a_sign_of_life() {
    let (listener, builder) = listen(Transport::Stream).await;
    let client = builder.configure(|config| config.ping_interval = Duration::from_secs(2)).connect().unwrap();
    let mut stream = connecting(&listener).await;
    // The message comes in pieces.
    let (begin, end) = CONNECTED.split_at(30);
    stream.write_all(begin.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(format!("{end}\n").as_bytes()).await.unwrap();
    let mut beat = interval(Duration::from_millis(100));
    let beating = async {
        loop {
            beat.tick().await;
            stream.write_all(b"\n").await.unwrap();
        }
    };
    tokio::select! {
        () = beating => {}
        // A ping would be a request on a connection of its own, or on the one that was closed behind the first.
        (_, said) = request(&listener) => panic!("the client said {said}"),
        () = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
    assert_eq!(client.transport(), Some(Transport::Stream));
    // Then it is silent.
    let (_, ping) = request(&listener).await;
    assert!(ping.contains("\"ping\""), "{ping}");
}

#[tokio::test]
async fn a_stream_that_ends_without_a_word_is_a_line_that_was_cut() {
    let (listener, builder) = listen(Transport::Stream).await;
    let client = builder.connect().unwrap();
    let mut stream = connecting(&listener).await;
    stream.write_all(format!("{CONNECTED}\n").as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(lost(&mut client.connection_states()).await, Lost::Cut);
}

#[tokio::test]
async fn the_close_code_of_a_stream_is_told() {
    let (listener, builder) = listen(Transport::Stream).await;
    let client = builder.connect().unwrap();
    let mut stream = connecting(&listener).await;
    let close = r#"{"type":"close","code":3001,"reason":"later"}"#;
    stream.write_all(format!("{CONNECTED}\n{close}\n").as_bytes()).await.unwrap();
    assert_eq!(lost(&mut client.connection_states()).await, Lost::Closed(3001));
}

#[tokio::test]
async fn a_message_without_an_end_is_not_kept() {
    let (listener, builder) = listen(Transport::Stream).await;
    let client = builder.connect().unwrap();
    let mut stream = connecting(&listener).await;
    let many = vec![b'x'; 1 << 20];
    let mut written = 0;
    let endless = async {
        while stream.write_all(&many).await.is_ok() {
            written += many.len();
        }
    };
    timeout(PATIENCE, endless).await.expect("the client cuts it");
    assert!((16 << 20..64 << 20).contains(&written), "{written} bytes");
    assert_eq!(lost(&mut client.connection_states()).await, Lost::Cut);
    assert!(client.trouble().is_some_and(|why| why.contains("longer than 16777216 bytes")), "{:?}", client.trouble());
}

#[tokio::test]
async fn a_page_of_a_proxy_is_no_line() {
    for (transport, said) in [
        (Transport::Stream, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n<html>\n"),
        (Transport::Poll, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n<html>\n"),
    ] {
        let (listener, builder) = listen(transport).await;
        let client = builder.connect().unwrap();
        let (mut stream, _) = request(&listener).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        assert_eq!(lost(&mut client.connection_states()).await, Lost::Cut);
        let why = client.trouble().unwrap();
        assert_eq!(why, format!("{transport}: what answers is not a Longwire server"));
    }
}

#[tokio::test]
async fn what_the_server_says_against_it_is_told() {
    let (listener, builder) = listen(Transport::Poll).await;
    let client = builder.connect().unwrap();
    let (mut stream, post) = request(&listener).await;
    assert!(post.starts_with("POST /v1/http HTTP/1.1\r\n"), "{post}");
    let body = r#"{"error":{"code":"overloaded","message":"no place"}}"#;
    let answer = format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(lost(&mut client.connection_states()).await, Lost::Cut);
    assert_eq!(client.trouble().unwrap(), "poll: the server answered 503 Service Unavailable: no place");
}
