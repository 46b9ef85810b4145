//! The ledger, sample by sample.
use std::{net::IpAddr, slice};

use super::*;
use crate::sample::{ListenerSample, NetstatSample};

/// A plan that accounts by socket drops.
pub(super) fn coverage(discards_known: bool) -> Coverage {
    Coverage {
        established: true,
        synack_retransmits: true,
        discards_known,
        accounting: Accounting::SocketDrops,
        ..Coverage::NOTHING
    }
}

fn netstat(listen_drops: u64, listen_overflows: u64) -> NetstatSample {
    NetstatSample { listen_overflows, listen_drops, ..NetstatSample::default() }
}

fn id(netns: u32, port: u16) -> PortId {
    PortId { netns, address: IpAddr::from([127, 0, 0, 1]), port }
}

fn listener(port: u16, drops: u32) -> ListenerSample {
    ListenerSample {
        address: IpAddr::from([127, 0, 0, 1]),
        port,
        accept_queue_length: 0,
        accept_queue_limit: 1,
        drops,
        inode: u32::from(port),
    }
}

/// Puts samples together.
#[derive(Clone, Debug, Default)]
struct Host {
    sample: Sample,
}

impl Host {
    /// Hooks, and nothing else.
    fn new() -> Self {
        Self { sample: Sample { hooks: Some(HookSample::default()), ..Sample::default() } }
    }

    /// Adds a namespace in which nothing happens while it is read.
    fn quiet(self, netns: u32, counters: NetstatSample, listeners: &[(u16, u32)]) -> Self {
        self.busy(netns, counters, counters, listeners)
    }

    /// Adds a namespace that counts while it is read.
    fn busy(
        mut self,
        netns: u32,
        before: NetstatSample,
        after: NetstatSample,
        listeners: &[(u16, u32)],
    ) -> Self {
        self.sample.namespaces.push(NamespaceSample {
            netns,
            cookie: Some(1),
            listeners: Some(listeners.iter().map(|(port, drops)| listener(*port, *drops)).collect()),
            netstat_before: Some(before),
            netstat_after: Some(after),
            ..NamespaceSample::default()
        });
        self
    }

    /// The namespace that was added last has this cookie, or the kernel does not tell.
    fn cookie(mut self, cookie: Option<u64>) -> Self {
        self.sample.namespaces.last_mut().unwrap().cookie = cookie;
        self
    }

    /// Adds a row of the map.
    fn row(mut self, id: PortId, opened: u64, closed: u64, discarded: u64) -> Self {
        let totals = HandshakeCounters {
            listeners_opened: opened,
            closed_listener_drops: closed,
            discarded_segments: discarded,
            ..HandshakeCounters::default()
        };
        let hooks = self.sample.hooks.as_mut().unwrap();
        hooks.ports.insert(id, totals);
        hooks.ports_before.insert(id, totals);
        self
    }

    fn before(&mut self, id: PortId) -> &mut HandshakeCounters {
        self.sample.hooks.as_mut().unwrap().ports_before.get_mut(&id).unwrap()
    }

    /// Only so many segments of the port were discarded before the sockets were read.
    fn discarded_before(mut self, id: PortId, discarded: u64) -> Self {
        self.before(id).discarded_segments = discarded;
        self
    }

    /// A listener was opened or closed during the sample.
    fn unstable(mut self, id: PortId) -> Self {
        self.before(id).closed_listener_drops = u64::MAX;
        self
    }
}

/// (drops, overflows) of port 80, and of the rest, of namespace 1 after the last of the samples.
fn after(discards_known: bool, hosts: &[Host]) -> ((u64, u64), (u64, u64)) {
    let mut ledger = Ledger::new();
    let mut attribution = Attribution::default();
    for host in hosts {
        attribution = ledger.observe(&host.sample, &coverage(discards_known));
    }
    let port = attribution.ports.get(&id(1, 80)).copied().unwrap_or_default();
    let rest = attribution.namespaces.get(&1).copied().unwrap_or_default();
    ((port.listen_drops, port.accept_queue_overflows), (rest.listen_drops, rest.accept_queue_overflows))
}

#[test]
fn a_namespace_that_is_born_while_watched_is_exact_at_its_first_sample() {
    let overflowed = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]).row(id(1, 80), 1, 0, 0);
    for discards_known in [true, false] {
        let hosts = [Host::new(), overflowed.clone()];
        assert_eq!(after(discards_known, &hosts), ((7, 7), (0, 0)));
    }
}

#[test]
fn what_was_counted_before_the_first_sample_does_not_count() {
    let check = |hosts: &[Host], expected: (u64, u64)| {
        assert_eq!(after(true, hosts), (expected, (0, 0)), "{hosts:?}");
    };
    let first = Host::new().quiet(1, netstat(100, 90), &[(80, 60)]);
    check(slice::from_ref(&first), (0, 0));
    check(&[first.clone(), Host::new().quiet(1, netstat(107, 95), &[(80, 67)])], (7, 5));
    // It was there, but its first complete sample comes later.
    let mut unread = first.clone();
    unread.sample.namespaces[0].listeners = None;
    let later = Host::new().quiet(1, netstat(107, 97), &[(80, 67)]);
    check(&[unread.clone(), later.clone()], (0, 0));
    check(&[unread, later, Host::new().quiet(1, netstat(109, 99), &[(80, 69)])], (2, 2));
}

#[test]
fn a_namespace_that_appears_with_a_listener_nobody_saw_open_was_not_watched() {
    let appears = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]);
    assert_eq!(after(true, &[Host::new(), appears.clone()]), ((0, 0), (0, 0)));
    // More was dropped than its listeners know of: one of them was closed before anyone watched.
    let emptier = appears.row(id(1, 80), 1, 0, 0);
    let more = Host::new().quiet(1, netstat(8, 8), &[(80, 7)]).row(id(1, 80), 1, 0, 0);
    assert_eq!(after(true, &[Host::new(), more]), ((0, 0), (0, 0)));
    assert_eq!(after(true, &[Host::new(), emptier]), ((7, 7), (0, 0)));
}

#[test]
fn a_listener_that_is_closed_takes_nothing_with_it() {
    let open = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]).row(id(1, 80), 1, 0, 0);
    let check = |rest: &[Host], expected: (u64, u64)| {
        let hosts = [&[Host::new(), open.clone()], rest].concat();
        assert_eq!(after(true, &hosts), (expected, (0, 0)), "{rest:?}");
    };
    let closed = Host::new().quiet(1, netstat(9, 9), &[]).row(id(1, 80), 1, 9, 0);
    check(slice::from_ref(&closed), (9, 9));
    let between = Host::new().quiet(1, netstat(9, 9), &[]).row(id(1, 80), 1, 0, 0);
    check(slice::from_ref(&between), (7, 7));
    check(&[between.clone().unstable(id(1, 80)), closed.clone()], (9, 9));
    check(&[between, closed.clone()], (9, 9));
    let reopened = Host::new().quiet(1, netstat(12, 12), &[(80, 3)]).row(id(1, 80), 2, 9, 0);
    check(&[closed, reopened], (12, 12));
}

#[test]
fn discarded_segments_are_no_drops() {
    let acks = Host::new().quiet(1, netstat(7, 7), &[(80, 14)]).row(id(1, 80), 1, 0, 7);
    assert_eq!(after(true, &[Host::new(), acks.clone()]), ((7, 7), (0, 0)));
    assert_eq!(after(false, &[Host::new(), acks]), ((7, 7), (0, 0)));
    let duplicates = Host::new().quiet(1, netstat(0, 0), &[(80, 5)]).row(id(1, 80), 1, 0, 5);
    assert_eq!(after(true, &[Host::new(), duplicates.clone()]), ((0, 0), (0, 0)));
    assert_eq!(after(false, &[Host::new(), duplicates]), ((0, 0), (0, 0)));
}

#[test]
fn what_nobody_can_be_charged_with_is_unattributed() {
    let start = Host::new().quiet(1, netstat(0, 0), &[(80, 0), (81, 0)]);
    let check = |discards_known: bool, next: Host, expected| {
        assert_eq!(after(discards_known, &[start.clone(), next]), expected);
    };
    let both = |drops, overflows| Host::new().quiet(1, netstat(drops, overflows), &[(80, 7), (81, 3)]);
    check(true, both(10, 10), ((7, 7), (0, 0)));
    check(true, both(10, 6), ((7, 3), (0, 3)));
    check(true, both(10, 5), ((7, 2), (0, 3)));
    check(false, both(8, 8), ((5, 5), (2, 2)));
}

#[test]
fn an_unfinished_interval_shows_only_what_is_certain_and_ends_after_thirty_samples() {
    let start = Host::new().quiet(1, netstat(0, 0), &[(80, 0)]);
    // Two more drops than any socket has: they stay missing.
    let next = Host::new().quiet(1, netstat(9, 9), &[(80, 7)]);
    let hosts = |count: usize| [vec![start.clone()], vec![next.clone(); count]].concat();
    assert_eq!(after(true, &hosts(1)), ((7, 7), (0, 0)));
    assert_eq!(after(true, &hosts(29)), ((7, 7), (0, 0)));
    assert_eq!(after(true, &hosts(30)), ((7, 7), (2, 2)));
}

#[test]
fn counts_that_move_during_the_sample_are_taken_from_the_safe_side() {
    let start = Host::new().quiet(1, netstat(0, 0), &[(80, 0), (81, 0)]);
    let check = |discards_known: bool, expected| {
        // Two drops of port 81, one of them an overflow, come while the namespace is read.
        let busy = Host::new().busy(1, netstat(7, 7), netstat(9, 8), &[(80, 7), (81, 1)]);
        assert_eq!(after(discards_known, &[start.clone(), busy]).0, expected);
    };
    check(true, (7, 5));
    check(false, (6, 6));
}

#[test]
fn a_storm_that_never_pauses_is_attributed_but_for_what_happens_during_the_reads() {
    // Last ACKs, each of them one drop, one overflow and one discarded segment.
    let moment = |acks: u64| {
        let (before, after) = (netstat(acks, acks), netstat(acks + 3, acks + 3));
        let drops = u32::try_from(2 * (acks + 1)).unwrap();
        let host = Host::new().busy(1, before, after, &[(80, drops)]);
        host.row(id(1, 80), 0, 0, acks + 4).discarded_before(id(1, 80), acks)
    };
    let hosts: Vec<_> = (0..100).map(|step| moment(1000 * step)).collect();
    assert_eq!(after(true, &hosts[..2]), ((996, 990), (0, 0)));
    let (port, rest) = after(true, &hosts);
    assert!(port.0 >= 98_990 && port.1 >= 98_950, "{port:?}");
    assert!(rest.0 <= 10 && rest.1 <= 50, "{rest:?}");
}

#[test]
fn counters_that_go_back_are_another_namespace_where_no_cookie_tells() {
    let first = Host::new().quiet(1, netstat(100, 100), &[(80, 100)]);
    let watched = Host::new().quiet(1, netstat(105, 105), &[(80, 105)]);
    let other = Host::new().quiet(1, netstat(3, 3), &[(80, 3)]).row(id(1, 80), 1, 105, 0);
    let untold = |hosts: &[Host]| hosts.iter().map(|host| host.clone().cookie(None)).collect::<Vec<_>>();
    assert_eq!(after(true, &untold(&[first.clone(), watched.clone(), other])), ((8, 8), (0, 0)));
    // Its last two drops came after its last sample, and are not in the new namespace's counters.
    let late = Host::new().quiet(1, netstat(3, 3), &[(80, 3)]).row(id(1, 80), 1, 107, 0);
    assert_eq!(after(true, &untold(&[first, watched, late])), ((10, 5), (0, 3)));
}

#[test]
fn another_cookie_is_another_namespace_whatever_it_has_counted() {
    let first = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]);
    let check = |counted: u64, expected| {
        let drops = u32::try_from(counted).unwrap();
        let other = Host::new().quiet(1, netstat(counted, counted), &[(80, drops)]).row(id(1, 80), 1, 7, 0);
        assert_eq!(after(true, &[first.clone(), other.cookie(Some(2))]), (expected, (0, 0)));
    };
    check(3, (3, 3));
    check(7, (7, 7));
    check(20, (20, 20));
}

/// Nothing is known of the listener that was there before; the namespace is the same.
#[test]
fn overflows_of_a_listener_that_was_opened_meanwhile_are_its_own_while_more_of_them_come() {
    let start = Host::new().quiet(1, netstat(0, 0), &[]);
    // Each refused last ACK is a drop and a discarded segment; some come while the namespace is read.
    let storm = |acks: u64| {
        let drops = u32::try_from(2 * (acks + 1)).unwrap();
        let busy = Host::new().busy(1, netstat(acks, acks), netstat(acks + 2, acks + 2), &[(80, drops)]);
        busy.row(id(1, 80), 1, 0, acks + 2).discarded_before(id(1, 80), acks)
    };
    let end = Host::new().quiet(1, netstat(6, 6), &[(80, 12)]).row(id(1, 80), 1, 0, 6);
    let hosts = [start, storm(0), storm(2), storm(4), end];
    assert_eq!(after(true, &hosts), ((6, 6), (0, 0)));
    // Where no cookie tells that, they may be of another one, and some are given up.
    let ((drops, overflows), (_, unattributed)) = after(true, &hosts.map(|host| host.cookie(None)));
    assert_eq!((drops, overflows + unattributed), (6, 6));
    assert!(overflows < 6);
}

#[test]
fn a_namespace_that_cannot_be_read_keeps_its_state() {
    let first = Host::new().quiet(1, netstat(0, 0), &[(80, 0)]);
    let drops = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]);
    let mut failed = Host::new().quiet(1, netstat(9, 9), &[]);
    failed.sample.namespaces[0].netstat_after = None;
    let mut unlisted = failed.clone();
    unlisted.sample.namespaces[0].listeners = None;
    let more = Host::new().quiet(1, netstat(9, 9), &[(80, 9)]);
    let check = |hosts: &[Host], expected: (u64, u64)| assert_eq!(after(true, hosts), (expected, (0, 0)));
    for gap in [failed, unlisted, Host::new(), Host::default()] {
        check(&[first.clone(), drops.clone(), gap.clone()], (7, 7));
        check(&[first.clone(), drops.clone(), gap, more.clone()], (9, 9));
    }
}

#[test]
fn nothing_is_taken_in_with_another_accounting() {
    let sample = Host::new().quiet(1, netstat(7, 7), &[(80, 7)]).sample;
    let other = Coverage { accounting: Accounting::KernelCounters, ..coverage(true) };
    assert_eq!(Ledger::new().observe(&sample, &other), Attribution::default());
}

#[test]
fn a_port_past_the_budget_is_not_followed_and_its_drops_are_unattributed() {
    let ports = |drops: u32| -> Vec<_> {
        let last = u16::try_from(PORT_BUDGET).unwrap();
        (1..=last + 1).map(|port| (port, if port == last + 1 { drops } else { 0 })).collect()
    };
    let mut ledger = Ledger::new();
    ledger.observe(&Host::new().quiet(1, netstat(0, 0), &ports(0)).sample, &coverage(true));
    let mut attribution = Attribution::default();
    for _ in 0..30 {
        let sample =
            Host::new().quiet(1, netstat(7, 7), &ports(7)).quiet(2, netstat(0, 0), &[(80, 0)]).sample;
        attribution = ledger.observe(&sample, &coverage(true));
    }
    assert_eq!(attribution.ports.len(), PORT_BUDGET);
    let expected = Unattributed { listen_drops: 7, accept_queue_overflows: 7 };
    assert_eq!(attribution.namespaces[&1], expected);
}

#[test]
fn a_port_that_the_full_map_lacks_is_waited_for_and_then_given_up() {
    let full = |mut host: Host| {
        host.sample.hooks.as_mut().unwrap().losses.insert(Loss::ListenerMapFull.label().to_owned(), 1);
        host
    };
    let start = full(Host::new().quiet(1, netstat(0, 0), &[(80, 0)]));
    let next = full(Host::new().quiet(1, netstat(7, 7), &[(80, 7)]));
    let hosts = [vec![start], vec![next; 30]].concat();
    assert_eq!(after(true, &hosts[..2]), ((0, 0), (0, 0)));
    assert_eq!(after(true, &hosts), ((0, 0), (7, 7)));
}

#[test]
fn a_port_whose_opening_was_missed_counts_from_where_it_was_seen() {
    let start = Host::new().quiet(1, netstat(5, 5), &[(81, 0)]);
    let appears = Host::new().quiet(1, netstat(12, 12), &[(80, 7), (81, 0)]);
    let drops = Host::new().quiet(1, netstat(15, 15), &[(80, 10), (81, 0)]);
    assert_eq!(after(true, &[start.clone(), appears.clone()]), ((0, 0), (0, 0)));
    assert_eq!(after(true, &[start.clone(), appears.clone(), drops.clone()]), ((3, 3), (0, 0)));
    assert_eq!(after(false, &[start, appears, drops]), ((3, 3), (7, 7)));
}

#[test]
fn namespaces_past_the_budget_are_forgotten_when_they_have_gone() {
    let mut ledger = Ledger::new();
    let budget = u32::try_from(NAMESPACE_BUDGET).unwrap();
    for first in [0, budget] {
        let mut host = Host::new();
        for netns in first..first + budget {
            host = host.quiet(netns, netstat(0, 0), &[]);
        }
        let attribution = ledger.observe(&host.sample, &coverage(true));
        assert_eq!(attribution.namespaces.len(), NAMESPACE_BUDGET);
        assert!(attribution.namespaces.contains_key(&first));
    }
}
