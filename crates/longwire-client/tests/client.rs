//! The client against a scripted server.

use longwire_client::session::{Lost, Stopped};
use longwire_client::{
    Client, ClientBuilder, Data, Error, ErrorCode, Event, Form, HistoryRange, Publish, State, SubscribeOptions, Subscription,
    Transport,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{PATIENCE, Peer};

/// A client in the JSON form, and where its server is to be.
async fn listen() -> (TcpListener, ClientBuilder) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    let client = Client::builder(&address)
        .transports([Transport::WebSocket])
        .form(Form::Json)
        .configure(|config| config.backoff = std::time::Duration::from_millis(20));
    (listener, client)
}

fn subscribed(channel: &str, offset: u64, recovered: Option<bool>) -> Value {
    let mut reply = json!({"type": "subscribed", "channel": channel, "epoch": "0000000a", "offset": offset, "head": offset,
        "options": ["history"]});
    if let Some(recovered) = recovered {
        reply["recovered"] = recovered.into();
    }
    reply
}

fn publication(channel: &str, offset: u64) -> Value {
    json!({"type": "publication", "channel": channel, "offset": offset, "time": 1, "data": {"n": offset}})
}

fn published(offset: u64) -> Value {
    json!({"type": "published", "channel": "a", "epoch": "0000000a", "offset": offset})
}

async fn next(subscription: &mut Subscription) -> Event {
    timeout(PATIENCE, subscription.next()).await.expect("in time").expect("an event")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn publications_come_and_requests_are_answered() {
    let (listener, builder) = listen().await;
    let client = builder.token("me").info(r#"{"name":"lin"}"#).connect().unwrap();
    let mut lobby = client.subscribe("a").unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, connect) = Peer::native(&listener).await;
        assert_eq!((&connect["token"], &connect["info"]), (&json!("me"), &json!({"name": "lin"})));
        let subscribe = peer.command("subscribe").await;
        peer.answer(&subscribe, subscribed("a", 3, None)).await;
        peer.say(&publication("a", 4)).await;
        let publish = peer.command("publish").await;
        assert_eq!(publish["data"], "你好");
        peer.answer(&publish, published(5)).await;
        let publish = peer.command("publish").await;
        assert_eq!((&publish["data"], &publish["event"]), (&json!({"n": 1}), &json!("move")));
        peer.answer(
            &publish,
            json!({"type": "error", "code": 105, "name": "permission_denied", "message": "no", "retry": false}),
        )
        .await;
        let history = peer.command("history").await;
        assert_eq!((&history["limit"], &history["before"]), (&json!(2), &json!(9)));
        let entry = json!({"offset": 4, "time": 1, "data": 1});
        let reply =
            json!({"type": "history", "channel": "a", "epoch": "0000000a", "head": 5, "publications": [entry], "more": true});
        peer.answer(&history, reply).await;
        let presence = peer.command("presence").await;
        let member = json!({"session": "AAAAAAAAAAAAAAAB", "user": "kim"});
        let reply = json!({"type": "presence", "channel": "a", "members": [member], "sessions": 1, "users": 1, "more": false});
        peer.answer(&presence, reply).await;
        let state = peer.command("state").await;
        assert_eq!(state["after"], "k");
        let reply = json!({"type": "state", "channel": "a", "epoch": "0000000a", "head": 5, "entries": [], "more": false});
        peer.answer(&state, reply).await;
        peer.read_until(|said| said.iter().any(|said| said.starts_with("close"))).await
    });
    assert!(matches!(next(&mut lobby).await, Event::Subscribed(now) if now.position.offset == 3));
    assert!(matches!(next(&mut lobby).await, Event::Publication(publication) if publication.offset == 4));
    assert_eq!(lobby.position().map(|position| position.offset), Some(4));
    let done = within(client.publish("a", "你好")).await.unwrap();
    assert_eq!((done.position.map(|position| position.offset), done.repeated), (Some(5), false));
    let publish = Publish { event: Some("move".into()), ..Publish::new("a", Data::Json(r#"{"n":1}"#.into())) };
    let error = within(client.publish_with(publish)).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::PermissionDenied), "{error}");
    let range = HistoryRange { before: Some(9), limit: Some(2), ..HistoryRange::default() };
    let page = within(client.history("a", range)).await.unwrap();
    assert_eq!((page.publications[0].offset, page.head.offset, page.more), (4, 5, true));
    let page = within(client.presence("a", None, None)).await.unwrap();
    assert_eq!(page.members[0].user.as_deref(), Some("kim"));
    assert!(!within(client.state_of("a", None, Some("k"))).await.unwrap().more);
    within(client.close()).await;
    assert_eq!(within(lobby.next()).await, None);
    let said = server.await.unwrap();
    assert!(said.last().is_some_and(|last| last == "close Some(1000)"), "{said:?}");
}

#[tokio::test]
async fn a_lost_line_loses_nothing() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let mut lobby = client.subscribe("a").unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = Peer::native(&listener).await;
        let subscribe = peer.command("subscribe").await;
        peer.answer(&subscribe, subscribed("a", 0, None)).await;
        peer.say(&publication("a", 1)).await;
        let lost = peer.command("publish").await;
        drop(peer);
        let (mut peer, connect) = Peer::native(&listener).await;
        assert_eq!((&connect["session"], &connect["key"]), (&json!("AAAAAAAAAAAAAAAA"), &json!("secret")));
        let subscribe = peer.command("subscribe").await;
        assert_eq!((&subscribe["epoch"], &subscribe["offset"]), (&json!("0000000a"), &json!(1)));
        peer.answer(&subscribe, subscribed("a", 1, Some(true))).await;
        peer.say(&publication("a", 1)).await;
        peer.say(&publication("a", 2)).await;
        let again = peer.command("publish").await;
        assert_eq!((&again["once"], &again["data"]), (&lost["once"], &lost["data"]));
        peer.answer(&again, published(2)).await;
        peer.close(3500).await;
    });
    let publishing = tokio::spawn({
        let client = client.clone();
        async move { client.publish("a", "once").await }
    });
    assert!(matches!(next(&mut lobby).await, Event::Subscribed(_)));
    assert!(matches!(next(&mut lobby).await, Event::Publication(publication) if publication.offset == 1));
    assert!(matches!(next(&mut lobby).await, Event::Recovered(_)));
    assert!(matches!(next(&mut lobby).await, Event::Publication(publication) if publication.offset == 2));
    within(publishing).await.unwrap().unwrap();
    // The server has said not to come back.
    assert_eq!(within(lobby.next()).await, None);
    assert_eq!(client.connection(), State::Stopped(Stopped::Closed(3500)));
    let error = within(client.publish("a", "late")).await.unwrap_err();
    assert!(matches!(error, Error::Stopped(Stopped::Closed(3500))), "{error}");
    assert!(matches!(client.subscribe("b"), Err(Error::Stopped(_))));
    server.await.unwrap();
}

/// A user who answers each publication waits for an answer that stands behind thousands of further publications.
#[tokio::test]
async fn whoever_publishes_while_its_feed_is_full_gets_on() {
    const ALL: u64 = 3000;
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let mut lobby = client.subscribe("a").unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = Peer::native(&listener).await;
        let mut answered = 0;
        let mut renewed = 0;
        while answered < ALL {
            let command = peer.next_command().await;
            match command["type"].as_str().unwrap() {
                "subscribe" => {
                    let after = command["offset"].as_u64();
                    peer.answer(&command, subscribed("a", after.unwrap_or(0), after.map(|_| true))).await;
                    for offset in after.unwrap_or(0) + 1..=ALL {
                        peer.say(&publication("a", offset)).await;
                    }
                }
                "unsubscribe" => {
                    renewed += 1;
                    peer.answer(&command, json!({"type": "unsubscribed", "channel": "a"})).await;
                }
                "publish" => {
                    answered += 1;
                    assert_eq!(command["data"], format!("{answered}"));
                    peer.answer(
                        &command,
                        json!({"type": "published", "channel": "b", "epoch": "0000000b", "offset": answered}),
                    )
                    .await;
                }
                other => panic!("unexpected {other}"),
            }
        }
        renewed
    });
    let mut last = 0;
    while last < ALL {
        if let Event::Publication(publication) = next(&mut lobby).await {
            last += 1;
            assert_eq!(publication.offset, last);
            within(client.publish("b", last.to_string())).await.unwrap();
        }
    }
    assert!(server.await.unwrap() > 0, "it was set aside");
}

#[tokio::test]
async fn a_slow_consumer_makes_the_client_stop_reading() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let mut lobby = client.subscribe("a").unwrap();
    let (mut peer, _) = within(Peer::native(&listener)).await;
    let subscribe = within(peer.command("subscribe")).await;
    peer.answer(&subscribe, subscribed("a", 0, None)).await;
    let text = "x".repeat(100_000);
    let mut sent = 0;
    // 400 MB, if it would take them.
    while sent < 4000 {
        let message = json!({"type": "publication", "channel": "a", "offset": sent + 1, "time": 1, "data": text});
        if timeout(std::time::Duration::from_millis(500), peer.say(&message)).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 1000, "{sent} messages are somewhere");
    drop(peer);
    assert!(matches!(next(&mut lobby).await, Event::Subscribed(_)));
    for offset in 1..=sent.min(256) {
        assert!(matches!(next(&mut lobby).await, Event::Publication(publication) if publication.offset == offset));
    }
}

#[tokio::test]
async fn a_stream_is_produced_and_cancelled() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = Peer::native(&listener).await;
        let begin = peer.command("publish").await;
        assert_eq!((&begin["stream"], &begin["data"]), (&json!(true), &json!("It")));
        peer.answer(&begin, published(7)).await;
        for (at, data) in [(2, " is"), (5, " 42")] {
            let append = peer.command("append").await;
            assert_eq!((&append["stream"], &append["at"], &append["data"]), (&json!(7), &json!(at), &json!(data)));
            peer.answer(&append, json!({"type": "appended", "channel": "a", "stream": 7, "length": at + 3})).await;
        }
        peer.say(&json!({"type": "cancel", "channel": "a", "stream": 7})).await;
        let end = peer.command("append").await;
        assert_eq!((&end["at"], &end["end"]), (&json!(8), &json!("cancelled")));
        peer.answer(&end, json!({"type": "appended", "channel": "a", "stream": 7, "length": 8})).await;
        let begin = peer.command("publish").await;
        peer.answer(&begin, published(12)).await;
        let gone = peer.command("append").await;
        assert_eq!((&gone["stream"], &gone["end"]), (&json!(12), &json!("failed")));
        peer
    });
    let mut stream = within(client.stream(Publish::new("a", "It"))).await.unwrap();
    assert_eq!(stream.position().offset, 7);
    let cancelled = tokio::spawn(stream.cancelled());
    stream.append(" is").await.unwrap();
    stream.append(" 42").await.unwrap();
    within(cancelled).await.unwrap();
    assert!(stream.is_cancelled());
    within(stream.cancel()).await.unwrap();
    drop(within(client.stream(Publish::new("a", ""))).await.unwrap());
    drop(within(server).await.unwrap());
    let data = Publish::new("a", Data::Json("1".into()));
    assert_eq!(within(client.stream(data)).await.unwrap_err().code(), Some(ErrorCode::BadValue));
}

#[tokio::test]
async fn a_silent_producer_says_that_it_is_there() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = Peer::native(&listener).await;
        let begin = peer.command("publish").await;
        let mut reply = published(7);
        reply["lease"] = 1.into();
        peer.answer(&begin, reply).await;
        for _ in 0..2 {
            let append = peer.command("append").await;
            assert_eq!((&append["stream"], append.get("data"), append.get("end")), (&json!(7), None, None));
            peer.answer(&append, json!({"type": "appended", "channel": "a", "stream": 7, "length": 2})).await;
        }
        peer
    });
    let stream = within(client.stream(Publish::new("a", "It"))).await.unwrap();
    drop(within(server).await.unwrap());
    drop(stream);
}

#[tokio::test]
async fn a_piece_that_is_refused_ends_the_producer() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = Peer::native(&listener).await;
        let begin = peer.command("publish").await;
        peer.answer(&begin, published(1)).await;
        let append = peer.command("append").await;
        peer.answer(&append, json!({"type": "error", "code": 113, "name": "stream_ended", "message": "lost", "retry": false}))
            .await;
        let end = peer.command("append").await;
        peer.answer(&end, json!({"type": "error", "code": 113, "name": "stream_ended", "message": "lost", "retry": false}))
            .await;
        peer
    });
    let mut stream = within(client.stream(Publish::new("a", ""))).await.unwrap();
    stream.append("x").await.unwrap();
    assert_eq!(within(stream.finish()).await.unwrap_err().code(), Some(ErrorCode::StreamEnded));
    drop(server.await.unwrap());
}

#[tokio::test]
async fn tokens_are_fetched_and_states_are_told() {
    let (listener, builder) = listen().await;
    let client = builder.tokens(|| async { Some("fresh".to_owned()) }).connect().unwrap();
    let mut states = client.connection_states();
    assert_eq!(within(states.next()).await, Some(State::Connecting));
    let (mut peer, connect) = within(Peer::native(&listener)).await;
    assert_eq!(connect["token"], "fresh");
    assert!(matches!(within(states.next()).await, Some(State::Connected { resumed: false, .. })));
    peer.close(3002).await;
    loop {
        match within(states.next()).await.unwrap() {
            State::Waiting { lost, .. } => assert_eq!(lost, Lost::Closed(3002)),
            State::Connecting => break,
            state => panic!("{state:?}"),
        }
    }
    drop(listener);
    client.refresh("another");
    drop(client);
    while let Some(state) = within(states.next()).await {
        assert!(!matches!(state, State::Connected { .. }));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let (listener, builder) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = builder.connect().unwrap();
    let publishing = tokio::spawn({
        let client = client.clone();
        async move { client.publish("a", "early").await }
    });
    let mut states = client.connection_states();
    while !matches!(within(states.next()).await, Some(State::Waiting { .. })) {}
    assert!(client.trouble().is_some_and(|trouble| trouble.contains("cannot reach")), "{:?}", client.trouble());
    let ephemeral = Publish { ephemeral: true, ..Publish::new("a", "typing") };
    assert!(matches!(within(client.publish_with(ephemeral)).await, Err(Error::Offline)));
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut peer, _) = within(Peer::native(&listener)).await;
    let publish = within(peer.command("publish")).await;
    peer.answer(&publish, published(1)).await;
    within(publishing).await.unwrap().unwrap();
}

#[tokio::test]
async fn info_must_be_json() {
    let (_listener, builder) = listen().await;
    assert_eq!(builder.info("lin").connect().unwrap_err().code(), Some(ErrorCode::BadValue));
}

#[tokio::test]
async fn a_dropped_subscription_is_left_and_can_be_taken_again() {
    let (listener, builder) = listen().await;
    let client = builder.connect().unwrap();
    let mut old = client.subscribe("a").unwrap();
    assert_eq!(client.subscribe("a").unwrap_err().code(), Some(ErrorCode::AlreadySubscribed));
    let (mut peer, _) = within(Peer::native(&listener)).await;
    let subscribe = within(peer.command("subscribe")).await;
    peer.answer(&subscribe, subscribed("a", 5, None)).await;
    assert!(matches!(next(&mut old).await, Event::Subscribed(_)));
    let since = old.position();
    drop(old);
    let unsubscribe = within(peer.command("unsubscribe")).await;
    peer.answer(&unsubscribe, json!({"type": "unsubscribed", "channel": "a"})).await;
    let mut new = client.subscribe_with("a", SubscribeOptions { since, ..SubscribeOptions::default() }).unwrap();
    let subscribe = within(peer.command("subscribe")).await;
    assert_eq!(subscribe["offset"], 5);
    peer.answer(
        &subscribe,
        json!({"type": "error", "code": 105, "name": "permission_denied", "message": "no", "retry": false}),
    )
    .await;
    assert!(matches!(next(&mut new).await, Event::Ended(why) if why.code == ErrorCode::PermissionDenied));
    assert_eq!(within(new.next()).await, None);
}
