//! The daemon as a process among others.
use nix::sys::signal::Signal;

use super::{
    Setup,
    bench::Bench,
    support::{
        sockets::{IPV4, Listener, connect_in_turn},
        wait::ensure,
    },
};

pub(crate) fn sigterm_and_sigint_are_the_ordinary_end(setup: &Setup) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = setup.start_daemon();
        let status = daemon.end_with(signal);
        assert_eq!(status.code(), Some(0), "{signal}: {status}\n{}", daemon.log().text());
    }
}

/// Neither takes the other's hooks away, nor counts what the other counts twice.
pub(crate) fn two_daemons_at_once(setup: &Setup) {
    let bench = Bench::new(setup);
    let other = setup.start_daemon();
    let listener = Listener::open(&bench.namespace, IPV4, 4);
    let clients = connect_in_turn(&bench.namespace, &listener, listener.address, 12);
    bench.wait_for("an overflow", |kernel| kernel.listen_overflows >= 7);
    bench.compare("what two daemons counted", |moment| {
        let ours = moment.port(listener.address);
        let theirs = other.scrape().port(bench.namespace.inode(), listener.address);
        for seen in [&ours, &theirs] {
            let counts = (seen.established, seen.listen_drops);
            let kernel = (Some(listener.capacity()), Some(moment.kernel.listen_drops));
            ensure(counts == kernel, || format!("{kernel:?} in the kernel, seen {seen:?}"))?;
            // What a plan without stages cannot charge with certainty it leaves out, never adds.
            let overflows = seen.overflows().unwrap_or_default();
            let refused = moment.kernel.listen_overflows;
            ensure(overflows <= refused, || format!("{refused} overflows, seen {seen:?}"))?;
        }
        Ok(())
    });
    drop(clients);
}
