//! One boot of a lab machine: qemu as a child, its serial lines read, a deadline kept.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::{Console, MARK, Source};
use crate::processes;
use crate::setup::emulator::Emulator;
use crate::setup::kernels::Kernel;

/// A machine to be.
pub(crate) struct Machine<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) kernel: &'a Kernel,
    pub(crate) initramfs: &'a Path,
    /// Where everything it says is kept.
    pub(crate) log: &'a Path,
    pub(crate) deadline: Duration,
    /// As qemu takes it: `1G`.
    pub(crate) memory: &'a str,
    pub(crate) shown: Shown,
    pub(crate) clock: Clock,
}

/// What time is inside a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// This machine's. There are two processors.
    Wall,
    /// A nanosecond is an instruction of the one processor, and nobody waits for anything: a machine
    /// that idles is at once where its next timer is due.
    Instructions,
}

/// What of a machine's lines the user sees at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// What its program says, as it is.
    Program,
    /// Everything, with the name of the kernel.
    Everything,
}

/// Ends qemu on every way out, by its own process.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is all we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Clock {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Wall => &["-accel", "tcg", "-smp", "2"],
            Self::Instructions => {
                &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"]
            }
        }
    }

    /// Far more than a boot takes, also beside a compiler.
    fn boot_deadline(self) -> Duration {
        Duration::from_secs(match self {
            Self::Wall => 60,
            Self::Instructions => 300,
        })
    }
}

impl Machine<'_> {
    /// Boots, follows until the machine is off or a deadline has passed, and ends it.
    pub(crate) fn boot(&self) -> Result<Console> {
        let mut log =
            File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut running = Running(self.command().spawn().context("cannot start qemu")?);
        let (sender, lines) = mpsc::channel();
        if let Some(output) = running.0.stdout.take() {
            read_lines(output, Source::Guest, sender.clone());
        }
        if let Some(output) = running.0.stderr.take() {
            read_lines(output, Source::Kernel, sender);
        }
        self.follow(&lines, &mut log)
    }

    fn follow(&self, lines: &Receiver<(Source, String)>, log: &mut File) -> Result<Console> {
        let started = Instant::now();
        let mut console = Console::default();
        loop {
            let deadline = if console.reached_init() {
                self.deadline
            } else {
                self.clock.boot_deadline().min(self.deadline)
            };
            match lines.recv_timeout(deadline.saturating_sub(started.elapsed())) {
                Ok((source, line)) => {
                    console.line(source, &line);
                    let prefix = if source == Source::Kernel { "kernel| " } else { "" };
                    writeln!(log, "{prefix}{line}")?;
                    match self.shown {
                        Shown::Everything => println!("{}| {prefix}{line}", self.kernel.label),
                        Shown::Program if source == Source::Guest && !line.starts_with(MARK) => {
                            println!("{line}");
                        }
                        _ => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let stage = if console.reached_init() { "tests" } else { "boot" };
                    console.complaints.push(format!("the {stage} took longer than {} s", deadline.as_secs()));
                    return Ok(console);
                }
                // Both serial lines are closed: the machine is off.
                Err(RecvTimeoutError::Disconnected) => return Ok(console),
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = processes::tied_to_this_process(self.emulator.command());
        command
            .args(["-M", "q35", "-cpu", "max,-cx16", "-m", self.memory])
            .args(self.clock.arguments())
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-chardev", "file,id=kernel,path=/dev/stderr", "-serial", "chardev:kernel"])
            .args(["-chardev", "stdio,id=guest,signal=off", "-serial", "chardev:guest"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", "console=ttyS0 panic=-1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn read_lines(output: impl Read + Send + 'static, source: Source, sender: Sender<(Source, String)>) {
    thread::spawn(move || {
        // Not lines(): a kernel may print any bytes.
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send((source, line)).is_err() {
                return; // nobody follows any more
            }
        }
    });
}
