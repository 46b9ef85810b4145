//! `doctor`: what is wrong, and what cures it.
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;

use super::{AttachArguments, Given, daemons::DaemonArguments, to_stdout};
use crate::{
    advice,
    daemon::client,
    model::advice::{Diagnosis, Health, Question},
    render::doctor::{self, Colour},
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 healthy, 1 advice, 2 connections are lost, 3 cannot tell.")]
pub(super) struct Arguments {
    /// Nothing but this port, and what concerns the host as a whole
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The while that is looked at, such as 90s, 15m or 1h; a daemon remembers an hour
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = since)]
    since: u64,
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemons: DaemonArguments,
    /// Ask no daemon, and watch for so many seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_600), conflicts_with = "daemon")]
    seconds: Option<u64>,
    #[command(flatten)]
    attach: AttachArguments,
}

/// How long to watch where there is no daemon: a stalled acceptor needs a few seconds to be told from a busy one.
const WATCH_SECONDS: u64 = 7;
/// How often it is looked meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Nothing can be said.
pub(super) const CANNOT_TELL: u8 = 3;

/// A number and a unit, in seconds.
fn since(text: &str) -> Result<u64, String> {
    let error = || format!("{text:?} is no time such as 90s, 15m or 1h");
    let unit = text.strip_suffix('s').map(|number| (number, 1));
    let unit = unit.or_else(|| text.strip_suffix('m').map(|number| (number, 60)));
    let unit = unit.or_else(|| text.strip_suffix('h').map(|number| (number, 3_600)));
    let (number, unit) = unit.unwrap_or((text, 1));
    let seconds: u64 = number.parse().map_err(|_| error())?;
    seconds.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(error)
}

/// Says what is wrong; what keeps it from telling is one line, and its own exit status.
pub(super) fn run(arguments: &Arguments, given: &Given) -> ExitCode {
    match examine(arguments, given).and_then(|diagnosis| {
        print(&diagnosis, arguments.json)?;
        Ok(diagnosis.advice.health)
    }) {
        Ok(Health::Healthy) => ExitCode::SUCCESS,
        Ok(Health::Advice) => ExitCode::from(1),
        Ok(Health::Losing) => ExitCode::from(2),
        Ok(Health::Unknown) => ExitCode::from(CANNOT_TELL),
        Err(error) => {
            eprintln!("tcp-backlog-probe: {error:#}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

fn examine(arguments: &Arguments, given: &Given) -> anyhow::Result<Diagnosis> {
    let question = Question { seconds: arguments.since, port: arguments.port };
    if arguments.seconds.is_none() {
        for (daemon, meant) in arguments.daemons.in_turn() {
            if let Some(diagnosis) = client::ask(&daemon, question)? {
                return Ok(diagnosis);
            }
            if meant {
                bail!(
                    "nobody can be asked on {daemon}: is the daemon running, and was it told to listen there?"
                );
            }
        }
    }
    watch(arguments, given, question)
}

/// Looks for itself for a few seconds.
fn watch(arguments: &Arguments, given: &Given, question: Question) -> anyhow::Result<Diagnosis> {
    let mut probe = arguments.attach.attach_once(given)?;
    let until = Duration::from_secs(arguments.seconds.unwrap_or(WATCH_SECONDS));
    let begun = Instant::now();
    loop {
        let model = probe.read();
        let left = until.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(advice::diagnose(&model, question));
        }
        thread::sleep(left.min(LOOK_INTERVAL));
    }
}

fn print(diagnosis: &Diagnosis, as_json: bool) -> anyhow::Result<()> {
    let plain =
        !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = if plain { Colour::None } else { Colour::Ansi };
    to_stdout(|out| {
        if as_json { doctor::write_json(diagnosis, out) } else { doctor::write(diagnosis, colour, out) }
    })
    .context("the report was not written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(since(text).ok(), expected, "{text}");
        check("90", Some(90));
        check("90s", Some(90));
        check("15m", Some(900));
        check("1h", Some(3_600));
        check("0", None);
        check("", None);
        check("m", None);
        check("-5m", None);
        check("1d", None);
        check("99999999999999999999h", None);
    }
}
