//! Handshakes whose listener is closed before their last ACK: with `net.ipv4.tcp_migrate_req` another member of its group
//! takes them over.
use std::net::SocketAddr;

use serde_json::Value;
use tcp_backlog_probe::prove::HandshakeId;

use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::{
        kernel_counters::KernelCounters,
        raw_client::RawClient,
        sockets::{IPV4, Listener},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 8;
const ORPHANS: u64 = 3;

/// Handshakes that are half open at a listener which is closed, and the one that is left of its group.
struct Orphans {
    client: RawClient,
    handshakes: Vec<HandshakeId>,
    heir: Listener,
}

impl Orphans {
    fn new(bench: &Bench) -> Self {
        bench.namespace.move_requests();
        let mut client = RawClient::open(&bench.namespace);
        let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), BACKLOG);
        // All at the first one, which is alone.
        let handshakes = client.syns(first.address, ORPHANS);
        let heir = Listener::open_shared(&bench.namespace, first.address, BACKLOG);
        drop(first);
        Self { client, handshakes, heir }
    }

    fn address(&self) -> SocketAddr {
        self.heir.address
    }

    fn last_acks(&mut self) {
        self.client.last_acks(&self.handshakes);
    }

    fn again(&mut self) {
        self.client.data(&self.handshakes);
    }
}

/// The port's numbers when so many of all handshakes are finished.
fn expected(moment: &Moment, begun: u64, established: u64) -> Expected {
    Expected {
        syn_received: begun,
        syn_queued: begun,
        established,
        overflows_ack: moment.kernel.listen_overflows,
        // No client of the kernel's sends anything.
        synack_retransmits: moment.kernel.syn_retransmits,
        ..Expected::default()
    }
}

/// The heir's own part of one of the port's numbers, where sockets are told apart.
fn of_heir(bench: &Bench, address: SocketAddr, field: &str, expected: u64) {
    if !bench.full() {
        return;
    }
    wait_until("the heir's own part", || {
        let port = bench.port(address)?;
        let members = port.get("listeners").and_then(Value::as_array).map(Vec::len);
        let seen = port.pointer(&format!("/listeners/0/handshakes/{field}")).and_then(Value::as_u64);
        ensure(members == Some(1) && seen == Some(expected), || {
            format!("{field} is {seen:?}, not {expected}, of {members:?} listeners")
        })
    });
}

/// `tcp_check_req()` is asked on behalf of the heir.
pub(crate) fn a_half_open_handshake_is_finished_by_another_member(setup: &Setup) {
    let bench = Bench::new(setup);
    let mut orphans = Orphans::new(&bench);
    orphans.last_acks();
    bench.wait_for("they are finished", |kernel| kernel.passive_opens == ORPHANS);
    bench.compare("handshakes that moved", |moment| {
        moment.expect(orphans.address(), expected(moment, ORPHANS, ORPHANS))?;
        moment.expect_queue(orphans.address(), ORPHANS, BACKLOG)?;
        moment.expect_refused(orphans.address(), 0)
    });
    of_heir(&bench, orphans.address(), "established", ORPHANS);
}

/// The same in a timer: the request is in the heir's queue from then on, and has not expired.
pub(crate) fn a_half_open_handshake_moves_when_its_synack_is_sent_again(setup: &Setup) {
    let bench = Bench::new(setup);
    let mut orphans = Orphans::new(&bench);
    wait_until("all requests have moved", || {
        let moved = bench.namespace.run(|| KernelCounters::named("TcpExt:TCPMigrateReqSuccess"));
        ensure(moved == Some(ORPHANS), || format!("{moved:?} have moved"))
    });
    orphans.last_acks();
    bench.wait_for("they are finished", |kernel| kernel.passive_opens == ORPHANS);
    bench.compare("requests that moved", |moment| {
        ensure(moment.kernel.syn_retransmits >= ORPHANS, || format!("{:?}", moment.kernel))?;
        moment.expect(orphans.address(), expected(moment, ORPHANS, ORPHANS))?;
        let expired = moment.of_port(orphans.address(), "requests_expired_total");
        ensure(expired == bench.full().then_some(0), || format!("{expired:?} have expired"))
    });
    of_heir(&bench, orphans.address(), "established", ORPHANS);
}

/// The heir's queue is full, so the heir refuses them, until it has room.
pub(crate) fn a_half_open_handshake_is_refused_by_another_member(setup: &Setup) {
    let bench = Bench::new(setup);
    let mut orphans = Orphans::new(&bench);
    let (address, fit) = (orphans.address(), orphans.heir.capacity());
    (0..fit).for_each(|_| orphans.client.establish(address, 1));
    bench.wait_for("the heir's queue is full", |kernel| kernel.passive_opens == fit);
    orphans.last_acks();
    orphans.again();
    bench.wait_for("every last ACK is refused", |kernel| kernel.listen_overflows >= 2 * ORPHANS);
    bench.compare("refused by the heir", |moment| {
        moment.expect(address, expected(moment, fit + ORPHANS, fit))?;
        moment.expect_refused(address, ORPHANS)
    });
    of_heir(&bench, address, "last_ack_refused/accept_queue_full", 2 * ORPHANS);

    let accepted: Vec<_> = (0..ORPHANS).map(|_| orphans.heir.accept()).collect();
    orphans.again();
    bench.wait_for("the heir takes them", |kernel| kernel.passive_opens == fit + ORPHANS);
    bench.compare("taken by the heir", |moment| {
        moment.expect(address, expected(moment, fit + ORPHANS, fit + ORPHANS))?;
        moment.expect_refused(address, ORPHANS)
    });
    drop(accepted);
}
