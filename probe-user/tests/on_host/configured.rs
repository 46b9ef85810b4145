//! A daemon that was told by a file what to do.
use std::{fs, path::Path};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::scenarios::support::{
    daemon::Daemon,
    metrics::Metrics,
    namespace::Namespace,
    sockets::{Client, IPV4, Listener, connect_in_turn},
    trials::trials_of,
    wait::{ensure, wait_until},
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "configured":
        ports_past_the_limit_are_counted_in_other,
        a_reload_takes_all_of_a_file_or_nothing_and_loses_no_count,
        a_state_file_of_no_use_is_moved_aside_with_one_warning
    )
}

const LIMIT: usize = 3;
const BACKLOG: u32 = 4;
/// Connections to each listener: more than fit.
const CLIENTS: u64 = 9;
const COUNTERS: [&str; 3] = ["established", "listen_drops", "accept_queue_overflows"];

/// Only ports of one namespace may have series of their own, so that the rest of the host takes none of the three places.
fn ports_past_the_limit_are_counted_in_other() {
    let namespace = Namespace::new();
    let netns = namespace.inode();
    // Less than the limit on the command line, which is what counts.
    let (_folder, config) = file(&format!("[ports]\nlimit = 1\n[[ports.include]]\nnetns = {netns}\n"));
    let daemon = Daemon::start(&["--config", &config, "--ports-limit", &LIMIT.to_string()]);
    let listeners: Vec<_> = (0..6).map(|_| Listener::open(&namespace, IPV4, BACKLOG)).collect();
    let mut clients: Vec<Client> = Vec::new();
    for listener in &listeners {
        clients.extend(connect_in_turn(&namespace, listener, listener.address, CLIENTS));
        compare(&namespace, &daemon);
    }
    let metrics = daemon.scrape();
    let exposed: Vec<_> = listeners
        .iter()
        .filter(|listener| metrics.of_port(netns, listener.address, "listeners").is_some())
        .collect();
    assert_eq!(exposed.len(), LIMIT);
    for listener in exposed {
        let established = metrics.of_port(netns, listener.address, "established_total");
        assert_eq!(established, Some(listener.capacity()), "{}", listener.address);
    }
    drop(clients);
}

/// All series together are all ports together, of which the namespace's are what its kernel counted.
fn compare(namespace: &Namespace, daemon: &Daemon) {
    wait_until("all series are all ports, and the namespace's are the kernel's", || {
        let kernel = namespace.counters();
        let before = daemon.snapshot();
        let metrics = daemon.scrape();
        let after = daemon.snapshot();
        for counter in COUNTERS {
            // Each question to the daemon is itself a connection that is counted.
            let question = u64::from(counter == "established");
            let all = [&before, &after].map(|snapshot| sum(snapshot, counter, None).unwrap_or_default());
            let series = metrics.sum(&format!("tcp_backlog_{counter}_total"), &[]).unwrap_or_default();
            let exact = [series.saturating_sub(question), series + question] == all;
            ensure(exact, || format!("{counter}: {all:?} over all ports, {series} over all series"))?;
        }
        ensure(kernel == namespace.counters(), || "the kernel's counters move".to_owned())?;
        let [established, drops, overflows] =
            COUNTERS.map(|counter| sum(&after, counter, Some(namespace.inode())).unwrap_or_default());
        let seen = [
            established,
            drops + unattributed(&metrics, namespace, "drops"),
            overflows + unattributed(&metrics, namespace, "overflows"),
        ];
        let expected = [kernel.passive_opens, kernel.listen_drops, kernel.listen_overflows];
        ensure(seen == expected, || format!("{seen:?}, the kernel has {expected:?}"))?;
        let (ports, in_other) =
            (metrics.value("tcp_backlog_ports", &[]), metrics.value("tcp_backlog_ports_in_other", &[]));
        let own = ports.zip(in_other).map(|(ports, in_other)| ports - in_other);
        ensure(own == Some(3), || format!("{ports:?} ports, {in_other:?} of them in other"))
    });
}

fn unattributed(metrics: &Metrics, namespace: &Namespace, what: &str) -> u64 {
    let name = format!("tcp_backlog_netns_unattributed_{what}_total");
    metrics.value(&name, &[("netns", &namespace.inode().to_string())]).unwrap_or_default()
}

/// One counter over every port of a snapshot, or over those of one namespace. What is divided by stage is added up.
fn sum(snapshot: &Value, counter: &str, netns: Option<u64>) -> Option<u64> {
    let count = |totals: &Value| match &totals[counter] {
        Value::Object(parts) => parts.values().filter_map(Value::as_u64).reduce(|sum, part| sum + part),
        number => number.as_u64(),
    };
    let model = &snapshot["model"];
    let ports = model["ports"].as_array().expect("ports").iter();
    let meant = ports.filter(|port| netns.is_none() || port["netns"].as_u64() == netns);
    let other = Some(&model["other"]).filter(|_| netns.is_none());
    meant.chain(other).filter_map(count).reduce(|sum, more| sum + more)
}

fn a_state_file_of_no_use_is_moved_aside_with_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.json");
    fs::write(&state, "{\"version\": 1, ").expect("half a state");
    let (_folder, config) = file(&format!("[state]\nfile = {state:?}\n"));
    let daemon = Daemon::start(&["--plan", "none", "--config", &config]);
    assert!(Path::new(&format!("{}.bad", state.display())).exists() && !state.exists());
    let log = daemon.log().text();
    let warnings = log.lines().filter(|line| line.contains(&state.display().to_string()));
    assert_eq!(warnings.count(), 1, "{log}");
}

fn a_reload_takes_all_of_a_file_or_nothing_and_loses_no_count() {
    let namespace = Namespace::new();
    let netns = namespace.inode();
    let include = format!("[[ports.include]]\nnetns = {netns}\n");
    let (_folder, config) = file(&include);
    let daemon = Daemon::start(&["--config", &config]);
    let listener = Listener::open(&namespace, IPV4, BACKLOG);
    let established = || daemon.scrape().of_port(netns, listener.address, "established_total");
    let first = connect_in_turn(&namespace, &listener, listener.address, 3);
    wait_until("the port has series", || {
        let seen = established();
        ensure(seen == Some(3), || format!("{seen:?}"))
    });
    let reload = |text: &str, answer: &str| {
        fs::write(&config, text).expect("another configuration");
        daemon.send(Signal::SIGHUP);
        wait_until("the log tells of the reload", || {
            let log = daemon.log().text();
            ensure(log.contains(answer), || log.clone())
        });
    };
    reload("[ports]\nlimit = 0\n[[ports.exclude]]\nprot = 1\n", "ports.exclude[0].prot: unknown key");
    assert_eq!(established(), Some(3), "a file that is wrong changed something");
    reload(
        "[[ports.include]]\nnetns = 1\n[hooks]\naccept_wait_connections = 9\n",
        "take effect at a restart only",
    );
    let second = connect_in_turn(&namespace, &listener, listener.address, 1);
    wait_until("the port's counts are in other", || {
        ensure(established().is_none(), || "it has series of its own".to_owned())?;
        let all = sum(&daemon.snapshot(), "established", Some(netns));
        ensure(all == Some(4), || format!("{all:?}"))
    });
    // Back again: what the series showed, they still show.
    reload(&format!("ports.limit = 9\n{include}"), "changed\":\"ports.limit, ports.include\"");
    let third = connect_in_turn(&namespace, &listener, listener.address, 1);
    wait_until("the port has series again", || {
        let (own, all) = (established(), sum(&daemon.snapshot(), "established", Some(netns)));
        ensure(own >= Some(3) && all == Some(5), || format!("{own:?} of its own, {all:?} in all"))
    });
    drop((first, second, third));
}

/// A configuration file, and its folder, with which it goes away.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probe.toml");
    fs::write(&path, text).expect("a configuration file");
    (folder, path.display().to_string())
}
