//! The same as the HTTP API, for whoever embeds the server.

use longwire_server::{Data, ErrorCode};

use super::{api, next_of, session};
use crate::support::within_bound;

#[test]
fn a_channel_does_what_the_api_does() {
    let server = api(2);
    let (mut ada, id) = session(&server, &["chat:lobby", "ai:x"]);
    let node = server.node().clone();
    within_bound(async move {
        let lobby = node.channel("chat:lobby");
        let data = Data::json(r#"{"text":"hi"}"#).unwrap();
        let first = lobby.publish(data.clone()).event("say").tag("trace", "7").once("a").await.unwrap();
        let again = lobby.publish(data).once("a").await.unwrap();
        assert_eq!((first.position.unwrap().offset, again.position, again.repeated), (1, first.position, true));
        assert_eq!(lobby.publish("typing").ephemeral().await.unwrap().position, None);
        lobby.publish(vec![1, 2]).await.unwrap();
        let past = lobby.history().after(1).limit(5).await.unwrap();
        assert_eq!((past.head.offset, past.publications.len(), past.more), (2, 1, false));
        assert_eq!(past.publications[0].data, Some(vec![1, 2].into()));
        assert_eq!(lobby.history().before(2).epoch(past.head.epoch).await.unwrap().publications[0].offset, 1);
        let there = lobby.presence().limit(1).await.unwrap();
        assert_eq!((there.sessions, there.members[0].session.to_string()), (1, id));
        let session = there.members[0].session;
        assert!(lobby.presence().after(session).await.unwrap().members.is_empty());

        let board = node.channel("state:board");
        board.set("price", "42").await.unwrap();
        board.set("name", "tea").await.unwrap();
        let state = board.state().after("name").limit(5).await.unwrap();
        assert_eq!((state.entries.len(), state.head.offset), (1, 2));
        board.remove("price").await.unwrap();
        assert_eq!(board.state().await.unwrap().entries.len(), 1);

        let mut answer = node.channel("ai:x").stream().await.unwrap();
        answer.append("Keep the ").await.unwrap();
        node.channel("ai:x").cancel(answer.began()).await.unwrap();
        answer.append("line open.").await.unwrap();
        assert_eq!((answer.length(), answer.is_cancelled()), (19, true));
        answer.finish().await.unwrap();
        node.channel("ai:x").stream().await.unwrap().fail("out of words").await.unwrap();
        node.channel("ai:x").stream().await.unwrap().cancelled().await.unwrap();

        let names: Vec<_> = node.channels().prefix("ch").after("chat:a").limit(5).await.unwrap().channels;
        assert_eq!((&*names[0].name, names[0].subscribers), ("chat:lobby", 1));
        let sessions = node.sessions().limit(5).await.unwrap();
        assert_eq!((sessions.sessions.len(), sessions.sessions[0].subscriptions), (1, Some(2)));
        assert!(node.sessions().user("ada").after(session).await.unwrap().sessions.is_empty());
        lobby.unsubscribe_session(session).await.unwrap();
        assert_eq!(lobby.unsubscribe_session(session).await.unwrap_err().code, ErrorCode::NotSubscribed);
        assert_eq!(lobby.unsubscribe_user("ada").await.unwrap(), 0);
        node.disconnect_session(session).await.unwrap();
        assert_eq!(node.disconnect_session(session).await.unwrap_err().code, ErrorCode::NoSuchSession);
        assert_eq!(node.disconnect_user("ada").await.unwrap(), 0);
    });
    assert_eq!(next_of(&mut ada, "publication")["event"], "say");
    assert_eq!(next_of(&mut ada, "append")["data"], "Keep the ");
    assert_eq!(next_of(&mut ada, "unsubscribed")["channel"], "chat:lobby");
    ada.expect_close(3501);
}

#[test]
fn what_is_wrong_is_refused_before_any_channel_is_asked() {
    let server = api(1);
    let node = server.node().clone();
    within_bound(async move {
        let code = |failure: longwire_server::Failure| failure.code;
        assert_eq!(node.channel("").publish("x").await.map_err(code), Err(ErrorCode::BadChannel));
        assert_eq!(node.channel("nowhere:x").publish("x").await.map_err(code), Err(ErrorCode::UnknownNamespace));
        assert_eq!(node.channel("chat:x").publish("x").event("").await.map_err(code), Err(ErrorCode::BadValue));
        assert_eq!(node.channel("chat:x").stream().await.map(drop).map_err(code), Err(ErrorCode::NotEnabled));
        assert_eq!(node.channel("small:x").publish("more than ten").await.map_err(code), Err(ErrorCode::TooLarge));
        assert_eq!(node.channels().limit(1001).await.map(drop).map_err(code), Err(ErrorCode::BadValue));
        let shown = node.channel("live:x").history().await.unwrap_err().to_string();
        assert!(shown.starts_with("not_enabled: "), "{shown}");
    });
}

#[test]
fn a_node_that_has_stopped_answers_nobody_and_holds_nobody_up() {
    let server = api(2);
    let node = server.node().clone();
    server.shutdown();
    server.join();
    within_bound(async move {
        assert_eq!(node.channel("chat:x").publish("x").await.unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(node.sessions().await.unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(node.disconnect_user("ada").await.unwrap_err().code, ErrorCode::Overloaded);
    });
}

#[derive(serde::Serialize)]
struct Card {
    x: u8,
}

/// Names that are made by `format!`, texts that are kept, values that can be serialised.
#[test]
fn what_one_has_at_hand_can_be_published() {
    let server = api(1);
    let node = server.node().clone();
    let room: std::sync::Arc<str> = "default-room".into();
    let (name, text) = (format!("room-{}", 7), "text".to_owned());
    node.publish(&name, &text).unwrap();
    node.publish(&room, "text").unwrap();
    within_bound(async move {
        let json = String::from(r#"{"x":3}"#);
        let name = format!("state:{}", "cards");
        let board = node.channel(&name);
        board.publish(Data::json(&json).unwrap()).event(&json[2..3]).once(&name).await.unwrap();
        board.publish(serde_json::json!({ "x": 3 })).await.unwrap();
        board.publish(Data::of(&Card { x: 3 }).unwrap()).await.unwrap();
        board.publish(&json).await.unwrap();
        board.set(&name, serde_json::json!(null)).await.unwrap();
        let past = board.history().await.unwrap().publications;
        for publication in &past[..3] {
            assert_eq!(publication.data, Some(Data::json(&json).unwrap()));
        }
        // What claims to be JSON and is none is found before anybody gets it.
        let mut deep = serde_json::json!(0);
        for _ in 0..70 {
            deep = serde_json::json!([deep]);
        }
        for wrong in [Data::Json("{".into()), Data::Text(vec![0xFF].into()), deep.into()] {
            assert_eq!(board.publish(wrong).await.unwrap_err().code, ErrorCode::BadValue);
        }
        assert_eq!(node.disconnect_user(&json).await.unwrap(), 0);
    });
}
