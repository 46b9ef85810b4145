//! Dumps of TCP sockets by `sock_diag`, as `ss` makes them.
//!
//! A dump is not a snapshot: the kernel walks its tables (`inet_diag_dump_icsk()` of net/ipv4/inet_diag.c)
//! while sockets come and go, in parts of up to 32 KiB, and each socket is read when the walk passes it.
mod dump;

use std::{io, os::fd::AsFd, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv, sockopt},
};

pub(super) use self::dump::{Collector, drops};
use self::dump::{Dump, Progress};
pub use self::dump::{DumpError, Family};

/// How often a dump is begun before it is given up as inconsistent.
const ATTEMPTS: u32 = 3;
/// netlink_dump() of net/netlink/af_netlink.c makes no part larger than 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers in the calling thread's own time; a wait means that an answer was lost.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the sockets are unknown.
#[derive(Debug, thiserror::Error)]
pub enum SockDiagError {
    /// A system call on the netlink socket failed.
    #[error("sock_diag: {call} failed ({cause}): is AF_NETLINK allowed, by RestrictAddressFamilies for one?")]
    Socket {
        /// Which call.
        call: &'static str,
        /// What it said.
        cause: io::Error,
    },
    /// No answer came in time.
    #[error("sock_diag: no answer within {} s", RECEIVE_TIMEOUT.as_secs())]
    Timeout,
    /// A part of the answer is longer than the buffer.
    #[error("sock_diag: a part of {bytes} bytes does not fit into {BUFFER_BYTES}: please report this kernel")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// The answer cannot be used.
    #[error("sock_diag, {family} {what}: {cause}")]
    Dump {
        /// Of which version of IP.
        family: Family,
        /// What was asked for.
        what: &'static str,
        /// What is wrong with the answer.
        cause: DumpError,
    },
    /// The sockets changed during every attempt.
    #[error("sock_diag, {family} {what}: {ATTEMPTS} dumps in a row were interrupted or overran")]
    Unsettled {
        /// Of which version of IP.
        family: Family,
        /// What was asked for.
        what: &'static str,
    },
}

/// Dumps the sockets of the calling thread's network namespace that the collector is for, of one version of
/// IP; again if the dump was disturbed.
///
/// # Errors
/// When they cannot be read completely.
pub(super) fn read<C: Collector>(family: Family) -> Result<C, SockDiagError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    for attempt in 1..=ATTEMPTS {
        // A new socket each time: what is left of a disturbed dump goes away with the old one.
        if let Some(collector) = read_once(family, attempt, &mut buffer)? {
            return Ok(collector);
        }
    }
    Err(SockDiagError::Unsettled { family, what: C::WHAT })
}

/// One dump; `None` when it was interrupted or the socket's receive buffer overran.
fn read_once<C: Collector>(
    family: Family,
    sequence: u32,
    buffer: &mut [u8],
) -> Result<Option<C>, SockDiagError> {
    let socket = request::<C>(family, sequence)?;
    let mut dump = Dump::<C>::new(family, sequence);
    loop {
        let length = match recv(socket.as_fd(), &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(Errno::NOBUFS) => return Ok(None),
            Err(Errno::AGAIN) => return Err(SockDiagError::Timeout),
            Err(error) => return Err(SockDiagError::Socket { call: "recv", cause: error.into() }),
        };
        let part = buffer.get(..length).ok_or(SockDiagError::Truncated { bytes: length })?;
        let progress = dump.add_part(part);
        match progress.map_err(|cause| SockDiagError::Dump { family, what: C::WHAT, cause })? {
            Progress::More => {}
            Progress::Interrupted => return Ok(None),
            Progress::Complete => return Ok(Some(dump.into_collector())),
        }
    }
}

/// Opens a socket in the calling thread's network namespace and asks for the sockets.
fn request<C: Collector>(family: Family, sequence: u32) -> Result<Socket, SockDiagError> {
    let failed = |call: &'static str| move |cause: io::Error| SockDiagError::Socket { call, cause };
    let socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed("socket"))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(RECEIVE_TIMEOUT))
        .map_err(|error| failed("setsockopt")(error.into()))?;
    // A connected netlink socket takes messages from its peer only, here the kernel (port 0).
    socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
    socket.send(&dump::encode_request::<C>(family, sequence), 0).map_err(failed("send"))?;
    Ok(socket)
}
