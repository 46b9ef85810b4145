//! `cargo xtask vm`: the tests that need a kernel of their own, in the lab.
//!
//! A lab machine is a Debian kernel under qemu without KVM, with a root file system of four static
//! programs (busybox, the daemon, the test binary and a script as init) and two modules.

mod boot;
mod console;
mod initramfs;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::boot::Machine;
use self::console::Console;
use self::initramfs::Initramfs;
use crate::libtest::Counts;
use crate::setup::kernels::{Kernel, TESTED_LINES};
use crate::setup::{self, Lab};
use crate::{AlreadyReported, build, processes, workspace};

/// The daemon's path inside.
const DAEMON: &str = "/bin/tcp-backlog-probe";
const INIT: &str = include_str!("init.sh");

/// A kernel under an emulator may die on the way to init through no fault of ours. Past that
/// point nothing is tried twice.
const BOOTS: u32 = 3;

/// Lines of a failed run's log that are repeated on the terminal.
const MOST_LINES_OF_FAILURES: usize = 400;

/// Seconds. Instructions are emulated one by one: a minute of tests on a real CPU is several here.
const DEADLINE: u64 = 1200;

/// Runs the tests of tests/in_vm on kernels of the lab
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A kernel of the lab (5.10, 6.1, 6.12, 7.2); may be repeated
    #[arg(long = "kernel", value_name = "LINE", default_values = TESTED_LINES)]
    kernels: Vec<String>,
    /// Show everything the machine says
    #[arg(long)]
    verbose: bool,
    /// How long the tests of one kernel may take
    #[arg(long, value_name = "SECONDS", default_value_t = DEADLINE)]
    deadline: u64,
    /// Run this static program instead of the tests
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Arguments for the test binary
    #[arg(last = true)]
    test_arguments: Vec<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            kernels: TESTED_LINES.map(str::to_owned).to_vec(),
            verbose: false,
            deadline: DEADLINE,
            program: None,
            test_arguments: Vec::new(),
        }
    }
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let labels: Vec<&str> = arguments.kernels.iter().map(String::as_str).collect();
    let counts = count(&setup::lab(&labels)?, arguments)?;
    println!("{counts}");
    if counts.failed > 0 {
        return Err(AlreadyReported.into());
    }
    Ok(())
}

/// Boots each kernel of the lab, one after the other, and adds up the tests.
pub(crate) fn count(lab: &Lab, arguments: &Arguments) -> Result<Counts> {
    let daemon = build::daemon(true, true)?;
    let tests = match &arguments.program {
        Some(program) => program.clone(),
        None => build_tests()?,
    };
    let folder = log_folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _turn = wait_for_turn(&folder)?;
    let mut counts = Counts::default();
    for kernel in &lab.kernels {
        let initramfs = folder.join(format!("{}.cpio", kernel.label));
        let programs = Programs { busybox: &lab.busybox, daemon: &daemon, tests: &tests };
        pack(&initramfs, &programs, &kernel.modules, &arguments.test_arguments)?;
        counts += run_on(kernel, lab, &initramfs, arguments)?;
    }
    Ok(counts)
}

/// Logs have fixed names and machines want a whole CPU each: one run at a time, in a target folder.
fn wait_for_turn(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let advice = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(advice)?;
    if file.try_lock().is_err() {
        println!("vm: waiting for another run in {}", folder.display());
        file.lock().with_context(advice)?;
    }
    Ok(file)
}

fn log_folder() -> PathBuf {
    workspace::target().join("lab")
}

fn run_on(kernel: &Kernel, lab: &Lab, initramfs: &Path, arguments: &Arguments) -> Result<Counts> {
    let log = log_folder().join(format!("{}.log", kernel.label));
    let machine = Machine {
        emulator: &lab.emulator,
        kernel,
        initramfs,
        log: &log,
        deadline: Duration::from_secs(arguments.deadline),
        verbose: arguments.verbose,
    };
    let started = Instant::now();
    let console = boot_until_init(&machine)?;
    let release = console.release.clone().unwrap_or_else(|| "that never reached init".to_owned());
    let verdict = console.verdict();
    println!("vm {}: kernel {release}: {verdict} ({:.1} s)", kernel.label, started.elapsed().as_secs_f32());
    if verdict.counts.failed > 0 {
        println!("vm {}: the log is {}", kernel.label, log.display());
        print!("{}", failures_in(&fs::read_to_string(&log).unwrap_or_default()));
    }
    Ok(verdict.counts)
}

/// What the test binary says of its failures, which it does at the end; bounded.
fn failures_in(log: &str) -> String {
    let lines = log.lines().skip_while(|line| line.trim() != "failures:");
    lines.take(MOST_LINES_OF_FAILURES).map(|line| format!("{line}\n")).collect()
}

fn boot_until_init(machine: &Machine<'_>) -> Result<Console> {
    for attempt in 1..BOOTS {
        let console = machine.boot()?;
        if console.reached_init() {
            return Ok(console);
        }
        println!("vm {}: boot {attempt} of {BOOTS} did not reach init", machine.kernel.label);
    }
    machine.boot()
}

/// Compiles tests/in_vm, static and with the daemon's own profile, so that its library is compiled
/// once for both.
fn build_tests() -> Result<PathBuf> {
    let mut cargo = workspace::cargo("test");
    cargo
        .args(["--package", "tcp-backlog-probe", "--test", "in_vm", "--release"])
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    build::link_statically(&mut cargo);
    let messages = processes::output_of(&mut cargo).context("the tests of the lab did not compile")?;
    executable_in(&messages).context("cargo built no test binary in_vm")
}

/// The program in cargo's messages, one JSON object a line.
fn executable_in(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "in_vm"))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
}

/// The static programs of a lab machine.
struct Programs<'a> {
    busybox: &'a Path,
    daemon: &'a Path,
    tests: &'a Path,
}

fn pack(
    archive: &Path,
    programs: &Programs<'_>,
    modules: &[PathBuf],
    test_arguments: &[String],
) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut initramfs = Initramfs::create(archive)?;
    for folder in ["bin", "dev", "modules"] {
        initramfs.folder(folder)?;
    }
    initramfs.device("dev/console", 5, 1)?;
    initramfs.program("init", INIT.as_bytes())?;
    initramfs.program("run-tests", test_script(test_arguments).as_bytes())?;
    initramfs.program("bin/busybox", &read(programs.busybox)?)?;
    initramfs.program(DAEMON.trim_start_matches('/'), &read(programs.daemon)?)?;
    initramfs.program("bin/in_vm", &read(programs.tests)?)?;
    for (order, module) in modules.iter().enumerate() {
        let name = module.file_name().context("a module without a name")?.to_string_lossy();
        initramfs.program(&format!("modules/{order}-{name}"), &read(module)?)?;
    }
    initramfs.finish()?;
    Ok(())
}

fn test_script(arguments: &[String]) -> String {
    let quoted = arguments.iter().map(|argument| format!(" '{}'", argument.replace('\'', r"'\''")));
    // Without the variable the tests look for the daemon where cargo built it.
    format!(
        "#!/bin/sh\nexport RUST_BACKTRACE=1 NO_COLOR=1 TCP_BACKLOG_PROBE_BINARY={DAEMON}\nexec /bin/in_vm{}\n",
        quoted.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_binary_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/no\"}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"in_vm\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"in_vm\"},\"executable\":\"/yes\"}\nplain\n";
        assert_eq!(executable_in(messages), Some(PathBuf::from("/yes")));
        assert_eq!(executable_in(""), None);
    }

    #[test]
    fn arguments_reach_the_test_binary_unchanged() {
        let script = test_script(&["--exact".to_owned(), "it's".to_owned()]);
        assert!(script.ends_with("exec /bin/in_vm '--exact' 'it'\\''s'\n"), "{script}");
    }
}
