//! Whether Longwire has reached what a row asks of it.

use crate::load::{LoadResult, Storm};
use crate::results::{RowResults, median};
use crate::rows::{Bound, Row};
use crate::servers::Server;

/// One line of the table of what must be reached.
pub(crate) struct Verdict {
    pub(crate) demand: String,
    pub(crate) measured: String,
    /// `None` when it was not measured.
    pub(crate) reached: Option<bool>,
}

/// All demands of one row.
pub(crate) fn verdicts(row: &Row, results: &RowResults) -> Vec<Verdict> {
    row.bounds.iter().map(|bound| verdict(bound, row, results)).collect()
}

fn verdict(bound: &Bound, row: &Row, results: &RowResults) -> Verdict {
    match *bound {
        Bound::Times(factor, of) => {
            let demand = format!("at most {factor:.2} × {}", of.name());
            compare(demand, results.ratio(row, row.subject(), of), |ratio| ratio <= factor)
        }
        Bound::Below(of) => compare(format!("below {}", of.name()), results.ratio(row, row.subject(), of), |ratio| ratio < 1.0),
        Bound::AtMostEveryPeer => against_best_peer("at or below every peer", row, results, |ratio| ratio <= 1.0),
        Bound::BelowEveryPeer => against_best_peer("below every peer", row, results, |ratio| ratio < 1.0),
        Bound::Absolute(most) => {
            let unit = row.measure.unit();
            let measured = median(results.values(row, row.subject()));
            Verdict {
                demand: format!("at most {most:.0} {unit} per {}", row.operation),
                measured: measured.map_or_else(missing, |value| format!("{value:.0} {unit}")),
                reached: measured.map(|value| value <= most),
            }
        }
        Bound::NothingLost => nothing_lost(row, results),
        Bound::AllAlive(lines) => all_alive(lines, results),
        Bound::TimesEcho(factor) => {
            let ratios = results
                .results(row.subject())
                .filter_map(|result| Some(result.quantile("", "p50")? / result.quantile("echo", "p50")?));
            compare(format!("at most {factor:.2} × an echo in the median"), median(ratios.collect()), |ratio| ratio <= factor)
        }
        Bound::AllCaughtUp => all_caught_up(row, results),
        Bound::StormMemory(most) => storm_memory(most, row, results),
        Bound::StormDelay(factor) => storm_delay(factor, row, results),
        Bound::RateOrDisk(least) => rate_or_disk(least, row, results),
    }
}

/// Ratios are judged as they are printed, to two places: the measurement carries no more.
fn compare(demand: String, ratio: Option<f64>, holds: impl Fn(f64) -> bool) -> Verdict {
    let ratio = ratio.map(|ratio| (ratio * 100.0).round() / 100.0);
    Verdict { demand, measured: ratio.map_or_else(missing, |ratio| format!("{ratio:.2} ×")), reached: ratio.map(holds) }
}

fn against_best_peer(demand: &str, row: &Row, results: &RowResults, holds: impl Fn(f64) -> bool) -> Verdict {
    let peers = Server::ALL.into_iter().filter(|server| server.is_peer());
    let best = peers
        .filter_map(|peer| Some((results.ratio(row, row.subject(), peer)?, peer)))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let Some((ratio, peer)) = best else {
        return Verdict { demand: demand.to_owned(), measured: missing(), reached: None };
    };
    let mut verdict = compare(demand.to_owned(), Some(ratio), holds);
    verdict.measured = format!("{} {}", verdict.measured, peer.name());
    verdict
}

/// In every repetition.
fn nothing_lost(row: &Row, results: &RowResults) -> Verdict {
    let demand = "without a message lost, repeated or out of order".to_owned();
    let of = || results.results(row.subject());
    if of().next().is_none() {
        return Verdict { demand, measured: missing(), reached: None };
    }
    let faults: u64 = of().flat_map(|result| result.faults.values()).sum();
    let deliveries: u64 = of().map(|result| result.operations).sum();
    Verdict {
        demand,
        measured: format!("{faults} of {deliveries} lost or wrong"),
        reached: Some(of().all(|result| result.complaints().is_empty())),
    }
}

fn all_alive(wanted: u64, results: &RowResults) -> Verdict {
    let demand = format!("{wanted} lines, all of them pinged and alive, no message lost");
    let Some(result) = results.results(Server::Longwire).next() else {
        return Verdict { demand, measured: missing(), reached: None };
    };
    let lines = &result.lines;
    let faults: u64 = result.faults.values().sum();
    let all = lines.opened >= wanted && lines.lines_pinged >= wanted && lines.closed_by_server == 0;
    Verdict {
        demand,
        measured: format!(
            "{} opened, {} pinged, {} pings answered, {} closed by the server, {faults} messages lost or wrong",
            lines.opened, lines.lines_pinged, lines.pings_answered, lines.closed_by_server
        ),
        reached: Some(all && faults == 0 && result.outcome == "complete"),
    }
}

/// In every repetition.
fn all_caught_up(row: &Row, results: &RowResults) -> Verdict {
    let demand = "all clients back, each with exactly what it missed, in order".to_owned();
    let storms: Vec<(&LoadResult, &Storm)> = storms(row, results).collect();
    let Some((_, last)) = storms.last() else { return Verdict { demand, measured: missing(), reached: None } };
    let clean = |(result, storm): &(&LoadResult, &Storm)| {
        storm.caught_up == storm.clients && result.outcome == "complete" && result.faults.values().all(|&count| count == 0)
    };
    let seconds = median(storms.iter().map(|(_, storm)| storm.caught_up_seconds).collect()).unwrap_or_default();
    let measured = format!("{} of {} within {seconds:.2} s of the cut", last.caught_up, last.clients);
    Verdict { demand, measured, reached: Some(storms.iter().all(clean)) }
}

fn storm_memory(most: u64, row: &Row, results: &RowResults) -> Verdict {
    let growth = storms(row, results).map(|(_, storm)| {
        storm.memory_peak_bytes.saturating_sub(storm.memory_before_bytes) as f64 / storm.clients.max(1) as f64
    });
    let growth = median(growth.collect());
    Verdict {
        demand: format!("memory at most {most} bytes per client above that before the cut"),
        measured: growth.map_or_else(missing, |growth| format!("{growth:.0} bytes at the peak")),
        reached: growth.map(|growth| growth <= most as f64),
    }
}

/// Median and 99 % each.
fn storm_delay(factor: f64, row: &Row, results: &RowResults) -> Verdict {
    let ratio = |quantile: &'static str| {
        let ratios = storms(row, results).filter_map(move |(result, _)| {
            Some(result.quantile("ack_during", quantile)? / result.quantile("ack_before", quantile)?)
        });
        median(ratios.collect())
    };
    let demand = format!("another publisher acknowledged within {factor:.0} × the time before, in the median and of 99 %");
    let (Some(half), Some(most)) = (ratio("p50"), ratio("p99")) else {
        return Verdict { demand, measured: missing(), reached: None };
    };
    Verdict { demand, measured: format!("{half:.2} × and {most:.2} ×"), reached: Some(half <= factor && most <= factor) }
}

fn rate_or_disk(least: f64, row: &Row, results: &RowResults) -> Verdict {
    let demand = format!("at least {least:.0} per second, or what the disk can do");
    let rate = median(results.values(row, row.subject()));
    let disk = results.results(row.subject()).filter_map(|result| Some(result.disk.as_ref()?.records_per_second));
    let (Some(rate), Some(disk)) = (rate, median(disk.collect())) else {
        return Verdict { demand, measured: missing(), reached: None };
    };
    let clean = results.results(row.subject()).all(|result| result.complaints().is_empty());
    Verdict {
        demand,
        measured: format!("{rate:.0}; the disk alone {disk:.0}"),
        reached: Some(clean && rate >= least.min(disk)),
    }
}

fn storms<'a>(row: &Row, results: &'a RowResults) -> impl Iterator<Item = (&'a LoadResult, &'a Storm)> {
    results.results(row.subject()).filter_map(|result| Some((result, result.storm.as_ref()?)))
}

fn missing() -> String {
    "not measured".to_owned()
}
