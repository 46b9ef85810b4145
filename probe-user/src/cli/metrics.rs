//! `metrics`: the catalogue of metrics.
use std::io::Write;

use clap::Args;

use super::to_stdout;
use crate::{metrics::catalogue::CATALOGUE, render::markdown};

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print the page docs/METRICS.md instead of one line for each metric
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    to_stdout(|out| {
        if arguments.markdown {
            return markdown::write(out);
        }
        CATALOGUE.iter().try_for_each(|metric| writeln!(out, "{} {}", metric.name, metric.help))
    })
}
