//! The audit: what the kernel counted in a namespace against the sum over its ports.
//!
//! The difference between the two is what the kernel had counted before the hooks were attached: it
//! never changes. But the two cannot be read at one instant. Each sample has the ports' sums from
//! before and after the kernel's counters, so it says between which numbers the difference lies; what
//! all samples agree on is kept, and as soon as nothing happens during one of them that is a single
//! number. A sample that disagrees has a residual: the kernel counted something that no port did, or
//! the ports too much. It is never less than what is certain.
pub mod report;

use std::collections::BTreeMap;

use probe_common::handshake::HandshakeCounters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Handshakes;
use crate::{
    plan::outcome::{Accounting, Coverage},
    sample::{HookSample, NamespaceSample, NetstatSample, PortId, Sample},
    sorted::Sorted,
};

/// A counter of `TcpExt` that the ports' counts are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum AuditedCounter {
    ListenOverflows,
    ListenDrops,
    TCPReqQFullDrop,
    TCPReqQFullDoCookies,
    SyncookiesSent,
    SyncookiesRecv,
    SyncookiesFailed,
}

/// For each namespace what the kernel counted and no port did; negative when the ports counted more.
pub type Residuals = BTreeMap<u32, BTreeMap<AuditedCounter, i64>>;

impl AuditedCounter {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::ListenOverflows,
        Self::ListenDrops,
        Self::TCPReqQFullDrop,
        Self::TCPReqQFullDoCookies,
        Self::SyncookiesSent,
        Self::SyncookiesRecv,
        Self::SyncookiesFailed,
    ];

    /// The kernel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListenOverflows => "ListenOverflows",
            Self::ListenDrops => "ListenDrops",
            Self::TCPReqQFullDrop => "TCPReqQFullDrop",
            Self::TCPReqQFullDoCookies => "TCPReqQFullDoCookies",
            Self::SyncookiesSent => "SyncookiesSent",
            Self::SyncookiesRecv => "SyncookiesRecv",
            Self::SyncookiesFailed => "SyncookiesFailed",
        }
    }

    /// What the kernel counted.
    pub(crate) const fn of_kernel(self, netstat: &NetstatSample) -> u64 {
        match self {
            Self::ListenOverflows => netstat.listen_overflows,
            Self::ListenDrops => netstat.listen_drops,
            Self::TCPReqQFullDrop => netstat.syn_queue_full_drops,
            Self::TCPReqQFullDoCookies => netstat.syn_queue_full_cookies,
            Self::SyncookiesSent => netstat.syncookies_sent,
            Self::SyncookiesRecv => netstat.syncookies_received,
            Self::SyncookiesFailed => netstat.syncookies_failed,
        }
    }

    /// What a port shows of it; `None` where that is not measured.
    #[must_use]
    pub(crate) fn of_handshakes(self, port: &Handshakes) -> Option<u64> {
        match self {
            Self::ListenOverflows => port.accept_queue_overflows.total(),
            Self::ListenDrops => port.listen_drops,
            Self::TCPReqQFullDrop => port.syn_dropped.syn_queue_full,
            Self::TCPReqQFullDoCookies => port.syn_queue_full_cookies,
            Self::SyncookiesSent => port.syncookies_sent,
            Self::SyncookiesRecv => port.syncookies_received,
            Self::SyncookiesFailed => port.syncookies_failed,
        }
    }

    /// What the hooks counted.
    const fn of_port(self, counters: &HandshakeCounters) -> u64 {
        match self {
            Self::ListenOverflows => counters
                .syn_dropped_accept_queue_full
                .saturating_add(counters.last_ack_refused_accept_queue_full),
            Self::ListenDrops => counters.listen_drops,
            Self::TCPReqQFullDrop => counters.syn_dropped_syn_queue_full,
            Self::TCPReqQFullDoCookies => counters.syn_queue_full_cookies,
            Self::SyncookiesSent => counters.syncookies_sent,
            Self::SyncookiesRecv => counters.syncookies_received,
            Self::SyncookiesFailed => counters.syncookies_failed,
        }
    }

    /// Whether the attached hooks mean to count every one.
    const fn is_counted(self, coverage: &Coverage) -> bool {
        let cookies_back = matches!(self, Self::SyncookiesRecv | Self::SyncookiesFailed);
        // A last ACK with a cookie may be the one that is refused.
        !cookies_back || coverage.syncookies_checked
    }
}

/// The history behind the residuals, fed with every sample.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Auditor {
    namespaces: BTreeMap<u32, NamespaceAudit>,
}

impl Auditor {
    /// Takes in a sample. Only accounting by the kernel's counters is held against them: the others
    /// say for themselves how exact they are.
    pub fn observe(&mut self, sample: &Sample, coverage: &Coverage) -> Residuals {
        let Some(hooks) = &sample.hooks else { return Residuals::new() };
        if coverage.accounting != Accounting::KernelCounters {
            return Residuals::new();
        }
        self.namespaces.retain(|netns, _| sample.namespaces.iter().any(|found| found.netns == *netns));
        let mut residuals = Residuals::new();
        for namespace in &sample.namespaces {
            let NamespaceSample { netstat_before: Some(before), netstat_after: Some(after), .. } = namespace
            else {
                continue;
            };
            let audit = self.namespaces.entry(namespace.netns).or_default();
            audit.begin_again_if_another(namespace, before);
            let of_namespace = audit.observe(&Reading::new(hooks, namespace.netns, *before, *after));
            let counted = of_namespace.into_iter().filter(|(counter, _)| counter.is_counted(coverage));
            residuals.insert(namespace.netns, counted.collect());
        }
        residuals
    }
}

/// What a sample says of one namespace: the four reads in their order.
struct Reading {
    ports_before: HandshakeCounters,
    kernel_before: NetstatSample,
    kernel_after: NetstatSample,
    ports_after: HandshakeCounters,
}

impl Reading {
    fn new(
        hooks: &HookSample,
        netns: u32,
        kernel_before: NetstatSample,
        kernel_after: NetstatSample,
    ) -> Self {
        Self {
            ports_before: sum(&hooks.ports_before, netns),
            kernel_before,
            kernel_after,
            ports_after: sum(&hooks.ports, netns),
        }
    }

    /// What the kernel counted before the hooks were attached, as far as this reading tells.
    fn difference(&self, counter: AuditedCounter) -> Range {
        let minus = |kernel: &NetstatSample, ports: &HandshakeCounters| {
            i128::from(counter.of_kernel(kernel)) - i128::from(counter.of_port(ports))
        };
        Range {
            least: minus(&self.kernel_before, &self.ports_after),
            most: minus(&self.kernel_after, &self.ports_before),
        }
    }
}

fn sum(ports: &Sorted<PortId, HandshakeCounters>, netns: u32) -> HandshakeCounters {
    let of_namespace = ports.iter().filter(|(id, _)| id.netns == netns);
    of_namespace.fold(HandshakeCounters::default(), |mut sum, (_, counters)| {
        sum.add(counters);
        sum
    })
}

/// Between which numbers something lies, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    least: i128,
    most: i128,
}

/// The history of one namespace.
#[derive(Debug, Default, Serialize, Deserialize)]
struct NamespaceAudit {
    last: Option<NetstatSample>,
    #[serde(default)]
    cookie: Option<u64>,
    differences: BTreeMap<AuditedCounter, Range>,
}

impl NamespaceAudit {
    /// Where another namespace got the inode number its counters began at 0.
    fn begin_again_if_another(&mut self, namespace: &NamespaceSample, now: &NetstatSample) {
        let went_back = || self.last.is_some_and(|last| went_back(&last, now));
        if namespace.is_another_than(self.cookie).unwrap_or_else(went_back) {
            self.differences.clear();
        }
        self.cookie = namespace.cookie;
    }

    fn observe(&mut self, reading: &Reading) -> BTreeMap<AuditedCounter, i64> {
        self.last = Some(reading.kernel_after);
        AuditedCounter::ALL.into_iter().map(|counter| (counter, self.residual(counter, reading))).collect()
    }

    fn residual(&mut self, counter: AuditedCounter, reading: &Reading) -> i64 {
        let now = reading.difference(counter);
        let known = self.differences.entry(counter).or_insert(now);
        let agreed = Range { least: known.least.max(now.least), most: known.most.min(now.most) };
        if agreed.least <= agreed.most {
            *known = agreed;
            return 0;
        }
        let residual = if now.least > known.most { now.least - known.most } else { now.most - known.least };
        i64::try_from(residual).unwrap_or(if residual < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Whether a counter went back, which they do not in one namespace.
fn went_back(last: &NetstatSample, now: &NetstatSample) -> bool {
    AuditedCounter::ALL.into_iter().any(|counter| counter.of_kernel(now) < counter.of_kernel(last))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    /// ListenDrops by the ports, by the kernel twice and by the ports again, in the order of reading.
    type Reads = [u64; 4];

    fn with_cookie(cookie: u64, reads: Reads) -> Sample {
        let mut sample = sample(reads);
        sample.namespaces[0].cookie = Some(cookie);
        sample
    }

    fn sample([ports_before, kernel_before, kernel_after, ports_after]: Reads) -> Sample {
        let id = PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 80 };
        let counters = |listen_drops| HandshakeCounters { listen_drops, ..HandshakeCounters::default() };
        let elsewhere = (PortId { netns: 2, ..id }, counters(1_000));
        let ports = |count| Sorted::from([(id, counters(count)), elsewhere]);
        let netstat = |listen_drops| Some(NetstatSample { listen_drops, ..NetstatSample::default() });
        let hooks = HookSample {
            ports_before: ports(ports_before),
            ports: ports(ports_after),
            ..HookSample::default()
        };
        let namespace = NamespaceSample {
            netns: 1,
            netstat_before: netstat(kernel_before),
            netstat_after: netstat(kernel_after),
            ..NamespaceSample::default()
        };
        Sample { hooks: Some(hooks), namespaces: vec![namespace], ..Sample::default() }
    }

    fn residuals(samples: &[Reads]) -> Vec<i64> {
        residuals_of(samples.iter().map(|reads| sample(*reads)))
    }

    fn residuals_of(samples: impl IntoIterator<Item = Sample>) -> Vec<i64> {
        let mut auditor = Auditor::default();
        let observe =
            |sample| auditor.observe(&sample, &Coverage::EVERYTHING)[&1][&AuditedCounter::ListenDrops];
        samples.into_iter().map(observe).collect()
    }

    #[test]
    fn what_was_counted_before_the_hooks_is_no_residual_and_what_is_missing_since_is_one() {
        let check = |samples: &[Reads], expected: &[i64]| assert_eq!(residuals(samples), expected);
        check(&[[0, 7, 7, 0], [3, 10, 10, 3]], &[0, 0]);
        check(&[[0, 7, 7, 0], [3, 11, 11, 3]], &[0, 1]);
        check(&[[0, 7, 7, 0], [3, 9, 9, 3]], &[0, -1]);
        check(&[[0, 7, 7, 0], [3, 11, 11, 3], [4, 11, 11, 4]], &[0, 1, 0]);
    }

    #[test]
    fn what_happens_during_the_reads_is_no_residual() {
        let check = |samples: &[Reads], expected: &[i64]| assert_eq!(residuals(samples), expected);
        // The first reading leaves open whether the kernel had counted 5, 6, 7 or 8 before.
        check(&[[0, 7, 8, 2], [4, 10, 10, 4]], &[0, 0]);
        check(&[[0, 7, 8, 2], [4, 12, 12, 4]], &[0, 0]);
        check(&[[0, 7, 8, 2], [4, 13, 13, 4]], &[0, 1]);
        check(&[[0, 7, 8, 2], [4, 8, 8, 4]], &[0, -1]);
        check(&[[0, 7, 8, 2], [4, 10, 10, 4], [4, 11, 11, 4]], &[0, 0, 1]);
    }

    #[test]
    fn a_namespace_that_gets_the_inode_number_of_another_is_audited_from_its_own_beginning() {
        assert_eq!(residuals(&[[0, 7, 7, 0], [3, 10, 10, 3], [3, 0, 0, 3], [5, 2, 2, 5]]), [0; 4]);
        assert_eq!(residuals(&[[0, 7, 7, 0], [3, 0, 0, 3], [5, 3, 3, 5]]), [0, 0, 1]);
        // The second one has counted as much as the first one: only its cookie tells.
        let [first, second] = [[0, 7, 7, 0], [9, 9, 9, 9]];
        assert_eq!(residuals(&[first, second]), [0, -7]);
        assert_eq!(residuals_of([with_cookie(1, first), with_cookie(2, second)]), [0, 0]);
        assert_eq!(residuals_of([with_cookie(1, first), with_cookie(1, second)]), [0, -7]);
    }

    #[test]
    fn other_accountings_are_not_audited_and_neither_is_what_has_no_hook() {
        let check = |coverage: Coverage, expected: usize| {
            let residuals = Auditor::default().observe(&sample([0; 4]), &coverage);
            assert_eq!(residuals.values().map(BTreeMap::len).sum::<usize>(), expected);
        };
        check(Coverage::EVERYTHING, 7);
        check(Coverage { syncookies_checked: false, ..Coverage::EVERYTHING }, 5);
        check(Coverage { accounting: Accounting::Conditions, ..Coverage::EVERYTHING }, 0);
        check(Coverage { accounting: Accounting::SocketDrops, ..Coverage::EVERYTHING }, 0);
    }

    proptest! {
        #[test]
        fn no_counting_without_a_fault_has_a_residual(
            base in 0_u64..1000, steps in proptest::collection::vec([0_u64..5, 0..5, 0..5, 0..5], 1..20),
        ) {
            let mut total = 0;
            let samples: Vec<Reads> = steps.iter().map(|steps| {
                let mut read = |index: usize| { total += steps[index]; total };
                let (ports_before, kernel_before) = (read(0), base + read(1));
                [ports_before, kernel_before, base + read(2), read(3)]
            }).collect();
            prop_assert!(residuals(&samples).iter().all(|residual| *residual == 0));
        }

        #[test]
        fn no_numbers_make_the_auditor_panic(samples: Vec<[u64; 4]>) {
            residuals(&samples);
        }
    }
}
