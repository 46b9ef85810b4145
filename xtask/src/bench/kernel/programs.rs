//! The BPF programs that are loaded, and what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use serde::Deserialize;

use super::lines::Program;
use super::watchers::PEERS;
use crate::processes;

/// What a program did since statistics were switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) runs: u64,
    /// By the clock that counts instructions.
    pub(super) nanoseconds: u64,
}

/// What all programs did, but those.
pub(super) fn work(except: &BTreeSet<u32>) -> BTreeMap<u32, Work> {
    let programs = loaded_programs().filter_map(Result::ok);
    programs
        .filter(|program| !except.contains(&program.id()))
        .map(|program| {
            let nanoseconds = u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
            (program.id(), Work { runs: program.run_count(), nanoseconds })
        })
        .collect()
}

/// What was done since then, by those programs that ran at all.
pub(super) fn since(before: &BTreeMap<u32, Work>, mut after: BTreeMap<u32, Work>) -> BTreeMap<u32, Work> {
    for (program, work) in &mut after {
        let old = before.get(program).copied().unwrap_or_default();
        work.runs = work.runs.saturating_sub(old.runs);
        work.nanoseconds = work.nanoseconds.saturating_sub(old.nanoseconds);
    }
    after.retain(|_, work| work.runs > 0);
    after
}

/// Describes all programs but those.
pub(super) fn describe(watcher: &str, except: &BTreeSet<u32>) -> Vec<Program> {
    // The kernel itself keeps 15 letters of a name; the whole one is in the program's BTF.
    let names = whole_names().unwrap_or_default();
    let programs = loaded_programs().filter_map(Result::ok);
    programs
        .filter(|program| !except.contains(&program.id()))
        .map(|program| Program {
            watcher: watcher.to_owned(),
            id: program.id(),
            name: names
                .get(&program.id())
                .cloned()
                .unwrap_or_else(|| program.name_as_str().unwrap_or("?").to_owned()),
            verified: program.verified_instruction_count(),
            translated_bytes: program.size_translated(),
            jited_bytes: program.size_jitted(),
        })
        .collect()
}

/// Has the kernel note each run of a program, which costs by itself.
pub(super) fn keep_statistics(on: bool) -> Result<()> {
    fs::write("/proc/sys/kernel/bpf_stats_enabled", if on { "1" } else { "0" })
        .context("bench: no statistics on BPF programs")
}

fn whole_names() -> Result<BTreeMap<u32, String>> {
    let mut command = Command::new("/bin/busybox");
    command.args(["chroot", PEERS, "/usr/sbin/bpftool", "--json", "prog", "show"]);
    names_in(&processes::output_of(&mut command)?)
}

#[derive(Deserialize)]
struct Shown {
    id: u32,
    name: Option<String>,
}

/// Reads what bpftool says.
fn names_in(text: &str) -> Result<BTreeMap<u32, String>> {
    let shown: Vec<Shown> = serde_json::from_str(text)?;
    Ok(shown.into_iter().filter_map(|program| Some((program.id, program.name?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_bpftool_in_full() {
        let text = r#"[{"id":4,"type":"kprobe","name":"kprobe_tcp_conn_request"},{"id":5,"type":"tracing"}]"#;
        let names = names_in(text).unwrap();
        assert_eq!(names.get(&4).map(String::as_str), Some("kprobe_tcp_conn_request"));
        assert!(!names.contains_key(&5));
        assert!(names_in("Error: no such thing").is_err());
    }

    #[test]
    fn only_what_was_done_since_counts() {
        let work = |runs, nanoseconds| Work { runs, nanoseconds };
        let before = BTreeMap::from([(1, work(5, 500)), (2, work(3, 30))]);
        let after = BTreeMap::from([(1, work(7, 900)), (2, work(3, 30)), (4, work(1, 10))]);
        assert_eq!(since(&before, after), BTreeMap::from([(1, work(2, 400)), (4, work(1, 10))]));
    }
}
