//! What no client should say: each is answered with a code, or ends the line with one; nothing is passed over in silence.

use std::time::Duration;

use longwire_core::Random;
use longwire_protocol::{Command, ErrorCode, Form, Rejected};
use longwire_ws::Opcode;
use serde_json::{Value, json};

use super::{Native, serve_native};
use crate::support::{frame_of, piece_of};

/// Each command with every member that it takes.
fn commands() -> Vec<Value> {
    let session = "AAAAAAAAAAAAAAAA";
    vec![
        json!({"type": "connect", "token": "t", "info": {"name": "x"}, "session": session, "key": "k"}),
        json!({"type": "subscribe", "channel": "ai:x", "epoch": "00000001", "offset": 1, "last": 1, "state": true, "members": true}),
        json!({"type": "unsubscribe", "channel": "ai:x"}),
        json!({"type": "publish", "channel": "ai:x", "data": 1, "event": "e", "tags": {"a": "b"}, "once": "o", "ephemeral": true, "echo": false}),
        json!({"type": "publish", "channel": "ai:x", "bytes": "AAAA", "echo": true}),
        json!({"type": "publish", "channel": "state:x", "key": "k", "remove": true}),
        json!({"type": "publish", "channel": "ai:x", "data": "text", "stream": true}),
        json!({"type": "append", "channel": "ai:x", "stream": 1, "data": "text", "at": 0, "end": "failed", "reason": "r"}),
        json!({"type": "cancel", "channel": "ai:x", "stream": 1}),
        json!({"type": "history", "channel": "ai:x", "after": 1, "epoch": "00000001", "limit": 1}),
        json!({"type": "history", "channel": "ai:x", "before": 1, "limit": 1}),
        json!({"type": "presence", "channel": "chat:x", "limit": 1, "after": session}),
        json!({"type": "state", "channel": "state:x", "limit": 1, "after": "k"}),
        json!({"type": "refresh", "token": "t"}),
        json!({"type": "ping"}),
    ]
}

/// Values that hardly any member has, as JSON text: some of them have no place in a [`Value`].
fn wrong_values() -> Vec<String> {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let mut values: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "-0",
        "1.5",
        "1e3",
        "1E400",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "\"\"",
        "\" \"",
        "\"x\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\u{202e}é\"",
        "[]",
        "{}",
        "[1]",
        "{\"a\":1}",
        "{\"a\":\"b\"}",
        "[[]]",
    ]
    .map(str::to_owned)
    .to_vec();
    values.push(format!("\"{}\"", "x".repeat(70_000)));
    values.push("9".repeat(5000));
    values.extend([64, 65, 200, 100_000].map(deep));
    values.push("[".repeat(50_000));
    values
}

/// All members of a command, with one of them, or one more, having this value; its `id` is readable before it.
fn with_value(command: &Value, member: &str, value: &str, id: u32) -> String {
    let mut members = vec![format!("\"id\":{id}")];
    for (name, known) in command.as_object().unwrap() {
        if name != member {
            members.push(format!("{}:{known}", json!(name)));
        }
    }
    members.push(format!("{}:{value}", json!(member)));
    format!("{{{}}}", members.join(","))
}

#[test]
fn every_member_of_every_command_with_every_wrong_value_is_answered_once() {
    let server = serve_native(2, |config| config.sessions.subscriptions = 1000);
    for command in commands() {
        let mut native = Native::connected(server.address, Form::Json);
        let mut names: Vec<String> = command.as_object().unwrap().keys().cloned().collect();
        names.push("unknown".to_owned());
        let mut id = 1000;
        for name in &names {
            for value in wrong_values() {
                id += 1;
                let text = with_value(&command, name, &value, id);
                native.client.send_text(&text);
                let shown = &text[..text.len().min(200)];
                let reply = next_reply(&mut native);
                assert_eq!(reply["id"], id, "{shown}\n{reply}");
                if reply["type"] == "error" {
                    let code =
                        reply["code"].as_u64().and_then(|code| ErrorCode::from_number(code as u16)).expect("a known code");
                    assert_eq!((&reply["name"], &reply["retry"]), (&json!(code.name()), &json!(code.retry())), "{shown}");
                    assert!(
                        code != ErrorCode::Internal && reply["message"].as_str().is_some_and(|text| text.len() > 5),
                        "{reply}"
                    );
                    assert!(reply.to_string().len() < 600, "what a client sends does not come back to it: {reply}");
                }
                // So that they are not too many in a row.
                native.say(json!({"type": "ping", "id": id}));
                assert_eq!(next_reply(&mut native), json!({"type": "pong", "id": id}), "{shown}");
            }
        }
    }
}

/// The next reply, whatever is pushed before it.
#[track_caller]
fn next_reply(native: &mut Native) -> Value {
    loop {
        let message = native.next();
        let is_push = match message["type"].as_str().expect("a type") {
            "publication" | "append" | "join" | "leave" | "gap" | "cancel" => true,
            "state" => message["head"].is_null(),
            _ => false,
        };
        if !is_push {
            return message;
        }
    }
}

#[test]
fn commands_with_bytes_changed_at_random_are_answered_as_they_can_be_read() {
    let mut random = Random::seeded(7);
    let mut below = move |most: usize| (random.number() % most as u64) as usize;
    for form in Form::ALL {
        let server = serve_native(2, |config| config.sessions.subscriptions = 10_000);
        let mut native = Native::connected(server.address, form);
        let mut all = commands();
        // Those that end the session's own story are for the other test.
        all.retain(|command| command["type"] != "connect");
        for round in 0..1500u32 {
            let mut some: Vec<Value> = (0..1 + below(3)).map(|_| all[below(all.len())].clone()).collect();
            some.iter_mut().enumerate().for_each(|(n, command)| command["id"] = (1_000_000 + round * 10 + n as u32).into());
            let mut message = native.encode(&some);
            for _ in 0..1 + below(4) {
                change(&mut message, &mut below);
            }
            if form == Form::Json {
                // A text must be UTF-8, or the line ends; that is another test's.
                message = String::from_utf8_lossy(&message).into_owned().into_bytes();
            }
            let read: Vec<Result<Command, Rejected>> = form.commands(&message).collect();
            native.client.send(if form == Form::Json { Opcode::Text } else { Opcode::Binary }, &message);
            native.say(json!({"type": "ping", "id": round + 1}));
            expect_answers(&mut native, &read, round + 1);
        }
    }
}

fn change(message: &mut Vec<u8>, below: &mut impl FnMut(usize) -> usize) {
    let at = below(message.len().max(1));
    match below(5) {
        0 if at < message.len() => drop(message.remove(at)),
        1 => message.insert(at, below(256) as u8),
        2 if at < message.len() => message[at] ^= 1 << below(8),
        3 => message.truncate(at.max(1)),
        _ => {
            let piece = message[at..].iter().take(below(20)).copied().collect::<Vec<_>>();
            message.splice(at..at, piece);
        }
    }
}

/// What cannot be read is answered with its error, what can be read with a reply if it has an id, in order; then comes the pong.
#[track_caller]
fn expect_answers(native: &mut Native, read: &[Result<Command, Rejected>], pong: u32) {
    let mut got = Vec::new();
    loop {
        let reply = next_reply(native);
        if reply == json!({"type": "pong", "id": pong}) {
            break;
        }
        got.push(reply);
    }
    let mut got = got.into_iter().peekable();
    for command in read {
        match command {
            Err(Rejected { id, error }) => {
                let reply = got.next().unwrap_or_else(|| panic!("no answer to {command:?}"));
                assert_eq!(reply["id"].as_u64(), id.map(u64::from), "{command:?} {reply}");
                assert_eq!((&reply["type"], &reply["name"]), (&json!("error"), &json!(error.code.name())), "{command:?}");
                assert_eq!(reply["channel"].as_str(), error.channel.as_deref(), "{command:?}");
            }
            Ok(Command { id: Some(id), .. }) => {
                let reply = got.next().unwrap_or_else(|| panic!("no answer to {command:?}"));
                assert_eq!(reply["id"], *id, "{command:?} {reply}");
            }
            // A bare success is not answered; what is next may belong to another.
            Ok(Command { id: None, .. }) => {
                let is_rejection = |reply: &Value| {
                    read.iter().any(|read| matches!(read, Err(Rejected { error, .. }) if reply["message"] == *error.message))
                };
                drop(got.next_if(|reply| reply["id"].is_null() && !is_rejection(reply)));
            }
        }
    }
    assert_eq!(got.next(), None, "{read:?}");
}

#[test]
fn what_is_larger_than_allowed_is_refused_by_name() {
    let server = serve_native(2, |_| ());
    let long = |len: usize| "x".repeat(len);
    let tags = |count: usize, name: usize, text: usize| {
        let tag = |n: usize| (format!("{n:0>name$}"), Value::from(long(text)));
        Value::Object((0..count).map(tag).collect())
    };
    let publish = |members: Value| {
        let mut command = json!({"type": "publish", "channel": "state:large"});
        command.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        command
    };
    let table = [
        (publish(json!({"data": long(65_534)})), None),
        (publish(json!({"data": long(65_535)})), Some("too_large")),
        (publish(json!({"event": long(255)})), None),
        (publish(json!({"event": long(256)})), Some("bad_value")),
        (publish(json!({"key": long(255), "data": 1})), None),
        (publish(json!({"key": long(256), "data": 1})), Some("bad_value")),
        (publish(json!({"tags": tags(16, 255, 255)})), None),
        (publish(json!({"tags": tags(17, 1, 1)})), Some("bad_value")),
        (publish(json!({"tags": tags(1, 256, 1)})), Some("bad_value")),
        (publish(json!({"tags": tags(1, 1, 256)})), Some("bad_value")),
        (publish(json!({"once": long(64)})), None),
        (publish(json!({"once": long(65)})), Some("bad_value")),
        (json!({"type": "publish", "channel": format!("live:{}", long(250)), "data": 1}), None),
        (json!({"type": "publish", "channel": format!("live:{}", long(251)), "data": 1}), Some("bad_channel")),
        (json!({"type": "publish", "channel": format!("live:{}", "é".repeat(126)), "data": 1}), Some("bad_channel")),
        (json!({"type": "append", "channel": "ai:x", "stream": 1, "end": "failed", "reason": long(1025)}), Some("bad_value")),
        (json!({"type": "connect", "info": long(1022)}), Some("already_connected")),
        (json!({"type": "connect", "info": long(1023)}), Some("bad_value")),
    ];
    let mut native = Native::connected(server.address, Form::Json);
    for (n, (command, error)) in (1u32..).zip(table) {
        let mut command = command;
        command["id"] = n.into();
        native.client.send_text(&command.to_string());
        let reply = native.next();
        assert_eq!((&reply["id"], reply["name"].as_str()), (&json!(n), error), "{n}: {reply}");
    }
}

#[test]
fn a_message_of_the_wrong_kind_is_answered_once() {
    let server = serve_native(1, |_| ());
    for form in Form::ALL {
        let mut native = Native::connected(server.address, form);
        let wrong = if form == Form::Json { Opcode::Binary } else { Opcode::Text };
        for payload in [&b"{\"type\":\"ping\",\"id\":1}\n{\"type\":\"ping\",\"id\":2}"[..], b"", b"\x02\x08\x01"] {
            native.client.send(wrong, payload);
            let reply = native.next_of("error");
            assert_eq!((&reply["name"], &reply["id"]), (&json!("bad_message"), &Value::Null));
            native.expect_quiet();
        }
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_refused_in_both_forms() {
    let server = serve_native(1, |_| ());
    let mut native = Native::connected(server.address, Form::Json);
    native.client.send(Opcode::Text, b"{\"type\":\"ping\",\"id\":1,\"x\":\"\xff\"}");
    native.expect_close(1007);

    // In the binary form, in every field that is a text.
    let mut native = Native::connected(server.address, Form::Binary);
    for command in commands() {
        let texts = command.as_object().unwrap().iter().filter(|(name, value)| {
            !matches!(name.as_str(), "type" | "session" | "bytes" | "epoch" | "end")
                && value.is_string()
                && **value != json!("AAAAAAAAAAAAAAAA")
        });
        for (name, _) in texts {
            let mut marked = command.clone();
            (marked["id"], marked[name]) = (77.into(), "QQQQ".into());
            if name == "channel" {
                marked[name] = "ai:QQQQ".into();
            }
            let mut message = native.encode(&[marked]);
            let at = message.windows(4).position(|window| window == b"QQQQ").expect("the text");
            message[at + 1] = 0xff;
            native.client.send(Opcode::Binary, &message);
            let reply = native.next();
            assert_eq!((&reply["type"], &reply["id"]), (&json!("error"), &json!(77)), "{command} {name}");
            native.expect_quiet();
        }
    }
}

#[test]
fn messages_that_say_nothing_are_no_error() {
    let server = serve_native(1, |_| ());
    let mut native = Native::connected(server.address, Form::Json);
    for text in ["", "\n", " \n\t\r\n\n", "\n\n{\"type\":\"ping\",\"id\":1}\n\n"] {
        native.client.send_text(text);
    }
    assert_eq!(native.next(), json!({"type": "pong", "id": 1}));
    let mut native = Native::connected(server.address, Form::Binary);
    native.client.send(Opcode::Binary, b"");
    native.expect_quiet();
    // A command of no bytes wants nothing, and says so.
    native.client.send(Opcode::Binary, &[0]);
    assert_eq!(native.next_of("error")["name"], "bad_message");
    native.expect_quiet();
}

#[test]
fn ten_thousand_commands_in_one_message_are_all_answered_in_order() {
    let server = serve_native(2, |config| config.limits.max_message_bytes = 8 << 20);
    for form in Form::ALL {
        let mut native = Native::connected(server.address, form);
        let mut listener = Native::connected(server.address, form);
        listener.subscribe("ai:many", json!({}));
        let command = |id: u32| match id % 4 {
            0 => json!({"type": "publish", "id": id, "channel": "ai:many", "data": id}),
            1 => json!({"type": "publish", "id": id, "channel": "live:many", "data": id}),
            2 => json!({"type": "history", "id": id, "channel": "ai:many", "limit": 0}),
            _ => json!({"type": "ping", "id": id}),
        };
        let commands: Vec<Value> = (1..=10_000).map(command).collect();
        native.say_all(&commands);
        for id in 1..=10_000u32 {
            let reply = native.next();
            let name = ["published", "published", "history", "pong"][id as usize % 4];
            assert_eq!((&reply["type"], &reply["id"]), (&json!(name), &json!(id)));
        }
        for id in (4..=10_000u32).step_by(4) {
            assert_eq!(listener.next_of("publication")["data"], id);
        }
        native.expect_quiet();
    }
}

#[test]
fn a_command_in_fragments_is_one_command() {
    let server = serve_native(1, |_| ());
    let mut native = Native::connected(server.address, Form::Json);
    let text = "{\"type\":\"publish\",\"id\":5,\"channel\":\"ai:pieces\",\"data\":\"你好 🦀\"}\n{\"type\":\"ping\",\"id\":6}"
        .as_bytes();
    let mut bytes = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        let opcode = if at == 0 { Opcode::Text } else { Opcode::Continuation };
        bytes.extend(piece_of(at + 1 == text.len(), opcode, &[*byte]));
        if at % 10 == 0 {
            bytes.extend(frame_of(Opcode::Pong, b"in between"));
        }
    }
    native.client.send_raw(&bytes);
    assert_eq!(native.next_of("published")["id"], 5);
    assert_eq!(native.next(), json!({"type": "pong", "id": 6}));
    let history = native.ask(json!({"type": "history", "channel": "ai:pieces"}));
    assert_eq!(history["publications"][0]["data"], "你好 🦀");
}

#[test]
fn too_many_messages_in_a_row_that_mean_nothing_end_the_line() {
    let server = serve_native(2, |_| ());
    for form in Form::ALL {
        let bad: &[u8] = if form == Form::Json { b"hello" } else { &[0] };
        let opcode = if form == Form::Json { Opcode::Text } else { Opcode::Binary };
        for is_connected in [false, true] {
            let mut native = Native::open(server.address, form);
            if is_connected {
                native.ask(json!({"type": "connect"}));
                // A few are forgiven, again and again.
                for _ in 0..5 {
                    (0..99).for_each(|_| native.client.send(opcode, bad));
                    (0..99).for_each(|_| drop(native.next_of("error")));
                    native.expect_quiet();
                }
            }
            (0..150).for_each(|_| drop(native.client.try_send_raw(&frame_of(opcode, bad))));
            for _ in 0..99 {
                assert_eq!(native.next_of("error")["name"], "bad_message");
            }
            native.expect_close(3502);
        }
    }
    // All in one message.
    let mut native = Native::connected(server.address, Form::Json);
    native.client.send_text(&"no\n".repeat(100_000));
    (0..99).for_each(|_| drop(native.next_of("error")));
    native.expect_close(3502);
}

#[test]
fn a_message_past_the_limit_that_connected_names_ends_the_line() {
    let server = serve_native(1, |config| {
        config.limits.max_message_bytes = 2000;
        config.sessions.message_bytes = 2000;
    });
    let (mut native, connected) = super::connect(server.address, Form::Json, json!({}));
    assert_eq!(connected["max"], 2000);
    let ping = json!({"type": "ping", "id": 1}).to_string();
    native.client.send_text(&format!("{ping}{}", " ".repeat(2000 - ping.len())));
    assert_eq!(native.next(), json!({"type": "pong", "id": 1}));
    native.client.send_text(&format!("{ping}{}", " ".repeat(2001 - ping.len())));
    native.expect_close(1009);
    assert_eq!(native.next_within(Duration::from_millis(20)), None);
}

#[test]
fn json_with_a_command_that_comes_back_longer_is_bounded() {
    // An unknown type and unknown members are named in the answer, but not at their length.
    let server = serve_native(1, |_| ());
    let mut native = Native::connected(server.address, Form::Json);
    for text in [
        format!("{{\"type\":\"{}\",\"id\":1}}", "\\u0001".repeat(10_000)),
        format!("{{\"{}\":1,\"id\":1}}", "y".repeat(100_000)),
        format!("{{\"id\":1,\"type\":\"publish\",\"channel\":\"{}\"}}", "\\n".repeat(10_000)),
    ] {
        native.client.send_text(&text);
        let reply = native.next_of("error");
        assert!(reply["id"] == 1 && reply.to_string().len() < 1000, "{reply}");
    }
}
