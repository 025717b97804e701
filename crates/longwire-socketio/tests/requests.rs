//! What requests ask for, and the answers to those that are refused.

use http::Method;
use longwire_socketio::engine::{Abort, Accepted, Query, Refusal, Revision, Transport};
use longwire_socketio::pairs;

/// What a server that offers everything says to a request that opens a session.
fn open(method: &Method, query: &str, is_upgrade: bool) -> Result<Revision, Refusal> {
    let accepted = Accepted { revision_3: true, ..Accepted::default() };
    Query::parse(query, &accepted)?.check_opening(method, is_upgrade, &accepted)
}

#[test]
fn requests_that_open_a_session() {
    let get = &Method::GET;
    for (method, query, is_upgrade, answer) in [
        (get, "EIO=4&transport=polling", false, Ok(Revision::V4)),
        (get, "EIO=4&transport=websocket", true, Ok(Revision::V4)),
        (get, "EIO=3&transport=polling&t=abc&b64=1", false, Ok(Revision::V3)),
        (get, "EIO=4&transport=polling&sid=", false, Ok(Revision::V4)),
        (get, "", false, Err(Refusal::TransportUnknown)),
        (get, "EIO=4", false, Err(Refusal::TransportUnknown)),
        (get, "EIO=4&transport=abc", false, Err(Refusal::TransportUnknown)),
        (get, "EIO=4&transport=webtransport", false, Err(Refusal::TransportUnknown)),
        (&Method::POST, "EIO=4&transport=polling", false, Err(Refusal::BadHandshakeMethod)),
        (&Method::PUT, "transport=polling", false, Err(Refusal::BadHandshakeMethod)),
        (get, "EIO=4&transport=websocket", false, Err(Refusal::BadRequest)),
        (get, "EIO=4&transport=polling", true, Err(Refusal::BadRequest)),
        (get, "EIO=4&EIO=3&transport=polling", false, Err(Refusal::BadRequest)),
        (get, "transport=polling", false, Err(Refusal::UnsupportedRevision)),
        (get, "EIO=abc&transport=polling", false, Err(Refusal::UnsupportedRevision)),
        (get, "EIO=5&transport=websocket", true, Err(Refusal::UnsupportedRevision)),
    ] {
        assert_eq!(open(method, query, is_upgrade), answer, "{method} {query}");
    }
}

#[test]
fn what_is_not_offered_is_refused() {
    let accepted = Accepted::default();
    let query = Query::parse("EIO=3&transport=polling", &accepted).unwrap();
    assert_eq!(query.check_opening(&Method::GET, false, &accepted), Err(Refusal::UnsupportedRevision));
    let accepted = Accepted { polling: false, ..accepted };
    assert_eq!(Query::parse("EIO=4&transport=polling", &accepted), Err(Refusal::TransportUnknown));
}

#[test]
fn requests_of_a_session_fit_its_transport_and_revision() {
    use Transport::{Polling, WebSocket};
    for (query, transport, is_upgrade, fits) in [
        ("EIO=4&transport=polling&sid=a", Polling, false, true),
        ("EIO=4&transport=websocket&sid=a", Polling, true, true),
        ("EIO=4&transport=polling&sid=a", WebSocket, false, false),
        ("EIO=4&transport=polling&sid=a", Polling, true, false),
        ("EIO=4&transport=websocket&sid=a", Polling, false, false),
        ("EIO=4&transport=websocket&sid=a", WebSocket, false, false),
        // The session is there: `Upgrade` says that it wants no second WebSocket.
        ("EIO=4&transport=websocket&sid=a", WebSocket, true, true),
        ("EIO=3&transport=polling&sid=a", Polling, false, false),
        ("transport=polling&sid=a", Polling, false, false),
    ] {
        let query = Query::parse(query, &Accepted::default()).unwrap();
        assert_eq!(query.sid(), Some("a"));
        let answer = query.check_session(transport, Revision::V4, is_upgrade);
        assert_eq!(answer, if fits { Ok(()) } else { Err(Refusal::BadRequest) }, "{query:?}");
    }
}

#[test]
fn parameters_are_unescaped() {
    let accepted = Accepted::default();
    let query = Query::parse("EIO=4&transport=polling&sid=a%2Bb%zz+c%C3%A9&j=0&b64=0", &accepted).unwrap();
    assert_eq!(query.sid(), Some("a+b%zz cé"));
    assert!(query.wants_base64() && query.wants_jsonp());
    assert!(!Query::parse("transport=polling&b64=", &accepted).unwrap().wants_base64());
    let all: Vec<_> = pairs("token=x%2Cy&&empty&%ff=1=2").collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(all, [("token", "x,y"), ("empty", ""), ("\u{FFFD}", "1=2")]);
}

#[test]
fn refusals_have_the_numbers_and_texts_of_the_reference() {
    let texts = [
        "Transport unknown",
        "Session ID unknown",
        "Bad handshake method",
        "Bad request",
        "Forbidden",
        "Unsupported protocol version",
    ];
    for (code, (refusal, text)) in Refusal::ALL.into_iter().zip(texts).enumerate() {
        assert_eq!(usize::from(refusal.code()), code);
        assert_eq!(refusal.body(), format!(r#"{{"code":{code},"message":"{text}"}}"#));
        let status = if refusal == Refusal::Forbidden { 403 } else { 400 };
        assert_eq!(refusal.status().as_u16(), status);
    }
    assert_eq!(Refusal::Forbidden.body_with("no \"token\""), r#"{"code":4,"message":"no \"token\""}"#);
    assert_eq!(Abort::PollOverlap.status().as_u16(), 400);
}
