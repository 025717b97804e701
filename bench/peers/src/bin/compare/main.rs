//! `cargo xtask bench`: Longwire, its peers and the floor under the same loads, one after another on one core, in one run.

mod load;
mod machine;
mod report;
mod results;
mod rows;
mod servers;
mod verdict;
mod workshop;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use clap::Parser;
use results::{Measurement, Outcome, Results, RowResults, value};
use rows::{Measure, ROWS, Row};
use servers::{Running, Server};
use workshop::{Workshop, first_line};

type Failure = Box<dyn Error>;

/// After a server has ended the kernel is still taking its lines down.
const REST: Duration = Duration::from_millis(500);
/// Then, for so long, whether anybody else is at work on the machine.
const LISTEN: Duration = Duration::from_millis(500);

/// Runs Longwire, its peers and a bare floor through the same loads, one after another on one core, and writes the comparison.
///
/// Peers are installed on first use, into .cache/bench (some as Debian packages).
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// One short repetition of each row. Like every partial run it leaves bench/RESULTS.md alone and writes to .cache/bench.
    #[arg(long)]
    quick: bool,
    /// Only these rows; a whole row replaces its earlier measurement in bench/RESULTS.md.
    #[arg(long, value_name = "ROW", value_delimiter = ',', value_parser = parse_row)]
    only: Vec<&'static Row>,
    /// Only these servers (a partial run).
    #[arg(long, value_name = "SERVER", value_delimiter = ',', value_parser = parse_server)]
    servers: Vec<Server>,
    /// How often each server takes its turn in each row.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Use our own programs as they were built last.
    #[arg(long)]
    no_build: bool,
    /// Name the rows and the servers, and do nothing else.
    #[arg(long)]
    list: bool,
    /// Write RESULTS.md anew from results.json, without measuring.
    #[arg(long)]
    report: bool,
}

fn parse_row(name: &str) -> Result<&'static Row, String> {
    let known = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    Row::named(name).ok_or_else(|| format!("the rows are: {}", known()))
}

fn parse_server(name: &str) -> Result<Server, String> {
    let known = || Server::ALL.map(Server::name).join(", ");
    Server::named(name).ok_or_else(|| format!("the servers are: {}", known()))
}

impl Options {
    /// Not fit to stand in the published results.
    fn is_partial(&self) -> bool {
        self.quick || !self.servers.is_empty()
    }

    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(|row| self.only.is_empty() || self.only.iter().any(|only| only.name == row.name))
    }

    fn wants(&self, server: Server) -> bool {
        self.servers.is_empty() || self.servers.contains(&server)
    }

    fn repetitions(&self, row: &Row) -> usize {
        if self.quick || row.once() { 1 } else { self.repetitions }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    if options.list {
        list();
        return Ok(());
    }
    let workshop = Workshop::find(!options.no_build)?;
    let folder: PathBuf = if options.is_partial() { workshop.cache() } else { workshop.root().join("bench") };
    let mut results = Results::read(&folder.join("results.json"))?;
    if !options.report {
        if available_parallelism()?.get() < 2 {
            return Err("two cores are needed: one for the server, one for the load generator".into());
        }
        machine::raise_descriptor_limit()?;
        let (servers, absent) = prepare(options, &workshop)?;
        for row in options.rows() {
            results.replace(measure_row(row, options, &servers, &absent, &workshop)?);
            // After each row, so that a run that is broken off keeps what it has.
            results.write(&folder.join("results.json"))?;
            fs::write(folder.join("RESULTS.md"), report::markdown(&results))?;
        }
    }
    fs::write(folder.join("RESULTS.md"), report::markdown(&results))?;
    let shown = folder.strip_prefix(workshop.root()).unwrap_or(&folder).join("RESULTS.md");
    println!("\n{}", shown.display());
    for row in options.rows() {
        let Some(measured) = results.row(row.name) else { continue };
        for verdict in verdict::verdicts(row, measured) {
            let word = verdict.reached.map_or("      –", |reached| if reached { "reached" } else { "MISSED " });
            println!("{word}  {:<17} {}: {}", row.name, verdict.demand, verdict.measured);
        }
    }
    failures(options, &results)
}

/// A peer that cannot be had is left out. A server of our own that could not be measured is an error.
fn failures(options: &Options, results: &Results) -> Result<(), Failure> {
    let ours = || Server::ALL.into_iter().filter(|server| server.is_longwire());
    let rows = options.rows().filter_map(|row| Some((row, results.row(row.name)?)));
    let failed = rows.flat_map(|(row, measured)| {
        ours().flat_map(move |server| {
            measured.failures(server).map(move |why| format!("{} of {}: {why}", row.name, server.name()))
        })
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured:\n  {}", failed.join("\n  ")).into()) }
}

fn list() {
    for row in ROWS {
        println!("{:<17} {}", row.name, row.title);
    }
    println!();
    for server in Server::ALL {
        println!("{:<17} {}", server.name(), server.title());
    }
}

/// Builds and installs. A peer that cannot be had is left out and named; without our own programs there is nothing to compare.
fn prepare(options: &Options, workshop: &Workshop) -> Result<(Vec<Server>, BTreeMap<String, String>), Failure> {
    let mut ready = vec![];
    let mut absent = BTreeMap::new();
    progress("building the load generator");
    workshop.build_load()?;
    let needed = |server: &Server| options.wants(*server) && options.rows().any(|row| row.admits(*server));
    for server in Server::ALL.into_iter().filter(needed) {
        progress(&format!("preparing {}", server.name()));
        match workshop.prepare(server) {
            Ok(()) => ready.push(server),
            Err(error) if server.is_peer() => {
                println!("{}: left out: {error}", server.name());
                absent.insert(server.name().to_owned(), error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((ready, absent))
}

fn measure_row(
    row: &Row,
    options: &Options,
    servers: &[Server],
    absent: &BTreeMap<String, String>,
    workshop: &Workshop,
) -> Result<RowResults, Failure> {
    println!("\n{}: {}", row.name, row.title);
    let entrants: Vec<Server> = servers.iter().copied().filter(|server| row.admits(*server)).collect();
    let repetitions = options.repetitions(row);
    let mut measurements = vec![];
    for repetition in 1..=repetitions {
        // The floors, or what the row is held against, once more at the end: what drifts during the repetition is then in their mean.
        let is_reference = |server: &Server| matches!(server, Server::Floor | Server::PlainFloor) || *server == row.floor;
        let again = entrants.iter().filter(|server| entrants.len() > 1 && !row.once() && is_reference(server));
        for &server in entrants.iter().chain(again) {
            progress(&format!("{repetition}/{repetitions} {}", server.name()));
            let measurement = measure(server, repetition, &row.arguments(server, options.quick), workshop)?;
            println!("  {repetition}/{repetitions} {:<17} {}", server.name(), summary(row, &measurement));
            measurements.push(measurement);
        }
    }
    let mut versions = BTreeMap::new();
    for &server in &entrants {
        versions.insert(server.name().to_owned(), workshop.version(server)?);
    }
    let mut absent = absent.clone();
    absent.retain(|name, _| Server::named(name).is_some_and(|server| row.admits(server)));
    let day = first_line(Command::new("date").arg("+%F"))?;
    Ok(RowResults { row: row.name.to_owned(), day, machine: machine::kind()?, versions, measurements, absent })
}

fn measure(server: Server, repetition: usize, arguments: &[String], workshop: &Workshop) -> Result<Measurement, Failure> {
    sleep(REST);
    let others_percent = machine::busy_percent(LISTEN)?;
    let result = Running::start(server, workshop).and_then(|running| load::measure(&running, arguments, workshop));
    let outcome = match result {
        Ok(result) => Outcome::Result(Box::new(result)),
        Err(error) => Outcome::Failure(error.to_string()),
    };
    Ok(Measurement { server: server.name().to_owned(), repetition, others_percent, outcome })
}

/// One measurement in one line.
fn summary(row: &Row, measurement: &Measurement) -> String {
    let result = match &measurement.outcome {
        Outcome::Failure(why) => return format!("not measured: {why}"),
        Outcome::Result(result) => result,
    };
    let unit = row.measure.unit();
    let mut text = match value(row, result) {
        Some(value) if matches!(row.measure, Measure::Storm | Measure::Rate) => format!("{value:9.2} {unit}"),
        Some(value) => format!("{value:9.3} {unit} per {}", row.operation),
        None => "nothing was done".to_owned(),
    };
    if let (Some(server), Some(client), true) = (&result.server_cost, &result.client_cost, row.measure != Measure::Memory) {
        text += &format!("  (server {:.0} %, client {:.0} %)", server.cpu_percent, client.cpu_percent);
    }
    for complaint in result.complaints() {
        text += &format!(", {complaint}");
    }
    if measurement.is_disturbed() && row.is_disturbed_by_others() {
        text += &format!("  (other programs: {:.0} % of the machine)", measurement.others_percent);
    }
    text
}

/// A passing word on a terminal, overwritten by the next line.
fn progress(what: &str) {
    if std::io::stdout().is_terminal() {
        print!("  {what} ...\x1b[K\r");
        // Only for show.
        std::io::stdout().flush().ok();
    }
}
