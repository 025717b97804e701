//! `cargo xtask bench`: builds the comparison program as for production and hands it the rest of the command line.
//!
//! The program itself is `bench/peers/src/bin/compare`; it needs crates, which xtask does without.

use std::process::{Command, ExitCode};

/// Runs the comparison with `args`, what stands behind `cargo xtask bench`. `--help` tells what it takes.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut compare = Command::new(cargo);
    compare
        .args(["run", "--quiet", "--profile", "dist", "--package", "longwire-bench-peers", "--bin", "compare", "--"])
        .args(args);
    match compare.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // The program, or cargo, has said why.
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
