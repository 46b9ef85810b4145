//! A listener of Multipath TCP is a TCP listener below, where its queues are.
use std::net::{IpAddr, Ipv4Addr};

use super::{
    Setup,
    bench::Bench,
    expected::Expected,
    support::{
        kernel_counters::KernelCounters,
        multipath::join_from,
        raw_client::RawClient,
        sockets::{Client, IPV4, IPV6, Listener, connect_in_turn},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 60;

pub(crate) fn a_multipath_listener_that_overflows(setup: &Setup) {
    overflow(setup, IPV4);
}

/// By functions of its own (`subflow_v6_conn_request()`).
pub(crate) fn a_multipath_listener_that_overflows_by_ipv6(setup: &Setup) {
    overflow(setup, IPV6);
}

fn overflow(setup: &Setup, address: IpAddr) {
    let bench = Bench::new(setup);
    let listener = Listener::open_multipath(&bench.namespace, address, BACKLOG);
    let clients = connect_in_turn(&bench.namespace, &listener, listener.address, CLIENTS);
    let refused = CLIENTS - listener.capacity();
    bench.wait_for("an overflow", |kernel| kernel.listen_overflows >= refused);
    bench.compare("an overflow of a multipath listener", |moment| {
        let expected = Expected {
            syn_received: CLIENTS + moment.kernel.syn_retransmits,
            syn_queued: listener.capacity(),
            established: listener.capacity(),
            overflows_syn: moment.kernel.listen_overflows,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)
    });
    drop(clients);
}

pub(crate) fn last_acks_that_meet_a_full_multipath_listener(setup: &Setup) {
    refuse_last_acks(setup, IPV4);
}

pub(crate) fn last_acks_that_meet_a_full_multipath_listener_by_ipv6(setup: &Setup) {
    refuse_last_acks(setup, IPV6);
}

/// `subflow_syn_recv_sock()` asks the function of the version of IP for a child, and gets none.
fn refuse_last_acks(setup: &Setup, address: IpAddr) {
    const LATE: u64 = 3;
    let bench = Bench::new(setup);
    let listener = Listener::open_multipath(&bench.namespace, address, 16);
    let mut client = RawClient::open(&bench.namespace);
    let late = client.syns(listener.address, LATE);
    let fit = listener.capacity();
    (0..fit).for_each(|_| client.establish(listener.address, 1));
    bench.wait_for("the accept queue is full", |kernel| kernel.passive_opens == fit);
    // The same connections a second time.
    client.last_acks(&late);
    client.data(&late);
    bench.wait_for("every last ACK is refused", |kernel| kernel.listen_overflows >= 2 * LATE);
    bench.compare("last ACKs at a full multipath listener", |moment| {
        let expected = Expected {
            syn_received: fit + LATE,
            syn_queued: fit + LATE,
            established: fit,
            overflows_ack: 2 * LATE,
            // No client of the kernel's sends anything.
            synack_retransmits: moment.kernel.syn_retransmits,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)?;
        moment.expect_refused(listener.address, LATE)
    });
    client.reset(&late);
}

/// The second subflow of a connection makes a handshake with the listener, and nobody accepts it.
pub(crate) fn subflows_that_join_a_connection_come_into_no_queue(setup: &Setup) {
    const CONNECTIONS: u64 = 3;
    let bench = Bench::new(setup);
    let listener = Listener::open_multipath(&bench.namespace, IPV4, 16);
    join_from(&bench.namespace, Ipv4Addr::new(127, 0, 0, 2));
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let client = Client::connect_multipath(&bench.namespace, listener.address);
            let accepted = listener.accept();
            // The path manager waits for the first acknowledgement of data.
            client.send_byte();
            (client, accepted)
        })
        .collect();
    // Not of each: the path manager tries once, and a machine that was held up may have missed that.
    let count = |counter| bench.namespace.run(move || KernelCounters::named(counter)).unwrap_or(0);
    let joined = || count("MPTcpExt:MPJoinAckRx");
    wait_until("a second subflow", || ensure(joined() > 0, || "none has joined".to_owned()));
    bench.compare("subflows that joined", |moment| {
        if !bench.full() {
            return Ok(());
        }
        let port = moment.port(listener.address);
        let allowed = moment.skipped.of_functions();
        let is = |seen: Option<u64>, wanted: u64| {
            seen.is_some_and(|seen| (wanted - allowed.min(wanted)..=wanted).contains(&seen))
        };
        // A subflow that comes too early or too late for its connection gets a socket all the same, and a reset
        // (`subflow_syn_recv_sock()`): it has made a handshake, and has not joined.
        let (begun, finished) = (CONNECTIONS + count("MPTcpExt:MPJoinSynRx"), moment.kernel.passive_opens);
        let again = moment.client_syn_retransmits(&[port]);
        let right = is(port.syn_received, begun + again)
            && is(port.syn_queued, begun)
            && is(port.last_ack_received, finished)
            && is(port.established, CONNECTIONS);
        ensure(right, || format!("{port:?} of {begun} handshakes, {finished} of them finished"))
    });
    drop(connections);
}
