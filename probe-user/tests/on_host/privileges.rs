//! The daemon with less than root has.
use std::{
    env, fs,
    net::TcpListener,
    ops::Deref,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{self, Command},
    thread,
};

use libtest_mimic::Trial;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_capabilities_secure_bits,
};

use crate::{
    command_line::{complaint, output, text},
    scenarios::support::{
        daemon::{Daemon, binary, run_arguments},
        metrics::Metrics,
        namespace::Namespace,
        sockets::{IPV4, Listener, connect_in_turn},
        trials::trials_of,
        wait::{ensure, wait_until},
    },
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "privileges":
        anybody_else_is_told_what_is_missing,
        anybody_may_run_it_without_hooks,
        owners_that_may_not_be_seen_are_unknown,
        bpf_and_perfmon_count_everything_at_home,
        neither_bpf_nor_perfmon_is_enough_alone,
        owners_take_ptrace_and_dac_read_search,
        other_network_namespaces_take_sys_admin_and_ptrace,
        a_check_counts_the_namespaces_that_it_may_not_enter,
        addresses_of_the_kernel_take_syslog,
        a_proof_takes_sys_admin_net_admin_and_net_raw
    )
}

/// `nobody`.
const NOBODY: u32 = 65534;

fn anybody_else_is_told_what_is_missing() {
    let copy = PublicBinary::new("refused");
    let line = complaint(&output(copy.as_nobody().args(run_arguments(&[]))));
    assert!(line.contains("CAP_BPF"), "{line}");
}

fn anybody_may_run_it_without_hooks() {
    let copy = PublicBinary::new("served");
    let mut command = copy.as_nobody();
    command.args(run_arguments(&["--plan", "none"]));
    let metrics = Daemon::start_command(command).scrape();
    let methods = metrics.label_values("tcp_backlog_accounting_info", "method");
    assert_eq!(methods, ["none"]);
}

/// And that is said once, however often it is read and however many processes come and go.
fn owners_that_may_not_be_seen_are_unknown() {
    let copy = PublicBinary::new("blind");
    let of_root = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = of_root.local_addr().expect("its address").port().to_string();
    let mut command = copy.as_nobody();
    command.args(run_arguments(&["--plan", "none"]));
    let daemon = Daemon::start_command(command);
    for _ in 0..3 {
        let metrics = daemon.scrape();
        let label = |name: &str| metrics.label(name, &[("port", &port)], "process");
        assert_eq!(label("tcp_backlog_listeners"), Some(""));
        assert_eq!(label("tcp_backlog_port_owner_info"), None);
    }
    let log = daemon.log().text();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("/proc/PID/fd")).collect();
    let [complaint] = complaints.as_slice() else { panic!("not said once: {complaints:#?}") };
    assert!(complaint.contains("CAP_SYS_PTRACE"), "{complaint}");
}

/// A copy of the binary that everybody may run: the build directory may be root's alone.
struct PublicBinary(PathBuf);

impl PublicBinary {
    fn new(purpose: &str) -> Self {
        let path = env::temp_dir().join(format!("tcp-backlog-probe-{purpose}-{}", process::id()));
        fs::copy(binary(), &path).expect("a copy of the binary");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        Self(path)
    }

    fn as_nobody(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    }
}

impl Drop for PublicBinary {
    fn drop(&mut self) {
        // Nothing is lost but a file in the temporary directory.
        let _ = fs::remove_file(&self.0);
    }
}

/// What the service has without drop-ins.
const OF_THE_SERVICE: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
/// What is given up once everything is attached; on kernels before 5.19 CAP_BPF may be kept.
const OF_START_UP: CapabilitySet = OF_THE_SERVICE.union(CapabilitySet::SYSLOG);
const OF_OWNERS: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
const OF_NAMESPACES: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE);

const OF_A_PROOF: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::NET_RAW);

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;

/// Everything that is counted in its own network namespace, still so after they were given up; and by no thread
/// can they be had back.
fn bpf_and_perfmon_count_everything_at_home() {
    let home = Namespace::new();
    let daemon = Unprivileged::start_in(&home, OF_THE_SERVICE, &[]);
    daemon.has_given_up(OF_START_UP);
    daemon.counts_an_overflow(&home);
    daemon.has_given_up(OF_START_UP);
    daemon.says("capabilities that only start-up needs are given up");
}

fn neither_bpf_nor_perfmon_is_enough_alone() {
    let copy = PublicBinary::new("alone");
    for alone in [CapabilitySet::BPF, CapabilitySet::PERFMON] {
        let mut command = copy.as_nobody();
        command.args(run_arguments(&[]));
        let line = complaint(&with_capabilities(alone, move || output(&mut command)));
        assert!(line.contains("CAP_BPF") && line.contains("CAP_PERFMON"), "{line}");
    }
}

fn owners_take_ptrace_and_dac_read_search() {
    let home = Namespace::new();
    let listener = Listener::open(&home, IPV4, BACKLOG);
    let port = listener.address.port().to_string();
    let owner = |daemon: &Unprivileged| {
        let metrics = daemon.scrape_in(&home);
        metrics.label("tcp_backlog_listeners", &[("port", &port)], "process").map(str::to_owned)
    };
    for alone in [CapabilitySet::SYS_PTRACE, CapabilitySet::DAC_READ_SEARCH] {
        let daemon = Unprivileged::start_in(&home, OF_THE_SERVICE.union(alone), &[]);
        assert_eq!(owner(&daemon).as_deref(), Some(""), "with {alone:?} alone");
        daemon.says("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
    }
    let daemon = Unprivileged::start_in(&home, OF_THE_SERVICE.union(OF_OWNERS), &[]);
    wait_until("the owner is found", || {
        let found = owner(&daemon);
        ensure(found.as_deref().is_some_and(|name| !name.is_empty()), || format!("{found:?}"))
    });
}

fn other_network_namespaces_take_sys_admin_and_ptrace() {
    let (home, foreign) = (Namespace::new(), Namespace::new());
    let listener = Listener::open(&foreign, IPV4, BACKLOG);
    let limit = |metrics: &Metrics| metrics.port(foreign.inode(), listener.address).queue_limit;
    for missing in [CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_PTRACE] {
        let given = OF_THE_SERVICE.union(OF_NAMESPACES).difference(missing);
        let daemon = Unprivileged::start_in(&home, given, &[]);
        // Where its processes hide it, the hooks find it as soon as something happens in it.
        let _client = connect_in_turn(&foreign, &listener, listener.address, 1);
        wait_until("it is known, and that it cannot be read", || {
            let readable = [&home, &foreign].map(|netns| readable_in(&daemon.scrape_in(&home), netns));
            ensure(readable == [Some(1), Some(0)], || format!("without {missing:?}: {readable:?}"))
        });
        assert_eq!(limit(&daemon.scrape_in(&home)), None, "without {missing:?}");
        daemon.says(if missing == CapabilitySet::SYS_ADMIN { "CAP_SYS_ADMIN" } else { "CAP_SYS_PTRACE" });
        daemon.counts_an_overflow(&home);
    }
    let daemon = Unprivileged::start_in(&home, OF_THE_SERVICE.union(OF_NAMESPACES), &[]);
    assert_eq!(limit(&daemon.scrape_in(&home)), Some(u64::from(BACKLOG)));
}

fn readable_in(metrics: &Metrics, netns: &Namespace) -> Option<u64> {
    metrics.value("tcp_backlog_netns_readable", &[("netns", &netns.inode().to_string())])
}

/// `check` has seen nothing happen, so it knows of those only whose processes it may look at.
fn a_check_counts_the_namespaces_that_it_may_not_enter() {
    let (home, foreign) = (Namespace::new(), Namespace::new());
    let copy = PublicBinary::new("check");
    let report = |given| {
        let mut command = copy.as_nobody();
        command.arg("check");
        let output = home.run(move || with_capabilities(given, move || output(&mut command)));
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let reason = format!("            {}: ", foreign.inode());
    let check = |missing: CapabilitySet, is_found: bool, expected: &str| {
        let report = report(OF_THE_SERVICE.union(OF_NAMESPACES).difference(missing));
        let counts = report.lines().find(|line| line.starts_with("namespaces  "));
        let counts = counts.unwrap_or_else(|| panic!("without {missing:?}: {report}"));
        assert_eq!(report.lines().any(|line| line.starts_with(&reason)), is_found, "{report}");
        // Without it, of other trials' namespaces too.
        assert!(!is_found || counts.starts_with("namespaces  1 readable, "), "{report}");
        assert!(!is_found || !counts.ends_with(" 0 unreadable"), "{report}");
        assert!(report.contains(expected), "{report}");
    };
    check(CapabilitySet::SYS_ADMIN, true, "setns needs CAP_SYS_ADMIN");
    check(CapabilitySet::SYS_PTRACE, false, "their network namespaces may be missing (no CAP_SYS_PTRACE");
}

/// Only the tracepoint plan looks them up: by which code a listener's packet was freed.
fn addresses_of_the_kernel_take_syslog() {
    let home = Namespace::new();
    let hook = |given| {
        let metrics = Unprivileged::start_in(&home, given, &["--plan", "tracepoint"]).scrape_in(&home);
        let label = |name| metrics.label("tcp_backlog_hook_info", &[("hook", "packet_freed")], name);
        (label("variant").map(str::to_owned), label("reason").map(str::to_owned))
    };
    let (with, _) = hook(OF_START_UP);
    let (without, reason) = hook(OF_THE_SERVICE);
    // Where root is not shown any either there is nothing to lose.
    if with != without {
        assert_eq!(without.as_deref(), Some("skipped"));
        assert!(reason.is_some_and(|reason| reason.contains("CAP_SYSLOG")));
    }
}

/// Beside what the daemon has. Whoever lacks one is told so before anything is attached.
fn a_proof_takes_sys_admin_net_admin_and_net_raw() {
    let home = Namespace::new();
    let copy = PublicBinary::new("proof");
    let prove = |given| {
        let mut command = copy.as_nobody();
        command.args(["check", "--prove"]);
        home.run(move || with_capabilities(given, move || output(&mut command)))
    };
    let all = OF_THE_SERVICE.union(OF_A_PROOF);
    for (name, missing) in OF_A_PROOF.iter_names() {
        let line = complaint(&prove(all.difference(missing)));
        assert!(line.contains("--prove") && line.contains(&format!("missing here: CAP_{name} (")), "{line}");
    }
    let proof = prove(all);
    assert!(proof.status.success(), "{proof:?}");
}

/// A daemon of somebody who has a few capabilities and nothing else.
struct Unprivileged {
    daemon: Daemon,
    _binary: PublicBinary,
}

impl Unprivileged {
    fn start_in(home: &Namespace, given: CapabilitySet, arguments: &[&str]) -> Self {
        let binary = PublicBinary::new(&format!("{:x}-{}", given.bits(), home.inode()));
        let mut command = binary.as_nobody();
        command.args(run_arguments(arguments));
        // The namespace's own thread keeps what it has.
        let daemon = home.run(move || with_capabilities(given, move || Daemon::start_command(command)));
        Self { daemon, _binary: binary }
    }

    /// No thread has any of them, nor could it get them by starting a program.
    fn has_given_up(&self, capabilities: CapabilitySet) {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process_id())).expect("its threads");
        for task in tasks.map(|task| task.expect("a thread").path()) {
            let status = fs::read_to_string(task.join("status")).expect("what a thread may do");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                let line = status.lines().find_map(|line| line.strip_prefix(set)).expect(set);
                let bits = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a set");
                let left = CapabilitySet::from_bits_retain(bits).intersection(capabilities);
                assert!(left.is_empty(), "{set} of {}: {left:?}\n{status}", task.display());
            }
        }
    }

    /// As the kernel does, and whose cause is known.
    fn counts_an_overflow(&self, home: &Namespace) {
        let listener = Listener::open(home, IPV4, BACKLOG);
        let start = home.counters();
        let _clients = connect_in_turn(home, &listener, listener.address, CLIENTS);
        wait_until("an overflow is counted", || {
            let before = home.counters();
            let seen = self.scrape_in(home).port(home.inode(), listener.address);
            let (moved, after) = (before.since(&start), home.counters().since(&start));
            ensure(moved.listen_overflows == after.listen_overflows, || format!("{moved:?}, {after:?}"))?;
            ensure(moved.listen_overflows >= CLIENTS - listener.capacity(), || format!("{moved:?}"))?;
            // Which of the two depends on the plan that this kernel allows.
            let counted = [seen.overflows_syn.or(seen.overflows_undivided), seen.established];
            let expected = [Some(moved.listen_overflows), Some(listener.capacity())];
            ensure(counted == expected, || format!("{counted:?} for {expected:?}"))
        });
    }

    fn says(&self, words: &str) {
        let log = self.log().text();
        assert!(log.lines().any(|line| line.contains(words)), "nobody says {words:?}");
    }
}

impl Deref for Unprivileged {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// Does something on a thread whose programs, also those of another user, get exactly these capabilities.
fn with_capabilities<T: Send>(given: CapabilitySet, action: impl FnOnce() -> T + Send) -> T {
    let scoped = || {
        // Else the kernel takes them away with the user's number.
        set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
            .expect("capabilities that stay");
        let mut sets = capabilities(None).expect("what root may do");
        sets.inheritable.insert(given);
        set_capabilities(None, sets).expect("what is inherited");
        for capability in given.iter() {
            configure_capability_in_ambient_set(capability, true).expect("a capability for others");
        }
        action()
    };
    thread::scope(|scope| scope.spawn(scoped).join().expect("the thread with few capabilities"))
}
