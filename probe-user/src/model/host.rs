//! The host as a whole: the queue before all sockets.
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sample::SoftnetSample;

/// What holds for the whole host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    /// The network namespace that the daemon runs in, by its inode number: the host's own, as a rule.
    pub own_netns: Option<u32>,
    /// Network namespaces that were not found though the hooks have listeners in them: they ended a moment ago, or nothing but an
    /// open descriptor leads there. Any other one that is missing has ended. `None` where some may be hidden.
    pub namespaces_not_found: Option<BTreeSet<u32>>,
    /// `net.core.netdev_max_backlog`; `None` when the initial network namespace cannot be read.
    pub netdev_max_backlog: Option<u64>,
    /// What the network softirq of each CPU has counted, by the CPU's number; `None` when it cannot be read.
    pub softnet: Option<Vec<Softnet>>,
}

/// What one CPU's network softirq has counted since the daemon was started, and what the kernel's counters
/// showed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Softnet {
    /// The CPU's number.
    pub cpu: u32,
    /// Packets taken off the CPU's backlog or off a device.
    pub processed: u64,
    /// Packets dropped because the CPU's backlog was full.
    pub dropped: u64,
    /// Runs that ended with work left.
    pub time_squeeze: u64,
}

/// What is remembered of the kernel's 32-bit counters, so that 64-bit ones go on where they wrap.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SoftnetTotals {
    cpus: BTreeMap<u32, CpuTotals>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct CpuTotals {
    processed: Total,
    dropped: Total,
    time_squeeze: Total,
}

/// A total whose source has 32 bits.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Total {
    last: u32,
    sum: u64,
}

impl Total {
    /// Between two readings the source wraps once at most: that takes four thousand million packets.
    fn observe(&mut self, now: u32) {
        self.sum = self.sum.saturating_add(u64::from(now.wrapping_sub(self.last)));
        self.last = now;
    }
}

impl SoftnetTotals {
    /// Takes in a reading. A CPU that has gone offline keeps its totals, as the kernel does: its counters go
    /// on when it comes back.
    pub(super) fn observe(&mut self, sample: &[SoftnetSample]) -> Vec<Softnet> {
        for of_cpu in sample {
            let totals = self.cpus.entry(of_cpu.cpu).or_default();
            totals.processed.observe(of_cpu.processed);
            totals.dropped.observe(of_cpu.dropped);
            totals.time_squeeze.observe(of_cpu.time_squeeze);
        }
        let shown = |(cpu, totals): (&u32, &CpuTotals)| Softnet {
            cpu: *cpu,
            processed: totals.processed.sum,
            dropped: totals.dropped.sum,
            time_squeeze: totals.time_squeeze.sum,
        };
        self.cpus.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(cpu: u32, [processed, dropped, time_squeeze]: [u32; 3]) -> SoftnetSample {
        SoftnetSample { cpu, processed, dropped, time_squeeze }
    }

    fn shown(totals: &[Softnet]) -> Vec<(u32, [u64; 3])> {
        totals.iter().map(|one| (one.cpu, [one.processed, one.dropped, one.time_squeeze])).collect()
    }

    #[test]
    fn the_first_reading_is_what_the_kernel_has_counted_since_boot() {
        let mut totals = SoftnetTotals::default();
        let first = totals.observe(&[counted(0, [7, 1, 2]), counted(3, [u32::MAX, 0, 0])]);
        assert_eq!(shown(&first), [(0, [7, 1, 2]), (3, [4_294_967_295, 0, 0])]);
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let mut totals = SoftnetTotals::default();
        let mut check = |counters: [u32; 3], expected: [u64; 3]| {
            assert_eq!(shown(&totals.observe(&[counted(0, counters)])), [(0, expected)]);
        };
        check([u32::MAX - 1, 5, 0], [4_294_967_294, 5, 0]);
        check([u32::MAX, 5, 0], [4_294_967_295, 5, 0]);
        check([0, 5, 0], [4_294_967_296, 5, 0]);
        check([9, 4, 1], [4_294_967_305, 4_294_967_300, 1]);
        check([9, 4, 1], [4_294_967_305, 4_294_967_300, 1]);
    }

    #[test]
    fn a_cpu_that_is_offline_keeps_its_totals() {
        let mut totals = SoftnetTotals::default();
        totals.observe(&[counted(0, [1, 0, 0]), counted(1, [8, 0, 0])]);
        let without = totals.observe(&[counted(0, [2, 0, 0])]);
        assert_eq!(shown(&without), [(0, [2, 0, 0]), (1, [8, 0, 0])]);
        let back = totals.observe(&[counted(0, [2, 0, 0]), counted(1, [9, 0, 0])]);
        assert_eq!(shown(&back), [(0, [2, 0, 0]), (1, [9, 0, 0])]);
    }

    proptest! {
        #[test]
        fn whatever_is_counted_between_two_readings_is_added(start: u32, gains: Vec<u32>) {
            let mut totals = SoftnetTotals::default();
            let (mut kernel, mut truth) = (start, u64::from(start));
            for gain in [0].into_iter().chain(gains) {
                kernel = kernel.wrapping_add(gain);
                truth += u64::from(gain);
                let seen = totals.observe(&[counted(0, [kernel, 0, kernel])]);
                prop_assert_eq!(shown(&seen), [(0, [truth, 0, truth])]);
            }
        }
    }
}
