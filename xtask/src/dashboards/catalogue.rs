//! Which metrics there are and what labels they have, as docs/METRICS.md says: it is generated from the daemon's own list.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

/// Labels that Prometheus gives to everything it scrapes.
const OF_EVERY_TARGET: [&str; 2] = ["instance", "job"];

/// What Prometheus itself says of each target.
const OF_PROMETHEUS: [&str; 4] =
    ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"];

/// A metric as the document describes it.
#[derive(Debug)]
pub(crate) struct Metric {
    kind: Kind,
    labels: BTreeSet<String>,
    /// The text, in which the values of labels are named.
    meaning: String,
    /// What must be attached, in words.
    plans: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All metrics by name.
#[derive(Debug)]
pub(crate) struct Catalogue {
    metrics: BTreeMap<String, Metric>,
    /// What Prometheus records by a rule, which panels may show as well.
    recorded: BTreeSet<String>,
}

/// A series as an expression names it.
pub(crate) struct Series<'a> {
    /// The metric that it is of; `None`: of Prometheus itself.
    pub(crate) metric: Option<(&'a str, &'a Metric)>,
    /// Whether it only grows, so that its value means nothing without a rate.
    pub(crate) grows: bool,
    is_bucket: bool,
    /// By a rule of Prometheus: which labels it has the rule says.
    is_recorded: bool,
}

impl Catalogue {
    /// Reads the tables of docs/METRICS.md.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        let mut metrics = BTreeMap::new();
        for line in document.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, kind, labels, meaning, plans, ..] = cells.as_slice() else {
                bail!(
                    "docs/METRICS.md: a row without the columns metric, type, labels, meaning, plans: {line}"
                );
            };
            let kind = match *kind {
                "counter" => Kind::Counter,
                "gauge" | "info" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                other => bail!("docs/METRICS.md: no such type of metric: {other}"),
            };
            let labels = labels.split(',').map(|label| label.trim().trim_matches('`'));
            let labels = labels.filter(|label| *label != "none").map(str::to_owned).collect();
            let meaning = meaning.replace('\\', "");
            metrics.insert(
                name.trim_matches('`').to_owned(),
                Metric { kind, labels, meaning, plans: (*plans).to_owned() },
            );
        }
        if metrics.is_empty() {
            bail!("docs/METRICS.md: no table of metrics in it; remedy: cargo xtask metrics-docs");
        }
        Ok(Self { metrics, recorded: BTreeSet::new() })
    }

    /// The same with the names that recording rules make.
    pub(crate) fn with_recorded(self, recorded: BTreeSet<String>) -> Self {
        Self { recorded, ..self }
    }

    /// Every metric's name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.metrics.keys().map(String::as_str)
    }

    /// Metrics that every daemon has, whatever its plan.
    pub(crate) fn everywhere(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().filter(|(_, metric)| metric.plans == "every host").map(|(name, _)| name.as_str())
    }

    /// Which plans measure a metric, in the document's words; empty if it has no such metric.
    pub(crate) fn plans_of(&self, name: &str) -> &str {
        self.metrics.get(name).map_or("", |metric| &metric.plans)
    }

    /// What a name in a panel stands for: there it may be of a rule, too.
    pub(crate) fn find_or_recorded(&self, name: &str) -> Option<Series<'_>> {
        let recorded = Series { metric: None, grows: false, is_bucket: false, is_recorded: true };
        if self.recorded.contains(name) { Some(recorded) } else { self.find(name) }
    }

    /// What a name in an expression stands for.
    pub(crate) fn find(&self, name: &str) -> Option<Series<'_>> {
        if OF_PROMETHEUS.contains(&name) {
            return Some(Series { metric: None, grows: false, is_bucket: false, is_recorded: false });
        }
        if let Some((name, metric)) = self.metrics.get_key_value(name) {
            // A histogram has no series of its bare name.
            return (metric.kind != Kind::Histogram).then_some(Series {
                metric: Some((name, metric)),
                grows: metric.kind == Kind::Counter,
                is_bucket: false,
                is_recorded: false,
            });
        }
        let (base, part) = name.rsplit_once('_')?;
        let (base, metric) = self.metrics.get_key_value(base)?;
        let is_part = metric.kind == Kind::Histogram && matches!(part, "bucket" | "sum" | "count");
        is_part.then_some(Series {
            metric: Some((base, metric)),
            grows: true,
            is_bucket: part == "bucket",
            is_recorded: false,
        })
    }
}

impl Series<'_> {
    /// Whether the series may have this label.
    pub(crate) fn has_label(&self, label: &str) -> bool {
        self.is_recorded
            || OF_EVERY_TARGET.contains(&label)
            || (label == "le" && self.is_bucket)
            || self.metric.is_some_and(|(_, metric)| metric.labels.contains(label))
    }

    /// Whether the document names this value of a label of the metric.
    pub(crate) fn names_value(&self, value: &str) -> bool {
        let number = value.trim_end_matches('s');
        self.metric.is_some_and(|(_, metric)| {
            let mut words =
                metric.meaning.split(|character: char| !character.is_alphanumeric() && character != '_');
            // Windows are `60s` in the label, and 60 seconds in words.
            words.any(|word| word == value || (word == number && number.parse::<u32>().is_ok()))
        })
    }
}

#[cfg(test)]
pub(super) fn example() -> Catalogue {
    let document = "| metric | type | labels | meaning | plans |\n| --- | --- | --- | --- | --- |\n\
        | `tcp_backlog_a_total` | counter | `netns`, `port` | A: b\\_c. | every host |\n\
        | `tcp_backlog_wait_seconds` | histogram | `port` | How long. | kprobe |\n\
        | `tcp_backlog_peak` | gauge | `port`, `window` | Of 1, 15 or 60 seconds. | kprobe |\n\
        | `tcp_backlog_advice` | gauge | `severity` | How bad (losing, warning). | kprobe |\n\
        | `process_open_fds` | gauge | none | Files. | every host |\n";
    Catalogue::parse(document).expect("a table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_labels_of_the_table_and_those_of_every_target() {
        let catalogue = example();
        let counter = catalogue.find("tcp_backlog_a_total").unwrap();
        assert!(counter.grows);
        assert!(["netns", "port", "job", "instance"].iter().all(|label| counter.has_label(label)));
        assert!(!counter.has_label("le") && !counter.has_label("none"));
        assert!(catalogue.find("process_open_fds").is_some());
        assert!(catalogue.find("tcp_backlog_b_total").is_none());
        assert_eq!(catalogue.everywhere().collect::<Vec<_>>(), ["process_open_fds", "tcp_backlog_a_total"]);
    }

    #[test]
    fn a_histogram_is_its_parts() {
        let catalogue = example();
        assert!(catalogue.find("tcp_backlog_wait_seconds").is_none());
        let bucket = catalogue.find("tcp_backlog_wait_seconds_bucket").unwrap();
        assert!(bucket.has_label("le") && bucket.grows);
        assert!(!catalogue.find("tcp_backlog_wait_seconds_count").unwrap().has_label("le"));
        assert!(catalogue.find("tcp_backlog_peak_count").is_none());
    }

    #[test]
    fn values_of_labels_are_looked_for_in_the_text() {
        let catalogue = example();
        assert!(catalogue.find("tcp_backlog_advice").unwrap().names_value("losing"));
        assert!(!catalogue.find("tcp_backlog_advice").unwrap().names_value("loosing"));
        assert!(catalogue.find("tcp_backlog_peak").unwrap().names_value("60s"));
        assert!(!catalogue.find("tcp_backlog_peak").unwrap().names_value("30s"));
    }

    #[test]
    fn a_document_without_a_table_is_refused() {
        assert!(Catalogue::parse("# Metrics\n").is_err());
        assert!(Catalogue::parse("| `a` | odd | none | x | y |\n").is_err());
    }
}
