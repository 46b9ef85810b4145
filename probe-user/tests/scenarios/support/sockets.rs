//! Listeners with an exact backlog, and clients whose every packet is known.
use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::{libc, sys::socket::setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    namespace::Namespace,
    trials::lacks,
    wait::{ensure, wait_until},
};

pub(crate) const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// What a listener is bound to that takes IPv4 only, by a socket for IPv6.
pub(crate) const MAPPED_IPV4: IpAddr = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
/// What a dual-stack listener is bound to.
pub(crate) const ANY_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A listening socket whose owner accepts only when it is told to.
pub(crate) struct Listener {
    socket: Socket,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What was asked of listen(2).
    pub(crate) backlog: u32,
}

impl Listener {
    /// Opens one on a free port.
    pub(crate) fn open(namespace: &Namespace, address: IpAddr, backlog: u32) -> Self {
        Self::open_at(namespace, SocketAddr::new(address, 0), backlog)
    }

    /// Opens one on this port.
    pub(crate) fn open_at(namespace: &Namespace, address: SocketAddr, backlog: u32) -> Self {
        Self::listen(socket_in(namespace, address), address, backlog)
    }

    /// The same listener, for another thread.
    pub(crate) fn another_hold(&self) -> Self {
        let socket = self.socket.try_clone().expect("a descriptor");
        Self { socket, address: self.address, backlog: self.backlog }
    }

    /// Opens one on this port, which it shares with every other listener that is opened so.
    pub(crate) fn open_shared(namespace: &Namespace, address: SocketAddr, backlog: u32) -> Self {
        let socket = socket_in(namespace, address);
        socket.set_reuse_port(true).expect("SO_REUSEPORT");
        Self::listen(socket, address, backlog)
    }

    /// Opens a listener of Multipath TCP; where the kernel has none the trial ends.
    pub(crate) fn open_multipath(namespace: &Namespace, address: IpAddr, backlog: u32) -> Self {
        let address = SocketAddr::new(address, 0);
        let socket = namespace.run(move || {
            Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::from(MULTIPATH_TCP))).ok()
        });
        Self::listen(socket.unwrap_or_else(|| lacks("Multipath TCP")), address, backlog)
    }

    /// From now on a SYN may carry data, and makes a connection at once. For clients and servers of the whole
    /// namespace, and without the cookies of Fast Open.
    pub(crate) fn take_fast_opens(&self, namespace: &Namespace, waiting: u32) {
        namespace.set_sysctl("ipv4.tcp_fastopen", 1 | 2 | 4 | 0x200);
        take_fast_opens(&self.socket, waiting);
    }

    /// Opens one that asks for this backlog, whatever it is.
    pub(crate) fn open_asking(namespace: &Namespace, address: IpAddr, backlog: i32) -> Self {
        let socket = Self::bound(namespace, address);
        socket.listen(backlog).expect("listen");
        Self::listening(socket, backlog.cast_unsigned())
    }

    /// A socket on a free port that does not listen yet.
    pub(crate) fn bound(namespace: &Namespace, address: IpAddr) -> Socket {
        let address = SocketAddr::new(address, 0);
        let socket = socket_in(namespace, address);
        socket.bind(&address.into()).expect("bind");
        socket
    }

    /// Calls listen() once more, which changes nothing but the backlog.
    pub(crate) fn listen_again(&self, backlog: i32) {
        self.socket.listen(backlog).expect("listen");
    }

    fn listen(socket: Socket, address: SocketAddr, backlog: u32) -> Self {
        // A port with connections that are not yet forgotten can be listened on again.
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        if let IpAddr::V6(own) = address.ip()
            && (own.is_unspecified() || own.to_ipv4_mapped().is_some())
        {
            socket.set_only_v6(false).expect("a listener that takes IPv4");
        }
        // A process that another scenario starts at this moment has, until its exec(), the last listener as well.
        wait_until("the port is free", || socket.bind(&address.into()).map_err(|error| error.to_string()));
        socket.listen(backlog.try_into().expect("a small backlog")).expect("listen");
        Self::listening(socket, backlog)
    }

    /// A socket that listens already.
    pub(crate) fn listening(socket: Socket, backlog: u32) -> Self {
        socket.set_nonblocking(true).expect("non-blocking accept");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        Self { socket, address: address.expect("a listening address"), backlog }
    }

    /// How many finished handshakes fit: the kernel tests for "more than the backlog".
    pub(crate) fn capacity(&self) -> u64 {
        u64::from(self.backlog) + 1
    }

    /// How many connections wait in the accept queues of its port, by the kernel's own list.
    pub(crate) fn queue_length(&self, namespace: &Namespace) -> u64 {
        let port = self.address.port();
        namespace.run(move || ["tcp", "tcp6"].into_iter().map(|file| queue_length_in(file, port)).sum())
    }

    /// With a value, bare last ACKs are left aside and the handshake stays in the SYN queue until
    /// the client sends data, or until the SYN-ACK has been sent again for that many seconds.
    pub(crate) fn defer_accept(&self, seconds: u32) {
        setsockopt(&self.socket, DeferAccept, &seconds).expect("TCP_DEFER_ACCEPT");
    }

    /// Accepts one connection and lets it go, if there is one.
    pub(crate) fn accept_one(&self) -> bool {
        self.socket.accept().is_ok()
    }

    /// Accepts one connection, once it is there.
    pub(crate) fn accept(&self) -> Socket {
        wait_until("a connection to accept", || {
            self.socket.accept().map(|(socket, _)| socket).map_err(|error| error.to_string())
        })
    }
}

/// From now on a SYN to this listener may carry data, and makes a connection at once.
pub(crate) fn take_fast_opens(listener: &Socket, waiting: u32) {
    setsockopt(listener, FastOpen, &waiting).expect("TCP_FASTOPEN");
}

/// `IPPROTO_MPTCP` of `linux/in.h`.
const MULTIPATH_TCP: i32 = 262;

/// `TCP_FASTOPEN` of `linux/tcp.h`.
#[derive(Clone, Copy)]
struct FastOpen;

nix::setsockopt_impl!(
    FastOpen,
    libc::IPPROTO_TCP,
    libc::TCP_FASTOPEN,
    u32,
    nix::sys::socket::sockopt::SetStruct<'_, u32>
);

/// `TCP_DEFER_ACCEPT` of `linux/tcp.h`, which no crate in use has a name for.
#[derive(Clone, Copy)]
struct DeferAccept;

nix::setsockopt_impl!(
    DeferAccept,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32,
    nix::sys::socket::sockopt::SetStruct<'_, u32>
);

/// A client that never waits.
pub(crate) struct Client {
    socket: Socket,
    address: SocketAddr,
}

impl Client {
    /// One that has not sent anything yet.
    pub(crate) fn idle(namespace: &Namespace, address: SocketAddr) -> Self {
        let socket = socket_in(namespace, address);
        socket.set_nonblocking(true).expect("non-blocking connect");
        Self { socket, address }
    }

    /// One that sends its SYN at once.
    pub(crate) fn connect(namespace: &Namespace, address: SocketAddr) -> Self {
        let client = Self::idle(namespace, address);
        client.send_syn();
        client
    }

    /// One that speaks Multipath TCP and sends its SYN at once.
    pub(crate) fn connect_multipath(namespace: &Namespace, address: SocketAddr) -> Self {
        let protocol = Some(Protocol::from(MULTIPATH_TCP));
        let socket = namespace.run(move || {
            Socket::new(Domain::for_address(address), Type::STREAM, protocol).expect("a multipath socket")
        });
        socket.set_nonblocking(true).expect("non-blocking connect");
        let client = Self { socket, address };
        client.send_syn();
        client
    }

    /// Sends the SYN. On the loopback interface the listener mostly has answered it when this returns.
    pub(crate) fn send_syn(&self) {
        match self.socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => panic!("connect: {error}"),
        }
    }

    /// Sends a byte, once the connection is open.
    pub(crate) fn send_byte(&self) {
        wait_until("a byte is sent", || self.socket.send(b"x").map(drop).map_err(|error| error.to_string()));
    }

    /// Sends the SYN with a byte of data in it.
    pub(crate) fn fast_open(&self) {
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        match self.socket.send_to_with_flags(b"x", &self.address.into(), flags) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => panic!("sendto with MSG_FASTOPEN: {error}"),
        }
    }

    /// Ends its connection with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// Sends one byte, as soon as its own side of the handshake is finished.
    pub(crate) fn send_data(&self) {
        wait_until("a client sends data", || {
            (&self.socket).write_all(b"x").map_err(|error| error.to_string())
        });
    }
}

/// Clients that have not sent anything yet.
pub(crate) fn idle_clients(namespace: &Namespace, address: SocketAddr, count: u64) -> Vec<Client> {
    (0..count).map(|_| Client::idle(namespace, address)).collect()
}

/// Clients that have sent their SYNs. Those that the listener does not answer send them again
/// after 1 s, 3 s, 7 s ... until they are dropped.
pub(crate) fn connect_all(namespace: &Namespace, address: SocketAddr, count: u64) -> Vec<Client> {
    (0..count).map(|_| Client::connect(namespace, address)).collect()
}

/// The same, but as long as the accept queue has room, each is let into it before the next comes.
/// Otherwise a busy machine takes several SYNs before the first of the last ACKs, and it would be
/// the ACKs that meet a full queue.
pub(crate) fn connect_in_turn(
    namespace: &Namespace,
    listener: &Listener,
    address: SocketAddr,
    count: u64,
) -> Vec<Client> {
    let before = listener.queue_length(namespace);
    let connect = |number: u64| {
        let client = Client::connect(namespace, address);
        let expected = listener.capacity().min(before + number);
        wait_until("a connection is in the accept queue", || {
            let length = listener.queue_length(namespace);
            ensure(length >= expected, || format!("{length} connections, not {expected}"))
        });
        client
    };
    (1..=count).map(connect).collect()
}

/// The sum of `rx_queue` over the lines of `/proc/net/tcp` or `tcp6` that are listeners of a port:
/// number, local address, remote address, state, `tx_queue:rx_queue`; all in hexadecimal.
fn queue_length_in(file: &str, port: u16) -> u64 {
    const LISTEN: &str = "0A";
    let path = format!("/proc/thread-self/net/{file}");
    let table = fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {path}: {error}"));
    let length = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state, queues) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let ours = state == LISTEN && local.ends_with(&format!(":{port:04X}"));
        ours.then(|| u64::from_str_radix(queues.rsplit(':').next()?, 16).ok())?
    };
    table.lines().skip(1).filter_map(length).sum()
}

fn socket_in(namespace: &Namespace, address: SocketAddr) -> Socket {
    namespace.run(move || {
        Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).expect("a TCP socket")
    })
}
