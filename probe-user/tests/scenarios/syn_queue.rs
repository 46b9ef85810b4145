//! A full SYN queue is not a full accept queue: its drops must not be taken for overflows.
//!
//! `TCP_DEFER_ACCEPT` keeps handshakes in the SYN queue for as long as is wanted, although their
//! clients have answered: a flood of half-open handshakes without raw sockets.
use super::{
    Setup,
    bench::Bench,
    expected::Expected,
    support::{
        kernel_counters::KernelCounters,
        sockets::{Client, IPV4, Listener, connect_all, connect_in_turn},
        wait::ensure,
    },
};

const BACKLOG: u32 = 8;
const CLIENTS: u64 = 12;
/// Longer than the test: no SYN-ACK is sent again.
const DEFERRAL_SECONDS: u32 = 600;

/// Without SYN cookies the SYN is dropped.
pub(crate) fn syns_that_a_full_syn_queue_drops_are_no_overflows(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("ipv4.tcp_syncookies", 0);
    let (listener, clients) = fill_the_syn_queue(&bench, BACKLOG);
    bench.wait_for("the SYN queue is full", |kernel| kernel.syn_queue_full_drops > 0);
    compare_drops(&bench, &listener, "syn_queue_full");
    drop(clients);
}

/// Without SYN cookies the last quarter of `tcp_max_syn_backlog` is kept for clients that were
/// here before: a drop that the kernel counts nowhere but in `ListenDrops`.
pub(crate) fn syns_that_the_syn_queue_keeps_for_known_peers_are_no_overflows(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("ipv4.tcp_syncookies", 0);
    bench.namespace.set_sysctl("ipv4.tcp_max_syn_backlog", 8);
    let (listener, clients) = fill_the_syn_queue(&bench, 64);
    bench.wait_for("the first three quarters are full", |kernel| kernel.listen_drops > 0);
    compare_drops(&bench, &listener, "syn_backlog_reserve");
    drop(clients);
}

/// With SYN cookies nothing is lost: such handshakes end in the accept queue without having been
/// in the SYN queue, until that is full as well.
pub(crate) fn cookies_of_a_full_syn_queue_are_no_drops(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("ipv4.tcp_syncookies", 1);
    let (listener, clients) = fill_the_syn_queue(&bench, BACKLOG);
    bench.wait_for("cookies are used", |kernel| kernel.deferred_acks + kernel.passive_opens >= CLIENTS);
    bench.compare("SYN cookies", |moment| {
        let expected = with_cookies(&moment.kernel, CLIENTS);
        ensure(expected.overflows_syn == 0, || format!("{expected:?}"))?;
        moment.expect(listener.address, expected)
    });

    let more = connect_in_turn(&bench.namespace, &listener, listener.address, CLIENTS);
    bench.wait_for("the accept queue is full", |kernel| kernel.listen_overflows > 0);
    bench.compare("SYN cookies and a full accept queue", |moment| {
        moment.expect(listener.address, with_cookies(&moment.kernel, 2 * CLIENTS))?;
        moment.expect_queue(listener.address, listener.capacity(), BACKLOG)
    });
    drop((clients, more));
}

fn fill_the_syn_queue(bench: &Bench, backlog: u32) -> (Listener, Vec<Client>) {
    let listener = Listener::open(&bench.namespace, IPV4, backlog);
    listener.defer_accept(DEFERRAL_SECONDS);
    let clients = connect_all(&bench.namespace, listener.address, CLIENTS);
    bench.wait_for("every SYN has arrived", |kernel| {
        kernel.deferred_acks + kernel.listen_drops + kernel.syn_queue_full_cookies >= CLIENTS
    });
    (listener, clients)
}

/// Everything that is dropped is dropped for this cause.
fn compare_drops(bench: &Bench, listener: &Listener, cause: &str) {
    bench.compare("drops by a full SYN queue", |moment| {
        let kernel = moment.kernel;
        ensure(kernel.listen_overflows == 0, || "this is another scenario".into())?;
        let expected = Expected {
            syn_received: CLIENTS + kernel.syn_retransmits,
            // How many fit differs from kernel to kernel: the backlog, or one more.
            syn_queued: kernel.deferred_acks,
            other_drops: kernel.listen_drops,
            ..Expected::default()
        };
        moment.expect(listener.address, expected)?;
        let seen = moment.of_cause(listener.address, "syn_dropped_total", cause);
        let missing = kernel.listen_drops.checked_sub(seen.unwrap_or_default());
        let allowed = if bench.full() { moment.skipped.of_functions() } else { kernel.listen_drops };
        ensure(seen.is_some() == bench.full() && missing.is_some_and(|missing| missing <= allowed), || {
            format!("{seen:?} dropped for {cause}, the kernel has {kernel:?}")
        })
    });
}

/// What is expected of `sent` clients, by the kernel's own count of cookies.
fn with_cookies(kernel: &KernelCounters, sent: u64) -> Expected {
    Expected {
        syn_received: sent + kernel.syn_retransmits,
        syn_queued: kernel.deferred_acks,
        established: kernel.cookies_received,
        overflows_syn: kernel.listen_overflows,
        ..Expected::default()
    }
}
