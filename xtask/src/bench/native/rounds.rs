//! What is made of the measurements: which of them count, and how sure it is what they say.

use serde::Serialize;

use super::load::Work;
use crate::bench::spread::{Interval, interval, median};

/// Counters of a namespace that rise where a connection waited for a timer of the kernel: a second is a thousand times
/// what anything else takes.
pub(super) const WAITS: [&str; 7] = [
    "ListenOverflows",
    "ListenDrops",
    "TCPTimeouts",
    "TCPSynRetrans",
    "TCPLossProbes",
    "TCPBacklogDrop",
    "TCPReqQFullDrop",
];

/// A stretch of load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slice {
    pub(super) work: Work,
    /// By how much [`WAITS`] rose meanwhile.
    pub(super) waits: u64,
}

impl Slice {
    fn cpu_microseconds(&self) -> f64 {
        1e6 * self.work.cpu_seconds / self.work.connections.max(1.0)
    }
}

/// Without the daemon, with it, with it, without it: what drifts evenly is in both alike.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Round {
    pub(super) without: [Slice; 2],
    pub(super) with: [Slice; 2],
    /// What the daemon itself used of a CPU in its two slices.
    pub(super) daemon_seconds: f64,
}

impl Round {
    /// The rule by which a round is left out. It looks at nothing of what is measured.
    fn is_disturbed(&self) -> bool {
        self.without.iter().chain(&self.with).any(|slice| slice.waits > 0 || slice.work.connections == 0.0)
    }

    fn rate(slices: &[Slice; 2]) -> f64 {
        slices.iter().map(|slice| slice.work.per_second).sum::<f64>() / 2.0
    }

    fn cpu(slices: &[Slice; 2]) -> f64 {
        slices.iter().map(Slice::cpu_microseconds).sum::<f64>() / 2.0
    }

    fn undisturbed(slices: &[Slice; 2]) -> f64 {
        slices.iter().map(|slice| slice.work.undisturbed_microseconds).sum::<f64>() / 2.0
    }

    /// The daemon's own time, for each connection that was made beside it.
    fn own(&self) -> f64 {
        let connections: f64 = self.with.iter().map(|slice| slice.work.connections).sum();
        1e6 * self.daemon_seconds / connections.max(1.0)
    }
}

/// A figure in all rounds that count.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Compared {
    pub(super) without: f64,
    pub(super) with: f64,
    pub(super) ratio: Option<Interval>,
}

impl Compared {
    /// The median of the rounds' own ratios: a round in which the machine was slow was slow in all of its slices.
    fn of(rounds: &[&Round], figure: fn(&[Slice; 2]) -> f64) -> Self {
        let each = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(|round| of(round)).collect::<Vec<f64>>();
        Self {
            without: median(&each(&|round| figure(&round.without))),
            with: median(&each(&|round| figure(&round.with))),
            ratio: interval(&each(&|round| figure(&round.with) / figure(&round.without))),
        }
    }
}

/// All rounds together.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) rounds: usize,
    pub(super) disturbed: usize,
    /// Connections per second.
    pub(super) rate: Compared,
    /// Microseconds from a connection's beginning to its end, if nothing comes in between.
    pub(super) undisturbed: Compared,
    /// Microseconds for each connection, of the threads that connect and accept.
    pub(super) cpu: Compared,
    /// The daemon's own, for each connection.
    pub(super) cpu_of_the_daemon: f64,
    /// CPU time in the second of a round's slices without the daemon by that in the first: what is told of nothing.
    pub(super) cpu_of_nothing: Option<Interval>,
}

impl Figures {
    pub(super) fn of(rounds: &[Round]) -> Self {
        let counted: Vec<&Round> = rounds.iter().filter(|round| !round.is_disturbed()).collect();
        let of_nothing = |round: &&Round| {
            let [first, second] = round.without.map(|slice| slice.cpu_microseconds());
            second / first
        };
        Self {
            rounds: counted.len(),
            disturbed: rounds.len() - counted.len(),
            rate: Compared::of(&counted, Round::rate),
            undisturbed: Compared::of(&counted, Round::undisturbed),
            cpu: Compared::of(&counted, Round::cpu),
            cpu_of_the_daemon: median(&counted.iter().map(|round| round.own()).collect::<Vec<_>>()),
            cpu_of_nothing: interval(&counted.iter().map(of_nothing).collect::<Vec<_>>()),
        }
    }
}

/// What may be said of a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// So little was measured, or it differs so much, that nothing may be said.
    Unknown,
    /// 1 is within the interval.
    NoDifference,
    Differs,
}

impl Verdict {
    /// `widest`: the widest interval that says something.
    pub(super) fn of(ratio: Option<Interval>, widest: f64) -> Self {
        match ratio {
            Some(ratio) if ratio.upper - ratio.lower > widest => Self::Unknown,
            Some(ratio) if ratio.lower <= 1.0 && ratio.upper >= 1.0 => Self::NoDifference,
            Some(_) => Self::Differs,
            None => Self::Unknown,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "nothing can be concluded",
            Self::NoDifference => "no difference is seen",
            Self::Differs => "it differs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(per_second: f64, cpu_microseconds: f64) -> Slice {
        let cpu_seconds = per_second * cpu_microseconds / 1e6;
        let undisturbed_microseconds = 0.9 * cpu_microseconds;
        let connections = per_second;
        let work = Work { connections, per_second, cpu_seconds, undisturbed_microseconds, ..Work::default() };
        Slice { work, waits: 0 }
    }

    /// A machine that becomes slower by a hundredth with each slice, and a daemon that costs `cost` times as much.
    fn round(cost: f64) -> Round {
        let at = |number: f64, cost: f64| {
            let cpu = 50.0 * 0.01_f64.mul_add(number, 1.0) * cost;
            slice(1e6 / cpu, cpu)
        };
        Round {
            without: [at(0.0, 1.0), at(3.0, 1.0)],
            with: [at(1.0, cost), at(2.0, cost)],
            daemon_seconds: 0.01,
        }
    }

    #[test]
    fn a_drift_is_not_taken_for_a_cost() {
        let check = |cost: f64| {
            let figures = Figures::of(&[round(cost); 8]);
            let ratio = |figure: &Compared| figure.ratio.unwrap().middle;
            assert!((ratio(&figures.cpu) - cost).abs() < 1e-9, "{cost}: {figures:?}");
            assert!((ratio(&figures.undisturbed) - cost).abs() < 1e-9, "{cost}: {figures:?}");
            assert!((ratio(&figures.rate) * cost - 1.0).abs() < 1e-3, "{cost}: {figures:?}");
            assert!(figures.cpu_of_nothing.unwrap().middle > 1.02, "{figures:?}");
        };
        [1.0, 1.02, 1.5].into_iter().for_each(check);
    }

    #[test]
    fn a_round_in_which_something_waited_does_not_count() {
        let check = |spoil: fn(&mut Round)| {
            let mut rounds = [round(1.1); 8];
            spoil(&mut rounds[3]);
            let figures = Figures::of(&rounds);
            assert_eq!((figures.rounds, figures.disturbed), (7, 1));
            assert!((figures.cpu.ratio.unwrap().upper - 1.1).abs() < 1e-9, "{figures:?}");
        };
        check(|round| round.without[1].waits = 1);
        check(|round| round.with[0].waits = 3);
        check(|round| round.with[1].work = Work::default());
    }

    #[test]
    fn the_daemons_own_time_is_that_of_a_connection() {
        let round = Round { with: [slice(1_000.0, 50.0); 2], ..round(1.0) };
        assert!((Figures::of(&[round]).cpu_of_the_daemon - 5.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_concluded_from_what_is_too_wide() {
        let check = |ratio: Option<(f64, f64)>, expected: Verdict| {
            let ratio =
                ratio.map(|(lower, upper)| Interval { lower, middle: f64::midpoint(lower, upper), upper });
            assert_eq!(Verdict::of(ratio, 0.05), expected, "{ratio:?}");
        };
        check(None, Verdict::Unknown);
        check(Some((0.90, 1.10)), Verdict::Unknown);
        check(Some((1.10, 1.20)), Verdict::Unknown);
        check(Some((0.99, 1.01)), Verdict::NoDifference);
        check(Some((1.01, 1.05)), Verdict::Differs);
        check(Some((0.95, 0.99)), Verdict::Differs);
    }
}
