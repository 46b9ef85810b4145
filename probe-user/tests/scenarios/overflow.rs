//! An application that does not accept: its queue fills, and further SYNs are dropped.
use std::net::IpAddr;

use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::{
        sockets::{ANY_IPV6, IPV4, IPV6, Listener, MAPPED_IPV4, connect_in_turn},
        wait::ensure,
    },
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;

pub(crate) fn an_ipv4_listener_that_overflows(setup: &Setup) {
    overflow(setup, IPV4, IPV4);
}

pub(crate) fn an_ipv6_listener_that_overflows(setup: &Setup) {
    overflow(setup, IPV6, IPV6);
}

/// IPv4 handshakes of a listener on `::` pass through the functions of both protocols.
pub(crate) fn a_dual_stack_listener_that_overflows_is_counted_once(setup: &Setup) {
    overflow(setup, ANY_IPV6, IPV4);
}

/// The socket is one for IPv6, its address one of IPv4: so the port is shown.
pub(crate) fn a_listener_at_a_mapped_address_that_overflows(setup: &Setup) {
    overflow(setup, MAPPED_IPV4, IPV4);
}

fn overflow(setup: &Setup, bound_to: IpAddr, connected_to: IpAddr) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, bound_to, BACKLOG);
    let mut target = listener.address;
    target.set_ip(connected_to);
    let check = |moment: &Moment| {
        // Nothing but SYNs is sent again: each of the clients that were refused tries anew.
        let expected = Expected {
            syn_received: CLIENTS + moment.kernel.syn_retransmits,
            syn_queued: listener.capacity(),
            established: listener.capacity(),
            overflows_syn: moment.kernel.listen_overflows,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)?;
        moment.expect_queue(listener.address, listener.capacity(), BACKLOG)?;
        only_series_of_the_port(moment, &bench, &listener)
    };

    let _clients = connect_in_turn(&bench.namespace, &listener, target, CLIENTS);
    let refused = CLIENTS - listener.capacity();
    bench.wait_for("every SYN has arrived", |kernel| kernel.listen_overflows >= refused);
    bench.compare("an overflow", check);

    bench.wait_for("SYNs are sent again", |kernel| kernel.listen_overflows >= 2 * refused);
    bench.compare("an overflow, and SYNs that were sent again", check);
}

/// The port is known by the listener's address and by no other.
fn only_series_of_the_port(moment: &Moment, bench: &Bench, listener: &Listener) -> Result<(), String> {
    let address = listener.address;
    let seen = moment.metrics.addresses_of_port(bench.namespace.inode(), address.port());
    ensure(seen == [address.ip().to_string()], || format!("series of port {}: {seen:?}", address.port()))
}
