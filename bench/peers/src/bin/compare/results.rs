//! What was measured, as it is kept in `results.json`, and what follows from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::load::LoadResult;
use crate::rows::{Measure, Row};
use crate::servers::Server;

/// A machine that has nothing else to do still keeps its own house.
const QUIET_PERCENT: f64 = 5.0;

/// All rows that have been measured. Each row is one run of its own: only numbers of the same row are comparable.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) rows: Vec<RowResults>,
}

/// One row's measurements and where they come from.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowResults {
    pub(crate) row: String,
    pub(crate) day: String,
    pub(crate) machine: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) measurements: Vec<Measurement>,
    /// Servers that did not take part, and why.
    pub(crate) absent: BTreeMap<String, String>,
}

/// One server under the row's load, once.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) server: String,
    pub(crate) repetition: usize,
    /// How much of the machine other programs took just before.
    pub(crate) others_percent: f64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What came of a measurement.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Result(Box<LoadResult>),
    Failure(String),
}

impl Measurement {
    /// Others were at work: the number is not to be trusted.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others_percent > QUIET_PERCENT
    }
}

impl Results {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}\nremove it to begin anew", path.display()).into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Puts a row in the place of its earlier measurement.
    pub(crate) fn replace(&mut self, fresh: RowResults) {
        match self.rows.iter_mut().find(|old| old.row == fresh.row) {
            Some(old) => *old = fresh,
            None => self.rows.push(fresh),
        }
    }

    pub(crate) fn row(&self, name: &str) -> Option<&RowResults> {
        self.rows.iter().find(|row| row.row == name)
    }
}

impl RowResults {
    pub(crate) fn results(&self, server: Server) -> impl Iterator<Item = &LoadResult> {
        self.of(server).filter_map(|measurement| match &measurement.outcome {
            Outcome::Result(result) => Some(&**result),
            Outcome::Failure(_) => None,
        })
    }

    /// Why there is nothing (or not everything) to show for a server.
    pub(crate) fn failures(&self, server: Server) -> impl Iterator<Item = &str> {
        let failed = self.of(server).filter_map(|measurement| match &measurement.outcome {
            Outcome::Result(_) => None,
            Outcome::Failure(why) => Some(why.as_str()),
        });
        self.absent.get(server.name()).map(String::as_str).into_iter().chain(failed)
    }

    fn of(&self, server: Server) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(move |measurement| measurement.server == server.name())
    }

    /// The row's value for each measurement of a server.
    pub(crate) fn values(&self, row: &Row, server: Server) -> Vec<f64> {
        self.results(server).filter_map(|result| value(row, result)).collect()
    }

    /// The median of how many times the value of `of` a server's was, each time within one repetition: what drifts from one
    /// repetition to the next falls out.
    pub(crate) fn ratio(&self, row: &Row, server: Server, of: Server) -> Option<f64> {
        let repetitions = self.measurements.iter().map(|measurement| measurement.repetition).max()?;
        let ratios = (1..=repetitions)
            .filter_map(|repetition| Some(self.mean_within(row, server, repetition)? / self.mean_within(row, of, repetition)?));
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// A floor has two turns in each repetition.
    fn mean_within(&self, row: &Row, server: Server, repetition: usize) -> Option<f64> {
        let values: Vec<f64> = self
            .of(server)
            .filter(|measurement| measurement.repetition == repetition)
            .filter_map(|measurement| match &measurement.outcome {
                Outcome::Result(result) => value(row, result),
                Outcome::Failure(_) => None,
            })
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// What a row compares, out of one result.
pub(crate) fn value(row: &Row, result: &LoadResult) -> Option<f64> {
    match row.measure {
        Measure::Memory => result.idle.as_ref().map(|idle| idle.bytes_per_line),
        Measure::Cpu | Measure::Survival => result.server_cost.as_ref()?.cpu_us_per_operation,
        Measure::Latency => result.quantile("", "p50"),
        Measure::Storm => result.storm.as_ref().map(|storm| storm.caught_up_seconds),
        Measure::Rate => Some(result.operations_per_second),
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_takes_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    fn measurement(server: Server, repetition: usize, cpu_us: f64) -> serde_json::Value {
        serde_json::json!({
            "server": server.name(), "repetition": repetition, "others_percent": 0.0,
            "result": {
                "outcome": "complete", "options": {}, "seconds": 1.0, "operations": 1, "operations_per_second": 1.0,
                "lines": { "opened": 1, "closed_by_server": 0, "connect_seconds": 0.1, "pings_answered": 0, "lines_pinged": 0 },
                "faults": { "missing": 0 },
                "server_cost": { "cpu_us": cpu_us, "cpu_us_per_operation": cpu_us, "cpu_percent": 1.0 },
            }
        })
    }

    #[test]
    fn ratios_are_taken_within_a_repetition_so_that_drift_falls_out() {
        let floor = Server::Floor;
        let measurements = [
            (floor, 1, 1.0),
            (Server::Longwire, 1, 1.0),
            (floor, 1, 1.0),
            // The machine has become twice as slow, and slower still before the repetition ended.
            (floor, 2, 2.0),
            (Server::Longwire, 2, 3.0),
            (floor, 2, 4.0),
            (floor, 3, 1.0),
        ];
        let measurements: Vec<_> = measurements.into_iter().map(|(server, turn, cpu)| measurement(server, turn, cpu)).collect();
        let results: RowResults = serde_json::from_value(serde_json::json!({
            "row": "echo-1", "day": "", "machine": "", "versions": {}, "absent": {}, "measurements": measurements,
        }))
        .unwrap();
        let row = Row::named("echo-1").unwrap();
        assert_eq!(results.ratio(row, Server::Longwire, floor), Some(1.0));
        assert_eq!(results.ratio(row, Server::Longwire, Server::Ws), None);
    }
}
