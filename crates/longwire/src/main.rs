//! The `longwire` command.

// Whoever reads what is said may be gone, and these panic then: see `output`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod demo;
mod folder;
mod key;
mod namespaces;
mod options;
mod output;
mod pages;
mod serve;
mod terminal;
mod units;

use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let checked = options::check_environment(std::env::vars_os());
    let result = checked.and_then(|()| match matches.subcommand() {
        Some(("bench", matches)) => bench(matches),
        Some(("publish", matches)) => arguments(matches).and_then(|arguments| terminal::publish(&arguments)),
        Some(("key", matches)) => arguments(matches).and_then(|arguments| key::print(&arguments)),
        Some(("subscribe", matches)) => arguments(matches).and_then(|arguments| terminal::subscribe(&arguments)),
        Some((_, matches)) => options::read(matches).and_then(|options| serve::run(&options)),
        None => options::read(&matches).and_then(|options| serve::run(&options)),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    options::augment(Command::new("longwire"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keeps the line open between a product and everyone who uses it. Without a command, the server runs")
        // `longwire --listen localhost:9000` is `longwire serve --listen localhost:9000`.
        .args_conflicts_with_subcommands(true)
        .subcommand(options::augment(Command::new("serve")).about("Run the server, as without a command"))
        .subcommand(
            terminal::PublishArgs::augment_args(Command::new("publish"))
                .about("Publish into a channel: a text, or each line of the standard input"),
        )
        .subcommand(
            terminal::SubscribeArgs::augment_args(Command::new("subscribe"))
                .about("Print what comes in channels, through lost lines and restarts of the server"),
        )
        .subcommand(
            key::KeyArgs::augment_args(Command::new("key"))
                .about("Print the key of the server API that a server of yours on this machine has made for itself"),
        )
        .subcommand(
            longwire_bench::BenchArgs::augment_args(Command::new("bench"))
                .about("Measure a WebSocket server: echo, fan-out, rooms, channels, idle lines"),
        )
}

fn arguments<T: FromArgMatches>(matches: &clap::ArgMatches) -> Result<T, String> {
    T::from_arg_matches(matches).map_err(|error| error.to_string())
}

/// Runs the load generator; Ctrl-C ends it with the figures so far.
fn bench(matches: &clap::ArgMatches) -> Result<(), String> {
    let arguments: longwire_bench::BenchArgs = arguments(matches)?;
    let stop = longwire_bench::Stop::default();
    let on_ctrl_c = stop.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            on_ctrl_c.request();
        }
    });
    longwire_bench::run_until(arguments, &stop).map_err(|error| error.to_string())
}
