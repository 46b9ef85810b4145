//! The command line: one file per subcommand, arguments and the call.
mod check;
mod config;
mod daemons;
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
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use crate::{
    config::{
        Config, ConfigError, ConfigFile, Origin, Origins, Overrides, STANDARD_FILE, Source, keys::KEYS,
    },
    daemon::probe::Probe,
    host::{self, capabilities::Capabilities},
    logging::{self, LogFormat},
    plan::wishes::{AccountingWish, PlanWish, QueuesWish},
    render::BuildInfo,
    web::access::AccessError,
};

/// Counts what every listening TCP socket loses because its queues overflow, and says why.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    given: Given,
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
    /// Check the configuration, show what is in force, or print a file to begin with
    Config(config::Arguments),
    /// Print the catalogue of metrics
    Metrics(metrics::Arguments),
}

/// What is given whatever the subcommand is.
#[derive(Debug, Args)]
struct Given {
    /// How log lines are written to standard error [default: text]
    #[arg(long, global = true, value_enum, env = "TCP_BACKLOG_PROBE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `tcp_backlog_probe=debug` [default: info]
    #[arg(long, global = true, env = "TCP_BACKLOG_PROBE_LOG_LEVEL")]
    log_level: Option<String>,
    /// Which values came from a flag and which from the environment.
    #[arg(skip)]
    origins: Origins,
}

/// How to be attached; the same for every subcommand that attaches.
#[derive(Debug, Args)]
struct AttachArguments {
    /// How the kernel's functions are watched; `auto` takes the cheapest way that works, hook by hook [default: auto]
    #[arg(long, value_enum, env = "TCP_BACKLOG_PROBE_PLAN")]
    plan: Option<PlanWish>,
    /// How refused packets are counted where functions are watched [default: auto]
    #[arg(long, value_enum, env = "TCP_BACKLOG_PROBE_ACCOUNTING")]
    accounting: Option<AccountingWish>,
    /// Whether it is noted how full queues get and how long connections wait in them [default: full]
    #[arg(long, value_enum, env = "TCP_BACKLOG_PROBE_QUEUES")]
    queues: Option<QueuesWish>,
    /// Connections in accept queues, on the whole host, whose wait for accept() can be measured at once in the kprobe
    /// plan; 24 bytes of kernel memory each [default: 65536]
    #[arg(long, value_name = "NUMBER", env = "TCP_BACKLOG_PROBE_ACCEPT_WAIT_CONNECTIONS")]
    accept_wait_connections: Option<u32>,
    /// How many listeners are told apart; those past it are counted in the row `other` [default: twice as many as there
    /// are at the start, at least 2047, within 32 MiB of kernel memory]
    #[arg(long, value_name = "NUMBER", env = "TCP_BACKLOG_PROBE_LISTENERS")]
    listeners: Option<u32>,
    /// A configuration file in TOML [default: /etc/tcp-backlog-probe/config.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TCP_BACKLOG_PROBE_CONFIG")]
    config: Option<PathBuf>,
    /// The most ports with series of their own in /metrics, the busiest; the others are in the row `other` [default: 512]
    #[arg(long, value_name = "NUMBER", env = "TCP_BACKLOG_PROBE_PORTS_LIMIT")]
    ports_limit: Option<usize>,
}

impl AttachArguments {
    /// Where the configuration comes from, but for what is `run`'s alone.
    fn source(&self, given: &Given) -> Source {
        let standard = || ConfigFile::Standard(STANDARD_FILE.into());
        Source {
            file: self.config.clone().map_or_else(standard, ConfigFile::Named),
            overrides: Overrides {
                plan: self.plan,
                accounting: self.accounting,
                queues: self.queues,
                accept_wait_connections: self.accept_wait_connections,
                listeners: self.listeners,
                ports_limit: self.ports_limit,
                log_format: given.log_format,
                log_level: given.log_level.clone(),
                origins: given.origins.clone(),
                ..Overrides::default()
            },
        }
    }

    /// Attaches for a moment, after logging was started. The state file is the daemon's alone.
    fn attach_once(&self, given: &Given) -> anyhow::Result<Probe> {
        let config = Config { state_file: None, ..self.source(given).load()?.config };
        logging::init(config.log_format, &config.log_level)?;
        check_privileges(&config)?;
        Ok(Probe::attach(&config, false))
    }
}

/// Refuses at once where the user most likely forgot `sudo`.
fn check_privileges(config: &Config) -> anyhow::Result<()> {
    let capabilities = Capabilities::read();
    // Root whose capabilities were taken away knows what it does: it is served what is left.
    let is_root = rustix::process::geteuid().is_root();
    let may_trace = capabilities.is_none_or(Capabilities::may_trace);
    if config.wishes.plan != PlanWish::None && !is_root && !may_trace {
        anyhow::bail!(
            "not root, and without CAP_BPF and CAP_PERFMON: run it as root (sudo), or with \
             --plan none for what sock_diag and /proc tell anybody"
        );
    }
    Ok(())
}

impl CommandLine {
    /// Reads the command line of this process, and its environment.
    ///
    /// # Errors
    /// What clap says of it: help and version are errors of exit status 0.
    pub fn of_this_process() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut line = Self::from_arg_matches(&matches)?;
        line.given.origins = origins(&matches);
        Ok(line)
    }

    /// Runs what was asked for, and says how it went.
    ///
    /// # Errors
    /// Whatever keeps it from being done, in one line.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let given = &self.given;
        match self.command {
            Command::Run(arguments) => run::run(&arguments, given),
            Command::Snapshot(arguments) => snapshot::run(&arguments, given),
            Command::Doctor(arguments) => return Ok(doctor::run(&arguments, given)),
            Command::Check(arguments) => check::run(&arguments, given),
            Command::Config(arguments) => config::run(&arguments, given),
            Command::Metrics(arguments) => metrics::run(&arguments),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Which keys were said in a flag and which in the environment.
fn origins(matches: &ArgMatches) -> Origins {
    let mut origins = Origins::new();
    let mut level = Some(matches);
    while let Some(matches) = level {
        for key in &KEYS {
            let Some(id) = key.flag.map(|flag| flag.replace('-', "_")) else { continue };
            if !matches!(matches.try_contains_id(&id), Ok(true)) {
                continue;
            }
            match matches.value_source(&id) {
                Some(ValueSource::CommandLine) => origins.insert(key.path, Origin::Flag),
                Some(ValueSource::EnvVariable) => origins.insert(key.path, Origin::Environment),
                _ => None,
            };
        }
        level = matches.subcommand().map(|(_, matches)| matches);
    }
    origins
}

/// The exit status of what failed. A service manager has to tell what another try does not mend: EX_CONFIG of
/// sysexits.h, by which systemd knows it as well.
#[must_use]
pub fn failure_exit_code(error: &anyhow::Error) -> ExitCode {
    const CONFIGURATION: u8 = 78;
    let is_configuration = error.is::<ConfigError>() || error.is::<AccessError>();
    if is_configuration { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
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
