//! How full accept queues get, and how long connections wait in them.
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::{
    Setup,
    bench::Bench,
    support::{
        daemon::Daemon,
        namespace::Namespace,
        sockets::{ANY_IPV6, Client, IPV4, IPV6, Listener, connect_all, connect_in_turn, idle_clients},
        wait::{ensure, pause_for, wait_until},
    },
};

/// Whether the plan sees a listener's queue when a connection comes: without `sock:sk_data_ready` (before
/// 6.3) the tracepoint plan does not.
fn sees_queues(bench: &Bench) -> bool {
    let metrics = bench.scrape();
    let state_changes = [("hook", "established"), ("variant", "tracepoint")];
    let by_tracepoint = metrics.sum("tcp_backlog_hook_info", &state_changes).is_some();
    let peaks = !metrics.values("tcp_backlog_accept_queue_peak", &[]).is_empty();
    assert!(peaks || by_tracepoint, "no peaks under a plan with functions");
    peaks
}

/// Nanoseconds of the clock that the windows are aligned to.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock");
    let seconds = u64::try_from(now.tv_sec()).expect("a time after the start");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).expect("less than a second")
}

fn second() -> u64 {
    monotonic() / 1_000_000_000
}

/// The peak of a window, told in the window after it.
fn peak_told_in(bench: &Bench, address: SocketAddr, window: u64, number: u64) -> Option<Option<u64>> {
    let (netns, port) = (bench.namespace.inode().to_string(), address.port().to_string());
    let name = format!("{window}s");
    let labels = [("netns", netns.as_str()), ("port", port.as_str()), ("window", name.as_str())];
    let before = second() / window;
    let peak = bench.scrape().value("tcp_backlog_accept_queue_peak", &labels);
    // Else nobody knows which window the answer is of.
    (before == number + 1 && second() / window == before).then_some(peak)
}

/// Nine connections come and three of them go within a second, so that six are there at most; they are
/// gone before anybody looks.
fn burst_of_six(bench: &Bench, listener: &Listener) -> Option<u64> {
    let begun = second();
    let (first, then) = (5, 4);
    let clients = connect_in_turn(&bench.namespace, listener, listener.address, first);
    (0..3).for_each(|_| drop(listener.accept()));
    let more = connect_in_turn(&bench.namespace, listener, listener.address, then);
    (0..6).for_each(|_| drop(listener.accept()));
    let within = second() == begun;
    drop((clients, more));
    within.then_some(begun)
}

/// Each window tells of the burst when it is over, and as long as the next one lasts.
pub(crate) fn a_burst_between_two_scrapes_is_seen_at_its_full_height(setup: &Setup) {
    const HEIGHT: u64 = 6;
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 64);
    let sources = bench.scrape();
    let sources = sources.label_values("tcp_backlog_accept_queue_source_info", "source");
    assert_eq!(sources, [if sees_queues(&bench) { "events" } else { "polled" }]);
    if !sees_queues(&bench) {
        let peaks = bench.scrape().values("tcp_backlog_accept_queue_highest", &[]);
        assert!(peaks.is_empty(), "peaks that nothing tells: {peaks:?}");
        return;
    }
    let told = |window: u64, of_second: u64| {
        let next = of_second / window * window + window;
        wait_until("the window is over", || ensure(second() >= next, || format!("it is {}", second())));
        peak_told_in(&bench, listener.address, window, of_second / window)
    };
    // A slow machine may need several attempts to be quick enough.
    let burst = wait_until("a burst that is told of in the second after it", || {
        let burst = burst_of_six(&bench, &listener).ok_or("not within one second")?;
        match told(1, burst) {
            Some(peak) => {
                assert_eq!(peak, Some(HEIGHT), "in the second after the burst");
                Ok(burst)
            }
            None => Err("the scrape was not within one second".to_owned()),
        }
    });
    for window in [15, 60] {
        // A scrape over the end of a window says nothing; all bursts are of the same height.
        let peak = (0..5).find_map(|_| told(window, burst)).expect("a scrape within the next window");
        assert_eq!(peak, Some(HEIGHT), "in the {window} seconds after");
    }
    bench.compare("the highest of all", |moment| {
        let highest = moment.of_port(listener.address, "accept_queue_highest");
        ensure(highest == Some(HEIGHT), || format!("{highest:?}"))
    });
}

/// One field of a port, from the JSON snapshot.
fn of_port(bench: &Bench, address: SocketAddr, field: &str) -> Result<Value, String> {
    let port = bench.port(address)?;
    port.get(field).cloned().ok_or_else(|| format!("no {field}"))
}

fn counts(histogram: &Value) -> Vec<u64> {
    let counts = histogram.get("counts").and_then(Value::as_array);
    counts.into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn sum(histogram: &Value) -> f64 {
    histogram.get("sum").and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Eleven connections fill a queue of ten, tenth by tenth.
pub(crate) fn every_connection_is_in_the_histogram_of_fills(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 10);
    let clients = connect_in_turn(&bench.namespace, &listener, listener.address, listener.capacity());
    let seen = sees_queues(&bench);
    wait_until("the fills", || {
        let fill = of_port(&bench, listener.address, "accept_queue_fill")?;
        // Up to 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1, and above.
        let expected = if seen { vec![0, 1, 1, 3, 2, 2, 1, 1] } else { vec![] };
        let right = counts(&fill) == expected && (!seen || (sum(&fill) - 6.6).abs() < 1e-4);
        ensure(right, || format!("{fill}"))
    });
    drop(clients);
}

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

/// Connections in queues at a time, more than there is room for.
const AT_ONCE: u64 = 100;
const ROOM: &str = "64";
const ROUNDS: u64 = 20;

/// Whose wait is not known is counted as lost, and no other's is wrong for it.
pub(crate) fn more_connections_wait_than_there_is_room_for(setup: &Setup) {
    let namespace = Namespace::new();
    let arguments = ["--plan", setup.plan, "--accounting", setup.accounting];
    let daemon = Daemon::start(&[&arguments[..], &["--accept-wait-connections", ROOM]].concat());
    let listener = Listener::open(&namespace, (Ipv4Addr::LOCALHOST).into(), 128);
    let port = listener.address.port().to_string();
    let netns = namespace.inode().to_string();
    let labels = [("netns", netns.as_str()), ("port", port.as_str())];
    let maps = || daemon.scrape().value("tcp_backlog_maps_memory_bytes", &[]);
    let before = maps();
    for _ in 0..ROUNDS {
        let clients = connect_all(&namespace, listener.address, AT_ONCE);
        (0..AT_ONCE).for_each(|_| drop(listener.accept()));
        drop(clients);
    }
    wait_until("every connection is accounted for", || {
        let metrics = daemon.scrape();
        let lost = metrics.value("tcp_backlog_lost_events_total", &[("reason", "accept_wait_map_full")]);
        let accepted = metrics.value("tcp_backlog_accepted_total", &labels);
        let measured = metrics.value("tcp_backlog_accept_wait_seconds_count", &labels);
        let Some(accepted) = accepted else {
            return ensure(measured.is_none() && lost == Some(0), || format!("{measured:?}, {lost:?}"));
        };
        let (lost, measured) = (lost.unwrap_or_default(), measured.unwrap_or_default());
        let seen = || format!("{accepted} accepted, {measured} measured, {lost} lost");
        ensure(measured + lost >= ROUNDS * AT_ONCE && measured <= accepted && lost > ROUNDS, seen)?;
        // A kprobe knows an accepted connection only by its entry.
        let all = [measured, ROUNDS * AT_ONCE];
        ensure(all.contains(&accepted), seen)
    });
    assert_eq!(maps(), before, "kernel memory of the maps");
}

/// Requests whose last ACK is left aside pile up in the SYN queue.
pub(crate) fn the_highest_syn_queue_is_told(setup: &Setup) {
    const REQUESTS: u64 = 5;
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, 16);
    listener.defer_accept(60);
    let clients = connect_all(&bench.namespace, listener.address, REQUESTS);
    wait_until("the SYN queue's peak", || {
        let peaks = of_port(&bench, listener.address, "syn_queue_peaks")?;
        let expected = if bench.full() { Some(&Value::from(REQUESTS)) } else { None };
        ensure(peaks.get("highest") == expected, || format!("{peaks}"))
    });
    drop(clients);
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
    /// For clients and servers, with data in SYNs that bring no cookie.
    const FAST_OPEN_WITHOUT_COOKIES: u32 = 1 | 2 | 4 | 0x200;
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

    namespace.set_sysctl("ipv4.tcp_fastopen", FAST_OPEN_WITHOUT_COOKIES);
    let listener = Listener::open(namespace, IPV4, 16);
    listener.take_fast_opens(16);
    let clients = idle_clients(namespace, listener.address, CLIENTS);
    clients.iter().for_each(Client::fast_open);
    check(listener, clients, "Fast Open");

    if let Some(listener) = Listener::open_multipath(namespace, IPV4, 16) {
        let clients = connect_all(namespace, listener.address, CLIENTS);
        check(listener, clients, "TCP to a multipath listener");
    }
    if let Some(listener) = Listener::open_multipath(namespace, IPV4, 16) {
        let clients = (0..CLIENTS).map(|_| Client::connect_multipath(namespace, listener.address));
        let clients = clients.collect();
        check(listener, clients, "multipath TCP");
    }

    // Cookies for every SYN.
    namespace.set_sysctl("ipv4.tcp_syncookies", 2);
    let listener = Listener::open(namespace, IPV4, 16);
    let clients = connect_all(namespace, listener.address, CLIENTS);
    check(listener, clients, "SYN cookies");
}

/// Connections that move to another listener have waited all the time, and are accepted there.
pub(crate) fn connections_that_move_keep_their_wait(setup: &Setup) {
    const CLIENTS: u64 = 12;
    let bench = Bench::new(setup);
    if !bench.namespace.has_sysctl("ipv4.tcp_migrate_req") {
        return;
    }
    bench.namespace.set_sysctl("ipv4.tcp_migrate_req", 1);
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

/// Twenty-five times what fits comes within a second; beside it a port that is left in peace.
pub(crate) fn a_spike_recommends_what_it_would_have_needed(setup: &Setup) {
    const SPIKE: u64 = 300;
    const BACKLOG: u32 = 11;
    /// 300 and a quarter more are 375.
    const RECOMMENDED: u64 = 512;
    let bench = Bench::new(setup);
    let quiet = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let spike = || {
        let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);
        let begun = Instant::now();
        let clients = connect_all(&bench.namespace, listener.address, SPIKE);
        // Those refused within a second of the first one wanted a place at once.
        let quick = begun.elapsed() < Duration::from_millis(900);
        quick.then_some((listener, clients)).ok_or_else(|| "not within a second".to_owned())
    };
    let (listener, clients) = wait_until("a spike within a second", spike);
    wait_until("a recommendation", || {
        let recommended = |address| of_port(&bench, address, "backlog_recommended");
        let (after_spike, in_peace) = (recommended(listener.address)?, recommended(quiet.address)?);
        let expected = if bench.full() { Value::from(RECOMMENDED) } else { Value::Null };
        ensure(after_spike == expected && in_peace.is_null(), || format!("{after_spike}, {in_peace}"))
    });
    drop(clients);
}
