//! What `tcp-backlog-probe doctor --json` says, as far as a story has to understand it.

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The doctor's answer in both its forms.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    /// As people read it.
    pub(super) text: String,
    pub(super) exit_code: i32,
    /// The command that says so, as one would type it.
    pub(super) command: String,
    pub(super) answer: Answer,
}

/// The answer for programs.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Answer {
    pub(super) health: String,
    /// The worst first.
    #[serde(default)]
    pub(super) verdicts: Vec<Verdict>,
}

/// One finding.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Verdict {
    pub(super) rule: String,
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) remedy: Vec<Step>,
}

/// One thing to do about it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Step {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) command: Option<String>,
}

impl Answer {
    pub(super) fn read(json: &str) -> Result<Self> {
        serde_json::from_str(json).context("demo: what doctor --json prints is not what was agreed on")
    }

    /// The exit code that goes with it.
    pub(super) fn exit_code(&self) -> i32 {
        match self.health.as_str() {
            "healthy" => 0,
            "advice" => 1,
            "losing" => 2,
            _ => 3,
        }
    }

    /// The worst verdict.
    pub(super) fn first(&self) -> Option<&Verdict> {
        self.verdicts.first()
    }

    /// The worst verdict's rule, or nothing.
    pub(super) fn rule(&self) -> &str {
        self.first().map_or("", |verdict| &verdict.rule)
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        match self.first() {
            Some(verdict) => format!("{}: {}", self.health, verdict.rule),
            None => self.health.clone(),
        }
    }
}

impl Verdict {
    /// What helps at once: why, and the command as it is printed.
    pub(super) fn steps_now(&self) -> Vec<(&str, &str)> {
        let now = self.remedy.iter().filter(|step| step.kind == "now");
        now.filter_map(|step| Some((step.text.as_str(), step.command.as_deref()?))).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn answer(health: &str, rule: &str, title: &str) -> Answer {
        let verdict = Verdict { rule: rule.to_owned(), title: title.to_owned(), remedy: Vec::new() };
        let verdicts = if rule.is_empty() { Vec::new() } else { vec![verdict] };
        Answer { health: health.to_owned(), verdicts }
    }

    #[test]
    fn the_first_verdict_is_the_worst() {
        let json = r#"{"version":1,"health":"losing","window_seconds":300,"verdicts":[
            {"rule":"clamped_by_somaxconn","severity":"losing","title":"asked for 10000, got 128","remedy":[
                {"kind":"now","text":"raise it","command":"sysctl -w a=1"},
                {"kind":"lasting","text":"keep it","command":"echo a=1"},
                {"kind":"restart","text":"restart java","command":null}]},
            {"rule":"burst_too_big","title":"","remedy":[]}]}"#;
        let answer = Answer::read(json).unwrap();
        assert_eq!(answer.rule(), "clamped_by_somaxconn");
        assert_eq!(answer.summary(), "losing: clamped_by_somaxconn");
        assert_eq!(answer.first().unwrap().steps_now(), [("raise it", "sysctl -w a=1")]);
    }

    #[test]
    fn no_verdict_is_no_rule() {
        let answer = Answer::read(r#"{"health":"healthy","verdicts":[]}"#).unwrap();
        assert_eq!((answer.rule(), answer.summary().as_str(), answer.exit_code()), ("", "healthy", 0));
        assert!(Answer::read("{}").is_err());
    }
}
