//! Families of samples, and how they become text.
//!
//! Those of ports are nearly all of it, and are written from the model (`ports`, `lines`). All others go through the encoder of the
//! crate `prometheus`, one family at a time, because its form of a sample is large.
use std::{collections::BTreeMap, io, slice};

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric as Series, MetricFamily, MetricType},
};

use super::ports::{self, Ports};
use crate::metrics::{Kind, Metric};

/// All families that are not of ports, by name.
#[derive(Default)]
pub(super) struct Families {
    families: BTreeMap<&'static str, Family>,
}

struct Family {
    metric: &'static Metric,
    samples: Samples,
}

enum Samples {
    /// Each with the values of its labels, in the order of the catalogue.
    Known(Vec<(Box<[String]>, f64)>),
    OfPorts(ports::Write),
}

impl Families {
    /// Adds a sample. The label values are in the order of the catalogue's labels.
    pub(super) fn add(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let new = || Family { metric, samples: Samples::Known(Vec::new()) };
        let family = self.families.entry(metric.name).or_insert_with(new);
        if let Samples::Known(samples) = &mut family.samples {
            samples.push((labels.iter().map(|label| (*label).to_owned()).collect(), value));
        }
    }

    /// Writes them and those of ports, sorted by name.
    pub(super) fn write(mut self, ports: &Ports<'_>, writer: &mut impl io::Write) -> io::Result<()> {
        let of_ports =
            |(metric, write): (&'static Metric, _)| Family { metric, samples: Samples::OfPorts(write) };
        self.families.extend(ports::FAMILIES.map(of_ports).map(|family| (family.metric.name, family)));
        let mut text = String::new();
        for Family { metric, samples } in self.families.into_values() {
            match samples {
                Samples::OfPorts(write) => ports.write(metric, write, &mut text, writer)?,
                Samples::Known(samples) => {
                    text.clear();
                    let series = samples.into_iter().map(|(labels, value)| series(metric, &labels, value));
                    encode(metric, series.collect(), &mut text)?;
                    writer.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

/// By the crate's encoder.
pub(super) fn encode(metric: &Metric, series: Vec<Series>, text: &mut String) -> io::Result<()> {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge | Kind::Info => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(series);
    TextEncoder::new().encode_utf8(slice::from_ref(&family), text).map_err(io::Error::other)
}

/// A sample as the encoder wants it: with all its labels as strings of its own.
pub(super) fn series(metric: &Metric, labels: &[String], value: f64) -> Series {
    let pair = |(name, value): (&str, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.clone());
        pair
    };
    let names = metric.labels.iter().map(|label| label.name());
    let mut series = Series::from_label(names.zip(labels).map(pair).collect());
    if metric.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        series.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        series.set_gauge(gauge);
    }
    series
}
