//! What each endpoint does.

use super::{api, call, next_of, ok, session};
use crate::support::eventually;

#[test]
fn what_is_published_reaches_subscribers_and_the_history() {
    for shards in [1, 2] {
        let server = api(shards);
        let (mut ada, _) = session(&server, &["chat:lobby"]);
        let first =
            ok(&server, "POST", "/publish", r#"{"channel":"chat:lobby","data":{"text":"hi"},"event":"say","tags":{"a":"b"}}"#);
        assert_eq!((&first["type"], &first["offset"]), (&"published".into(), &1.into()));
        ok(&server, "POST", "/publish", r#"{"channel":"chat:lobby","bytes":"AQID"}"#);
        let typing = ok(&server, "POST", "/publish", r#"{"channel":"chat:lobby","data":"typing","ephemeral":true}"#);
        assert!(typing["offset"].is_null(), "{typing}");
        let pushed = next_of(&mut ada, "publication");
        assert_eq!(
            (&pushed["data"]["text"], &pushed["event"], &pushed["tags"]["a"]),
            (&"hi".into(), &"say".into(), &"b".into())
        );
        assert!(pushed["from"].is_null());
        assert_eq!(next_of(&mut ada, "publication")["bytes"], "AQID");
        assert_eq!(next_of(&mut ada, "publication")["data"], "typing");

        let history = ok(&server, "GET", "/history?channel=chat:lobby&limit=1", "");
        assert_eq!((&history["head"], &history["more"]), (&2.into(), &true.into()));
        assert_eq!(history["publications"][0]["bytes"], "AQID");
        let history = ok(&server, "GET", "/history?channel=chat:lobby&before=2", "");
        assert_eq!(history["publications"][0]["data"]["text"], "hi");
        let epoch = history["epoch"].as_str().unwrap();
        let after = ok(&server, "GET", &format!("/history?channel=chat:lobby&after=1&epoch={epoch}"), "");
        assert_eq!(after["publications"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_repetition_is_answered_as_the_first_was() {
    let server = api(1);
    let body = r#"{"channel":"chat:lobby","data":1,"once":"a"}"#;
    let (first, again) = (ok(&server, "POST", "/publish", body), ok(&server, "POST", "/publish", body));
    assert_eq!((&first["offset"], &again["offset"], &again["repeated"]), (&1.into(), &1.into(), &true.into()));
    // In the head it is the same.
    let head = "Content-Type: application/json\r\nIdempotency-Key: b\r\n";
    for (repeated, body) in
        [(false, r#"{"channel":"chat:lobby","data":1}"#), (true, r#"{"channel":"chat:lobby","data":1,"once":"b"}"#)]
    {
        let response = super::respond(server.address, &super::request("POST", "/publish", head, body));
        let answer: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!((answer["repeated"] == true, &answer["offset"]), (repeated, &2.into()), "{answer}");
    }
    let twice =
        super::respond(server.address, &super::request("POST", "/publish", head, r#"{"channel":"chat:lobby","once":"c"}"#));
    assert_eq!(twice.status, 400, "{}", twice.body);
    for _ in 0..2 {
        let many = r#"{"channels":["chat:a","chat:b"],"data":1,"once":"m"}"#;
        assert_eq!(ok(&server, "POST", "/publish/many", many)["results"][1]["offset"], 1);
        ok(&server, "DELETE", "/state?channel=state:x&key=a&once=r", "");
    }
    assert_eq!(ok(&server, "GET", "/state?channel=state:x", "")["head"], 1);
}

#[test]
fn many_channels_each_have_their_own_result() {
    let server = api(2);
    let (mut ada, _) = session(&server, &["chat:tea"]);
    let answer = ok(
        &server,
        "POST",
        "/publish/many",
        r#"{"channels":["chat:lobby","nowhere:1","chat:tea","small:1"],"data":"a text too long for small"}"#,
    );
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["channel"], &results[0]["offset"]), (&"chat:lobby".into(), &1.into()));
    assert_eq!((&results[1]["channel"], &results[1]["error"]["name"]), (&"nowhere:1".into(), &"unknown_namespace".into()));
    assert_eq!(results[2]["channel"], "chat:tea");
    assert_eq!(results[3]["error"]["name"], "too_large");
    assert_eq!(next_of(&mut ada, "publication")["data"], "a text too long for small");
}

#[test]
fn a_stream_grows_is_cancelled_and_ends() {
    let server = api(2);
    let (mut ada, _) = session(&server, &["ai:x"]);
    let began = ok(&server, "POST", "/publish", r#"{"channel":"ai:x","stream":true,"data":"Once"}"#);
    assert_eq!(began["offset"], 1);
    let piece = ok(&server, "POST", "/append", r#"{"channel":"ai:x","stream":1,"data":" upon","at":4}"#);
    assert_eq!((&piece["length"], piece["cancel"].is_null()), (&9.into(), true));
    // Sent again, it is there once.
    assert_eq!(ok(&server, "POST", "/append", r#"{"channel":"ai:x","stream":1,"data":" upon","at":4}"#)["length"], 9);
    ok(&server, "POST", "/cancel", r#"{"channel":"ai:x","stream":1}"#);
    assert_eq!(ok(&server, "POST", "/append", r#"{"channel":"ai:x","stream":1}"#)["cancel"], true);
    ok(&server, "POST", "/append", r#"{"channel":"ai:x","stream":1,"end":"cancelled","reason":"asked to"}"#);
    assert_eq!(next_of(&mut ada, "publication")["stream"]["began"], 1);
    assert_eq!(next_of(&mut ada, "append")["data"], " upon");
    assert_eq!(next_of(&mut ada, "append")["end"], "cancelled");
    let history = ok(&server, "GET", "/history?channel=ai:x", "");
    assert_eq!(
        (&history["publications"][0]["data"], &history["publications"][0]["stream"]["end"]),
        (&"Once upon".into(), &"cancelled".into())
    );
    super::refused(&server, "POST", "/append", r#"{"channel":"ai:x","stream":1,"data":"!"}"#, 409, "stream_ended");
}

#[test]
fn keys_are_set_read_in_pages_and_removed() {
    let server = api(1);
    for key in ["b", "a", "c"] {
        ok(&server, "PUT", "/state", &format!(r#"{{"channel":"state:x","key":"{key}","data":{{"of":"{key}"}}}}"#));
    }
    let page = ok(&server, "GET", "/state?channel=state:x&limit=2", "");
    let keys: Vec<_> = page["entries"].as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!((keys, &page["more"], &page["head"]), (vec!["a", "b"], &true.into(), &3.into()));
    let page = ok(&server, "GET", "/state?channel=state:x&after=b", "");
    assert_eq!((&page["entries"][0]["data"]["of"], &page["more"]), (&"c".into(), &false.into()));
    ok(&server, "DELETE", "/state?channel=state:x&key=b", "");
    assert_eq!(ok(&server, "GET", "/state?channel=state:x", "")["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn presence_is_read_in_pages() {
    let server = api(2);
    let mut clients: Vec<_> = (0..3).map(|_| session(&server, &["chat:lobby"])).collect();
    let page = ok(&server, "GET", "/presence?channel=chat:lobby&limit=2", "");
    assert_eq!((&page["sessions"], &page["users"], &page["more"]), (&3.into(), &0.into(), &true.into()));
    let mut ids: Vec<_> =
        page["members"].as_array().unwrap().iter().map(|member| member["session"].as_str().unwrap().to_owned()).collect();
    let rest = ok(&server, "GET", &format!("/presence?channel=chat:lobby&after={}", ids[1]), "");
    assert_eq!(rest["more"], false);
    ids.push(rest["members"][0]["session"].as_str().unwrap().to_owned());
    let mut expected: Vec<_> = clients.drain(..).map(|(_, id)| id).collect();
    expected.sort();
    ids.sort();
    assert_eq!(ids, expected);
}

#[test]
fn channels_are_listed_by_name_in_pages_with_their_subscribers() {
    for shards in [1, 3] {
        let server = api(shards);
        let _clients: Vec<_> = (0..4).map(|_| session(&server, &["chat:b", "chat:a"])).collect();
        for n in 0..5 {
            ok(&server, "POST", "/publish", &format!(r#"{{"channel":"news{n}","data":1}}"#));
        }
        let all = ok(&server, "GET", "/channels", "");
        let names: Vec<_> =
            all["channels"].as_array().unwrap().iter().map(|channel| channel["channel"].as_str().unwrap()).collect();
        assert_eq!(names, ["chat:a", "chat:b", "news0", "news1", "news2", "news3", "news4"]);
        assert_eq!(
            (&all["channels"][0]["subscribers"], &all["channels"][2]["subscribers"], &all["more"]),
            (&4.into(), &0.into(), &false.into())
        );
        let page = ok(&server, "GET", "/channels?prefix=news&after=news0&limit=2", "");
        assert_eq!(
            (&page["channels"][0]["channel"], &page["channels"][1]["channel"], &page["more"]),
            (&"news1".into(), &"news2".into(), &true.into())
        );
        assert_eq!(ok(&server, "GET", "/channels?limit=0", "")["more"], true);
        assert_eq!(ok(&server, "GET", "/channels?prefix=none", "")["channels"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn sessions_are_listed_ended_and_unsubscribed() {
    for shards in [1, 3] {
        let server = api(shards);
        let mut clients: Vec<_> = (0..5).map(|_| session(&server, &["chat:lobby"])).collect();
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map(|last| format!("&after={last}")).unwrap_or_default();
            let page = ok(&server, "GET", &format!("/sessions?limit=2{after}"), "");
            assert!(page["sessions"].as_array().unwrap().len() <= 2);
            for session in page["sessions"].as_array().unwrap() {
                assert_eq!((&session["connected"], &session["subscriptions"]), (&true.into(), &1.into()));
                seen.push(session["session"].as_str().unwrap().to_owned());
            }
            if page["more"] == false {
                break;
            }
        }
        let mut ids: Vec<_> = clients.iter().map(|(_, id)| id.clone()).collect();
        ids.sort();
        seen.sort();
        assert_eq!(seen, ids);
        assert_eq!(ok(&server, "GET", "/sessions?user=ada", "")["sessions"].as_array().unwrap().len(), 0);

        let (mut client, id) = clients.pop().unwrap();
        let body = format!(r#"{{"channel":"chat:lobby","session":"{id}"}}"#);
        assert_eq!(ok(&server, "POST", "/unsubscribe", &body)["sessions"], 1);
        let told = next_of(&mut client, "unsubscribed");
        assert_eq!((&told["channel"], &told["code"]), (&"chat:lobby".into(), &105.into()));
        super::refused(&server, "POST", "/unsubscribe", &body, 404, "not_subscribed");

        let body = format!(r#"{{"session":"{id}"}}"#);
        assert_eq!(ok(&server, "POST", "/disconnect", &body)["sessions"], 1);
        client.expect_close(3501);
        super::refused(&server, "POST", "/disconnect", &body, 404, "no_such_session");
        assert_eq!(ok(&server, "GET", "/presence?channel=chat:lobby", "")["sessions"], 4);

        // One without a line can still come back, and then no longer.
        let (client, id) = clients.pop().unwrap();
        client.reset();
        let gone = || {
            let (_, all) = call(&server, "GET", "/sessions", "");
            all["sessions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|session| session["session"] == id.as_str() && session["connected"] == false)
        };
        eventually("the session has lost its line", gone);
        ok(&server, "POST", "/disconnect", &format!(r#"{{"session":"{id}"}}"#));
        assert_eq!(ok(&server, "GET", "/sessions", "")["sessions"].as_array().unwrap().len(), 3);
    }
}

mod users {
    use std::sync::Arc;

    use longwire_server::{Authenticator, ErrorCode, Identity};

    use super::super::{api_with, next, next_of, ok};
    use crate::support::Client;

    /// A token is the name of its user.
    #[derive(Debug)]
    struct Names;

    impl Authenticator for Names {
        fn authenticate(&self, token: Option<&str>) -> Result<Identity, ErrorCode> {
            Ok(Identity { user: token.map(Into::into), expires: None })
        }
    }

    #[test]
    fn all_sessions_of_a_user_are_found_unsubscribed_and_ended() {
        let server = api_with(3, |builder| builder.configure(|config| config.authenticator = Arc::new(Names)));
        let open = |user: &str| {
            let mut client = Client::open(server.address, "/v1/ws");
            client.send_text(&format!(r#"{{"type":"connect","token":"{user}","info":{{"name":"{user}"}}}}"#));
            assert_eq!(next(&mut client)["user"], user);
            client.send_text(r#"{"type":"subscribe","channel":"chat:lobby"}"#);
            next_of(&mut client, "subscribed");
            client
        };
        let mut ada = [open("ada"), open("ada"), open("ada")];
        let mut bo = open("bo");
        let found = ok(&server, "GET", "/sessions?user=ada", "");
        assert_eq!(found["sessions"].as_array().unwrap().len(), 3);
        assert_eq!((&found["sessions"][0]["user"], &found["sessions"][0]["info"]["name"]), (&"ada".into(), &"ada".into()));
        assert_eq!(ok(&server, "POST", "/unsubscribe", r#"{"channel":"chat:lobby","user":"ada"}"#)["sessions"], 3);
        ada.iter_mut().for_each(|client| assert_eq!(next_of(client, "unsubscribed")["channel"], "chat:lobby"));
        assert_eq!(ok(&server, "POST", "/disconnect", r#"{"user":"ada"}"#)["sessions"], 3);
        ada.iter_mut().for_each(|client| drop(client.expect_close(3501)));
        assert_eq!(ok(&server, "POST", "/disconnect", r#"{"user":"ada"}"#)["sessions"], 0);
        bo.send_text(r#"{"type":"ping"}"#);
        next_of(&mut bo, "pong");
    }
}
