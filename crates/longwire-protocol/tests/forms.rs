//! The hot path: a publication and a piece are appended to a buffer, and nothing else is allocated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use longwire_protocol::*;

fn publication(data: Data) -> Publication {
    let session = SessionId::new(1, [7; 10]);
    let info = Some(bytes::Bytes::from_static(br#"{"name":"Anna"}"#));
    Publication {
        channel: "chat:lobby".into(),
        offset: 42,
        time: 1_700_000_000_000,
        data: Some(data),
        from: Some(Arc::new(Member { session, user: Some("anna".into()), info })),
        rare: Some(Box::new(Rare { event: Some("said".into()), ..Rare::default() })),
    }
}

#[test]
fn a_publication_looks_like_this() {
    let mut out = Vec::new();
    Form::Json.push_publication(&publication(Data::json(r#"{"text":"hi"}"#).unwrap()), &mut out);
    Form::Json.push_publication(&Publication { from: None, rare: None, ..publication(vec![0, 255].into()) }, &mut out);
    let lines = concat!(
        r#"{"type":"publication","channel":"chat:lobby","offset":42,"data":{"text":"hi"},"event":"said","#,
        r#""time":1700000000000,"from":{"session":"AAEHBwcHBwcHBwcH","user":"anna","info":{"name":"Anna"}}}"#,
        "\n",
        r#"{"type":"publication","channel":"chat:lobby","offset":42,"bytes":"AP8=","time":1700000000000}"#
    );
    assert_eq!(String::from_utf8(out).unwrap(), lines);
}

#[test]
fn a_buffer_that_has_room_is_not_moved() {
    let long = "x".repeat(300);
    let piece = Piece {
        channel: "ai:answer".into(),
        offset: 9,
        stream: 3,
        at: 100,
        data: Some(long.as_str().into()),
        end: Some(StreamEnd::Failed),
        reason: Some("out of words".into()),
    };
    for data in [Data::from(&*long), Data::from(long.clone().into_bytes()), Data::json("[1,2]").unwrap()] {
        let publication = publication(data);
        for form in Form::ALL {
            let mut out = Vec::with_capacity(4096);
            let at = out.as_ptr();
            form.push_publication(&publication, &mut out);
            form.push_piece(&piece, &mut out);
            assert_eq!((out.as_ptr(), out.capacity()), (at, 4096));
            assert_eq!(form.messages(&out).filter(Result::is_ok).count(), 2);
        }
    }
}

/// Not a benchmark: only that nothing is quadratic, so the bounds are far away even without optimisation.
#[test]
fn large_messages_take_a_moment_and_no_more() {
    let start = Instant::now();
    let text = "say \"hi\"\n é ".repeat(100_000);
    let command = Command { id: Some(1), action: Action::Publish(Publish { stream: true, ..Publish::new("ai:x", text) }) };
    for form in Form::ALL {
        let mut out = Vec::new();
        form.push_command(&command, &mut out);
        assert_eq!(form.commands(&out).collect::<Vec<_>>(), [Ok(command.clone())]);
    }
    for bytes in [b"[".repeat(1 << 20), b"{\"a\":".repeat(1 << 18), br#"{"data":"#.repeat(1 << 18), vec![b'\n'; 1 << 20]] {
        for form in Form::ALL {
            assert!(form.commands(&bytes).all(|command| command.is_err()));
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
