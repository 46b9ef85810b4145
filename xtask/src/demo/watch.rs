//! The daemon that watches a story, and what it is asked: its snapshot, and its doctor.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::counted::Counted;
use super::doctor::{Answer, Diagnosis};
use crate::http;
use crate::processes::{self, Kept};

/// Programs are verified and attached within a second; an emulated processor takes longer.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Whether this machine's kernel lets the daemon see what listen() is asked for: without it there is no story.
pub(super) fn sees_what_was_asked_for(program: &Path) -> Result<bool> {
    let mut command = Command::new(program);
    let text = processes::output_of(command.args(["snapshot", "--json", "--seconds", "0"]))?;
    let snapshot: Value = serde_json::from_str(&text).context("demo: the daemon's snapshot is no JSON")?;
    Ok(snapshot.pointer("/model/plan/coverage/backlog_requested") == Some(&Value::Bool(true)))
}

/// A running daemon.
pub(super) struct Daemon {
    program: PathBuf,
    address: SocketAddr,
    log: PathBuf,
    child: Kept,
}

impl Daemon {
    /// Starts it, on a free port of this machine's own loopback, and waits until it counts.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = address.context("demo: no free port on 127.0.0.1")?;
        let log = folder.join("daemon.log");
        let output = File::create(&log).with_context(|| format!("demo: cannot write {}", log.display()))?;
        let mut command = processes::tied_to_this_process({
            let mut command = Command::new(program);
            command.args(["run", "--listen", &address.to_string()]);
            command
        });
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().with_context(|| format!("demo: cannot start {}", program.display()))?;
        let mut daemon = Self { program: program.to_owned(), address, log, child: Kept(child) };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if get(self.address, "/readyz").is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.0.try_wait()? {
                bail!("demo: the daemon ended ({status}), see {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("demo: the daemon is not ready after {} s, see {}", READY_WITHIN.as_secs(), self.log.display())
    }

    /// Everything that it knows.
    pub(super) fn snapshot(&self) -> Result<Value> {
        let text = get(self.address, "/api/v1/snapshot").context("demo: the daemon gives no snapshot")?;
        serde_json::from_str(&text).context("demo: the daemon's snapshot is no JSON")
    }

    /// What it counted for a port so far.
    pub(super) fn counted(&self, netns: u64, port: u16) -> Result<Counted> {
        Ok(Counted::read(&self.snapshot()?, netns, port))
    }

    /// What the doctor says of a port's last time, for people and for programs.
    pub(super) fn doctor(&self, port: u16, since: &str) -> Result<Diagnosis> {
        let port = port.to_string();
        let arguments = ["doctor", "--daemon", &self.address.to_string(), "--port", &port, "--since", since];
        let (text, exit_code) = self.ask(&arguments)?;
        let (json, code) = self.ask(&[&arguments[..], &["--json"]].concat())?;
        let answer = Answer::read(&json)?;
        ensure!(answer.exit_code() == code, "demo: doctor says {} with exit code {code}", answer.health);
        let command = format!("tcp-backlog-probe doctor --port {port} --since {since}");
        Ok(Diagnosis { text, exit_code, command, answer })
    }

    /// 1 is advice, 2 are losses, 3 is ignorance: they are answers, too.
    fn ask(&self, arguments: &[&str]) -> Result<(String, i32)> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
        let line = processes::line_of(&command);
        let output = command.output().with_context(|| format!("demo: cannot run `{line}`"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(code) if code <= 3 && !text.is_empty() => Ok((text, code)),
            _ => {
                let reason = String::from_utf8_lossy(&output.stderr);
                bail!("demo: `{line}` failed ({}): {}", output.status, reason.trim())
            }
        }
    }
}

/// The body of an answer with status 200.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    http::ask(address, ("GET", path), Duration::from_secs(60))?.right()
}
