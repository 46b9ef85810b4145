//! A private network in which a client leaves handshakes half open, and the daemon finds it.
use std::{
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    process::Child,
};

use socket2::{Domain, Protocol, Socket, Type};
use tcp_backlog_probe::prove::{Client, HandshakeId, Ledger, PrivateNetwork, wire::Segment};

use super::{
    namespace::{keep_number, make_private_network, resident},
    sockets::ANY_IPV6,
    wait::PATIENCE,
};

/// A network with a client that sends what it is told to.
pub(crate) struct HalfOpen {
    pub(crate) network: PrivateNetwork,
    client: Client,
    resident: Child,
    handle: Option<File>,
}

/// The state of requests in `/proc/net/tcp`: `TCP_SYN_RECV`, which `get_openreq4()` of net/ipv4/tcp_ipv4.c gives.
const SYN_RECV: &str = "03";

/// `IPPROTO_RAW` of `linux/in.h`.
const RAW: i32 = 255;

impl HalfOpen {
    /// Makes one; needs CAP_SYS_ADMIN.
    pub(crate) fn new() -> Self {
        let network = make_private_network();
        let client = Client::open(&network).expect("a client");
        let (resident, handle) = network
            .run(|| (resident(), File::open("/proc/thread-self/ns/net").expect("the network's handle")))
            .expect("the network");
        Self { network, client, resident, handle: Some(handle) }
    }

    /// Its inode number: the label `netns`.
    pub(crate) fn inode(&self) -> u64 {
        self.network.inum().into()
    }

    /// Sets `net.<name>`, with dots or slashes.
    pub(crate) fn set_sysctl(&self, name: &str, value: u32) {
        self.network.set_sysctl(name, value).expect("a sysctl");
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
        self.network.run(open).expect("a listener")
    }

    /// Begins handshakes with the listener on this port, waits for the SYN-ACKs, and leaves it at that.
    pub(crate) fn syns(&mut self, server: SocketAddr, count: u64) -> Vec<HandshakeId> {
        let before = self.client.ledger().handshakes_answered;
        let handshakes = (0..count).map(|_| self.client.syn(server).expect("a SYN")).collect();
        let answered = move |ledger: &Ledger| ledger.handshakes_answered == before + count;
        self.client.wait("every SYN is answered", PATIENCE, answered).expect("SYN-ACKs");
        handshakes
    }

    /// Finishes handshakes with the listener on this port.
    pub(crate) fn establish(&mut self, server: SocketAddr, count: u64) {
        let handshakes = self.syns(server, count);
        handshakes.iter().for_each(|id| self.client.last_ack(*id).expect("a last ACK"));
    }

    /// Sends SYNs and waits for nothing.
    pub(crate) fn spike(&mut self, server: SocketAddr, count: u64) -> Vec<HandshakeId> {
        (0..count).map(|_| self.client.syn(server).expect("a SYN")).collect()
    }

    /// Sends their SYNs again.
    pub(crate) fn again(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.client.syn_again(*id).expect("a SYN"));
    }

    /// Sends a SYN with data and without a cookie, and no last ACK. From an address that no client has.
    pub(crate) fn fast_open(&self, server: SocketAddr) {
        let source = SocketAddr::from(([192, 0, 2, 200], 2_000));
        let (syn, payload) = (true, b"x".to_vec());
        let segment = Segment { syn, payload, sequence: 7, ..Segment::between(source, server) };
        let packet = segment.to_packet().expect("a packet");
        let send = move || {
            let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).expect("a raw socket");
            raw.send_to(&packet, &SocketAddr::new(server.ip(), 0).into()).expect("a SYN with data")
        };
        self.network.run(send).expect("the network");
    }

    /// Gives handshakes up.
    pub(crate) fn reset(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.client.reset(*id).expect("a reset"));
    }

    /// How many requests the kernel lists for a local port, by the version of IP of its listener.
    pub(crate) fn requests(&self, family_of: IpAddr, port: u16) -> u64 {
        let file = if family_of.is_ipv4() { "tcp" } else { "tcp6" };
        let count = move || requests_in(&format!("/proc/thread-self/net/{file}"), port);
        self.network.run(count).expect("the network")
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.resident.kill();
        let _ = self.resident.wait();
        self.handle.take().into_iter().for_each(keep_number);
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
