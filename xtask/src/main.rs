//! The workshop's commands: `cargo xtask test`, `bench`, `fuzz`, `sim`, `generate`, `setup`.
//!
//! It depends on no crate, so that it compiles in seconds on a fresh machine.

mod bench;
mod counts;
mod failures;
mod fuzz;
mod generate;
mod job;
mod paths;
mod server;
mod setup;
mod stages;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
The workshop's commands:

  cargo xtask test [--full] [--verbose] [--only STAGE]...
      Installs what is missing, then runs every check. --full runs all conformance
      cases instead of a selection, a million steps of the simulation, and the whole
      fault test. Stages: see `cargo xtask test --list`.

  cargo xtask bench [ARGS]
      Runs the benchmarks against the peers; `cargo xtask bench --help` tells more.

  cargo xtask fuzz TARGET|all SECONDS [--sanitizer address|none] [-- LIBFUZZER_ARGS]
      Fuzzes one target of fuzz/, or each in turn, for so many seconds.
      Without arguments it lists the targets.

  cargo xtask sim [--seeds N] [--first F] [--steps M] | --seed S [--steps M] [--trace]
      Runs the simulation; a failure prints the seed that replays it.

  cargo xtask generate
      Makes the tables of docs/protocol.md and the constants of clients/js from the one
      table of error and close codes.

  cargo xtask setup
      Only installs what the tests need: Debian packages, and npm and Python packages
      at pinned versions inside .cache/.

  cargo xtask help
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("test") => test::run(rest),
        Some("bench") => return bench::run(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("generate") => generate::run(rest),
        Some("sim") => sim(rest),
        Some("setup") => setup::run(rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("there is no command '{other}'; `cargo xtask help` lists them")),
        None => Err(format!("a command is missing\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn sim(args: &[String]) -> Result<(), String> {
    let mut cargo = paths::cargo(&["run", "--release", "--quiet", "-p", "longwire-sim", "--"]);
    match cargo.args(args).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the simulation has found something".to_owned()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}
