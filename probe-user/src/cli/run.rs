//! `run`: count, and serve the counts until stopped.
use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use tracing::info;

use super::{AttachArguments, Given, build_info, check_privileges};
use crate::{
    config::{Config, Source},
    daemon::{
        Collector, Reader, Server, Signals,
        episode_log::EpisodeLog,
        local_socket::{LocalSocket, SocketWish},
        privileges,
        probe::{Probe, log_plan},
        reload::Reload,
        serve::INHERITED_NAME,
        service_manager,
        supervision::until_asked_to_stop,
        verdict_log::VerdictLog,
    },
    kernel::{self, inherited},
    logging::{self, LogLevel},
    model::Model,
    plan::outcome::Accounting,
    web::{SnapshotSource, access::SharedAccess},
};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to serve /metrics and the rest, as ADDRESS:PORT; port 0 takes a free one [default: 127.0.0.1:10511]
    #[arg(long, env = "TCP_BACKLOG_PROBE_LISTEN")]
    listen: Option<SocketAddr>,
    /// TLS, passwords and headers, by a file in the format of Prometheus' exporters (web.config.file)
    #[arg(long, value_name = "FILE", env = "TCP_BACKLOG_PROBE_WEB_CONFIG_FILE")]
    web_config_file: Option<PathBuf>,
    /// Where `doctor` asks, without TLS and passwords: a path, which root and the daemon's group may open, or none; auto is
    /// /run/tcp-backlog-probe/probe.sock, if that is possible [default: auto]
    #[arg(long, value_name = "PATH", env = "TCP_BACKLOG_PROBE_SOCKET")]
    socket: Option<SocketWish>,
    #[command(flatten)]
    attach: AttachArguments,
}

impl Arguments {
    /// Where the configuration comes from.
    pub(super) fn source(&self, given: &Given) -> Source {
        let mut source = self.attach.source(given);
        source.overrides.listen = self.listen;
        source.overrides.web_config_file = self.web_config_file.clone();
        source.overrides.socket = self.socket.clone();
        source
    }
}

/// How often the sockets are read where their drops are what is counted: the shorter, the more
/// drops can be told to be overflows, and the less a busy listener takes along when it closes.
const SOCKET_DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// How often everything is read where nobody has to ask: rows of closed listeners are taken back, the
/// counts are held against the kernel's, and what happened of late is told from what is long over.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<()> {
    kernel::share_one_heap();
    kernel::keep_no_large_pieces();
    kernel::refuse_huge_pages();
    let inherited = inherited::descriptors();
    let source = arguments.source(given);
    let config = source.load()?.config;
    let log_level = logging::init(config.log_format, &config.log_level)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(privileges::of_a_thread_that_answers)
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(source, config, log_level, inherited))
}

async fn serve(
    source: Source,
    config: Config,
    log_level: LogLevel,
    mut inherited: Vec<(String, OwnedFd)>,
) -> anyhow::Result<()> {
    let signals = Signals::install()?;
    let access = SharedAccess::load(config.web_config_file.as_deref())?;
    let local = LocalSocket::open(&config.socket)?;
    let server = match inherited::take(&mut inherited, INHERITED_NAME) {
        Some(socket) => Server::inherit(socket)?,
        None => Server::bind(config.listen).await?,
    };
    let server = server.with_access(access.clone()).with_local_socket(local);
    let address = server.local_addr()?;
    let kernel_log = tracing::enabled!(target: "probe_ebpf", tracing::Level::DEBUG);
    check_privileges(&config)?;
    let mut probe = tokio::task::block_in_place(|| Probe::attach_as_service(&config, kernel_log, inherited));
    log_plan(probe.plan());
    if kernel_log {
        probe.forward_kernel_log();
    }
    privileges::after_start_up(&probe);
    let status = format!("counting by {}, serving on {address}", probe.plan().coverage.accounting.label());
    let (reloads, reloaded) = channel();
    let collector = start_collector(probe, reloaded)?;
    collector.snapshot().await.map_err(|reason| anyhow!("the first reading failed: {reason}"))?;
    info!(%address, "ready");
    service_manager::ready(&status);
    let reload = Reload::new(source, config, log_level, access, reloads);
    let asked_to_stop = until_asked_to_stop(signals, reload, collector.clone(), status);
    server.run(collector, build_info(), asked_to_stop).await
}

/// `reloaded` are the configurations that are to be taken over.
fn start_collector(probe: Probe, reloaded: Receiver<Config>) -> anyhow::Result<Collector> {
    let by_socket_drops = probe.plan().coverage.accounting == Accounting::SocketDrops;
    let interval = if by_socket_drops { SOCKET_DROPS_INTERVAL } else { UPKEEP_INTERVAL };
    let (episode_log, verdict_log) = Default::default();
    let reader = ServiceReader { probe, reloaded, episode_log, verdict_log };
    Collector::start_reader(Box::new(reader), Some(interval))
}

/// Reads, and says in the log what has happened.
struct ServiceReader {
    probe: Probe,
    reloaded: Receiver<Config>,
    episode_log: EpisodeLog,
    verdict_log: VerdictLog,
}

impl Reader for ServiceReader {
    fn read(&mut self) -> anyhow::Result<Model> {
        if let Some(config) = self.reloaded.try_iter().last() {
            self.probe.reconfigure(&config);
        }
        let model = self.probe.read();
        self.episode_log.note(&model.episodes);
        model.advice.iter().for_each(|advice| self.verdict_log.note(&advice.verdicts));
        Ok(model)
    }

    fn rest(&mut self) {
        self.probe.give_waste_back();
    }

    fn is_quiet(&mut self) -> bool {
        self.probe.is_quiet()
    }
}
