//! Event streams over HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::Request;
use longwire_protocol::Data;
use longwire_server::{ChannelOptions, Namespaces, ServerBuilder};

use super::client::next_bytes;
use super::{Http2, eventually};
use crate::support::{NEVER, TestServer, serve, within_bound};

/// A stream that is open.
struct Events {
    to: SendStream<Bytes>,
    from: RecvStream,
    text: String,
}

impl Events {
    async fn open(client: &mut Http2, query: &str) -> Self {
        let request = Request::get(client.uri(&format!("/v1/events?{query}"))).body(()).unwrap();
        let (response, to): (ResponseFuture, _) = client.begin(request, true).await;
        let (head, from) = response.await.unwrap().into_parts();
        assert_eq!((head.status.as_u16(), &head.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        let mut events = Self { to, from, text: String::new() };
        assert!(events.next().await.unwrap().contains("event: connected"));
        events
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.contains("data: ") {
                    return Some(block);
                }
                continue;
            }
            let bytes = next_bytes(&mut self.from).await.expect("a stream")?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn expect(&mut self, part: &str) {
        let event = self.next().await.expect("an event");
        assert!(event.contains(part), "{part} in {event}");
    }
}

fn build(builder: ServerBuilder) -> ServerBuilder {
    let chat = ChannelOptions { presence: true, history_size: 100, ..ChannelOptions::default() };
    let all = [("chat".to_owned(), chat), ("live".to_owned(), ChannelOptions::default())];
    builder.event_streams("/v1/events").configure(|config| config.namespaces = Namespaces::new(all).expect("options").into())
}

async fn publish(server: &TestServer, channel: &str, data: &str) {
    server.node().channel(channel).publish(Data::from(data)).await.expect("published");
}

#[test]
fn many_streams_of_one_connection_get_what_is_theirs() {
    let server = serve(2, build);
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut streams = Vec::new();
        for n in 0..60 {
            let mut events = Events::open(&mut client, &format!("channel=chat:{}", n % 3)).await;
            events.expect("event: subscribed").await;
            streams.push(events);
        }
        for round in 0..10 {
            for channel in 0..3 {
                publish(&server, &format!("chat:{channel}"), &format!("{round} to {channel}")).await;
            }
        }
        for (n, events) in streams.iter_mut().enumerate() {
            for round in 0..10 {
                events.expect(&format!("\"{round} to {}\"", n % 3)).await;
            }
        }
        assert_eq!(server.node().connections(), 61);
        // Requests go on beside them.
        assert_eq!(client.get("/nothing").await.0, 404);
    });
    server.expect_empty();
}

#[test]
fn who_resets_a_stream_is_gone_and_the_others_stay() {
    let server = serve(1, build);
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut stays = Events::open(&mut client, "channel=chat:a").await;
        stays.expect("event: subscribed").await;
        let mut events = Events::open(&mut client, "channel=chat:a").await;
        events.expect("event: subscribed").await;
        events.to.send_reset(h2::Reason::CANCEL);
        eventually("its line is gone", || server.node().connections() == 2).await;
        publish(&server, "chat:a", "still here").await;
        while !stays.next().await.expect("an event").contains("still here") {}
    });
}

/// One stream is never read, and the other gets everything.
#[test]
fn a_stream_that_is_not_read_does_not_hold_another_up() {
    for patience in [NEVER, Duration::from_millis(300)] {
        let server = serve(1, |builder| {
            build(builder).configure(|config| {
                config.outbox_bytes = 8 << 10;
                config.close_timeout = patience;
            })
        });
        within_bound(async {
            let mut client = Http2::connect(server.address).await;
            let mut never = Events::open(&mut client, "channel=live:a").await;
            let mut reads = Events::open(&mut client, "channel=live:a").await;
            for events in [&mut never, &mut reads] {
                events.expect("event: subscribed").await;
            }
            // Beyond what may wait for a moment.
            let data = "x".repeat(32 << 10);
            for n in 0..100 {
                publish(&server, "live:a", &format!("{n} {data}")).await;
                reads.expect(&format!("\"{n} ")).await;
            }
            if patience < NEVER {
                eventually("the slow one is gone", || server.node().connections() == 2).await;
            }
            let mut last = None;
            while let Some(event) = never.next().await {
                last = Some(event);
            }
            // Late, it reads why, unless it was too late.
            let last = last.expect("events");
            assert_eq!(last.contains("event: close") && last.contains("3002"), patience == NEVER, "{last:.200}");
            eventually("both are gone but one", || server.node().connections() == 2).await;
        });
    }
}

#[test]
fn a_shutdown_says_so_on_every_stream() {
    let server = serve(2, build);
    within_bound(async {
        let mut client = Http2::connect(server.address).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut events = Events::open(&mut client, "channel=live:a").await;
            events.expect("event: subscribed").await;
            streams.push(events);
        }
        server.shutdown();
        for events in &mut streams {
            events.expect("1001").await;
            assert_eq!(events.next().await, None);
        }
        drop(client.requests);
        client.driver.await.unwrap().expect("in order");
    });
    server.join();
}
