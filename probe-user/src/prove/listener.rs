//! A listening socket whose backlog is known and whose owner accepts only when it is told to.
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept, bind, getsockname, ipproto, listen, socket_with,
    sockopt::set_ipv6_v6only,
};

use super::network::{NetworkError, PrivateNetwork};

/// One listening socket in a private network, on a port of the kernel's choice.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
    backlog: u32,
}

/// Why there is no listener, or no connection of it.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// A system call failed.
    #[error("{call} for a listener of the private network failed: {cause}")]
    Call {
        /// Which.
        call: &'static str,
        /// What it said.
        cause: io::Error,
    },
    /// The network did not run what was needed.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl Listener {
    /// Opens one; its accept queue holds one connection more than `backlog`.
    ///
    /// # Errors
    /// When a system call fails.
    pub fn open(network: &PrivateNetwork, address: IpAddr, backlog: u16) -> Result<Self, ListenerError> {
        network.run(move || Self::open_here(address, backlog))?
    }

    fn open_here(address: IpAddr, backlog: u16) -> Result<Self, ListenerError> {
        let failed = |call| move |cause: rustix::io::Errno| ListenerError::Call { call, cause: cause.into() };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
            .map_err(failed("socket(2)"))?;
        if address.is_ipv6() {
            // Of two kinds: [::] takes IPv4 as well, whatever net.ipv6.bindv6only says.
            set_ipv6_v6only(&socket, false).map_err(failed("setsockopt(2)"))?;
        }
        bind(&socket, &SocketAddr::new(address, 0)).map_err(failed("bind(2)"))?;
        listen(&socket, i32::from(backlog)).map_err(failed("listen(2)"))?;
        let address = getsockname(&socket).map_err(failed("getsockname(2)"))?;
        let address = SocketAddr::try_from(address).map_err(failed("getsockname(2)"))?;
        Ok(Self { socket, address, backlog: u32::from(backlog) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many finished handshakes fit: `sk_acceptq_is_full()` of the kernel asks for more than the backlog.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.backlog + 1
    }

    /// Accepts one connection; `None` when there is none.
    ///
    /// # Errors
    /// When accept(2) fails.
    pub fn accept(&self) -> Result<Option<OwnedFd>, ListenerError> {
        match accept(&self.socket) {
            Ok(connection) => Ok(Some(connection)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(cause) => Err(ListenerError::Call { call: "accept(2)", cause: cause.into() }),
        }
    }
}
