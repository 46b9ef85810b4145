//! Whether rules, alerts and their tests name metrics and labels that the daemon has: a misspelt one matches nothing, and
//! an alert of it stays silent for ever.

use std::collections::BTreeSet;

use super::yaml::Entry;
use crate::dashboards::{
    catalogue::Catalogue,
    promql::{self, Selector},
};

/// What Prometheus makes of alerts.
const OF_ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];
/// Labels that alerts have of their own.
const LABELS_OF_ALERTS: [&str; 4] = ["alertname", "alertstate", "severity", "problem"];
/// Labels whose values docs/METRICS.md names, one and all.
const WITH_KNOWN_VALUES: [&str; 6] = ["window", "cause", "reason", "method", "severity", "stage"];

/// What may be named.
pub(crate) struct Names<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// Names that recording rules make.
    pub(crate) recorded: BTreeSet<String>,
}

impl Names<'_> {
    /// What is wrong with an entry, one line each; nothing with an entry that names no metric.
    pub(crate) fn problems(&self, entry: &Entry) -> Vec<String> {
        let expressions = match entry.key.as_str() {
            "expr" | "series" => vec![entry.value.clone()],
            "summary" | "description" => queries(&entry.value),
            _ => Vec::new(),
        };
        expressions.iter().flat_map(|expression| self.problems_in(expression)).collect()
    }

    fn problems_in(&self, expression: &str) -> Vec<String> {
        let read = match promql::read(expression) {
            Ok(read) => read,
            Err(error) => return vec![format!("cannot be read: {error}")],
        };
        let mut problems: Vec<String> =
            read.selectors.iter().flat_map(|selector| self.problems_of(selector)).collect();
        let unknown = read.labels.iter().filter(|label| !self.is_label(label));
        problems.extend(unknown.map(|label| format!("no metric has the label {label}")));
        problems
    }

    fn problems_of(&self, selector: &Selector) -> Vec<String> {
        let name = selector.metric.as_str();
        let labels = selector.matchers.iter().map(|matcher| matcher.label.as_str());
        if OF_ALERTS.contains(&name) {
            let unknown = labels.filter(|label| !LABELS_OF_ALERTS.contains(label) && !self.is_label(label));
            return unknown.map(|label| format!("no alert has the label {label}")).collect();
        }
        if self.recorded.contains(name) {
            let unknown = labels.filter(|label| !self.is_label(label));
            return unknown.map(|label| format!("{name} cannot have the label {label}")).collect();
        }
        let Some(series) = self.catalogue.find(name) else {
            return vec![format!("{name} is neither in docs/METRICS.md nor recorded")];
        };
        let mut problems = Vec::new();
        for matcher in &selector.matchers {
            if !series.has_label(&matcher.label) {
                problems.push(format!("{name} has no label {}", matcher.label));
            } else if WITH_KNOWN_VALUES.contains(&matcher.label.as_str()) {
                // The document's words have no dash in them: of `socket-drops` both halves are looked for.
                let is_named = |value: &&str| value.split('-').all(|word| series.names_value(word));
                let unknown = matcher.value.split('|').filter(|value| !is_named(value));
                problems
                    .extend(unknown.map(|value| format!("{name} has no {} called {value}", matcher.label)));
            }
        }
        problems
    }

    fn is_label(&self, label: &str) -> bool {
        self.catalogue.names().any(|name| {
            let parts = [name.to_owned(), format!("{name}_bucket")];
            parts.iter().filter_map(|name| self.catalogue.find(name)).any(|series| series.has_label(label))
        })
    }
}

/// The expressions in a template: in back quotes, with `%q` where the alert's labels are put in.
pub(super) fn queries(template: &str) -> Vec<String> {
    // Text has back quotes around commands; a query stands behind printf.
    let behind = template.split("printf `").skip(1);
    behind.filter_map(|rest| rest.split('`').next()).map(|query| query.replace("%q", "\"\"")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::catalogue::example;
    use super::*;

    fn problems(key: &str, value: &str) -> Vec<String> {
        let catalogue = example();
        let names = Names { catalogue: &catalogue, recorded: BTreeSet::from(["port:a:sum".to_owned()]) };
        names.problems(&Entry { key: key.to_owned(), value: value.to_owned(), line: 1 })
    }

    #[test]
    fn what_there_is_may_be_named() {
        for expression in [
            "sum without (netns) (rate(tcp_backlog_a_total{port!=\"other\"}[5m])) > 0",
            "port:a:sum{netns=\"1\"} unless port:a:sum offset 10m",
            "tcp_backlog_wait_seconds_bucket{le=\"1\"} and on (job, instance) up",
            "ALERTS{alertname=\"X\",alertstate=\"firing\",port=\"1\"}",
            "tcp_backlog_peak{window=\"60s\"} or tcp_backlog_peak{window=~\"1s|15s\"}",
        ] {
            assert_eq!(problems("expr", expression), Vec::<String>::new(), "{expression}");
        }
    }

    #[test]
    fn a_misspelt_metric_is_found() {
        let message = ["tcp_backlog_b_total is neither in docs/METRICS.md nor recorded"];
        assert_eq!(problems("expr", "rate(tcp_backlog_b_total[5m])"), message);
        assert_eq!(problems("series", "tcp_backlog_b_total{port=\"1\"}"), message);
        assert_eq!(problems("description", "{{ with printf `tcp_backlog_b_total` | query }}"), message);
        assert_eq!(problems("expr", "port:a:sun").len(), 1);
        assert_eq!(problems("expr", "tcp_backlog_wait_seconds").len(), 1);
    }

    #[test]
    fn a_misspelt_label_or_value_is_found() {
        assert_eq!(
            problems("expr", "tcp_backlog_a_total{prot=\"1\"}"),
            ["tcp_backlog_a_total has no label prot"]
        );
        assert_eq!(problems("expr", "sum by (prot) (tcp_backlog_a_total)"), ["no metric has the label prot"]);
        assert_eq!(problems("expr", "port:a:sum{prot=\"1\"}"), ["port:a:sum cannot have the label prot"]);
        assert_eq!(problems("expr", "ALERTS{alertnam=\"1\"}"), ["no alert has the label alertnam"]);
        let query = "{{ with printf `tcp_backlog_advice{severity=\"loosing\"}` | query }}";
        assert_eq!(problems("summary", query), ["tcp_backlog_advice has no severity called loosing"]);
    }

    #[test]
    fn commands_in_texts_are_no_expressions() {
        let text = "On the host, `tcp-backlog-probe doctor` says it. {{ with printf `port:a:sum{netns=%q}` $labels.netns | query }}";
        assert_eq!(queries(text), ["port:a:sum{netns=\"\"}"]);
        assert!(problems("description", text).is_empty());
    }
}
