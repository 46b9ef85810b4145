//! A Debian system on a kernel of the lab.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::folder;
use super::system::{self, FOLDER, Surroundings, System};
use crate::libtest::Results;
use crate::setup::{self, Lab, kernels::Kernel};
use crate::vm::boot::{Clock, Machine, Shown};
use crate::vm::initramfs::Initramfs;
use crate::vm::{self, pack};

const INIT: &str = include_str!("vm-init.sh");

/// An emulated processor takes half a minute for what takes this one a second.
const DEADLINE: Duration = Duration::from_secs(3600);

/// The system is in memory, and once more while the kernel unpacks it.
const MEMORY: &str = "3G";

/// Boots the kernel of this label and runs the tests there.
pub(super) fn run(system: &System<'_>, label: &str, verbose: bool) -> Result<Results> {
    let lab = setup::lab(&[label])?;
    let kernel = lab.kernels.first().context("package test: no kernel")?;
    let _turn = vm::wait_for_turn()?;
    let logs = vm::log_folder();
    let archive = logs.join("package.cpio");
    write_archive(system, &lab, kernel, &archive)?;
    println!("package test: booting {}", kernel.origin);
    let log = logs.join(format!("package-{label}.log"));
    let machine = Machine {
        emulator: &lab.emulator,
        kernel,
        initramfs: &archive,
        log: &log,
        deadline: DEADLINE,
        memory: MEMORY,
        shown: if verbose { Shown::Everything } else { Shown::Program },
        clock: Clock::Wall,
    };
    let started = Instant::now();
    let verdict = vm::boot_until_init(&machine)?.verdict();
    let (seconds, log) = (started.elapsed().as_secs_f32(), log.display());
    println!("package test: kernel {label}: {verdict} ({seconds:.0} s); the log is {log}");
    Ok(verdict.results)
}

fn write_archive(system: &System<'_>, lab: &Lab, kernel: &Kernel, archive: &Path) -> Result<()> {
    let root = folder().join("machine");
    let surroundings =
        Surroundings { patience: 300, has_limits: true, has_kernel: true, output: "file:/dev/ttyS1" };
    system.prepare(&root, &surroundings)?;
    let modules = root.join(FOLDER).join("modules");
    fs::create_dir_all(&modules)?;
    for (order, module) in kernel.modules.iter().enumerate() {
        let name = module.file_name().context("a module without a name")?.to_string_lossy();
        fs::copy(module, modules.join(format!("{order}-{name}")))?;
    }
    let mut initramfs = Initramfs::create(archive)?;
    initramfs.tree(".", &root)?;
    initramfs.device("dev/console", 5, 1)?;
    initramfs.program("init", INIT.as_bytes())?;
    initramfs.program(&format!("{FOLDER}/busybox"), &pack::read(&lab.busybox)?)?;
    initramfs.finish()?;
    system::remove(&root)
}
