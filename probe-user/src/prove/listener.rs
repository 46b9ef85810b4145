//! A listening socket whose backlog is known and whose owner accepts only when it is told to.
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept, bind, getsockname, ipproto, listen, socket_with,
};

use super::network::{NetworkError, PrivateNetwork};

/// One listening socket in a private network, on 127.0.0.1 and a port of the kernel's choice.
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
    pub fn open(network: &PrivateNetwork, backlog: u16) -> Result<Self, ListenerError> {
        network.run(move || Self::open_here(backlog))?
    }

    fn open_here(backlog: u16) -> Result<Self, ListenerError> {
        let failed = |call| move |cause: rustix::io::Errno| ListenerError::Call { call, cause: cause.into() };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))
            .map_err(failed("socket(2)"))?;
        let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        bind(&socket, &any_port).map_err(failed("bind(2)"))?;
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
