//! The BPF programs that are loaded in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The numbers of all programs.
pub(super) fn numbers() -> BTreeSet<u32> {
    // One that goes while it is looked at is not loaded.
    loaded_programs().filter_map(|program| Some(program.ok()?.id())).collect()
}

/// Those that a process holds, by its descriptors of programs and of links.
pub(super) fn held_by(process: u32) -> Result<BTreeSet<u32>> {
    let files = fs::read_dir(format!("/proc/{process}/fdinfo"))?;
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    Ok(texts.filter_map(|text| program_in(&text)).collect())
}

fn program_in(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

/// How long these ran during some work, by the kernel's own statistics: it reads the clock twice for each run, which costs
/// by itself, and stops when the work is over.
pub(super) fn run_time_in<T>(
    programs: &BTreeSet<u32>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Duration)> {
    let statistics = enable_stats(Stats::RunTime).context("bench: no statistics on BPF programs")?;
    let before = run_time(programs);
    let done = work()?;
    let took = run_time(programs).saturating_sub(before);
    drop(statistics);
    Ok((done, took))
}

fn run_time(programs: &BTreeSet<u32>) -> Duration {
    let all = loaded_programs().filter_map(Result::ok);
    all.filter(|program| programs.contains(&program.id())).map(|program| program.run_time()).sum()
}

/// Waits until the kernel has let go of those: it does so some time after whoever held them has ended.
pub(super) fn wait_until_gone(programs: &BTreeSet<u32>, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    while !numbers().is_disjoint(programs) {
        ensure!(
            begun.elapsed() < patience,
            "bench: programs are still loaded {} s after their watcher has ended",
            patience.as_secs()
        );
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_tells_its_program() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(program_in(text), expected, "{text}");
        check("pos:\t0\nlink_type:\ttracing\nprog_id:\t42\n", Some(42));
        check("pos:\t0\nmap_type:\t5\nmap_id:\t7\n", None);
        check("prog_id:\tmany\n", None);
    }

    #[test]
    fn who_holds_nothing_is_gone_at_once() {
        assert!(held_by(std::process::id()).unwrap().is_empty());
        wait_until_gone(&BTreeSet::new(), Duration::ZERO).unwrap();
    }
}
