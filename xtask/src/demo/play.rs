//! A story, act by act: the spike, the doctor, the remedy, the restart, and the same spike again.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::counted::Counted;
use super::doctor::{Answer, Verdict};
use super::jmeter;
use super::judgement::{Account, Played};
use super::stage::{KernelCounters, Stage};
use super::story::{Clamp, PORT, Story};
use super::watch::Daemon;
use crate::processes::{self, Kept};
use crate::spike::tally::Tally;

/// A JVM on an emulated processor needs a minute or two until its first page is compiled.
const SERVER_WITHIN: Duration = Duration::from_secs(600);
/// For the last connections of a spike to leave the queue.
const QUIET_WITHIN: Duration = Duration::from_secs(300);
const QUIET_FOR: Duration = Duration::from_secs(2);
/// A server that was told to end finishes what it has begun.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// How far the doctor looks back. What was lost under another limit is over for it, so it may look back so far after
/// the restart, too.
const SINCE: &str = "5m";
/// How soon the doctor knows of a change.
const DOCTOR_WITHIN: Duration = Duration::from_secs(30);

/// What a story is played with.
pub(super) struct Means {
    pub(super) busybox: PathBuf,
    /// The server's root file system.
    pub(super) root: PathBuf,
    /// tcp-backlog-probe.
    pub(super) probe: PathBuf,
    /// Where the server's own folder and all logs are.
    pub(super) folder: PathBuf,
    /// How long a client waits for its handshake.
    pub(super) connect_timeout: Duration,
    /// How long a client waits for the whole answer.
    pub(super) timeout: Duration,
    /// The load client, if it is not our own.
    pub(super) jmeter: Option<Jmeter>,
}

/// Where JMeter is.
pub(super) struct Jmeter {
    pub(super) classes: PathBuf,
    /// A root file system with a JVM.
    pub(super) jvm: PathBuf,
}

/// Plays a story from its beginning to its end, and prints what is seen on the way.
pub(super) fn play(story: &Story, means: &Means) -> Result<Played> {
    println!("{}\n", story.about);
    fs::create_dir_all(&means.folder).with_context(|| format!("cannot make {}", means.folder.display()))?;
    let stage = Stage::open(&means.busybox)?;
    stage.set("net.core.somaxconn", story.somaxconn)?;
    let netns = stage.number()?;
    let daemon = Daemon::start(&means.probe, &means.folder)?;
    let theatre = Theatre { story, means, stage, netns, daemon };

    let server = theatre.start_server(story.backlog)?;
    let before = theatre.spike(|answer| !answer.rule().is_empty())?;
    let (between, backlog) = theatre.remedy(&before.doctor)?;
    heading("The server is restarted");
    server.stop(STOP_WITHIN)?;
    let server = theatre.start_server(backlog)?;
    let after = theatre.spike(|answer| answer.health == "healthy")?;
    server.stop(STOP_WITHIN)?;
    Ok(Played { before, between, after })
}

/// Everything that a story needs while it is played.
struct Theatre<'a> {
    story: &'a Story,
    means: &'a Means,
    stage: Stage,
    netns: u64,
    daemon: Daemon,
}

impl Theatre<'_> {
    /// Starts the server and waits for its first page, which takes longer than all others.
    fn start_server(&self, backlog: Option<u32>) -> Result<Kept> {
        let base = self.means.folder.join("server");
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let command = (self.story.prepare)(&self.means.root, &base, backlog, PORT)?;
        println!("$ {}", command.join(" "));
        let started = Instant::now();
        let mut server = self.stage.start_server(&self.means.root, &base, &command)?;
        while started.elapsed() < SERVER_WITHIN {
            if self.clients(1)?.answered == 1 {
                println!("the first page came after {:.1} s", started.elapsed().as_secs_f32());
                return Ok(server);
            }
            if let Some(status) = server.0.try_wait()? {
                bail!("demo: the server ended ({status}), see {}", base.join("server.log").display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = base.join("server.log");
        bail!("demo: no page within {} s, see {}", SERVER_WITHIN.as_secs(), log.display())
    }

    /// The load client, as a process in the network namespace. It goes before all others: it stands for many
    /// machines, which would not wait for a busy server's processor.
    fn clients(&self, number: u32) -> Result<Tally> {
        let program = std::env::current_exe().context("demo: where is this program?")?;
        let mut command = self.stage.inside(&program);
        command
            .args([
                "spike",
                &format!("127.0.0.1:{PORT}"),
                "--path",
                self.story.path,
                "--within",
                "1",
                "--json",
                "--urgent",
            ])
            .args(["--connections", &number.to_string()])
            .args(["--connect-timeout", &self.means.connect_timeout.as_secs_f64().to_string()])
            .args(["--timeout", &self.means.timeout.as_secs_f64().to_string()]);
        let json = processes::output_of(&mut command)?;
        serde_json::from_str(&json).context("demo: the load client's account cannot be read")
    }

    /// The spike's own clients.
    fn many_clients(&self, number: u32) -> Result<Tally> {
        let Some(jmeter) = &self.means.jmeter else { return self.clients(number) };
        let spike = jmeter::Spike {
            jmeter: &jmeter.classes,
            jvm: &jmeter.jvm,
            folder: &self.means.folder.join("jmeter"),
            path: self.story.path,
            connections: number,
            connect_timeout: self.means.connect_timeout,
            timeout: self.means.timeout,
        };
        spike.run(&self.stage)
    }

    /// The spike, and what all three who count it have to say.
    fn spike(&self, expected: impl Fn(&Answer) -> bool) -> Result<Account> {
        let number = self.story.connections;
        heading(&format!("{number} connections within a second"));
        let (kernel, daemon) = self.counters()?;
        let client = self.many_clients(number)?;
        let Tally { answered, seconds_to_open, .. } = client;
        println!(
            "{answered} were answered, {} failed; opened within {seconds_to_open:.2} s",
            client.failed()
        );
        let (kernel_now, daemon_now) = self.counters_when_quiet()?;
        let doctor = self.ask_doctor(expected)?;
        Ok(Account { client, kernel: kernel_now.since(kernel), daemon: daemon_now.since(&daemon), doctor })
    }

    /// The kernel's and the daemon's numbers of the same moment: the kernel's did not move in between.
    fn counters(&self) -> Result<(KernelCounters, Counted)> {
        let started = Instant::now();
        loop {
            let kernel = self.stage.kernel_counters()?;
            let daemon = self.daemon.counted(self.netns, PORT)?;
            if self.stage.kernel_counters()? == kernel {
                return Ok((kernel, daemon));
            }
            ensure!(started.elapsed() < QUIET_WITHIN, "demo: the kernel's counters do not come to rest");
        }
    }

    /// The same when the spike is over: nobody waits any more, and nothing is dropped any more.
    fn counters_when_quiet(&self) -> Result<(KernelCounters, Counted)> {
        let started = Instant::now();
        let (mut quiet_since, mut last) = (Instant::now(), self.counters()?);
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.counters()?;
            if now.1.queued.unwrap_or_default() > 0 || now.0 != last.0 {
                quiet_since = Instant::now();
            }
            if quiet_since.elapsed() >= QUIET_FOR {
                return Ok(now);
            }
            let waited = started.elapsed();
            ensure!(waited < QUIET_WITHIN, "demo: connections are in the queue {waited:?} after the spike");
            last = now;
        }
    }

    /// Asks until the answer is as expected or time is up; the last answer counts.
    fn ask_doctor(&self, expected: impl Fn(&Answer) -> bool) -> Result<Answer> {
        let started = Instant::now();
        loop {
            let diagnosis = self.daemon.doctor(PORT, SINCE)?;
            if expected(&diagnosis.answer) || started.elapsed() > DOCTOR_WITHIN {
                println!("\n$ {}\n{}", diagnosis.command, diagnosis.text.trim_end());
                println!("(exit code {})\n", diagnosis.exit_code);
                return Ok(diagnosis.answer);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Does what the doctor prints. Gives what the doctor says then, where that is a part of the story, and the
    /// backlog that the server is configured with from now on.
    fn remedy(&self, doctor: &Answer) -> Result<(Option<Answer>, Option<u32>)> {
        if self.story.clamp == Clamp::Application {
            let counted = self.daemon.counted(self.netns, PORT)?;
            let recommended = counted.recommended.context("demo: the daemon recommends no backlog")?;
            heading(&format!("The server's own backlog is set to {recommended}, as recommended"));
            return Ok((None, Some(recommended)));
        }
        heading("The remedy, as it is printed");
        for (text, command) in doctor.first().map(Verdict::steps_now).unwrap_or_default() {
            println!("{text}\n# {command}");
            let mut shell = Command::new("sh");
            processes::run(shell.args(["-c", command]).stdin(Stdio::null()))?;
        }
        heading("The server was not restarted");
        let expected = |answer: &Answer| answer.rule() == "raised_not_applied";
        Ok((Some(self.ask_doctor(expected)?), self.story.backlog))
    }
}

fn heading(text: &str) {
    println!("\n==> {text}");
}
