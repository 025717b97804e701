//! Rooms, for clients that come back: they join, publish, and miss nothing while their line is lost.
//!
//! `cargo run --release --example socketio_room -- 127.0.0.1:9003 [--ask] [DATA_DIRECTORY]`
//!
//! With `--ask` those who come back are asked for their `auth` as those who come are: whoever says `banned` there is not let in.

use std::time::Duration;

use longwire::socketio::{ConnectRefused, Socket, SocketIo, Value};
use longwire::{DataDir, Server, Signals, StoreOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let address = arguments.next().ok_or("usage: socketio_room ADDRESS:PORT [--ask] [DATA_DIRECTORY]")?;
    let asks = arguments.next_if(|word| word == "--ask").is_some();
    let data = arguments.next().map(|dir| DataDir { dir: dir.into(), options: StoreOptions::default() });
    let io = SocketIo::new().recovery(Duration::from_secs(120)).namespace("/", |root| {
        root.middleware(not_banned)
            .on("join", |socket: Socket, (room,): (String,)| socket.join(&room).inspect(|()| socket.emit("joined", ("",))))
            .on("pub", |socket: Socket, (room, message): (String, Value)| socket.io().to(&room).emit("m", (message,)))
            .on("echo", |socket: Socket, (message,): (Value,)| socket.emit("m", (message,)))
    });
    let io = if asks { io.recovery_asks_middleware() } else { io };
    let running = Server::builder()
        .socket_io("/socket.io/", io)
        .configure(|config| {
            config.allowed_origins = vec!["*".into()];
            config.data = data;
        })
        .start(&address)?;
    println!("listening on {address}");
    Ok(running.run_until(Signals::catch()?)?)
}

async fn not_banned(socket: Socket) -> Result<(), ConnectRefused> {
    match socket.auth::<Value>() {
        Ok(Value::Object(auth)) if auth.get("banned").is_some() => Err(ConnectRefused::new("banned")),
        _ => Ok(()),
    }
}
