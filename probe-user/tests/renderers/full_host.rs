//! A host on which everything is measured that can be, with as many ports as are wanted: what it costs Prometheus.
use probe_common::{
    accept_queue::{FILL_BOUNDS, WAIT_BOUNDS, wait_bound},
    loss::Loss,
};
use tcp_backlog_probe::{
    metrics::catalogue::CATALOGUE,
    model::{Backlog, Histogram, Model, Port, QueueCounts, Queues, Softnet, series::Series},
    plan::{self, outcome::HookOutcome},
};

use super::{check_golden, exposition_of, models, parsed};

/// What a host with 20 ports may cost at the daemon's default settings.
const SERIES_LIMIT: usize = 1_500;
const CPUS: u32 = 8;

/// Reasons of lost events that are none of the BPF programs'.
const OTHER_LOSSES: [&str; 3] = ["program_skipped", "demand_forgotten", "episode_not_recorded"];

/// What there is for other plans only.
const OF_OTHER_PLANS: [&str; 2] =
    ["tcp_backlog_netns_unattributed_overflows_total", "tcp_backlog_netns_unattributed_drops_total"];

/// Every port is a server that loses connections, from 8080 on.
fn full_host(ports: u16) -> Model {
    let mut model = models::trampoline();
    let server = fully_measured(model.ports.swap_remove(1));
    let numbered = |offset| {
        let mut port = server.clone();
        port.id.port += offset;
        port
    };
    model.ports = (0..ports).map(numbered).collect();
    model.series = Some(Series { ports: u64::from(ports), ports_in_other: 0, other: None });
    let hook = model.plan.hooks.swap_remove(0);
    let named = |name: &str| HookOutcome { hook: name.to_owned(), ..hook.clone() };
    model.plan.hooks = plan::catalogue::CATALOGUE.iter().map(|hook| named(hook.name)).collect();
    let losses = Loss::ALL.iter().map(|loss| loss.label()).chain(OTHER_LOSSES);
    model.losses = losses.map(|reason| (reason.to_owned(), 0)).collect();
    for namespace in &mut model.namespaces {
        namespace.limits.tcp_migrate_req = Some(0);
    }
    let softnet = |cpu| Softnet { cpu, processed: 52_118, dropped: 0, time_squeeze: 7 };
    model.host.softnet = Some((0..CPUS).map(softnet).collect());
    model
}

/// The port with histograms of all their buckets, a recommendation, and a call of listen() that was seen.
fn fully_measured(port: Port) -> Port {
    let histogram = |upper_bounds: Vec<f64>, sum| {
        let counts = (0..=upper_bounds.len()).map(|index| 10 * (1 + index as u64)).collect();
        Some(Histogram { upper_bounds: upper_bounds.into(), counts, sum })
    };
    let fill = |(part, whole): (u32, u32)| f64::from(part) / f64::from(whole);
    let counts = QueueCounts {
        accept_wait: histogram((0..WAIT_BOUNDS).filter_map(wait_bound).collect(), 113.75),
        accept_queue_fill: histogram(FILL_BOUNDS.into_iter().map(fill).collect(), 951.5),
        ..port.queues.counts
    };
    let mut listeners = port.listeners;
    for listener in &mut listeners {
        listener.backlog = Backlog::new(Some(10_000), listener.accept_queue_limit, Some(4_096));
    }
    Port { queues: Queues { counts, ..port.queues }, listeners, backlog_recommended: Some(4_096), ..port }
}

/// What Prometheus makes of it: a series for each line that is no comment.
fn series(model: &Model) -> usize {
    exposition_of(model).lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_host_with_20_ports_has_fewer_than_1500_series_at_default_settings() {
    let series = series(&full_host(20));
    assert!(series < SERIES_LIMIT, "{series}");
    // Nothing is left out of what a daemon can show.
    let shown: Vec<String> = parsed(&full_host(1)).into_iter().map(|family| family.name).collect();
    let missing: Vec<&str> = CATALOGUE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !shown.iter().any(|one| one == name))
        .collect();
    assert_eq!(missing, OF_OTHER_PLANS);
}

/// `cargo xtask dashboards scale` multiplies this file to 20 ports and many hosts.
#[test]
fn a_host_with_one_port_is_what_fleets_are_made_of() {
    let (one, two) = (full_host(1), full_host(2));
    check_golden("full_host.prom", &exposition_of(&one));
    // Ports cost the same each, so that multiplying them is right.
    let port = series(&two) - series(&one);
    assert_eq!(series(&one) + 19 * port, series(&full_host(20)));
    // docs/PERFORMANCE.md names these.
    assert_eq!((series(&one) - port, port), (83, 65));
}
