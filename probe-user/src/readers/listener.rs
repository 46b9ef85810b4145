//! The listening TCP sockets of a network namespace: a `sock_diag` dump, as `ss -ltn` makes one.
//!
//! A dump is not a snapshot: the kernel walks its table of listeners (`inet_diag_dump_icsk()` of
//! net/ipv4/inet_diag.c) while sockets come and go, in parts of up to 32 KiB, and each socket is read
//! when the walk passes it.
mod dump;

use std::{io, os::fd::AsFd, time::Duration};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv, sockopt},
};

use self::dump::{Dump, DumpError, Family, Progress};
use crate::sample::ListenerSample;

/// How often a dump is begun before it is given up as inconsistent.
const ATTEMPTS: u32 = 3;
/// netlink_dump() of net/netlink/af_netlink.c makes no part larger than 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers in the calling thread's own time; a wait means that an answer was lost.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the listeners are unknown.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
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
    #[error("sock_diag, {family} listeners: {cause}")]
    Dump {
        /// Which half of the listeners.
        family: Family,
        /// What is wrong with the answer.
        cause: DumpError,
    },
    /// The listeners changed during every attempt.
    #[error("sock_diag, {family} listeners: {ATTEMPTS} dumps in a row were interrupted or overran")]
    Unsettled {
        /// Which half of the listeners.
        family: Family,
    },
}

/// Reads the listening TCP sockets of the calling thread's network namespace, IPv4 first. A dual-stack
/// listener is in the IPv6 half, with the address that it was bound to; v4-mapped addresses are left as
/// the kernel gives them.
///
/// # Errors
/// When either half cannot be read: half of the listeners would look like closed ports.
pub fn read() -> Result<Vec<ListenerSample>, ListenerError> {
    let mut listeners = read_family(Family::Inet)?;
    listeners.extend(read_family(Family::Inet6)?);
    Ok(listeners)
}

/// Dumps the listeners of one family, again if the dump was disturbed.
fn read_family(family: Family) -> Result<Vec<ListenerSample>, ListenerError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    for attempt in 1..=ATTEMPTS {
        // A new socket each time: what is left of a disturbed dump goes away with the old one.
        if let Some(listeners) = read_once(family, attempt, &mut buffer)? {
            return Ok(listeners);
        }
    }
    Err(ListenerError::Unsettled { family })
}

/// One dump; `None` when it was interrupted or the socket's receive buffer overran.
fn read_once(
    family: Family,
    sequence: u32,
    buffer: &mut [u8],
) -> Result<Option<Vec<ListenerSample>>, ListenerError> {
    let socket = request(family, sequence)?;
    let mut dump = Dump::new(family, sequence);
    loop {
        let length = match recv(socket.as_fd(), &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(Errno::NOBUFS) => return Ok(None),
            Err(Errno::AGAIN) => return Err(ListenerError::Timeout),
            Err(error) => return Err(ListenerError::Socket { call: "recv", cause: error.into() }),
        };
        let part = buffer.get(..length).ok_or(ListenerError::Truncated { bytes: length })?;
        match dump.add_part(part).map_err(|cause| ListenerError::Dump { family, cause })? {
            Progress::More => {}
            Progress::Interrupted => return Ok(None),
            Progress::Complete => return Ok(Some(dump.into_listeners())),
        }
    }
}

/// Opens a socket in the calling thread's network namespace and asks for the listeners.
fn request(family: Family, sequence: u32) -> Result<Socket, ListenerError> {
    let failed = |call: &'static str| move |cause: io::Error| ListenerError::Socket { call, cause };
    let socket = Socket::new(NETLINK_SOCK_DIAG).map_err(failed("socket"))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(RECEIVE_TIMEOUT))
        .map_err(|error| failed("setsockopt")(error.into()))?;
    // A connected netlink socket takes messages from its peer only, here the kernel (port 0).
    socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
    socket.send(&dump::encode_request(family, sequence), 0).map_err(failed("send"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, SocketAddr, TcpListener, TcpStream},
        os::linux::fs::MetadataExt,
    };

    use super::*;

    /// The listener's own entry of the dump.
    fn entry(listener: &TcpListener) -> ListenerSample {
        let address = listener.local_addr().unwrap();
        let matches = |entry: &&ListenerSample| (entry.address, entry.port) == (address.ip(), address.port());
        *read().unwrap().iter().find(matches).unwrap()
    }

    /// The inode of a socket as `/proc/self/fd` shows it.
    fn inode(listener: &TcpListener) -> u64 {
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
        file.metadata().unwrap().st_ino()
    }

    #[test]
    fn a_listener_is_found_with_its_queue_its_limit_and_its_inode() {
        let check = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.is_ipv6(), "the host has IPv4 at least");
                return;
            };
            assert_eq!(entry(&listener).address, address.ip());
            assert_eq!(entry(&listener).accept_queue_length, 0);
            assert!(entry(&listener).accept_queue_limit > 0);
            assert_eq!(entry(&listener).drops, 0);
            assert_eq!(u64::from(entry(&listener).inode), inode(&listener));
            let to = if address.is_ipv6() { "[::1]" } else { "127.0.0.1" };
            let port = listener.local_addr().unwrap().port();
            let _client = TcpStream::connect(format!("{to}:{port}")).unwrap();
            assert_eq!(entry(&listener).accept_queue_length, 1);
            let _server = listener.accept().unwrap();
            assert_eq!(entry(&listener).accept_queue_length, 0);
        };
        check("127.0.0.1:0");
        check("0.0.0.0:0");
        check("[::1]:0");
        check("[::]:0");
    }

    #[test]
    fn a_connection_that_does_not_listen_is_not_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let client_port = client.local_addr().unwrap().port();
        let local = |entry: &ListenerSample| entry.address == IpAddr::from([127, 0, 0, 1]);
        assert!(!read().unwrap().iter().any(|entry| local(entry) && entry.port == client_port));
    }

    #[test]
    fn more_listeners_than_fit_into_one_part_are_all_found_once() {
        let listeners: Vec<_> = (0..600).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let found = read().unwrap();
        for listener in &listeners {
            let port = listener.local_addr().unwrap().port();
            let local = |entry: &&ListenerSample| entry.address == IpAddr::from([127, 0, 0, 1]);
            assert_eq!(found.iter().filter(local).filter(|entry| entry.port == port).count(), 1);
        }
    }
}
