//! Which daemon is asked, by the subcommands that ask one.
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use clap::Args;

use crate::{
    daemon::{
        client::Daemon,
        local_socket::{DEFAULT_PATH, SocketWish},
    },
    web::DEFAULT_PORT,
};

/// Who is asked.
#[derive(Debug, Args)]
pub(super) struct AskedArguments {
    /// The daemon's socket, or none [default: /run/tcp-backlog-probe/probe.sock, then 127.0.0.1:10511, and where nobody
    /// answers, a look of its own]
    #[arg(long, value_name = "PATH", env = "TCP_BACKLOG_PROBE_SOCKET")]
    socket: Option<SocketWish>,
    /// The daemon to ask, as ADDRESS:PORT, and no other; it is asked without TLS
    #[arg(long, value_name = "ADDRESS:PORT", env = "TCP_BACKLOG_PROBE_DAEMON")]
    daemon: Option<SocketAddr>,
}

impl AskedArguments {
    /// Who is asked, in turn, and whether it has to be there.
    pub(super) fn daemons(&self) -> Vec<(Daemon, bool)> {
        if let Some(address) = self.daemon {
            return vec![(Daemon::Address(address), true)];
        }
        let standard = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        let standard = (Daemon::Address(standard), false);
        match self.socket.clone().unwrap_or_default() {
            SocketWish::IfPossible => vec![(Daemon::Socket(DEFAULT_PATH.into()), false), standard],
            SocketWish::At(path) => vec![(Daemon::Socket(path), true)],
            SocketWish::Nowhere => vec![standard],
        }
    }
}

/// What is said when a daemon that was named is not there.
pub(super) fn nobody_on(daemon: &Daemon) -> anyhow::Error {
    anyhow::anyhow!(
        "nobody can be asked on {daemon}: is the daemon running, and was it told to listen there?"
    )
}
