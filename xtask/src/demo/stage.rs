//! Where a story is played: a network namespace of its own, in which nothing but its server and its client talk.
//!
//! The tools are those of one static busybox, so that it is the same on this machine and in the lab.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::processes::{self, Kept};

/// The network namespace, which lives as long as the process that holds it.
pub(super) struct Stage {
    busybox: PathBuf,
    holder: Kept,
}

/// The holder waits for the end of its input: it ends with this process, however that ends.
const HOLD: &str = "\"$0\" ip link set lo up && echo ready && exec \"$0\" cat";

impl Stage {
    /// Makes a namespace with a loopback interface.
    pub(super) fn open(busybox: &Path) -> Result<Self> {
        let mut command = Command::new(busybox);
        command.args(["unshare", "-n"]).arg(busybox).args(["sh", "-c", HOLD]).arg(busybox);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().context("demo: cannot start busybox")?;
        let mut holder = Kept(child);
        let mut line = String::new();
        // It stays open: busybox may not be done with it.
        if let Some(output) = &mut holder.0.stdout {
            BufReader::new(output).read_line(&mut line)?;
        }
        ensure!(line.trim() == "ready", "demo: no network namespace could be made (remedy: run it as root)");
        Ok(Self { busybox: busybox.to_owned(), holder })
    }

    /// The process that holds the namespace.
    fn holder(&self) -> u32 {
        self.holder.0.id()
    }

    /// A program inside the namespace. It is executed in place, so the child is the program itself.
    pub(super) fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.busybox);
        command.arg("nsenter").arg(format!("-n/proc/{}/ns/net", self.holder())).arg(program);
        processes::tied_to_this_process(command)
    }

    /// A program of the busybox, inside.
    pub(super) fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside(&self.busybox);
        command.args(arguments);
        command
    }

    /// Sets a sysctl of the namespace.
    pub(super) fn set(&self, name: &str, value: u32) -> Result<()> {
        processes::output_of(&mut self.tool(&["sysctl", "-w", &format!("{name}={value}")])).map(drop)
    }

    /// The namespace's own counters.
    pub(super) fn kernel_counters(&self) -> Result<KernelCounters> {
        let path = format!("/proc/{}/net/netstat", self.holder());
        let text = fs::read_to_string(&path).with_context(|| format!("demo: cannot read {path}"))?;
        let softnet = fs::read_to_string(SOFTNET).with_context(|| format!("demo: cannot read {SOFTNET}"))?;
        KernelCounters::read(&text, &softnet).with_context(|| {
            format!("demo: {path} has no ListenOverflows, or {SOFTNET} has no second column")
        })
    }

    /// The number by which the daemon knows the namespace.
    pub(super) fn number(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let path = format!("/proc/{}/ns/net", self.holder());
        Ok(fs::metadata(&path).with_context(|| format!("demo: cannot read {path}"))?.ino())
    }

    /// Starts a server in the root file system that it was unpacked to, with its own folder as /srv. What is
    /// mounted for it is seen by nobody else.
    pub(super) fn start_server(&self, root: &Path, base: &Path, command: &[String]) -> Result<Kept> {
        const SCRIPT: &str = r#"set -e
busybox="$0" root="$1" base="$2"
shift 2
"$busybox" mount -t proc proc "$root/proc"
"$busybox" mount --bind /dev "$root/dev"
"$busybox" mount -t tmpfs tmpfs "$root/tmp"
"$busybox" mount --bind "$base" "$root/srv"
exec "$busybox" chroot "$root" "$@""#;
        let log = base.join("server.log");
        let output = fs::File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("demo: cannot write {}", log.display()))?;
        let mut shell = self.tool(&["unshare", "-m"]);
        shell
            .arg(&self.busybox)
            .args(["sh", "-c", SCRIPT])
            .arg(&self.busybox)
            .arg(root)
            .arg(base)
            .args(command);
        shell.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Kept(shell.spawn().context("demo: cannot start the server")?))
    }
}

/// A line for each processor.
const SOFTNET: &str = "/proc/net/softnet_stat";

/// What the kernel says of a namespace in /proc/PID/net/netstat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelCounters {
    pub(super) listen_overflows: u64,
    pub(super) listen_drops: u64,
    /// Of the whole machine: packets that never reached TCP, because of net.core.netdev_max_backlog.
    pub(super) softnet_drops: u64,
}

impl KernelCounters {
    /// Two lines a group: the names, and the values in the same order.
    fn read(text: &str, softnet: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (lines.next()?, lines.next()?);
        let find = |name: &str| {
            let position = names.split_whitespace().position(|candidate| candidate == name)?;
            values.split_whitespace().nth(position)?.parse().ok()
        };
        let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
        Some(Self {
            listen_overflows: find("ListenOverflows")?,
            listen_drops: find("ListenDrops")?,
            softnet_drops: softnet.lines().map(dropped).sum::<Option<u64>>()?,
        })
    }

    /// What was added since.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            listen_overflows: self.listen_overflows.saturating_sub(earlier.listen_overflows),
            listen_drops: self.listen_drops.saturating_sub(earlier.listen_drops),
            softnet_drops: self.softnet_drops.saturating_sub(earlier.softnet_drops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 7 9\nIpExt: InNoRoutes\nIpExt: 0\n";
        let softnet = "0000cdfc 00000010 00000000\n0000a1b2 00000002 00000000\n";
        let counters = KernelCounters::read(text, softnet).unwrap();
        assert_eq!(counters, KernelCounters { listen_overflows: 7, listen_drops: 9, softnet_drops: 18 });
        let earlier = KernelCounters { listen_overflows: 2, listen_drops: 2, softnet_drops: 18 };
        let since = KernelCounters { listen_overflows: 5, listen_drops: 7, softnet_drops: 0 };
        assert_eq!(counters.since(earlier), since);
        assert_eq!(KernelCounters::read("TcpExt: ListenDrops\nTcpExt: 1\n", softnet), None);
    }
}
