//! A boot of a kernel whose clock counts instructions, with everybody who watches inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::lines::lines_in;
use super::report::Report;
use super::watchers::{PEERS, PEERS_OF_DEBIAN_12};
use crate::setup::Lab;
use crate::setup::kernels::Kernel;
use crate::vm;
use crate::vm::boot::{Clock, Machine, Shown};
use crate::vm::pack::{self, DAEMON};

/// Programs are compiled and verified dozens of times, with instructions emulated one by one.
const DEADLINE: Duration = Duration::from_secs(7200);
/// The peers' root file system is a part of the machine's memory.
const MEMORY: &str = "3G";
const XTASK: &str = "/bin/xtask";

/// What is put into a machine.
pub(super) struct Contents {
    pub(super) daemon: PathBuf,
    pub(super) xtask: PathBuf,
    pub(super) peers: PathBuf,
    pub(super) peers_of_debian_12: PathBuf,
}

/// Boots a kernel, measures, and reads what it told.
pub(super) fn measure(
    lab: &Lab,
    kernel: &Kernel,
    contents: &Contents,
    rounds: u32,
    shown: Shown,
) -> Result<Report> {
    let _turn = vm::wait_for_turn()?;
    let folder = vm::log_folder();
    let archive = folder.join(format!("bench-{}.cpio", kernel.label));
    pack(&archive, lab, kernel, contents, rounds)?;
    let log = folder.join(format!("bench-{}.log", kernel.label));
    let machine = Machine {
        emulator: &lab.emulator,
        kernel,
        initramfs: &archive,
        log: &log,
        deadline: DEADLINE,
        memory: MEMORY,
        shown,
        clock: Clock::Instructions,
    };
    let started = Instant::now();
    let console = vm::boot_until_init(&machine)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    let release = console.release.clone().unwrap_or_default();
    let problems = console.verdict().problems;
    println!(
        "bench: {} ran for {:.0} s; its log is {}",
        kernel.label,
        started.elapsed().as_secs_f32(),
        log.display()
    );
    if !problems.is_empty() {
        bail!("bench: {}: {}", kernel.label, problems.join("; "));
    }
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Report::of(kernel.label, &release, &lines_in(&String::from_utf8_lossy(&text))))
}

fn pack(archive: &Path, lab: &Lab, kernel: &Kernel, contents: &Contents, rounds: u32) -> Result<()> {
    let script = format!("#!/bin/sh\nexec {XTASK} bench kernel --inside --rounds {rounds}\n");
    let mut initramfs = pack::begin(archive, &lab.busybox, &kernel.modules, &script)?;
    for (name, program) in [(DAEMON, &contents.daemon), (XTASK, &contents.xtask)] {
        initramfs.program(name.trim_start_matches('/'), &pack::read(program)?)?;
    }
    for (name, tree) in [(PEERS, &contents.peers), (PEERS_OF_DEBIAN_12, &contents.peers_of_debian_12)] {
        initramfs.tree(name.trim_start_matches('/'), tree)?;
    }
    initramfs.finish()?;
    Ok(())
}
