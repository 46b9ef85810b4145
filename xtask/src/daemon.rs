//! A daemon on a free port of the loopback interface, for whoever measures or attacks one.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::processes;

const UNTIL_READY: Duration = Duration::from_secs(60);

/// A daemon that is ready; ends with this.
pub(crate) struct Daemon {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
    /// What it logs from then on.
    pub(crate) log: Receiver<String>,
    /// From its start on.
    pub(crate) time_to_ready: Duration,
}

impl Daemon {
    /// Starts `run` with these arguments more, and waits until it says that it is ready.
    pub(crate) fn start(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["run", "--listen", "127.0.0.1:0", "--socket", "none", "--log-format", "json"]);
        command.args(arguments);
        let mut command = processes::tied_to_this_process(command);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut process =
            command.spawn().with_context(|| format!("daemon: cannot start {}", binary.display()))?;
        let log = process.stderr.take().map(lines_of).context("daemon: it has no standard error")?;
        // From here on it is ended whatever happens.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self { process, address, log, time_to_ready: Duration::ZERO };
        daemon.address = daemon.ready_address()?;
        daemon.time_to_ready = begun.elapsed();
        Ok(daemon)
    }

    fn ready_address(&self) -> Result<SocketAddr> {
        loop {
            let Ok(line) = self.log.recv_timeout(UNTIL_READY) else { bail!("daemon: it did not get ready") };
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let fields = line.get("fields").unwrap_or(&line);
            let field = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            if field("message") == Some("ready") {
                return field("address").unwrap_or_default().parse().context("daemon: no address is ready");
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
