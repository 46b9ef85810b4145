//! `run`: count, and serve the counts until stopped.
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use tracing::info;

use super::{AttachArguments, build_info};
use crate::{
    daemon::{
        Collector, Server, Signals,
        episode_log::EpisodeLog,
        local_socket::{LocalSocket, SocketWish},
        probe::{Probe, log_plan},
        verdict_log::VerdictLog,
    },
    kernel,
    plan::outcome::Accounting,
    web::{DEFAULT_PORT, SnapshotSource, access::SharedAccess},
};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to serve /metrics and the rest, as ADDRESS:PORT; port 0 takes a free one
    #[arg(
        long,
        default_value_t = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
        env = "TCP_BACKLOG_PROBE_LISTEN"
    )]
    listen: SocketAddr,
    /// TLS, passwords and headers, by a file in the format of Prometheus' exporters (web.config.file)
    #[arg(long, value_name = "FILE", env = "TCP_BACKLOG_PROBE_WEB_CONFIG_FILE")]
    web_config_file: Option<PathBuf>,
    /// Where `doctor` asks, without TLS and passwords; root and the daemon's group may open it. A path or none
    /// [default: /run/tcp-backlog-probe/probe.sock, if that is possible]
    #[arg(long, value_name = "PATH", env = "TCP_BACKLOG_PROBE_SOCKET")]
    socket: Option<SocketWish>,
    #[command(flatten)]
    attach: AttachArguments,
}

/// How often the sockets are read where their drops are what is counted: the shorter, the more
/// drops can be told to be overflows, and the less a busy listener takes along when it closes.
const SOCKET_DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// How often everything is read where nobody has to ask: rows of closed listeners are taken back, the
/// counts are held against the kernel's, and what happened of late is told from what is long over.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    kernel::share_one_heap();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let config = arguments.attach.config.load()?;
    let signals = Signals::install()?;
    let access = SharedAccess::load(arguments.web_config_file.as_deref())?;
    let local = LocalSocket::open(&arguments.socket.clone().unwrap_or_default())?;
    let server = Server::bind(arguments.listen).await?.with_access(access).with_local_socket(local);
    let address = server.local_addr()?;
    let kernel_log = tracing::enabled!(target: "probe_ebpf", tracing::Level::DEBUG);
    let mut probe = tokio::task::block_in_place(|| arguments.attach.attach(&config, kernel_log))?;
    log_plan(probe.plan());
    if kernel_log {
        probe.forward_kernel_log();
    }
    let collector = start_collector(probe)?;
    collector.snapshot().await.map_err(|reason| anyhow!("the first reading failed: {reason}"))?;
    info!(%address, "ready");
    server.run(collector, build_info(), signals.received()).await
}

fn start_collector(mut probe: Probe) -> anyhow::Result<Collector> {
    let by_socket_drops = probe.plan().coverage.accounting == Accounting::SocketDrops;
    let interval = if by_socket_drops { SOCKET_DROPS_INTERVAL } else { UPKEEP_INTERVAL };
    let (mut episode_log, mut verdict_log) = (EpisodeLog::default(), VerdictLog::default());
    let read = move || {
        let model = probe.read();
        episode_log.note(&model.episodes);
        model.advice.iter().for_each(|advice| verdict_log.note(&advice.verdicts));
        Ok(model)
    };
    Collector::start(Box::new(read), Some(interval))
}
