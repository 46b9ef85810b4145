//! `config`: whether the configuration can be read, what is in force, and a file to begin with.
use clap::{Args, Subcommand};

use super::{Given, run, to_stdout};
use crate::{config::show, web::access::Access};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether `run` with the same arguments could read its configuration; attaches nothing
    Check(run::Arguments),
    /// Print the configuration that `run` with the same arguments would use, each value with its origin
    Show(run::Arguments),
    /// Print a file in which every key is explained
    Sample,
}

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<()> {
    let text = match &arguments.command {
        Command::Check(arguments) => {
            let loaded = arguments.source(given).load()?;
            let web = loaded.config.web_config_file.as_deref();
            Access::load_if_named(web)?;
            let files: Vec<_> = loaded.file.as_deref().into_iter().chain(web).collect();
            if files.is_empty() {
                "there is no file; what is said without one can be used\n".to_owned()
            } else {
                files.iter().map(|file| format!("{}: can be used\n", file.display())).collect()
            }
        }
        Command::Show(arguments) => show::effective(&arguments.source(given).load()?),
        Command::Sample => show::sample(),
    };
    to_stdout(|out| std::io::Write::write_all(out, text.as_bytes()))
}
