//! The rooms contract on socketioxide and axum: `join`(room) joins, `pub`(room, message) emits `m`(message) to the room. Recovery is
//! not among what it offers. One thread, or as many workers as the second argument says: then events of one line may overtake each
//! other, since the library handles each in a task of its own.

use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::serve::ListenerExt;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// As many as a publisher may have on their way: what exceeds this for a line is lost.
const BUFFER_PACKETS: usize = 4096;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), workers) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: socketioxide HOST:PORT [WORKERS]");
        return ExitCode::from(2);
    };
    match run(&address, workers.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socketioxide: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(address: &str, workers: Option<&str>) -> Result<(), Box<dyn Error>> {
    let runtime = match workers {
        None => Builder::new_current_thread().enable_all().build()?,
        Some(workers) => Builder::new_multi_thread().worker_threads(workers.parse()?).enable_all().build()?,
    };
    runtime.block_on(async {
        let (layer, io) = SocketIo::builder().max_buffer_size(BUFFER_PACKETS).build_layer();
        // In a middleware the events are known before the client hears that it is connected. In a handler of its own, which is a task
        // beside it, with several workers the first event now and then came too soon and was lost.
        let listen = async |socket: SocketRef| {
            socket.on("join", async |socket: SocketRef, Data::<String>(room)| socket.join(room));
            socket.on("pub", async |io: SocketIo, Data::<(String, String)>((room, message))| {
                // A line that has just gone is none of the others' business.
                io.to(room).emit("m", &message).await.ok();
            });
            Ok::<_, Infallible>(())
        };
        io.ns("/", { async || {} }.with(listen));
        let listener = TcpListener::bind(address).await?.tap_io(|line| {
            // Without it the line works all the same, only later.
            line.set_nodelay(true).ok();
        });
        axum::serve(listener, Router::new().layer(layer)).await?;
        Ok(())
    })
}
