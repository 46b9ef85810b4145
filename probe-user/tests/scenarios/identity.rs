//! Whose counts are whose: members of a group, connections that move, and those that are open before they are finished.
use std::net::SocketAddr;

use serde_json::Value;

use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::{
        kernel_counters::KernelCounters,
        sockets::{Client, IPV4, Listener},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const MEMBERS: usize = 4;
const CLIENTS: u64 = 60;

/// Listeners that share a port.
struct Group {
    address: SocketAddr,
    members: Vec<Listener>,
}

/// Each member of a group has counts of its own: nobody accepts, so what a member has established is
/// what is in its queue.
pub(crate) fn members_of_a_group_are_told_apart(setup: &Setup) {
    let bench = Bench::new(setup);
    let group = Group::open(&bench);
    let clients = group.connect(&bench);
    bench.compare("a group", |moment| {
        moment.expect(group.address, of_group(moment, moment.kernel.passive_opens))
    });
    wait_until("each member has its own part", || {
        let port = bench.port(group.address)?;
        let members = port.get("listeners").and_then(Value::as_array).ok_or("no listeners")?;
        ensure(members.len() == MEMBERS, || format!("{members:?}"))?;
        let established = |member: &Value| member.pointer("/handshakes/established").cloned();
        // Before 6.3 the tracepoint plan knows the port of a new connection, and not its listener.
        let apart = members.iter().any(|member| established(member) != Some(Value::Null));
        let right = |member: &Value| established(member).as_ref() == member.get("accept_queue_length");
        ensure(!(apart || bench.full()) || members.iter().all(right), || format!("{members:#?}"))
    });
    drop(clients);
}

/// A connection that moves to another listener as its own one is closed was established once.
pub(crate) fn connections_that_move_to_another_listener_are_counted_once(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.move_requests();
    close_one_of_a_group(&bench, true);
}

/// Without that, they are reset.
pub(crate) fn connections_that_cannot_move_are_reset_and_counted(setup: &Setup) {
    let bench = Bench::new(setup);
    close_one_of_a_group(&bench, false);
}

fn close_one_of_a_group(bench: &Bench, moves: bool) {
    let mut group = Group::open(bench);
    let clients = group.connect(bench);
    let address = group.address;
    let before = bench.kernel().passive_opens;
    drop(group.members.pop());
    let moved = bench.namespace.run(|| KernelCounters::named("TcpExt:TCPMigrateReqSuccess")).unwrap_or(0);
    ensure(moves || moved == 0, || format!("{moved} moved")).expect("no move");
    bench.compare("a listener less", |moment| {
        let established = moment.kernel.passive_opens;
        ensure(established == before, || format!("{established} established, {before} before"))?;
        // The tracepoint plan hears that there is a new connection, and not that it only has moved here.
        let seen = moment.port(address).established.unwrap_or_default();
        let counted_twice = if bench.full() { 0 } else { seen.saturating_sub(established).min(moved) };
        moment.expect(
            address,
            Expected { established: established + counted_twice, ..of_group(moment, established) },
        )?;
        let Some(reset) = moment.of_port(address, "closed_unaccepted_total") else {
            return ensure(!bench.full(), || "no closed_unaccepted".into());
        };
        // What is neither reset nor moved waits in the other queues still.
        let waiting = moment.port(address).queue_length.unwrap_or_default();
        let missing = established.checked_sub(waiting + reset);
        ensure(missing.is_some_and(|missing| missing <= moment.skipped.of_functions()), || {
            format!("{waiting} wait, {reset} reset of {established}")
        })
    });
    drop(clients);
}

impl Group {
    fn open(bench: &Bench) -> Self {
        let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), BACKLOG);
        let address = first.address;
        let others = (1..MEMBERS).map(|_| Listener::open_shared(&bench.namespace, address, BACKLOG));
        Self { address, members: std::iter::once(first).chain(others).collect() }
    }

    /// In turn, lest several SYNs come to the last place of a queue.
    fn connect(&self, bench: &Bench) -> Vec<Client> {
        let first = self.members.first().expect("a member");
        let connect = |number: u64| {
            let client = Client::connect(&bench.namespace, self.address);
            bench.wait_for("a SYN has arrived", |kernel| {
                kernel.listen_overflows + first.queue_length(&bench.namespace) >= number
            });
            client
        };
        (1..=CLIENTS).map(connect).collect()
    }
}

fn of_group(moment: &Moment, established: u64) -> Expected {
    Expected {
        syn_received: CLIENTS + moment.kernel.syn_retransmits,
        syn_queued: established,
        established,
        overflows_syn: moment.kernel.listen_overflows,
        ..Expected::default()
    }
}

/// A connection whose SYN carries data is in the accept queue before it was in any other.
pub(crate) fn fast_open_connections_are_established_by_their_syn(setup: &Setup) {
    const FAST: u64 = 4;
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 16);
    listener.take_fast_opens(&bench.namespace, 16);
    let clients: Vec<Client> = (0..FAST).map(|_| Client::idle(&bench.namespace, listener.address)).collect();
    clients.iter().for_each(Client::fast_open);
    bench.wait_for("they are open", |kernel| kernel.passive_opens >= FAST);
    bench.compare("connections that were opened fast", |moment| {
        let port = moment.port(listener.address);
        // Where tcp_v4_syn_recv_sock() has no hook of its own (6.1), its caller is not the one that counts last ACKs.
        let syns = if bench.full() { (Some(FAST), Some(0)) } else { (None, None) };
        let seen = ((port.syn_received, port.syn_queued), port.established, port.listen_drops);
        let missing = FAST - port.established.unwrap_or_default().min(FAST);
        let allowed = moment.skipped.of_connections(bench.full());
        let established = if missing <= allowed { port.established } else { Some(FAST) };
        ensure(seen == (syns, established, Some(0)), || format!("{port:?}"))?;
        ensure(moment.kernel.passive_opens == FAST, || format!("{:?}", moment.kernel))
    });
    drop(clients);
}
