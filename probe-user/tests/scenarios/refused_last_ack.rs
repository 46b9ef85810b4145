//! Handshakes that are lost at their end: the client believes to be connected, its last ACK meets
//! an accept queue that has filled in the meantime.
//!
//! `TCP_DEFER_ACCEPT` makes that happen at will: while it is set, bare last ACKs are left aside
//! and the handshake stays in the SYN queue until the client sends data.
use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::sockets::{Client, IPV4, Listener, connect_all},
};

const BACKLOG: u32 = 16;
const DEFERRED: u64 = 4;
/// Longer than the test: no SYN-ACK is sent again because of the deferral alone.
const DEFERRAL_SECONDS: u32 = 600;

pub(crate) fn last_acks_that_meet_a_full_accept_queue(setup: Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);

    listener.defer_accept(DEFERRAL_SECONDS);
    let deferred = connect_all(&bench.namespace, listener.address, DEFERRED);
    bench.wait_for("the deferred handshakes are in the SYN queue", |kernel| kernel.deferred_acks == DEFERRED);
    listener.defer_accept(0);
    let clients = connect_all(&bench.namespace, listener.address, listener.capacity());
    bench.wait_for("the accept queue is full", |kernel| kernel.passive_opens == listener.capacity());
    bench.compare("a full accept queue", |moment| check(moment, &listener, listener.capacity()));

    // The data finishes the handshakes, and is sent again (after 0.2 s, 0.4 s, 0.8 s ...) until
    // the listener has room for them.
    deferred.iter().for_each(Client::send_data);
    bench.wait_for("the last ACKs have arrived", |kernel| kernel.listen_overflows >= DEFERRED);
    bench.compare("refused last ACKs", |moment| check(moment, &listener, listener.capacity()));

    bench.wait_for("they are sent again", |kernel| kernel.listen_overflows >= 3 * DEFERRED);
    bench.compare("last ACKs that were sent again", |moment| check(moment, &listener, listener.capacity()));

    let accepted: Vec<_> = (0..DEFERRED).map(|_| listener.accept()).collect();
    let all = listener.capacity() + DEFERRED;
    bench.wait_for("there is room for the late handshakes", |kernel| kernel.passive_opens == all);
    bench.compare("late handshakes", |moment| check(moment, &listener, all));
    drop((accepted, clients, deferred));
}

fn check(moment: &Moment, listener: &Listener, established: u64) -> Result<(), String> {
    let expected = Expected {
        syn_received: listener.capacity() + DEFERRED,
        syn_queued: listener.capacity() + DEFERRED,
        established,
        // Every client is connected: what is sent again are SYN-ACKs.
        synack_retransmits: moment.kernel.syn_retransmits,
        overflows_ack: moment.kernel.listen_overflows,
        ..Expected::default()
    };
    moment.expect(listener.address, expected)
}
