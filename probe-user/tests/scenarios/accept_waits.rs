//! How long connections wait in accept queues, one by one.
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, setrlimit};
use serde_json::Value;

use super::{
    Setup,
    bench::Bench,
    load::handshakes,
    queues::{counts, of_port, sum},
    support::{
        daemon::Daemon,
        namespace::Namespace,
        sockets::{ANY_IPV6, Client, IPV4, IPV6, Listener, connect_all, connect_in_turn, idle_clients},
        wait::{ensure, pause_for, wait_until},
    },
};

/// The times between which a connection waited.
struct Wait {
    least: Duration,
    most: Duration,
}

/// Connects, lets the connection wait in the queue for about so long, and accepts it.
fn let_wait(bench: &Bench, listener: &Listener, about: Duration) -> Wait {
    let before = Instant::now();
    let client = connect_in_turn(&bench.namespace, listener, listener.address, 1);
    let queued = Instant::now();
    pause_for(about);
    let until = Instant::now();
    drop(listener.accept());
    let wait = Wait { least: until - queued, most: before.elapsed() };
    drop(client);
    wait
}

/// What a histogram may hold, if the waits were between these times.
fn check_waits(histogram: &Value, waits: &[Wait]) -> Result<(), String> {
    let seen = counts(histogram);
    ensure(seen.iter().sum::<u64>() == waits.len() as u64, || format!("{histogram}"))?;
    let bounds = histogram.get("upper_bounds").and_then(Value::as_array).ok_or("no bounds")?;
    let mut below = 0;
    for (bound, count) in bounds.iter().filter_map(Value::as_f64).zip(&seen) {
        below += count;
        let within = |time: &dyn Fn(&Wait) -> Duration| {
            waits.iter().filter(|wait| time(wait).as_secs_f64() <= bound).count() as u64
        };
        let possible = within(&|wait| wait.most)..=within(&|wait| wait.least);
        ensure(possible.contains(&below), || format!("{below} of {possible:?} up to {bound} s"))?;
    }
    let total = |time: &dyn Fn(&Wait) -> Duration| waits.iter().map(|wait| time(wait).as_secs_f64()).sum();
    let possible: (f64, f64) = (total(&|wait| wait.least), total(&|wait| wait.most));
    ensure((possible.0..=possible.1).contains(&sum(histogram)), || {
        format!("{} s, not between {possible:?}", sum(histogram))
    })
}

/// Connections that wait for a while each, and some that never come to be accepted.
pub(crate) fn waits_are_measured_connection_by_connection(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 64);
    let waits = [2, 24, 90, 300, 24]
        .map(|milliseconds| let_wait(&bench, &listener, Duration::from_millis(milliseconds)));
    // These are reset by their clients while they wait, and accepted all the same.
    let begun = Instant::now();
    let gone = connect_in_turn(&bench.namespace, &listener, listener.address, 2);
    let queued = Instant::now();
    gone.into_iter().for_each(Client::reset);
    let least = queued.elapsed();
    (0..2).for_each(|_| drop(listener.accept()));
    let most = begun.elapsed();
    let reset = (0..2).map(|_| Wait { least, most });
    let waits: Vec<Wait> = waits.into_iter().chain(reset).collect();
    // These are reset with their listener.
    let left = connect_in_turn(&bench.namespace, &listener, listener.address, 3);
    let address = listener.address;
    drop(listener);
    // And this one comes to its successor.
    let reopened = Listener::open_at(&bench.namespace, address, 64);
    let last = let_wait(&bench, &reopened, Duration::from_millis(5));
    let waits: Vec<Wait> = waits.into_iter().chain([last]).collect();

    wait_until("the waits", || {
        let wait = of_port(&bench, address, "accept_wait")?;
        let accepted = of_port(&bench, address, "accepted")?;
        if !bench.full() {
            return ensure(wait.is_null() && accepted.is_null(), || format!("{wait} {accepted}"));
        }
        ensure(accepted == waits.len(), || format!("{accepted} accepted"))?;
        let process = of_port(&bench, address, "accepted_by")?;
        ensure(process == std::process::id(), || format!("accepted by {process}"))?;
        check_waits(&wait, &waits)
    });
    drop(left);
}

/// More connections wait at a time than there is room for, again and again.
struct Crowd {
    at_once: u64,
    room: u64,
    rounds: u64,
}

impl Crowd {
    /// A million and more connections, if so many are asked for; it takes half an hour on an emulated machine.
    fn new() -> Self {
        const MANY: u64 = 1_000_000;
        const AT_ONCE: u64 = 4_500;
        let handshakes = handshakes();
        if handshakes < MANY {
            return Self { at_once: 100, room: 64, rounds: 20 };
        }
        // A client and its connection are a descriptor each.
        setrlimit(Resource::RLIMIT_NOFILE, 4 * AT_ONCE, 4 * AT_ONCE).expect("more descriptors");
        Self { at_once: AT_ONCE, room: 4_096, rounds: handshakes.div_ceil(AT_ONCE) }
    }
}

/// A kprobe knows an accepted connection only by its entry.
fn all_are_known_or_lost((accepted, measured, lost): (u64, u64, u64), all: u64) -> bool {
    measured <= accepted && [measured, all].contains(&accepted) && measured + lost >= all
}

/// Whose wait is not known is counted as lost, and no other's is wrong for it. Where connections tell themselves since when
/// they have waited, all are known.
pub(crate) fn more_connections_wait_than_there_is_room_for(setup: &Setup) {
    let Crowd { at_once, room, rounds } = Crowd::new();
    let all = rounds * at_once;
    let namespace = Namespace::new();
    namespace.set_sysctl("core.somaxconn", 8_192);
    let room = room.to_string();
    let arguments = ["--plan", setup.plan, "--accounting", setup.accounting];
    let daemon = Daemon::start(&[&arguments[..], &["--accept-wait-connections", &room]].concat());
    let listener = Listener::open(&namespace, (Ipv4Addr::LOCALHOST).into(), 8_192);
    let port = listener.address.port().to_string();
    let netns = namespace.inode().to_string();
    let labels = [("netns", netns.as_str()), ("port", port.as_str())];
    let maps = || daemon.scrape().value("tcp_backlog_maps_memory_bytes", &[]);
    let before = maps();
    let begun = Instant::now();
    for _ in 0..rounds {
        let clients = connect_all(&namespace, listener.address, at_once);
        (0..at_once).for_each(|_| drop(listener.accept()));
        drop(clients);
    }
    let longest = begun.elapsed();
    wait_until("every connection is accounted for", || {
        let metrics = daemon.scrape();
        let lost = metrics.value("tcp_backlog_lost_events_total", &[("reason", "accept_wait_map_full")]);
        let accepted = metrics.value("tcp_backlog_accepted_total", &labels);
        let measured = metrics.value("tcp_backlog_accept_wait_seconds_count", &labels);
        let Some(accepted) = accepted else {
            return ensure(measured.is_none() && lost == Some(0), || format!("{measured:?}, {lost:?}"));
        };
        let (lost, measured) = (lost.unwrap_or_default(), measured.unwrap_or_default());
        let told = (accepted, measured, lost);
        let some_are_lost = all_are_known_or_lost(told, all) && lost > rounds;
        let is_right = if setup.plan == "kprobe" { some_are_lost } else { told == (all, all, 0) };
        ensure(is_right, || format!("{accepted} accepted, {measured} measured, {lost} lost"))?;
        let waited = metrics.values("tcp_backlog_accept_wait_seconds_sum", &labels);
        #[expect(clippy::cast_precision_loss, reason = "a rough limit")]
        let most = longest.as_secs_f64() * at_once as f64;
        ensure(waited.iter().all(|waited| (0.0..most).contains(waited)), || format!("{waited:?} seconds"))
    });
    assert_eq!(maps(), before, "kernel memory of the maps");
}

/// Accepts so many connections, each of which was in the queue and left it.
fn accept_all(bench: &Bench, listeners: &[Listener], count: u64, kind: &str) {
    let address = listeners.first().expect("a listener").address;
    let mut left = count;
    wait_until("every connection is accepted", || {
        left -= listeners.iter().filter(|listener| listener.accept_one()).count() as u64;
        ensure(left == 0, || format!("{kind}: {left} of {count} are left"))
    });
    wait_until("every connection is accounted for", || {
        let (accepted, wait) =
            (of_port(bench, address, "accepted")?, of_port(bench, address, "accept_wait")?);
        if !bench.full() {
            return ensure(accepted.is_null(), || format!("{kind}: {accepted}"));
        }
        let measured: u64 = counts(&wait).iter().sum();
        ensure(accepted == count && measured == count, || {
            format!("{kind}: {accepted} accepted and {measured} measured of {count}")
        })
    });
}

/// Connections come to the queue on several ways through the kernel, and leave it on one.
pub(crate) fn connections_of_every_kind_are_accepted(setup: &Setup) {
    const CLIENTS: u64 = 5;
    let bench = Bench::new(setup);
    let namespace = &bench.namespace;
    let check = |listener: Listener, clients: Vec<Client>, kind: &str| {
        accept_all(&bench, &[listener], CLIENTS, kind);
        drop(clients);
    };
    let listener = Listener::open(namespace, IPV6, 16);
    let clients = connect_all(namespace, listener.address, CLIENTS);
    check(listener, clients, "IPv6");

    let listener = Listener::open(namespace, ANY_IPV6, 16);
    let address = SocketAddr::new(IPV4, listener.address.port());
    let clients = connect_all(namespace, address, CLIENTS);
    check(listener, clients, "IPv4 to a dual-stack listener");

    let listener = Listener::open(namespace, IPV4, 16);
    listener.take_fast_opens(namespace, 16);
    let clients = idle_clients(namespace, listener.address, CLIENTS);
    clients.iter().for_each(Client::fast_open);
    check(listener, clients, "Fast Open");

    // Cookies for every SYN.
    namespace.set_sysctl("ipv4.tcp_syncookies", 2);
    let listener = Listener::open(namespace, IPV4, 16);
    let clients = connect_all(namespace, listener.address, CLIENTS);
    check(listener, clients, "SYN cookies");
}

/// By ordinary TCP, and by Multipath TCP itself: what accept() gives then is not what was in the queue.
pub(crate) fn connections_to_a_multipath_listener_are_accepted(setup: &Setup) {
    const CLIENTS: u64 = 5;
    let bench = Bench::new(setup);
    let namespace = &bench.namespace;
    let listener = Listener::open_multipath(namespace, IPV4, 16);
    let clients = connect_all(namespace, listener.address, CLIENTS);
    accept_all(&bench, &[listener], CLIENTS, "TCP");
    drop(clients);
    let listener = Listener::open_multipath(namespace, IPV4, 16);
    let connect = |_| Client::connect_multipath(namespace, listener.address);
    let clients: Vec<Client> = (0..CLIENTS).map(connect).collect();
    accept_all(&bench, &[listener], CLIENTS, "Multipath TCP");
    drop(clients);
}

/// Connections that move to another listener have waited all the time, and are accepted there.
pub(crate) fn connections_that_move_keep_their_wait(setup: &Setup) {
    const CLIENTS: u64 = 12;
    let bench = Bench::new(setup);
    bench.namespace.move_requests();
    let first = Listener::open_shared(&bench.namespace, (IPV4, 0).into(), 16);
    let second = Listener::open_shared(&bench.namespace, first.address, 16);
    let begun = Instant::now();
    let clients = connect_all(&bench.namespace, first.address, CLIENTS);
    bench.wait_for("all are in the queues", |kernel| kernel.passive_opens == CLIENTS);
    pause_for(Duration::from_millis(50));
    let least = Duration::from_millis(50);
    let address = first.address;
    drop(first);
    // Those that could not move were reset: some kernels have the setting and move requests only.
    let left = second.queue_length(&bench.namespace);
    accept_all(&bench, &[second], left, "moved or not");
    let most = begun.elapsed();
    if bench.full() {
        let wait = of_port(&bench, address, "accept_wait").expect("the port");
        let waits: Vec<Wait> = (0..left).map(|_| Wait { least, most }).collect();
        check_waits(&wait, &waits).expect("their waits");
    }
    drop(clients);
}
