//! What a lab machine says: its serial lines, read line by line and understood.

use std::fmt;

use super::matrix::Findings;
use crate::libtest::{Failure, Follower, Results};

/// Lines of our own init begin so.
pub(crate) const MARK: &str = "LAB:";

/// Where a line came from. They are two serial ports, so that a kernel message cannot tear a
/// test's line apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Init and the test binary.
    Guest,
    /// The kernel's console, and what qemu itself has to say.
    Kernel,
}

/// Everything that matters about a boot so far.
#[derive(Debug, Default)]
pub(crate) struct Console {
    /// The kernel's release, printed by init first of all.
    pub(crate) release: Option<String>,
    /// The exit code of the tests, or of what ran instead of them.
    pub(crate) exit_code: Option<i32>,
    /// Lines by which the kernel says that it is broken.
    pub(crate) complaints: Vec<String>,
    /// What the tests tell beside their results.
    pub(crate) findings: Findings,
    tests: Follower,
}

impl Console {
    /// Takes the next line.
    pub(crate) fn line(&mut self, source: Source, line: &str) {
        match source {
            Source::Kernel => {
                if is_complaint(line) {
                    self.complaints.push(line.to_owned());
                }
            }
            Source::Guest => {
                if let Some(message) = line.strip_prefix(MARK) {
                    self.message(message.trim());
                } else {
                    self.tests.line(line);
                    self.findings.line(line);
                }
            }
        }
    }

    fn message(&mut self, message: &str) {
        if let Some(release) = message.strip_prefix("kernel ") {
            self.release = Some(release.to_owned());
        } else if let Some(code) = message.strip_prefix("exit ") {
            self.exit_code = code.parse().ok();
        }
    }

    /// Whether the kernel got as far as our init.
    pub(crate) fn reached_init(&self) -> bool {
        self.release.is_some()
    }

    /// The verdict when the machine is off: each way to fail counts one failure at least.
    pub(crate) fn verdict(self) -> Verdict {
        let mut results = self.tests.end();
        let has_complaints = !self.complaints.is_empty();
        let mut problems = self.complaints;
        match self.exit_code {
            Some(0) => {}
            Some(code) => problems.push(format!("the program ended with exit code {code}")),
            None => problems.push("the program did not end".to_owned()),
        }
        // Which tests failed says why the program did.
        if has_complaints || !problems.is_empty() && results.failures.is_empty() {
            results.failures.push(Failure::of("the machine", &problems.join("\n")));
        }
        if !problems.is_empty() {
            results.counts.failed = results.counts.failed.max(1);
        }
        Verdict { results, problems }
    }
}

/// How a boot ended.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) results: Results,
    pub(crate) problems: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.results.counts)?;
        self.problems.iter().try_for_each(|problem| write!(formatter, "\n    {problem}"))
    }
}

/// WARN and BUG print a line to cut at before anything else; the others come without one.
fn is_complaint(line: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "[ cut here ]",
        "Kernel panic",
        " BUG: ",
        "Oops: ",
        "general protection fault",
        "WARNING: CPU",
        "WARNING: possible",
    ];
    SIGNS.iter().any(|sign| line.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtest::Counts;

    const PASSED: &str =
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    fn verdict(lines: &[(Source, &str)]) -> Verdict {
        let mut console = Console::default();
        lines.iter().for_each(|(source, line)| console.line(*source, line));
        console.verdict()
    }

    #[test]
    fn a_clean_boot_passes() {
        let lines = [
            (Source::Kernel, "[    0.000000] Linux version 6.1.0"),
            (Source::Guest, "LAB: kernel 6.1.0-56-cloud-amd64"),
            (Source::Guest, "running 2 tests"),
            (Source::Guest, PASSED),
            (Source::Guest, "LAB: exit 0"),
        ];
        let verdict = verdict(&lines);
        assert_eq!(verdict.problems, [""; 0]);
        assert_eq!(verdict.results.counts, Counts { passed: 2, ..Counts::default() });
    }

    #[test]
    fn a_kernel_warning_fails_passed_tests() {
        let lines = [
            (Source::Guest, "running 2 tests"),
            (Source::Guest, PASSED),
            (Source::Kernel, "[    3.1] ------------[ cut here ]------------"),
            (Source::Guest, "LAB: exit 0"),
        ];
        let verdict = verdict(&lines);
        assert_eq!(verdict.results.counts, Counts { passed: 2, failed: 1, ..Counts::default() });
        assert_eq!(verdict.problems, ["[    3.1] ------------[ cut here ]------------"]);
    }

    #[test]
    fn a_test_binary_that_never_ends_fails_once() {
        let lines = [(Source::Guest, "LAB: kernel 6.1.0"), (Source::Guest, "running 2 tests")];
        let verdict = verdict(&lines);
        assert_eq!(verdict.results.counts, Counts { failed: 1, ..Counts::default() });
        assert_eq!(verdict.problems, ["the program did not end"]);
        assert!(
            verdict.results.to_string().starts_with("failed: the machine\n    the program did not end\n")
        );
    }

    #[test]
    fn the_kernel_may_use_harmless_words() {
        for line in ["Spectre V2 : WARNING: Unprivileged eBPF is enabled", "printk: debug: on", "DEBUG: x"] {
            assert!(!is_complaint(line), "{line}");
        }
        assert!(is_complaint("[    1.2] BUG: kernel NULL pointer dereference, address: 0000000000000000"));
    }
}
