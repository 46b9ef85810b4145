//! Counts belong to the port, not to the socket that listens there at the moment.
use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::{
        namespace::Namespace,
        sockets::{IPV4, Listener, connect_all, connect_in_turn},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const CLIENTS: u64 = 12;

pub(crate) fn counts_outlive_a_listener(setup: &Setup) {
    let bench = Bench::alone(setup);
    let first = Listener::open_at(&bench.namespace, (IPV4, 8080).into(), BACKLOG);
    close_and_reopen(&bench, first, BACKLOG);
}

/// A socket forgets a port that the kernel chose for it a moment earlier than one of its owner's
/// choice: before the kernel says that it is closed (`tcp_set_state()` of net/ipv4/tcp.c).
pub(crate) fn counts_outlive_a_listener_on_a_port_of_the_kernels_choice(setup: &Setup) {
    let bench = Bench::alone(setup);
    let first = Listener::open(&bench.namespace, IPV4, BACKLOG);
    close_and_reopen(&bench, first, BACKLOG);
}

/// The new limit is the port's, and its totals go on.
pub(crate) fn counts_go_on_where_a_port_is_opened_again_with_another_backlog(setup: &Setup) {
    for backlog in [BACKLOG - 2, BACKLOG + 3] {
        let bench = Bench::new(setup);
        let first = Listener::open_at(&bench.namespace, (IPV4, 8080).into(), BACKLOG);
        close_and_reopen(&bench, first, backlog);
    }
}

fn close_and_reopen(bench: &Bench, first: Listener, second_backlog: u32) {
    let (address, fit) = (first.address, first.capacity());
    let expected = |listeners: u64, established: u64, moment: &Moment| Expected {
        syn_received: listeners * CLIENTS + moment.kernel.syn_retransmits,
        syn_queued: established,
        established,
        overflows_syn: moment.kernel.listen_overflows,
        ..Expected::default()
    };

    // Nobody looks between the overflow and the end of the listener.
    let clients = connect_in_turn(&bench.namespace, &first, address, CLIENTS);
    let refused = CLIENTS - fit;
    bench.wait_for("the first overflow", |kernel| kernel.listen_overflows >= refused);
    drop(clients);
    drop(first);
    bench.compare("a listener that is closed", |moment| {
        moment.expect(address, expected(1, fit, moment))?;
        let listeners = moment.port(address).listeners;
        ensure(listeners.unwrap_or_default() == 0, || format!("{listeners:?} listeners"))
    });

    let before = bench.kernel().listen_overflows;
    let second = Listener::open_at(&bench.namespace, address, second_backlog);
    let refused = CLIENTS - second.capacity();
    let clients = connect_in_turn(&bench.namespace, &second, address, CLIENTS);
    bench.wait_for("the second overflow", |kernel| kernel.listen_overflows >= before + refused);
    bench.compare("a second listener on the port", |moment| {
        moment.expect(address, expected(2, fit + second.capacity(), moment))?;
        moment.expect_queue(address, second.capacity(), second_backlog)
    });
    drop(clients);
}

pub(crate) fn a_listener_that_is_older_than_the_daemon(setup: &Setup) {
    let namespace = Namespace::new();
    let listener = Listener::open(&namespace, IPV4, BACKLOG);
    let clients = connect_in_turn(&namespace, &listener, listener.address, CLIENTS);
    let refused = CLIENTS - listener.capacity();
    wait_until("an overflow before the daemon", || {
        let kernel = namespace.counters();
        ensure(kernel.listen_overflows >= refused, || format!("{kernel:?}"))
    });
    // Else they would send their SYNs again while the daemon starts.
    drop(clients);

    let bench = Bench::around(namespace, setup);
    bench.compare("known since it started, and at 0", |moment| {
        moment.expect(listener.address, Expected::default())?;
        moment.expect_queue(listener.address, listener.capacity(), BACKLOG)
    });

    // The queue is full already: not one of them fits.
    let clients = connect_all(&bench.namespace, listener.address, CLIENTS);
    bench.wait_for("an overflow under the daemon", |kernel| kernel.listen_overflows >= CLIENTS);
    bench.compare("the overflow under the daemon alone", |moment| {
        let expected = Expected {
            syn_received: CLIENTS + moment.kernel.syn_retransmits,
            overflows_syn: moment.kernel.listen_overflows,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)
    });
    drop(clients);
}
