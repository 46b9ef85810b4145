//! What is written from the model is what the encoder of the crate `prometheus` would write.
use prometheus::proto::{Bucket, Histogram as Distribution, LabelPair, Metric as Series};
use proptest::{collection::vec, prelude::*};

use super::{
    families::{encode, series},
    lines::{Lines, push_label},
};
use crate::{
    metrics::{
        Metric,
        catalogue::{ACCEPT_QUEUE_FILL, ESTABLISHED, LAST_ACCEPT_TIME, PORT_OWNER_INFO, SYN_DROPPED},
    },
    model::Histogram,
};

/// Any text, with what needs escaping more often than chance would have it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a\"\\\\\n{}=, #\r]{0,12}"]
}

fn written(metric: &'static Metric, process: &str, write: impl FnOnce(&mut Lines<'_>)) -> String {
    let mut labels = "netns=\"1\",address=\"::\",port=\"80\"".to_owned();
    push_label(&mut labels, "process", process);
    let mut text = String::new();
    let mut lines = Lines::begin(metric, &mut text);
    lines.of(&labels);
    write(&mut lines);
    text
}

fn encoded(metric: &Metric, series: Vec<Series>) -> String {
    let mut text = String::new();
    encode(metric, series, &mut text).unwrap();
    text
}

fn labels(process: &str, more: &[&str]) -> Vec<String> {
    ["1", "::", "80", process].iter().chain(more).map(|label| (*label).to_owned()).collect()
}

/// The encoder's form of a histogram.
fn distribution(labels: &[LabelPair], histogram: &Histogram) -> Series {
    let (mut distribution, mut below) = (Distribution::default(), 0_u64);
    let bucket = |(bound, count): (&f64, &u64)| {
        below = below.wrapping_add(*count);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let buckets = histogram.upper_bounds.iter().zip(histogram.counts.iter()).map(bucket);
    distribution.set_bucket(buckets.collect());
    distribution.set_sample_sum(histogram.sum);
    distribution.set_sample_count(histogram.count());
    let mut series = Series::from_label(labels.to_vec());
    series.set_histogram(distribution);
    series
}

proptest! {
    #[test]
    fn numbers_and_labels_are_written_as_the_encoder_writes_them(
        process in text(), counts: [Option<u64>; 2], time: f64, owner: [Option<String>; 6],
    ) {
        let of = |metric, labels: &[&str], value| series(metric, &self::labels(&process, labels), value);
        for count in counts.into_iter().flatten().chain([0, 1 << 53, (1 << 53) + 1, u64::MAX]) {
            let text = written(&ESTABLISHED, &process, |lines| lines.number(Some(count)));
            prop_assert_eq!(text, encoded(&ESTABLISHED, vec![of(&ESTABLISHED, &[], count as f64)]));
        }
        for time in [time, 0.0, -0.0, f64::INFINITY, f64::NAN, 1_700_000_000.25] {
            let text = written(&LAST_ACCEPT_TIME, &process, |lines| lines.number(Some(time)));
            prop_assert_eq!(text, encoded(&LAST_ACCEPT_TIME, vec![of(&LAST_ACCEPT_TIME, &[], time)]));
        }
        let parts = [("other", counts[0]), ("syn_queue_full", counts[1])];
        let known = parts.iter().filter_map(|(part, count)| Some(of(&SYN_DROPPED, &[part], (*count)? as f64)));
        let known: Vec<_> = known.collect();
        if !known.is_empty() {
            let text = written(&SYN_DROPPED, &process, |lines| lines.parts(parts));
            prop_assert_eq!(text, encoded(&SYN_DROPPED, known));
        }
        let owner = owner.each_ref().map(Option::as_deref);
        let all = of(&PORT_OWNER_INFO, &owner.map(Option::unwrap_or_default), 1.0);
        let [command, application, unit, container, pod, user] = owner;
        let text = written(&PORT_OWNER_INFO, "of the port", |lines| {
            lines.information([Some(process.as_str()), command, application, unit, container, pod, user]);
        });
        prop_assert_eq!(text, encoded(&PORT_OWNER_INFO, vec![all]));
    }

    #[test]
    fn histograms_are_written_as_the_encoder_writes_them(
        process in text(),
        all in vec((vec(any::<u64>(), 4), prop_oneof![Just(0.0), any::<f64>()]), 1..4),
        bounds in prop_oneof![Just([0.05, 0.5, 1.0]), any::<[f64; 3]>()],
    ) {
        prop_assume!(bounds.iter().all(|bound| bound.is_finite()));
        let histogram = |(counts, sum): &(Vec<u64>, f64)| Histogram {
            upper_bounds: bounds.into(),
            counts: counts.as_slice().into(),
            sum: *sum,
        };
        let all: Vec<_> = all.iter().map(histogram).collect();
        let text = written(&ACCEPT_QUEUE_FILL, &process, |lines| {
            all.iter().for_each(|histogram| lines.histogram(Some(histogram)));
        });
        let labels = series(&ACCEPT_QUEUE_FILL, &labels(&process, &[]), 0.0).take_label();
        let expected = all.iter().map(|histogram| distribution(&labels, histogram)).collect();
        prop_assert_eq!(text, encoded(&ACCEPT_QUEUE_FILL, expected));
    }
}
