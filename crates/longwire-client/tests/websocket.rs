//! The raw WebSocket against a scripted server on a real socket.

use std::time::Duration;

use longwire_client::{CloseCode, End, Error, Message, WebSocket};
use longwire_ws::{Event, Input, Limits, MessageKind, Opcode, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{PATIENCE, Peer};

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(Opcode::Text, text.as_bytes(), None, &mut out);
    out
}

async fn with_peer<P: Future>(script: impl FnOnce(Peer) -> P, user: impl AsyncFnOnce(String)) -> P::Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}/", listener.local_addr().unwrap());
    let script = async { script(Peer::accept(&listener).await).await };
    tokio::time::timeout(PATIENCE, async { tokio::join!(script, user(address)).0 }).await.expect("in time")
}

async fn echo(address: String) {
    let mut line = WebSocket::connect(&address).await.unwrap();
    while let Some(message) = line.recv().await {
        if line.send(message).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn a_flood_of_messages_is_echoed_in_order() {
    let said = with_peer(
        async |mut peer| {
            let flood: Vec<u8> = (0..5000).flat_map(|n| text(&n.to_string())).collect();
            peer.write(&flood).await;
            peer.read_until(|said| said.len() >= 5000).await
        },
        echo,
    )
    .await;
    assert_eq!(said, (0..5000).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// RFC 6455, 7.1.7: what came before the broken frame is answered, then the connection fails.
#[tokio::test]
async fn messages_before_a_broken_frame_are_answered_before_the_close() {
    let said = with_peer(
        async |mut peer| {
            let mut bytes = text("before");
            bytes.extend_from_slice(&[0xF1, 0x00]); // reserved bits
            peer.write(&bytes).await;
            peer.read_until(|said| said.len() >= 2).await
        },
        echo,
    )
    .await;
    assert_eq!(said, ["before", "close Some(1002)"]);
}

#[tokio::test]
async fn the_servers_close_is_answered_after_the_last_message() {
    let said = with_peer(
        async |mut peer| {
            let mut bytes = text("last");
            bytes.extend_from_slice(b"\x88\x05\x0b\xb8why"); // 3000
            peer.write(&bytes).await;
            peer.read_until(|said| said.len() >= 2).await
        },
        async |address| {
            let mut line = WebSocket::connect(&address).await.unwrap();
            while let Some(message) = line.recv().await {
                line.send(message).await.unwrap();
            }
            let Some(End::Closed(Some(frame))) = line.end() else { panic!("{:?}", line.end()) };
            assert_eq!((frame.code.value(), frame.reason.as_str()), (3000, "why"));
            assert!(matches!(line.send("late").await, Ok(()) | Err(Error::Closed)));
        },
    )
    .await;
    assert_eq!(said, ["last", "close Some(3000)"]);
}

#[tokio::test]
async fn pings_are_answered_while_the_user_does_something_else() {
    let (answered, heard) = tokio::sync::oneshot::channel();
    let said = with_peer(
        async |mut peer| {
            peer.write(b"\x89\x02hi").await;
            let mut said = peer.read_until(|said| !said.is_empty()).await;
            answered.send(()).unwrap();
            said.extend(peer.read_until(|said| !said.is_empty()).await);
            said
        },
        async |address| {
            let line = WebSocket::connect(&address).await.unwrap();
            heard.await.unwrap();
            assert_eq!(line.close(CloseCode::NORMAL, "").await, Some(End::ByUs));
        },
    )
    .await;
    assert_eq!(said, ["pong hi", "close Some(1000)"]);
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_given_up() {
    let said = with_peer(
        async |mut peer| peer.read_until(|_| false).await,
        async |address| {
            let heartbeat = Duration::from_millis(50);
            let mut line = WebSocket::builder(&address).heartbeat(heartbeat, heartbeat).connect().await.unwrap();
            assert_eq!(line.recv().await, None);
            assert_eq!(line.end(), Some(End::PingTimeout));
        },
    )
    .await;
    assert_eq!(said, ["ping"]);
}

#[tokio::test]
async fn a_line_that_is_cut_says_so() {
    with_peer(
        async |peer| drop(peer),
        async |address| {
            let mut line = WebSocket::connect(&address).await.unwrap();
            assert_eq!(line.recv().await, None);
            assert!(matches!(line.end(), Some(End::Cut(_))), "{:?}", line.end());
        },
    )
    .await;
}

#[tokio::test]
async fn large_messages_go_both_ways_at_once() {
    let big = "x".repeat(1 << 20);
    let expected = big.clone();
    let said = with_peer(
        async |mut peer| {
            let bytes = text(&big);
            let (mut read, mut write) = peer.stream.into_split();
            let written = tokio::spawn(async move {
                for _ in 0..8 {
                    write.write_all(&bytes).await.unwrap();
                }
                write
            });
            let mut received = 0;
            let mut buffer = vec![0; 65536];
            while received < 8 << 20 {
                let count = read.read(&mut buffer).await.unwrap();
                let mut input = Input::new(&mut buffer[..count]);
                while let Some(event) = peer.connection.receive(&mut input, &Limits::default()).unwrap() {
                    if let Event::Message(message) = event {
                        assert_eq!(message.kind(), MessageKind::Text);
                        received += message.as_bytes().len();
                    }
                }
            }
            drop(written.await.unwrap());
            received
        },
        async |address| {
            let mut line = WebSocket::connect(&address).await.unwrap();
            while let Some(message) = line.recv().await {
                assert_eq!(message, Message::from(expected.as_str()));
                if line.send(message).await.is_err() {
                    break;
                }
            }
        },
    )
    .await;
    assert_eq!(said, 8 << 20);
}

#[tokio::test]
async fn what_is_no_websocket_is_an_error_that_says_why() {
    let refused = WebSocket::connect("ws://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(refused, Error::Io(_)), "{refused}");
    let scheme = WebSocket::connect("wss://localhost/").await.unwrap_err();
    assert!(scheme.to_string().contains("wss"), "{scheme}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("ws://{}/", listener.local_addr().unwrap());
    let error = WebSocket::builder(&silent).connect_timeout(Duration::from_millis(50)).connect().await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error}");
}
