//! Starting other programs: each failure is one line that names the command.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::toolchain_layout::find_on_path;

/// Runs a command whose output the user should see.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| cannot_run(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line_of(command));
    }
    Ok(())
}

/// Runs a command for its output. What it says on the way is shown only when it fails, and of that
/// only the lines that look like the reason.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_run(command))?;
    if !output.status.success() {
        let reason = reason_in(&String::from_utf8_lossy(&output.stderr));
        // The reason is the root cause, for callers that know a better name for what failed.
        return Err(anyhow!(reason).context(format!("`{}` failed ({})", line_of(command), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command in silence and says whether it succeeded; after the deadline it is killed.
pub(crate) fn succeeds_within(command: &mut Command, deadline: Duration) -> bool {
    let started = Instant::now();
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(None) | Err(_) => {
                // It may have ended just now: there is nothing to do about either failure.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// A child process that ends with whoever holds it.
pub(crate) struct Kept(pub(crate) Child);

impl Kept {
    /// Asks it to end, as a service manager does, and waits; in the end it is made to.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<()> {
        if let Some(id) = rustix::process::Pid::from_raw(i32::try_from(self.0.id())?) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let started = Instant::now();
        while started.elapsed() < patience {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(()) // drop kills it
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is all we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// If xtask is killed outright, no destructor runs: then the kernel ends the child. Take it before anything
/// but arguments, variables and the folder is set.
pub(crate) fn tied_to_this_process(command: Command) -> Command {
    // busybox's own cannot do it.
    let is_busybox = |path: &PathBuf| path.canonicalize().is_ok_and(|real| real.ends_with("busybox"));
    let Some(setpriv) = find_on_path("setpriv").filter(|path| !is_busybox(path)) else {
        return command;
    };
    let mut tied = Command::new(setpriv);
    tied.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// The command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run `{}`", line_of(command))
}

/// The first error a program named, else the last thing it said.
fn reason_in(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.starts_with("E:") || line.starts_with("error"))
        .or_else(|| lines().next_back())
        .unwrap_or("it did not say why")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_error_or_the_last_line() {
        assert_eq!(reason_in("Hit:1 x\nE: no such package\nE: giving up\n"), "E: no such package");
        assert_eq!(reason_in("one\ntwo\n\n"), "two");
        assert_eq!(reason_in(""), "it did not say why");
    }

    #[test]
    fn a_failed_command_names_itself() {
        let message = output_of(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]));
        let message = format!("{:#}", message.unwrap_err());
        assert_eq!(message, "`sh -c echo broken >&2; exit 3` failed (exit status: 3): broken");
    }

    #[test]
    fn a_command_past_its_deadline_has_not_succeeded() {
        assert!(succeeds_within(&mut Command::new("true"), Duration::from_secs(10)));
        assert!(!succeeds_within(&mut Command::new("false"), Duration::from_secs(10)));
        assert!(!succeeds_within(Command::new("sleep").arg("60"), Duration::from_millis(50)));
    }
}
