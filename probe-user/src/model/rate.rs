//! How fast connections come and go: differences of totals over the last seconds.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plan::outcome::Coverage,
    sample::{PortId, Sample},
    sorted::Sorted,
};

/// Events per second on one port, over the last five seconds or a little more; `None` is "cannot be known here",
/// or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rates {
    /// SYNs that reached the listeners.
    pub syn_received_per_second: Option<f64>,
    /// Finished handshakes put in the accept queue.
    pub established_per_second: Option<f64>,
    /// Connections that accept() took out of it.
    pub accepted_per_second: Option<f64>,
}

/// The totals that rates are made of: SYNs received, established, accepted.
type Totals = [u64; 3];

/// The totals of every port at one instant.
#[derive(Debug)]
struct Mark {
    /// Nanoseconds of the monotonic clock.
    at: u64,
    ports: Sorted<PortId, Totals>,
}

/// At least so long is what a rate is measured over, in nanoseconds: shorter ones would show the packets'
/// own rhythm, and that of whoever asks.
const SPAN: u64 = 5_000_000_000;

/// Remembers the totals of a while ago.
#[derive(Debug, Default)]
pub(super) struct Speedometer {
    older: Option<Mark>,
    newer: Option<Mark>,
}

impl Speedometer {
    /// Takes in a sample, and says how fast its totals have grown.
    pub(super) fn observe(&mut self, sample: &Sample, coverage: &Coverage) -> Sorted<PortId, Rates> {
        let Some(ports) = totals(sample) else { return Sorted::default() };
        let now = sample.taken.monotonic;
        let is_due = |mark: &Mark| now.saturating_sub(mark.at) >= SPAN;
        if self.newer.as_ref().is_none_or(is_due) {
            let mark = Mark { at: now, ports: ports.clone() };
            self.older = self.newer.replace(mark);
        }
        let Some(older) = self.older.as_ref().filter(|older| is_due(older)) else { return Sorted::default() };
        let rates = |(port, totals): (PortId, Totals)| {
            // A port that was not there had counted nothing.
            let before = older.ports.get(&port).copied().unwrap_or_default();
            (port, rates(before, totals, now.saturating_sub(older.at), coverage))
        };
        ports.into_iter().map(rates).collect()
    }
}

fn totals(sample: &Sample) -> Option<Sorted<PortId, Totals>> {
    let hooks = sample.hooks.as_ref()?;
    let of_port = |(port, counters): (&PortId, &probe_common::handshake::HandshakeCounters)| {
        let accepted = hooks.queues.get(port).map_or(0, |queues| queues.totals.accepted);
        (*port, [counters.syn_received, counters.established, accepted])
    };
    Some(hooks.ports.iter().map(of_port).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn rates(before: Totals, now: Totals, nanoseconds: u64, coverage: &Coverage) -> Rates {
    let seconds = nanoseconds as f64 / 1e9;
    let mut grown =
        now.into_iter().zip(before).map(|(now, before)| now.saturating_sub(before) as f64 / seconds);
    let mut next = |known: bool| grown.next().filter(|_| known);
    Rates {
        syn_received_per_second: next(coverage.syn_received),
        established_per_second: next(coverage.established),
        accepted_per_second: next(coverage.accepted),
    }
}

#[cfg(test)]
mod tests {
    use probe_common::handshake::HandshakeCounters;

    use super::*;
    use crate::sample::{HookSample, Instants};

    fn port() -> PortId {
        PortId { netns: 1, address: [127, 0, 0, 1].into(), port: 80 }
    }

    fn sample(milliseconds: u64, established: u64) -> Sample {
        let counters = HandshakeCounters { established, ..HandshakeCounters::default() };
        let hooks = HookSample { ports: Sorted::from_iter([(port(), counters)]), ..HookSample::default() };
        let taken = Instants { monotonic: milliseconds * 1_000_000, unix_seconds: 0.0 };
        Sample { taken, hooks: Some(hooks), ..Sample::default() }
    }

    /// The rate of established connections after each of these readings.
    fn speeds(readings: &[(u64, u64)]) -> Vec<Option<f64>> {
        let mut speedometer = Speedometer::default();
        let mut speed = |(milliseconds, established): &(u64, u64)| {
            let rates = speedometer.observe(&sample(*milliseconds, *established), &Coverage::EVERYTHING);
            rates.get(&port()).and_then(|rates| rates.established_per_second)
        };
        readings.iter().map(&mut speed).collect()
    }

    #[test]
    fn a_rate_is_of_the_last_five_to_ten_seconds_however_often_somebody_asks() {
        let check = |readings: &[(u64, u64)], expected: &[Option<f64>]| {
            assert_eq!(speeds(readings), expected, "{readings:?}");
        };
        check(&[(0, 7)], &[None]);
        check(&[(0, 0), (4_999, 10)], &[None, None]);
        check(&[(0, 0), (5_000, 10), (6_000, 18)], &[None, Some(2.0), Some(3.0)]);
        check(&[(0, 0), (10_000, 10), (20_000, 10)], &[None, Some(1.0), Some(0.0)]);
        check(
            &[(0, 0), (5_000, 10), (7_000, 10), (10_000, 30)],
            &[None, Some(2.0), Some(10.0 / 7.0), Some(4.0)],
        );
    }

    #[test]
    fn what_no_hook_counts_has_no_rate() {
        let mut speedometer = Speedometer::default();
        speedometer.observe(&sample(0, 0), &Coverage::NOTHING);
        let rates = speedometer.observe(&sample(5_000, 9), &Coverage::NOTHING);
        assert_eq!(rates.get(&port()), Some(&Rates::default()));
    }
}
