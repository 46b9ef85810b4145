//! The command `tcp-backlog-probe`: parse, dispatch, exit code.
use std::process::ExitCode;

use clap::Parser;
use tcp_backlog_probe::cli::CommandLine;

fn main() -> ExitCode {
    match CommandLine::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tcp-backlog-probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}
