//! Rooms without a past, for measuring: `join`(room), and `pub`(room, message), which the room gets as `m`(message).
//!
//! `cargo run --release --example socketio_fanout -- 127.0.0.1:9003 [SHARDS]`

use longwire::socketio::{Socket, SocketIo, Value};
use longwire::{Server, Signals};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: socketio_fanout ADDRESS:PORT [SHARDS]")?;
    let io = SocketIo::new().namespace("/", |root| {
        root.on("join", |socket: Socket, (room,): (String,)| socket.join(&room).inspect(|()| socket.emit("joined", ("",))))
            .on("pub", |socket: Socket, (room, message): (String, Value)| socket.io().to(&room).emit("m", (message,)))
    });
    let mut server = Server::builder().socket_io("/socket.io/", io);
    if let Some(shards) = arguments.next() {
        server = server.shards(shards.parse()?);
    }
    let running = server.start(&address)?;
    println!("listening on {address}");
    Ok(running.run_until(Signals::catch()?)?)
}
