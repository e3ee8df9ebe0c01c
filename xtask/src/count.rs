//! The number of tests run, read from what the test runners print.
//!
//! Each runner has a form of its own, and only that is looked for: nextest shows the output of a failed test, which
//! holds libtest's result for that one test, and it must not be counted twice.

use std::fmt;

/// Who runs the tests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runner {
    /// `Summary [ 1.2s] 5 tests run: 3 passed (1 slow), 1 failed, 1 skipped`, once.
    Nextest,
    /// `test result: FAILED. 3 passed; 1 failed; 2 ignored; …`, once a test executable.
    Libtest,
}

/// How many tests passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// What one line of a test runner's output reports; nothing for any other line.
    pub(crate) fn in_line(runner: Runner, line: &str) -> Count {
        match runner {
            Runner::Nextest => {
                let summary = line.trim_start().strip_prefix("Summary [");
                let outcomes = summary.and_then(|rest| rest.split_once(" run: "));
                outcomes.map(|(_, outcomes)| Count::of(without_parentheses(outcomes).split(", ")))
            }
            Runner::Libtest => {
                let result = line.strip_prefix("test result: ");
                let outcomes = result.and_then(|rest| rest.split_once(". "));
                outcomes.map(|(_, outcomes)| Count::of(outcomes.split("; ")))
            }
        }
        .unwrap_or_default()
    }

    /// Adds another runner's tests.
    pub(crate) fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn of<'a>(outcomes: impl Iterator<Item = &'a str>) -> Count {
        let mut count = Count::default();
        for (number, outcome) in outcomes.filter_map(|part| part.trim().split_once(' ')) {
            let Ok(number) = number.parse::<u64>() else { continue };
            match outcome.trim() {
                "passed" => count.passed += number,
                "skipped" | "ignored" => count.skipped += number,
                // "filtered out" names tests of other runs, "measured" names benches.
                "filtered out" | "measured" => {}
                // "failed", "timed out", "exec failed", and whatever a later nextest calls it.
                _ => count.failed += number,
            }
        }
        count
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// `5 passed (1 slow, 1 leaky), 1 failed` without what stands in parentheses, which repeats tests already counted.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let mut kept = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{Count, Runner};

    #[track_caller]
    fn check(runner: Runner, line: &str, passed: u64, failed: u64, skipped: u64) {
        assert_eq!(Count::in_line(runner, line), Count { passed, failed, skipped }, "{line}");
    }

    #[test]
    fn summaries_of_nextest_are_counted() {
        let check = |line, passed, failed, skipped| check(Runner::Nextest, line, passed, failed, skipped);
        check("     Summary [   0.015s] 12 tests run: 12 passed, 0 skipped\n", 12, 0, 0);
        check("     Summary [   0.015s] 1 test run: 1 passed (1 slow, 1 leaky), 2 skipped", 1, 0, 2);
        check(
            "     Summary [  90.1s] 7/9 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 3 skipped",
            4,
            3,
            3,
        );
        check("     Summary [   1.0s] 1 test run: 0 passed, 1 exec failed, 0 skipped", 0, 1, 0);
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out", 0, 0, 0);
        check("        PASS [   0.003s] logplex-core ring::keeps_the_newest", 0, 0, 0);
    }

    #[test]
    fn results_of_libtest_are_counted() {
        let check = |line, passed, failed, skipped| check(Runner::Libtest, line, passed, failed, skipped);
        check(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s",
            3,
            0,
            1,
        );
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n", 3, 2, 0);
        check("test ring::keeps_the_newest ... ok", 0, 0, 0);
    }

    #[test]
    fn the_closing_line_has_one_plain_form() {
        assert_eq!(Count { passed: 12, failed: 0, skipped: 3 }.to_string(), "12 passed, 0 failed");
    }
}
