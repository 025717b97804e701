//! What the application has to say about connections, namespaces and events.

use std::sync::mpsc::channel;
use std::time::Duration;

use http::HeaderValue;
use longwire_server::Opening;
use longwire_server::socketio::{Ack, Arguments, ConnectRefused, RequestRefused, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{EVENT, Io, PATH, Way};
use super::{commands, obedient, serve_io};
use crate::support::{Client, Http, next};

#[test]
fn the_application_decides_by_the_request_that_opens_a_connection() {
    let io = obedient()
        .allow_request(async |opening: Opening| {
            tokio::task::yield_now().await;
            match opening.query("token") {
                Some(token) if token == "secret" && opening.peer.is_some() => Ok(()),
                _ => Err(RequestRefused::new("who are \"you\"?")),
            }
        })
        .initial_headers(|opening, headers| {
            let agent = opening.headers.get("x-of").cloned();
            headers.insert("x-seen", agent.unwrap_or(HeaderValue::from_static("nobody")));
            headers.append("set-cookie", HeaderValue::from_static("a=1"));
            headers.append("set-cookie", HeaderValue::from_static("b=2"));
            // What makes the answer what it is stays.
            headers.insert("content-type", HeaderValue::from_static("x/y"));
            headers.insert("upgrade", HeaderValue::from_static("nothing"));
        });
    let server = serve_io(2, io);
    let cookies = |head: &str| head.to_lowercase().matches("set-cookie: ").count();
    let mut http = Http::open(server.address);
    let target = format!("{PATH}?EIO=4&transport=polling");
    let refused = http.request("GET", &target, b"");
    assert_eq!((refused.status, refused.body.as_str()), (403, r#"{"code":4,"message":"who are \"you\"?"}"#));
    http.ask("GET", &format!("{target}&token=secret"), "X-Of: me\r\n", b"");
    let opened = http.0.response();
    assert_eq!((opened.status, opened.header("x-seen"), cookies(&opened.head)), (200, Some("me"), 2), "{}", opened.head);
    assert!(opened.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    // Later requests are not asked about: they have the address that was given.
    let open: Value = serde_json::from_str(opened.body.strip_prefix('0').expect("an open packet")).expect("JSON");
    let sid = open["sid"].as_str().expect("an id");
    let posted = http.request("POST", &format!("{target}&sid={sid}"), b"40");
    assert_eq!((posted.status, posted.header("x-seen")), (200, None));
    let target = format!("{PATH}?EIO=4&transport=websocket");
    let mut tcp = Client::tcp(server.address);
    tcp.send_raw(crate::support::handshake(&target, "").as_bytes());
    let refused = tcp.response();
    assert_eq!((refused.status, refused.body.as_str()), (400, "who are \"you\"?"));
    let (mut client, opened) = Client::tcp(server.address).upgrade(&format!("{target}&token=secret"), "");
    assert_eq!((opened.header("x-seen"), cookies(&opened.head)), (Some("nobody"), 2));
    assert!(client.text().starts_with('0'));
}

#[test]
fn whether_there_is_a_dynamic_namespace_may_take_time_and_what_the_client_says() {
    let io = SocketIo::new().dynamic(
        |name| name.starts_with("/team-"),
        |namespace| {
            commands(namespace).middleware(async |socket: Socket| {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let team = socket.auth::<Value>().ok().and_then(|auth| auth["team"].as_u64());
                let is_theirs = team.is_some_and(|team| socket.namespace() == format!("/team-{team}"));
                if is_theirs { Ok(()) } else { Err(ConnectRefused::no_such_namespace()) }
            })
        },
    );
    let server = serve_io(2, io);
    let mut client = Io::open(server.address, Way::WebSocket);
    let nothing = client.refused("/nothing", &Value::Null);
    assert_eq!(client.refused("/team-7", &json!({"team": 8})), nothing, "nobody can tell the one from the other");
    // What is called as something of the server's, and is no text, is the application's.
    client.connect("/team-7", &json!({"team": 7, "pid": 5, "offset": {}, "token": []}));
    client.call_in("/team-7", json!(["sync"]));
}

#[test]
fn events_are_refused_before_they_are_handled() {
    let io = SocketIo::new().namespace("/", |root| {
        commands(root)
            .event_middleware(|socket: &Socket, arguments: &Arguments| {
                let name = arguments.event_name().unwrap_or_default();
                if name == "say" && socket.rooms().is_empty() { Err("join a room first") } else { Ok(()) }
            })
            .event_middleware(
                |_: &Socket, arguments: &Arguments| {
                    if arguments.json().len() > 100 { Err("too long".to_owned()) } else { Ok(()) }
                },
            )
            .on_any(|socket: Socket, arguments: Arguments| socket.emit("seen", (arguments.event_name(),)))
            .on("say", |socket: Socket, (text,): (String,), ack: Ack| {
                socket.emit("said", (text,));
                ack.send((true,));
            })
            .fallback(|_: Socket, _: Arguments, ack: Ack| ack.send(("unknown",)))
    });
    let server = serve_io(1, io);
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    let refused = |why: &str| json!([{"error": {"code": "refused", "message": why}}]);
    let mut said = |arguments: Value, told: &[Value]| {
        let name = arguments[0].clone();
        client.emit_for_ack("/", arguments);
        assert_eq!(client.event(), json!(["seen", name]));
        for told in told {
            assert_eq!(client.next().expect("a packet").data, *told);
        }
    };
    said(json!(["say", "x"]), &[refused("join a room first")]);
    said(json!(["what", "x"]), &[json!(["unknown"])]);
    said(json!(["what", "x".repeat(100)]), &[refused("too long")]);
    said(json!(["join", "a"]), &[json!(["a"])]);
    said(json!(["say", "x"]), &[json!(["said", "x"]), json!([true])]);
    client.emit("/", json!(["say", "x".repeat(100)]));
    assert_eq!(client.event(), json!(["seen", "say"]));
    client.emit("/", json!(["sync"]));
    assert_eq!(client.event(), json!(["seen", "sync"]));
}

#[test]
fn what_is_emitted_is_told_once_whomever_it_is_for() {
    let (told, emitted) = channel();
    let io = SocketIo::new().recovery(Duration::from_secs(60)).namespace("/", |root| {
        commands(root)
            .on("all kinds", async |socket: Socket, (): ()| {
                socket.emit("one", (1, "x"));
                socket.to("nobody").emit("others", ());
                let _ = socket.io().to("nobody").emit_with_ack("all", (2,), Duration::from_secs(60)).await;
                let _ = socket.emit_with_ack("asked", (3,), Duration::from_secs(60)).await;
            })
            .on_any_outgoing(move |to, event, arguments| {
                told.send((to.map(|socket| socket.id().to_owned()), event.to_owned(), arguments.json().to_owned()))
                    .expect("told");
            })
    });
    let everyone = io.of("/");
    let server = serve_io(2, io);
    let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
    client.emit("/", json!(["all kinds"]));
    let id = Some(connected.sid);
    let expected = [(id.clone(), "one", r#"[1,"x"]"#), (None, "others", "[]"), (None, "all", "[2]"), (id, "asked", "[3]")];
    for (to, event, arguments) in expected {
        assert_eq!(next(&emitted), (to, event.to_owned(), arguments.to_owned()));
    }
    everyone.emit("from outside", ("y",));
    assert_eq!(next(&emitted), (None, "from outside".to_owned(), r#"["y"]"#.to_owned()));
    assert_eq!(client.event(), json!(["one", 1, "x"]));
    assert!(emitted.try_recv().is_err());
}

#[test]
fn those_who_come_back_are_asked_about_again_if_that_is_wanted() {
    for (asks_again, welcome) in [(false, true), (true, true), (true, false)] {
        let (told, asked) = channel();
        let io = SocketIo::new().recovery(Duration::from_secs(60)).namespace("/", |root| {
            commands(root).middleware(move |socket: Socket| {
                told.send((socket.recovered(), socket.id().len(), socket.rooms())).expect("told");
                async move {
                    let auth = socket.auth::<Value>().unwrap_or_default();
                    if auth["banned"] == true { Err(ConnectRefused::new("not you")) } else { Ok(()) }
                }
            })
        });
        let io = if asks_again { io.recovery_asks_middleware() } else { io };
        let server = serve_io(2, io);
        let (mut client, connected) = Io::connected(server.address, Way::WebSocket);
        assert_eq!(next(&asked), (false, 16, vec![]));
        client.call(json!(["join", "a"]));
        let (mut other, _) = Io::connected(server.address, Way::WebSocket);
        next(&asked);
        client.cut();
        other.call(json!(["to", ["a"], [], 1]));
        let mut client = Io::open(server.address, Way::WebSocket);
        client.recovers = true;
        client.ask_in("/", &json!({"pid": connected.pid, "banned": !welcome}));
        if asks_again {
            assert_eq!(next(&asked), (true, 16, vec!["a".to_owned()]));
        }
        if !welcome {
            assert_eq!(client.next().expect("an answer").data, json!({"message": "not you"}));
            // And it is another one if it tries again.
            client.ask_in("/", &json!({"pid": connected.pid}));
            let again = client.next().expect("an answer").data;
            assert_ne!(again["sid"], connected.sid.as_str());
            continue;
        }
        let mut packets = [client.next().expect("a packet"), client.next().expect("a packet")];
        packets.sort_by_key(|packet| packet.kind);
        assert_eq!(packets[0].data["sid"], connected.sid.as_str());
        assert_eq!((packets[1].kind, &packets[1].data), (EVENT, &json!(["said", 1])));
        assert_eq!(client.call(json!(["rooms"])), json!([["a"]]));
        assert!(asked.try_recv().is_err());
    }
}
