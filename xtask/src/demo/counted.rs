//! What the daemon counted for one port, read from its snapshot.

use serde_json::Value;

/// The numbers of a port at one moment; `None` where the daemon cannot tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) connections_refused: Option<u64>,
    /// Accept-queue overflows, of all stages.
    pub(super) overflows: Option<u64>,
    /// Listen drops: every packet that was refused.
    pub(super) drops: Option<u64>,
    /// The highest length of the accept queue of those who listen now.
    pub(super) highest: Option<u64>,
    pub(super) limit: Option<u64>,
    /// How long the accept queue is now.
    pub(super) queued: Option<u64>,
    pub(super) recommended: Option<u32>,
    pub(super) waits: Option<Waits>,
}

/// How long connections waited for accept(): a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Waits {
    upper_bounds: Vec<f64>,
    /// One more than there are bounds.
    counts: Vec<u64>,
}

impl Counted {
    /// Finds the port in a snapshot; several addresses of one port are added up.
    pub(super) fn read(snapshot: &Value, netns: u64, port: u16) -> Self {
        let ports = snapshot.pointer("/model/ports").and_then(Value::as_array);
        let wanted = |row: &&Value| {
            let is = |name, number| row.get(name).and_then(Value::as_u64) == Some(number);
            is("netns", netns) && is("port", u64::from(port))
        };
        let rows = ports.into_iter().flatten().filter(wanted);
        rows.map(Self::of_row).reduce(Self::plus).unwrap_or_default()
    }

    fn of_row(row: &Value) -> Self {
        let number = |path: &str| row.pointer(path).and_then(Value::as_u64);
        let stages =
            ["syn", "ack", "undivided"].map(|stage| number(&format!("/accept_queue_overflows/{stage}")));
        let listeners = row.get("listeners").and_then(Value::as_array);
        let of_listeners = |path: &str| {
            let values = listeners.into_iter().flatten().filter_map(|it| it.pointer(path)?.as_u64());
            values.reduce(u64::max)
        };
        Self {
            connections_refused: number("/connections_refused"),
            overflows: stages.into_iter().flatten().reduce(|left, right| left + right),
            drops: number("/listen_drops"),
            highest: of_listeners("/queues/accept_queue_peaks/highest")
                .or_else(|| number("/accept_queue_peaks/highest")),
            limit: of_listeners("/accept_queue_limit"),
            queued: of_listeners("/accept_queue_length"),
            recommended: number("/backlog_recommended").and_then(|number| u32::try_from(number).ok()),
            waits: row.get("accept_wait").and_then(Waits::read),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            connections_refused: both(self.connections_refused, other.connections_refused, |a, b| a + b),
            overflows: both(self.overflows, other.overflows, |a, b| a + b),
            drops: both(self.drops, other.drops, |a, b| a + b),
            highest: self.highest.max(other.highest),
            limit: self.limit.max(other.limit),
            queued: self.queued.max(other.queued),
            recommended: self.recommended.max(other.recommended),
            waits: both(self.waits, other.waits, |a, b| a.combined(&b, |a, b| a + b)),
        }
    }

    /// What was counted since; lengths, limits and advice are those of the later moment.
    pub(super) fn since(self, earlier: &Self) -> Self {
        let less = |late: Option<u64>, early: Option<u64>| {
            late.map(|late| late.saturating_sub(early.unwrap_or_default()))
        };
        let waits = match (self.waits, &earlier.waits) {
            (Some(late), Some(early)) => Some(late.combined(early, u64::saturating_sub)),
            (late, _) => late,
        };
        Self {
            connections_refused: less(self.connections_refused, earlier.connections_refused),
            overflows: less(self.overflows, earlier.overflows),
            drops: less(self.drops, earlier.drops),
            waits,
            ..self
        }
    }
}

fn both<T>(left: Option<T>, right: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(join(left, right)),
        (left, right) => left.or(right),
    }
}

impl Waits {
    fn read(histogram: &Value) -> Option<Self> {
        let numbers = |name: &str| histogram.get(name)?.as_array();
        let upper_bounds = numbers("upper_bounds")?.iter().filter_map(Value::as_f64).collect();
        let counts = numbers("counts")?.iter().filter_map(Value::as_u64).collect();
        Some(Self { upper_bounds, counts })
    }

    fn combined(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        let other_counts = other.counts.iter().copied().chain(std::iter::repeat(0));
        let counts = self.counts.iter().copied().zip(other_counts).map(|(left, right)| join(left, right));
        Self { upper_bounds: self.upper_bounds.clone(), counts: counts.collect() }
    }

    /// The upper bound, in seconds, of the class in which the wait of that rank is; infinite in the last one.
    /// `None` if nobody waited.
    pub(super) fn quantile(&self, fraction: f64) -> Option<f64> {
        let total: u64 = self.counts.iter().sum();
        let bounds = self.upper_bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
        let wanted = (total as f64 * fraction).max(1.0);
        let mut so_far = 0;
        bounds.zip(&self.counts).find_map(|(bound, count)| {
            so_far += count;
            (so_far as f64 >= wanted).then_some(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(refused: u64, counts: &[u64]) -> Value {
        json!({"model": {"ports": [
            {"netns": 1, "port": 8080, "connections_refused": 7},
            {"netns": 2, "port": 8080, "connections_refused": refused, "listen_drops": 2 * refused,
             "accept_queue_overflows": {"syn": refused, "ack": refused, "undivided": null},
             "accept_wait": {"upper_bounds": [0.1, 1.0], "counts": counts, "sum": 1.0},
             "accept_queue_peaks": {"highest": 999}, "backlog_recommended": 4096,
             "listeners": [{"accept_queue_length": 3, "accept_queue_limit": 128,
                            "queues": {"accept_queue_peaks": {"highest": 129}}}]}
        ]}})
    }

    #[test]
    fn a_port_is_found_in_its_namespace() {
        let counted = Counted::read(&snapshot(20, &[1, 2, 0]), 2, 8080);
        assert_eq!(
            (counted.connections_refused, counted.overflows, counted.drops),
            (Some(20), Some(40), Some(40))
        );
        assert_eq!((counted.highest, counted.limit, counted.queued), (Some(129), Some(128), Some(3)));
        assert_eq!(counted.recommended, Some(4096));
        assert_eq!(Counted::read(&snapshot(20, &[]), 3, 8080), Counted::default());
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let unknown = Counted::default();
        assert_eq!(unknown.clone().since(&unknown).connections_refused, None);
    }

    #[test]
    fn only_what_came_since_is_told() {
        let early = Counted::read(&snapshot(20, &[5, 0, 0]), 2, 8080);
        let late = Counted::read(&snapshot(25, &[5, 98, 2]), 2, 8080).since(&early);
        assert_eq!((late.connections_refused, late.highest), (Some(5), Some(129)));
        let waits = late.waits.unwrap();
        assert_eq!((waits.quantile(0.5), waits.quantile(0.99)), (Some(1.0), Some(f64::INFINITY)));
        assert_eq!(Waits::default().quantile(0.5), None);
    }
}
