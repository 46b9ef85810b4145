//! What a daemon finds wrong at one place.
use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::Value;

use super::{
    daemon::Daemon,
    wait::{ensure, wait_until},
};

/// Verdicts by rule: how bad, and in which words.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(BTreeMap<String, (String, String)>);

impl Verdicts {
    /// Those on a port.
    pub(crate) fn on(daemon: &Daemon, netns: u64, address: SocketAddr) -> Self {
        let port = Value::from(address.port());
        Self::of(daemon, |verdict| is_of(verdict, netns) && verdict.get("port") == Some(&port))
    }

    /// Those on a whole network namespace, and on its ports.
    pub(crate) fn in_namespace(daemon: &Daemon, netns: u64) -> Self {
        Self::of(daemon, |verdict| is_of(verdict, netns))
    }

    /// Those at the places that are meant.
    pub(crate) fn of(daemon: &Daemon, is_it: impl Fn(&Value) -> bool) -> Self {
        let diagnosis = daemon.diagnosis();
        let verdicts = diagnosis.get("verdicts").and_then(Value::as_array).expect("verdicts");
        let text = |verdict: &Value, field: &str| {
            verdict.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let known =
            |verdict: &Value| (text(verdict, "rule"), (text(verdict, "severity"), text(verdict, "title")));
        Self(verdicts.iter().filter(|verdict| is_it(verdict)).map(known).collect())
    }

    /// The words of a rule that is said to be this bad.
    pub(crate) fn title(&self, rule: &str, severity: &str) -> Result<&str, String> {
        match self.0.get(rule) {
            Some((known, title)) if known == severity => Ok(title),
            _ => Err(format!("not {severity} {rule}: {self:?}")),
        }
    }

    /// A rule is silent.
    pub(crate) fn lack(&self, rule: &str) -> Result<(), String> {
        ensure(!self.0.contains_key(rule), || format!("{rule}: {self:?}"))
    }

    /// No rule says anything.
    pub(crate) fn are_none(&self) -> Result<(), String> {
        ensure(self.0.is_empty(), || format!("{self:?}"))
    }

    /// Nothing is lost, by any rule.
    pub(crate) fn nothing_is_lost(&self) -> Result<(), String> {
        ensure(self.0.values().all(|(severity, _)| severity != "losing"), || format!("{self:?}"))
    }
}

fn is_of(verdict: &Value, netns: u64) -> bool {
    verdict.get("netns") == Some(&Value::from(netns))
}

/// Waits until a rule says this.
pub(crate) fn wait_for_verdict(rule: &str, severity: &str, verdicts: impl Fn() -> Verdicts) -> String {
    wait_until(&format!("{severity} {rule}"), || verdicts().title(rule, severity).map(str::to_owned))
}
