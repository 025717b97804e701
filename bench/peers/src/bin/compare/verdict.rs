//! Whether Longwire has reached what a row asks of it.

use crate::results::{RowResults, median};
use crate::rows::{Bound, Measure, Row};
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
            compare(demand, results.ratio(row, Server::Longwire, of), |ratio| ratio <= factor)
        }
        Bound::Below(of) => {
            compare(format!("below {}", of.name()), results.ratio(row, Server::Longwire, of), |ratio| ratio < 1.0)
        }
        Bound::AtMostEveryPeer => against_best_peer("at or below every peer", row, results, |ratio| ratio <= 1.0),
        Bound::BelowEveryPeer => against_best_peer("below every peer", row, results, |ratio| ratio < 1.0),
        Bound::Absolute(most) => {
            let unit = if row.measure == Measure::Memory { "bytes" } else { "µs" };
            let measured = median(results.values(row, Server::Longwire));
            Verdict {
                demand: format!("at most {most:.0} {unit} per {}", row.operation),
                measured: measured.map_or_else(missing, |value| format!("{value:.0} {unit}")),
                reached: measured.map(|value| value <= most),
            }
        }
        Bound::AllAlive(lines) => all_alive(lines, results),
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
        .filter_map(|peer| Some((results.ratio(row, Server::Longwire, peer)?, peer)))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let Some((ratio, peer)) = best else {
        return Verdict { demand: demand.to_owned(), measured: missing(), reached: None };
    };
    let mut verdict = compare(demand.to_owned(), Some(ratio), holds);
    verdict.measured = format!("{} {}", verdict.measured, peer.name());
    verdict
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

fn missing() -> String {
    "not measured".to_owned()
}
