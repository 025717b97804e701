//! Lines of all kinds in one channel: native ones in both forms, compressed or not, and those that get nothing but data.

use longwire_protocol::Form;
use longwire_server::DeflateConfig;
use longwire_ws::{MessageKind, Opcode};
use serde_json::{Value, json};

use super::client::in_json;
use super::{Native, serve_also};
use crate::support::{Client, TestServer, commands, commands_line, deflate_of, within_bound};

fn serve_all(shards: usize) -> TestServer {
    serve_also(
        shards,
        |config| config.deflate = Some(DeflateConfig::default()),
        |builder| builder.line_handler("/calls", commands_line).websocket("/task", commands),
    )
}

fn plain(server: &TestServer, path: &str, channel: &str) -> Client {
    let mut client = Client::open(server.address, path);
    client.send_text(&format!("subscribe {channel}"));
    client.expect_text("ok");
    client
}

#[test]
fn plain_and_native_subscribers_see_the_same_publications() {
    for shards in [1, 2] {
        let server = serve_all(shards);
        for channel in ["ai:mixed", "live:mixed"] {
            let mut plains: Vec<Client> =
                ["/calls", "/task", "/calls", "/task"].map(|path| plain(&server, path, channel)).into();
            let mut natives: Vec<Native> = (0..4).map(|n| Native::connected(server.address, Form::ALL[n % 2])).collect();
            natives.iter_mut().for_each(|native| drop(native.subscribe(channel, json!({}))));

            let published: [(Value, Opcode, &[u8]); 6] = [
                (json!({"data": {"a": [1, "é"]}}), Opcode::Text, "{\"a\":[1,\"é\"]}".as_bytes()),
                (json!({"data": "text"}), Opcode::Text, b"\"text\""),
                (json!({"data": null, "event": "e", "tags": {"x": "y"}}), Opcode::Text, b"null"),
                (json!({"bytes": "AAH+/w=="}), Opcode::Binary, b"\0\x01\xfe\xff"),
                (json!({"bytes": ""}), Opcode::Binary, b""),
                (json!({"data": "last", "ephemeral": true}), Opcode::Text, b"\"last\""),
            ];
            let mut publisher = Native::connected(server.address, Form::Json);
            for (members, opcode, bytes) in &published {
                let mut command = members.clone();
                (command["type"], command["channel"]) = ("publish".into(), channel.into());
                publisher.ask(command);
                for plain in &mut plains {
                    assert_eq!(plain.expect(*opcode), *bytes, "{members}");
                }
                for native in &mut natives {
                    let mut publication = native.next_of("publication");
                    let got = publication.as_object_mut().unwrap();
                    assert_eq!(got.contains_key("offset"), channel.starts_with("ai") && members["ephemeral"].is_null());
                    ["type", "channel", "offset", "time", "from"].iter().for_each(|name| drop(got.remove(*name)));
                    let mut expected = members.clone();
                    expected.as_object_mut().unwrap().remove("ephemeral");
                    assert_eq!(publication, expected);
                }
            }
            // Neither who comes nor what has no data is told to those who only want data.
            publisher.ask(json!({"type": "publish", "channel": channel, "event": "nothing"}));
            natives.iter_mut().for_each(|native| assert_eq!(native.next_of("publication")["event"], "nothing"));

            // And from the plain side, and from the server itself.
            plains[0].send_text(&format!("publish {channel} 你好"));
            plains.iter_mut().for_each(|plain| plain.expect_text("你好"));
            within_bound(server.node().publish_when_possible(channel, "from the server")).unwrap();
            within_bound(server.node().publish_when_possible(channel, vec![0u8, 255])).unwrap();
            for plain in &mut plains {
                plain.expect_text("from the server");
                assert_eq!(plain.expect(Opcode::Binary), [0, 255]);
            }
            for native in &mut natives {
                let all = [native.next_of("publication"), native.next_of("publication"), native.next_of("publication")];
                assert!(all.iter().all(|one| one["from"].is_null()), "{all:?}");
                assert_eq!([all[0]["data"].as_str(), all[1]["data"].as_str()], [Some("你好"), Some("from the server")]);
                assert_eq!(all[2]["bytes"], "AP8=");
                native.expect_quiet();
            }
        }
    }
}

#[test]
fn native_lines_with_compression_share_compressed_frames() {
    for shards in [1, 2] {
        let server = serve_all(shards);
        for form in Form::ALL {
            let opcode = if form == Form::Json { Opcode::Text } else { Opcode::Binary };
            let offers = [
                "permessage-deflate",
                "permessage-deflate; server_max_window_bits=9",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                "permessage-deflate; client_max_window_bits=10; server_max_window_bits=15",
            ];
            let mut lines: Vec<_> = offers
                .iter()
                .cycle()
                .take(8)
                .map(|offer| {
                    let more =
                        format!("Sec-WebSocket-Protocol: {}\r\nSec-WebSocket-Extensions: {offer}\r\n", form.subprotocol());
                    let (client, response) = Client::tcp(server.address).upgrade("/v1/ws", &more);
                    assert_eq!(response.header("sec-websocket-protocol"), Some(form.subprotocol()));
                    (Native::on(client, form), deflate_of(&response))
                })
                .collect();
            let channel = format!("ai:{opcode:?}");
            let mut publisher = Native::connected(server.address, form);
            let mut uncompressed = Native::connected(server.address, form);
            uncompressed.subscribe(&channel, json!({}));
            for (native, params) in &mut lines {
                native.say(json!({"type": "connect"}));
                native.say(json!({"type": "subscribe", "channel": channel, "id": 2}));
                for name in ["connected", "subscribed"] {
                    let frame = native.client.recv().unwrap();
                    let payload = frame.inflated(*params);
                    let message = form.messages(&payload).next().unwrap().unwrap();
                    assert_eq!(in_json(&message)["type"], name);
                }
            }
            let text = "a text that compresses well, a text that compresses well; ".repeat(50);
            for n in 0..5 {
                publisher.publish(&channel, format!("{n} {text}"));
                let expected = uncompressed.next_of("publication");
                for (native, params) in &mut lines {
                    let frame = native.client.recv().unwrap();
                    assert_eq!((frame.opcode, frame.rsv), (opcode, 0x40), "{}", frame.shown());
                    assert!(frame.payload.len() < 600, "{}", frame.payload.len());
                    let payload = frame.inflated(*params);
                    let message = form.messages(&payload).next().unwrap().unwrap();
                    assert_eq!(in_json(&message), expected);
                }
            }
            // What the client compresses is understood, too.
            for (native, params) in &mut lines {
                let command = native.encode(&[json!({"type": "history", "channel": channel, "id": 7, "limit": 3})]);
                let kind = if form == Form::Json { MessageKind::Text } else { MessageKind::Binary };
                native.client.send_raw(&compressed(kind, &command));
                let payload = native.client.recv().unwrap().inflated(*params);
                let reply = in_json(&form.messages(&payload).next().unwrap().unwrap());
                assert_eq!((&reply["id"], reply["publications"].as_array().map(Vec::len)), (&json!(7), Some(3)));
            }
        }
    }
}

/// A masked message, compressed on its own.
fn compressed(kind: MessageKind, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sender = longwire_ws::Connection::new(
        longwire_ws::Role::Client,
        Some(longwire_ws::handshake::deflate::DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 9,
            client_max_window_bits: 9,
        }),
    )
    .sender;
    sender.send(kind, message, [1, 2, 3, 4], &mut bytes).unwrap();
    bytes
}

#[test]
fn a_subprotocol_that_is_not_ours_leaves_json_and_ours_is_chosen_among_others() {
    let server = serve_all(1);
    let (client, response) = Client::tcp(server.address).upgrade("/v1/ws", "");
    assert_eq!(response.header("sec-websocket-protocol"), None);
    Native::on(client, Form::Json).ask(json!({"type": "connect"}));
    let (client, response) =
        Client::tcp(server.address).upgrade("/v1/ws", "Sec-WebSocket-Protocol: mqtt, longwire.v1.binary, longwire.v1.json\r\n");
    assert_eq!(response.header("sec-websocket-protocol"), Some("longwire.v1.binary"));
    Native::on(client, Form::Binary).ask(json!({"type": "connect"}));
}
