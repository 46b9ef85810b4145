//! `top`: how the queues of every port are, live in a terminal.
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use rustix::system::uname;

use super::{
    AttachArguments, Given,
    asked::{AskedArguments, nobody_on},
    no_colours,
};
use crate::{
    daemon::client::{self, Daemon},
    top::{
        live::{self, Source},
        state::Origin,
        view::Palette,
    },
};

/// Arguments of `top`.
#[derive(Debug, Args)]
#[command(after_help = "Press ? for the keys.")]
pub(super) struct Arguments {
    /// Seconds between two readings
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    attach: AttachArguments,
}

/// As clap's, for a command line that does not fit its surroundings.
const USAGE: u8 = 2;
/// Each reading costs the daemon one of its own, and nobody reads faster.
const LEAST_SECONDS: f64 = 0.1;
/// Longer is a graph.
const MOST_SECONDS: f64 = 60.0;

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (LEAST_SECONDS..=MOST_SECONDS).contains(&seconds) => Ok(seconds),
        _ => Err(format!("not a number of seconds between {LEAST_SECONDS} and {MOST_SECONDS}")),
    }
}

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!(
            "tcp-backlog-probe: top needs a terminal: `tcp-backlog-probe snapshot` prints the table once, and with \
             --json everything"
        );
        return Ok(ExitCode::from(USAGE));
    }
    let (source, asked) = source(arguments, given)?;
    let is_here = !matches!(&source, Source::Daemon(Daemon::Address(address)) if !address.ip().is_loopback());
    let host = is_here.then(|| uname().nodename().to_string_lossy().into_owned());
    let palette = if no_colours() { Palette::Plain } else { Palette::Colours };
    let every = Duration::from_secs_f64(arguments.interval);
    live::run(source, Origin { host, asked }, every, palette)?;
    Ok(ExitCode::SUCCESS)
}

/// The first daemon that answers; where there is none, hooks of our own.
fn source(arguments: &Arguments, given: &Given) -> anyhow::Result<(Source, String)> {
    let daemons = arguments.asked.daemons();
    for (daemon, meant) in &daemons {
        if client::answers(daemon)? {
            return Ok((Source::Daemon(daemon.clone()), format!("daemon on {daemon}")));
        }
        if *meant {
            return Err(nobody_on(daemon));
        }
    }
    let tried: Vec<_> = daemons.iter().map(|(daemon, _)| daemon.to_string()).collect();
    let nobody = || {
        let tried = tried.join(" or ");
        format!(
            "no daemon answers on {tried} (`tcp-backlog-probe run` is one), and there can be no look of its own"
        )
    };
    let (probe, level) = arguments.attach.attach_and_log(given).with_context(nobody)?;
    if io::stderr().is_terminal() {
        // Lines of the log would be written into the middle of the table.
        level.set("off")?;
    }
    Ok((Source::Own(Box::new(probe)), "no daemon, hooks of its own".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_neither_nothing_nor_for_ever() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(interval(text).ok(), expected, "{text}");
        check("1", Some(1.0));
        check("0.1", Some(0.1));
        check("60", Some(60.0));
        check("0", None);
        check("61", None);
        check("-1", None);
        check("inf", None);
        check("NaN", None);
        check("soon", None);
    }
}
