//! A daemon, a namespace to make traffic in, and the comparison of the two.
use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    Setup,
    expected::{Expected, Skipped, Unattributed},
    support::{
        daemon::Daemon,
        kernel_counters::KernelCounters,
        metrics::{Metrics, PortNumbers},
        namespace::Namespace,
        verdicts::Verdicts,
        wait::{ensure, wait_until},
    },
};

/// How long the daemon and the kernel may disagree while no counter moves. The kernel raises its
/// counter an instant before the hook at the end of the same function runs, and an emulated
/// processor may be held up in between; what is wrong for longer was counted wrongly.
const DISAGREEMENT: Duration = Duration::from_secs(15);

/// What the daemon says that it missed, by reason.
const LOST_EVENTS: &str = "tcp_backlog_lost_events_total";

/// A daemon and the namespace that it is held against.
pub(crate) struct Bench {
    /// Where the traffic is.
    pub(crate) namespace: Namespace,
    daemon: Arc<Daemon>,
    full: bool,
    /// How often a program had been left out before: no concern of this scenario's.
    skipped_before: u64,
    /// How often, at most, kprobes were left out without a word.
    untold: u64,
    start: KernelCounters,
    /// What was counted before in a namespace with the same inode number.
    earlier: KernelCounters,
    /// Every total of the namespace in the scrape before: none may shrink or vanish.
    totals: RefCell<Vec<(String, u64)>>,
}

/// The kernel and the daemon at one instant.
pub(crate) struct Moment {
    /// What the kernel counted since the daemon was ready.
    pub(crate) kernel: KernelCounters,
    /// What the kernel counted since the namespace was made.
    ever: KernelCounters,
    /// What the daemon says.
    pub(crate) metrics: Metrics,
    netns: u64,
    full: bool,
    /// How often the kernel left out one of the daemon's programs since the scenario began: a bound
    /// for what is missing.
    pub(crate) skipped: Skipped,
}

impl Bench {
    /// Makes a namespace for the daemon that the scenarios of this set-up share.
    pub(crate) fn new(setup: &Setup) -> Self {
        let daemon = setup.shared_daemon();
        // Not one whose number it has counted under before: a proof's, which has ended.
        Self::between(Namespace::unlike(|| daemon.scrape().namespaces()), daemon, setup)
    }

    /// Makes a namespace and starts a daemon that nobody else looks at, so that what happens between
    /// two scrapes is known.
    pub(crate) fn alone(setup: &Setup) -> Self {
        Self::around(Namespace::new(), setup)
    }

    /// Starts a daemon when the namespace exists, and maybe holds traffic, already.
    pub(crate) fn around(namespace: Namespace, setup: &Setup) -> Self {
        Self::between(namespace, Arc::new(setup.start_daemon()), setup)
    }

    /// With a daemon that somebody else has started.
    pub(crate) fn of(namespace: Namespace, daemon: Daemon, setup: &Setup) -> Self {
        Self::between(namespace, Arc::new(daemon), setup)
    }

    /// Ends the daemon, which nobody else may look at.
    pub(crate) fn end_daemon(&mut self, signal: Signal) {
        let daemon = Arc::get_mut(&mut self.daemon).expect("a daemon of its own");
        daemon.end_with(signal);
    }

    /// Goes on with the daemon that comes after the one that has ended. Its totals go on, too.
    pub(crate) fn replace_daemon(&mut self, daemon: Daemon) {
        self.daemon = Arc::new(daemon);
    }

    /// Allows for so many events that kprobes miss, where the kernel does not tell of them (before 6.7): of a scenario whose
    /// traffic goes on while the machine does much else.
    pub(crate) fn allow_for_missed_kprobes(&mut self, events: u64) {
        if kernel_version() < [6, 7] {
            self.untold = events;
        }
    }

    /// What the daemon has logged so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log().text()
    }

    fn between(namespace: Namespace, daemon: Arc<Daemon>, setup: &Setup) -> Self {
        // Whatever the plan, the namespace is known to the daemon from here on.
        let metrics = daemon.scrape();
        let full = has_stages(setup, &metrics);
        let skipped_before = skipped_in(&metrics);
        let start = namespace.counters();
        let (earlier, totals) = Default::default();
        Self { namespace, daemon, full, skipped_before, untold: 0, start, earlier, totals }
    }

    /// Goes on in a new namespace that the daemon has never seen, and does not see before it is
    /// asked again.
    pub(crate) fn move_to_unknown(mut self) -> Self {
        let namespace = Namespace::unlike(|| self.daemon.scrape().namespaces());
        self.start = KernelCounters::default();
        self.totals = RefCell::default();
        self.namespace = namespace;
        self
    }

    /// The same, in a new namespace that has the old one's inode number.
    pub(crate) fn move_to_namesake(mut self) -> Self {
        self.earlier = self.kernel();
        self.start = KernelCounters::default();
        self.totals = RefCell::default();
        self.namespace = self.namespace.into_namesake();
        self
    }

    /// Whether the hooks are on the kernel's functions rather than on its tracepoints.
    pub(crate) const fn full(&self) -> bool {
        self.full
    }

    /// One scrape.
    pub(crate) fn scrape(&self) -> Metrics {
        self.daemon.scrape()
    }

    /// Everything that the daemon knows, as JSON.
    pub(crate) fn snapshot(&self) -> Value {
        self.daemon.snapshot()
    }

    /// What the daemon finds wrong.
    pub(crate) fn verdicts_on(&self, address: SocketAddr) -> Verdicts {
        Verdicts::on(&self.daemon, self.namespace.inode(), address)
    }

    /// The same in a namespace, which may have ended.
    pub(crate) fn verdicts_in(&self, netns: u64) -> Verdicts {
        Verdicts::in_namespace(&self.daemon, netns)
    }

    /// What it knows of one port of the namespace, as JSON.
    pub(crate) fn port(&self, address: SocketAddr) -> Result<Value, String> {
        let snapshot = self.snapshot();
        let ports = snapshot.pointer("/model/ports").and_then(Value::as_array).ok_or("no ports")?;
        let is = |port: &Value, name: &str, number: u64| port.get(name) == Some(&number.into());
        let is_it = |port: &&Value| {
            is(port, "netns", self.namespace.inode()) && is(port, "port", address.port().into())
        };
        ports.iter().find(is_it).cloned().ok_or_else(|| "no such port".to_owned())
    }

    /// What the kernel counted since the daemon was ready.
    pub(crate) fn kernel(&self) -> KernelCounters {
        self.namespace.counters().since(&self.start)
    }

    /// Waits until the kernel's counters fulfil a condition.
    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&KernelCounters) -> bool) {
        wait_until(what, || {
            let kernel = self.kernel();
            ensure(holds(&kernel), || format!("{kernel:?}"))
        });
    }

    /// Compares at an instant at which no counter moves: clients send again what was lost, and
    /// the kernel and the daemon cannot be read at the same time.
    pub(crate) fn compare(&self, what: &str, check: impl Fn(&Moment) -> Result<(), String>) {
        let mut first_failure: Option<Instant> = None;
        wait_until(what, || {
            let moment = self.quiet_moment()?;
            let outcome = moment.check_namespace(&self.earlier).and_then(|()| check(&moment));
            if let Err(failure) = &outcome
                && first_failure.get_or_insert_with(Instant::now).elapsed() > DISAGREEMENT
            {
                panic!("{what}: {failure}\n{:?}", moment.kernel);
            }
            outcome
        });
    }

    /// Reads the kernel, the daemon and the kernel again; an error when the kernel moved.
    fn quiet_moment(&self) -> Result<Moment, String> {
        let before = self.namespace.counters();
        let metrics = self.daemon.scrape();
        let after = self.namespace.counters();
        self.check_totals_grow(&metrics);
        ensure(before == after, || format!("the kernel's counters move: {before:?}, {after:?}"))?;
        let (kernel, netns) = (after.since(&self.start), self.namespace.inode());
        let kprobes = metrics.label_values("tcp_backlog_hook_info", "variant").contains(&"kprobe");
        let untold = if kprobes { self.untold } else { 0 };
        let runs = skipped_in(&metrics) - self.skipped_before + untold;
        let skipped = Skipped { runs, of_kprobes: kprobes };
        Ok(Moment { kernel, ever: after, metrics, netns, full: self.full, skipped })
    }

    /// No total of the namespace shrinks or vanishes while the daemon runs.
    fn check_totals_grow(&self, metrics: &Metrics) {
        let totals = metrics.totals_of_namespace(self.namespace.inode());
        for (series, value) in self.totals.replace(totals.clone()) {
            let now = totals.iter().find(|(name, _)| *name == series).map(|(_, value)| *value);
            assert!(now >= Some(value), "{series} was {value} and is {now:?}");
        }
    }
}

impl Moment {
    /// What the daemon says of a port.
    pub(crate) fn port(&self, address: SocketAddr) -> PortNumbers {
        self.metrics.port(self.netns, address)
    }

    /// The port has exactly these numbers.
    pub(crate) fn expect(&self, address: SocketAddr, expected: Expected) -> Result<(), String> {
        let seen = self.port(address);
        expected
            .unless_held_up(&seen, self.kernel.syn_retransmits)
            .compare(&seen, self.full, self.skipped, self.unattributed())
            .map_err(|failure| format!("{address}: {failure}"))
    }

    /// So many connections of the port were refused, each of them once, where that is counted.
    pub(crate) fn expect_refused(&self, address: SocketAddr, connections: u64) -> Result<(), String> {
        let seen = self.of_port(address, "connections_refused_total");
        let missing = connections.checked_sub(seen.unwrap_or_default());
        let allowed = if self.full { self.skipped.of_functions() } else { connections };
        let right = seen.is_some() == self.full && missing.is_some_and(|missing| missing <= allowed);
        ensure(right, || format!("{address}: {seen:?} connections refused, expected {connections}"))
    }

    /// One counter of a port, by its cause.
    pub(crate) fn of_cause(&self, address: SocketAddr, name: &str, cause: &str) -> Option<u64> {
        let (netns, port) = (self.netns.to_string(), address.port().to_string());
        let address = address.ip().to_string();
        let labels = [("netns", &netns), ("address", &address), ("port", &port)];
        let labels = labels.map(|(label, value)| (label, value.as_str()));
        self.metrics.value(&format!("tcp_backlog_{name}"), &[&labels[..], &[("cause", cause)]].concat())
    }

    /// One more counter of a port.
    pub(crate) fn of_port(&self, address: SocketAddr, name: &str) -> Option<u64> {
        self.metrics.of_port(self.netns, address, name)
    }

    /// One listener is open on the port, with this queue.
    pub(crate) fn expect_queue(&self, address: SocketAddr, length: u64, limit: u32) -> Result<(), String> {
        let port = self.port(address);
        let seen = (port.queue_length, port.queue_limit, port.listeners);
        let expected = (Some(length), Some(u64::from(limit)), Some(1));
        ensure(seen == expected, || format!("{address}: queue {seen:?}, expected {expected:?}"))
    }

    /// How many SYNs the clients sent again: what the kernel counts, less the SYN-ACKs among it.
    pub(crate) fn client_syn_retransmits(&self, ports: &[PortNumbers]) -> u64 {
        let synacks: u64 = ports.iter().filter_map(|port| port.synack_retransmits).sum();
        self.kernel.syn_retransmits.saturating_sub(synacks)
    }

    /// The overflows and drops that the tracepoint plan could charge to no port, and said so.
    pub(crate) fn unattributed(&self) -> Unattributed {
        let of = |what: &str| {
            self.of_namespace(&format!("tcp_backlog_netns_unattributed_{what}_total")).unwrap_or_default()
        };
        Unattributed { overflows: of("overflows"), drops: of("drops") }
    }

    /// What must hold in every scenario, whatever the traffic was.
    fn check_namespace(&self, earlier: &KernelCounters) -> Result<(), String> {
        // A program that was skipped may have missed an event of any socket of the host; whether it
        // was one of this scenario's, the counts themselves tell. Everything else that is lost is
        // nobody's: then no scenario of this daemon is right.
        let lost = self.metrics.sum(LOST_EVENTS, &[]).map(|lost| lost - skipped_in(&self.metrics));
        ensure(lost == Some(0), || format!("lost events: {lost:?}"))?;
        let unattributed = self.of_namespace("tcp_backlog_netns_unattributed_overflows_total");
        ensure(unattributed.is_none() == self.full, || {
            format!("unattributed overflows {unattributed:?}, full plan: {}", self.full)
        })?;
        let seen = ["overflows", "drops"]
            .map(|what| self.of_namespace(&format!("tcp_backlog_netns_listen_{what}_total")));
        let expected = [self.ever.listen_overflows, self.ever.listen_drops].map(Some);
        ensure(seen == expected, || format!("of the namespace: {seen:?}, the kernel has {expected:?}"))?;
        let Unattributed { overflows, drops } = self.unattributed();
        let kernel = earlier.listen_overflows + self.kernel.listen_overflows;
        self.check_sum("accept_queue_overflows_total", overflows, kernel)?;
        let kernel = earlier.listen_drops + self.kernel.listen_drops;
        self.check_sum("listen_drops_total", drops, kernel)?;
        // Of two namespaces with one inode number the second may be taken for the first.
        if *earlier == KernelCounters::default() || tells_namespaces_apart() {
            self.check_audit()
        } else {
            Ok(())
        }
    }

    /// The daemon's own comparison with the kernel finds nothing amiss.
    fn check_audit(&self) -> Result<(), String> {
        let netns = self.netns.to_string();
        let residuals = self.metrics.values("tcp_backlog_netns_audit_residual", &[("netns", &netns)]);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let most = self.skipped.of_functions() as f64;
        let harmless = residuals.iter().all(|residual| (0.0..=most).contains(residual));
        ensure(harmless, || format!("residuals: {residuals:?}, {:?}", self.skipped))
    }

    /// The sum over the namespace's ports, and what belongs to none, is the kernel's number.
    fn check_sum(&self, metric: &str, unattributed: u64, kernel: u64) -> Result<(), String> {
        let netns = self.netns.to_string();
        let ports =
            self.metrics.sum(&format!("tcp_backlog_{metric}"), &[("netns", &netns)]).unwrap_or_default();
        let missing = kernel.checked_sub(ports + unattributed);
        ensure(missing.is_some_and(|missing| missing <= self.skipped.of_functions()), || {
            format!("{metric}: {ports} over all ports and {unattributed} of none, the kernel has {kernel}")
        })
    }

    fn of_namespace(&self, name: &str) -> Option<u64> {
        self.metrics.value(name, &[("netns", &self.netns.to_string())])
    }
}

/// How often the kernel left out one of the daemon's programs since the daemon was started.
fn skipped_in(metrics: &Metrics) -> u64 {
    metrics.value(LOST_EVENTS, &[("reason", "program_skipped")]).unwrap_or_default()
}

/// Whether the kernel tells the cookie of a network namespace (`SO_NETNS_COOKIE`).
pub(crate) fn tells_namespaces_apart() -> bool {
    kernel_version() >= [5, 14]
}

/// The first two numbers of the kernel's release.
fn kernel_version() -> [u32; 2] {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    [(); 2].map(|()| numbers.next().and_then(|number| number.parse().ok()).expect("a number"))
}

/// Whether the stages of the handshake can be told apart; checks that a plan that was asked for
/// is the one that is carried out.
fn has_stages(setup: &Setup, metrics: &Metrics) -> bool {
    let methods = metrics.label_values("tcp_backlog_accounting_info", "method");
    let full = match methods.as_slice() {
        ["kernel-counters" | "conditions"] => true,
        ["socket-drops"] => false,
        other => panic!("{setup:?}: accounting is by {other:?}"),
    };
    let variants = metrics.label_values("tcp_backlog_hook_info", "variant");
    let has = |variant: &str| variants.contains(&variant);
    let as_asked = match setup.plan {
        "trampoline" => full && has("trampoline") && !has("kprobe"),
        "kprobe" => full && has("kprobe") && !has("trampoline"),
        "tracepoint" => !full && has("tracepoint") && !has("trampoline") && !has("kprobe"),
        _ => true,
    };
    assert!(as_asked, "{setup:?}: hooks {variants:?}, accounting {methods:?}");
    if setup.accounting != "auto" {
        assert_eq!(methods, [setup.accounting], "{setup:?}");
    }
    full
}
