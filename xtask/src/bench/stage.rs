//! Where is measured: in a network namespace and a process namespace of its own, so that neither the listeners nor the
//! processes of this machine are part of it. Both are gone when the command ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::packets::NETWORK;
use super::table::Style;
use crate::processes::{self, Kept};
use crate::{build, setup, workspace};

/// The network and the processes are there already: what `enter` passes on.
pub(super) const INSIDE: &str = "--inside";

/// What is asked of every measurement on this machine.
#[derive(clap::Args)]
pub(super) struct Common {
    /// A daemon that is built already
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Tables in Markdown
    #[arg(long)]
    markdown: bool,
    #[arg(long, hide = true)]
    pub(super) inside: bool,
}

impl Common {
    /// The daemon that is measured; built now if none was named.
    pub(super) fn daemon(&self) -> Result<PathBuf> {
        self.binary.clone().map_or_else(|| build::daemon(true, false), Ok)
    }

    pub(super) const fn style(&self) -> Style {
        Style::of(self.markdown)
    }
}

/// Runs this command again in namespaces of its own, with the same arguments and one more.
pub(super) fn enter() -> Result<()> {
    ensure!(
        workspace::is_root(),
        "bench: it makes a network namespace and loads BPF programs: run it as root"
    );
    let busybox = setup::busybox()?;
    let mut command = Command::new(&busybox);
    command.args(["unshare", "-n", "-m", "-p", "-f", "--mount-proc"]).arg(&busybox);
    // The shell stays the first process of the namespace: whose children nobody waits for become its own.
    command.args(["sh", "-c", "\"$0\" ip link set lo up && \"$@\"; exit $?"]).arg(&busybox);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg(INSIDE);
    processes::run(&mut processes::tied_to_this_process(command))
}

/// Connections that were closed are forgotten at once: else the ports of a client are all in use after a minute.
pub(super) fn forget_closed_connections() -> Result<()> {
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1").context("bench: cannot write tcp_max_tw_buckets")
}

/// Packets of the clients that do not exist may come, and what is sent to them is thrown away.
pub(super) fn lead_floods_to_loopback() -> Result<()> {
    let mut command = Command::new(setup::busybox()?);
    processes::run(command.args(["ip", "route", "add", NETWORK, "dev", "lo"]))
}

/// Raises the limit of descriptors of this process to the number that is needed.
pub(super) fn allow_descriptors(needed: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.current.map_or(needed, |current| current.max(needed)));
    limit.maximum = Some(limit.maximum.map_or(needed, |maximum| maximum.max(needed)));
    setrlimit(Resource::Nofile, limit)
        .with_context(|| format!("bench: {needed} descriptors are needed and not allowed (remedy: root)"))
}

/// Processes that do nothing, as there are on every host: whoever looks through `/proc` has to look at them.
pub(super) fn other_processes(count: usize) -> Result<Vec<Kept>> {
    let busybox = setup::busybox()?;
    let start = |_| {
        let mut command = Command::new(&busybox);
        command.args(["sleep", "100000"]).stdin(Stdio::null());
        command.spawn().map(Kept).context("bench: cannot start a process")
    };
    (0..count).map(start).collect()
}

/// What was measured on.
pub(super) fn machine() -> serde_json::Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    serde_json::json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "possible_cpus": read("/sys/devices/system/cpu/possible"),
        "load": read("/proc/loadavg"),
    })
}

/// Where figures are kept: `target/bench/NAME.json`.
fn figures(name: &str) -> PathBuf {
    workspace::target().join("bench").join(format!("{name}.json"))
}

/// Writes them there.
pub(super) fn write_figures(name: &str, figures: &impl Serialize) -> Result<()> {
    let path = self::figures(name);
    let advice = || format!("bench: cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(&path)).with_context(advice)?;
    fs::write(&path, format!("{}\n", serde_json::to_string_pretty(figures)?)).with_context(advice)
}

/// Reads those of the last run.
pub(super) fn last_figures<Figures: DeserializeOwned>(name: &str) -> Result<Figures> {
    let path = figures(name);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("no figures in {}: run it without --last", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is another version's", path.display()))
}
