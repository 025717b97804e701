//! A table for each kind of measure.

use super::{line, number, thousands};
use crate::load::LoadResult;
use crate::results::{RowResults, median};
use crate::rows::{Measure, Row};
use crate::servers::Server;

/// Appends the table of a row.
pub(super) fn table(row: &Row, results: &RowResults, text: &mut String) {
    match row.measure {
        Measure::Cpu => cpu_table(row, results, text),
        Measure::Memory => memory_table(row, results, text),
        Measure::Survival => survival_table(results, text),
        Measure::Latency => latency_table(row, results, text),
        Measure::Storm => storm_table(row, results, text),
        Measure::Rate => rate_table(row, results, text),
    }
}

fn cpu_table(row: &Row, results: &RowResults, text: &mut String) {
    let operation = row.operation;
    line(
        text,
        format_args!(
            "| server | CPU µs per {operation} | lowest to highest | × {} | × {} | per second | p50 / p99 ms | server / client core |",
            row.floor.name(),
            row.rival().name()
        ),
    );
    text.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for server in entrants(row, results) {
        let values = results.values(row, server);
        let median_of = |part: &dyn Fn(&LoadResult) -> Option<f64>| median(results.results(server).filter_map(part).collect());
        let latency = |name: &str| number(median_of(&|result| Some(result.latency_us.as_ref()?.get(name)? / 1000.0)), 2);
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} / {} | {} / {} % |",
                server.title(),
                number(median(values.clone()), 3),
                range(&values),
                number(results.ratio(row, server, row.floor), 2),
                number(results.ratio(row, server, row.rival()), 2),
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
        format_args!(
            "| server | bytes per {} | × {} | × {} | MiB at the end |",
            row.operation,
            row.floor.name(),
            row.rival().name()
        ),
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
                number(results.ratio(row, server, row.rival()), 2),
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

fn latency_table(row: &Row, results: &RowResults, text: &mut String) {
    text.push_str("| µs | p50 | p90 | p99 | max |\n|---|--:|--:|--:|--:|\n");
    for (what, latency) in [("an echo", "echo"), ("publishing to acknowledgement", "ack"), ("publishing to delivery", "")] {
        line(text, format_args!("| {what} | {} |", quantiles(row, results, latency)));
    }
}

fn storm_table(row: &Row, results: &RowResults, text: &mut String) {
    text.push_str("| clients back | resumed | recovered | away s | caught up s | MiB before | at the peak | after | server / client core |\n");
    text.push_str("|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for result in results.results(row.subject()) {
        let Some(storm) = &result.storm else { continue };
        let mib = |bytes: u64| number(Some(bytes as f64 / 1_048_576.0), 1);
        line(
            text,
            format_args!(
                "| {} of {} | {} | {} | {:.2} | {:.2} | {} | {} | {} | {} / {} % |",
                storm.caught_up,
                storm.clients,
                storm.resumed,
                storm.recovered,
                storm.away_seconds,
                storm.caught_up_seconds,
                mib(storm.memory_before_bytes),
                mib(storm.memory_peak_bytes),
                mib(storm.memory_after_bytes),
                number(result.server_cost.as_ref().map(|cost| cost.cpu_percent), 0),
                number(result.client_cost.as_ref().map(|cost| cost.cpu_percent), 0),
            ),
        );
    }
    text.push_str("\nThe other publisher, in its own channel with one subscriber:\n\n| µs | p50 | p90 | p99 | max |\n|---|--:|--:|--:|--:|\n");
    for (what, latency) in [
        ("acknowledged, before", "ack_before"),
        ("acknowledged, in the storm", "ack_during"),
        ("delivered, before", "delivery_before"),
        ("delivered, in the storm", "delivery_during"),
    ] {
        line(text, format_args!("| {what} | {} |", quantiles(row, results, latency)));
    }
}

fn rate_table(row: &Row, results: &RowResults, text: &mut String) {
    text.push_str("| server | acknowledged per second | p50 / p99 ms | CPU µs per publication | the disk alone per second | its sync p50 / p99 ms |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|\n");
    for server in entrants(row, results) {
        let median_of = |part: &dyn Fn(&LoadResult) -> Option<f64>| median(results.results(server).filter_map(part).collect());
        let ms = |name: &str| number(median_of(&|result| Some(result.quantile("", name)? / 1000.0)), 2);
        let sync = |name: &str| number(median_of(&|result| Some(result.disk.as_ref()?.sync_us.get(name)? / 1000.0)), 2);
        line(
            text,
            format_args!(
                "| {} | {} | {} / {} | {} | {} | {} / {} |",
                server.title(),
                thousands(median(results.values(row, server))),
                ms("p50"),
                ms("p99"),
                number(median_of(&|result| result.server_cost.as_ref()?.cpu_us_per_operation), 2),
                thousands(median_of(&|result| Some(result.disk.as_ref()?.records_per_second))),
                sync("p50"),
                sync("p99"),
            ),
        );
    }
    let batch = results.results(row.subject()).find_map(|result| Some(result.disk.as_ref()?.batch));
    let batch = thousands(batch.map(|batch| batch as f64));
    line(
        text,
        format_args!(
            "\nThe disk alone: {batch} records, as many as are on their way at most, appended with one write and one fdatasync, again and again."
        ),
    );
}

/// Four quantiles of a latency, each the median over the repetitions.
fn quantiles(row: &Row, results: &RowResults, latency: &str) -> String {
    let of = |name: &str| {
        let values = results.results(row.subject()).filter_map(|result| result.quantile(latency, name));
        number(median(values.collect()), 0)
    };
    ["p50", "p90", "p99", "max"].map(of).join(" | ")
}

fn entrants(row: &Row, results: &RowResults) -> impl Iterator<Item = Server> {
    Server::ALL.into_iter().filter(|&server| !results.values(row, server).is_empty())
}

fn range(values: &[f64]) -> String {
    let lowest = values.iter().copied().reduce(f64::min);
    let highest = values.iter().copied().reduce(f64::max);
    format!("{} to {}", number(lowest, 3), number(highest, 3))
}
