//! Writes what packages contain about the command line, from the command line itself: manual pages and completions
//! for shells. An example and not a subcommand, so that the daemon does not carry it on every host.
//!
//! `cargo run --example command_line_files -- FOLDER`; `cargo xtask package` does it.
use std::{env, fs, io, path::PathBuf};

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate_to};
use tcp_backlog_probe::cli::CommandLine;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: command_line_files FOLDER"))?;
    let (manual, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&manual)?;
    fs::create_dir_all(&completions)?;
    let command = || CommandLine::command().name("tcp-backlog-probe");
    clap_mangen::generate_to(command(), &manual)?;
    for shell in Shell::value_variants() {
        generate_to(*shell, &mut command(), "tcp-backlog-probe", &completions)?;
    }
    Ok(())
}
