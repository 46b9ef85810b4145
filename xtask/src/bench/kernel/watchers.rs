//! Who watches: this daemon in its variants, and its peers.

use crate::vm::pack::DAEMON;

/// Nobody watches.
pub(super) const NOTHING: &str = "nothing";
/// The measure of what one probe costs, as Debian 12 has it.
pub(super) const ONE_LINER: &str = "bpftrace 0.17 one-liner";
/// The plan that the daemon takes by itself.
pub(super) const TRAMPOLINE: &str = "trampoline";

/// Where the peers' root file systems are inside a machine.
pub(super) const PEERS: &str = "/peers";
pub(super) const PEERS_OF_DEBIAN_12: &str = "/peers-of-debian-12";
const BUSYBOX: &str = "/bin/busybox";

/// A program that watches, with its arguments.
pub(super) struct Watcher {
    pub(super) name: &'static str,
    program: Program,
    arguments: &'static [&'static str],
    /// Whether its programs are looked at one by one.
    pub(super) by_hook: bool,
    /// Whether it is measured with thousands of listeners, too.
    pub(super) in_growth: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Peer,
    PeerOfDebian12,
    Daemon,
}

const PEER: Watcher =
    Watcher { name: "", program: Program::Peer, arguments: &[], by_hook: false, in_growth: false };
const THIS: Watcher = Watcher { program: Program::Daemon, by_hook: true, ..PEER };

const COUNTS_BY_COMMAND: &[&str] =
    &["/usr/bin/bpftrace", "-e", "kprobe:tcp_v4_syn_recv_sock { @[comm] = count(); }"];

/// All of them, in the order in which they are measured. What the daemon has no option for is left out.
pub(super) const WATCHERS: [Watcher; 10] = [
    Watcher { name: ONE_LINER, program: Program::PeerOfDebian12, arguments: COUNTS_BY_COMMAND, ..PEER },
    Watcher { name: "bpftrace 0.23 one-liner", arguments: COUNTS_BY_COMMAND, ..PEER },
    Watcher { name: "tcpsynbl.bt", arguments: &["/usr/bin/bpftrace", "/usr/sbin/tcpsynbl.bt"], ..PEER },
    Watcher { name: "tcpaccept.bt", arguments: &["/usr/bin/bpftrace", "/usr/sbin/tcpaccept.bt"], ..PEER },
    // bcc's own, in Python, compiles C against the kernel's headers at each start, which the lab's machines do not have.
    Watcher { name: "tcpsynbl of libbpf-tools", arguments: &["/usr/sbin/tcpsynbl-libbpf", "3600"], ..PEER },
    Watcher { name: TRAMPOLINE, arguments: &["--plan", "trampoline"], in_growth: true, ..THIS },
    Watcher {
        name: "trampoline, counts only",
        arguments: &["--plan", "trampoline", "--queues", "off"],
        ..THIS
    },
    Watcher { name: "kprobe", arguments: &["--plan", "kprobe"], ..THIS },
    Watcher { name: "kprobe, counts only", arguments: &["--plan", "kprobe", "--queues", "off"], ..THIS },
    Watcher { name: "tracepoint", arguments: &["--plan", "tracepoint"], ..THIS },
];

impl Watcher {
    pub(super) fn is_daemon(&self) -> bool {
        self.program == Program::Daemon
    }

    /// Whether the daemon has all the options that it would be given, by what its help says.
    pub(super) fn is_possible(&self, help: &str) -> bool {
        let has =
            |option: &str| help.split_whitespace().any(|word| word.trim_matches(['[', ',', ']']) == option);
        !self.is_daemon() || self.arguments.iter().filter(|word| word.starts_with("--")).all(|word| has(word))
    }

    /// The words of the command, inside a machine. The daemon answers at this address.
    pub(super) fn command(&self, address: &str) -> Vec<String> {
        let before: &[&str] = match self.program {
            Program::Peer => &[BUSYBOX, "chroot", PEERS],
            Program::PeerOfDebian12 => &[BUSYBOX, "chroot", PEERS_OF_DEBIAN_12],
            Program::Daemon => &[DAEMON, "run", "--listen", address],
        };
        before.iter().chain(self.arguments).map(|word| (*word).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Watcher {
        const ALL: &[Watcher] = &WATCHERS;
        ALL.iter().find(|watcher| watcher.name == name).unwrap()
    }

    #[test]
    fn an_option_that_the_daemon_lacks_leaves_its_rows_out() {
        let help = "Usage: tcp-backlog-probe run [OPTIONS]\n\n      --plan <PLAN>\n          How to count\n";
        assert!(named(TRAMPOLINE).is_possible(help));
        assert!(!named("trampoline, counts only").is_possible(help));
        let later = format!("{help}      --queues <QUEUES>\n");
        assert!(named("trampoline, counts only").is_possible(&later));
        assert!(named(ONE_LINER).is_possible(""));
    }

    #[test]
    fn peers_run_in_a_root_of_their_own() {
        let command = named("tcpsynbl.bt").command("127.0.0.1:1");
        assert_eq!(command[1..3], ["chroot", PEERS]);
        let command = named(TRAMPOLINE).command("127.0.0.1:1");
        assert_eq!(command[1..], ["run", "--listen", "127.0.0.1:1", "--plan", "trampoline"]);
    }

    #[test]
    fn no_two_have_the_same_name() {
        let mut names: Vec<_> = WATCHERS.iter().map(|watcher| watcher.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WATCHERS.len());
    }
}
