//! Half-open handshakes whose SYN-ACK has to be sent again.
use super::{
    Setup,
    bench::Bench,
    expected::Expected,
    support::sockets::{IPV4, Listener, connect_all},
};

const CLIENTS: u64 = 4;
/// The kernel rounds it up to one SYN-ACK more, about a second after the first.
const DEFERRAL_SECONDS: u32 = 1;

/// `TCP_DEFER_ACCEPT` leaves the bare last ACKs aside until its time is over: then the SYN-ACK
/// is sent again, and the client's answer to that is taken.
pub(crate) fn every_synack_that_is_sent_again(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 16);
    listener.defer_accept(DEFERRAL_SECONDS);

    let clients = connect_all(&bench.namespace, listener.address, CLIENTS);
    bench.wait_for("the deferral is over", |kernel| {
        kernel.passive_opens == CLIENTS && kernel.syn_retransmits >= CLIENTS
    });
    bench.compare("SYN-ACKs that were sent again", |moment| {
        let expected = Expected {
            syn_received: CLIENTS,
            syn_queued: CLIENTS,
            established: CLIENTS,
            // Every client was answered, so none of them sent its SYN again.
            synack_retransmits: moment.kernel.syn_retransmits,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)
    });
    drop(clients);
}
