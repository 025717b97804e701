//! Runs the load generator against one server and reads what it measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::servers::Running;
use crate::workshop::Workshop;

/// The core of the load generator.
const CLIENT_CORE: &str = "1";
/// The load generator bounds each of its own waits; this ends it if even that fails.
const LOAD_TIMEOUT_SECONDS: &str = "600";

/// What stands in a row's options for the folder beside the durable server's data.
pub(crate) const DATA_FOLDER: &str = "DATA_FOLDER";

/// The part of the load generator's result that the comparison keeps. Its field names are the load generator's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadResult {
    pub(crate) outcome: String,
    pub(crate) options: serde_json::Value,
    pub(crate) seconds: f64,
    pub(crate) operations: u64,
    pub(crate) operations_per_second: f64,
    pub(crate) published: Option<u64>,
    pub(crate) latency_us: Option<BTreeMap<String, f64>>,
    pub(crate) lines: Lines,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) server_cost: Option<Cost>,
    pub(crate) client_cost: Option<Cost>,
    pub(crate) idle: Option<Idle>,
    /// More latencies, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) latencies: BTreeMap<String, BTreeMap<String, f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Storm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<Disk>,
    /// What the server said when it first refused a publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<String>,
}

/// How the lines fared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lines {
    pub(crate) opened: u64,
    pub(crate) closed_by_server: u64,
    pub(crate) connect_seconds: f64,
    pub(crate) pings_answered: u64,
    pub(crate) lines_pinged: u64,
}

/// CPU time and private memory of one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) cpu_us: f64,
    pub(crate) cpu_us_per_operation: Option<f64>,
    pub(crate) cpu_percent: f64,
    pub(crate) private_peak_bytes: Option<u64>,
}

/// What idle lines cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) private_from_bytes: u64,
    pub(crate) private_to_bytes: u64,
    pub(crate) bytes_per_line: f64,
}

/// Clients that were cut at once and came back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Storm {
    pub(crate) clients: u64,
    pub(crate) messages: u64,
    pub(crate) resumed: u64,
    pub(crate) recovered: u64,
    pub(crate) caught_up: u64,
    pub(crate) away_seconds: f64,
    pub(crate) caught_up_seconds: f64,
    pub(crate) memory_before_bytes: u64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) memory_after_bytes: u64,
}

/// What the disk can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) batch: u64,
    pub(crate) record_bytes: u64,
    pub(crate) syncs: u64,
    pub(crate) records_per_second: f64,
    pub(crate) sync_us: BTreeMap<String, f64>,
}

impl LoadResult {
    /// A quantile in microseconds of a latency by name; "" is the load's own.
    pub(crate) fn quantile(&self, latency: &str, quantile: &str) -> Option<f64> {
        let latency = if latency.is_empty() { self.latency_us.as_ref() } else { self.latencies.get(latency) };
        latency.filter(|latency| latency.get("count").is_some_and(|&count| count > 0.0))?.get(quantile).copied()
    }

    /// What went wrong in words, or nothing.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = vec![];
        if self.outcome != "complete" {
            complaints.push(self.outcome.clone());
        }
        complaints.extend(self.faults.iter().filter(|(_, count)| **count > 0).map(|(fault, count)| format!("{count} {fault}")));
        complaints.extend(self.refusal.iter().map(|said| format!("first refused with {said:?}")));
        if self.lines.closed_by_server > 0 {
            complaints.push(format!("{} lines closed by the server", self.lines.closed_by_server));
        }
        complaints
    }
}

/// Loads one running server. `arguments` is the load generator's mode and its options.
pub(crate) fn measure(running: &Running, arguments: &[String], workshop: &Workshop) -> Result<LoadResult, Failure> {
    let (mode, options) = arguments.split_first().ok_or("a row names no mode")?;
    let result = workshop.cache().join("load.json");
    // The result of an earlier run must not be taken for this one's; most often there is none.
    fs::remove_file(&result).ok();
    // The disk is measured where the durable server keeps its data.
    let data = workshop.cache().display().to_string();
    let options = options.iter().map(|option| option.replace(DATA_FOLDER, &data));
    let mut load = Command::new("timeout");
    load.args([LOAD_TIMEOUT_SECONDS, "taskset", "-c", CLIENT_CORE]);
    load.arg(workshop.binary("examples/longwire-bench")).args([mode, &running.address]).args(options);
    load.args(["--pid", &running.pid.to_string(), "--json"]).arg(&result);
    let output = load.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("the load generator said nothing");
        return Err(last.trim().into());
    }
    Ok(serde_json::from_slice(&fs::read(&result)?)?)
}
