//! `check`: what can be measured here, by which hooks, and why not the rest.
use clap::{Args, ValueEnum};

use super::{AttachArguments, build_info, to_stdout};
use crate::render::{check, json};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    attach: AttachArguments,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = arguments.attach.attach(false)?.read();
    let plan = arguments.attach.plan.to_possible_value();
    let requested = plan.as_ref().map_or("auto", |value| value.get_name());
    to_stdout(|out| {
        if arguments.json {
            json::write(&model, &build_info(), out)
        } else {
            check::write(&model, &build_info(), requested, out)
        }
    })
}
