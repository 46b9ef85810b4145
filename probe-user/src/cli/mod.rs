//! The command line: one file per subcommand, arguments and the call.
mod check;
mod doctor;
mod metrics;
mod run;
mod snapshot;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Config, Overrides},
    daemon::probe::Probe,
    host::{self, capabilities::Capabilities},
    logging::LogFormat,
    plan::decide::{AccountingWish, DEFAULT_QUEUED_CONNECTIONS, PlanWish, Wishes},
    render::BuildInfo,
};

/// Counts what every listening TCP socket loses because its queues overflow, and says why.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count, and serve the counts over HTTP until stopped
    Run(run::Arguments),
    /// Print the counts of every listening port once
    Snapshot(snapshot::Arguments),
    /// Say what is wrong on this host, and what cures it
    Doctor(doctor::Arguments),
    /// Say what can be measured on this host, by which hooks, and why not the rest
    Check(check::Arguments),
    /// Print the catalogue of metrics
    Metrics(metrics::Arguments),
}

#[derive(Debug, Args)]
struct LogArguments {
    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value = "text", env = "TCP_BACKLOG_PROBE_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `tcp_backlog_probe=debug`
    #[arg(long, global = true, default_value = "info", env = "TCP_BACKLOG_PROBE_LOG_LEVEL")]
    log_level: String,
}

/// How to be attached; the same for every subcommand that attaches.
#[derive(Debug, Args)]
struct AttachArguments {
    /// How the kernel's functions are watched; `auto` takes the cheapest way that works, hook by hook
    #[arg(long, value_enum, default_value = "auto", env = "TCP_BACKLOG_PROBE_PLAN")]
    plan: PlanWish,
    /// How refused packets are counted where functions are watched
    #[arg(long, value_enum, default_value = "auto", env = "TCP_BACKLOG_PROBE_ACCOUNTING")]
    accounting: AccountingWish,
    /// Connections in accept queues, on the whole host, whose wait for accept() can be measured at once; 80 bytes of
    /// kernel memory each
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = DEFAULT_QUEUED_CONNECTIONS,
        value_parser = clap::value_parser!(u32).range(1..=4_194_304),
        env = "TCP_BACKLOG_PROBE_ACCEPT_WAIT_CONNECTIONS"
    )]
    accept_wait_connections: u32,
    #[command(flatten)]
    config: ConfigArguments,
}

/// What is to be done beside being attached: the file, and what comes before it.
#[derive(Debug, Args)]
struct ConfigArguments {
    /// A configuration file in TOML
    #[arg(long, value_name = "FILE", env = "TCP_BACKLOG_PROBE_CONFIG")]
    config: Option<PathBuf>,
    /// The most ports with series of their own in /metrics, the busiest; the others are in the row `other` [default: 512]
    #[arg(long, value_name = "NUMBER", env = "TCP_BACKLOG_PROBE_PORTS_LIMIT")]
    ports_limit: Option<usize>,
}

impl ConfigArguments {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(config::load(self.config.as_deref(), Overrides { ports_limit: self.ports_limit })?)
    }
}

impl AttachArguments {
    const fn wishes(&self) -> Wishes {
        Wishes {
            plan: self.plan,
            accounting: self.accounting,
            queued_connections: self.accept_wait_connections,
        }
    }

    /// Attaches; refuses at once where the user most likely forgot `sudo`.
    fn attach(&self, config: &Config, kernel_log: bool) -> anyhow::Result<Probe> {
        let capabilities = Capabilities::read();
        // Root whose capabilities were taken away knows what it does: it is served what is left.
        let is_root = rustix::process::geteuid().is_root();
        let may_trace = capabilities.is_none_or(Capabilities::may_trace);
        if self.plan != PlanWish::None && !is_root && !may_trace {
            anyhow::bail!(
                "not root, and without CAP_BPF and CAP_PERFMON: run it as root (sudo), or with \
                 --plan none for what sock_diag and /proc tell anybody"
            );
        }
        Ok(Probe::attach(self.wishes(), config, kernel_log))
    }

    /// Attaches for a moment. The state file is the daemon's alone.
    fn attach_once(&self) -> anyhow::Result<Probe> {
        self.attach(&Config { state_file: None, ..self.config.load()? }, false)
    }
}

impl CommandLine {
    /// Runs what was asked for, and says how it went.
    ///
    /// # Errors
    /// Whatever keeps it from being done, in one line.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        crate::logging::init(self.log.log_format, &self.log.log_level)?;
        match self.command {
            Command::Run(arguments) => run::run(&arguments),
            Command::Snapshot(arguments) => snapshot::run(&arguments),
            Command::Doctor(arguments) => return Ok(doctor::run(&arguments)),
            Command::Check(arguments) => check::run(&arguments),
            Command::Metrics(arguments) => metrics::run(&arguments),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// The exit status of a command line that cannot be parsed, or that only asked for help. The one of `doctor` must not be
/// taken for what it says of a host.
#[must_use]
pub fn usage_exit_code(error: &clap::Error, mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if arguments.any(|argument| argument == "doctor") => ExitCode::from(doctor::CANNOT_TELL),
        code => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
    }
}

/// What runs, and on what.
fn build_info() -> BuildInfo {
    BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), kernel: host::kernel_release() }
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn to_stdout(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
