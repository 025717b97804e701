//! The echo/broadcast contract on tokio and tokio-tungstenite, the way its users write it: a task per line, an unbounded channel to
//! each subscriber, one thread.
//!
//! One setting differs from its defaults, as its documentation advises for many lines: the read buffer. It is zeroed before every
//! read, so that the default of 128 KiB alone would double the cost of a message.

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use futures_util::{future, pin_mut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const READ_BUFFER_BYTES: usize = 4 * 1024;

type Line = WebSocketStream<TcpStream>;
type Subscribers = HashMap<u64, UnboundedSender<Message>>;

/// The subscribers of each channel, by the number of their line.
#[derive(Clone, Default)]
struct Channels(Arc<Mutex<HashMap<String, Subscribers>>>);

impl Channels {
    fn with<R>(&self, name: &str, act: impl FnOnce(&mut Subscribers) -> R) -> R {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(channels.entry(name.to_owned()).or_default())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: tungstenite HOST:PORT");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("tungstenite: {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let channels = Channels::default();
    for number in 0.. {
        if let Ok((socket, _)) = listener.accept().await {
            let channels = channels.clone();
            // A line that breaks ends its own task and nothing else.
            tokio::spawn(async move { serve(socket, number, channels).await.ok() });
        }
    }
    ExitCode::SUCCESS
}

async fn serve(socket: TcpStream, number: u64, channels: Channels) -> Result<(), Box<dyn Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let mut path = String::new();
    // The size of the error is the library's choice.
    #[allow(clippy::result_large_err)]
    let note_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let line = tokio_tungstenite::accept_hdr_async_with_config(socket, note_path, Some(config)).await?;
    if let Some(name) = path.strip_prefix("/sub/") {
        let result = subscribe(line, number, name, &channels).await;
        channels.with(name, |subscribers| subscribers.remove(&number));
        result
    } else if let Some(name) = path.strip_prefix("/pub/") {
        publish(line, name, &channels).await
    } else {
        echo(line).await
    }
}

async fn echo(line: Line) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (sink, messages) = line.split();
    messages.try_filter(|message| future::ready(message.is_text() || message.is_binary())).forward(sink).await?;
    Ok(())
}

async fn subscribe(line: Line, number: u64, name: &str, channels: &Channels) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (sender, mut receiver) = unbounded_channel();
    channels.with(name, |subscribers| subscribers.insert(number, sender));
    let (sink, incoming) = line.split();
    let outgoing = stream::poll_fn(|context| receiver.poll_recv(context)).map(Ok).forward(sink);
    // Only read so that pings are answered and the end is seen.
    let listening = incoming.try_for_each(|_| future::ready(Ok(())));
    pin_mut!(outgoing, listening);
    future::select(outgoing, listening).await.factor_first().0?;
    Ok(())
}

async fn publish(mut line: Line, name: &str, channels: &Channels) -> Result<(), Box<dyn Error + Send + Sync>> {
    while let Some(message) = line.next().await.transpose()? {
        if message.is_text() {
            channels.with(name, |subscribers| {
                for subscriber in subscribers.values() {
                    // A subscriber that has just gone takes itself off the list.
                    subscriber.send(message.clone()).ok();
                }
            });
        }
    }
    Ok(())
}
