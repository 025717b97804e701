//! How lines of the native protocol end, and with which code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longwire_protocol::{ErrorCode, Form};
use longwire_server::{Authenticator, ChannelOptions, Identity, Who};
use serde_json::json;

use super::{Native, connect, namespaces, serve_also, serve_native};
use crate::support::{Client, Gate, NEVER, blocker, eventually, handshake};

/// In milliseconds. The server counts whole ones.
const SOON: u64 = 300;

/// A token is a user's name and the seconds for which it is good: `anna 60`. Without one, one is nobody.
#[derive(Debug)]
struct NamesAndSeconds;

impl Authenticator for NamesAndSeconds {
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode> {
        let Some(token) = token else { return Ok(Identity::default()) };
        let (user, seconds) = token.split_once(' ').ok_or(ErrorCode::Unauthorized)?;
        let expires = Some(seconds.parse().map_err(|_| ErrorCode::TokenExpired)?);
        Ok(Identity { user: Some(user.into()), expires })
    }
}

#[test]
fn a_line_that_does_not_connect_in_time_is_closed() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.sessions.connect_timeout = SOON);
        for form in Form::ALL {
            let start = Instant::now();
            let mut connected = Native::connected(server.address, form);
            let mut silent = Native::open(server.address, form);
            let mut wordy = Native::open(server.address, form);
            wordy.say(json!({"type": "ping", "id": 1}));
            assert_eq!(wordy.next()["name"], "not_connected");
            let mut refused = Native::open(server.address, form);
            assert_eq!(refused.fails(json!({"type": "connect", "token": "x"})), "unauthorized");
            for native in [&mut silent, &mut wordy, &mut refused] {
                native.expect_close(3004);
                assert!(start.elapsed() >= Duration::from_millis(SOON - 1), "{:?}", start.elapsed());
                native.client.send_close(3004, "");
                native.client.expect_end();
            }
            connected.expect_quiet();
            // The session of a closed line is not there to be taken up.
            drop(connected);
        }
        server.expect_empty();
    }
}

#[test]
fn thousands_that_are_due_at_once_are_closed() {
    // More than the stack of a shard has room for, if each were closed within the closing of another.
    const LINES: usize = 3000;
    let gate = Gate::default();
    let server = serve_also(
        1,
        |config| config.sessions.connect_timeout = SOON,
        |builder| builder.line_handler("/block", blocker(&gate)),
    );
    let mut block = Client::open(server.address, "/block");
    let mut lines: Vec<Client> = (0..LINES).map(|_| Client::tcp(server.address)).collect();
    // The shard opens them, and does not look at the clock again before the gate is open.
    lines.iter_mut().for_each(|line| line.send_raw(handshake("/v1/ws", "").as_bytes()));
    lines.iter_mut().for_each(|line| drop(line.upgraded()));
    block.send_text("stop");
    gate.wait_entered(1);
    std::thread::sleep(Duration::from_millis(SOON));
    gate.open();
    for line in &mut lines {
        line.expect_close(3004);
    }
    block.expect_text("stop");
}

#[test]
fn a_token_that_expires_ends_the_line_unless_it_is_refreshed() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.authenticator = Arc::new(NamesAndSeconds));
        for form in Form::ALL {
            let start = Instant::now();
            let (mut refreshed, _) = connect(server.address, form, json!({"token": "anna 1"}));
            let reply = refreshed.ask(json!({"type": "refresh", "token": "anna 3600"}));
            assert_eq!((&reply["type"], &reply["expires"]), (&json!("refreshed"), &json!(3600)));
            // A refresh that fails leaves what there was.
            let (mut expires, connected) = connect(server.address, form, json!({"token": "bob 1"}));
            assert_eq!((&connected["user"], &connected["expires"]), (&json!("bob"), &json!(1)));
            assert_eq!(expires.fails(json!({"type": "refresh", "token": "anna 3600"})), "permission_denied");
            assert_eq!(expires.fails(json!({"type": "refresh", "token": "bob"})), "unauthorized");
            assert_eq!(expires.fails(json!({"type": "refresh", "token": "bob then"})), "token_expired");
            expires.expect_close(3005);
            assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
            refreshed.expect_quiet();
            // With a better token it goes on where it was, but not as somebody else.
            let again = |token: &str| json!({"token": token, "session": connected["session"], "key": connected["key"]});
            assert_eq!(connect(server.address, form, again("anna 60")).1["resumed"], false);
            assert_eq!(connect(server.address, form, again("bob 60")).1["resumed"], true);
        }
    }
}

#[test]
fn what_is_for_users_is_not_for_others() {
    let options =
        ChannelOptions { subscribe: Who::Users, publish: Who::Users, presence: true, history_size: 5, ..Default::default() };
    let server = serve_native(2, |config| {
        config.authenticator = Arc::new(NamesAndSeconds);
        config.namespaces =
            namespaces(vec![("users", options), ("closed", ChannelOptions { subscribe: Who::Nobody, ..Default::default() })]);
    });
    for form in Form::ALL {
        let (mut anna, _) = connect(server.address, form, json!({"token": "anna 60"}));
        let mut nobody = Native::connected(server.address, form);
        for channel in ["users:a", "users:b"] {
            for command in ["subscribe", "publish", "history", "presence", "cancel"] {
                let command = json!({"type": command, "channel": channel, "stream": if command == "cancel" { json!(1) } else { json!(null) }});
                assert_eq!(nobody.fails(command.clone()), "permission_denied", "{command}");
            }
            let subscribed = anna.subscribe(channel, json!({}));
            assert_eq!(subscribed["options"], json!(["history", "presence", "publish"]));
            let published = anna.ask_amid(json!({"type": "publish", "channel": channel, "data": 1, "echo": false}));
            assert_eq!(published["type"], "published");
        }
        assert_eq!(anna.fails(json!({"type": "subscribe", "channel": "closed:x"})), "permission_denied");
        nobody.expect_quiet();
        anna.ask(json!({"type": "unsubscribe", "channel": "users:a"}));
        anna.ask(json!({"type": "unsubscribe", "channel": "users:b"}));
    }
}

#[test]
fn a_session_without_a_line_leaves_its_channels_when_its_time_is_over() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.sessions.keep = SOON);
        for how in ["reset", "end", "close"] {
            let mut watcher = Native::connected(server.address, Form::Json);
            watcher.subscribe(&format!("chat:{how}"), json!({}));
            let (mut native, connected) = connect(server.address, Form::Json, json!({"info": how}));
            assert_eq!(connected["keep"], 0, "whole seconds");
            native.subscribe(&format!("chat:{how}"), json!({}));
            assert_eq!(watcher.next_of("join")["member"]["session"], connected["session"]);
            let start = Instant::now();
            match how {
                "reset" => native.client.reset(),
                "end" => drop(native.client),
                _ => native.client.close(),
            }
            let leave = watcher.next_of("leave");
            assert!(start.elapsed() >= Duration::from_millis(SOON - 1), "{how}: {:?}", start.elapsed());
            assert_eq!(leave["member"], json!({"session": connected["session"], "info": how}));
            let presence = watcher.ask(json!({"type": "presence", "channel": format!("chat:{how}")}));
            assert_eq!((&presence["sessions"], presence["members"].as_array().map(Vec::len)), (&json!(1), Some(1)));
            let again = json!({"session": connected["session"], "key": connected["key"]});
            assert_eq!(connect(server.address, Form::Json, again).1["resumed"], false, "it is over");
        }
    }
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_a_message_is_forgotten() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.sessions.keep = SOON);
        let mut watcher = Native::connected(server.address, Form::Json);
        watcher.subscribe("chat:killed", json!({}));
        let mut killed = Native::connected(server.address, Form::Json);
        killed.subscribe("chat:killed", json!({}));
        watcher.next_of("join");
        // Commands under way, replies under way, a frame that has only begun.
        let burst = json!({"type": "publish", "channel": "chat:killed", "data": "x".repeat(1000)});
        killed.say_all(&vec![burst; 200]);
        killed.client.send_raw(&[0x81, 0xFE, 0x01]);
        killed.client.reset();
        loop {
            let message = watcher.next();
            if message["type"] == "leave" {
                break;
            }
            assert_eq!(message["type"], "publication", "{message}");
        }
        eventually("the line is gone", || server.node().connections() == 1);
        watcher.expect_quiet();
    }
}

#[test]
fn a_shutdown_closes_native_lines_with_1001() {
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.sessions.keep = NEVER.as_millis() as u64);
        let mut lines: Vec<Native> = (0..20).map(|n| Native::connected(server.address, Form::ALL[n % 2])).collect();
        for native in &mut lines {
            native.subscribe("chat:end", json!({}));
        }
        // What was asked before is still answered.
        lines.iter_mut().for_each(|native| native.say(json!({"type": "presence", "channel": "chat:end", "id": 4_000_000})));
        for native in &mut lines {
            while native.next()["id"] != 4_000_000 {}
        }
        let mut silent = Native::open(server.address, Form::Json);
        server.shutdown();
        for native in lines.iter_mut().chain([&mut silent]) {
            let code = loop {
                if let Err(code) = native.next_or_close() {
                    break code;
                }
            };
            assert_eq!(code, 1001);
            native.client.send_close(1001, "");
            native.client.expect_end();
        }
        server.join();
    }
}
