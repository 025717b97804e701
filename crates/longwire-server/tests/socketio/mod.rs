//! Socket.IO over real connections: what the server's API promises, and what clients see.

mod acks;
mod asking;
mod binary;
mod bursts;
mod channels;
mod client;
mod endings;
mod hooks;
mod kept;
mod names;
mod namespaces;
mod order;
mod recovery;
mod rooms;
mod scripts;
mod values;
mod waiting;

use longwire_server::socketio::{Ack, Arguments, Broadcast, NamespaceBuilder, Socket, SocketIo};
use longwire_server::{Running, ServerBuilder};
use serde_json::Value;

use crate::support::{TestServer, serve, within_bound};
use client::PATH;

/// A server of Socket.IO, and the handle with which to emit from outside.
#[track_caller]
fn serve_io(shards: usize, io: SocketIo) -> TestServer {
    serve_also(shards, io, |builder| builder)
}

#[track_caller]
fn serve_also(shards: usize, io: SocketIo, more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
    serve(shards, |builder| {
        let builder = builder.socket_io(PATH, io).configure(|config| {
            // What is waited for at the end of a server by connections that do not poll any more.
            config.close_timeout = std::time::Duration::from_secs(1);
        });
        more(builder)
    })
}

/// A server whose sockets do what they are told.
fn obedient() -> SocketIo {
    SocketIo::new().namespace("/", commands)
}

/// Handlers that do what they are told, and acknowledge it.
fn commands(namespace: NamespaceBuilder) -> NamespaceBuilder {
    namespace
        .on("join", |socket: Socket, (room,): (String,), ack: Ack| match socket.join(&room) {
            Ok(()) => ack.send((room,)),
            Err(error) => ack.send((error.to_string(),)),
        })
        .on("leave", |socket: Socket, (room,): (String,), ack: Ack| {
            socket.leave(&room);
            ack.send((room,));
        })
        .on("rooms", |socket: Socket, _: Arguments, ack: Ack| {
            let mut rooms = socket.rooms();
            rooms.sort();
            ack.send((rooms,));
        })
        .on("to", |socket: Socket, (to, except, value): (Vec<String>, Vec<String>, Value), ack: Ack| {
            choose(socket.broadcast(), &to, &except).emit("said", (value,));
            ack.send((true,));
        })
        .on("to all", |socket: Socket, (to, except, value): (Vec<String>, Vec<String>, Value), ack: Ack| {
            choose(socket.io(), &to, &except).emit("said", (value,));
            ack.send((true,));
        })
        .on("note", |socket: Socket, (data,): (Value,), ack: Ack| {
            socket.set_data(&data).expect("JSON");
            ack.send((socket.data::<Value>().expect("JSON"),));
        })
        .on("put me out", |socket: Socket, _: Arguments, _: Ack| socket.disconnect())
        .on("close me", |socket: Socket, _: Arguments, _: Ack| socket.close())
        .on("panic", |_: Socket, _: Arguments, _: Ack| std::panic::resume_unwind(Box::new("on purpose")))
        .on("sync", |_: Socket, _: Arguments, ack: Ack| ack.send(()))
        .on("recovered", |socket: Socket, _: Arguments, ack: Ack| {
            ack.send((socket.recovered(), socket.data::<Value>().expect("JSON")));
        })
}

fn choose(mut broadcast: Broadcast, to: &[String], except: &[String]) -> Broadcast {
    for room in to {
        broadcast = broadcast.to(room);
    }
    for room in except {
        broadcast = broadcast.except(room);
    }
    broadcast
}

/// How many sessions there are, with a line or without.
fn sessions(server: &Running) -> usize {
    within_bound(async { server.node().sessions().await }).expect("sessions").sessions.len()
}
