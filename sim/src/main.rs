//! `longwire-sim --seeds N --steps M` runs many seeds; `--seed S --trace` shows one.

use std::process::ExitCode;

use longwire_sim::Report;

const USAGE: &str = "usage: longwire-sim [--seeds N] [--first F] [--steps M] | --seed S [--steps M] [--trace]";

struct Arguments {
    first: u64,
    seeds: u64,
    steps: u64,
    trace: bool,
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments { first: 1, seeds: 100, steps: 3000, trace: false };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next()?.parse().ok();
        match name.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--first" => arguments.first = number()?,
            "--steps" => arguments.steps = number()?,
            "--seed" => (arguments.first, arguments.seeds) = (number()?, 1),
            "--trace" => arguments.trace = true,
            _ => return None,
        }
    }
    Some(arguments)
}

fn main() -> ExitCode {
    let Some(Arguments { first, seeds, steps, trace }) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut all = Report::default();
    for seed in first..first + seeds {
        let told: Option<Box<dyn FnMut(String)>> =
            trace.then(|| -> Box<dyn FnMut(String)> { Box::new(|line| println!("{line}")) });
        match longwire_sim::run(seed, steps, told) {
            Ok(report) => {
                all.steps += report.steps;
                all.messages += report.messages;
                all.cuts += report.cuts;
                all.restarts += report.restarts;
                all.slow += report.slow;
                all.outbox = all.outbox.max(report.outbox);
            }
            Err(broken) => {
                eprintln!("{broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    let Report { steps, messages, cuts, restarts, slow, outbox } = all;
    println!("{seeds} seeds, {steps} steps: {messages} messages, {cuts} cuts, {restarts} restarts, {slow} slow readers closed");
    println!("at most {outbox} bytes waited for a line; every invariant held");
    ExitCode::SUCCESS
}
