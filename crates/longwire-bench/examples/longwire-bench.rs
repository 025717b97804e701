//! The load generator as a program of its own: `cargo run --release --example longwire-bench -- echo 127.0.0.1:8000`.

use std::process::ExitCode;

use clap::Parser;
use longwire_bench::{BenchArgs, Stop};

/// Load generator for WebSocket servers
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = Stop::default();
    let on_ctrl_c = stop.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            on_ctrl_c.request();
        }
    });
    match longwire_bench::run_until(cli.bench, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longwire-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
