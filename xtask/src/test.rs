//! `cargo xtask test`: runs the stages, one after the other, and sums up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::failures::{self, Failure};
use crate::job::Log;
use crate::paths;
use crate::stages::{self, Stage};

/// So much of a failed stage's log is shown; the file has all of it.
const SHOWN_LINES: usize = 300;

/// What the stages are asked to do.
pub(crate) struct Options {
    /// All conformance cases instead of a selection.
    pub(crate) full: bool,
    verbose: bool,
    only: Vec<String>,
}

impl Options {
    /// A program of ours that the stage `build` has built: `built("longwire")`, `built("examples/echo")`.
    pub(crate) fn built(&self, name: &str) -> Result<PathBuf, String> {
        paths::built(if self.full { "release" } else { "debug" }, name)
    }
}

/// What a stage came to.
struct Outcome {
    stage: &'static str,
    elapsed: Duration,
    /// What there is to say about it, or why it failed.
    result: Result<String, String>,
    /// Its tests that failed, for the summary: a long log is cut where it is kept.
    failures: Vec<Failure>,
    /// Not left to a full run.
    ran: bool,
}

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if args == ["--list"] {
        for stage in stages::ALL {
            println!("{:18} {}", stage.name, stage.about);
        }
        return Ok(());
    }
    let options = parse(args)?;
    let chosen = choose(&options)?;
    let start = Instant::now();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for stage in &chosen {
        println!("── {}/{} {}: {}", outcomes.len() + 1, chosen.len(), stage.name, stage.about);
        let outcome = perform(stage, &options, &outcomes);
        outcomes.push(outcome);
    }
    summarise(&outcomes, start.elapsed());
    // The summary's last line is for programs to read, so nothing follows it.
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) { Ok(()) } else { std::process::exit(1) }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options { full: false, verbose: false, only: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--full" => options.full = true,
            "--verbose" => options.verbose = true,
            "--only" => options.only.push(args.next().ok_or("--only wants the name of a stage")?.clone()),
            other => return Err(format!("`cargo xtask test` does not know '{other}'; see `cargo xtask help`")),
        }
    }
    Ok(options)
}

/// The stages asked for, and those that they need.
fn choose(options: &Options) -> Result<Vec<&'static Stage>, String> {
    if let Some(unknown) = options.only.iter().find(|name| stages::ALL.iter().all(|stage| stage.name != **name)) {
        return Err(format!("there is no stage '{unknown}'; `cargo xtask test --list` lists them"));
    }
    let asked = |stage: &Stage| options.only.is_empty() || options.only.iter().any(|name| name == stage.name);
    let needed = |name: &str| stages::ALL.iter().any(|stage| asked(stage) && stage.needs.contains(&name));
    Ok(stages::ALL.iter().filter(|stage| asked(stage) || needed(stage.name)).collect())
}

fn perform(stage: &Stage, options: &Options, before: &[Outcome]) -> Outcome {
    let start = Instant::now();
    if let Some(otherwise) = stage.else_run.filter(|_| !options.full) {
        let words = format!("not run without --full: {otherwise}");
        println!("   {words}");
        return Outcome { stage: stage.name, elapsed: start.elapsed(), result: Ok(words), failures: Vec::new(), ran: false };
    }
    let lacking = before.iter().find(|outcome| outcome.result.is_err() && stage.needs.contains(&outcome.stage));
    let (result, failures) = match lacking {
        Some(outcome) => (Err(format!("not run: it needs {}, which failed", outcome.stage)), Vec::new()),
        None => run_stage(stage, options),
    };
    let elapsed = start.elapsed();
    match &result {
        Ok(remark) => println!("   passed in {} {remark}", seconds(elapsed)),
        Err(why) => println!("   FAILED after {}: {why}", seconds(elapsed)),
    }
    Outcome { stage: stage.name, elapsed, result, failures, ran: lacking.is_none() }
}

fn run_stage(stage: &Stage, options: &Options) -> (Result<String, String>, Vec<Failure>) {
    let log = match Log::create(stage.name, options.verbose) {
        Ok(log) => log,
        Err(why) => return (Err(why), Vec::new()),
    };
    let result = (stage.run)(&log, options).and_then(|()| remark(stage, &log));
    if result.is_ok() {
        return (result, Vec::new());
    }
    if !options.verbose {
        show_end(&log);
    }
    (result, failures::of(&log.text()))
}

/// How many tests a stage of tests ran: none is a failure, or a moved folder would look like success.
fn remark(stage: &Stage, log: &Log) -> Result<String, String> {
    if !stage.counts_tests {
        return Ok(String::new());
    }
    match Counts::of(&log.text()) {
        Counts { passed: 0, .. } => Err("it ran no test".to_owned()),
        Counts { passed, skipped: 0 } => Ok(format!("({passed} tests)")),
        Counts { passed, skipped } => Ok(format!("({passed} tests, {skipped} SKIPPED)")),
    }
}

fn show_end(log: &Log) {
    let text = log.text();
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines.len().saturating_sub(SHOWN_LINES);
    if cut > 0 {
        println!("   … {cut} lines before these are in {}", log.path().display());
    }
    for line in &lines[cut..] {
        println!("   │ {line}");
    }
}

fn summarise(outcomes: &[Outcome], total: Duration) {
    println!("── summary, {} in all", seconds(total));
    for outcome in outcomes {
        let (verdict, words) = match &outcome.result {
            Ok(remark) if outcome.ran => ("passed", remark),
            Ok(remark) => ("  –   ", remark),
            Err(why) => ("FAILED", why),
        };
        let took = if outcome.ran { seconds(outcome.elapsed) } else { "–".to_owned() };
        println!("   {verdict} {:18} {took:>8}  {words}", outcome.stage);
    }
    for outcome in outcomes {
        for failure in &outcome.failures {
            println!("   {} failed: {}", outcome.stage, failure.test);
            failure.said.iter().for_each(|line| println!("   │ {line}"));
        }
    }
    let count = |which: fn(&&Outcome) -> bool| outcomes.iter().filter(which).count();
    let (failed, left) = (count(|outcome| outcome.result.is_err()), count(|outcome| outcome.result.is_ok() && !outcome.ran));
    let left_words = if left > 0 { format!(", {left} only with --full") } else { String::new() };
    println!("{} passed, {failed} failed{left_words}", outcomes.len() - failed - left);
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(choose(&parse(&words)?)?.iter().map(|stage| stage.name).collect())
    }

    #[test]
    fn all_stages_run_unless_some_are_named() {
        assert_eq!(chosen(&["--full"]).unwrap().len(), stages::ALL.len());
        assert_eq!(chosen(&["--only", "tidy", "--only", "fmt"]).unwrap(), ["fmt", "tidy"]);
    }

    #[test]
    fn a_stage_brings_those_it_needs_along() {
        assert_eq!(chosen(&["--only", "browser"]).unwrap(), ["setup", "build", "browser"]);
    }

    #[test]
    fn a_wrong_word_is_an_error() {
        for words in [&["--only", "nothing"][..], &["--only"], &["--fast"]] {
            assert!(chosen(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_stage_for_full_runs_says_that_it_did_not_run() {
        let sim = stages::ALL.iter().find(|stage| stage.name == "sim").unwrap();
        let outcome = perform(sim, &Options { full: false, verbose: false, only: Vec::new() }, &[]);
        assert!(!outcome.ran && outcome.result.is_ok_and(|words| words.contains("--full")));
    }

    #[test]
    fn needs_name_earlier_stages() {
        for (at, stage) in stages::ALL.iter().enumerate() {
            for need in stage.needs {
                assert!(stages::ALL[..at].iter().any(|earlier| earlier.name == *need), "{} needs {need}", stage.name);
            }
        }
    }

    #[test]
    fn a_stage_does_not_run_after_what_it_needs_has_failed() {
        let setup = Outcome {
            stage: "setup",
            elapsed: Duration::ZERO,
            result: Err("no network".to_owned()),
            failures: Vec::new(),
            ran: true,
        };
        let browser = stages::ALL.iter().find(|stage| stage.name == "browser").unwrap();
        let options = Options { full: false, verbose: false, only: Vec::new() };
        let outcome = perform(browser, &options, &[setup]);
        assert_eq!(outcome.result, Err("not run: it needs setup, which failed".to_owned()));
    }
}
