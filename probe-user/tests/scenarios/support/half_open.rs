//! A private network in which a client leaves handshakes half open, and the daemon finds it.
use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{namespace::Namespace, raw_client::RawClient, sockets::ANY_IPV6};

/// A network with a client that sends what it is told to.
pub(crate) struct HalfOpen {
    namespace: Namespace,
    client: RawClient,
}

/// The state of requests in `/proc/net/tcp`: `TCP_SYN_RECV`, which `get_openreq4()` of net/ipv4/tcp_ipv4.c gives.
const SYN_RECV: &str = "03";

impl HalfOpen {
    /// Makes one; needs CAP_SYS_ADMIN.
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new();
        let client = RawClient::open(&namespace);
        Self { namespace, client }
    }

    /// Its inode number: the label `netns`.
    pub(crate) fn inode(&self) -> u64 {
        self.namespace.inode()
    }

    /// Sets `net.<name>`, with dots or slashes.
    pub(crate) fn set_sysctl(&self, name: &'static str, value: u32) {
        self.namespace.set_sysctl(name, value);
    }

    /// Opens a listener; at the unspecified address of IPv6 it takes IPv4 too.
    pub(crate) fn listen(&self, address: SocketAddr, backlog: i32) -> (Socket, SocketAddr) {
        let open = move || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
            let socket = socket.expect("a TCP socket");
            if address.is_ipv6() {
                socket.set_only_v6(address.ip() != ANY_IPV6).expect("the listener's versions of IP");
            }
            socket.bind(&address.into()).expect("bind");
            socket.listen(backlog).expect("listen");
            let address = socket.local_addr().ok().and_then(|address| address.as_socket());
            (socket, address.expect("a listening address"))
        };
        self.namespace.run(open)
    }

    /// Who makes the handshakes.
    pub(crate) const fn client(&mut self) -> &mut RawClient {
        &mut self.client
    }

    /// How many requests the kernel lists for a local port, by the version of IP of its listener.
    pub(crate) fn requests(&self, family_of: IpAddr, port: u16) -> u64 {
        let file = if family_of.is_ipv4() { "tcp" } else { "tcp6" };
        let count = move || requests_in(&format!("/proc/thread-self/net/{file}"), port);
        self.namespace.run(count)
    }
}

/// The lines of a port in the state of requests: number, local address, remote address, state.
fn requests_in(path: &str, port: u16) -> u64 {
    let table = fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {path}: {error}"));
    let is_request = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1));
        state == Some(SYN_RECV) && local.ends_with(&format!(":{port:04X}"))
    };
    table.lines().skip(1).filter(is_request).count().try_into().expect("a count")
}
