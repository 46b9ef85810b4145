//! Many listeners one after the other: every count is its own port's, and no memory is kept.
//!
//! The memory of a closed listener's socket becomes another one's, on the same port or another, again and again.
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use nix::{libc, sys::socket::getsockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Setup,
    bench::{Bench, Moment},
    support::wait::{ensure, wait_until},
};

const LISTENERS: u64 = 10_000;
const PORTS: u64 = 40;
const FIRST_PORT: u64 = 20_000;
/// So many of them, one after the other, are asked where their sockets are.
const ASKED: u64 = 1_000;

/// What happened at one port, by the listeners' own account before they were closed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Happened {
    /// Connections in their accept queues.
    queued: u64,
    /// Packets that they dropped: `sk_drops`.
    dropped: u64,
}

/// How many connections fit into the queue of a listener, and how many more there are. Neighbours differ, so that a
/// count on the wrong port shows.
const fn clients_of(port: u64) -> (u64, u64) {
    (2 + port % 2, 1 + port / 2 % 2)
}

pub(crate) fn ten_thousand_listeners_that_come_and_go(setup: &Setup) {
    let bench = Bench::alone(setup);
    let before = Memory::of(&bench);
    let mut happened = BTreeMap::<u64, Happened>::new();
    // In two parts: a fast machine opens them within seconds, and each keeps its row for a while after its end.
    for _ in 0..2 {
        for (port, at_one) in bench.namespace.run(|| come_and_go(LISTENERS / 2, ASKED)) {
            let sum = happened.entry(port).or_default();
            sum.queued += at_one.queued;
            sum.dropped += at_one.dropped;
        }
        wait_until("the rows are given back", || {
            let rows = Memory::of(&bench).rows;
            ensure(rows <= before.rows + LISTENERS / 20, || format!("{rows} rows in use"))
        });
    }
    bench.compare("ten thousand listeners", |moment| {
        ensure(moment.kernel.listen_overflows >= LISTENERS, || format!("{:?}", moment.kernel))?;
        happened.iter().try_for_each(|(port, happened)| compare(setup, &bench, moment, *port, *happened))
    });
    wait_until("the memory is what it was", || Memory::of(&bench).is_like(&before));
}

/// One port with what its listeners said.
fn compare(
    setup: &Setup,
    bench: &Bench,
    moment: &Moment,
    port: u64,
    happened: Happened,
) -> Result<(), String> {
    let address = address(port);
    let within = |name: &str, expected: u64, fewer: u64, more: u64| {
        let seen = moment.of_port(address, name);
        let right = seen.is_some_and(|seen| seen + fewer >= expected && seen <= expected + more);
        ensure(right, || format!("{address}: {name} {seen:?}, not {expected} (-{fewer} +{more})"))
    };
    let skipped = moment.skipped.of_connections(bench.full());
    within("established_total", happened.queued, skipped, 0)?;
    // A machine that is held up for a second sends a SYN again between the listener's account and its end.
    let again = moment.kernel.syn_retransmits;
    let unattributed = moment.unattributed().drops;
    within("listen_drops_total", happened.dropped, moment.skipped.of_functions() + unattributed, again)?;
    if !bench.full() {
        return Ok(());
    }
    let overflows = moment.port(address).overflows();
    let drops = moment.of_port(address, "listen_drops_total");
    ensure(overflows == drops, || format!("{address}: {overflows:?} of {drops:?} drops are overflows"))?;
    // A softirq that interrupts the kprobes of listen() goes unseen (docs/COMPATIBILITY.md).
    let hidden = if setup.plan == "kprobe" { LISTENERS / 1_000 } else { 0 };
    within("closed_unaccepted_total", happened.queued, skipped + hidden, 0)
}

fn address(port: u64) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.try_into().expect("a port")))
}

/// Opens and closes so many listeners, on one port after the other, in the calling thread's namespace. Of the first ones
/// it is told where their sockets are: some at the address of another port's.
pub(crate) fn come_and_go(listeners: u64, asked: u64) -> BTreeMap<u64, Happened> {
    let mut happened = BTreeMap::<u64, Happened>::new();
    let mut sockets = BTreeMap::<String, u64>::new();
    let mut is_reused = asked == 0;
    for number in 0..listeners {
        let port = FIRST_PORT + number % PORTS;
        let listener = overflow_once(port);
        let sum = happened.entry(port).or_default();
        sum.queued += u64::from(queue_length(&listener));
        sum.dropped += u64::from(drops(&listener));
        if number < asked {
            let socket = socket_address(port);
            // Nobody is told where kptr_restrict is 2.
            is_reused |= socket.bytes().all(|digit| digit == b'0');
            is_reused |= sockets.insert(socket, port).is_some_and(|before| before != port);
        }
    }
    assert!(is_reused, "of {asked} listeners no two had the same memory");
    happened
}

/// A listener whose queue is full and has refused what did not fit.
fn overflow_once(port: u64) -> Socket {
    let address = address(port);
    let (fit, more) = clients_of(port);
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a TCP socket");
    let listener = socket();
    listener.set_reuse_address(true).expect("SO_REUSEADDR");
    // A process that another scenario starts at this moment has, until its exec(), the last listener as well.
    wait_until("the port is free", || listener.bind(&address.into()).map_err(|error| error.to_string()));
    listener.listen(i32::try_from(fit - 1).expect("a small backlog")).expect("listen");
    let connect = || {
        let client = socket();
        client.set_nonblocking(true).expect("non-blocking connect");
        // In progress, or connected at once.
        let _ = client.connect(&address.into());
        client
    };
    let mut clients = Vec::new();
    for number in 1..=fit {
        clients.push(connect());
        wait_until("a connection is in the queue", || {
            let length = u64::from(queue_length(&listener));
            ensure(length == number, || format!("{length} of {number}"))
        });
    }
    clients.extend((0..more).map(|_| connect()));
    wait_until("what does not fit is refused", || {
        let drops = u64::from(drops(&listener));
        ensure(drops >= more, || format!("{drops} of {more}"))
    });
    listener
}

/// The beginning of `struct tcp_info`, whose length differs from kernel to kernel: up to `tcpi_unacked`, which is the length
/// of the accept queue of a listener.
type TcpInformation = [u32; 7];

/// What TCP says of a socket.
#[derive(Clone, Copy)]
struct TcpInfo;

nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInformation,
    nix::sys::socket::sockopt::GetStruct<TcpInformation>
);

/// `SK_MEMINFO_VARS` of `linux/sock_diag.h`.
type MemoryInformation = [u32; 9];

/// What a socket says of its memory, and at last of its drops.
#[derive(Clone, Copy)]
struct SocketMemory;

nix::getsockopt_impl!(
    SocketMemory,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    MemoryInformation,
    nix::sys::socket::sockopt::GetStruct<MemoryInformation>
);

fn queue_length(listener: &Socket) -> u32 {
    let [.., unacked] = getsockopt(listener, TcpInfo).expect("TCP_INFO");
    unacked
}

fn drops(listener: &Socket) -> u32 {
    let [.., drops] = getsockopt(listener, SocketMemory).expect("SO_MEMINFO");
    drops
}

/// The address of the port's listening socket, or what the kernel shows in its place: in the line of `/proc/net/tcp` with
/// the state `TCP_LISTEN`, the field behind the inode and the references.
fn socket_address(port: u64) -> String {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("the sockets");
    let is_it = |line: &&str| line.contains(&format!(":{port:04X} 00000000:0000 0A "));
    let line = table.lines().find(is_it).expect("the listener");
    line.split_whitespace().nth(11).expect("its address").to_owned()
}

/// What the daemon and its maps take.
#[derive(Debug)]
struct Memory {
    resident: u64,
    maps: u64,
    rows: u64,
}

impl Memory {
    fn of(bench: &Bench) -> Self {
        let metrics = bench.scrape();
        let value = |name: &str| metrics.value(name, &[]).unwrap_or_else(|| panic!("no {name}"));
        Self {
            resident: value("process_resident_memory_bytes"),
            maps: value("tcp_backlog_maps_memory_bytes"),
            rows: value("tcp_backlog_listener_rows"),
        }
    }

    /// Other scenarios have listeners as well, whose totals are kept, and code that runs for the first time
    /// becomes resident: alone it is a tenth of this. The rows of ten thousand listeners are twice as much.
    fn is_like(&self, before: &Self) -> Result<(), String> {
        const KEPT: u64 = 6 << 20;
        let like = self.maps == before.maps
            && self.rows <= before.rows + LISTENERS / 20
            && self.resident <= before.resident + KEPT;
        ensure(like, || format!("before {before:?}, now {self:?}"))
    }
}
