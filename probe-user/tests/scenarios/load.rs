//! Many handshakes at once, at queues that overflow again and again: no count is lost.
use std::{
    env,
    fs::File,
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::SockRef;

use super::{
    Setup,
    bench::Bench,
    support::{
        kernel_counters::KernelCounters,
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

/// Four listeners share a port, and each is accepted from by a thread that pauses now and then, until a queue has
/// overflowed.
pub(crate) fn many_handshakes_of_several_listeners_with_pauses(setup: &Setup) {
    let bench = Bench::new(setup);
    let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), 64);
    let address = first.address;
    let others = (1..MEMBERS).map(|_| Listener::open_shared(&bench.namespace, address, 64));
    let group: Vec<Listener> = std::iter::once(first).chain(others).collect();

    let each = handshakes() / CLIENT_THREADS;
    let Done { accepted, pauses } = connect_and_accept(&bench.namespace.handle(), address, &group, each);

    bench.compare("many handshakes", |moment| {
        let port = moment.port(address);
        // Not PassiveOpens: a client that resets at once may overtake its own last ACK, on another processor even while a
        // child is made of it, which then comes into no queue.
        let waiting = group.first().expect("a member").queue_length(&bench.namespace);
        let queued = accepted + waiting;
        // One is enough for several that pause at once.
        let overflowed = pauses > 0 && moment.kernel.listen_overflows >= pauses.div_ceil(MEMBERS as u64);
        ensure(overflowed, || format!("{pauses} pauses, {:?}", moment.kernel))?;
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
        ensure(missing.is_some_and(|missing| missing <= allowed), || format!("{overflows} overflows"))?;
        let drops = port.listen_drops.unwrap_or_default() + moment.unattributed().drops;
        let missing = moment.kernel.listen_drops.checked_sub(drops);
        ensure(missing.is_some_and(|missing| missing <= allowed), || format!("{drops} drops"))
    });
}

/// What the threads that accept have done.
#[derive(Default)]
struct Done {
    accepted: u64,
    /// Pauses that lasted until a queue overflowed.
    pauses: u64,
}

/// So many connections of each client's thread, in turn.
fn connect_and_accept(namespace: &File, address: SocketAddr, group: &[Listener], each: u64) -> Done {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let accept = |(number, listener)| {
            let over = &over;
            scope.spawn(move || {
                enter(namespace);
                accept_with_pauses(listener, number, over)
            })
        };
        let servers: Vec<_> = (1..).zip(group).map(accept).collect();
        let clients: Vec<_> = (0..CLIENT_THREADS)
            .map(|_| scope.spawn(|| connect_again_and_again(namespace, address, each)))
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("a client"));
        over.store(true, Ordering::Relaxed);
        let servers = servers.into_iter().map(|server| server.join().expect("a server"));
        servers.fold(Done::default(), |sum, one| Done {
            accepted: sum.accepted + one.accepted,
            pauses: sum.pauses + one.pauses,
        })
    })
}

/// Pauses early once, and then at places that differ from listener to listener and are the same in every run.
fn accept_with_pauses(listener: &Listener, number: u64, over: &AtomicBool) -> Done {
    let mut done = Done::default();
    let (mut state, mut next) = (number, 50 * number);
    while !over.load(Ordering::Relaxed) {
        if !listener.accept_one() {
            thread::sleep(Duration::from_micros(50));
            continue;
        }
        done.accepted += 1;
        if done.accepted == next {
            done.pauses += u64::from(pause_until_overflow(over));
            // Knuth's generator: the next one after eight thousand connections or so.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number);
            next += 1 + (state >> 50);
        }
    }
    done
}

/// Whether a queue overflowed before there were no clients any more.
fn pause_until_overflow(over: &AtomicBool) -> bool {
    let overflows = || KernelCounters::of_this_thread().listen_overflows;
    let before = overflows();
    wait_until("a queue overflows", || {
        let ended = over.load(Ordering::Relaxed);
        let overflowed = overflows() > before;
        if overflowed || ended { Ok(overflowed) } else { Err("none has".to_owned()) }
    })
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
