//! Samples under construction, and how they become text.
//!
//! The encoder of the crate `prometheus` wants each sample with all its labels as strings of its own. A host with many
//! ports has tens of thousands of samples, so they are kept short here, one family at a time takes that form, and the
//! labels that name a port are handed on from family to family.
use std::{collections::BTreeMap, io, slice};

use prometheus::{
    TextEncoder,
    proto::{
        Counter, Gauge, Histogram as Distribution, LabelPair, Metric as Series, MetricFamily, MetricType,
    },
};

use crate::metrics::{Kind, Metric};

/// A port that was named by [`Families::name_port`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity(usize);

/// All samples, by the name of their family.
#[derive(Default)]
pub(super) struct Families {
    families: BTreeMap<&'static str, Family>,
    ports: Vec<PortLabels>,
}

struct Family {
    metric: &'static Metric,
    samples: Vec<Sample>,
}

struct Sample {
    labels: Labels,
    value: Value,
}

enum Labels {
    /// Those of a port, and the value of one more where the metric has one more.
    OfPort(Identity, Option<&'static str>),
    /// The values, in the order of the catalogue.
    Own(Box<[String]>),
}

enum Value {
    Number(f64),
    Distribution(Box<Distribution>),
}

/// The labels that name a port, and copies of them for families in which it has several samples.
struct PortLabels {
    pair: LabelPair,
    spare: Vec<Vec<LabelPair>>,
}

impl Families {
    /// Takes in the labels that series of a port have: namespace, address, port, process.
    pub(super) fn name_port(&mut self, [netns, address, port, process]: [&str; 4]) -> Identity {
        // The encoder writes a pair as NAME="VALUE" and escapes the value. Nothing in the first three ever needs that, so
        // they are written as a part of the last one's name: one pair in place of four, for every sample of a port.
        let name = format!("netns=\"{netns}\",address=\"{address}\",port=\"{port}\",process");
        self.ports.push(PortLabels { pair: pair(name, process), spare: Vec::new() });
        Identity(self.ports.len().saturating_sub(1))
    }

    /// Adds a sample of a port. `part`: the value of the metric's last label, if it has more than a port's.
    pub(super) fn add_of_port(
        &mut self,
        metric: &'static Metric,
        port: Identity,
        part: Option<&'static str>,
        value: f64,
    ) {
        self.push(metric, Labels::OfPort(port, part), Value::Number(value));
    }

    /// Adds a histogram of a port.
    pub(super) fn add_distribution(
        &mut self,
        metric: &'static Metric,
        port: Identity,
        distribution: Distribution,
    ) {
        self.push(metric, Labels::OfPort(port, None), Value::Distribution(Box::new(distribution)));
    }

    /// Adds any other sample. The label values are in the order of the catalogue's labels.
    pub(super) fn add(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.push(metric, Labels::Own(labels), Value::Number(value));
    }

    fn push(&mut self, metric: &'static Metric, labels: Labels, value: Value) {
        let new = || Family { metric, samples: Vec::new() };
        self.families.entry(metric.name).or_insert_with(new).samples.push(Sample { labels, value });
    }

    /// Writes them, sorted by name.
    pub(super) fn write(mut self, writer: &mut impl io::Write) -> io::Result<()> {
        let (mut series, mut text) = (Vec::new(), String::new());
        for Family { metric, samples } in self.families.into_values() {
            series.extend(samples.iter().map(|sample| sample.series(metric, &mut self.ports)));
            let mut family = empty_family(metric);
            family.set_metric(series);
            text.clear();
            TextEncoder::new().encode_utf8(slice::from_ref(&family), &mut text).map_err(io::Error::other)?;
            writer.write_all(text.as_bytes())?;
            series = family.take_metric();
            for (sample, written) in samples.iter().zip(series.drain(..)) {
                sample.hand_labels_on(written, &mut self.ports);
            }
        }
        Ok(())
    }
}

impl Sample {
    /// As the encoder wants it.
    fn series(&self, metric: &Metric, ports: &mut [PortLabels]) -> Series {
        let mut series = Series::from_label(self.labels.pairs(metric, ports));
        match (&self.value, metric.kind) {
            (Value::Distribution(distribution), _) => series.set_histogram(Distribution::clone(distribution)),
            (Value::Number(value), Kind::Counter) => {
                let mut counter = Counter::default();
                counter.set_value(*value);
                series.set_counter(counter);
            }
            (Value::Number(value), _) => {
                let mut gauge = Gauge::default();
                gauge.set_value(*value);
                series.set_gauge(gauge);
            }
        }
        series
    }

    /// Keeps a port's labels for the next family.
    fn hand_labels_on(&self, mut written: Series, ports: &mut [PortLabels]) {
        if let Labels::OfPort(Identity(port), _) = self.labels
            && let Some(port) = ports.get_mut(port)
        {
            let mut pairs = written.take_label();
            pairs.truncate(1);
            port.spare.push(pairs);
        }
    }
}

impl Labels {
    fn pairs(&self, metric: &Metric, ports: &mut [PortLabels]) -> Vec<LabelPair> {
        match self {
            Self::OfPort(Identity(port), part) => {
                let Some(port) = ports.get_mut(*port) else { return Vec::new() };
                let mut pairs = port.spare.pop().unwrap_or_else(|| vec![port.pair.clone()]);
                let label = part.zip(metric.labels.last());
                pairs.extend(label.map(|(part, label)| pair(label.name().to_owned(), part)));
                pairs
            }
            Self::Own(values) => {
                let labels = metric.labels.iter().zip(values);
                labels.map(|(label, value)| pair(label.name().to_owned(), value)).collect()
            }
        }
    }
}

fn empty_family(metric: &Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge | Kind::Info => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family
}

fn pair(name: String, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue::{ESTABLISHED, PORT_OWNER_INFO, PORTS, SYN_DROPPED};

    fn text(fill: impl FnOnce(&mut Families)) -> Vec<String> {
        let (mut families, mut text) = (Families::default(), Vec::new());
        fill(&mut families);
        families.write(&mut text).unwrap();
        let lines = String::from_utf8(text).unwrap();
        lines.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn labels_of_a_port_are_written_as_all_others_and_stay_with_it_in_every_family() {
        let lines = text(|families| {
            let odd = families.name_port(["1", "::", "80", "a\"b\\c\nd"]);
            let plain = families.name_port(["2", "0.0.0.0", "81", ""]);
            families.add_of_port(&SYN_DROPPED, odd, Some("other"), 1.0);
            families.add_of_port(&SYN_DROPPED, odd, Some("syn_queue_full"), 2.0);
            families.add_of_port(&SYN_DROPPED, plain, Some("other"), 3.0);
            families.add_of_port(&ESTABLISHED, plain, None, 4.0);
            families.add_of_port(&ESTABLISHED, odd, None, 5.0);
            families.add(&PORTS, &[], 6.0);
            families.add(&PORT_OWNER_INFO, &["1", "::", "80", "a\"b\\c\nd"], 1.0);
        });
        let odd = r#"netns="1",address="::",port="80",process="a\"b\\c\nd""#;
        let plain = r#"netns="2",address="0.0.0.0",port="81",process="""#;
        let expected = [
            format!("tcp_backlog_established_total{{{plain}}} 4"),
            format!("tcp_backlog_established_total{{{odd}}} 5"),
            format!("{}{{{odd}}} 1", PORT_OWNER_INFO.name),
            format!("{} 6", PORTS.name),
            format!("tcp_backlog_syn_dropped_total{{{odd},cause=\"other\"}} 1"),
            format!("tcp_backlog_syn_dropped_total{{{odd},cause=\"syn_queue_full\"}} 2"),
            format!("tcp_backlog_syn_dropped_total{{{plain},cause=\"other\"}} 3"),
        ];
        assert_eq!(lines, expected);
    }
}
