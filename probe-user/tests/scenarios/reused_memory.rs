//! What the kernel gives to a new network namespace has belonged to another one.
use std::thread;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::scenarios::{
    Setup,
    bench::Bench,
    expected::Expected,
    support::{
        sockets::{Client, IPV4, Listener},
        wait::ensure,
    },
};

const BACKLOG: u32 = 4;
/// Of namespaces, one after the other: enough that some have the memory of the one before.
const DEATHS: u32 = 8;

/// A new namespace's counters mostly lie where those of a dead one did: its first packet raises one of them to what it was
/// there. Nothing else may make or end a namespace meanwhile.
pub(crate) fn a_namespace_in_the_memory_of_a_dead_one(setup: &Setup) {
    let mut bench = Bench::new(setup);
    answer_one_syn_by_a_cookie(&bench);
    for _ in 0..DEATHS {
        bench = bench.move_to_namesake();
        answer_one_syn_by_a_cookie(&bench);
    }
}

fn answer_one_syn_by_a_cookie(bench: &Bench) {
    bench.namespace.set_sysctl("ipv4.tcp_syncookies", 2);
    let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let client = Client::idle(&bench.namespace, listener.address);
    let client = on_one_cpu(move || {
        client.send_syn();
        client
    });
    bench.wait_for("a cookie has come back", |kernel| kernel.cookies_received == 1);
    bench.compare("the first packet is answered by a cookie", |moment| {
        let expected = Expected { syn_received: 1, established: 1, ..Expected::default() };
        moment.expect(listener.address, expected)?;
        let sent = moment.of_port(listener.address, "syncookies_sent_total");
        ensure(sent == bench.full().then_some(1), || format!("cookies sent: {sent:?}"))
    });
    // First: the client has nothing to end then, and its namespace can go at once.
    drop(listener);
    drop(client);
}

/// Every time on the same: counters are kept for each. What is sent on the loopback interface is received there as well.
fn on_one_cpu<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let pinned = move || {
        let this_thread = Pid::from_raw(0);
        let allowed = sched_getaffinity(this_thread).expect("the thread's CPUs");
        let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true)).expect("a CPU");
        let mut one = CpuSet::new();
        one.set(first).expect("a CPU of the set");
        sched_setaffinity(this_thread, &one).expect("a CPU for the thread");
        job()
    };
    thread::spawn(pinned).join().expect("a thread on one CPU")
}
