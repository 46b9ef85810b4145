//! How full queues get.
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::{
    Setup,
    bench::Bench,
    support::{
        half_open::HalfOpen,
        metrics::Metrics,
        sockets::{IPV4, Listener, connect_all, connect_in_turn},
        wait::{ensure, wait_until},
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
pub(super) fn of_port(bench: &Bench, address: SocketAddr, field: &str) -> Result<Value, String> {
    let port = bench.port(address)?;
    port.get(field).cloned().ok_or_else(|| format!("no {field}"))
}

pub(super) fn counts(histogram: &Value) -> Vec<u64> {
    let counts = histogram.get("counts").and_then(Value::as_array);
    counts.into_iter().flatten().filter_map(Value::as_u64).collect()
}

pub(super) fn sum(histogram: &Value) -> f64 {
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

/// Three thousand connections come to a queue for 128 within a second; beside it a port that is left in peace.
pub(crate) fn a_spike_recommends_what_it_would_have_needed(setup: &Setup) {
    const SPIKE: u64 = 3_000;
    const CAPACITY: u64 = 129;
    /// Less than what the SYN queue takes before it sends cookies.
    const AT_ONCE: u64 = 43;
    /// 3,000 and a quarter more are 3,750.
    const RECOMMENDED: u64 = 4_096;
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    let (_quiet, in_peace) = network.listen((IPV4, 0).into(), 128);
    let spike = || {
        let (listener, address) = network.listen((IPV4, 0).into(), 128);
        (0..CAPACITY / AT_ONCE).for_each(|_| network.client().establish(address, AT_ONCE));
        let begun = Instant::now();
        let refused = network.client().spike(address, SPIKE - CAPACITY);
        // Those refused within a second of the first one wanted a place at once.
        let quick = begun.elapsed() < Duration::from_millis(900);
        quick.then_some((listener, address, refused)).ok_or_else(|| "not within a second".to_owned())
    };
    let (_listener, address, refused) = wait_until("a spike within a second", spike);
    let refused_before = refused_on_the_host(&daemon.scrape());
    wait_until("a recommendation", || {
        let metrics = daemon.scrape();
        let of = |address, name: &str| metrics.of_port(network.inode(), address, name);
        let recommended = |address| of(address, "backlog_recommended");
        let exact = of(address, "connections_refused_total").is_some();
        let seen = (recommended(address), recommended(in_peace));
        ensure(seen == (exact.then_some(RECOMMENDED), None), || format!("{seen:?}"))
    });
    // However often they try, they stay the same connections.
    for _ in 0..3 {
        network.client().again(&refused);
    }
    wait_until("every connection once, every packet", || {
        let metrics = daemon.scrape();
        let of = |name: &str| metrics.of_port(network.inode(), address, name);
        let (connections, drops) = (of("connections_refused_total"), of("listen_drops_total"));
        let once = refused.len() as u64;
        let others =
            refused_before.zip(refused_on_the_host(&metrics)).map_or(0, |(before, now)| now - before);
        let right = connections.is_none_or(|count| (once..=once + told_twice(once, others)).contains(&count));
        ensure(right && drops == Some(4 * once), || {
            format!("{connections:?} connections and {drops:?} packets, not {once} and {}", 4 * once)
        })
    });
}

/// What all listeners of the host refused until now, where that is known.
fn refused_on_the_host(metrics: &Metrics) -> Option<u64> {
    metrics.sum("tcp_backlog_connections_refused_total", &[])
}

/// How many of `once` connections may be taken for new when they come again: eight later ones with the same lowest
/// bits make one be forgotten, and other scenarios may have refused thousands meanwhile.
const fn told_twice(once: u64, others: u64) -> u64 {
    if others < 1_000 { 0 } else { once / 50 }
}
