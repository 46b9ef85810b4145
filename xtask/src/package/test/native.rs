//! A Debian system in namespaces of this machine: systemd is its first process, the kernel is this machine's.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::super::folder;
use super::system::{self, FOLDER, Surroundings, System};
use crate::processes;

const INIT: &str = include_str!("native-init.sh");

/// Many times what it takes.
const DEADLINE: Duration = Duration::from_secs(900);

/// How often the file that the tests write to is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// Where the second hierarchy of cgroups is, on systems that still have the first, and on others.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Runs the tests and hands their lines on.
pub(super) fn run(system: &System<'_>, mut line: impl FnMut(&str)) -> Result<()> {
    let root = folder().join("native");
    let output = format!("append:/{FOLDER}/output");
    let surroundings = Surroundings { patience: 40, has_limits: false, has_kernel: false, output: &output };
    system.prepare(&root, &surroundings)?;
    let file = root.join(FOLDER).join("output");
    fs::write(&file, "")?;
    let group = Group::new()?;
    let mut running = Running(start(&root, &group)?);
    let outcome = follow(&mut running.0, &file, &mut line);
    drop(running);
    drop(group);
    outcome?;
    system::remove(&root)
}

fn start(root: &Path, group: &Group) -> Result<Child> {
    let enter = "echo $$ > \"$1/cgroup.procs\" && exec unshare --mount --pid --net --uts --ipc --cgroup \
                 --fork --kill-child sh -c \"$2\"";
    let mut command = processes::tied_to_this_process(Command::new("sh"));
    command.args(["-c", enter, "sh"]).arg(&group.0).arg(INIT).current_dir(root);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start a system in namespaces")
}

/// Ends with the system or at the deadline.
fn follow(child: &mut Child, file: &Path, line: &mut impl FnMut(&str)) -> Result<()> {
    let mut reader = File::open(file)?;
    let started = Instant::now();
    let mut rest = Vec::new();
    let mut has_ended = false;
    loop {
        let is_last = child.try_wait()?.is_some();
        reader.read_to_end(&mut rest)?;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(&rest.drain(..=end).collect::<Vec<_>>()).into_owned();
            has_ended |= text.starts_with("LAB: exit");
            line(text.trim_end());
        }
        if is_last {
            ensure!(has_ended, "the system ended before its tests did");
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "the tests took longer than {} s", DEADLINE.as_secs());
        thread::sleep(GLANCE);
    }
}

/// With it everything that is in its process namespace.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is all we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cgroup that the system takes for the root of all.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self> {
        let is_second = |path: &&&str| Path::new(path).join("cgroup.controllers").exists();
        let parent =
            CGROUPS.iter().find(is_second).context("this machine has no cgroups of the second kind")?;
        let group = Path::new(parent).join(format!("package-test-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        Ok(Self(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove_groups(&self.0);
    }
}

/// From the inside out. One that still has a process stays, and costs nothing.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
