//! `cargo xtask abuse`: the daemon's HTTP side under fuzzed requests and slow connections.

mod attack;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use self::attack::{MOST_GROWTH, Plan, Report};
use crate::{build, processes};

/// Sends the daemon what no client should, and fails if it shows
///
/// It is started without hooks on a free port of the loopback interface; that needs no privileges.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many requests are sent, most of them odd
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    requests: usize,
    /// How many connections at a time never finish their request
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    slow_connections: usize,
    /// How many scrapes are made meanwhile
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    scrapes: usize,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A daemon that is built already
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// 99 of 100 scrapes have to be quicker, whoever else is connected.
const SLOWEST_SCRAPE: Duration = Duration::from_millis(50);
const UNTIL_READY: Duration = Duration::from_secs(60);

/// The command itself.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = arguments.binary.clone().map_or_else(|| build::daemon(true, false), Ok)?;
    let daemon = Daemon::start(&binary)?;
    let plan = Plan {
        requests: arguments.requests,
        slow_connections: arguments.slow_connections,
        scrapes: arguments.scrapes,
        seed: arguments.seed,
    };
    let report = attack::run(daemon.address, daemon.process.id(), &plan)?;
    print!("{}", text(&report));
    let panics: Vec<String> = daemon.log.try_iter().filter(|line| line.contains("panicked")).collect();
    ensure!(panics.is_empty(), "abuse: the daemon panicked: {}", panics.join("; "));
    let [before, _, after] = report.memory;
    ensure!(
        after <= before + MOST_GROWTH,
        "abuse: {} KiB of memory did not come back",
        after.saturating_sub(before)
    );
    let high = report.beside_slow.high;
    ensure!(high < SLOWEST_SCRAPE, "abuse: beside slow connections scrapes took {high:.1?}");
    Ok(())
}

fn text(report: &Report) -> String {
    let flooded = &report.flooded;
    let [before, most, after] = report.memory;
    format!(
        "requests      {}, {} answers, {} connections, {:.1?}\n\
         slow          opened {} times\n\
         scrapes       {}\n\
         beside slow   {}\n\
         memory        {before} KiB resident, {most} at most, {after} in the end\n",
        flooded.requests,
        flooded.answers,
        flooded.connections,
        flooded.took,
        report.slow_opened,
        report.quiet,
        report.beside_slow,
    )
}

/// The daemon under attack; ends with this.
struct Daemon {
    process: Child,
    address: SocketAddr,
    /// What it logs from then on.
    log: Receiver<String>,
}

impl Daemon {
    fn start(binary: &PathBuf) -> Result<Self> {
        let mut command = Command::new(binary);
        let arguments =
            ["run", "--plan", "none", "--listen", "127.0.0.1:0", "--socket", "none", "--log-format", "json"];
        command.args(arguments);
        let mut command = processes::tied_to_this_process(command);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process =
            command.spawn().with_context(|| format!("abuse: cannot start {}", binary.display()))?;
        let log = process.stderr.take().map(lines_of).context("abuse: the daemon has no standard error")?;
        // From here on it is ended whatever happens.
        let mut daemon = Self { process, address: SocketAddr::from(([127, 0, 0, 1], 0)), log };
        daemon.address = daemon.ready_address()?;
        Ok(daemon)
    }

    fn ready_address(&self) -> Result<SocketAddr> {
        loop {
            let Ok(line) = self.log.recv_timeout(UNTIL_READY) else {
                bail!("abuse: the daemon did not get ready")
            };
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let fields = line.get("fields").unwrap_or(&line);
            let field = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            if field("message") == Some("ready") {
                return field("address").unwrap_or_default().parse().context("abuse: no address is ready");
            }
        }
    }
}

/// They are read as they come, or the daemon would wait for that.
fn lines_of(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
