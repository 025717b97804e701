//! What is understood though it could be said more simply, and how messages share a line.

use longwire_protocol::*;

fn command(line: &str) -> Command {
    json::decode_command(line.as_bytes()).unwrap()
}

fn published(line: &str) -> Publish {
    match command(line).action {
        Action::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_members_and_null_are_as_if_left_out_and_the_last_of_two_counts() {
    assert_eq!(command(r#"{"type":"ping","id":null,"what":[{"ever":1}]}"#), Command { id: None, action: Action::Ping });
    assert_eq!(command(r#"{"id":1,"type":"fly","id":2,"type":"ping"}"#), Command { id: Some(2), action: Action::Ping });
    let line =
        r#"{"type":"publish","channel":"c","event":null,"tags":null,"once":null,"echo":null,"bytes":null,"stream":null}"#;
    assert_eq!(published(line), Publish { data: None, ..Publish::new("c", "") });
    assert_eq!(published(r#"{"type":"publish","channel":"c","data":null}"#).data, Some(Data::json("null").unwrap()));
    assert_eq!(command(r#"{"\u0074ype":"p\u0069ng"}"#).action, Action::Ping, "escapes in names, too");
}

#[test]
fn data_is_kept_as_it_was_written() {
    for data in [r#"{ "a" : 1.0e+2 }"#, r#""\u00e9\/""#, "-0", r#""\ud800""#, "123456789012345678901234567890.5"] {
        let publish = published(&format!(r#"{{"type":"publish","channel":"c","data": {data} }}"#));
        assert_eq!(publish.data, Some(Data::Json(data.to_owned().into())));
    }
}

#[test]
fn line_breaks_in_data_are_taken_out() {
    let json = |text: &'static str| Data::json(text).map(|data| data.as_bytes().to_vec());
    assert_eq!(json("{\n  \"a b\": [1,\r\n 2],\n\t\"\\\" \\\\\": \"x  y\" }"), Ok(br#"{"a b":[1,2],"\" \\":"x  y"}"#.to_vec()));
    assert_eq!(json("[1, 2]"), Ok(b"[1, 2]".to_vec()));
    assert!(json("[1\n").is_err() && json("\"a\nb\"").is_err() && json("").is_err());
    let deepest: &str = &("[".repeat(64) + &"]".repeat(64));
    assert!(Data::json(deepest).is_ok());
    assert!(Data::json(format!("[{deepest}]")).is_err());
    assert!(Data::json(format!("\"{}\"", "[".repeat(100))).is_ok(), "brackets in a text are no nesting");
}

#[test]
fn base64_may_lack_its_padding() {
    for bytes in ["AAE=", "AAE"] {
        let publish = published(&format!(r#"{{"type":"publish","channel":"c","bytes":"{bytes}"}}"#));
        assert_eq!(publish.data, Some(Data::Bytes(vec![0, 1].into())));
    }
}

#[test]
fn what_is_no_epoch_is_the_epoch_of_no_channel_and_what_is_no_session_is_none() {
    for epoch in ["", "yesterday", "0000000G", "000000001", "ABCDEF00"] {
        let line = format!(r#"{{"type":"subscribe","channel":"c","epoch":"{epoch}","offset":3}}"#);
        let Action::Subscribe(subscribe) = command(&line).action else { panic!() };
        assert_eq!(subscribe.since, Some(Position { epoch: Epoch::NONE, offset: 3 }));
    }
    let resume = command(r#"{"type":"connect","session":"long ago","key":"k"}"#);
    assert_eq!(resume.action, Action::Connect(Connect::default()));
}

#[test]
fn ids_have_their_texts() {
    let id = SessionId::new(0xfbff, [0xfe; 10]);
    assert_eq!((id.to_string(), id.shard()), ("-__-_v7-_v7-_v7-".to_owned(), 0xfbff));
    assert_eq!(SessionId::parse("-__-_v7-_v7-_v7-"), Some(id));
    for text in ["", "-__-_v7-_v7-_v7", "-__-_v7-_v7-_v7-A", "+//+/v7+/v7+/v7+", "-__-_v7-_v7-_v7é"] {
        assert_eq!(SessionId::parse(text), None, "{text}");
    }
    assert_eq!(Epoch(0xc0ffee).to_string(), "00c0ffee");
    assert_eq!(Epoch::parse("00c0ffee"), Some(Epoch(0xc0ffee)));
}

#[test]
fn lines_end_with_newlines_with_or_without_carriage_returns_and_may_be_empty() {
    let read = |text: &str| Form::Json.commands(text.as_bytes()).map(|command| command.unwrap().id).collect::<Vec<_>>();
    let (one, two) = (r#"{"type":"ping","id":1}"#, r#"{"type":"ping","id":2}"#);
    assert_eq!(read(&format!("{one}\n{two}")), [Some(1), Some(2)]);
    assert_eq!(read(&format!("\n\n {one} \r\n\t\r\n{two}\n")), [Some(1), Some(2)]);
    assert!(read("").is_empty() && read(" \n \n").is_empty());
}

#[test]
fn a_bad_command_does_not_hide_those_after_it() {
    let mut results = Form::Json.commands(b"{\"type\":\"ping\",\"id\":1}\nno\n{\"type\":\"ping\",\"id\":3}");
    assert!(results.next().unwrap().is_ok() && results.next().unwrap().is_err());
    assert_eq!(results.next().unwrap().unwrap().id, Some(3));
    let mut results = Form::Binary.commands(&[2, 0x62, 0, 1, 0, 4, 0x08, 3, 0x62, 0]);
    assert_eq!(results.next().unwrap().unwrap().action, Action::Ping);
    assert!(results.next().unwrap().is_err());
    assert_eq!(results.next().unwrap().unwrap().id, Some(3));
    assert!(results.next().is_none());
}

#[test]
fn binary_fields_that_are_unknown_are_ignored_and_the_last_of_two_counts() {
    // 99: varint, fixed64, bytes, fixed32; in any order with the others.
    let bytes = [0x98, 6, 5, 0x62, 0, 0x99, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1, 0x9a, 6, 2, 0, 0, 0x9d, 6, 1, 2, 3, 4, 0x08, 2];
    assert_eq!(binary::decode_command(&bytes), Ok(Command { id: Some(2), action: Action::Ping }));
}

#[test]
fn a_binary_id_of_zero_is_none() {
    assert_eq!(binary::decode_command(&[0x08, 0, 0x62, 0]), Ok(Command { id: None, action: Action::Ping }));
}

#[test]
fn messages_of_a_later_version_are_ignored_or_read_as_far_as_they_go() {
    let read = |line: &str| json::decode_message(line.as_bytes()).unwrap();
    assert_eq!(read(r#"{"type":"weather","channel":"c"}"#), None);
    assert_eq!(binary::decode_message(&[0xfa, 0x06, 0]), Ok(None));
    for (retry, code) in [("true", ErrorCode::Internal), ("false", ErrorCode::BadMessage)] {
        let line = format!(r#"{{"type":"error","code":999,"name":"new","message":"m","retry":{retry}}}"#);
        let error = ErrorReply::new(code, "m");
        assert_eq!(read(&line), Some(Message::Reply(None, Reply::Error(error))));
    }
    let line = r#"{"type":"subscribed","channel":"c","epoch":"00000001","offset":1,"head":1,"recovered":false,"reason":"new","options":["new","joins"]}"#;
    let Some(Message::Reply(None, Reply::Subscribed(subscribed))) = read(line) else { panic!() };
    assert_eq!(subscribed.recovered, Some(Err(Unrecovered::Expired)));
    assert_eq!(subscribed.options, Abilities { joins: true, ..Abilities::default() });
}

#[test]
fn replies_and_pushes_of_the_same_name_are_told_apart() {
    let channel: std::sync::Arc<str> = "c".into();
    for message in [
        Message::Reply(None, Reply::Unsubscribed { channel: channel.clone() }),
        Message::Push(Push::Unsubscribed { channel: channel.clone(), code: ErrorCode::PermissionDenied }),
        Message::Reply(
            None,
            Reply::State {
                channel: channel.clone(),
                head: Position { epoch: Epoch(1), offset: 0 },
                entries: Vec::new(),
                more: false,
            },
        ),
        Message::Push(Push::State { channel: channel.clone(), entries: Vec::new(), done: true }),
    ] {
        for form in Form::ALL {
            let mut out = Vec::new();
            form.push_message(&message, &mut out);
            assert_eq!(form.messages(&out).collect::<Vec<_>>(), [Ok(message.clone())]);
        }
    }
}

#[test]
fn a_text_is_a_json_string_to_json_clients() {
    let publish = Command { id: None, action: Action::Publish(Publish::new("c", "say \"hi\"\n")) };
    let mut out = Vec::new();
    Form::Json.push_command(&publish, &mut out);
    assert_eq!(out, br#"{"type":"publish","channel":"c","data":"say \"hi\"\n"}"#);
}

#[test]
fn forms_are_found_by_their_subprotocols() {
    assert_eq!(Form::from_subprotocol(None), Some(Form::Json));
    for form in Form::ALL {
        assert_eq!(Form::from_subprotocol(Some(form.subprotocol())), Some(form));
    }
    assert_eq!(Form::from_subprotocol(Some("longwire.v2.json")), None);
}

#[test]
fn codes_are_found_by_their_numbers() {
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
    }
    assert_eq!(ErrorCode::from_number(0), None);
    assert!(CloseCode::SlowReader.come_back() && !CloseCode::Replaced.come_back());
}
