//! What the user side takes on hosts that this machine is not: allocations of a scrape, and the reading of rows on hosts with
//! other numbers of CPUs. Of the numbers of listeners that are its arguments it says what the maps should take here. Prints
//! JSON for `cargo xtask bench user`.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    alloc::System,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use probe_common::{accept_queue::AcceptQueueCounters, handshake::HandshakeCounters};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcp_backlog_probe::{
    host::possible_cpus,
    model::{Findings, Model},
    plan::{
        outcome::{Coverage, PlanOutcome},
        sizes::{Host, map_bytes, rows},
    },
    readers::accept_queue::QueueRow,
    render::{BuildInfo, prometheus},
    sample::{HookSample, ListenerSample, NamespaceSample, PortId, QueueSample, Sample},
};

/// Counts what is allocated; it is the system's own allocator else.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PORTS: [usize; 4] = [10, 100, 1_000, 10_000];
const CPUS: [usize; 4] = [1, 2, 64, 256];
const TIMES: u32 = 20;

fn main() {
    let rendering: Vec<Value> = PORTS.into_iter().map(rendering).collect();
    let hosts = CPUS.into_iter().flat_map(|cpus| [100, 10_000].map(|listeners| (cpus, listeners)));
    let processors: Vec<Value> = hosts.map(|(cpus, listeners)| processors(cpus, listeners)).collect();
    // Cargo gives arguments of its own.
    let listeners = std::env::args().filter_map(|argument| argument.parse().ok());
    let here: Vec<Value> = listeners.map(here).collect();
    println!("{}", json!({ "rendering": rendering, "processors": processors, "here": here }));
}

/// What the plan's formula says of this machine, for comparison with what the kernel says of a daemon on it.
fn here(listeners: usize) -> Value {
    let possible_cpus = possible_cpus();
    let rows = rows(Host { possible_cpus, listeners }, None);
    let map_bytes = map_bytes(possible_cpus, rows, 0);
    json!({ "listeners": listeners, "rows": rows, "map_bytes": map_bytes })
}

/// A scrape of a host on which everything is measured, with series for each of its ports.
fn rendering(ports: usize) -> Value {
    let build = BuildInfo { version: "0".to_owned(), kernel: "0".to_owned() };
    let model = model(ports);
    let render = || {
        let mut body = Vec::new();
        // Writing to memory does not fail.
        let _ = prometheus::write(&model, &build, &mut body);
        body
    };
    let region = Region::new(ALLOCATOR);
    let body = render();
    let allocated = region.change();
    json!({
        "ports": ports,
        "allocations": allocated.allocations + allocated.reallocations,
        "allocated_bytes": allocated.bytes_allocated,
        "body_bytes": body.len(),
        "milliseconds": milliseconds(|| drop(black_box(render()))),
    })
}

fn model(ports: usize) -> Model {
    let id = |number: usize| {
        let last = u8::try_from(number % 8).unwrap_or_default();
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        PortId { netns: 1, address, port: u16::try_from(20_000 + number / 8).unwrap_or_default() }
    };
    let counters =
        HandshakeCounters { syn_received: 52_118, established: 52_117, ..HandshakeCounters::default() };
    let listener = |number: usize| {
        let PortId { address, port, .. } = id(number);
        let inode = u32::try_from(number).unwrap_or_default();
        ListenerSample { address, port, accept_queue_length: 1, accept_queue_limit: 4_096, drops: 0, inode }
    };
    let namespace = NamespaceSample {
        netns: 1,
        listeners: Some((0..ports).map(listener).collect()),
        ..NamespaceSample::default()
    };
    let hooks = HookSample {
        ports: (0..ports).map(|number| (id(number), counters)).collect(),
        queues: (0..ports).map(|number| (id(number), QueueSample::default().into())).collect(),
        ..HookSample::default()
    };
    let sample = Sample { hooks: Some(hooks), namespaces: vec![namespace], ..Sample::default() };
    let plan = PlanOutcome { hooks: Vec::new(), coverage: Coverage::EVERYTHING };
    Model::new(&sample, &plan, &Findings::default())
}

/// The reading of all rows that listeners have, on memory in the maps' layout.
fn processors(cpus: usize, listeners: usize) -> Value {
    let rows = rows(Host { possible_cpus: cpus, listeners }, None);
    let length = usize::try_from(rows).unwrap_or_default();
    let used = listeners.min(length);
    let handshakes =
        vec![HandshakeCounters { established: 1, ..HandshakeCounters::default() }; length * cpus];
    let queues = vec![AcceptQueueCounters { fill_sum: 1, ..AcceptQueueCounters::default() }; length * cpus];
    let read = || {
        for row in 0..used {
            let (mut sum, mut queue) = (HandshakeCounters::default(), QueueRow::default());
            handshakes.iter().skip(row).step_by(length).for_each(|of_cpu| sum.add(of_cpu));
            queues.iter().skip(row).step_by(length).for_each(|of_cpu| queue.absorb_cpu(of_cpu));
            black_box((sum, queue));
        }
    };
    json!({
        "cpus": cpus,
        "listeners": listeners,
        "rows": rows,
        "map_bytes": map_bytes(cpus, rows, 0),
        "reading_milliseconds": milliseconds(read),
    })
}

/// The quickest of some runs: whatever else the machine does makes it longer only.
fn milliseconds(mut run: impl FnMut()) -> f64 {
    let timed = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    let quickest: Duration = (0..TIMES).map(timed).min().unwrap_or_default();
    1e3 * quickest.as_secs_f64()
}
