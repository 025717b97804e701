//! Tokens that are got, renewed and refused.

use longwire_protocol::ErrorCode;
use serde_json::json;

use super::*;
use crate::session::{Lost, Stopped};

fn renewing() -> Script {
    let mut script = Script::new(Config { renews_token: true, ..Config::default() });
    script.session.start(script.now);
    script
}

fn expires(seconds: u64) -> Value {
    let mut reply = connected();
    reply["expires"] = seconds.into();
    reply
}

#[test]
fn a_token_is_got_before_the_line_is_opened() {
    let mut script = renewing();
    assert_eq!(script.outputs(), [Output::Token]);
    script.session.token(script.now, Some("one".into()));
    assert!(script.outputs().contains(&Output::Open));
    assert_eq!(script.line(), json!({"type": "connect", "token": "one"}));
}

#[test]
fn without_a_token_it_is_tried_again_later() {
    let mut script = renewing();
    script.outputs();
    script.session.token(script.now, None);
    assert!(matches!(&states(script.outputs())[..], [State::Waiting { lost: Lost::NoToken, .. }]));
    script.wait();
    assert_eq!(script.outputs(), [Output::Token]);
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let mut script = renewing();
    script.session.token(script.now, Some("one".into()));
    script.line();
    script.answer(expires(10));
    script.outputs();
    assert_eq!(script.wait(), 8 * SECOND);
    assert_eq!(script.outputs(), [Output::Token]);
    script.session.token(script.now, Some("two".into()));
    assert_eq!(script.said(), [json!({"type": "refresh", "token": "two"})]);
    script.answer(json!({"type": "refreshed", "expires": 5}));
    assert_eq!(script.wait(), 4 * SECOND);
    assert_eq!(script.outputs(), [Output::Token]);
    script.cut_and_expect_token("two");
}

impl Script {
    fn cut_and_expect_token(&mut self, token: &str) {
        self.cut();
        assert_eq!(self.line()["token"], token);
    }
}

#[test]
fn a_line_closed_for_its_token_is_opened_with_another() {
    let mut script = renewing();
    script.session.token(script.now, Some("one".into()));
    script.open();
    script.outputs();
    script.session.line_lost(script.now, Some(3005));
    script.wait();
    assert_eq!(script.outputs().last(), Some(&Output::Token));
    script.session.token(script.now, Some("two".into()));
    assert_eq!(script.line()["token"], "two");
}

#[test]
fn an_expired_token_is_replaced_and_a_wrong_one_is_not_tried_for_ever() {
    let mut script = renewing();
    script.session.token(script.now, Some("old".into()));
    script.line();
    script.answer(error("token_expired", 121, true));
    script.wait();
    assert_eq!(script.outputs().last(), Some(&Output::Token));
    script.session.token(script.now, Some("wrong".into()));
    script.line();
    script.answer(error("unauthorized", 120, false));
    let Some(State::Stopped(Stopped::Refused(why))) = states(script.outputs()).pop() else { panic!() };
    assert_eq!(why.code, ErrorCode::Unauthorized);
}

#[test]
fn a_token_that_was_good_once_is_replaced_when_it_is_refused() {
    let mut script = renewing();
    script.session.token(script.now, Some("one".into()));
    script.open();
    script.cut();
    script.line();
    script.answer(error("unauthorized", 120, false));
    script.wait();
    assert_eq!(script.outputs().last(), Some(&Output::Token));
}

#[test]
fn a_refused_renewal_is_tried_again() {
    let mut script = renewing();
    script.session.token(script.now, Some("one".into()));
    script.line();
    script.answer(expires(10));
    script.wait();
    script.session.token(script.now, Some("two".into()));
    script.said();
    script.answer(error("unauthorized", 120, false));
    script.outputs();
    script.wait();
    assert_eq!(script.outputs(), [Output::Token]);
}
