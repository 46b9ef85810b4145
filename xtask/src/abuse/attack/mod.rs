//! What a daemon has to endure, and what it may cost: used by `cargo xtask abuse` and by a test on the host.
//!
//! First so many requests, most of them odd, from two threads; then so many slow connections, during which it is scraped. Its
//! resident memory (`VmRSS` in /proc/PID/status) is taken after a first wave of both, when heap and threads have the size that
//! work gives them, and has to come back to that, but for a small part, when all is over.

mod flood;
mod requests;
mod scrapes;
mod slow;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::flood::Flooded;
use self::scrapes::Times;

/// How much, and what is allowed.
pub(crate) struct Plan {
    pub(crate) requests: usize,
    pub(crate) slow_connections: usize,
    /// Scrapes while slow connections are open, and as many before.
    pub(crate) scrapes: usize,
    pub(crate) seed: u64,
}

/// What was seen.
pub(crate) struct Report {
    pub(crate) flooded: Flooded,
    /// How often a slow connection was opened.
    pub(crate) slow_opened: usize,
    pub(crate) quiet: Times,
    pub(crate) beside_slow: Times,
    /// Resident memory in KiB: after the first wave, the most that was seen, and at the end.
    pub(crate) memory: [u64; 3],
}

/// What memory may have grown by in the end, in KiB.
pub(crate) const MOST_GROWTH: u64 = 4 << 10;
/// Threads that had work to do end after ten seconds without.
const UNTIL_MEMORY_IS_BACK: Duration = Duration::from_secs(30);
/// A thousandth part of the attack comes first, but enough to warm up.
const FIRST_WAVE: usize = 10_000;

/// Attacks the daemon with this process id on this address.
pub(crate) fn run(address: SocketAddr, process: u32, plan: &Plan) -> Result<Report> {
    let quiet = scrapes::run(address, plan.scrapes)?;
    flood::run(address, FIRST_WAVE.min(plan.requests), plan.seed.wrapping_add(1))?;
    drop(opened(address, plan.slow_connections)?);
    let before = resident(process)?;
    let flooded = flood::run(address, plan.requests, plan.seed)?;
    let after_flood = resident(process)?;
    let slow = opened(address, plan.slow_connections)?;
    let beside_slow = scrapes::run(address, plan.scrapes)?;
    let most = resident(process)?.max(after_flood);
    let slow_opened = slow.opened();
    drop(slow);
    let deadline = Instant::now() + UNTIL_MEMORY_IS_BACK;
    let mut after = resident(process)?;
    while after > before + MOST_GROWTH && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
        after = resident(process)?;
    }
    Ok(Report { flooded, slow_opened, quiet, beside_slow, memory: [before, most, after] })
}

/// All slow connections, once each of them was opened.
fn opened(address: SocketAddr, connections: usize) -> Result<slow::Slow> {
    let slow = slow::Slow::start(address, connections);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !slow.is_complete() {
        ensure!(
            Instant::now() < deadline,
            "slow: {} of {connections} connections were opened",
            slow.opened()
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(slow)
}

/// In KiB.
fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path}: the daemon is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{path} has no VmRSS"))
}
