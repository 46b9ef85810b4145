//! Whether every metric of the daemon is of use to somebody: in a panel, in a rule, or left out for a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::catalogue::Catalogue;

/// Metrics that no panel and no rule asks for, and why.
const DELIBERATELY_UNUSED: [(&str, &str); 0] = [];

/// Which names were seen.
#[derive(Default)]
pub(super) struct Usage {
    names: BTreeSet<String>,
}

impl Usage {
    /// Notes every word that may be a metric's name.
    pub(super) fn note(&mut self, text: &str) {
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        self.names.extend(words.filter(|word| word.contains('_')).map(str::to_owned));
    }

    /// Notes what stands in the files of a folder, if it is there.
    pub(super) fn note_folder(&mut self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Ok(());
        }
        let advice = || format!("dashboards: cannot read {}", folder.display());
        for entry in fs::read_dir(folder).with_context(advice)? {
            let path = entry.with_context(advice)?.path();
            if path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml") {
                self.note(&fs::read_to_string(&path).with_context(advice)?);
            }
        }
        Ok(())
    }

    /// Metrics that nobody asks for, one line each.
    pub(super) fn problems(&self, catalogue: &Catalogue) -> Vec<String> {
        self.problems_but(catalogue, &DELIBERATELY_UNUSED)
    }

    fn problems_but(&self, catalogue: &Catalogue, unused: &[(&str, &str)]) -> Vec<String> {
        let used: BTreeSet<&str> = self
            .names
            .iter()
            .filter_map(|name| catalogue.find(name)?.metric)
            .map(|(metric, _)| metric)
            .collect();
        let excused = |name: &str| unused.iter().any(|(metric, _)| *metric == name);
        let mut problems: Vec<String> = catalogue
            .names()
            .filter(|name| !used.contains(name) && !excused(name))
            .map(|name| format!("docs/METRICS.md: {name} is in no panel and in no rule: use it, or say in xtask/src/dashboards/usage.rs why not"))
            .collect();
        let stale = unused
            .iter()
            .filter(|(name, _)| used.contains(name) || !catalogue.names().any(|known| known == *name));
        problems.extend(stale.map(|(name, _)| {
            format!("xtask/src/dashboards/usage.rs: {name} is used, or is no metric: take it off the list")
        }));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::example;
    use super::*;

    fn usage(text: &str) -> Usage {
        let mut usage = Usage::default();
        usage.note(text);
        usage
    }

    const ALL_BUT_THE_WAIT: &str =
        "tcp_backlog_a_total + tcp_backlog_peak{port=\"1\"} + tcp_backlog_advice + process_open_fds";

    #[test]
    fn an_unused_metric_is_found() {
        let problems = usage(ALL_BUT_THE_WAIT).problems_but(&example(), &[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("tcp_backlog_wait_seconds is in no panel"));
    }

    #[test]
    fn a_part_of_a_histogram_uses_it() {
        let usage = usage(&format!("{ALL_BUT_THE_WAIT} rate(tcp_backlog_wait_seconds_bucket[5m])"));
        assert_eq!(usage.problems_but(&example(), &[]), [""; 0]);
    }

    #[test]
    fn a_metric_may_be_left_out_for_a_reason_that_still_holds() {
        let unused = [("tcp_backlog_wait_seconds", "nobody waits")];
        assert_eq!(usage(ALL_BUT_THE_WAIT).problems_but(&example(), &unused), [""; 0]);
        let unused = [unused[0], ("tcp_backlog_peak", "is used"), ("tcp_backlog_gone", "is no more")];
        assert_eq!(usage(ALL_BUT_THE_WAIT).problems_but(&example(), &unused).len(), 2);
    }
}
