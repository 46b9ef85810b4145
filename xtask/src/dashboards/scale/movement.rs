//! How the numbers of a made-up host move: most ports are calm, some lose connections in bursts.

/// One sample is taken so often.
pub(super) const STEP: i64 = 15_000;
/// A port that loses connections does so for this part of each quarter of an hour, in milliseconds.
const BURST: i64 = 300_000;
const CYCLE: i64 = 900_000;
/// In this time a counter grows by what the exposition has, in milliseconds.
const PACE: f64 = 600_000.0;

/// What a series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    /// It grows with what comes in.
    Traffic,
    /// It grows with what is lost.
    Loss,
    /// It is the length of a queue.
    Length,
    /// It is the time at which something happened last: just now.
    Moment,
    Constant,
}

impl Movement {
    /// By the metric's type and name.
    pub(super) fn of(kind: &str, metric: &str) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| metric.contains(part));
        match kind {
            "gauge" if has(&["last_accept_timestamp", "highest_timestamp"]) => Self::Moment,
            "gauge" if has(&["queue_length", "queue_peak", "queue_highest"]) => Self::Length,
            "gauge" => Self::Constant,
            _ if has(&["refused", "drop", "overflow", "expired", "retransmits"]) => Self::Loss,
            _ => Self::Traffic,
        }
    }
}

/// One port of a host, or the host as a whole.
#[derive(Clone, Copy)]
pub(super) struct Mover {
    /// Different for each.
    pub(super) seed: u32,
    pub(super) loses: bool,
}

impl Mover {
    /// The value at a time in milliseconds since the daemon started, made of that of the exposition.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of some hours")]
    pub(super) fn value(self, movement: Movement, template: f64, uptime: i64) -> f64 {
        let phase = i64::from(self.seed % 900) * 1000;
        match movement {
            Movement::Constant | Movement::Moment => template,
            Movement::Traffic => {
                let busy = 1.0 + f64::from(self.seed % 97) / 24.0;
                (template * busy * uptime as f64 / PACE).floor()
            }
            Movement::Loss if !self.loses => 0.0,
            Movement::Loss => (template * lossy(uptime + phase) as f64 / PACE).floor(),
            Movement::Length if self.loses => template,
            Movement::Length => ((uptime / STEP + phase) % 7) as f64,
        }
    }
}

/// How much of the time until then was within a burst.
fn lossy(time: i64) -> i64 {
    time / CYCLE * BURST + (time % CYCLE).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_and_never_go_back() {
        let mover = Mover { seed: 12_345, loses: true };
        for movement in [Movement::Traffic, Movement::Loss] {
            let values: Vec<f64> = (0..240).map(|step| mover.value(movement, 40.0, step * STEP)).collect();
            assert!(values.is_sorted() && values.last() > values.first(), "{movement:?}: {values:?}");
        }
    }

    #[test]
    fn a_calm_port_loses_nothing_and_its_queue_is_short() {
        let mover = Mover { seed: 7, loses: false };
        assert_eq!(mover.value(Movement::Loss, 1_000.0, 3_600_000), 0.0);
        assert!((0..99).all(|step| mover.value(Movement::Length, 129.0, step * STEP) < 128.0));
    }

    #[test]
    fn series_move_by_type_and_name() {
        assert_eq!(Movement::of("counter", "tcp_backlog_listen_drops_total"), Movement::Loss);
        assert_eq!(Movement::of("counter", "tcp_backlog_established_total"), Movement::Traffic);
        assert_eq!(Movement::of("gauge", "tcp_backlog_accept_queue_length"), Movement::Length);
        assert_eq!(Movement::of("gauge", "tcp_backlog_accept_queue_limit"), Movement::Constant);
        assert_eq!(Movement::of("gauge", "tcp_backlog_last_accept_timestamp_seconds"), Movement::Moment);
        assert_eq!(Movement::of("histogram", "tcp_backlog_accept_wait_seconds"), Movement::Traffic);
    }
}
