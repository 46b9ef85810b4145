//! Errors of the kernel in one line each.
use std::error::Error;

use aya::programs::ProgramError;

/// An error and its causes, joined, without line breaks and without what is said twice.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = squeeze(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = squeeze(&error.to_string());
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    let remedy = remedy(&text);
    text + remedy
}

/// Why a program could not be loaded or attached. Of the verifier's log the last line that says something.
pub(super) fn program(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            match last_words(&log) {
                Some(words) => format!("the kernel refused to load it: {io_error}: {words}"),
                None => format!("the kernel refused to load it: {io_error}"),
            }
        }
        other => chain(other),
    }
}

/// The last line of a verifier log that is no statistics.
fn last_words(log: &str) -> Option<&str> {
    let statistics = ["processed ", "verification time", "stack depth"];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start)))
}

/// One line, with a name for ENOTSUPP, which is the kernel's own and has none in user space: a
/// trampoline that cannot take a function's arguments says that.
fn squeeze(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("Unknown error 524 (os error 524)", "not supported by this kernel (errno 524)")
}

/// Upstream CAP_PERFMON suffices for the perf event of a kprobe; Debian's and Ubuntu's kernels have a
/// level of `kernel.perf_event_paranoid` that is stricter, and the default.
fn remedy(text: &str) -> &'static str {
    let refused = text.contains("`perf_event_open` failed: Permission denied");
    if refused { ": CAP_PERFMON suffices only where kernel.perf_event_paranoid is below 3" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_perf_event_has_a_remedy() {
        assert!(remedy("`perf_event_open` failed: Permission denied (os error 13)").contains("paranoid"));
        assert_eq!(remedy("`perf_event_open` failed: No such device (os error 19)"), "");
    }

    #[test]
    fn the_verifiers_last_words_are_not_its_statistics() {
        let check = |log: &str, expected: Option<&str>| assert_eq!(last_words(log), expected);
        check("", None);
        check("processed 3 insns (limit 1000000)\n", None);
        check(
            "0: (b7) r0 = 0\nR1 type=ctx expected=fp\nprocessed 3 insns\n",
            Some("R1 type=ctx expected=fp"),
        );
        check("func 'x' has 7 args\nverification time 3 usec\nstack depth 0\n", Some("func 'x' has 7 args"));
    }
}
