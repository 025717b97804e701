//! What processes cost: CPU time in nanoseconds and private memory in bytes, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Error;

/// Clock ticks per second in `/proc/PID/stat`: the same on every Linux that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The processes under measurement.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    pids: Vec<u32>,
}

/// CPU time used so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuTime {
    /// Nanoseconds per (process, thread).
    threads: BTreeMap<(u32, u32), u64>,
    /// Nanoseconds per process, threads that have ended included; counted in ticks.
    processes: BTreeMap<u32, u64>,
}

impl Processes {
    /// Checks that each of them can be read.
    pub(crate) fn new(pids: &[u32]) -> Result<Processes, Error> {
        for &pid in pids {
            fs::read_to_string(smaps(pid)).map_err(|source| Error::Process { pid, source })?;
        }
        Ok(Processes { pids: pids.to_vec() })
    }

    /// This process.
    pub(crate) fn own() -> Processes {
        Processes { pids: vec![std::process::id()] }
    }

    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// CPU time of all threads, user and kernel.
    pub(crate) fn cpu_time(&self) -> Result<CpuTime, Error> {
        let mut time = CpuTime::default();
        for &pid in &self.pids {
            let fail = |_| Error::ProcessEnded { pid };
            for entry in fs::read_dir(format!("/proc/{pid}/task")).map_err(fail)? {
                let name = entry.map_err(fail)?.file_name();
                let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
                // A thread may end between the listing and the reading.
                if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) {
                    time.threads.insert((pid, thread), first_number(&text));
                }
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(fail)?;
            time.processes.insert(pid, ticks(&stat) * (1_000_000_000 / TICKS_PER_SECOND));
        }
        Ok(time)
    }

    /// Memory that belongs to these processes alone, clean and dirty.
    pub(crate) fn private_bytes(&self) -> Result<u64, Error> {
        self.sum(|pid| fs::read_to_string(smaps(pid)), &["Private_Clean:", "Private_Dirty:"])
    }

    /// The resident anonymous memory: close to the private one, and cheap enough to read in the middle of a measurement.
    pub(crate) fn anonymous_bytes(&self) -> Result<u64, Error> {
        self.sum(|pid| fs::read_to_string(format!("/proc/{pid}/status")), &["RssAnon:"])
    }

    fn sum(&self, read: impl Fn(u32) -> io::Result<String>, fields: &[&str]) -> Result<u64, Error> {
        self.pids.iter().try_fold(0, |sum, &pid| {
            let text = read(pid).map_err(|_| Error::ProcessEnded { pid })?;
            Ok(sum + fields.iter().map(|field| kilobytes(&text, field) * 1024).sum::<u64>())
        })
    }
}

/// Looks at the processes' memory all the time, on a thread of its own.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, Error>>,
}

impl MemoryWatch {
    /// Looks once in `every`.
    pub(crate) fn start(processes: &Processes, every: Duration) -> MemoryWatch {
        let over = Arc::new(AtomicBool::new(false));
        let (processes, stop) = (processes.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !stop.load(Ordering::Relaxed) {
                peak = peak.max(processes.anonymous_bytes()?);
                std::thread::sleep(every);
            }
            Ok(peak)
        });
        MemoryWatch { over, thread }
    }

    /// The most resident anonymous memory seen, in bytes.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the memory watch does not panic")
    }
}

impl CpuTime {
    /// Nanoseconds used since an earlier reading.
    ///
    /// The scheduler's count per thread is exact to the nanosecond, but a thread takes it along when it ends. Where one has
    /// ended, the process's own count in ticks of 10 ms is used.
    pub(crate) fn since(&self, earlier: &CpuTime) -> u64 {
        let pids = self.processes.keys();
        pids.map(|&pid| {
            let of = |time: &CpuTime| -> BTreeMap<u32, u64> {
                time.threads.range((pid, 0)..=(pid, u32::MAX)).map(|(&(_, thread), &nanos)| (thread, nanos)).collect()
            };
            let (now, then) = (of(self), of(earlier));
            if now.is_empty() || then.keys().any(|thread| !now.contains_key(thread)) {
                let ticks = |time: &CpuTime| time.processes.get(&pid).copied().unwrap_or(0);
                return ticks(self).saturating_sub(ticks(earlier));
            }
            now.iter().map(|(thread, nanos)| nanos.saturating_sub(then.get(thread).copied().unwrap_or(0))).sum()
        })
        .sum()
    }
}

fn smaps(pid: u32) -> String {
    format!("/proc/{pid}/smaps_rollup")
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and kernel time in `/proc/PID/stat`: the fields 14 and 15, counted behind the command's closing bracket, which is
/// the end of field 2.
fn ticks(stat: &str) -> u64 {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after.split_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u64>().ok()).sum()
}

fn kilobytes(text: &str, field: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(field)).map_or(0, first_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_texts_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194304 100 0 0 0 700 30 5 6 20 0 1 0 12345 1000 100";
        assert_eq!(ticks(stat), 730);
        assert_eq!(ticks(""), 0);
        assert_eq!(kilobytes("Rss: 9 kB\nPrivate_Clean:      44 kB\n", "Private_Clean:"), 44);
        assert_eq!(first_number("468695 228075 5\n"), 468_695);
    }

    #[test]
    fn own_cpu_time_grows_with_work_and_memory_with_pages() {
        let own = Processes::own();
        let before = own.cpu_time().unwrap();
        let private = own.private_bytes().unwrap();
        let mut pages = vec![0u8; 32 << 20];
        let began = std::time::Instant::now();
        let mut sum = 0u64;
        while began.elapsed().as_millis() < 50 {
            for at in (0..pages.len()).step_by(4096) {
                pages[at] = pages[at].wrapping_add(1);
                sum += u64::from(pages[at]);
            }
        }
        assert!(sum > 0);
        assert!(own.private_bytes().unwrap() > private + (24 << 20));
        assert!(own.anonymous_bytes().unwrap() > 32 << 20);
        // Tests run beside it in the same process, and threads end: at least this thread's time must show, in ticks.
        let used = own.cpu_time().unwrap().since(&before);
        assert!(used > 10_000_000, "{used} ns");
    }

    #[test]
    fn an_ended_thread_falls_back_to_the_processes_count() {
        let time = |threads: &[(u32, u64)], process| CpuTime {
            threads: threads.iter().map(|&(thread, nanos)| ((7, thread), nanos)).collect(),
            processes: [(7, process)].into(),
        };
        let before = time(&[(7, 100), (8, 50)], 0);
        assert_eq!(time(&[(7, 150), (8, 60), (9, 5)], 10).since(&before), 65);
        assert_eq!(time(&[(7, 150)], 20_000_000).since(&before), 20_000_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Processes::new(&[u32::MAX]).unwrap_err().to_string();
        assert!(error.contains("4294967295") && error.contains("--pid"), "{error}");
        let error = Processes { pids: vec![u32::MAX] }.cpu_time().unwrap_err().to_string();
        assert!(error.contains("ended during the run"), "{error}");
    }
}
