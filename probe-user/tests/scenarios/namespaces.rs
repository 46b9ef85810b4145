//! Network namespaces come and go while the daemon runs, as containers do.
use serde_json::Value;

use super::{
    Setup,
    bench::{Bench, tells_namespaces_apart},
    expected::Expected,
    support::{
        sockets::{IPV4, Listener, connect_in_turn},
        trials::lacks,
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const PORT: u16 = 8080;

pub(crate) fn a_namespace_that_is_younger_than_the_daemon(setup: &Setup) {
    let bench = Bench::alone(setup).move_to_unknown();
    overflow_between_two_scrapes(&bench, 12, Expected::default());
}

/// The kernel gives a new namespace the lowest inode number that is free: soon a dead one's, as
/// when a container is started again. Its port is the dead one's port then, and goes on counting:
/// nothing that the dead one counted may hide, or be charged again.
///
/// Where the kernel tells no cookie, and no hook is on its functions, a new namespace is known by counters that went
/// back: less is refused in it than was in the dead one. Elsewhere more is.
pub(crate) fn a_namespace_with_the_inode_number_of_a_dead_one(setup: &Setup) {
    let bench = Bench::alone(setup);
    let dead = overflow_between_two_scrapes(&bench, 12, Expected::default());
    let bench = bench.move_to_namesake();
    let clients = if tells_namespaces_apart() { 20 } else { 8 };
    overflow_between_two_scrapes(&bench, clients, dead);
}

/// Its ports keep their totals, and are closed: nobody is told to cure what is not there any more.
pub(crate) fn what_was_lost_in_a_namespace_that_has_ended_is_over(setup: &Setup) {
    let bench = Bench::new(setup);
    if bench.snapshot().pointer("/model/host/namespaces_not_found").is_none_or(Value::is_null) {
        lacks("a look at the network namespace of every process");
    }
    let (netns, address) = (bench.namespace.inode(), (IPV4, PORT).into());
    overflow_between_two_scrapes(&bench, 12, Expected::default());
    let lost = bench.scrape().port(netns, address).listen_drops;
    let bench = bench.move_to_unknown();
    wait_until("its port is closed", || {
        let port = bench.scrape().port(netns, address);
        ensure(port.listeners == Some(0) && port.listen_drops == lost, || format!("{lost:?}, {port:?}"))?;
        bench.verdicts_in(netns).are_none()
    });
}

/// The namespace, or its listener, may not be known to the daemon before the overflow is over.
/// Returns what the port has counted by then, with what it had counted `before`.
fn overflow_between_two_scrapes(bench: &Bench, clients: u64, before: Expected) -> Expected {
    let listener = Listener::open_at(&bench.namespace, (IPV4, PORT).into(), BACKLOG);
    let connections = connect_in_turn(&bench.namespace, &listener, listener.address, clients);
    let refused = clients - listener.capacity();
    bench.wait_for("an overflow", |kernel| kernel.listen_overflows >= refused);
    // Nothing is sent again: what is counted now stays.
    drop(connections);
    let kernel = bench.kernel();
    let expected = Expected {
        syn_received: before.syn_received + clients + kernel.syn_retransmits,
        syn_queued: before.syn_queued + listener.capacity(),
        established: before.established + listener.capacity(),
        overflows_syn: before.overflows_syn + kernel.listen_overflows,
        ..Expected::default()
    };
    bench.compare("an overflow in a namespace that was not known", |moment| {
        moment.expect(listener.address, expected)?;
        moment.expect_queue(listener.address, listener.capacity(), BACKLOG)
    });
    expected
}
