//! Many handshakes at once, and many listeners one after the other: no count is lost, and no memory.
use std::{
    env,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    Setup,
    bench::Bench,
    support::{
        namespace::enter,
        sockets::{IPV4, Listener},
        wait::{ensure, wait_until},
    },
};

/// How many handshakes, if the machine is to be kept busy for long.
const HANDSHAKES_VARIABLE: &str = "TCP_BACKLOG_PROBE_HANDSHAKES";
const FEW_HANDSHAKES: u64 = 4_000;
const MEMBERS: usize = 4;
const CLIENT_THREADS: u64 = 4;

pub(crate) fn handshakes() -> u64 {
    env::var(HANDSHAKES_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(FEW_HANDSHAKES)
}

/// How long traffic that is well goes on, in seconds.
pub(crate) fn healthy_seconds() -> u64 {
    handshakes() / 1_000
}

/// Four listeners share a port, and each is accepted from by a thread that pauses now and then: their
/// queues overflow from time to time.
pub(crate) fn many_handshakes_of_several_listeners_with_pauses(setup: &Setup) {
    let bench = Bench::new(setup);
    let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), 64);
    let address = first.address;
    let others = (1..MEMBERS).map(|_| Listener::open_shared(&bench.namespace, address, 64));
    let group: Vec<Listener> = std::iter::once(first).chain(others).collect();

    let each = handshakes() / CLIENT_THREADS;
    let accepted = connect_and_accept(&bench.namespace.handle(), address, &group, each);

    bench.compare("many handshakes", |moment| {
        let port = moment.port(address);
        // Not PassiveOpens: a client that resets at once may overtake its own last ACK, on another processor even while a
        // child is made of it, which then comes into no queue.
        let waiting = group.first().expect("a member").queue_length(&bench.namespace);
        let queued = accepted + waiting;
        ensure(queued >= each * CLIENT_THREADS * 9 / 10, || format!("{queued} came into a queue"))?;
        let missing = queued.checked_sub(port.established.unwrap_or_default());
        // Without hooks on functions those are missed that are accepted before their handshake is over (docs/COMPATIBILITY.md).
        let accepted_early = if bench.full() { 0 } else { queued.div_ceil(10_000) };
        let allowed = moment.skipped.of_connections(bench.full()) + accepted_early;
        ensure(missing.is_some_and(|missing| missing <= allowed), || {
            format!("{queued} came into a queue, {port:?}, {:?}", moment.skipped)
        })?;
        let unattributed = moment.unattributed().overflows;
        let overflows = port.overflows().unwrap_or_default() + unattributed;
        let missing = moment.kernel.listen_overflows.checked_sub(overflows);
        let allowed = moment.skipped.of_functions();
        ensure(missing.is_some_and(|missing| missing <= allowed), || format!("{overflows} overflows"))
    });
}

/// So many connections of each client's thread, in turn. Gives how many of them were accepted.
fn connect_and_accept(namespace: &File, address: SocketAddr, group: &[Listener], each: u64) -> u64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let accept = |(number, listener)| {
            let over = &over;
            scope.spawn(move || accept_with_pauses(listener, number, over))
        };
        let servers: Vec<_> = (1..).zip(group).map(accept).collect();
        let clients: Vec<_> = (0..CLIENT_THREADS)
            .map(|_| scope.spawn(|| connect_again_and_again(namespace, address, each)))
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("a client"));
        over.store(true, Ordering::Relaxed);
        servers.into_iter().map(|server| server.join().expect("a server")).sum()
    })
}

/// Pauses at places that differ from listener to listener, and are the same in every run. Gives how many it accepted.
fn accept_with_pauses(listener: &Listener, number: u64, over: &AtomicBool) -> u64 {
    let (mut state, mut accepted) = (number, 0);
    while !over.load(Ordering::Relaxed) {
        if !listener.accept_one() {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        accepted += 1;
        // Knuth's generator: a pause every two thousand connections or so.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number);
        if state >> 53 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    accepted
}

fn connect_again_and_again(handle: &File, address: SocketAddr, count: u64) {
    enter(handle);
    for _ in 0..count {
        let client = TcpStream::connect(address).expect("a connection");
        // Ends with a reset: no port is kept from the next one.
        let lingering = SockRef::from(&client.as_fd()).set_linger(Some(Duration::ZERO));
        lingering.expect("SO_LINGER");
    }
}

const COMING_AND_GOING: u64 = 10_000;
const PORTS: u64 = 40;
/// What fits into a queue with the backlog of 1, and one client more.
const CLIENTS_OF_EACH: usize = 3;

/// The memory of a closed listener becomes another one's, on the same port or another, again and again.
pub(crate) fn ten_thousand_listeners_that_come_and_go(setup: &Setup) {
    let bench = Bench::alone(setup);
    let before = Memory::of(&bench);
    // In two parts: a fast machine opens them within seconds, and each keeps its row for a while after its end.
    for _ in 0..2 {
        bench.namespace.run(|| (0..COMING_AND_GOING / 2).for_each(|n| come_and_go(20_000 + n % PORTS)));
        wait_until("the rows are given back", || {
            let rows = Memory::of(&bench).rows;
            ensure(rows <= before.rows + COMING_AND_GOING / 20, || format!("{rows} rows in use"))
        });
    }

    bench.compare("ten thousand listeners", |moment| {
        let ports = (0..PORTS).map(|number| SocketAddr::from((Ipv4Addr::LOCALHOST, port(20_000 + number))));
        let ports: Vec<SocketAddr> = ports.collect();
        let sum = |name: &str| -> Option<u64> { ports.iter().map(|port| moment.of_port(*port, name)).sum() };
        let opened = moment.kernel.passive_opens;
        let established = sum("established_total").unwrap_or_default();
        let allowed = moment.skipped.of_connections(bench.full());
        // A child that is made in the instant in which its listener closes never comes into a queue: it inherits no port
        // (__inet_inherit_port(), a listen drop), or the client's FIN has taken its request from the table (own_req).
        let too_late = COMING_AND_GOING / 100;
        ensure(established <= opened && opened - established <= allowed + too_late, || {
            format!("{opened} connections, {established} established, {:?}", moment.skipped)
        })?;
        if bench.full() {
            // All that came into a queue, and of the others those that were about to.
            let forgotten = sum("closed_unaccepted_total").filter(|forgotten| *forgotten <= opened);
            let missing = forgotten.map(|forgotten| established.saturating_sub(forgotten));
            // A softirq that interrupts the kprobes of listen() goes unseen (docs/ARCHITECTURE.md).
            let hidden = if setup.plan == "kprobe" { COMING_AND_GOING / 1_000 } else { 0 };
            ensure(missing.is_some_and(|missing| missing <= allowed + hidden), || {
                format!("{forgotten:?} closed unaccepted of {established} and {opened}")
            })?;
        }
        ensure(moment.kernel.listen_overflows > COMING_AND_GOING / 2, || format!("{:?}", moment.kernel))
    });
    wait_until("the memory is what it was", || Memory::of(&bench).is_like(&before));
}

fn port(number: u64) -> u16 {
    number.try_into().expect("a port")
}

fn come_and_go(number: u64) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(number)));
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a TCP socket");
    let listener = socket();
    listener.set_reuse_address(true).expect("SO_REUSEADDR");
    // A process that another scenario starts at this moment has, until its exec(), the last listener as well.
    wait_until("the port is free", || listener.bind(&address.into()).map_err(|error| error.to_string()));
    listener.listen(1).expect("listen");
    let clients: Vec<Socket> = (0..CLIENTS_OF_EACH).map(|_| socket()).collect();
    for client in &clients {
        client.set_nonblocking(true).expect("non-blocking connect");
        // In progress, or connected at once.
        let _ = client.connect(&address.into());
    }
    drop(listener);
    drop(clients);
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
            && self.rows <= before.rows + COMING_AND_GOING / 20
            && self.resident <= before.resident + KEPT;
        ensure(like, || format!("before {before:?}, now {self:?}"))
    }
}
