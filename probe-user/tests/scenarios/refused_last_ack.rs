//! Handshakes that are lost at their end: the client believes to be connected, its last ACK meets
//! an accept queue that has filled in the meantime.
//!
//! `TCP_DEFER_ACCEPT` makes that happen at will: bare last ACKs are left aside and the handshake
//! stays in the SYN queue until the client sends data.
use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::sockets::{Client, IPV4, Listener, connect_all},
};

const BACKLOG: u32 = 16;
const LATE: u64 = 4;
/// Longer than the test: no SYN-ACK is sent again because of the deferral alone.
const DEFERRAL_SECONDS: u32 = 600;

pub(crate) fn last_acks_that_meet_a_full_accept_queue(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);
    listener.defer_accept(DEFERRAL_SECONDS);

    let late = connect_all(&bench.namespace, listener.address, LATE);
    bench.wait_for("the late handshakes are in the SYN queue", |kernel| kernel.deferred_acks == LATE);
    let early: Vec<Client> =
        (1..=listener.capacity()).map(|number| establish(&bench, &listener, number)).collect();
    bench.compare("a full accept queue", |moment| check(moment, &listener, listener.capacity()));

    // The data finishes the handshakes, and is sent again (after 0.2 s, 0.4 s, 0.8 s ...) until
    // the listener has room for them.
    late.iter().for_each(Client::send_data);
    bench.wait_for("the last ACKs have arrived", |kernel| kernel.listen_overflows >= LATE);
    bench.compare("refused last ACKs", |moment| check(moment, &listener, listener.capacity()));

    bench.wait_for("they are sent again", |kernel| kernel.listen_overflows >= 3 * LATE);
    bench.compare("last ACKs that were sent again", |moment| check(moment, &listener, listener.capacity()));

    let accepted: Vec<_> = (0..LATE).map(|_| listener.accept()).collect();
    let all = listener.capacity() + LATE;
    bench.wait_for("there is room for the late handshakes", |kernel| kernel.passive_opens == all);
    bench.compare("late handshakes", |moment| check(moment, &listener, all));
    drop((accepted, early, late));
}

/// The `number`th client whose handshake is finished by its data at once.
fn establish(bench: &Bench, listener: &Listener, number: u64) -> Client {
    let client = Client::connect(&bench.namespace, listener.address);
    client.send_data();
    bench.wait_for("its connection is in the accept queue", |_| {
        listener.queue_length(&bench.namespace) >= number
    });
    client
}

fn check(moment: &Moment, listener: &Listener, established: u64) -> Result<(), String> {
    let expected = Expected {
        syn_received: listener.capacity() + LATE,
        syn_queued: listener.capacity() + LATE,
        established,
        // Every client is connected: what is sent again are SYN-ACKs.
        synack_retransmits: moment.kernel.syn_retransmits,
        overflows_ack: moment.kernel.listen_overflows,
        ..Expected::default()
    };
    moment.expect(listener.address, expected)
}
