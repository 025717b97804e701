//! What clients say reaches handlers and other clients as they said it.

use longwire_server::socketio::{Ack, Arguments, Socket, SocketIo};
use serde_json::{Value, json};

use super::client::{ACK, Io, Way};
use super::{serve_also, serve_io};

/// What parsers like to change, as JSON.
const HARD: [&str; 8] = [
    r#""a\ud83c""#,
    r#""\udf89\ud83c\udf89""#,
    "122.416294033786585",
    "-0",
    "-0.0",
    "1180591620717411303424",
    "[1E2,1e-7,0.1,5e-324]",
    r#"{"z":1,"a":{"y":[],"b":null},"1":2}"#,
];

fn echo() -> SocketIo {
    SocketIo::new().namespace("/", |root| {
        root.on("raw", |_: Socket, arguments: Arguments, ack: Ack| ack.send(arguments.without_name()))
            .on("later", async |socket: Socket, arguments: Arguments, ack: Ack| {
                tokio::task::yield_now().await;
                socket.emit("said", arguments.without_name());
                ack.send(arguments);
            })
            .on("later still", async |socket: Socket, arguments: Arguments| socket.emit("said", arguments.without_name()))
            .on("at once", |socket: Socket, arguments: Arguments| socket.emit("said", arguments.without_name()))
            .on("value", |_: Socket, (value,): (longwire_server::socketio::Value,), ack: Ack| ack.send((value,)))
            .on("json", |_: Socket, (value,): (Value,), ack: Ack| ack.send((value,)))
            .on("text", |_: Socket, (text,): (String,), ack: Ack| ack.send((text,)))
            .on("doubles", |_: Socket, (doubles,): (Vec<f64>,), ack: Ack| ack.send((doubles,)))
    })
}

/// The text of the next packet.
#[track_caller]
fn answer(client: &mut Io, said: &str) -> String {
    client.say(said);
    client.next_text()
}

#[test]
fn arguments_that_are_passed_on_as_they_came_are_what_came() {
    let server = serve_io(1, echo());
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    for json in HARD {
        assert_eq!(answer(&mut client, &format!(r#"27["raw",{json}, {json}]"#)), format!("37[{json}, {json}]"));
        assert_eq!(answer(&mut client, &format!(r#"27["later",{json}]"#)), format!(r#"2["said",{json}]"#));
        assert_eq!(client.next_text(), format!(r#"37["later",{json}]"#));
        for event in ["later still", "at once"] {
            assert_eq!(answer(&mut client, &format!(r#"2["{event}",{json}]"#)), format!(r#"2["said",{json}]"#));
        }
        // Beside a binary part, too.
        client.say_with_parts(&format!(r#"51-9["raw",{json},{{"_placeholder":true,"num":0}}]"#), &[b"part"]);
        let text = client.next_text();
        assert_eq!(text, format!(r#"61-9[{json},{{"_placeholder":true,"num":0}}]"#));
        client.expect_part(b"part");
    }
}

#[test]
fn arguments_that_are_read_are_the_nearest_that_rust_has() {
    let server = serve_io(1, echo());
    let (mut client, _) = Io::connected(server.address, Way::WebSocket);
    for event in ["value", "json"] {
        assert_eq!(answer(&mut client, &format!(r#"21["{event}",{{"z":1.5,"a":[122.416294033786585,-0.0]}}]"#)), {
            r#"31[{"z":1.5,"a":[122.41629403378658,-0.0]}]"#
        });
    }
    for (said, read) in [(r#"a\ud83c"#, "a\u{fffd}"), (r#"\udf89b"#, "\u{fffd}b")] {
        for event in ["text", "value", "json"] {
            assert_eq!(answer(&mut client, &format!(r#"21["{event}","{said}"]"#)), format!(r#"31["{read}"]"#));
        }
    }
    // Each double comes back to the last bit.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let doubles: Vec<f64> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(state)
    })
    .filter(|double| double.is_finite())
    .take(20_000)
    .collect();
    for part in doubles.chunks(1000) {
        let json: Vec<String> = part.iter().map(|double| format!("{double:?}")).collect();
        client.say(&format!(r#"28["doubles",[{}]]"#, json.join(",")));
        let packet = client.next().expect("an ack");
        let back = packet.data[0].as_array().expect("a list").iter().map(|double| double.as_f64().expect("a double").to_bits());
        assert_eq!((packet.kind, back.collect::<Vec<_>>()), (ACK, part.iter().map(|double| double.to_bits()).collect()));
    }
}

#[test]
fn what_is_published_by_an_event_is_word_for_word_what_was_said() {
    let server = serve_also(1, SocketIo::channels(), |builder| builder);
    let mut client = Io::open(server.address, Way::WebSocket);
    client.connect("/", &Value::Null);
    client.call(json!(["subscribe", "a"]));
    for (n, json) in HARD.iter().enumerate() {
        let said = if n % 2 == 0 {
            format!(r#"2["publish","a",{json}]"#)
        } else {
            format!(r#"2["publish","a",{json},{{"event":"e"}}]"#)
        };
        let told = answer(&mut client, &said);
        assert!(told.contains(&format!(r#""data":{json}"#)), "{told}");
    }
}
