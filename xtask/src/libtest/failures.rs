//! What failed and its first words, said once more where a long output ends.

use std::fmt;

/// Lines of a failure that are repeated. All of them stand where the failure was.
const LINES: usize = 6;
/// Letters of such a line.
const LETTERS: usize = 400;

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its name, after what runs it if that is not this machine.
    pub(crate) test: String,
    words: Vec<String>,
}

impl Failure {
    /// A failure that is not a test's.
    pub(crate) fn of(test: &str, words: &str) -> Self {
        Self { test: test.to_owned(), words: words.lines().take(LINES).map(shortened).collect() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.test)?;
        self.words.iter().try_for_each(|line| write!(formatter, "\n    {line}"))
    }
}

/// Finds them where a test binary tells what its failed tests said, behind all of them.
#[derive(Debug, Default)]
pub(super) struct Finder {
    pub(super) found: Vec<Failure>,
    telling: bool,
    /// What comes after the words of a panic.
    done: bool,
}

impl Finder {
    /// Takes the next line. The word that heads what was said heads the list of names behind it as well.
    pub(super) fn line(&mut self, line: &str) {
        if line == "failures:" {
            self.telling = !self.telling;
        } else if line.starts_with("test result: ") {
            self.telling = false;
        } else if let Some(test) = self.telling.then(|| name_in(line)).flatten() {
            self.found.push(Failure { test: test.to_owned(), words: Vec::new() });
            self.done = false;
        } else if self.telling && !line.trim().is_empty() {
            self.word(line);
        }
    }

    fn word(&mut self, line: &str) {
        self.done |= line == "stack backtrace:" || line.starts_with("note: ") || line.starts_with("--- ");
        if let Some(failure) = self.found.last_mut()
            && !self.done
            && failure.words.len() < LINES
        {
            failure.words.push(shortened(line));
        }
    }
}

/// `---- module::name stdout ----`, and without `stdout` from libtest-mimic.
fn name_in(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

fn shortened(line: &str) -> String {
    line.chars().take(LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &[&str]) {
        let mut finder = Finder::default();
        output.lines().for_each(|line| finder.line(line));
        let found: Vec<String> = finder.found.iter().map(Failure::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn failures_of_rusts_own_harness_are_found() {
        let output = "running 2 tests\ntest a ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n\n\
            thread 'a::b' (12) panicked at src/a.rs:1:2:\nassertion failed\nstack backtrace:\n   0: deep\n\n\n\
            failures:\n    a::b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        check(output, &["a::b\n    thread 'a::b' (12) panicked at src/a.rs:1:2:\n    assertion failed"]);
    }

    #[test]
    fn failures_of_libtest_mimic_are_found_without_the_log_of_the_daemon() {
        let output = "failures:\n\n---- kprobe::a ----\npanicked at a.rs:1:2:\nSYNs: expected 3\n\
            --- log of the daemon ---\nlevel=info\n---\n\n---- kprobe::b ----\npanicked at b.rs\n\nfailures:\n    kprobe::a\n\
            \x20   kprobe::b\n\ntest result: FAILED. 0 passed; 2 failed\n";
        let first = "kprobe::a\n    panicked at a.rs:1:2:\n    SYNs: expected 3";
        check(output, &[first, "kprobe::b\n    panicked at b.rs"]);
    }

    #[test]
    fn a_long_failure_is_cut_short() {
        let output = format!("failures:\n---- a ----\n{}", format!("{}\n", "x".repeat(500)).repeat(10));
        let line = format!("\n    {}", "x".repeat(400));
        check(&output, &[&format!("a{}", line.repeat(6))]);
    }

    #[test]
    fn what_passes_has_no_failures() {
        check("running 1 test\ntest a ... ok\n---- a ----\ntest result: ok. 1 passed; 0 failed\n", &[]);
    }
}
