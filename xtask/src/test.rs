//! `cargo xtask test`: every test there is, and one line that says how it went.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::libtest::{Counts, Follower, HANDSHAKES_VARIABLE, Results};
use crate::setup::kernels::TESTED_LINES;
use crate::{AlreadyReported, processes, setup, vm, workspace};

/// Where the test that a Java server is recognised finds a `java`; without one it is skipped.
const JAVA_VARIABLE: &str = "TCP_BACKLOG_PROBE_JAVA";
/// A minute's work for a real processor.
const HANDSHAKES: &str = "200000";

/// Runs all tests
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Leave the lab out
    #[arg(long)]
    no_vm: bool,
    /// Run one part only
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Unit, golden and documentation tests: any machine
    Unit,
    /// Tests on this machine's own kernel, as root
    Host,
    /// Tests on the lab's kernels
    Vm,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Host => "host",
            Self::Vm => "lab",
        }
    }
}

/// What fails where no test does.
const WHO: &str = "xtask test";

/// Why a part does not run here.
struct Skip(String);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::build_tools()?;
    let mut results = Results::default();
    for part in [Part::Unit, Part::Host, Part::Vm] {
        if arguments.only.is_some_and(|only| only != part) {
            continue;
        }
        match run_part(part, arguments)? {
            Ok(more) => results += at_least_one(part, more),
            Err(Skip(reason)) => {
                println!("test: skipped: {reason}");
                results.counts.skipped += 1;
            }
        }
    }
    let skips_count = workspace::is_continuous_integration() && results.counts.skipped > 0;
    if skips_count {
        println!("test: a skip is a failure here, because CI is set");
    }
    println!("{results}");
    if results.counts.failed > 0 || skips_count {
        return Err(AlreadyReported.into());
    }
    Ok(())
}

/// A part that runs nothing proves nothing, however well it ends.
fn at_least_one(part: Part, mut results: Results) -> Results {
    if results.counts == Counts::default() {
        results.fail(WHO, &format!("there is no {} test", part.name()));
    }
    results
}

fn run_part(part: Part, arguments: &Arguments) -> Result<Result<Results, Skip>> {
    Ok(match part {
        Part::Unit => Ok(run_cargo_test(&["--workspace", "--exclude", "probe-ebpf", "--no-fail-fast"])?),
        Part::Host if !workspace::is_root() => {
            Err(Skip("tests on this machine's kernel: loading BPF programs takes root".to_owned()))
        }
        Part::Host => {
            let mut cargo = workspace::cargo("test");
            cargo.args(["--package", "tcp-backlog-probe", "--test", "on_host"]);
            cargo.env(HANDSHAKES_VARIABLE, HANDSHAKES);
            match setup::java() {
                Ok(java) => drop(cargo.env(JAVA_VARIABLE, java)),
                Err(error) => println!("test: no JVM will be looked at: {error:#}"),
            }
            Ok(follow(&mut cargo)?)
        }
        Part::Vm if arguments.no_vm => Err(Skip("the lab: --no-vm".to_owned())),
        Part::Vm if !cfg!(target_arch = "x86_64") => {
            Err(Skip("the lab: its kernels are for x86-64 machines".to_owned()))
        }
        Part::Vm => match setup::lab(&TESTED_LINES) {
            Ok(lab) => Ok(run_lab(&lab)?),
            Err(error) => Err(Skip(format!("the lab: {error:#}"))),
        },
    })
}

/// The documented compatibility is a result like any other, but it may lag behind a new hook until the
/// next run of CI.
fn run_lab(lab: &setup::Lab) -> Result<Results> {
    let vm::Results { mut tests, matrix } = vm::boot_all(lab, &vm::Arguments::default())?;
    let differences = vm::compatibility::differences(&matrix)?;
    for difference in &differences {
        println!("test: {difference}");
    }
    if !differences.is_empty() {
        println!("test: remedy: cargo xtask compatibility");
        if workspace::is_continuous_integration() {
            tests.fail(WHO, &differences.join("\n"));
        }
    }
    Ok(tests)
}

/// Runs tests, shows what they say and counts them.
fn run_cargo_test(arguments: &[&str]) -> Result<Results> {
    let mut cargo = workspace::cargo("test");
    cargo.args(arguments);
    follow(&mut cargo)
}

fn follow(command: &mut Command) -> Result<Results> {
    let line = processes::line_of(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let mut follower = Follower::default();
    if let Some(output) = child.stdout.take() {
        for bytes in BufReader::new(output).split(b'\n') {
            let text = String::from_utf8_lossy(&bytes?).into_owned();
            println!("{text}");
            follower.line(&text);
        }
    }
    let status = child.wait()?;
    let mut results = follower.end();
    if !status.success() && results.counts.failed == 0 {
        results.fail(WHO, &format!("`{line}` failed ({status})")); // it did not even compile
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(script: &str) -> Counts {
        follow(Command::new("sh").args(["-c", script])).unwrap().counts
    }

    #[test]
    fn a_failure_without_results_counts() {
        assert_eq!(counts_of("exit 101"), Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn a_failed_test_counts_once() {
        let script = "echo 'running 1 test'; echo 'test result: FAILED. 0 passed; 1 failed; 0 ignored; \
                      0 measured; 0 filtered out; finished in 0.00s'; exit 101";
        assert_eq!(counts_of(script), Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn nothing_run_is_a_failure() {
        let nothing = at_least_one(Part::Host, Results::default());
        assert_eq!(nothing.counts.failed, 1);
        assert_eq!(
            nothing.to_string(),
            "failed: xtask test\n    there is no host test\n0 passed, 1 failed, 0 skipped"
        );
        let passed = Counts { passed: 1, ..Counts::default() };
        assert_eq!(at_least_one(Part::Host, passed.into()).counts, passed);
    }

    #[test]
    fn success_is_success() {
        assert_eq!(counts_of("echo hello"), Counts::default());
    }
}
