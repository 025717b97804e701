//! `longwire publish` and `longwire subscribe`: channels for people at a terminal, and for pipes.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use longwire_client::protocol::{Epoch, Piece, Publication, Stream, Unrecovered};
use longwire_client::{Client, Data, Event, Form, Lost, Position, Publish, State, Stopped, SubscribeOptions, Subscription};
use serde_json::value::RawValue;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::api::Api;
use crate::key::Place;
use crate::output;

/// Events between the client and standard output; beyond them the client stops reading.
const QUEUED_EVENTS: usize = 64;
/// How long to wait for the server's part of the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the server is, and who we are.
#[derive(Args, Clone, Debug)]
struct Connection {
    /// The server, as ws://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "ws://localhost:8000", env = "LONGWIRE_URL", hide_env = true)]
    url: String,
    /// Who you are, for servers that want to know
    #[arg(long, value_name = "TOKEN", env = "LONGWIRE_TOKEN", hide_env = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    token: Option<String>,
}

/// What `longwire subscribe` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct SubscribeArgs {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    #[command(flatten)]
    connection: Connection,
    /// Begin with the last so many publications
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    last: Option<u32>,
    /// Begin after this position; for one channel
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = position)]
    since: Option<Position>,
    /// Print whole publications, each as a line of JSON, instead of their data
    #[arg(long)]
    json: bool,
}

/// What `longwire publish` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct PublishArgs {
    /// The channel
    channel: String,
    /// What to publish; without it, each line of the standard input is published
    data: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// A key of the server API. Without it, the first of LONGWIRE_API_KEYS, or the one that a server of yours on this machine has made;
    /// without any, or with --token, you publish as a client does
    #[arg(long, value_name = "KEY", conflicts_with = "token")]
    api_key: Option<String>,
    /// The data is JSON, not text
    #[arg(long)]
    json: bool,
    /// What kind of publication it is
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// The key that it sets, in a channel with state
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Idempotency key: nothing is published if it was used in the channel a while ago
    #[arg(long, value_name = "KEY", requires = "data")]
    once: Option<String>,
}

/// Publishes the data, or line by line what comes in, each once the one before has arrived: with a key over the server API, and else
/// as any client.
///
/// # Errors
/// One line that says what was wrong: the server cannot be reached, or does not take it.
pub(crate) fn publish(args: &PublishArgs) -> Result<(), String> {
    let place = Place::of(&args.connection.url).ok().filter(|_| args.connection.token.is_none());
    match place.map(|place| Api::open(place, args.api_key.as_deref())).transpose()?.flatten() {
        Some(api) => publish_as_server(args, api),
        None if args.api_key.is_some() => Err(format!("{}: write it as ws://HOST:PORT", args.connection.url)),
        None => publish_as_client(args),
    }
}

fn publish_as_server(args: &PublishArgs, mut api: Api) -> Result<(), String> {
    if let Some(data) = &args.data {
        return api.publish(&body(args, data)?);
    }
    io::stdin().lock().lines().try_for_each(|line| {
        let line = line.map_err(|error| format!("cannot read the standard input: {error}"))?;
        api.publish(&body(args, &line)?)
    })
}

/// The body of a request that publishes.
fn body(args: &PublishArgs, data: &str) -> Result<String, String> {
    let data = match args.json {
        true => {
            serde_json::from_str::<&RawValue>(data).map_err(|error| format!("the data is no JSON: {error}"))?.get().to_owned()
        }
        false => serde_json::Value::from(data).to_string(),
    };
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let once = args.once.clone().unwrap_or_else(|| random.iter().map(|byte| format!("{byte:02x}")).collect());
    let mut body = format!(r#"{{"data":{data}"#);
    let members =
        [("channel", Some(&args.channel)), ("once", Some(&once)), ("event", args.event.as_ref()), ("key", args.key.as_ref())];
    for (name, value) in members {
        if let Some(value) = value {
            body += &format!(r#","{name}":{}"#, serde_json::Value::from(value.as_str()));
        }
    }
    Ok(body + "}")
}

fn publish_as_client(args: &PublishArgs) -> Result<(), String> {
    runtime()?.block_on(async {
        let client = connect(&args.connection)?;
        wait_until_connected(&client, &args.connection.url).await?;
        if let Some(data) = &args.data {
            say(&client, args, data).await?;
        } else {
            let mut lines = lines_of_input();
            while let Some(line) = lines.recv().await {
                say(&client, args, &line?).await?;
            }
        }
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, client.close()).await;
        Ok(())
    })
}

/// Prints what comes in the channels, through lost lines, until SIGINT or until nobody reads what is printed.
///
/// # Errors
/// One line that says what was wrong: the server refuses the session or the last of the subscriptions.
pub(crate) fn subscribe(args: &SubscribeArgs) -> Result<(), String> {
    if args.since.is_some() && args.channels.len() > 1 {
        return Err("--since is for one channel".into());
    }
    let runtime = runtime()?;
    let (sender, events) = mpsc::channel(QUEUED_EVENTS);
    let given = args.clone();
    // The line is looked after while standard output makes us wait.
    let client = std::thread::spawn(move || runtime.block_on(receive(&given, &sender)));
    let printed = print(events, args.json, &mut io::stdout().lock());
    match printed {
        Ok(()) => client.join().map_err(|_| "the client has panicked".to_owned())?,
        // Nobody reads it any more: nothing is wrong.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("cannot write to standard output: {error}")),
    }
}

async fn say(client: &Client, args: &PublishArgs, data: &str) -> Result<(), String> {
    let data = if args.json { Data::Json(data.to_owned().into()) } else { Data::from(data) };
    let publish = Publish {
        event: args.event.as_deref().map(Into::into),
        key: args.key.as_deref().map(Into::into),
        once: args.once.as_deref().map(Into::into),
        ..Publish::new(args.channel.as_str(), data)
    };
    client.publish_with(publish).await.map(drop).map_err(|error| error.to_string())
}

/// Standard input, line by line. Reading it cannot be waited for, so that it has a thread of its own.
fn lines_of_input() -> Receiver<Result<String, String>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| format!("cannot read the standard input: {error}"));
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The client's side of `subscribe`.
async fn receive(args: &SubscribeArgs, events: &Sender<(Arc<str>, Event)>) -> Result<(), String> {
    let client = connect(&args.connection)?;
    let (ends, mut ended) = mpsc::channel(1);
    for channel in &args.channels {
        let options = SubscribeOptions { since: args.since, last: args.last, ..SubscribeOptions::default() };
        let subscription = client.subscribe_with(channel, options).map_err(|error| format!("{channel}: {error}"))?;
        tokio::spawn(forward(subscription, events.clone(), ends.clone()));
    }
    drop(ends);
    let result = tokio::select! {
        result = watch(&client, &args.connection.url) => result,
        result = all_ended(&mut ended, args.channels.len()) => result,
        _ = tokio::signal::ctrl_c() => {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, client.close()).await;
            // Standard output may be stuck for ever; each line was flushed.
            std::process::exit(0);
        }
        () = events.closed() => Ok(()),
    };
    // A moment for the close frame.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, client.close()).await;
    result
}

/// Hands on what comes in one channel; says at last why it has ended, if the server says so.
async fn forward(mut subscription: Subscription, events: Sender<(Arc<str>, Event)>, ends: Sender<String>) {
    let channel: Arc<str> = subscription.channel().into();
    while let Some(event) = subscription.next().await {
        if let Event::Ended(why) = &event {
            let _ = ends.send(format!("{channel}: {why}")).await;
        }
        if events.send((channel.clone(), event)).await.is_err() {
            return;
        }
    }
}

/// Says why each subscription has ended; of the last, it is the error.
async fn all_ended(ended: &mut Receiver<String>, mut left: usize) -> Result<(), String> {
    while let Some(why) = ended.recv().await {
        left -= 1;
        if left == 0 {
            return Err(why);
        }
        notice(&why);
    }
    // The client has stopped, and the one who watches it says why.
    std::future::pending().await
}

/// Says how the line is; returns when there will be none.
async fn watch(client: &Client, url: &str) -> Result<(), String> {
    let mut states = client.connection_states();
    let mut was_lost = false;
    while let Some(state) = states.next().await {
        match state {
            State::Connected { .. } if was_lost => {
                was_lost = false;
                notice("connected again");
            }
            State::Waiting { lost, wait } => {
                was_lost = true;
                let why = reason(client, &lost);
                notice(&format!("{url}: {why}; trying again in {:.1} s", wait.as_secs_f64()));
            }
            State::Stopped(why) => return Err(why.to_string()),
            _ => {}
        }
    }
    Ok(())
}

/// The first line must come about.
async fn wait_until_connected(client: &Client, url: &str) -> Result<(), String> {
    let mut states = client.connection_states();
    while let Some(state) = states.next().await {
        match state {
            State::Connected { .. } => return Ok(()),
            State::Waiting { lost, .. } => return Err(format!("{url}: {}", reason(client, &lost))),
            State::Stopped(why) => return Err(why.to_string()),
            _ => {}
        }
    }
    Err(Stopped::ByUser.to_string())
}

fn reason(client: &Client, lost: &Lost) -> String {
    client.trouble().unwrap_or_else(|| lost.to_string())
}

fn connect(connection: &Connection) -> Result<Client, String> {
    let builder = Client::builder(&connection.url);
    let builder = match &connection.token {
        Some(token) => builder.token(token),
        None => builder,
    };
    builder.connect().map_err(|error| error.to_string())
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("cannot start: {error}"))
}

fn notice(text: &str) {
    output::complain(text);
}

/// `EPOCH:OFFSET`, as in `0000000a:17`.
fn position(text: &str) -> Result<Position, String> {
    let parsed = text
        .split_once(':')
        .and_then(|(epoch, offset)| Some(Position { epoch: Epoch::parse(epoch)?, offset: offset.parse().ok()? }));
    parsed.ok_or_else(|| "write it as EPOCH:OFFSET, such as 0000000a:17".into())
}

/// Prints events as they come, each flushed at once.
fn print(mut events: Receiver<(Arc<str>, Event)>, json: bool, out: &mut impl Write) -> io::Result<()> {
    let mut printer = Printer::default();
    while let Some((channel, event)) = events.blocking_recv() {
        match &event {
            Event::Publication(publication) if json => {
                let mut line = Vec::new();
                Form::Json.push_publication(publication, &mut line);
                line.push(b'\n');
                out.write_all(&line)?;
            }
            Event::Append(piece) if json => {
                let mut line = Vec::new();
                Form::Json.push_piece(piece, &mut line);
                line.push(b'\n');
                out.write_all(&line)?;
            }
            Event::Publication(publication) => printer.publication(publication, out)?,
            Event::Append(piece) => printer.piece(piece, out)?,
            Event::Missed(why, now) => {
                let why = match why {
                    Unrecovered::Expired => "the history no longer reaches back",
                    Unrecovered::Epoch => "the server has lost the channel's past",
                    Unrecovered::Off => "the channel keeps no history",
                    Unrecovered::Ahead => "there never was such a position",
                };
                notice(&format!(
                    "{channel}: messages are missing: {why}; going on after {}:{}",
                    now.position.epoch, now.position.offset
                ));
            }
            Event::Gap(offset) => notice(&format!("{channel}: messages up to {offset} were left out: this reads too slowly")),
            _ => {}
        }
        out.flush()?;
    }
    printer.end_line(out)
}

/// Prints data. A stream is printed as it grows; whatever comes between begins a line of its own.
#[derive(Default)]
struct Printer {
    /// The stream whose text ends the last line.
    open: Option<StreamKey>,
    /// Streams that have not ended, and how much of each is printed.
    printed: BTreeMap<StreamKey, u64>,
}

/// Channel, and offset of the beginning.
type StreamKey = (Arc<str>, u64);

impl Printer {
    fn publication(&mut self, publication: &Publication, out: &mut impl Write) -> io::Result<()> {
        let Some(data) = &publication.data else { return Ok(()) };
        let text = text_of(data);
        if let Some(Stream { began, end, .. }) = publication.rare.as_ref().and_then(|rare| rare.stream.as_ref()) {
            return self.stream((publication.channel.clone(), *began), 0, &text, end.is_some(), out);
        }
        self.end_line(out)?;
        out.write_all(&text)?;
        out.write_all(b"\n")
    }

    fn piece(&mut self, piece: &Piece, out: &mut impl Write) -> io::Result<()> {
        let text = piece.data.as_deref().unwrap_or_default();
        self.stream((piece.channel.clone(), piece.stream), piece.at, text.as_bytes(), piece.end.is_some(), out)
    }

    /// Text of a stream, of which `at` bytes come before.
    fn stream(&mut self, key: StreamKey, at: u64, text: &[u8], ended: bool, out: &mut impl Write) -> io::Result<()> {
        if self.open.as_ref() != Some(&key) {
            self.end_line(out)?;
        }
        let printed = self.printed.remove(&key).unwrap_or(at);
        let known = usize::try_from(printed.saturating_sub(at)).unwrap_or(usize::MAX).min(text.len());
        out.write_all(&text[known..])?;
        if ended {
            self.open = None;
            return out.write_all(b"\n");
        }
        self.printed.insert(key.clone(), printed.max(at + text.len() as u64));
        self.open = Some(key);
        Ok(())
    }

    fn end_line(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.open.take().is_some() { out.write_all(b"\n") } else { Ok(()) }
    }
}

/// A JSON text is printed as the text that it is.
fn text_of(data: &Data) -> Vec<u8> {
    match data {
        Data::Json(json) => serde_json::from_slice::<String>(json).map_or_else(|_| json.to_vec(), String::into_bytes),
        Data::Text(bytes) | Data::Bytes(bytes) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(pieces: &[(u64, u64, &str, bool)]) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::default();
        for (stream, at, text, ended) in pieces {
            printer.stream(("ai".into(), *stream), *at, text.as_bytes(), *ended, &mut out).unwrap();
        }
        printer.end_line(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_stream_is_printed_as_it_grows() {
        assert_eq!(printed(&[(1, 0, "It ", false), (1, 3, "is ", false), (1, 6, "42", true)]), "It is 42\n");
    }

    #[test]
    fn what_is_printed_is_not_printed_again_after_a_resume() {
        assert_eq!(printed(&[(1, 0, "It ", false), (1, 0, "It is ", false), (1, 6, "42", true)]), "It is 42\n");
    }

    #[test]
    fn streams_side_by_side_have_lines_of_their_own() {
        assert_eq!(printed(&[(1, 0, "a", false), (2, 0, "b", false), (1, 1, "A", true)]), "a\nb\nA\n");
    }

    #[test]
    fn positions_are_read() {
        assert_eq!(position("0000000a:17"), Ok(Position { epoch: Epoch(10), offset: 17 }));
        for wrong in ["", "17", "0000000a:", "0000000A:1", "0000000a:x"] {
            assert!(position(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_is_printed_without_quotes() {
        assert_eq!(text_of(&Data::Json(r#""hi""#.into())), b"hi");
        assert_eq!(text_of(&Data::Json(r#"{"a":1}"#.into())), br#"{"a":1}"#);
    }
}
