//! The machine under the comparison: its kind, its limits, and whether it is quiet.

use std::fs;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Failure;

/// The machine's kind, without a name or an address.
pub(crate) fn kind() -> Result<String, Failure> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // Only the version: what follows it names the build.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    Ok(format!("{model}, {} cores, Linux {kernel}", available_parallelism()?))
}

/// 18,000 lines in one process: servers and load generator inherit this.
pub(crate) fn raise_descriptor_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// How much of all cores is taken during the coming `time`. With none of our own programs running: by others.
pub(crate) fn busy_percent(time: Duration) -> Result<f64, Failure> {
    let (busy_before, all_before) = processor_time()?;
    sleep(time);
    let (busy, all) = processor_time()?;
    Ok(100.0 * (busy - busy_before) as f64 / ((all - all_before) as f64).max(1.0))
}

/// Busy and total time of all cores since the machine started, in clock ticks.
fn processor_time() -> Result<(u64, u64), Failure> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
    let all = ticks.iter().take(8).sum::<u64>();
    let idle = ticks.iter().skip(3).take(2).sum::<u64>();
    Ok((all - idle, all))
}
