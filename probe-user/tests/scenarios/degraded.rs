//! Hosts that allow less than the daemon could use: it gets ready, says of every hook what keeps it from
//! its best, and what it still counts is right. Of what it cannot know there is no number.
use std::{
    fs,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
};

use libtest_mimic::Trial;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;

use crate::scenarios::{
    attached::{AttachedHook, hooks_of},
    expected::{Expected, Skipped, Unattributed},
    support::{
        daemon::{Daemon, binary, run_arguments},
        kernel_counters::KernelCounters,
        metrics::{Metrics, PortNumbers},
        namespace::Namespace,
        sockets::{IPV4, Listener, connect_in_turn},
        trials::{tell, trials_of},
        verdicts::Verdicts,
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;

const FULL_PLANS: [&str; 2] = ["trampoline", "kprobe"];
const SKIPPED: &str = "skipped";

/// What hides the addresses of kernel symbols, from root as well when it is 2.
const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";
/// Who may use perf_event_open(2), by which kprobes are attached.
const PERF_EVENT_PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const SECURITYFS: &str = "/sys/kernel/security";

/// Those that disturb no other.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!("degraded": a_kernel_without_btf, a_host_without_tracefs, bpf_and_perfmon_without_sys_admin)
}

/// Those that change the machine, one after the other; after the last one it stays so.
pub(crate) fn trials_that_change_the_machine() -> Vec<Trial> {
    trials_of!("degraded": hidden_kernel_addresses, a_queue_before_all_sockets_that_is_full, a_kernel_in_lockdown)
}

fn a_kernel_without_btf() {
    let namespace = Namespace::new();
    in_a_mount_namespace(&namespace, || {
        mount_at("tmpfs", "/sys/kernel/btf");
    });
    let host = Host::start(&namespace, "auto");
    for hook in host.hooks() {
        assert_eq!(hook.variant, SKIPPED, "{hook:?}");
        assert!(hook.reason.contains("/sys/kernel/btf/vmlinux"), "{hook:?}");
    }
    assert_eq!(host.accounting(), "none");
    host.overflow(|_, seen| {
        let socket_only = PortNumbers {
            queue_length: Some(u64::from(BACKLOG) + 1),
            queue_limit: Some(u64::from(BACKLOG)),
            listeners: Some(1),
            ..PortNumbers::default()
        };
        ensure(*seen == socket_only, || format!("{seen:?}"))
    });
}

fn a_host_without_tracefs() {
    let namespace = Namespace::new();
    in_a_mount_namespace(&namespace, || {
        umount2("/sys/kernel/tracing", MntFlags::MNT_DETACH).expect("tracefs away");
    });
    for plan in FULL_PLANS {
        Host::start(&namespace, plan).counts_everything(true);
    }
    Host::start(&namespace, "tracepoint").counts_everything(false);
}

/// The most that a service can do without: counting is complete, other network namespaces are not entered.
fn bpf_and_perfmon_without_sys_admin() {
    let (namespace, foreign) = (Namespace::new(), Namespace::new());
    let out_of_sight = Listener::open(&foreign, IPV4, BACKLOG);
    namespace.run(|| {
        // What this thread starts has no more than is left here. The thread ends with the trial.
        remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN).expect("a smaller bounding set");
    });
    let in_its_own_namespace_only = |host: &Host<'_>| {
        host.counts_everything(true);
        let metrics = host.scrape();
        let seen = metrics.port(foreign.inode(), out_of_sight.address);
        assert_eq!(seen, PortNumbers::default(), "of a namespace that cannot be entered");
        assert_eq!(netns_total(&metrics, &foreign, "overflows"), None);
        let readable = |netns: &Namespace| {
            metrics.value("tcp_backlog_netns_readable", &[("netns", &netns.inode().to_string())])
        };
        assert_eq!([readable(host.namespace), readable(&foreign)], [Some(1), Some(0)]);
        let log = host.daemon.log().text();
        let explains = |line: &str| line.contains("\"WARN\"") && line.contains("CAP_SYS_ADMIN");
        assert!(log.lines().any(explains), "no warning names CAP_SYS_ADMIN");
    };
    in_its_own_namespace_only(&Host::start(&namespace, "trampoline"));
    // Debian's own level 3 leaves kprobes to CAP_SYS_ADMIN. Nobody else here goes without that.
    let before = fs::read_to_string(PERF_EVENT_PARANOID).expect("kernel.perf_event_paranoid");
    fs::write(PERF_EVENT_PARANOID, "3").expect("a kernel.perf_event_paranoid of 3");
    for hook in Host::start(&namespace, "kprobe").hooks() {
        assert_ne!(hook.variant, "kprobe", "{hook:?}");
        let is_explained = hook.name != "syn_received" || hook.reason.contains("perf_event_paranoid");
        assert!(is_explained, "{hook:?}");
    }
    fs::write(PERF_EVENT_PARANOID, "2").expect("a kernel.perf_event_paranoid of 2");
    in_its_own_namespace_only(&Host::start(&namespace, "kprobe"));
    fs::write(PERF_EVENT_PARANOID, before).expect("the kernel.perf_event_paranoid of before");
}

/// Only the tracepoint plan looks symbols up, to tell a listener's drops from its discards.
fn hidden_kernel_addresses() {
    let before = fs::read_to_string(KPTR_RESTRICT).expect("kernel.kptr_restrict");
    let namespace = Namespace::new();
    let open = Host::start(&namespace, "tracepoint").hooks();
    fs::write(KPTR_RESTRICT, "2").expect("a kernel.kptr_restrict of 2");
    for plan in FULL_PLANS {
        Host::start(&namespace, plan).counts_everything(true);
    }
    let host = Host::start(&namespace, "tracepoint");
    host.counts_everything(false);
    for (before, hidden) in open.iter().zip(host.hooks()) {
        // Where the kernel does not say whose packet it frees, addresses are of no use anyway.
        let needs_addresses = before.name == "packet_freed" && before.variant != SKIPPED;
        if needs_addresses {
            assert_eq!(hidden.variant, SKIPPED, "{hidden:?}");
            assert!(hidden.reason.contains("kptr_restrict"), "{hidden:?}");
        } else {
            assert_eq!(hidden, *before);
        }
    }
    fs::write(KPTR_RESTRICT, before).expect("the kernel.kptr_restrict of before");
}

/// Without room in that queue, packets that are sent while others are received are dropped: enqueue_to_backlog().
fn a_queue_before_all_sockets_that_is_full() {
    const LIMIT: &str = "/proc/sys/net/core/netdev_max_backlog";
    let daemon = Daemon::start(&["--plan", "none"]);
    let on_host = || Verdicts::of(&daemon, |verdict| verdict.get("netns").is_none_or(Value::is_null));
    on_host().lack("softnet_drops").expect("nothing was dropped");
    let before = fs::read_to_string(LIMIT).expect("net.core.netdev_max_backlog");
    fs::write(LIMIT, "0").expect("a net.core.netdev_max_backlog of 0");
    let namespace = Namespace::new();
    let dropped = wait_until("packets are dropped", || {
        namespace.run(send_a_megabyte);
        on_host().title("softnet_drops", "warning").map(str::to_owned)
    });
    fs::write(LIMIT, before).expect("the net.core.netdev_max_backlog of before");
    assert!(
        dropped.ends_with("were dropped before the network stack: net.core.netdev_max_backlog"),
        "{dropped}"
    );
}

/// Acknowledgements that are received make the sender send.
fn send_a_megabyte() {
    let listener = TcpListener::bind((IPV4, 0)).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(&vec![0; 1 << 20]).expect("a megabyte sent");
    });
    let (mut stream, _) = listener.accept().expect("the connection");
    let received = io::copy(&mut stream, &mut io::sink()).expect("a megabyte received");
    assert_eq!(received, 1 << 20);
    sender.join().expect("the sender");
}

/// Lockdown takes `bpf_probe_read_kernel()` and kprobes away; it can be switched on and never off again.
fn a_kernel_in_lockdown() {
    mount_at("securityfs", SECURITYFS);
    fs::write(format!("{SECURITYFS}/lockdown"), "confidentiality").expect("lockdown");
    let namespace = Namespace::new();
    for plan in ["auto", "trampoline", "kprobe", "tracepoint"] {
        let host = Host::start(&namespace, plan);
        let hooks = host.hooks();
        let uses_kprobes = hooks.iter().any(|hook| hook.variant == "kprobe");
        assert!(!uses_kprobes, "--plan {plan}: {hooks:#?}");
        let method = host.accounting();
        let full = !matches!(method.as_str(), "socket-drops" | "none");
        // What reads no memory by a helper goes on, and that is what the tracepoint plan stands on.
        assert!(
            method == "socket-drops" || !matches!(plan, "auto" | "tracepoint"),
            "--plan {plan}: {method}"
        );
        for AttachedHook { name, variant, reason } in hooks {
            tell(format!("in lockdown, --plan {plan}, by {method}: {name} {variant}: {reason}"));
        }
        host.overflow(|expected, seen| compare_known(expected, seen, full));
    }
}

/// A daemon on such a host, in a network namespace of its own.
struct Host<'a> {
    namespace: &'a Namespace,
    daemon: Daemon,
}

impl<'a> Host<'a> {
    /// Starts it with what the namespace's thread may do, and waits until it is ready.
    fn start(namespace: &'a Namespace, plan: &str) -> Self {
        let mut command = Command::new(binary());
        command.args(run_arguments(&["--plan", plan]));
        Self { namespace, daemon: Daemon::start_in(namespace, command) }
    }

    fn scrape(&self) -> Metrics {
        self.daemon.scrape_in(self.namespace)
    }

    fn hooks(&self) -> Vec<AttachedHook> {
        hooks_of(&self.scrape())
    }

    fn accounting(&self) -> String {
        self.scrape().label_values("tcp_backlog_accounting_info", "method").concat()
    }

    /// Nothing is missing, but what the plan never has.
    fn counts_everything(&self, full: bool) {
        let method = self.accounting();
        assert_eq!(method == "kernel-counters", full, "accounting is by {method}");
        assert_eq!(method == "socket-drops", !full, "accounting is by {method}");
        self.hooks();
        self.overflow(|expected, seen| {
            expected.compare(seen, full, Skipped::default(), Unattributed::default())
        });
    }

    /// Makes a listener overflow and checks what is counted, once no counter moves.
    fn overflow(&self, check: impl Fn(&Expected, &PortNumbers) -> Result<(), String>) {
        let listener = Listener::open(self.namespace, IPV4, BACKLOG);
        let start = self.namespace.counters();
        let _clients = connect_in_turn(self.namespace, &listener, listener.address, CLIENTS);
        let refused = CLIENTS - listener.capacity();
        wait_until("an overflow is counted", || {
            let before = self.namespace.counters();
            let metrics = self.scrape();
            let kernel = self.namespace.counters();
            ensure(refusals(&before) == refusals(&kernel), || format!("{before:?}, {kernel:?}"))?;
            let moved = kernel.since(&start);
            ensure(moved.listen_overflows >= refused, || format!("{moved:?}"))?;
            let expected = Expected {
                syn_received: CLIENTS + moved.syn_retransmits,
                syn_queued: listener.capacity(),
                established: listener.capacity(),
                overflows_syn: moved.listen_overflows,
                ..Expected::default()
            };
            let seen = metrics.port(self.namespace.inode(), listener.address);
            check(&expected.unless_held_up(&seen, moved.syn_retransmits), &seen)?;
            let seen = ["overflows", "drops"].map(|what| netns_total(&metrics, self.namespace, what));
            let of_kernel = [kernel.listen_overflows, kernel.listen_drops].map(Some);
            ensure(seen == of_kernel, || format!("of the namespace {seen:?}, the kernel has {of_kernel:?}"))
        });
    }
}

/// Compares what the daemon knows; it need not know all.
fn compare_known(expected: &Expected, seen: &PortNumbers, full: bool) -> Result<(), String> {
    let expected = if full { expected.under_a_full_plan() } else { expected.under_the_tracepoint_plan() };
    let known = |expected: Option<u64>, seen: Option<u64>| seen.and(expected);
    let expected = PortNumbers {
        syn_received: known(expected.syn_received, seen.syn_received),
        syn_queued: known(expected.syn_queued, seen.syn_queued),
        established: known(expected.established, seen.established),
        last_ack_received: known(expected.last_ack_received, seen.last_ack_received),
        last_ack_refused: known(expected.last_ack_refused, seen.last_ack_refused),
        synack_retransmits: known(expected.synack_retransmits, seen.synack_retransmits),
        overflows_syn: known(expected.overflows_syn, seen.overflows_syn),
        overflows_ack: known(expected.overflows_ack, seen.overflows_ack),
        overflows_undivided: known(expected.overflows_undivided, seen.overflows_undivided),
        listen_drops: known(expected.listen_drops, seen.listen_drops),
        // What sock_diag says needs no hook.
        ..*seen
    };
    ensure(*seen == expected, || format!("expected {expected:?}\nseen {seen:?}"))
}

/// What moves while clients try again. The scrape itself is a connection in the namespace.
fn refusals(kernel: &KernelCounters) -> [u64; 3] {
    [kernel.listen_overflows, kernel.listen_drops, kernel.syn_retransmits]
}

fn netns_total(metrics: &Metrics, namespace: &Namespace, what: &str) -> Option<u64> {
    let netns = namespace.inode().to_string();
    metrics.value(&format!("tcp_backlog_netns_listen_{what}_total"), &[("netns", &netns)])
}

/// Changes mounts for what is started in this network namespace, and for nobody else.
fn in_a_mount_namespace(namespace: &Namespace, change: impl FnOnce() + Send + 'static) {
    namespace.run(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let (nothing, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(nothing, "/", nothing, private, nothing).expect("private mounts");
        change();
    });
}

fn mount_at(file_system: &str, path: &str) {
    mount(Some(file_system), path, Some(file_system), MsFlags::empty(), None::<&str>)
        .unwrap_or_else(|error| panic!("{file_system} on {path}: {error}"));
}
