//! `cargo xtask fuzz TARGET SECONDS`: libFuzzer, by cargo-fuzz, on the targets in `fuzz/`.

use std::path::PathBuf;
use std::process::Command;

use crate::paths::{self, cargo};
use crate::setup;

const CARGO_FUZZ: &str = "0.13.2";

/// An input that takes longer counts as a finding, in seconds.
const INPUT_LIMIT_S: u32 = 10;
/// So does one that makes the process larger than this, in MiB.
const MEMORY_LIMIT_MIB: u32 = 2048;

struct Request {
    target: String,
    seconds: u32,
    sanitizer: String,
    libfuzzer: Vec<String>,
}

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let request = parse(args)?;
    install()?;
    let known = targets()?;
    let Some(request) = request else {
        println!("targets: {}", known.join(" "));
        return Ok(());
    };
    let chosen = if request.target == "all" { known.clone() } else { vec![request.target.clone()] };
    for target in chosen {
        if !known.contains(&target) {
            return Err(format!("there is no fuzz target '{target}', only: {}", known.join(" ")));
        }
        fuzz(&target, &request)?;
    }
    Ok(())
}

/// No request, but no error, for an empty command line.
fn parse(args: &[String]) -> Result<Option<Request>, String> {
    let at = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (ours, libfuzzer) = args.split_at(at);
    let (target, seconds, options) = match ours {
        [] => return Ok(None),
        [target, seconds, options @ ..] => (target, seconds, options),
        [_] => return Err("how many seconds? `cargo xtask fuzz TARGET SECONDS`".to_owned()),
    };
    let sanitizer = match options {
        [] => "address",
        [name, value] if name == "--sanitizer" && matches!(value.as_str(), "address" | "none") => value,
        _ => return Err(format!("not understood: {}; see `cargo xtask help`", options.join(" "))),
    };
    Ok(Some(Request {
        target: target.clone(),
        seconds: seconds.parse().ok().filter(|&n| n > 0).ok_or_else(|| format!("'{seconds}' is not a number of seconds"))?,
        sanitizer: sanitizer.to_owned(),
        libfuzzer: libfuzzer.get(1..).unwrap_or_default().to_vec(),
    }))
}

fn tools() -> PathBuf {
    paths::cache().join("cargo-tools")
}

fn cargo_fuzz() -> Command {
    let mut command = Command::new(tools().join("bin/cargo-fuzz"));
    // The sanitizer's flag is an unstable one of a stable compiler, which has its runtime all the same.
    command.current_dir(paths::root()).env("RUSTC_BOOTSTRAP", "1");
    command
}

fn install() -> Result<(), String> {
    if setup::version_of(tools().join("bin/cargo-fuzz")).is_some_and(|version| version == CARGO_FUZZ) {
        return Ok(());
    }
    println!("installing cargo-fuzz {CARGO_FUZZ} in .cache/cargo-tools");
    let words = ["install", "cargo-fuzz", "--locked", "--force", "--version", CARGO_FUZZ, "--root"];
    finish(cargo(&words).arg(tools()))
}

/// The targets that fuzz/Cargo.toml lists.
fn targets() -> Result<Vec<String>, String> {
    let output = cargo_fuzz().arg("list").output().map_err(|e| format!("cannot run cargo-fuzz: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo-fuzz finds no targets: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

fn fuzz(target: &str, request: &Request) -> Result<(), String> {
    let fuzz = paths::root().join("fuzz");
    let corpus = fuzz.join("corpus").join(target);
    let seeds = fuzz.join("seeds").join(target);
    std::fs::create_dir_all(&corpus).map_err(|e| format!("cannot make {}: {e}", corpus.display()))?;
    println!("fuzzing {target} for {} s", request.seconds);
    let mut command = cargo_fuzz();
    command.args(["run", "--sanitizer", &request.sanitizer, target]).arg(corpus);
    // What is new goes into the first folder, the corpus; the seeds are only read.
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={}", request.seconds))
        .arg(format!("-timeout={INPUT_LIMIT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"))
        .arg("-print_final_stats=1")
        .args(&request.libfuzzer);
    finish(&mut command)
}

fn finish(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(e) => Err(format!("cannot run {name}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Request>, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_sanitizer_and_words_for_libfuzzer_are_optional() {
        let request = parsed("frames 60").unwrap().unwrap();
        assert_eq!((request.target.as_str(), request.seconds, request.sanitizer.as_str()), ("frames", 60, "address"));
        let request = parsed("all 5 --sanitizer none -- -max_len=64 -jobs=2").unwrap().unwrap();
        assert_eq!((request.sanitizer.as_str(), request.libfuzzer.len()), ("none", 2));
        assert!(parsed("").unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for line in ["frames", "frames soon", "frames 0", "frames 5 --sanitizer thread", "frames 5 6"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
