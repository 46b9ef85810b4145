//! Prometheus' text format, family by family: what is added becomes text at once, and nothing is kept beside it.
use std::{fmt::Write as _, io};

use crate::metrics::{Kind, Metric};

/// One family as far as it is written.
#[derive(Debug)]
pub(super) struct Family {
    text: String,
}

impl Family {
    /// With its heading. `room`: how much text there may come to be.
    pub(super) fn begin(metric: &Metric, room: usize) -> Self {
        let mut text = String::with_capacity(room);
        text.push_str("# HELP ");
        text.push_str(metric.name);
        text.push(' ');
        push_escaped(&mut text, metric.help, false);
        text.push_str("\n# TYPE ");
        text.push_str(metric.name);
        text.push_str(match metric.kind {
            Kind::Counter => " counter\n",
            Kind::Gauge | Kind::Info => " gauge\n",
            Kind::Histogram => " histogram\n",
        });
        Self { text }
    }

    /// A sample. `suffix` belongs to the name, `bound` is that of a histogram's bucket.
    pub(super) fn add(
        &mut self,
        metric: &Metric,
        suffix: &str,
        labels: &[&str],
        bound: Option<&str>,
        value: f64,
    ) {
        self.text.push_str(metric.name);
        self.text.push_str(suffix);
        let pairs = metric.labels.iter().map(|label| label.name()).zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in pairs.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value, true);
            self.text.push('"');
            separator = ',';
        }
        self.text.push_str(if separator == ',' { "} " } else { " " });
        push_number(&mut self.text, value);
        self.text.push('\n');
    }

    pub(super) fn write(&self, writer: &mut impl io::Write) -> io::Result<()> {
        writer.write_all(self.text.as_bytes())
    }
}

/// Above this not every whole number is a float.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// The shortest text that is this number again. Most are counts, which are written much faster as such.
pub(super) fn push_number(text: &mut String, value: f64) {
    // Writing to a text cannot fail.
    let _ = if (0.0..WHOLE).contains(&value) && value.fract() == 0.0 && value.is_sign_positive() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and not negative"
        )]
        let count = value as u64;
        write!(text, "{count}")
    } else {
        write!(text, "{value}")
    };
}

fn push_escaped(text: &mut String, value: &str, quotes: bool) {
    let is_special = |byte: u8| matches!(byte, b'\\' | b'\n') || (quotes && byte == b'"');
    if !value.bytes().any(is_special) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(value: f64) -> String {
        let mut text = String::new();
        push_number(&mut text, value);
        text
    }

    #[test]
    fn what_means_something_in_the_format_is_escaped() {
        let check = |value: &str, quotes: bool, expected: &str| {
            let mut text = String::new();
            push_escaped(&mut text, value, quotes);
            assert_eq!(text, expected);
        };
        check("a\\b\n\"c\"", true, "a\\\\b\\n\\\"c\\\"");
        check("a\\b\n\"c\"", false, "a\\\\b\\n\"c\"");
        check("für", true, "für");
    }

    proptest! {
        #[test]
        fn every_number_is_written_as_rust_writes_it(bits: u64, count in 0..1_u64 << 54) {
            let (any, whole) = (f64::from_bits(bits), count as f64);
            prop_assert_eq!(number(any), any.to_string());
            prop_assert_eq!(number(whole), whole.to_string());
            prop_assert_eq!(number(-whole), (-whole).to_string());
        }
    }
}
