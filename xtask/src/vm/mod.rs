//! `cargo xtask vm`: the tests that need a kernel of their own, in the lab.
//!
//! A lab machine is a Debian kernel under qemu without KVM, with a root file system of four static
//! programs (busybox, the daemon, the test binary and a script as init) and two modules.

pub(crate) mod boot;
pub(crate) mod compatibility;
pub(crate) mod console;
pub(crate) mod initramfs;
mod matrix;
pub(crate) mod pack;

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::boot::{Clock, Machine, Shown};
use self::console::{Console, Verdict};
use self::matrix::Matrix;
use self::pack::{Programs, build_tests, pack};
use crate::libtest::{self, HANDSHAKES_VARIABLE};
use crate::setup::kernels::{Kernel, TESTED_LINES};
use crate::setup::{self, Lab};
use crate::{AlreadyReported, build, workspace};

/// A kernel under an emulator may die on the way to init through no fault of ours. Past that
/// point nothing is tried twice.
const BOOTS: u32 = 3;

/// Lines of a failed run's log that are repeated on the terminal.
const MOST_LINES_OF_FAILURES: usize = 400;

/// Seconds. Instructions are emulated one by one: a minute of tests on a real CPU is several here.
const DEADLINE: u64 = 2400;

/// Machines at once.
const MACHINES: usize = 2;

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
    /// How many machines run at once. Much of a test is waiting for the kernel's timers
    #[arg(long, value_name = "NUMBER", default_value_t = MACHINES)]
    machines: usize,
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
            machines: MACHINES,
            program: None,
            test_arguments: Vec::new(),
        }
    }
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let labels: Vec<&str> = arguments.kernels.iter().map(String::as_str).collect();
    let tests = boot_all(&setup::lab(&labels)?, arguments)?.tests;
    println!("{tests}");
    if tests.counts.failed > 0 {
        return Err(AlreadyReported.into());
    }
    Ok(())
}

/// What came of a run on one or more kernels.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) tests: libtest::Results,
    pub(crate) matrix: Matrix,
}

/// Boots each kernel of the lab, adds up the tests and shows the matrix.
pub(crate) fn boot_all(lab: &Lab, arguments: &Arguments) -> Result<Results> {
    let daemon = build::daemon(true, true)?;
    let tests = match &arguments.program {
        Some(program) => program.clone(),
        None => build_tests()?,
    };
    let _turn = wait_for_turn()?;
    let programs = Programs { busybox: &lab.busybox, daemon: &daemon, tests: &tests };
    let mut results = Results::default();
    for (mut verdict, kernel) in boot_some_at_once(lab, programs, arguments)? {
        for failure in &mut verdict.results.failures {
            failure.test.insert_str(0, &format!("{}: ", kernel.label));
        }
        results.tests += verdict.results;
        results.matrix.0.push(kernel);
    }
    print!("{}", results.matrix.hooks());
    print!("{}", results.matrix.scenarios());
    Ok(results)
}

/// What is known of a machine that is off again.
type Outcome = (Verdict, matrix::Kernel);

/// Keeps so many machines running as are asked for, and gives what came of them in the kernels' order.
fn boot_some_at_once(lab: &Lab, programs: Programs<'_>, arguments: &Arguments) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(lab.kernels.iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..arguments.machines.max(1) {
            scope.spawn(|| {
                while let Some((order, kernel)) = next() {
                    let outcome = run_on(kernel, lab, programs, arguments);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((order, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(order, _)| *order);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Logs have fixed names and machines want whole CPUs: one run at a time, in a target folder, which is there then.
pub(crate) fn wait_for_turn() -> Result<File> {
    let folder = log_folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let advice = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(advice)?;
    if file.try_lock().is_err() {
        println!("vm: waiting for another run in {}", folder.display());
        file.lock().with_context(advice)?;
    }
    Ok(file)
}

pub(crate) fn log_folder() -> PathBuf {
    workspace::target().join("lab")
}

fn run_on(kernel: &Kernel, lab: &Lab, programs: Programs<'_>, arguments: &Arguments) -> Result<Outcome> {
    let initramfs = log_folder().join(format!("{}.cpio", kernel.label));
    let handshakes = env::var(HANDSHAKES_VARIABLE).ok();
    pack(&initramfs, &programs, &kernel.modules, &arguments.test_arguments, handshakes.as_deref())?;
    let log = log_folder().join(format!("{}.log", kernel.label));
    let machine = Machine {
        emulator: &lab.emulator,
        kernel,
        initramfs: &initramfs,
        log: &log,
        deadline: Duration::from_secs(arguments.deadline),
        memory: "1G",
        shown: if arguments.verbose { Shown::Everything } else { Shown::Nothing },
        clock: Clock::Wall,
    };
    let started = Instant::now();
    let mut console = boot_until_init(&machine)?;
    let release = console.release.clone().unwrap_or_else(|| "that never reached init".to_owned());
    let findings = std::mem::take(&mut console.findings);
    let verdict = console.verdict();
    let seconds = started.elapsed().as_secs_f32();
    let mut report = format!("vm {}: kernel {release}: {verdict} ({seconds:.1} s)\n", kernel.label);
    let kernel = matrix::Kernel { label: kernel.label, release, findings };
    if verdict.results.counts.failed > 0 {
        report += &format!("vm {}: the log is {}\n", kernel.label, log.display());
        report += &failures_in(&fs::read_to_string(&log).unwrap_or_default());
    }
    report += &Matrix(vec![kernel.clone()]).scenarios();
    // At once: another machine may be done at the same time.
    print!("{report}");
    Ok((verdict, kernel))
}

/// What the test binary says of its failures, which it does at the end; bounded.
fn failures_in(log: &str) -> String {
    let lines = log.lines().skip_while(|line| line.trim() != "failures:");
    lines.take(MOST_LINES_OF_FAILURES).map(|line| format!("{line}\n")).collect()
}

/// Boots a machine, and again only if it did not come to its init.
pub(crate) fn boot_until_init(machine: &Machine<'_>) -> Result<Console> {
    until_init(machine.kernel.label, || machine.boot())
}

fn until_init(label: &str, mut boot: impl FnMut() -> Result<Console>) -> Result<Console> {
    let mut boots = 1;
    loop {
        let console = boot()?;
        if !is_tried_again(boots, &console) {
            return Ok(console);
        }
        println!("vm {label}: boot {boots} of {BOOTS} did not reach init");
        boots += 1;
    }
}

/// Whether what has booted so often, the last time with this to say, is booted once more.
fn is_tried_again(boots: u32, console: &Console) -> bool {
    boots < BOOTS && !console.reached_init()
}

#[cfg(test)]
mod tests {
    use super::console::Source;
    use super::*;

    const INIT: &str = "LAB: kernel 6.1.0-56-cloud-amd64";

    fn console(lines: &[(Source, &str)]) -> Console {
        let mut console = Console::default();
        lines.iter().for_each(|(source, line)| console.line(*source, line));
        console
    }

    /// How often a machine is booted that says this at its first boots and is well at those that follow.
    fn boots(bad: &[&[(Source, &str)]]) -> u32 {
        let mut boots = 0;
        let boot = || {
            let lines = bad.get(boots as usize).copied();
            boots += 1;
            Ok(console(lines.unwrap_or(&[(Source::Guest, INIT), (Source::Guest, "LAB: exit 0")])))
        };
        until_init("6.1", boot).unwrap();
        boots
    }

    #[test]
    fn a_machine_is_booted_again_until_it_comes_to_its_init_but_not_forever() {
        const DEAD: &[(Source, &str)] = &[(Source::Kernel, "[    1.0] Kernel panic - not syncing")];
        assert_eq!(boots(&[]), 1);
        assert_eq!(boots(&[DEAD]), 2);
        assert_eq!(boots(&[DEAD, &[]]), 3);
        assert_eq!(boots(&[DEAD; 10]), BOOTS);
    }

    #[test]
    fn what_happens_after_init_is_never_tried_again() {
        let failed = [(Source::Guest, INIT), (Source::Guest, "LAB: exit 101")];
        let died = [(Source::Guest, INIT), (Source::Kernel, "[    9.0] Kernel panic - not syncing")];
        for lines in [&failed[..], &died, &[(Source::Guest, INIT)]] {
            assert_eq!(boots(&[lines]), 1);
            assert!(!is_tried_again(1, &console(lines)));
        }
    }

    #[test]
    fn a_boot_that_cannot_be_begun_is_an_error_at_once() {
        let mut boots = 0;
        let boot = || {
            boots += 1;
            anyhow::bail!("no qemu")
        };
        assert!(until_init("6.1", boot).is_err());
        assert_eq!(boots, 1);
    }
}
