//! Which tests a log says have failed, and with which words.

/// So many lines of what a failed test said are shown.
const SHOWN_LINES: usize = 30;

/// A test that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) test: String,
    /// What it said, where the runner puts that under its name.
    pub(crate) said: Vec<String>,
}

/// The failed tests of a log of cargo's, Node's or Python's test runner, each once, in the order of the log.
pub(crate) fn of(log: &str) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    for line in log.lines() {
        if let Some(test) = failed(line).filter(|test| failures.iter().all(|failure| failure.test != *test)) {
            failures.push(Failure { test: test.to_owned(), said: said_by(test, log) });
        }
    }
    failures
}

fn failed(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(test) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
        return Some(test);
    }
    // ✖ a sentence (12.5ms), and once more under "✖ failing tests:"
    if let Some(test) = line.strip_prefix("✖ ") {
        return (test != "failing tests:").then(|| test.rsplit_once(" (").map_or(test, |(test, _)| test));
    }
    line.strip_prefix("FAIL: ").or_else(|| line.strip_prefix("ERROR: "))
}

/// What cargo prints below `---- NAME stdout ----`.
fn said_by(test: &str, log: &str) -> Vec<String> {
    let head = format!("---- {test} stdout ----");
    let lines = log.lines().skip_while(|line| line.trim() != head).skip(1);
    lines.take_while(|line| !line.starts_with("---- ") && *line != "failures:").take(SHOWN_LINES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_found_with_what_they_said() {
        let log = "test good ... ok\ntest rooms::bad ... FAILED\n\nfailures:\n\n---- rooms::bad stdout ----\n\
            thread 'rooms::bad' panicked at a.rs:1:2:\nleft: 1\n\nfailures:\n    rooms::bad\n";
        let failures = of(log);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].test, "rooms::bad");
        assert_eq!(failures[0].said[..2], ["thread 'rooms::bad' panicked at a.rs:1:2:", "left: 1"]);
    }

    #[test]
    fn those_of_the_other_runners_too() {
        let log = "✔ fine (1.2ms)\n  ✖ a page (as seen) is right (30.1ms)\n✖ failing tests:\n\
            ✖ a page (as seen) is right (30.1ms)\nFAIL: test_close (__main__.Close)\n";
        let tests: Vec<String> = of(log).into_iter().map(|failure| failure.test).collect();
        assert_eq!(tests, ["a page (as seen) is right", "test_close (__main__.Close)"]);
    }
}
