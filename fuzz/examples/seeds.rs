//! Writes the seeds of all targets: the shapes of the Autobahn test cases, by the numbers of their groups, and the examples of the
//! specifications, and the lines of the protocol's transcripts. Run it after a change with `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use longwire_protocol::{Form, json};
use longwire_transcripts::{Bindings, Does};
use longwire_ws::deflate::SharedDeflater;
use longwire_ws::frame::{self, Header};
use longwire_ws::{MessageKind, Opcode};

/// See `Listener::read`: a server without compression, one with, in two windows; each in pieces of a few bytes.
const SERVER: &[u8] = &[0, 0, 3, 4, 0, 9];
const SERVER_TAKEOVER: &[u8] = &[2, 0x77, 2, 6, 30];
const SERVER_ALONE: &[u8] = &[2 | 4 | 8, 0x77, 2, 6, 30];
const CLIENT: &[u8] = &[1, 0, 0];
const CLIENT_SMALL: &[u8] = &[1 | 16, 0, 1, 50];
const CLIENT_TAKEOVER: &[u8] = &[1 | 2, 0x10, 1, 3];
const CLIENT_ALONE: &[u8] = &[1 | 2 | 4 | 8, 0x77, 1, 3];

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    write(&folder, "frames", frames)?;
    write(&folder, "inflate", inflate)?;
    write(&folder, "roundtrip", roundtrip)?;
    write(&folder, "handshake_server", handshake_server)?;
    write(&folder, "handshake_client", handshake_client)?;
    write(&folder, "protocol_json", |seeds| protocol(seeds, Form::Json))?;
    write(&folder, "protocol_binary", |seeds| protocol(seeds, Form::Binary))?;
    write(&folder, "socketio_packets", socketio_packets)?;
    write(&folder, "engineio_payloads", engineio_payloads)?;
    Ok(())
}

fn write(folder: &Path, target: &str, make: impl FnOnce(&mut Seeds) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut seeds = Seeds { folder: folder.join(target), count: 0, seen: HashSet::new() };
    fs::create_dir_all(&seeds.folder)?;
    make(&mut seeds)?;
    println!("{target}: {} seeds", seeds.count);
    Ok(())
}

struct Seeds {
    folder: PathBuf,
    count: usize,
    seen: HashSet<String>,
}

impl Seeds {
    fn write(&mut self, name: &str, parts: &[&[u8]]) -> std::io::Result<()> {
        self.count += 1;
        fs::write(self.folder.join(name), parts.concat())
    }
}

/// A frame to a server (masked) or to a client.
fn frame(to_server: bool, header: Header, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mask = to_server.then_some([0x37, 0xfa, 0x21, 0x3d]);
    frame::encode_with(Header { mask, ..header }, payload, &mut out);
    out
}

fn fragment(opcode: Opcode) -> Header {
    Header { fin: false, ..Header::new(opcode, 0) }
}

fn frames(seeds: &mut Seeds) -> std::io::Result<()> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let long = [b'*'; 300];
    let whole = |opcode| Header::new(opcode, 0);
    let mut case = |name: &str, frames: &[(Header, &[u8])]| -> std::io::Result<()> {
        for (end, to_server, listener) in [("server", true, SERVER), ("client", false, CLIENT), ("small", false, CLIENT_SMALL)]
        {
            let wire: Vec<u8> = frames.iter().flat_map(|(header, payload)| frame(to_server, *header, payload)).collect();
            seeds.write(&format!("{name}_{end}"), &[listener, &wire])?;
        }
        Ok(())
    };
    case(
        "1_messages",
        &[(whole(Text), b"hello"), (whole(Binary), b"\x00\xfe"), (whole(Text), b""), (whole(Text), &long[..126])],
    )?;
    case("1_long", &[(whole(Binary), &long)])?;
    case("2_pings", &[(whole(Ping), b""), (whole(Ping), &long[..125]), (whole(Pong), b"unasked"), (whole(Ping), b"last")])?;
    case("3_rsv", &[(whole(Text), b"a"), (Header { rsv: 0x20, ..whole(Text) }, b"b")])?;
    case("5_fragments", &[(fragment(Text), b"frag"), (fragment(Continuation), b"men"), (whole(Continuation), b"ted")])?;
    case("5_ping_between", &[(fragment(Text), b"a"), (whole(Ping), b"now"), (whole(Continuation), b"b"), (whole(Close), b"")])?;
    case("5_continuation_of_nothing", &[(whole(Continuation), b"x"), (whole(Text), b"y")])?;
    case("5_message_in_message", &[(fragment(Text), b"x"), (whole(Text), b"y")])?;
    case(
        "6_utf8",
        &[(whole(Text), "κόσμε 你发送了 🦀".as_bytes()), (fragment(Text), b"\xf0\x9f"), (whole(Continuation), b"\xa6\x80")],
    )?;
    case("6_not_utf8", &[(fragment(Text), b"\xce\xba\xed\xa0"), (whole(Continuation), b"\x80")])?;
    case("7_close", &[(whole(Text), b"bye"), (whole(Close), b"\x03\xe8reason"), (whole(Text), b"too late")])?;
    case("7_close_code", &[(whole(Close), b"\x03\xed")])?;
    case("7_close_short", &[(whole(Close), b"\x03")])?;
    case("10_fragments", &[(fragment(Binary), &long), (fragment(Continuation), &long[..100]), (whole(Continuation), b"")])?;
    // RFC 6455, 5.2: lengths that are wrong, and opcodes that are reserved (Autobahn 4).
    seeds.write("4_opcode", &[CLIENT, b"\x81\x01a\x83\x00"])?;
    seeds.write("length_not_minimal", &[CLIENT, b"\x82\x7e\x00\x05hello"])?;
    seeds.write("length_huge", &[SERVER, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04abc"])?;
    seeds.write("unmasked", &[SERVER, b"\x81\x05Hello"])?;
    // RFC 7692, 7.2.3: the second "Hello" refers to the first (Autobahn 12).
    let hello: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    seeds.write("12_compressed", &[CLIENT_TAKEOVER, hello, b"\xc1\x05\xf2\x00\x11\x00\x00"])?;
    seeds.write("12_compressed_fragments", &[CLIENT_ALONE, b"\x41\x03\xf2\x48\xcd\x89\x00\x80\x04\xc9\xc9\x07\x00", hello])?;
    seeds.write("12_compressed_between", &[CLIENT_ALONE, hello, b"\x81\x02ok", hello, b"\x88\x00"])
}

fn inflate(seeds: &mut Seeds) -> std::io::Result<()> {
    // RFC 7692, 7.2.3.1 to 7.2.3.6.
    let examples: [(&str, &[u8]); 6] = [
        ("fixed", b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        ("stored", b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
        ("last_block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        ("two_blocks", b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
        ("empty", b"\x00"),
        ("goes_on_after_last_block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"),
    ];
    for (name, message) in examples {
        seeds.write(&format!("{name}_client"), &[CLIENT_ALONE, &[1], message])?;
        seeds.write(&format!("{name}_server"), &[SERVER_ALONE, &[3], message])?;
    }
    let [hello, again]: [&[u8]; 2] = [b"\x81\x07\xf2\x48\xcd\xc9\xc9\x07\x00", b"\x01\xf2\x00\x11\x00\x00"];
    seeds.write("takeover_client", &[CLIENT_TAKEOVER, hello, again])?;
    seeds.write("takeover_server", &[SERVER_TAKEOVER, hello, again])?;
    // Autobahn 12 and 13: text and structured data of some size, by several kinds of deflate.
    let samples: [(&str, Vec<u8>); 3] = [
        ("json", br#"{"user":"anna","text":"hello there","tags":["a","b","c"],"at":1700000000}"#.repeat(4)),
        ("zeros", vec![0; 20_000]),
        ("counting", (0..400u16).flat_map(u16::to_le_bytes).collect()),
    ];
    for (name, sample) in samples {
        for level in [1, 6, 9] {
            let mut deflate = zlib_rs::Deflate::new(level, false, 15);
            let mut out = vec![0; sample.len() + 100];
            deflate.compress(&sample, &mut out, zlib_rs::DeflateFlush::SyncFlush).expect("deflate works");
            let message = &out[..deflate.total_out() as usize - 4];
            seeds.write(&format!("{name}_{level}"), &[CLIENT_ALONE, &[0], message])?;
        }
    }
    let mut shared = Vec::new();
    SharedDeflater::new(9).encode(MessageKind::Binary, &b"wire ".repeat(50), &mut shared);
    seeds.write("own", &[CLIENT_ALONE, &[0], &shared[2..]])
}

fn roundtrip(seeds: &mut Seeds) -> std::io::Result<()> {
    let listeners: [(&str, &[u8]); 6] = [
        ("server", SERVER),
        ("server_takeover", SERVER_TAKEOVER),
        ("server_alone", SERVER_ALONE),
        ("client", CLIENT),
        ("client_takeover", CLIENT_TAKEOVER),
        ("client_alone", CLIENT_ALONE),
    ];
    for (name, listener) in listeners {
        seeds.write(
            &format!("messages_{name}"),
            &[listener, b"\x08\x01\x02\x03\x04\x05hello", b"\x0c\xff\x00\xff\x00\x03\x00\x01\x02"],
        )?;
        seeds.write(
            &format!("long_{name}"),
            &[listener, b"\xf8\x01\x02\x03\x04\x0along texts\x3c\x09\x09\x09\x09\x08binaries", b"\x07aaaa\x03abc"],
        )?;
        seeds.write(
            &format!("fragments_{name}"),
            &[listener, b"\x14\x07\x01\x02\x03\x14some twenty bytes ..", b"\x00abcd\x02hi"],
        )?;
        seeds.write(
            &format!("close_{name}"),
            &[listener, b"\x00keys\x04ping", b"\x01keys\x04pong", b"\x02keys\x03bye", b"\x08keys\x01x"],
        )?;
    }
    Ok(())
}

fn handshake_server(seeds: &mut Seeds) -> std::io::Result<()> {
    let request = |extra: &str| {
        format!(
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
        )
    };
    let sample = request("Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n");
    seeds.write("sample", &[&[1], sample.as_bytes()])?;
    seeds.write("sample_and_a_frame", &[&[4], sample.as_bytes(), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"])?;
    let offers = [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=\"10\", permessage-deflate",
    ];
    for (at, offer) in offers.iter().enumerate() {
        for flags in [2, 2 | 8 | 32, 2 | 16 | 64] {
            let request = request(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
            seeds.write(&format!("deflate_{at}_{flags}"), &[&[flags], request.as_bytes()])?;
        }
    }
    for (name, from, to) in [
        ("version", "Version: 13", "Version: 8"),
        ("method", "GET /chat", "POST /chat"),
        ("http_10", "HTTP/1.1", "HTTP/1.0"),
        ("key", "ub25jZQ==", "ub25jZQ="),
        ("not_an_upgrade", "Upgrade: websocket\r\n", ""),
        ("connection", "keep-alive, Upgrade", "close"),
        ("no_host", "Host: server.example.com\r\n", ""),
        ("body", "Connection", "Content-Length: 5\r\nConnection"),
    ] {
        seeds.write(name, &[&[3], request("").replace(from, to).as_bytes()])?;
    }
    seeds.write("cut", &[&[0], &sample.as_bytes()[..60]])
}

fn handshake_client(seeds: &mut Seeds) -> std::io::Result<()> {
    let answer = |extra: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extra}\r\n"
        )
    };
    seeds.write("sample", &[&[1], answer("Sec-WebSocket-Protocol: chat\r\n").as_bytes()])?;
    seeds.write("sample_and_a_frame", &[&[4], answer("").as_bytes(), b"\x81\x05Hello"])?;
    for (at, extensions) in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
        "permessage-deflate; client_max_window_bits",
    ]
    .iter()
    .enumerate()
    {
        for flags in [2, 2 | 8 | 16, 2 | 32 | 64] {
            let answer = answer(&format!("Sec-WebSocket-Extensions: {extensions}\r\n"));
            seeds.write(&format!("deflate_{at}_{flags}"), &[&[flags], answer.as_bytes()])?;
        }
    }
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
    seeds.write("interim", &[&[0], interim.as_bytes(), answer("").as_bytes()])?;
    seeds.write("refused", &[&[0], b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"])?;
    seeds.write("other_accept", &[&[0], answer("").replace("s3pP", "S3pP").as_bytes()])?;
    let addresses = [
        "ws://localhost:8000/ws",
        "wss://[::1]/a%20b?c=d",
        "ws://example.com:80",
        "WS://A.example:65535/?",
        "http://x/",
        "ws://u:p@h/",
    ];
    for (at, address) in addresses.iter().enumerate() {
        for flags in [128, 128 | 1 | 2] {
            seeds.write(&format!("address_{at}_{flags}"), &[&[flags], address.as_bytes()])?;
        }
    }
    Ok(())
}

/// What is said in the transcripts: of what can be read one seed for each set of members, of what cannot all that there is.
fn protocol(seeds: &mut Seeds, form: Form) -> std::io::Result<()> {
    let fill = |line: &str| Bindings::default().fill_with_samples(line);
    for (name, transcript) in longwire_transcripts::all() {
        for step in transcript.steps {
            let mut out = Vec::new();
            let said = match step.does {
                Does::Send(lines) => {
                    let message = lines.iter().map(|line| fill(line)).collect::<Vec<_>>().join("\n");
                    for command in json::commands(message.as_bytes()).flatten() {
                        form.push_command(&command, &mut out);
                    }
                    if form == Form::Json {
                        out = message.clone().into_bytes();
                    }
                    message
                }
                Does::Receive(message) => {
                    let line = fill(&message.to_string());
                    let message = json::decode_message(line.as_bytes()).expect("it is one").expect("its type is known");
                    form.push_message(&message, &mut out);
                    line
                }
                Does::Cut | Does::Closed(_) => continue,
            };
            let can_be_read = json::commands(said.as_bytes()).all(|command| command.is_ok()) || is_of_server(&said);
            let is_new = !can_be_read || seeds.seen.insert(members(&said));
            if is_new && !out.is_empty() {
                seeds.write(&format!("{name}_{}", step.line), &[&out])?;
            }
        }
    }
    Ok(())
}

/// Sessions as `check_packets` reads them: each kind of packet, with what may come wrong in it.
fn socketio_packets(seeds: &mut Seeds) -> std::io::Result<()> {
    let cases: [(&str, &[u8]); 12] = [
        ("connect", br#"0{"token":"123"}"#),
        ("connect_query", b"0/custom?token=x%2Cy&a=b,"),
        ("disconnect", b"1/admin,"),
        ("event", br#"2/admin,456["project:delete",123,{"a":[1.5,null]}]"#),
        ("event_escaped", "2[\"caf\\u00e9 \\ud83e\\udd80\",\"🦀\"]".as_bytes()),
        ("event_number", b"2[-1.5]"),
        ("reserved", br#"2["disconnect"]"#),
        ("ack", br#"3/admin,456[{"ok":true}]"#),
        ("error", br#"4/chat,{"message":"no","data":1}"#),
        ("deep", br#"2["a",[[[[]]]]]"#),
        (
            "binary_event",
            b"52-/admin,1[\"a\",{\"_placeholder\":true,\"num\":0},{\"b\":{\"_placeholder\":true,\"num\":1}}]\xFF\0abc\xFF\0\xFF2[\"b\"]",
        ),
        ("binary_ack", b"61-7[{\"_placeholder\":true,\"num\":0}]\xFF\0\x01\x02\xFF1"),
    ];
    for (name, messages) in cases {
        for flags in 0..4 {
            seeds.write(&format!("{name}_{flags}"), &[&[flags], messages])?;
        }
    }
    Ok(())
}

/// Bodies as `check_payload` reads them.
fn engineio_payloads(seeds: &mut Seeds) -> std::io::Result<()> {
    let cases: [(&str, u8, &[u8]); 9] = [
        ("v4", 0, b"4hello\x1e2\x1ebAQIDBA==\x1e6"),
        ("v4_upgrade", 0, b"2probe\x1e5\x1e4a"),
        ("v4_empty", 0, b"4a\x1e"),
        ("v3", 1, "6:4hello1:24:4🦀a10:b4AQIDBA==".as_bytes()),
        ("v3_none", 1, b"0:"),
        ("v3_binary", 3, b"\x00\x04\xFF4\xE2\x82\xAC\x01\x05\xFF\x04\x01\x02\x03\x04\x00\x01\x01\xFF40123456789"),
        ("v3_binary_base64", 3, b"\x00\x01\x00\xFFb4AQIDBA=="),
        (
            "handshake",
            0,
            br#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
        ),
        ("query", 0, b"EIO=4&transport=polling&t=P%2Bx&sid=lv_VI97&b64=1&j=0"),
    ];
    for (name, flags, body) in cases {
        seeds.write(name, &[&[flags], body])?;
        seeds.write(&format!("{name}_small"), &[&[flags | 4], body])?;
    }
    Ok(())
}

fn is_of_server(line: &str) -> bool {
    matches!(json::decode_message(line.as_bytes()), Ok(Some(_)))
}

/// The type and the names of the members.
fn members(line: &str) -> String {
    let names = line.split('"').skip(1).step_by(2).zip(line.split('"').skip(2).step_by(2));
    let kind = line.split(r#""type":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    names.filter(|(_, after)| after.starts_with(':')).fold(kind.to_owned(), |all, (name, _)| all + " " + name)
}
