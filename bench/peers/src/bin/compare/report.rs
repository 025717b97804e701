//! `RESULTS.md`, made from `results.json` alone.

mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::results::{Results, RowResults};
use crate::rows::{ROWS, Row};
use crate::servers::Server;
use crate::verdict::verdicts;

const HEAD: &str = "\
# Benchmark results

Made by `cargo xtask bench`, which rewrites this file; `bench/results.json` has every single measurement.

One server at a time runs on one core, the load generator (`longwire bench`) on the other. Within a repetition the servers take
turns, the floors at its beginning and again at its end; several repetitions follow one another. CPU is what all threads of the
server's process took, kernel included, per operation; the table shows the median. A ratio is taken within each repetition, and
the median of those is shown, so that what drifts with the machine falls out. Only numbers of the same table are comparable,
and neighbours within a tenth of each other are not to be ranked: the floor itself moves that much.

The *floor* is a bare epoll loop that checks nothing: one read, the same bytes written, nothing else. It exists in two kinds:
*plain* writes each message to each subscriber by itself; the other joins what came in together and writes once to each.
Compression is off everywhere, and each server has one thread or one worker process, unless its name says otherwise.
";

/// The whole report.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = HEAD.to_owned();
    let measured: Vec<(&Row, &RowResults)> = ROWS.iter().filter_map(|row| Some((row, results.row(row.name)?))).collect();
    machine(&measured, &mut text);
    demands(&measured, &mut text);
    for (row, results) in &measured {
        table(row, results, &mut text);
    }
    versions(&measured, &mut text);
    text
}

fn machine(measured: &[(&Row, &RowResults)], text: &mut String) {
    // Rows measured together share a day and a machine.
    let mut runs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (row, results) in measured {
        runs.entry((&results.day, &results.machine)).or_default().push(row.name);
    }
    text.push('\n');
    for ((day, machine), rows) in runs {
        let what = if rows.len() == measured.len() { "All rows".to_owned() } else { rows.join(", ") };
        line(text, format_args!("* {what}: {day}, {machine}."));
    }
}

fn demands(measured: &[(&Row, &RowResults)], text: &mut String) {
    text.push_str("\n## What must be reached\n\n| row | Longwire must be | measured | |\n|---|---|---|---|\n");
    for (row, results) in measured {
        for verdict in verdicts(row, results) {
            let word = verdict.reached.map_or("–", |reached| if reached { "reached" } else { "**missed**" });
            line(text, format_args!("| {} | {} | {} | {word} |", row.name, verdict.demand, verdict.measured));
        }
    }
}

fn table(row: &Row, results: &RowResults, text: &mut String) {
    line(text, format_args!("\n## {}\n\n{}.\n", row.name, row.title));
    for load in [row.load, row.native] {
        if let Some((mode, options)) = load.split_first() {
            line(text, format_args!("`longwire bench {mode} 127.0.0.1:PORT {}`\n", options.join(" ")));
        }
    }
    tables::table(row, results, text);
    notes(row, results, text);
}

/// What went wrong, or why a server is missing.
fn notes(row: &Row, results: &RowResults, text: &mut String) {
    let mut notes = vec![];
    for server in Server::ALL {
        let complaints: Vec<String> = results.results(server).map(|result| result.complaints().join(", ")).collect();
        notes
            .extend(complaints.into_iter().filter(|note| !note.is_empty()).map(|note| format!("* {}: {note}.", server.name())));
        notes.extend(results.failures(server).map(|why| format!("* {}: not measured: {}", server.name(), one_line(why))));
    }
    notes.dedup();
    if !notes.is_empty() {
        line(text, format_args!("\n{}", notes.join("\n")));
    }
    let disturbed = results.measurements.iter().filter(|measurement| measurement.is_disturbed()).count();
    if disturbed > 0 && row.is_disturbed_by_others() {
        let all = results.measurements.len();
        line(
            text,
            format_args!(
                "\n**Other programs were at work before {disturbed} of these {all} measurements: not to be trusted.**"
            ),
        );
    }
    if let Some(repetitions) = results.measurements.iter().map(|measurement| measurement.repetition).max() {
        line(text, format_args!("\nRepetitions: {repetitions}."));
    }
}

fn versions(measured: &[(&Row, &RowResults)], text: &mut String) {
    text.push_str("\n## Versions\n\n| server | version |\n|---|---|\n");
    for server in Server::ALL {
        let mut versions: Vec<&String> =
            measured.iter().filter_map(|(_, results)| results.versions.get(server.name())).collect();
        versions.dedup();
        for version in versions {
            line(text, format_args!("| {} | {version} |", server.name()));
        }
    }
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.places$}"))
}

/// A whole number with a comma before every three digits.
fn thousands(value: Option<f64>) -> String {
    let digits = number(value, 0);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.chars().count() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(text, "{arguments}").ok();
}
