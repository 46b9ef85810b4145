//! A healthy application: every connection is accepted, and nobody else is charged for it.
use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Expected,
    support::{
        namespace::Namespace,
        sockets::{Client, IPV4, Listener},
    },
};

const CONNECTIONS: u64 = 2_000;

pub(crate) fn two_thousand_connections_are_counted_one_by_one(setup: &Setup) {
    let elsewhere = Namespace::new();
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 128);
    let neighbour = Listener::open(&bench.namespace, IPV4, 128);
    // The same address and port in another namespace is another port.
    let namesake = Listener::open_at(&elsewhere, listener.address, 128);
    let expected = Expected {
        syn_received: CONNECTIONS,
        syn_queued: CONNECTIONS,
        established: CONNECTIONS,
        ..Expected::default()
    };

    for _ in 0..CONNECTIONS {
        let client = Client::connect(&bench.namespace, listener.address);
        drop(listener.accept());
        drop(client);
    }

    bench.compare("accepted connections", |moment: &Moment| {
        moment.expect(listener.address, expected)?;
        moment.expect(neighbour.address, Expected::default())?;
        let namesake_port = moment.metrics.port(elsewhere.inode(), namesake.address);
        Expected::default().compare(&namesake_port, bench.full(), moment.skipped, moment.unattributed())
    });
}
