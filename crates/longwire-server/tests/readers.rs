//! Who is there of those who only read: one who polls, or comes back with the place that it has kept, is the member that it was.

use std::net::SocketAddr;
use std::sync::Arc;

use longwire_protocol::{Data, Form, SessionId};
use longwire_server::{ChannelOptions, Config, Namespaces, ServerBuilder};
use serde_json::{Value, json};

use crate::native::client::{Native, connect, session_id};
use crate::support::{Http, Response, TestServer, answer, eventually, serve, within_bound};

#[track_caller]
fn serve_with(shards: usize, change: impl FnOnce(&mut Config)) -> TestServer {
    let options = ChannelOptions { history_size: 100, presence: true, joins: true, ..ChannelOptions::default() };
    let namespaces = Namespaces::new([("chat".to_owned(), options)]).expect("options");
    serve(shards, |builder: ServerBuilder| {
        builder.native("/v1/ws").event_streams("/v1/events").polls("/v1/poll").configure(|config| {
            config.namespaces = Arc::new(namespaces);
            change(config);
        })
    })
}

fn publish(server: &TestServer, data: &str) {
    within_bound(async { server.node().channel("chat:a").publish(Data::from(data)).await }).expect("published");
}

fn members(server: &TestServer) -> Vec<SessionId> {
    let presence = within_bound(async { server.node().channel("chat:a").presence().await }).expect("presence");
    presence.members.iter().map(|member| member.session).collect()
}

fn sessions(server: &TestServer) -> usize {
    within_bound(async { server.node().sessions().await }).expect("sessions").sessions.len()
}

/// Somebody who is told of those who come and go.
struct Watcher(Native, SessionId);

impl Watcher {
    #[track_caller]
    fn of(server: &TestServer) -> Self {
        let (mut native, connected) = connect(server.address, Form::Json, json!({}));
        native.subscribe("chat:a", json!({"members": true}));
        Self(native, session_id(&connected))
    }

    /// What was said up to this publication: `join` and `leave`, and whose.
    #[track_caller]
    fn told_before(&mut self, server: &TestServer, mark: &str) -> Vec<(String, String)> {
        publish(server, mark);
        let mut told = Vec::new();
        loop {
            let message = self.0.next();
            match message["type"].as_str().expect("a type") {
                "publication" if message["data"] == mark => return told,
                "publication" => {}
                kind => told.push((kind.to_owned(), message["member"]["session"].as_str().expect("a session").to_owned())),
            }
        }
    }
}

fn get(address: SocketAddr, query: &str, more: &str) -> Response {
    answer(address, &format!("GET /v1/poll?channel=chat:a&{query} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n"))
}

fn since_of(response: &Response) -> (String, Vec<Value>) {
    assert_eq!(response.status, 200, "{}\n{}", response.head, response.body);
    let mut body: Value = serde_json::from_str(&response.body).expect("JSON");
    let Value::Array(messages) = body["messages"].take() else { panic!("{body}") };
    (body["since"].as_str().expect("a position").to_owned(), messages)
}

fn poll(address: SocketAddr, since: &str) -> (String, Vec<Value>) {
    since_of(&get(address, &format!("wait=0&since={since}"), ""))
}

/// Another tag.
fn forged(since: &str) -> String {
    let (known, tag) = since.split_at(since.len() - 16);
    format!("{known}{:016x}", u64::from_str_radix(tag, 16).expect("a tag") ^ 1)
}

#[test]
fn who_polls_once_announces_nobody_and_who_polls_on_is_one_member() {
    for shards in [1, 3] {
        let server = serve_with(shards, |_| {});
        let mut watcher = Watcher::of(&server);
        for _ in 0..20 {
            assert_eq!(poll(server.address, "").1.len(), 0);
        }
        assert_eq!(watcher.told_before(&server, "looked at"), []);
        assert_eq!(members(&server), [watcher.1]);
        eventually("they leave nothing", || sessions(&server) == 1);

        let mut since = poll(server.address, "").0;
        let mut member = None;
        for round in 0..20 {
            if round % 3 == 0 {
                publish(&server, "news");
            }
            since = poll(server.address, &since).0;
            let others: Vec<_> = members(&server).into_iter().filter(|session| *session != watcher.1).collect();
            assert_eq!((others.len(), *member.get_or_insert(others[0])), (1, others[0]), "round {round}");
        }
        let told = watcher.told_before(&server, "polled");
        assert_eq!(told.iter().map(|(kind, _)| &**kind).collect::<Vec<_>>(), ["join"]);
        eventually("it is one session", || sessions(&server) == 2);
        // It is put out, and comes back as somebody else.
        let member = member.expect("a member");
        within_bound(async { server.node().disconnect_session(member).await }).expect("it was there");
        let gone = watcher.told_before(&server, "put out");
        assert_eq!(gone, [("leave".to_owned(), told[0].1.clone())]);
        poll(server.address, &since);
        let back = watcher.told_before(&server, "back");
        assert!(back.len() == 1 && back[0].0 == "join" && back[0].1 != told[0].1, "{back:?}");
    }
}

#[test]
fn who_does_not_poll_on_has_left_when_its_time_is_over() {
    let server = serve_with(2, |config| config.sessions.keep = 50);
    let mut watcher = Watcher::of(&server);
    poll(server.address, &poll(server.address, "").0);
    let join = watcher.0.next_of("join");
    let leave = watcher.0.next_of("leave");
    assert_eq!(join["member"]["session"], leave["member"]["session"]);
    eventually("its session is over", || sessions(&server) == 1);
}

/// As a browser's cache does.
#[test]
fn who_polls_with_nothing_but_tags_is_one_member() {
    let server = serve_with(2, |_| {});
    let mut watcher = Watcher::of(&server);
    let first = get(server.address, "wait=0", "");
    let mut tag = first.header("etag").expect("a tag").to_owned();
    let ask = |tag: &str| get(server.address, "wait=0", &format!("If-None-Match: W/{}-gzip\"\r\n", tag.trim_end_matches('"')));
    let second = ask(&tag);
    assert_eq!(since_of(&second).1.len(), 0, "it is told who it is from now on");
    second.header("etag").expect("a tag").clone_into(&mut tag);
    for _ in 0..10 {
        let same = ask(&tag);
        assert_eq!((same.status, same.header("etag")), (304, Some(&*tag)));
    }
    publish(&server, "news");
    let news = ask(&tag);
    assert_eq!(since_of(&news).1[0]["data"], "news");
    let told = watcher.told_before(&server, "polled");
    assert_eq!(told.iter().map(|(kind, _)| &**kind).collect::<Vec<_>>(), ["join"]);
    eventually("it is one session", || sessions(&server) == 2);
}

#[test]
fn a_place_with_a_forged_name_is_a_strangers() {
    let server = serve_with(2, |_| {});
    let since = poll(server.address, &poll(server.address, "").0).0;
    let known = members(&server);
    assert_eq!(known.len(), 1);
    let (other, _) = poll(server.address, &forged(&since));
    assert_eq!(members(&server), known, "a stranger looks");
    let (other, _) = poll(server.address, &other);
    assert_eq!(members(&server).len(), 2);
    assert_ne!(other.split_once('.').expect("a name").1, since.split_once('.').expect("a name").1);
    for bad in ["0", "x", "zz"] {
        assert_eq!(get(server.address, &format!("wait=0&since={since}{bad}"), "").status, 400, "{bad}");
    }
}

#[test]
fn two_that_read_with_one_place_at_once_are_one_member_and_both_get_all() {
    for shards in [1, 3] {
        let server = serve_with(shards, |_| {});
        let since = poll(server.address, &poll(server.address, "").0).0;
        let known = members(&server);
        let mut polls = [(); 3].map(|()| Http::open(server.address));
        for (at, wait) in polls.iter_mut().enumerate() {
            wait.ask("GET", &format!("/v1/poll?channel=chat:a&since={since}&wait=30"), "", b"");
            eventually("it waits", || server.node().connections() > at);
        }
        publish(&server, "one");
        for wait in &mut polls {
            let (next, messages) = since_of(&wait.0.response());
            assert_eq!(messages[0]["data"], "one");
            assert_eq!(poll(server.address, &next).1.len(), 0);
        }
        assert_eq!(members(&server), known);
        // Those that were not the last are nobody whom one could come back to.
        eventually("one session is left", || sessions(&server) == 1);
    }
}

#[test]
fn readers_between_their_polls_are_bounded_as_other_sessions_without_a_line() {
    let server = serve_with(1, |config| config.sessions.parked = 5);
    let mut all: Vec<String> = (0..20).map(|_| poll(server.address, &poll(server.address, "").0).0).collect();
    eventually("the others have left", || (sessions(&server), members(&server).len()) == (5, 5));
    // Who is kept is the same; who is not is somebody new each time, and gets all the same.
    publish(&server, "news");
    for since in &mut all {
        let (next, messages) = poll(server.address, since);
        assert_eq!(messages[0]["data"], "news");
        *since = next;
    }
    eventually("the others have left", || (sessions(&server), members(&server).len()) == (5, 5));
}

#[test]
fn where_sessions_are_not_kept_polls_announce_nobody() {
    let server = serve_with(1, |config| config.sessions.keep = 0);
    let mut watcher = Watcher::of(&server);
    let mut since = String::new();
    for _ in 0..5 {
        since = poll(server.address, &since).0;
    }
    assert_eq!(watcher.told_before(&server, "polled"), []);
    eventually("nothing is kept", || sessions(&server) == 1);
}
