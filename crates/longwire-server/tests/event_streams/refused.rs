//! What an `EventSource` is told where others are refused, so that it comes back, or stays away.

use super::*;

/// As a browser asks.
fn event_source(address: SocketAddr, last_id: Option<&str>) -> Events {
    let last_id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let head = "Host: localhost\r\nAccept: text/event-stream\r\nOrigin: http://localhost:1";
    Events::request(address, &format!("GET /v1/events?channel=chat:a HTTP/1.1\r\n{head}\r\n{last_id}\r\n"))
}

/// Reads what a stream begins with: the session.
fn begun(mut events: Events) -> (Events, Value) {
    let session = events.named("connected").data["session"].take();
    events.named("subscribed");
    (events, session)
}

/// Reads the one event of a stream that says that its client is to come back, and why.
fn told_to_come_back(mut events: Events) -> Value {
    assert_eq!(events.status, "HTTP/1.1 200 OK");
    assert!(events.has("content-type: text/event-stream"), "{:?}", events.headers);
    assert!(events.has("access-control-allow-origin: http://localhost:1"), "{:?}", events.headers);
    let close = events.next();
    assert_eq!((close.name.as_deref(), close.id), (Some("close"), None));
    assert_eq!(close.data["code"], 1013);
    close.data["error"]["code"].clone()
}

#[test]
fn an_event_source_is_told_to_come_back_to_a_full_server_and_others_by_a_status() {
    let server = serve(1, |builder| build(builder).configure(|config| config.max_connections = 1));
    let first = begun(event_source(server.address, None));
    assert_eq!(told_to_come_back(event_source(server.address, None)), "too_many_connections");
    let other = Events::open(server.address, "channel=chat:a");
    assert!(other.status.contains("503") && other.has("retry-after: 5"), "{:?}", other.headers);
    drop((first, other));
    eventually("the place is free", || server.node().connections() == 0);
    begun(event_source(server.address, None));
}

#[test]
fn an_event_source_is_told_to_come_back_by_a_server_that_stops() {
    let (router, running) = build(longwire_server::Server::builder().shards(1)).into_router().expect("routes");
    let address = serve_router(router);
    begun(event_source(address, None));
    running.node().shutdown();
    assert_eq!(told_to_come_back(event_source(address, None)), "shutting_down");
}

#[test]
fn a_stream_whose_channel_is_refused_for_the_moment_ends_so_that_its_client_asks_again() {
    let server = serve(1, |builder| build(builder).configure(|config| config.channels.channels = 1));
    let _first = begun(Events::open(server.address, "channel=chat:a"));
    let mut refused = Events::open(server.address, "channel=chat:b");
    refused.named("connected");
    assert_eq!(refused.named("refused").data["name"], "too_many_channels");
    let close = refused.named("close");
    assert_eq!((&close.data["code"], close.id), (&json!(1013), None));
    assert_eq!(refused.try_next(), None, "the response is complete");
}

#[test]
fn an_event_source_that_was_put_out_for_good_comes_back_once_and_is_told_to_stay_away() {
    let server = serve(1, build);
    let (mut events, session) = begun(event_source(server.address, None));
    let session = longwire_protocol::SessionId::parse(session.as_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.node().disconnect_session(session)).unwrap();
    let close = events.named("close");
    assert_eq!((&close.data["code"], close.id.as_deref()), (&json!(3501), Some("never")));
    assert_eq!(event_source(server.address, close.id.as_deref()).status, "HTTP/1.1 204 No Content");
    // Nobody is kept out: the page may ask anew.
    begun(event_source(server.address, None));
}
