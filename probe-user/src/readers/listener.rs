//! The listening TCP sockets of a network namespace, as `ss -ltn` lists them.
use netlink_packet_sock_diag::{
    constants::TCP_LISTEN,
    inet::{ExtensionFlags, InetResponse},
};

use super::sock_diag::{self, Collector, DumpError, Family, SockDiagError};
use crate::{netns, sample::ListenerSample};

/// Reads the listening TCP sockets of the calling thread's network namespace, by port. A dual-stack
/// listener is in the IPv6 half, with the address that it was bound to; v4-mapped addresses are left as
/// the kernel gives them.
///
/// # Errors
/// When either half cannot be read: half of the listeners would look like closed ports.
pub fn read() -> Result<Vec<ListenerSample>, SockDiagError> {
    let Listeners(mut listeners) = sock_diag::read(Family::Inet)?;
    let Listeners(of_ipv6) = sock_diag::read(Family::Inet6)?;
    listeners.extend(of_ipv6);
    // A dump has them in the order of the kernel's hash. Whoever goes through them looks them up by this one.
    listeners.sort_unstable_by_key(|listener| (listener.port, listener.address, listener.inode));
    Ok(listeners)
}

/// How many sockets listen in all network namespaces that can be entered, for whoever makes room for them.
#[must_use]
pub fn count_everywhere() -> usize {
    let Ok(discovery) = netns::discover() else { return 0 };
    let visits = netns::visit(&discovery.namespaces, |_| read().map_or(0, |listeners| listeners.len()));
    visits.into_iter().filter_map(|(_, count)| count.ok()).sum()
}

/// The listeners of a dump, one by one.
#[derive(Debug, Default)]
struct Listeners(Vec<ListenerSample>);

impl Collector for Listeners {
    const WHAT: &'static str = "listeners";
    const STATE: u8 = TCP_LISTEN;
    const EXTENSIONS: ExtensionFlags = ExtensionFlags::SKMEMINFO;
    const INNUMERABLE: bool = false;

    fn add(&mut self, socket: &InetResponse) -> Result<(), DumpError> {
        let header = &socket.header;
        self.0.push(ListenerSample {
            address: header.socket_id.source_address,
            port: header.socket_id.source_port,
            accept_queue_length: header.recv_queue,
            accept_queue_limit: header.send_queue,
            drops: sock_diag::drops(socket)?,
            inode: header.inode,
        });
        Ok(())
    }
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
