//! `cargo xtask spike`: a load client that opens many connections at once, and tells how each of them ended.
//!
//! Every connection asks one question. There is no pool, no second try and no warming up: what the server's
//! queues do to new connections is what is to be seen.

mod exchange;
mod load;
pub(crate) mod tally;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::load::Plan;
use self::tally::Tally;

/// Opens many connections to an HTTP server within a short time and counts how they end
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// Where the server listens
    address: SocketAddr,
    /// What is asked for
    #[arg(long, default_value = "/")]
    path: String,
    /// How many connections are opened
    #[arg(long, value_name = "NUMBER", default_value_t = 3000)]
    connections: usize,
    /// The time over which they are spread, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    within: Duration,
    /// How long a handshake may take
    #[arg(long, value_name = "SECONDS", default_value = "0.9", value_parser = seconds)]
    connect_timeout: Duration,
    /// How long each of them may take, from its opening to the end of the answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Take the processor before others, as root
    #[arg(long)]
    urgent: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Enough to open connections in time beside hundreds of a server's threads. More would starve the kernel's own
/// threads, one of which brings the packets of the loopback interface to their sockets.
const URGENT: i32 = -10;

/// A number of seconds, with a fraction or without.
pub(crate) fn seconds(text: &str) -> Result<Duration> {
    let number: f64 = text.trim_end_matches('s').parse().context("a number of seconds is expected")?;
    Duration::try_from_secs_f64(number).context("a number of seconds is expected")
}

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let plan = Plan {
        to: arguments.address,
        path: arguments.path.clone(),
        connections: arguments.connections,
        within: arguments.within,
        connect_timeout: arguments.connect_timeout,
        timeout: arguments.timeout,
    };
    if arguments.urgent {
        rustix::process::setpriority_process(None, URGENT)
            .context("spike: --urgent is not allowed (remedy: be root, or leave it out)")?;
    }
    let tally = load::run(&plan)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&tally)?);
    } else {
        print!("{}", text(&tally));
    }
    Ok(())
}

fn text(tally: &Tally) -> String {
    let rows = [
        ("connections", tally.connections),
        ("answered", tally.answered),
        ("connect timeouts", tally.connect_timeouts),
        ("answer timeouts", tally.answer_timeouts),
        ("refused", tally.refused),
        ("reset", tally.resets),
        ("closed without an answer", tally.closed),
        ("wrong answers", tally.wrong_answers),
        ("other errors", tally.other_errors),
    ];
    let counts: String = rows.iter().map(|(name, count)| format!("{name:25} {count:>7}\n")).collect();
    let time =
        |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3} s"));
    format!(
        "{counts}opened within {:.3} s; answers took {} (median), {} (99 %), {} (slowest)\n",
        tally.seconds_to_open,
        time(tally.median_seconds),
        time(tally.p99_seconds),
        time(tally.slowest_seconds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_a_fraction_and_a_unit() {
        assert_eq!(seconds("0.9").unwrap(), Duration::from_millis(900));
        assert_eq!(seconds("1s").unwrap(), Duration::from_secs(1));
        assert!(seconds("soon").is_err() && seconds("-1").is_err());
    }

    #[test]
    fn what_did_not_happen_is_a_dash() {
        let text = text(&Tally { connections: 3, refused: 3, ..Tally::default() });
        assert!(text.contains("refused                         3\n"), "{text}");
        assert!(text.ends_with("answers took - (median), - (99 %), - (slowest)\n"), "{text}");
    }
}
