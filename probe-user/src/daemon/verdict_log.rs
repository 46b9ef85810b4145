//! One line in the log when something begins to be wrong, and one when it no longer is.
use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use crate::model::advice::{Place, Rule, Severity, Verdict};

/// Past so many verdicts at once no more are logged: a host with thousands of ports may have thousands.
const MOST_VERDICTS: usize = 256;

/// Remembers what the log knows to be wrong, by rule and place, whatever the numbers.
#[derive(Debug, Default)]
pub struct VerdictLog {
    known: BTreeMap<(Rule, Place), Severity>,
}

impl VerdictLog {
    /// Logs what is new among the verdicts, what is worse than it was, and what is gone.
    pub fn note(&mut self, verdicts: &[Verdict]) {
        let now: BTreeSet<_> = verdicts.iter().map(key).collect();
        self.known.retain(|known, _| {
            let goes_on = now.contains(known);
            if !goes_on {
                log_end(known.0, &known.1);
            }
            goes_on
        });
        for verdict in verdicts {
            let key = key(verdict);
            let known = self.known.get(&key);
            // What the log knows stays known, however many others come.
            if known.is_none() && self.known.len() >= MOST_VERDICTS {
                continue;
            }
            if known.is_none_or(|known| *known < verdict.severity) {
                log_begin(verdict);
            }
            self.known.insert(key, verdict.severity);
        }
    }
}

/// A place without the name of its process, which may become known later.
fn key(verdict: &Verdict) -> (Rule, Place) {
    (verdict.rule, Place { process: None, ..verdict.place.clone() })
}

fn log_begin(verdict: &Verdict) {
    let Place { netns, address, port, process } = &verdict.place;
    warn!(
        rule = verdict.rule.label(),
        severity = verdict.severity.label(),
        netns,
        address = address.map(tracing::field::display),
        port,
        process = process.as_deref(),
        verdict = verdict.title,
        "something is wrong; doctor says what to do"
    );
}

fn log_end(rule: Rule, place: &Place) {
    let Place { netns, address, port, process: _ } = place;
    info!(
        rule = rule.label(),
        netns,
        address = address.map(tracing::field::display),
        port,
        "no longer wrong"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::captured::lines_of;

    fn verdict(rule: Rule, severity: Severity, port: u16) -> Verdict {
        Verdict {
            rule,
            severity,
            place: Place { port: Some(port), ..Place::default() },
            title: "t".to_owned(),
            meaning: None,
            evidence: Vec::new(),
            remedy: Vec::new(),
        }
    }

    /// Level, rule and port of the lines that are made when these are noted one after the other.
    fn said(notes: &[Vec<Verdict>]) -> Vec<(String, String, u64)> {
        let mut log = VerdictLog::default();
        let lines = lines_of(|| notes.iter().for_each(|verdicts| log.note(verdicts)));
        let text = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap().to_owned();
        let said = |line: &serde_json::Value| {
            (text(line, "level"), text(line, "rule"), line["port"].as_u64().unwrap())
        };
        lines.iter().map(said).collect()
    }

    #[test]
    fn what_begins_gets_worse_or_ends_is_said_once_whatever_the_numbers() {
        let check = |notes: &[Vec<Verdict>], expected: &[(&str, &str)]| {
            let said = said(notes);
            let said: Vec<_> = said.iter().map(|(level, rule, _)| (level.as_str(), rule.as_str())).collect();
            assert_eq!(said, expected);
        };
        let stalled = verdict(Rule::AcceptorStalled, Severity::Warning, 80);
        let renamed = Verdict {
            title: "another number".to_owned(),
            place: Place { process: Some("java".into()), ..stalled.place.clone() },
            ..stalled.clone()
        };
        let worse = Verdict { severity: Severity::Losing, ..stalled.clone() };
        let other = verdict(Rule::NearOverflow, Severity::Warning, 80);
        let (begun, ended) = (("WARN", "acceptor_stalled"), ("INFO", "acceptor_stalled"));
        let (nothing, stalled) = (Vec::new, || vec![stalled.clone()]);
        check(&[nothing(), nothing()], &[]);
        check(&[stalled(), vec![renamed], stalled()], &[begun]);
        check(&[stalled(), vec![worse.clone()], stalled()], &[begun, begun]);
        check(&[stalled(), nothing()], &[begun, ended]);
        check(&[stalled(), [stalled(), vec![other]].concat()], &[begun, ("WARN", "near_overflow")]);
        check(&[vec![worse], nothing(), nothing()], &[begun, ended]);
    }

    #[test]
    fn thousands_of_verdicts_do_not_fill_the_log() {
        let many: Vec<_> =
            (0..1_000).map(|port| verdict(Rule::BurstTooBig, Severity::Losing, port)).collect();
        let said = said(&[many.clone(), many]);
        assert_eq!(said.len(), MOST_VERDICTS);
    }

    #[test]
    fn what_is_still_wrong_does_not_end_because_something_worse_comes() {
        let old: Vec<_> = (0..300).map(|port| verdict(Rule::BurstTooBig, Severity::Warning, port)).collect();
        let worse = verdict(Rule::AcceptorStalled, Severity::Losing, 9_999);
        let with_worse = [vec![worse], old.clone()].concat();
        let said = said(&[old.clone(), with_worse, old]);
        assert_eq!(said.len(), MOST_VERDICTS, "{:?}", said.get(MOST_VERDICTS..));
    }
}
