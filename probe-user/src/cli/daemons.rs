//! Which daemon a command asks.
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use clap::Args;

use crate::{
    daemon::{
        client::Daemon,
        local_socket::{DEFAULT_PATH, SocketWish},
    },
    web::DEFAULT_PORT,
};

/// Where the daemon is; the same for every subcommand that asks one.
#[derive(Debug, Args)]
pub(super) struct DaemonArguments {
    /// The daemon's socket, or none [default: /run/tcp-backlog-probe/probe.sock, then 127.0.0.1:10511, and where nobody
    /// answers, a look of its own]
    #[arg(long, value_name = "PATH", env = "TCP_BACKLOG_PROBE_SOCKET")]
    socket: Option<SocketWish>,
    /// The daemon to ask, as ADDRESS:PORT, and no other; it is asked without TLS
    #[arg(long, value_name = "ADDRESS:PORT", env = "TCP_BACKLOG_PROBE_DAEMON")]
    daemon: Option<SocketAddr>,
}

impl DaemonArguments {
    /// Who is asked, in turn, and whether it has to be there.
    pub(super) fn in_turn(&self) -> Vec<(Daemon, bool)> {
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
