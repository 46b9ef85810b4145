//! What is wrong is said where it is so, and not beside it.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    Setup,
    bench::Bench,
    load::healthy_seconds,
    support::{
        daemon::Daemon,
        half_open::HalfOpen,
        sockets::{Client, IPV4, Listener, connect_all, connect_in_turn},
        verdicts::{Verdicts, wait_for_verdict},
        wait::{ensure, pause_for, wait_until},
    },
};

const FEW: u64 = 4;
const CLIENTS: u64 = 12;
const SOMAXCONN: u32 = 8;

/// More clients than fit, each of which has sent its SYN.
fn overflow(bench: &Bench, listener: &Listener) -> Vec<Client> {
    let before = bench.kernel().listen_overflows;
    let clients = connect_all(&bench.namespace, listener.address, 2 * CLIENTS);
    bench.wait_for("an overflow", |kernel| kernel.listen_overflows > before);
    clients
}

/// Listens for whatever `listen()` makes of this.
fn asking(bench: &Bench, backlog: i32) -> Listener {
    Listener::open_asking(&bench.namespace, IPV4, backlog)
}

/// Asked for 10,000, got 8; then the sysctl is raised; then the program listens again.
pub(crate) fn a_clamp_is_told_and_then_that_it_takes_a_restart_and_then_nothing(setup: &Setup) {
    const CLAMPED: &str = "clamped_by_somaxconn";
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("core.somaxconn", SOMAXCONN);
    let listener = asking(&bench, 10_000);
    let verdicts = || bench.verdicts_on(listener.address);
    if bench.full() {
        let title = wait_for_verdict(CLAMPED, "notice", verdicts);
        assert_eq!(title, "asked for 10000, got 8: net.core.somaxconn");
    }
    let clients = overflow(&bench, &listener);
    let title = wait_for_verdict(CLAMPED, "losing", verdicts);
    let unseen = "got 8, which is net.core.somaxconn; what it asked for was not seen";
    assert_eq!(title, if bench.full() { "asked for 10000, got 8: net.core.somaxconn" } else { unseen });
    wait_for_verdict("limit_of_another_namespace", "notice", verdicts);

    bench.namespace.set_sysctl("core.somaxconn", 16_384);
    let rule = if bench.full() { "raised_not_applied" } else { "clamped_by_application" };
    wait_for_verdict(rule, "losing", verdicts);
    verdicts().lack(CLAMPED).expect("it is raised");

    drop(clients);
    while listener.accept_one() {}
    listener.listen_again(10_000);
    wait_until("nothing is wrong any more", || verdicts().are_none());
}

/// A small backlog is the program's own; its neighbour's is as small, and enough.
pub(crate) fn a_program_that_asks_for_too_little_is_told_from_one_that_does_not(setup: &Setup) {
    let bench = Bench::new(setup);
    let (listener, quiet) = (asking(&bench, 4), asking(&bench, 4));
    let _clients = overflow(&bench, &listener);
    let verdicts = || bench.verdicts_on(listener.address);
    let title = wait_for_verdict("clamped_by_application", "losing", verdicts);
    assert_eq!(title.starts_with("asked for 4 only"), bench.full(), "{title}");
    bench.verdicts_on(quiet.address).are_none().expect("silence");
}

/// Whoever asks for as much as there is has no clamp, and in peace nothing wrong at all.
pub(crate) fn a_burst_that_is_too_big_for_the_maximum_is_one(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("core.somaxconn", SOMAXCONN);
    let (listener, quiet) = (asking(&bench, -1), asking(&bench, -1));
    let _clients = overflow(&bench, &listener);
    let rule = if bench.full() { "burst_too_big" } else { "clamped_by_somaxconn" };
    wait_for_verdict(rule, "losing", || bench.verdicts_on(listener.address));
    bench.verdicts_on(quiet.address).are_none().expect("silence");
}

/// One accepts nothing, the other at once.
pub(crate) fn a_program_that_hangs_is_told_from_one_that_accepts(setup: &Setup) {
    let bench = Bench::new(setup);
    let (hanging, busy) = (asking(&bench, 4), asking(&bench, 64));
    // Without a hook on accept() only a queue that stays full is known to be the same one each time.
    let (waiting, severity) = if bench.full() { (FEW, "warning") } else { (CLIENTS, "losing") };
    let clients = connect_all(&bench.namespace, hanging.address, waiting);
    let verdicts = || bench.verdicts_on(hanging.address);
    wait_until("a program that hangs", || {
        let client = Client::connect(&bench.namespace, busy.address);
        drop(busy.accept());
        drop(client);
        verdicts().title("acceptor_stalled", severity).map(drop)
    });
    bench.verdicts_on(busy.address).lack("acceptor_stalled").expect("silence");
    drop(clients);
    while hanging.accept_one() {}
    wait_until("it has gone on", || verdicts().lack("acceptor_stalled"));
}

/// Those in the queue waited for long, while others were refused.
pub(crate) fn a_program_that_accepts_too_slowly_is_told(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = asking(&bench, 4);
    let _clients = overflow(&bench, &listener);
    pause_for(Duration::from_millis(1_200));
    (0..FEW).for_each(|_| drop(listener.accept()));
    let verdicts = || bench.verdicts_on(listener.address);
    wait_for_verdict("clamped_by_application", "losing", verdicts);
    if bench.full() {
        wait_for_verdict("acceptor_slow", "losing", verdicts);
    } else {
        verdicts().lack("acceptor_slow").expect("nobody knows");
    }
}

/// Nine of ten is near, eight is not.
pub(crate) fn a_queue_that_is_nearly_full_is_told_before_it_overflows(setup: &Setup) {
    let bench = Bench::new(setup);
    let (near, far) =
        (Listener::open(&bench.namespace, IPV4, 10), Listener::open(&bench.namespace, IPV4, 10));
    let clients = connect_in_turn(&bench.namespace, &near, near.address, 9);
    let others = connect_in_turn(&bench.namespace, &far, far.address, 8);
    wait_for_verdict("near_overflow", "warning", || bench.verdicts_on(near.address));
    let verdicts = bench.verdicts_on(far.address);
    verdicts.lack("near_overflow").expect("there is room");
    verdicts.nothing_is_lost().expect("nothing is lost");
    drop((clients, others));
}

/// Of four members one does not accept; in another group none does.
pub(crate) fn one_member_that_is_full_is_told_from_a_group_that_is(setup: &Setup) {
    const RULE: &str = "reuseport_imbalance";
    let bench = Bench::new(setup);
    let open = || {
        let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), 4);
        let address = first.address;
        let others = (1..4).map(|_| Listener::open_shared(&bench.namespace, address, 4));
        std::iter::once(first).chain(others).collect::<Vec<_>>()
    };
    let (uneven, even) = (open(), open());
    let address_of = |group: &[Listener]| group.first().expect("a member").address;
    let mut clients = fill_the_first(&bench, &uneven);
    let verdicts = || bench.verdicts_on(address_of(&uneven));
    if bench.full() {
        let title = wait_for_verdict(RULE, "losing", verdicts);
        assert_eq!(title, "1 of 4 listeners of the port overflow while 3 have room");
    }
    clients.extend(connect_all(&bench.namespace, address_of(&even), 100));
    let verdicts = || bench.verdicts_on(address_of(&even));
    wait_for_verdict("clamped_by_application", "losing", verdicts);
    // Looked at in the midst of it, some members are full already and others are not.
    wait_until("all are full", || verdicts().lack(RULE));
}

/// Connects until the first member has refused three, while the others accept each connection
/// before the next one comes: no two ever wait in one of their queues.
fn fill_the_first(bench: &Bench, group: &[Listener]) -> Vec<Client> {
    let (first, others) = group.split_first().expect("a member");
    let mut waiting = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let overflows = bench.kernel().listen_overflows;
        let length = first.queue_length(&bench.namespace);
        let client = Client::connect(&bench.namespace, first.address);
        let is_refused = wait_until("a connection in a queue, or refused", || {
            // Of the whole port: the others' queues are empty before.
            let now = first.queue_length(&bench.namespace);
            let is_refused = bench.kernel().listen_overflows > overflows;
            ensure(is_refused || now > length, || format!("{now} connections wait")).map(|()| is_refused)
        });
        refused += u32::from(is_refused);
        others.iter().for_each(|member| while member.accept_one() {});
        // Whoever is refused must not come again by itself.
        if !is_refused {
            waiting.push(client);
        }
    }
    waiting
}

/// A flood of SYNs meets a queue without cookies, then one with them.
pub(crate) fn a_syn_queue_that_is_full_is_told(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    network.set_sysctl("ipv4.tcp_syncookies", 0);
    let (_dropping, dropping) = network.listen((IPV4, 0).into(), 8);
    let (_quiet, quiet) = network.listen((IPV4, 0).into(), 8);
    network.client().spike(dropping, 30);
    let full = wait_until("SYNs are dropped", || {
        let verdicts = on(&daemon, &network, dropping);
        let full = verdicts.title("syn_queue_full", "losing").map(|_| true);
        full.or_else(|_| verdicts.title("packets_dropped", "losing").map(|_| false))
    });
    on(&daemon, &network, quiet).are_none().expect("silence");
    if full {
        network.set_sysctl("ipv4.tcp_syncookies", 1);
        let (_answering, answering) = network.listen((IPV4, 0).into(), 8);
        network.client().spike(answering, 30);
        wait_for_verdict("syn_queue_full", "warning", || on(&daemon, &network, answering));
    }
}

fn on(daemon: &Daemon, network: &HalfOpen, address: SocketAddr) -> Verdicts {
    Verdicts::on(daemon, network.inode(), address)
}

/// Clients whose answers never come, beside one that answers.
pub(crate) fn synacks_that_nobody_answers_are_told(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    let (_deaf, deaf) = network.listen((IPV4, 0).into(), 64);
    let (_well, well) = network.listen((IPV4, 0).into(), 64);
    network.client().syns(deaf, 25);
    network.client().establish(well, 5);
    wait_for_verdict("synacks_retransmitted", "warning", || on(&daemon, &network, deaf));
    on(&daemon, &network, well).lack("synacks_retransmitted").expect("silence");
}

/// A SYN to a broadcast address is dropped before any queue is looked at.
pub(crate) fn drops_for_no_queue_are_told(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    let (_listener, address) = network.listen((Ipv4Addr::UNSPECIFIED, 0).into(), 8);
    let broadcast = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255));
    network.client().spike(SocketAddr::new(broadcast, address.port()), 3);
    wait_until("drops", || {
        let verdicts = on(&daemon, &network, address);
        let title =
            verdicts.title("other_drops", "losing").or_else(|_| verdicts.title("packets_dropped", "losing"));
        title.map(drop)
    });
}

/// A setting that hurts is said as soon as somebody listens.
pub(crate) fn resets_on_overflow_are_told_where_somebody_listens(setup: &Setup) {
    const RULE: &str = "abort_on_overflow";
    let bench = Bench::new(setup);
    bench.namespace.set_sysctl("ipv4.tcp_abort_on_overflow", 1);
    let daemon = setup.shared_daemon();
    let there = || Verdicts::in_namespace(&daemon, bench.namespace.inode());
    there().lack(RULE).expect("nobody listens");
    let listener = asking(&bench, 4);
    wait_for_verdict(RULE, "notice", there);
    drop(listener);
    wait_until("nobody listens any more", || there().lack(RULE));
}

/// A thousand connections a second, each accepted at once: nothing to say, for as long as it goes on.
pub(crate) fn traffic_that_is_well_is_no_matter(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = asking(&bench, 128);
    let daemon = setup.shared_daemon();
    let nothing_to_say = || {
        Verdicts::in_namespace(&daemon, bench.namespace.inode()).are_none().expect("nothing to say");
    };
    let begun = Instant::now();
    for second in 1..=healthy_seconds() {
        for connection in 0..1_000_u64 {
            let client = Client::connect(&bench.namespace, listener.address);
            drop(listener.accept());
            client.reset();
            // A slow machine may lag behind.
            let due = Duration::from_secs(second - 1) + Duration::from_millis(connection);
            pause_for(due.saturating_sub(begun.elapsed()));
        }
        nothing_to_say();
    }
}
