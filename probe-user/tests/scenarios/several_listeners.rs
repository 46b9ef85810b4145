//! Overflows of several listeners at once, from several processors.
use std::{sync::Barrier, thread};

use super::{
    Setup,
    bench::Bench,
    expected::Expected,
    support::{
        sockets::{Client, IPV4, Listener, idle_clients},
        wait::ensure,
    },
};

/// Threads per port, and clients per thread.
const THREADS: usize = 2;
const CLIENTS: u64 = 40;

pub(crate) fn two_ports_that_overflow_at_once(setup: &Setup) {
    let bench = Bench::new(setup);
    let listeners = [4, 16].map(|backlog| Listener::open(&bench.namespace, IPV4, backlog));

    let clients = connect_at_once(&bench, &listeners);
    let sent = THREADS as u64 * CLIENTS;
    bench.compare("two overflows at once", |moment| {
        let numbers = listeners.each_ref().map(|listener| moment.port(listener.address));
        if bench.full() {
            let syns = numbers.iter().filter_map(|port| port.syn_received).sum::<u64>();
            let expected = 2 * sent + moment.client_syn_retransmits(&numbers);
            ensure(syns == expected, || format!("{syns} SYNs received, {expected} sent"))?;
        }
        let unattributed = moment.unattributed().overflows;
        numbers.iter().try_for_each(|port| {
            // Nobody accepts: what is established is in the queue, every other client was refused
            // at least once. The sum over both is the kernel's, so neither can have too many.
            let established = port.established.unwrap_or_default();
            let overflows = port.overflows().unwrap_or_default();
            ensure(port.queue_length == Some(established), || format!("not in the queue: {port:?}"))?;
            ensure(overflows + unattributed >= sent - established, || {
                format!("{sent} clients, {unattributed} unattributed overflows, {port:?}")
            })
        })
    });
    drop(clients);
}

/// Threads that send all their SYNs at the same time, half of them to each listener.
fn connect_at_once(bench: &Bench, listeners: &[Listener]) -> Vec<Client> {
    let start = Barrier::new(THREADS * listeners.len());
    let burst = |clients: Vec<Client>| {
        start.wait();
        clients.iter().for_each(Client::send_syn);
        clients
    };
    thread::scope(|scope| {
        let threads: Vec<_> = listeners
            .iter()
            .cycle()
            .take(THREADS * listeners.len())
            .map(|listener| idle_clients(&bench.namespace, listener.address, CLIENTS))
            .map(|clients| scope.spawn(|| burst(clients)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a burst")).collect()
    })
}

/// Each has a queue of its own; the port is charged for all of them.
pub(crate) fn four_listeners_that_share_a_port(setup: &Setup) {
    const SHARED_CLIENTS: u64 = 100;
    let bench = Bench::new(setup);
    let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), 4);
    let address = first.address;
    let _others = [(); 3].map(|()| Listener::open_shared(&bench.namespace, address, 4));

    let connect = |number: u64| {
        let client = Client::connect(&bench.namespace, address);
        // In turn, lest several SYNs come to the last place of a queue.
        bench.wait_for("a SYN has arrived", |kernel| {
            kernel.listen_overflows + first.queue_length(&bench.namespace) >= number
        });
        client
    };
    let clients: Vec<Client> = (1..=SHARED_CLIENTS).map(connect).collect();
    bench.compare("overflows of a shared port", |moment| {
        // Which of the queues a client is put into is the kernel's choice, so the kernel knows
        // how many of them are full.
        let established = moment.kernel.passive_opens;
        let expected = Expected {
            syn_received: SHARED_CLIENTS + moment.kernel.syn_retransmits,
            syn_queued: established,
            established,
            overflows_syn: moment.kernel.listen_overflows,
            ..Expected::default()
        };
        moment.expect(address, expected)?;
        let port = moment.port(address);
        ensure(port.listeners == Some(4) && port.queue_length == Some(established), || {
            format!("not four listeners with {established} connections: {port:?}")
        })
    });
    drop(clients);
}
