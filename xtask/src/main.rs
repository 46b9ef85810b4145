//! The project's own commands, started as `cargo xtask <command>`. One file per command.
#![expect(clippy::print_stdout, reason = "a command line tool talks to its user")]

mod abuse;
mod bench;
mod build;
mod cache;
mod ci;
mod daemon;
mod dashboards;
mod demo;
mod http;
mod libtest;
mod lint;
mod metrics_docs;
mod package;
mod processes;
mod run;
mod setup;
mod spike;
mod test;
mod tidy;
mod toolchain_layout;
mod vm;
mod workspace;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and checks tcp-backlog-probe.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Arguments),
    Build(build::Arguments),
    Run(run::Arguments),
    Test(test::Arguments),
    Vm(vm::Arguments),
    Demo(demo::Arguments),
    Spike(spike::Arguments),
    Abuse(abuse::Arguments),
    Bench(bench::Arguments),
    Dashboards(dashboards::Arguments),
    Package(package::Arguments),
    Lint(lint::Arguments),
    /// Checks what no compiler checks: the architecture's rules, file by file
    Tidy,
    MetricsDocs(metrics_docs::Arguments),
    /// Writes the table of hooks in docs/COMPATIBILITY.md, from a run on every kernel of the lab
    Compatibility,
    /// Runs every check: tidy, setup, lint, metrics-docs, dashboards, test
    Ci,
}

/// The command failed and has already said all there is to say.
#[derive(Debug)]
struct AlreadyReported;

impl fmt::Display for AlreadyReported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("failed, see above")
    }
}

impl std::error::Error for AlreadyReported {}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Vm(arguments) => vm::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Spike(arguments) => spike::run(&arguments),
        Command::Abuse(arguments) => abuse::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Dashboards(arguments) => dashboards::run(&arguments),
        Command::Package(arguments) => package::run(&arguments),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::MetricsDocs(arguments) => metrics_docs::run(&arguments),
        Command::Compatibility => vm::compatibility::run(),
        Command::Ci => ci::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<AlreadyReported>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
