//! From one transport to another, and back up.

use serde_json::json;

use super::*;
use crate::session::{Climber, Lost, Stopped};
use crate::transport::Transport;

const MINUTE: Duration = Duration::from_secs(60);

fn all() -> Config {
    Config { transports: Transport::ALL.to_vec(), ..Config::default() }
}

fn started(config: Config) -> Script {
    let mut script = Script::new(config);
    script.session.start(script.now);
    assert_eq!(script.outputs(), [Output::State(State::Connecting), Output::Open]);
    script
}

/// On the stream, because the WebSocket could not be opened.
fn streaming() -> Script {
    let mut script = started(all());
    script.session.line_lost(script.now, None);
    script.outputs();
    script.open();
    let [State::Connected { transport: Transport::Stream, .. }] = &states(script.outputs())[..] else { panic!() };
    script
}

/// Streaming, and a WebSocket beside it is open; says what was said on it.
fn climbing() -> (Script, Value) {
    let mut script = streaming();
    script.wait_for_climb();
    let connect = script.session.climber_opened(Form::Json).expect("something to say");
    let connect = serde_json::from_slice(&connect).unwrap();
    (script, connect)
}

impl Script {
    /// Time passes, with a server that answers pings, until the session wants a second line.
    fn wait_for_climb(&mut self) -> Duration {
        let since = self.now;
        loop {
            self.wait();
            if let Some(climber) = self.session.poll_climber() {
                assert_eq!(climber, Climber::Open(Transport::WebSocket));
                return self.now - since;
            }
            if !self.said().is_empty() {
                self.answer(json!({"type": "pong"}));
            }
        }
    }

    fn climber_says(&mut self, message: &Value) -> bool {
        let climbed = self.session.climber_message(self.now, message.to_string().as_bytes());
        self.session.check();
        climbed
    }
}

fn connected_again() -> Value {
    let mut message = connected();
    message["id"] = 1.into();
    message["resumed"] = true.into();
    message
}

#[test]
fn the_first_round_goes_on_at_once_and_then_there_is_a_wait() {
    let mut script = started(all());
    for transport in Transport::ALL {
        assert_eq!(script.session.transport(), transport);
        script.session.line_lost(script.now, None);
        let outputs = script.outputs();
        let waits = matches!(outputs[..], [Output::State(State::Waiting { .. })]);
        assert_eq!(waits, transport == Transport::Poll, "{transport}: {outputs:?}");
    }
    assert!(script.wait() <= Config::default().backoff, "the back-off has only begun");
    assert_eq!(script.session.transport(), Transport::WebSocket);
}

#[test]
fn each_has_its_time_while_there_is_another() {
    let mut script = started(all());
    assert_eq!(script.wait(), 5 * SECOND);
    assert_eq!(script.outputs(), [Output::Close(1000), Output::State(State::Connecting), Output::Open]);
    assert_eq!(script.session.transport(), Transport::Stream);
    assert_eq!(script.wait(), 4 * SECOND, "for the first line of a stream");
    script.outputs();
    assert_eq!(script.session.transport(), Transport::Poll);
    script.line();
    assert_eq!(script.wait(), 10 * SECOND, "there is no other");
    assert!(matches!(script.outputs()[..], [Output::Close(1000), Output::State(State::Waiting { .. })]));
}

#[test]
fn a_line_that_opens_and_does_not_answer_is_given_up_with_it() {
    let mut script = started(all());
    script.now += 2 * SECOND;
    script.line();
    assert_eq!(script.wait(), 3 * SECOND, "both together have five");
    assert_eq!(script.outputs(), [Output::Close(1000), Output::State(State::Connecting), Output::Open]);
    assert_eq!(script.line()["type"], "connect", "it is said again on the next");
}

#[test]
fn a_line_that_merely_drops_comes_back_over_what_carried_it() {
    let mut script = streaming();
    script.now += 3 * SECOND;
    script.session.line_lost(script.now, None);
    assert!(matches!(script.outputs()[..], [Output::State(State::Waiting { .. })]));
    script.wait();
    script.outputs();
    for (transport, waits) in [(Transport::Stream, true), (Transport::Stream, false), (Transport::WebSocket, false)] {
        assert_eq!(script.session.transport(), transport);
        script.session.line_lost(script.now, None);
        let waited = matches!(script.outputs()[..], [Output::State(State::Waiting { .. })]);
        assert_eq!(waited, waits, "{transport}");
        if waits {
            script.wait();
            script.outputs();
        }
    }
    assert_eq!(script.session.transport(), Transport::Poll);
}

#[test]
fn a_server_that_says_no_is_no_reason_to_try_another() {
    let mut script = started(all());
    script.line();
    script.answer(error("overloaded", 130, true));
    let outputs = script.outputs();
    assert!(matches!(outputs[..], [Output::Close(1000), Output::State(State::Waiting { .. })]), "{outputs:?}");
    script.wait();
    assert_eq!(script.session.transport(), Transport::WebSocket);
    script.outputs();
    script.session.line_lost(script.now, Some(3001));
    assert!(matches!(script.outputs()[..], [Output::State(State::Waiting { .. })]));
}

#[test]
fn a_better_one_takes_over_when_it_has_answered() {
    let mut script = streaming();
    script.subscribed("a", 3);
    script.wait_for_climb();
    script.publish("before").unwrap();
    assert_eq!(script.said().len(), 1, "the line goes on meanwhile");
    let connect = script.session.climber_opened(Form::Json).unwrap();
    let connect: Value = serde_json::from_slice(&connect).unwrap();
    assert_eq!((&connect["type"], &connect["session"]), (&json!("connect"), &json!("AAAAAAAAAAAAAAAA")));
    script.push(&publication("a", 4));
    script.outputs();
    script.unanswered.clear();
    assert!(script.climber_says(&connected_again()));
    let outputs = script.outputs();
    let [Output::State(State::Connected { transport: Transport::WebSocket, resumed: true, .. })] = outputs[..] else {
        panic!("{outputs:?}")
    };
    let said = without_once(script.said());
    assert_eq!(said[0], json!({"type": "subscribe", "channel": "a", "epoch": "0000000a", "offset": 4}));
    assert_eq!((&said[1]["type"], &said[1]["data"]), (&json!("publish"), &json!("before")), "it was not answered");
    script.now += 60 * MINUTE;
    assert_eq!(script.session.poll_climber(), None, "there is nothing better");
}

#[test]
fn the_waits_before_a_climb_grow_to_ten_times_the_first() {
    let mut script = streaming();
    for factor in [1, 2, 4, 8, 10, 10] {
        let waited = script.wait_for_climb();
        let around = MINUTE * factor;
        assert!(waited >= around * 3 / 4 && waited <= around * 5 / 4, "{waited:?} of {around:?}");
        script.session.climber_lost(script.now);
        assert_eq!(script.session.poll_climber(), Some(Climber::Close));
        assert_eq!(script.outputs(), [], "the line is as it was");
    }
}

#[test]
fn a_climb_that_is_not_answered_in_time_leaves_the_line_as_it_is() {
    let (mut script, _) = climbing();
    assert_eq!(script.wait(), 5 * SECOND);
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert!(script.session.is_connected());
    // And one that is refused.
    script.wait_for_climb();
    script.session.climber_opened(Form::Json).unwrap();
    let mut refusal = error("overloaded", 130, true);
    refusal["id"] = 1.into();
    assert!(!script.climber_says(&refusal));
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert!(script.session.is_connected());
}

#[test]
fn from_the_last_the_better_ones_are_tried_in_their_order() {
    let mut script = started(all());
    script.session.line_lost(script.now, None);
    script.session.line_lost(script.now, None);
    script.outputs();
    script.open();
    script.outputs();
    script.wait_for_climb();
    script.session.climber_lost(script.now);
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert_eq!(script.session.poll_climber(), Some(Climber::Open(Transport::Stream)));
    script.session.climber_opened(Form::Json).unwrap();
    assert!(script.climber_says(&connected_again()));
    assert_eq!(script.session.transport(), Transport::Stream);
    assert!(script.wait_for_climb() >= MINUTE, "it goes on from there");
}

#[test]
fn a_line_that_is_replaced_by_the_second_is_silent() {
    let (mut script, _) = climbing();
    script.session.line_lost(script.now, Some(3500));
    script.session.check();
    assert_eq!(script.outputs(), []);
    assert!(script.climber_says(&connected_again()));
    let states = states(script.outputs());
    assert!(matches!(states[..], [State::Connected { transport: Transport::WebSocket, .. }]), "{states:?}");
}

#[test]
fn a_second_line_that_replaces_the_first_and_falls_is_followed_by_another() {
    let (mut script, _) = climbing();
    script.session.line_lost(script.now, Some(3500));
    assert_eq!(script.wait(), 5 * SECOND);
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert_eq!(script.outputs(), [Output::State(State::Connecting), Output::Open]);
    assert_eq!(script.session.transport(), Transport::Stream);
}

#[test]
fn what_takes_over_and_falls_at_once_leaves_the_one_before() {
    let (mut script, _) = climbing();
    assert!(script.climber_says(&connected_again()));
    script.outputs();
    script.now += SECOND;
    script.session.line_lost(script.now, None);
    assert_eq!(script.outputs(), [Output::State(State::Connecting), Output::Open]);
    assert_eq!(script.session.transport(), Transport::Stream);
}

#[test]
fn a_connect_that_was_given_up_may_still_take_the_session_away() {
    let astray = || {
        let mut script = started(all());
        script.line();
        // It is said, and not answered.
        script.wait();
        script.outputs();
        script.open();
        script.outputs();
        script
    };
    let mut script = astray();
    script.now += 30 * SECOND;
    script.session.line_lost(script.now, Some(3500));
    assert!(matches!(&states(script.outputs())[..], [State::Waiting { lost: Lost::Closed(3500), .. }]));
    let mut script = astray();
    script.now += 61 * SECOND;
    script.session.line_lost(script.now, Some(3500));
    assert_eq!(states(script.outputs()), [State::Stopped(Stopped::Closed(3500))]);
}

#[test]
fn a_line_that_is_lost_while_it_climbs_takes_the_second_with_it() {
    let (mut script, _) = climbing();
    script.session.line_lost(script.now, None);
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert!(!script.climber_says(&connected_again()), "it is of no use any more");
    script.session.close();
    assert_eq!(script.session.poll_climber(), None);
    let (mut script, _) = climbing();
    script.session.close();
    assert_eq!(script.session.poll_climber(), Some(Climber::Close));
    assert_eq!(script.session.timeout(), None);
}

#[test]
fn a_climb_can_be_forbidden() {
    let mut script = started(Config { climb: Duration::ZERO, ..all() });
    script.session.line_lost(script.now, None);
    script.outputs();
    script.open();
    for _ in 0..100 {
        script.wait();
        if !script.said().is_empty() {
            script.answer(json!({"type": "pong"}));
        }
        assert_eq!(script.session.poll_climber(), None);
    }
}
