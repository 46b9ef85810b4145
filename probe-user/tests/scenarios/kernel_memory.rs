//! Kernel memory, where nobody else takes or gives any.
use std::{
    fs,
    time::{Duration, Instant},
};

use crate::scenarios::{
    Setup,
    bench::Bench,
    coming_and_going::come_and_go,
    support::{
        trials::tell,
        wait::{ensure, wait_until},
    },
};

/// So many before it is measured: what grows once is grown then.
const FIRST: u64 = 1_000;
const THEN: u64 = 4_000;
/// 256 bytes for each listener, or 64 for each of its connections. At most 70 KiB was seen; a socket that each of them left
/// behind would be 10 MiB.
const BOUND: u64 = 1 << 20;
/// What is freed goes back after a grace period of RCU, and in whole pages.
const QUIET: Duration = Duration::from_secs(1);

/// What is taken for each listener and each of its packets is given back.
pub(crate) fn listeners_that_come_and_go_leave_no_kernel_memory(setup: &Setup) {
    let bench = Bench::new(setup);
    bench.namespace.run(|| come_and_go(FIRST, 0));
    let before = least_taken();
    bench.namespace.run(|| come_and_go(THEN, 0));
    let after = least_taken();
    tell(format!("{setup:?}: {before} bytes of kernel memory, {after} after {THEN} listeners"));
    ensure(after <= before + BOUND, || format!("{before} bytes before, {after} after")).expect("no leak");
}

/// Bytes of kernel memory that cannot be reclaimed, once they have not become fewer for a while.
fn least_taken() -> u64 {
    let (mut least, mut since) = (taken(), Instant::now());
    wait_until("the memory settles", || {
        let now = taken();
        if now < least {
            (least, since) = (now, Instant::now());
        }
        ensure(since.elapsed() >= QUIET, || format!("{now} bytes"))?;
        Ok(least)
    })
}

/// `SUnreclaim` and `Percpu` of `/proc/meminfo`.
fn taken() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let kilobytes = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    1_024 * (kilobytes("SUnreclaim") + kilobytes("Percpu"))
}
