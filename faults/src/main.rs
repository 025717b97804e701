//! The fault test, from the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use longwire_faults::{Kind, Outcome, Plan, Progress, Tally, run};

/// Kills the server and cuts lines for as long as it takes, and counts what is lost.
///
/// The defaults are the full test: 1,000 clients, and over a million deliveries across 10,000 cut lines and 50 kills.
#[derive(Parser)]
struct Args {
    /// The longwire program
    #[arg(long, default_value = "target/release/longwire")]
    program: PathBuf,
    /// Subscribers in Rust, over WebSockets
    #[arg(long, default_value_t = 600)]
    rust: usize,
    /// Subscribers in Rust, over HTTP streams
    #[arg(long, default_value_t = 40)]
    rust_stream: usize,
    /// Subscribers in Rust, over long polls
    #[arg(long, default_value_t = 40)]
    rust_poll: usize,
    /// Subscribers in Node, over WebSockets; these and all below need `cargo xtask setup`
    #[arg(long, default_value_t = 50)]
    node: usize,
    /// Subscribers in Node, over HTTP streams
    #[arg(long, default_value_t = 50)]
    stream: usize,
    /// Subscribers in Node, over long polls
    #[arg(long, default_value_t = 50)]
    poll: usize,
    /// Subscribers in Node with `fetch` alone, which ask what has happened since
    #[arg(long, default_value_t = 50)]
    polls: usize,
    /// Event streams, of npm's `eventsource`
    #[arg(long, default_value_t = 50)]
    events: usize,
    /// Stock Socket.IO clients: of three one polls, one has a WebSocket, and one upgrades
    #[arg(long, default_value_t = 50)]
    socketio: usize,
    /// Subscribers in Chromium, in one page, over WebSockets
    #[arg(long, default_value_t = 20)]
    chromium: usize,
    /// Channels, each with a publisher, and every second one with keys
    #[arg(long, default_value_t = 12, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    channels: usize,
    /// How many of them each subscriber follows, at most
    #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    follows: usize,
    /// How often each subscriber begins anew in a channel, and gets everything from the first on
    #[arg(long, default_value_t = 2)]
    renewals: usize,
    /// Publications in all channels
    #[arg(long, default_value_t = 4_200)]
    publications: u64,
    /// Milliseconds between two publications of a publisher
    #[arg(long, default_value_t = 400)]
    pause: u64,
    /// How often the server is killed
    #[arg(long, default_value_t = 55)]
    kills: u32,
    /// How many lines are cut
    #[arg(long, default_value_t = 11_000)]
    cuts: u64,
    /// What the faults are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let clients = vec![
        (Kind::Rust, args.rust),
        (Kind::RustStream, args.rust_stream),
        (Kind::RustPoll, args.rust_poll),
        (Kind::Node, args.node),
        (Kind::Stream, args.stream),
        (Kind::Poll, args.poll),
        (Kind::Polls, args.polls),
        (Kind::Events, args.events),
        (Kind::SocketIo, args.socketio),
        (Kind::Chromium, args.chromium),
    ];
    let Args { program, channels, follows, renewals, publications, pause, kills, cuts, seed, .. } = args;
    let data = std::env::temp_dir().join(format!("longwire-faults-{}", std::process::id()));
    let plan = Plan {
        program,
        data: data.clone(),
        clients,
        channels,
        follows: follows.min(channels),
        renewals,
        publications,
        pause: Duration::from_millis(pause),
        kills,
        cuts,
        seed,
        patience: Duration::from_secs(120),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let outcome = runtime.block_on(run(&plan, |Progress { published, delivered, cuts, kills }| {
        eprint!("\r{published} published, {delivered} delivered, {cuts} lines cut, {kills} kills   ");
    }));
    eprintln!();
    let _ = std::fs::remove_dir_all(data);
    match outcome {
        Ok(outcome) => {
            tell(&outcome, seed);
            if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(&error),
    }
}

fn tell(outcome: &Outcome, seed: u64) {
    for tally in &outcome.tallies {
        let Tally { kind, clients, deliveries, recoveries, renewals, .. } = tally;
        let Tally { lost, repeated, out_of_order, told_missing, wrong_keys, .. } = tally;
        println!(
            "{kind}: {deliveries} deliveries to {clients} clients, which went on {recoveries} times and began anew {renewals} times: \
             {lost} lost, {repeated} repeated, {out_of_order} out of order, {told_missing} times told of a loss, {wrong_keys} times wrong keys"
        );
    }
    let Outcome { cut_lines, stalls, kills, took, peak, .. } = outcome;
    println!(
        "{} deliveries in all, {cut_lines} cut lines, {stalls} stalls, {kills} kills, seed {seed}, {} s, the server had at most {} MiB",
        outcome.deliveries(),
        took.as_secs(),
        peak >> 20
    );
    for complaint in &outcome.complaints {
        println!("{complaint}");
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("longwire-faults: {error}");
    ExitCode::FAILURE
}
