//! How many tests a log tells of.

/// Tests that passed and tests that were left out, as the test runners counted them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds up the closing lines of cargo's, Node's and Python's test runners.
    pub(crate) fn of(log: &str) -> Self {
        let mut counts = Self::default();
        for line in log.lines() {
            counts.add(line.trim());
        }
        counts
    }

    fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            // test result: ok. 12 passed; 0 failed; 1 ignored; ...
            for part in rest.split([';', '.']) {
                match part.trim().split_once(' ') {
                    Some((n, "passed")) => self.passed += number(n),
                    Some((n, "ignored")) => self.skipped += number(n),
                    _ => {}
                }
            }
        } else if let Some(n) = node(line, "pass ") {
            self.passed += n;
        } else if let Some(n) = node(line, "skipped ").or_else(|| node(line, "todo ")) {
            self.skipped += n;
        } else if let Some(rest) = line.strip_prefix("Ran ") {
            // Ran 12 tests in 0.5s
            self.passed += rest.split_once(" test").map_or(0, |(n, _)| number(n));
        }
    }
}

/// `ℹ pass 12`, or `# pass 12` when it does not print for people.
fn node(line: &str, word: &str) -> Option<u64> {
    let rest = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# "))?;
    rest.strip_prefix(word)?.parse().ok()
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_runners_closing_lines() {
        let log = "running 3 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            ℹ tests 5\nℹ pass 4\nℹ fail 0\nℹ skipped 1\nℹ todo 0\n\
            # pass 3\n\
            Ran 7 tests in 0.012s\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Counts::of(log), Counts { passed: 2 + 4 + 3 + 7 + 1, skipped: 2 });
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Counts::of("Ran out of time\npass 3\n5 passed\n"), Counts::default());
    }
}
