//! The command `tcp-backlog-probe`: parse, dispatch, exit code.
use std::{env, process::ExitCode};

use tcp_backlog_probe::cli::{CommandLine, failure_exit_code, usage_exit_code};

fn main() -> ExitCode {
    let command_line = match CommandLine::of_this_process() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Standard error may be closed: then there is nobody to tell.
            let _ = error.print();
            return usage_exit_code(&error, env::args_os().skip(1));
        }
    };
    match command_line.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tcp-backlog-probe: {error:#}");
            failure_exit_code(&error)
        }
    }
}
