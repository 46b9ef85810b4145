//! Reads the results of Rust's test harness out of its output.

mod failures;

use std::fmt;
use std::ops::AddAssign;

use self::failures::Finder;

pub(crate) use self::failures::Failure;

/// How many handshakes the scenario of many makes; a few thousand unless it is said, in the lab too.
pub(crate) const HANDSHAKES_VARIABLE: &str = "TCP_BACKLOG_PROBE_HANDSHAKES";

/// Numbers of tests, over any number of test binaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Left out, although they could have run.
    pub(crate) skipped: u64,
    /// Of something that the kernel lacks, as they said themselves.
    pub(crate) unsupported: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsupported += other.unsupported;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)?;
        if self.unsupported > 0 {
            write!(formatter, ", {} of what the kernel lacks", self.unsupported)?;
        }
        Ok(())
    }
}

/// Follows the output of test binaries line by line.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    counts: Counts,
    /// A binary said how many tests it will run, and not yet how it went.
    unfinished: bool,
    /// Tests of that binary that said what the kernel lacks: among those that it calls ignored.
    unsupported: u64,
    failures: Finder,
}

/// How tests went.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<Failure>,
}

impl From<Counts> for Results {
    fn from(counts: Counts) -> Self {
        Self { counts, failures: Vec::new() }
    }
}

impl Results {
    /// What is no test has failed.
    pub(crate) fn fail(&mut self, what: &str, words: &str) {
        self.counts.failed += 1;
        self.failures.push(Failure::of(what, words));
    }
}

impl AddAssign for Results {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.failures.extend(other.failures);
    }
}

/// Each failure in few words, then the numbers: the end of an output is what is read first.
impl fmt::Display for Results {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failures.iter().try_for_each(|failure| writeln!(formatter, "failed: {failure}"))?;
        self.counts.fmt(formatter)
    }
}

impl Follower {
    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &str) {
        self.failures.line(line);
        if is_start(line) {
            self.close();
            self.unfinished = true;
        } else if let Some(Outcome::Unsupported(_)) = outcome_in(line).map(|(_, outcome)| outcome) {
            self.unsupported += 1;
        } else if let Some(mut counts) = result_in(line) {
            counts.unsupported = std::mem::take(&mut self.unsupported).min(counts.skipped);
            counts.skipped -= counts.unsupported;
            self.counts += counts;
            self.unfinished = false;
        }
    }

    /// A binary that ended without its result line was killed or crashed: that is a failure.
    fn close(&mut self) {
        self.unsupported = 0;
        if std::mem::take(&mut self.unfinished) {
            self.counts.failed += 1;
        }
    }

    /// What came of all binaries.
    pub(crate) fn end(mut self) -> Results {
        self.close();
        Results { counts: self.counts, failures: self.failures.found }
    }
}

/// How one test went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    Passed,
    Failed,
    /// The kernel lacks this.
    Unsupported(&'a str),
}

/// `test module::name ... ok`, `FAILED` or `ignored (what the kernel lacks)`. Rust's own harness knows no such reason.
pub(crate) fn outcome_in(line: &str) -> Option<(&str, Outcome<'_>)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome.trim() {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        other => Outcome::Unsupported(other.strip_prefix("ignored (")?.strip_suffix(')')?),
    };
    Some((name.trim_end(), outcome))
}

/// `running 3 tests`
fn is_start(line: &str) -> bool {
    let number = line.strip_prefix("running ").and_then(|rest| rest.split_once(' '));
    number.is_some_and(|(number, rest)| number.parse::<u64>().is_ok() && rest.starts_with("test"))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.01s`.
/// Filtered out means that somebody asked for other tests; it is not a skip.
fn result_in(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| -> Option<u64> {
        let item = numbers.split("; ").find_map(|item| item.trim().strip_suffix(name))?;
        item.trim().parse().ok()
    };
    let (passed, failed, skipped) = (number("passed")?, number("failed")?, number("ignored")?);
    Some(Counts { passed, failed, skipped, unsupported: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(output: &str) -> Counts {
        let mut follower = Follower::default();
        output.lines().for_each(|line| follower.line(line));
        follower.end().counts
    }

    #[test]
    fn results_are_added_up() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n\
            running 1 test\n\
            test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(follow(output), Counts { passed: 2, failed: 1, skipped: 1, unsupported: 0 });
        assert_eq!(follow(output).to_string(), "2 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn what_the_kernel_lacks_is_no_skip() {
        let output = "running 3 tests\ntest a::b    ... ignored (no Multipath TCP)\ntest c ... ignored\n\
            test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.00s\n";
        assert_eq!(follow(output), Counts { passed: 1, failed: 0, skipped: 1, unsupported: 1 });
        assert_eq!(follow(output).to_string(), "1 passed, 0 failed, 1 skipped, 1 of what the kernel lacks");
        let (name, outcome) = outcome_in("test a::b    ... ignored (no Multipath TCP)").unwrap();
        assert_eq!((name, outcome), ("a::b", Outcome::Unsupported("no Multipath TCP")));
        assert_eq!(outcome_in("test c ... ignored"), None);
    }

    #[test]
    fn a_binary_without_a_result_has_failed() {
        let output = "running 3 tests\ntest a ... ok\nrunning 0 tests\n\
            test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(follow(output), Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn other_output_counts_for_nothing() {
        assert_eq!(follow("running late\ntest result: none\n"), Counts::default());
    }
}
