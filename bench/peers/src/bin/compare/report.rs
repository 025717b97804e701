//! `RESULTS.md`, made from `results.json` alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::results::{Results, RowResults, median};
use crate::rows::{Measure, ROWS, Row};
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
Compression is off everywhere, and each server has one thread or one worker process.
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
    line(text, format_args!("`longwire bench {} 127.0.0.1:PORT {}`\n", row.load[0], row.load[1..].join(" ")));
    match row.measure {
        Measure::Cpu => cpu_table(row, results, text),
        Measure::Memory => memory_table(row, results, text),
        Measure::Survival => survival_table(results, text),
    }
    notes(row, results, text);
}

fn cpu_table(row: &Row, results: &RowResults, text: &mut String) {
    let operation = row.operation;
    line(
        text,
        format_args!(
            "| server | CPU µs per {operation} | lowest to highest | × {} | × uwebsockets | per second | p50 / p99 ms | server / client core |",
            row.floor.name()
        ),
    );
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for server in entrants(row, results) {
        let values = results.values(row, server);
        let median_of =
            |part: &dyn Fn(&crate::load::LoadResult) -> Option<f64>| median(results.results(server).filter_map(part).collect());
        let latency = |name: &str| number(median_of(&|result| Some(result.latency_us.as_ref()?.get(name)? / 1000.0)), 2);
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} / {} | {} / {} % |",
                server.title(),
                number(median(values.clone()), 3),
                range(&values),
                number(results.ratio(row, server, row.floor), 2),
                number(results.ratio(row, server, Server::UWebSockets), 2),
                thousands(median_of(&|result| Some(result.operations_per_second))),
                latency("p50"),
                latency("p99"),
                number(median_of(&|result| Some(result.server_cost.as_ref()?.cpu_percent)), 0),
                number(median_of(&|result| Some(result.client_cost.as_ref()?.cpu_percent)), 0),
            ),
        );
    }
}

fn memory_table(row: &Row, results: &RowResults, text: &mut String) {
    line(
        text,
        format_args!("| server | bytes per {} | × {} | × uwebsockets | MiB at the end |", row.operation, row.floor.name()),
    );
    text.push_str("|---|--:|--:|--:|--:|\n");
    for server in entrants(row, results) {
        let end = results.results(server).filter_map(|result| Some(result.idle.as_ref()?.private_to_bytes as f64));
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                server.title(),
                thousands(median(results.values(row, server))),
                number(results.ratio(row, server, row.floor), 1),
                number(results.ratio(row, server, Server::UWebSockets), 2),
                number(median(end.map(|bytes| bytes / 1_048_576.0).collect()), 1),
            ),
        );
    }
}

fn survival_table(results: &RowResults, text: &mut String) {
    text.push_str("| server | lines opened | lines pinged | pings answered | closed by the server | deliveries | CPU of its core | peak MiB |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for server in Server::ALL {
        for result in results.results(server) {
            let lines = &result.lines;
            let cost = result.server_cost.as_ref();
            let peak = cost.and_then(|cost| cost.private_peak_bytes).map(|bytes| bytes as f64 / 1_048_576.0);
            line(
                text,
                format_args!(
                    "| {} | {} | {} | {} | {} | {} | {} % | {} |",
                    server.title(),
                    lines.opened,
                    lines.lines_pinged,
                    lines.pings_answered,
                    lines.closed_by_server,
                    thousands(Some(result.operations as f64)),
                    number(cost.map(|cost| cost.cpu_percent), 0),
                    number(peak, 1),
                ),
            );
        }
    }
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
    // Memory and survival do not depend on the machine's pace.
    if disturbed > 0 && row.measure == Measure::Cpu {
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

fn entrants(row: &Row, results: &RowResults) -> impl Iterator<Item = Server> {
    Server::ALL.into_iter().filter(|&server| !results.values(row, server).is_empty())
}

fn range(values: &[f64]) -> String {
    let lowest = values.iter().copied().reduce(f64::min);
    let highest = values.iter().copied().reduce(f64::max);
    format!("{} to {}", number(lowest, 3), number(highest, 3))
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
