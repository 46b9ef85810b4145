//! Two bursts that a listener cannot take: each is an episode, with the kernel's own numbers.
use serde_json::Value;

use super::{
    Setup,
    bench::{Bench, Moment},
    expected::Unattributed,
    support::{
        sockets::{Client, IPV4, Listener, connect_all, connect_in_turn},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 4;
const FIRST: u64 = 12;
const SECOND: u64 = 6;

pub(crate) fn each_burst_is_an_episode_with_the_kernels_numbers(setup: &Setup) {
    let bench = Bench::new(setup);
    let listener = Listener::open(&bench.namespace, IPV4, BACKLOG);
    let clients = connect_in_turn(&bench.namespace, &listener, listener.address, FIRST);
    let refused = FIRST - listener.capacity();
    bench.wait_for("SYNs are sent again", |kernel| kernel.listen_overflows >= 2 * refused);
    bench.compare("an episode that goes on", |moment| check(moment, &bench, &listener, &[refused]));
    end(&bench, &listener, clients);

    // Nobody has accepted: the queue is still full.
    let clients = connect_all(&bench.namespace, listener.address, SECOND);
    let both = [SECOND, refused];
    bench.compare("a second episode", |moment| check(moment, &bench, &listener, &both));
    end(&bench, &listener, clients);
    bench.compare("episodes that have ended", |moment| check(moment, &bench, &listener, &both));
}

/// Clients that are gone try no more, so the episode ends.
fn end(bench: &Bench, listener: &Listener, clients: Vec<Client>) {
    drop(clients);
    wait_until("the end of the episode", || {
        let episodes = episodes(bench, listener)?;
        let newest = episodes.first().ok_or("no episode")?;
        let (begun, ended) = (float(newest, "begun"), float(newest, "ended"));
        let right = |ended| begun.is_some_and(|begun| begun < ended);
        ensure(ended.is_some_and(right), || format!("{newest}"))
    });
}

/// The port's episodes have refused so many connections, the newest first, and together as many packets as the
/// kernel has counted.
fn check(moment: &Moment, bench: &Bench, listener: &Listener, connections: &[u64]) -> Result<(), String> {
    let episodes = episodes(bench, listener)?;
    ensure(episodes.len() == connections.len(), || format!("{} episodes: {episodes:?}", episodes.len()))?;
    let missing = moment.skipped.of_functions();
    let is = |seen: Option<u64>, expected: u64| {
        seen.is_some_and(|seen| seen <= expected && expected - seen <= missing)
    };
    for (episode, refused) in episodes.iter().zip(connections) {
        let told = number(episode, "connections_refused");
        let right = if tells_connections(bench) { is(told, *refused) } else { told.is_none() };
        ensure(right, || format!("not {refused} connections: {episode}"))?;
        let height = (number(episode, "peak"), number(episode, "limit"));
        let full = (Some(listener.capacity()), Some(u64::from(BACKLOG)));
        ensure(height == full, || format!("peak and limit {height:?}: {episode}"))?;
        let cause = episode.get("cause").and_then(Value::as_str);
        ensure(cause == Some("accept_queue_full"), || format!("{episode}"))?;
    }
    let sum = |field| episodes.iter().map(|episode| number(episode, field)).sum::<Option<u64>>();
    let Unattributed { overflows, drops } = moment.unattributed();
    let kernel = moment.kernel;
    let packets = (sum("packets_refused"), sum("listen_drops"));
    let right =
        is(packets.0, kernel.listen_overflows - overflows) && is(packets.1, kernel.listen_drops - drops);
    ensure(right, || format!("packets and drops {packets:?}, but {kernel:?}: {episodes:?}"))
}

/// Whether connections are told apart from their retries, which takes the kernel's counters.
fn tells_connections(bench: &Bench) -> bool {
    bench.scrape().label_values("tcp_backlog_accounting_info", "method") == ["kernel-counters"]
}

/// Those of one port, the newest first.
fn episodes(bench: &Bench, listener: &Listener) -> Result<Vec<Value>, String> {
    let snapshot = bench.snapshot();
    let all = snapshot.pointer("/model/episodes").and_then(Value::as_array).ok_or("no episodes")?;
    let is_its = |episode: &&Value| {
        number(episode, "netns") == Some(bench.namespace.inode())
            && number(episode, "port") == Some(listener.address.port().into())
    };
    Ok(all.iter().filter(is_its).cloned().collect())
}

fn number(episode: &Value, field: &str) -> Option<u64> {
    episode.get(field).and_then(Value::as_u64)
}

fn float(episode: &Value, field: &str) -> Option<f64> {
    episode.get(field).and_then(Value::as_f64)
}
