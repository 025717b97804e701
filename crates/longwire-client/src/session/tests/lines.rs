//! Opening, watching and losing lines.

use longwire_protocol::{CloseCode, ErrorCode};
use serde_json::json;

use super::*;
use crate::session::{Lost, Stopped};

#[test]
fn connect_comes_first_and_alone() {
    let info = Some(bytes::Bytes::from_static(br#"{"name":"lin"}"#));
    let mut script = Script::new(Config { token: Some("t".into()), info, ..Config::default() });
    script.subscribe("a");
    script.publish("hello").unwrap();
    assert_eq!(script.outputs(), []);
    script.session.start(script.now);
    assert_eq!(script.outputs(), [Output::State(State::Connecting), Output::Open]);
    assert_eq!(script.said(), [] as [Value; 0], "there is no line yet");
    assert_eq!(script.line(), json!({"type": "connect", "token": "t", "info": {"name": "lin"}}));
    assert_eq!(script.said(), [] as [Value; 0]);
    script.answer(connected());
    let said = script.said();
    assert_eq!(said[0], json!({"type": "subscribe", "channel": "a"}));
    assert_eq!(said[1]["type"], "publish");
    let [State::Connected { resumed: false, user: None, .. }] = &states(script.outputs())[..] else { panic!() };
}

#[test]
fn the_wait_grows_with_full_jitter_up_to_its_bound() {
    let config = Config::default();
    let mut longest = [Duration::ZERO; 10];
    for seed in 0..200 {
        let mut session = Session::new(config.clone(), seed);
        let mut now = Duration::ZERO;
        session.start(now);
        for longest in &mut longest {
            session.line_lost(now, None);
            let until = session.timeout().unwrap();
            *longest = (*longest).max(until - now);
            now = until;
            session.time(now);
            while session.poll().is_some() {}
        }
    }
    for (times, longest) in longest.into_iter().enumerate() {
        let bound = (config.backoff * (1 << times)).min(config.max_backoff);
        assert!(longest <= bound && longest > bound * 9 / 10, "{times}: {longest:?} of {bound:?}");
    }
}

#[test]
fn a_line_that_stood_long_begins_with_the_first_wait() {
    let mut script = Script::connected(Config::default());
    for _ in 0..8 {
        script.cut();
        script.open();
    }
    script.now += Config::default().stable_after;
    script.session.line_lost(script.now, None);
    assert!(script.wait() <= Config::default().backoff);
}

#[test]
fn a_server_that_is_silent_is_pinged_and_then_given_up() {
    let mut script = Script::connected(Config::default());
    script.outputs();
    assert_eq!(script.wait(), 20 * SECOND);
    assert_eq!(script.said(), [json!({"type": "ping"})]);
    script.answer(json!({"type": "pong"}));
    assert_eq!(script.wait(), 20 * SECOND);
    assert_eq!(script.said(), [json!({"type": "ping"})]);
    assert_eq!(script.wait(), 10 * SECOND);
    let outputs = script.outputs();
    assert_eq!(outputs[0], Output::Close(3000));
    assert!(matches!(&states(outputs)[..], [State::Waiting { lost: Lost::Timeout, .. }]));
}

#[test]
fn anything_that_comes_is_a_sign_of_life() {
    let mut script = Script::connected(Config::default());
    for _ in 0..10 {
        script.now += 19 * SECOND;
        script.session.time(script.now);
        script.push(&json!({"type": "something new"}));
    }
    assert_eq!(script.said(), [] as [Value; 0]);
    script.wait();
    script.said();
    script.push(&publication("a", 1));
    assert_eq!(script.wait(), 20 * SECOND, "the ping is answered by anything");
}

#[test]
fn a_line_that_nobody_reads_is_not_taken_for_dead() {
    let mut script = Script::connected(Config::default());
    script.outputs();
    script.wait();
    script.said();
    for _ in 0..10 {
        script.now += 9 * SECOND;
        script.session.line_held(script.now);
        script.session.time(script.now);
    }
    assert_eq!(script.outputs(), []);
}

#[test]
fn the_ping_comes_before_the_servers_would() {
    let mut script = Script::new(Config::default());
    script.session.start(script.now);
    script.line();
    let mut reply = connected();
    reply["ping"] = 10.into();
    script.answer(reply);
    assert_eq!(script.wait(), 8 * SECOND);
}

#[test]
fn opening_and_connecting_are_given_up_after_a_while() {
    let mut script = Script::new(Config::default());
    script.session.start(script.now);
    assert_eq!(script.wait(), 10 * SECOND);
    assert!(script.outputs().contains(&Output::Close(1000)));
    script.wait();
    script.line();
    assert_eq!(script.wait(), 10 * SECOND);
    assert!(script.outputs().contains(&Output::Close(1000)));
}

#[test]
fn close_codes_say_whether_to_come_back() {
    for code in [1001, 1006, 1012, 3000, 3002, 3499] {
        let mut script = Script::connected(Config::default());
        script.session.line_lost(script.now, Some(code));
        let Some(State::Waiting { lost, .. }) = states(script.outputs()).pop() else { panic!("{code}") };
        assert_eq!(lost, Lost::Closed(code));
    }
    for code in [3500, 3501, 3502, 4000] {
        let mut script = Script::connected(Config::default());
        script.publish("x").unwrap();
        script.outputs();
        script.session.line_lost(script.now, Some(code));
        let outputs = script.outputs();
        assert!(matches!(outputs[0], Output::Answer(_, Err(Failure::Stopped))), "{outputs:?}");
        assert_eq!(outputs[1..], [Output::State(State::Stopped(Stopped::Closed(code)))]);
        assert_eq!(script.session.timeout(), None);
        assert_eq!(script.publish("y"), Err(Failure::Stopped));
    }
}

#[test]
fn the_user_can_end_it() {
    let mut script = Script::connected(Config::default());
    script.outputs();
    script.session.close();
    assert_eq!(script.outputs(), [Output::Close(1000), Output::State(State::Stopped(Stopped::ByUser))]);
    script.session.line_lost(script.now, None);
    assert_eq!(script.outputs(), []);
}

#[test]
fn what_is_no_answer_ends_the_line() {
    for (name, message) in [
        ("no message", "{]".to_owned()),
        ("an answer to nothing", json!({"type": "pong", "id": 2}).to_string()),
        ("an answer without id", json!({"type": "published", "channel": "chat:lobby"}).to_string()),
        ("to another command", json!({"type": "published", "id": 3, "channel": "chat:lobby"}).to_string()),
        ("of another kind", json!({"type": "pong", "id": 2}).to_string()),
        ("of another channel", json!({"type": "published", "id": 2, "channel": "b"}).to_string()),
    ] {
        let mut script = Script::connected(Config::default());
        if name != "an answer to nothing" {
            script.publish("x").unwrap();
            script.said();
        }
        script.outputs();
        script.session.line_message(script.now, message.as_bytes());
        script.session.check();
        let outputs = script.outputs();
        assert_eq!(outputs[0], Output::Close(1002), "{name}");
        assert!(matches!(&states(outputs)[..], [State::Waiting { lost: Lost::BadMessage, .. }]), "{name}");
        script.wait();
        script.open();
        let again = if name == "an answer to nothing" { 0 } else { 1 };
        assert_eq!(script.said().len(), again, "{name}: what was not answered is said again");
    }
}

#[test]
fn what_comes_behind_the_end_of_the_line_is_not_looked_at() {
    let mut script = Script::connected(Config::default());
    script.subscribed("a", 0);
    let message = format!("{}\n{{]\n{}", publication("a", 1), publication("a", 2));
    script.session.line_message(script.now, message.as_bytes());
    assert_eq!(script.events().len(), 1);
    script.session.line_message(script.now, publication("a", 2).to_string().as_bytes());
    assert_eq!(script.events().len(), 0);
}

#[test]
fn a_server_that_will_not_have_us_is_not_asked_again() {
    let refuse = |name: &str, code: u16, retry: bool| {
        let mut script = Script::new(Config::default());
        script.session.start(script.now);
        script.line();
        script.answer(error(name, code, retry));
        states(script.outputs()).pop().unwrap()
    };
    let State::Stopped(Stopped::Refused(why)) = refuse("permission_denied", 105, false) else { panic!() };
    assert_eq!(why.code, ErrorCode::PermissionDenied);
    assert!(matches!(refuse("token_expired", 121, true), State::Stopped(_)), "there is no other token");
    assert!(matches!(refuse("overloaded", 130, true), State::Waiting { lost: Lost::Refused(_), .. }));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut script = Script::connected(Config::default());
        for channel in ["c", "a", "d", "b"] {
            script.subscribe(channel);
        }
        script.publish("x").unwrap();
        let mut all = script.said();
        script.cut();
        script.open();
        all.extend(script.said());
        script.session.line_lost(script.now, Some(CloseCode::SlowReader.number()));
        (all, script.outputs(), script.session.timeout())
    };
    assert_eq!(run(), run());
}
