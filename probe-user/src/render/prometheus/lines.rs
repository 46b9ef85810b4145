//! The lines of one family of ports, written as the encoder of the crate `prometheus` would, without a copy of each label
//! for each of them: with many ports they are nearly all of the text.
use std::fmt::Write as _;

use super::histograms::Bounds;
use crate::{
    metrics::{Kind, Metric},
    model::Histogram,
};

/// The text of one family, as far as it was not handed on yet.
pub(super) struct Lines<'a> {
    text: &'a mut String,
    metric: &'static Metric,
    /// Those of the port whose samples come now, as they are written.
    labels: &'a str,
    bounds: Bounds,
}

/// What can be the value of a sample.
pub(super) trait Number {
    /// Writes the nearest 64-bit float, with as few digits as tell it from all others.
    fn write(self, text: &mut String);
}

/// Up to this every whole number is a 64-bit float.
const EXACT: u64 = 1 << 53;

impl Number for u64 {
    fn write(self, text: &mut String) {
        // Memory takes whatever is written.
        let _ = if self <= EXACT { write!(text, "{self}") } else { write!(text, "{}", self as f64) };
    }
}

impl Number for u32 {
    fn write(self, text: &mut String) {
        u64::from(self).write(text);
    }
}

impl Number for f64 {
    fn write(self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

impl<'a> Lines<'a> {
    /// Begins with what is said of a family before its samples.
    pub(super) fn begin(metric: &'static Metric, text: &'a mut String) -> Self {
        let kind = match metric.kind {
            Kind::Info => Kind::Gauge,
            kind => kind,
        };
        let _ = write!(text, "# HELP {} ", metric.name);
        push_escaped(text, metric.help, &['\\', '\n']);
        let _ = writeln!(text, "\n# TYPE {} {}", metric.name, kind.word());
        Self { text, metric, labels: "", bounds: Bounds::default() }
    }

    /// The samples of another port come from now on.
    pub(super) const fn of(&mut self, labels: &'a str) {
        self.labels = labels;
    }

    /// What was written and not taken yet.
    pub(super) const fn text(&mut self) -> &mut String {
        self.text
    }

    /// A sample, where the number is known.
    pub(super) fn number(&mut self, number: Option<impl Number>) {
        if let Some(number) = number {
            self.sample("", None, number);
        }
    }

    /// A sample for each value of the metric's last label of which the number is known.
    pub(super) fn parts<const PARTS: usize>(&mut self, parts: [(&'static str, Option<impl Number>); PARTS]) {
        let name = self.metric.labels.last().map_or("", |label| label.name());
        for (part, number) in parts {
            if let Some(number) = number {
                self.sample("", Some((name, part)), number);
            }
        }
    }

    /// The series of a histogram: its buckets, of which the last has no bound, the sum and the count.
    pub(super) fn histogram(&mut self, histogram: Option<&Histogram>) {
        let Some(Histogram { upper_bounds, counts, sum }) = histogram else { return };
        let mut bounds = std::mem::take(&mut self.bounds);
        let mut below = 0_u64;
        for (bound, count) in bounds.texts(self.metric, upper_bounds).iter().zip(counts.iter()) {
            below = below.wrapping_add(*count);
            if let Some(bound) = bound {
                self.sample("_bucket", Some(("le", bound)), below);
            }
        }
        self.bounds = bounds;
        let count = counts.iter().fold(0_u64, |sum, count| sum.wrapping_add(*count));
        self.sample("_bucket", Some(("le", "+Inf")), count);
        self.sample("_sum", None, *sum);
        self.sample("_count", None, count);
    }

    /// A sample that says something by its labels: those of a port's place and then these, in the metric's order.
    pub(super) fn information<const LABELS: usize>(&mut self, values: [Option<&str>; LABELS]) {
        // An address has no comma, and what comes before it neither.
        let place = self.labels.split_once(",process=").map_or("", |(place, _)| place);
        for part in [self.metric.name, "{", place] {
            self.text.push_str(part);
        }
        let names = self.metric.labels.iter().skip(self.metric.labels.len().saturating_sub(LABELS));
        for (label, value) in names.zip(values) {
            push_label(self.text, label.name(), value.unwrap_or_default());
        }
        self.text.push_str("} 1\n");
    }

    /// One line. What is in the label is ours, so that nothing in it has to be escaped.
    fn sample(&mut self, suffix: &str, label: Option<(&str, &str)>, number: impl Number) {
        for part in [self.metric.name, suffix, "{", self.labels] {
            self.text.push_str(part);
        }
        if let Some((name, value)) = label {
            for part in [",", name, "=\"", value, "\""] {
                self.text.push_str(part);
            }
        }
        self.text.push_str("} ");
        number.write(self.text);
        self.text.push('\n');
    }
}

/// A label after others.
pub(super) fn push_label(text: &mut String, name: &str, value: &str) {
    for part in [",", name, "=\""] {
        text.push_str(part);
    }
    push_escaped(text, value, &['\\', '\n', '"']);
    text.push('"');
}

fn push_escaped(text: &mut String, value: &str, special: &[char]) {
    for piece in value.split_inclusive(special) {
        match piece.chars().next_back().filter(|last| special.contains(last)) {
            Some(last) => {
                text.push_str(piece.strip_suffix(last).unwrap_or(piece));
                text.push('\\');
                text.push(if last == '\n' { 'n' } else { last });
            }
            None => text.push_str(piece),
        }
    }
}
