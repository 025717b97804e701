//! Runs the cases of an Autobahn fuzzing server against our client.
//!
//! `cargo run --release -p longwire-client --example autobahn_client -- ws://127.0.0.1:9001 AGENT`

use longwire_client::{DeflateConfig, Error, Limits, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(agent)) = (arguments.next(), arguments.next()) else {
        return Err("usage: autobahn_client ws://HOST:PORT AGENT".into());
    };
    let server = server.trim_end_matches('/');
    let mut count = WebSocket::connect(&format!("{server}/getCaseCount")).await?;
    let count: u32 = match count.recv().await.as_ref().and_then(|message| message.as_text()) {
        Some(text) => text.parse()?,
        None => return Err("the server does not say how many cases there are".into()),
    };
    for case in 1..=count {
        if let Err(error) = run(&format!("{server}/runCase?case={case}&agent={agent}")).await {
            eprintln!("case {case}: {error}");
        }
    }
    let mut update = WebSocket::connect(&format!("{server}/updateReports?agent={agent}")).await?;
    while update.recv().await.is_some() {}
    println!("{count} cases run");
    Ok(())
}

async fn run(address: &str) -> Result<(), Error> {
    let mut line = WebSocket::builder(address)
        .deflate(DeflateConfig::default())
        .limits(Limits { max_frame_bytes: 64 << 20, max_message_bytes: 64 << 20, max_fragments: 100_000 })
        .connect()
        .await?;
    while let Some(message) = line.recv().await {
        if line.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}
