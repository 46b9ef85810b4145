//! `snapshot`: print what is counted, once.
use std::{io, thread, time::Duration};

use clap::Args;

use super::{AttachArguments, Given, build_info, to_stdout};
use crate::render::{json, table};

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Print the JSON schema of what --json prints, and nothing else
    #[arg(long, conflicts_with = "json")]
    schema: bool,
    /// How long to count before printing, in seconds
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    #[command(flatten)]
    attach: AttachArguments,
}

/// A day: longer is a daemon.
const MOST_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=MOST_SECONDS).contains(&seconds) => Ok(seconds),
        _ => Err(format!("not a number of seconds between 0 and {MOST_SECONDS}")),
    }
}

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<()> {
    if arguments.schema {
        return to_stdout(|out| json::write_schema(out));
    }
    let mut probe = arguments.attach.attach_once(given)?;
    thread::sleep(Duration::from_secs_f64(arguments.seconds));
    let model = probe.read();
    to_stdout(|out: &mut io::StdoutLock<'_>| {
        if arguments.json { json::write(&model, &build_info(), out) } else { table::write(&model, out) }
    })
}
