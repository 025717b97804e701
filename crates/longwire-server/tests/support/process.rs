//! Tests that need a process of their own: for its memory, its limits, or because it might die.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a child may take with all that it does. Each of its waits has a bound of its own, so this ends only what hangs.
const CHILD_BOUND: Duration = Duration::from_secs(180);

const MARK: &str = "LONGWIRE_TEST_IN_CHILD";

/// Runs `body` in a child process. `name` is the calling test's path in this binary, as `module::test`.
#[track_caller]
pub(crate) fn child(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some_and(|mark| mark == name) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child process");
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > CHILD_BOUND {
            let _ = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "there is no test of the name {name}\n{stdout}");
}

/// This process' memory in bytes.
pub(crate) fn rss() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
