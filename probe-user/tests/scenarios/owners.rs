//! The name of the process that a port belongs to, beside its totals.
use std::fs;

use super::{
    Setup,
    bench::Bench,
    support::{
        sockets::{IPV4, Listener, connect_in_turn},
        wait::{ensure, wait_until},
    },
};

/// The totals go on when a server is restarted, under the same name.
pub(crate) fn a_port_that_closes_keeps_its_name_and_its_totals(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 4);
    let own_name = fs::read_to_string("/proc/self/comm").expect("this process's name");
    let own_name = own_name.trim_end();
    let clients = connect_in_turn(&bench.namespace, &listener, listener.address, 3);
    let (netns, port) = (bench.namespace.inode().to_string(), listener.address.port().to_string());
    let labels = [("netns", netns.as_str()), ("port", port.as_str())];
    let established = |open: u64| {
        let metrics = bench.scrape();
        let seen = (
            metrics.label("tcp_backlog_established_total", &labels, "process"),
            metrics.value("tcp_backlog_established_total", &labels),
            metrics.value("tcp_backlog_listeners", &labels),
        );
        let expected = (Some(own_name), Some(3), Some(open));
        ensure(seen == expected, || format!("{seen:?}, expected {expected:?}"))
    };
    wait_until("an open port has its owner's name", || established(1));
    drop(listener);
    wait_until("a closed port has its last owner's name", || established(0));
    drop(clients);
}
