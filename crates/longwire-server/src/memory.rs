//! How much memory there is.

use std::fs;
use std::path::{Path, PathBuf};

/// What may be kept for clients where nobody says: half of the memory, and at least so much.
const LEAST: usize = 256 << 20;
/// If it cannot be found out how much there is.
const UNKNOWN: usize = 2 << 30;

/// Half of what the machine has, or the container.
pub(crate) fn default_budget() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files(&groups).filter_map(|file| fs::read_to_string(file).ok()).filter_map(|text| limit(&text));
    let all = limits.chain(machine).min().unwrap_or(UNKNOWN);
    (all / 2).max(LEAST)
}

/// The machine's memory, of what `/proc/meminfo` says.
fn total(meminfo: &str) -> Option<usize> {
    let kib: usize =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may say how much the control group of this process may have, and those around it.
fn files(groups: &str) -> impl Iterator<Item = PathBuf> {
    groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let is_ours = controllers.is_empty() || controllers.split(',').any(|controller| controller == "memory");
        let path = Path::new(path.trim_start_matches('/')).to_owned();
        let around: Vec<PathBuf> = path.ancestors().map(|path| Path::new(root).join(path).join(name)).collect();
        around.into_iter().filter(move |_| is_ours)
    })
}

/// A limit, unless it says that there is none.
fn limit(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_around_a_process_counts() {
        let v2: Vec<_> = files("0::/system.slice/longwire.service\n").collect();
        let expected =
            ["system.slice/longwire.service/", "system.slice/", ""].map(|at| format!("/sys/fs/cgroup/{at}memory.max"));
        assert_eq!(v2, expected.map(PathBuf::from));
        let v1: Vec<_> = files("12:cpu,cpuacct:/a\n4:memory:/docker/x\n").collect();
        assert_eq!(v1[0], Path::new("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes"));
        assert_eq!(v1.len(), 3);
        assert_eq!(limit("536870912\n"), Some(512 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(total("MemTotal:       24684544 kB\nMemFree: 1 kB\n"), Some(24_684_544 * 1024));
        assert!(default_budget() >= LEAST);
    }
}
