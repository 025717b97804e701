//! What the public protocol suites of Engine.IO and Socket.IO require of a server, and in `/api` and `/tenant-…` what the rest of the server
//! API is tried with.
//!
//! `cargo run --release --example socketio_contract -- 127.0.0.1:9003 [--eio3] [--patient] [--compression] [--takeover]`
//!
//! The suites want short heartbeats; with `--patient` they are as they are by default. With `--compression` clients may compress what they
//! send, with `--takeover` each message on top of those before.

use std::time::Duration;

use axum::http::HeaderValue;
use longwire::socketio::{
    Ack, Arguments, ConnectRefused, EmitError, NamespaceBuilder, Reason, RequestRefused, Socket, SocketIo, Value,
};
use longwire::{Closed, DeflateConfig, EngineOptions, Opening, Server, Socket as Line};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: socketio_contract ADDRESS:PORT [--eio3] [--patient] [--compression] [--takeover]";
    let address = arguments.next().ok_or(usage)?;
    let options: Vec<String> = arguments.collect();
    let has = |option: &str| options.iter().any(|word| word == option);
    let mut engine = EngineOptions { max_payload: 1_000_000, revision_3: has("--eio3"), ..EngineOptions::default() };
    if !has("--patient") {
        engine.ping_interval = Duration::from_millis(300);
        engine.ping_timeout = Duration::from_millis(200);
    }
    let io = SocketIo::new()
        .engine(|options| *options = engine.clone())
        .connect_timeout(Duration::from_secs(1))
        .namespace("/", |root| {
            root.on_connect(|socket: Socket| greet(&socket))
                .on("message", |socket: Socket, arguments: Arguments, _: Ack| {
                    socket.emit("message-back", arguments.without_name());
                })
                .on("message-with-ack", |_: Socket, arguments: Arguments, ack: Ack| ack.send(arguments.without_name()))
        })
        .namespace("/custom", |custom| custom.on_connect(|socket: Socket| greet(&socket)))
        .namespace("/api", api)
        .dynamic(
            |name| name.starts_with("/tenant-"),
            |tenant| tenant.middleware(is_of_tenant).on_connect(|socket: Socket| greet(&socket)),
        )
        .allow_request(async |opening: Opening| match opening.query("refuse") {
            Some(why) => Err(RequestRefused::new(why)),
            None => Ok(()),
        })
        .initial_headers(|_, headers| drop(headers.insert("x-contract", HeaderValue::from_static("yes"))));
    let takeover = has("--takeover");
    let deflate = (takeover || has("--compression")).then(|| DeflateConfig {
        client_no_context_takeover: !takeover,
        server_no_context_takeover: !takeover,
        ..DeflateConfig::default()
    });
    let running = Server::builder()
        .engine_io("/engine.io/", engine, echo)
        .socket_io("/socket.io/", io)
        .configure(|config| {
            config.allowed_origins = vec!["*".into()];
            config.deflate = deflate;
        })
        .start(&address)?;
    println!("listening on {address}");
    Ok(running.run_until(longwire::Signals::catch()?)?)
}

fn api(api: NamespaceBuilder) -> NamespaceBuilder {
    api.on_any(|socket: Socket, arguments: Arguments| socket.emit("seen", (arguments.event_name(),)))
        .event_middleware(|_: &Socket, arguments: &Arguments| match arguments.event_name().as_deref() {
            Some("forbidden") => Err("not allowed"),
            _ => Ok(()),
        })
        .on("forbidden", |_: Socket, _: Arguments, ack: Ack| ack.send(("was not forbidden",)))
        .on("join", |socket: Socket, (rooms,): (Vec<String>,), ack: Ack| {
            ack.send((socket.join(rooms).is_ok(),));
        })
        .on("leave", |socket: Socket, (rooms,): (Vec<String>,), ack: Ack| {
            socket.leave(rooms);
            ack.send((socket.rooms(),));
        })
        .on("note", |socket: Socket, (data,): (Value,), ack: Ack| ack.send((socket.set_data(&data).is_ok(),)))
        .on("tell", |socket: Socket, (to, except, text): (Vec<String>, Vec<String>, String), ack: Ack| {
            socket.io().to(to).except(except).emit("told", (text,));
            ack.send((true,));
        })
        .on("ask", async |socket: Socket, (to, within_ms): (Vec<String>, u64), ack: Ack| {
            let answers = socket.io().to(to).emit_with_ack("question", (), Duration::from_millis(within_ms)).await?;
            let values: Vec<_> = answers.answers.iter().map(|(_, answer)| answer.json().to_owned()).collect();
            ack.send((values, answers.missing.len()));
            Ok::<_, EmitError>(())
        })
        .on("who", async |socket: Socket, (to,): (Vec<String>,), ack: Ack| {
            let found = socket.io().to(to).fetch_sockets().await.unwrap_or_default();
            let found: Vec<_> =
                found.iter().map(|socket| (&socket.id, &socket.rooms, socket.data::<Value>().ok().flatten())).collect();
            ack.send((found,));
        })
        .on("listen", |socket: Socket, (): (), ack: Ack| {
            socket.once("once", |socket: Socket, (): ()| socket.emit("heard", ("once",)));
            socket.on("extra", |socket: Socket, (): ()| socket.emit("heard", ("extra",)));
            ack.send(());
        })
        .on("deaf", |socket: Socket, (): (), ack: Ack| {
            socket.off("extra");
            ack.send(());
        })
        .on("put out", |socket: Socket, (): ()| socket.disconnect())
        .on_disconnect(|socket: Socket, reason: Reason| {
            let noted = socket.data::<Value>().ok().flatten();
            socket.io().emit("gone", (socket.id(), reason.to_string(), socket.rooms(), noted));
        })
}

/// There is a namespace for those alone who know its key, which is its name.
async fn is_of_tenant(socket: Socket) -> Result<(), ConnectRefused> {
    let key = socket.auth::<Value>().ok().and_then(|auth| match auth {
        Value::Object(members) => members.get("key").cloned(),
        _ => None,
    });
    match key {
        Some(Value::String(key)) if socket.namespace() == format!("/tenant-{key}") => Ok(()),
        _ => Err(ConnectRefused::no_such_namespace()),
    }
}

fn greet(socket: &Socket) {
    socket.emit("auth", (socket.auth::<Value>().unwrap_or_default(),));
}

async fn echo(mut line: Line) -> Result<(), Closed> {
    while let Some(message) = line.recv().await {
        line.send(message).await?;
    }
    Ok(())
}
