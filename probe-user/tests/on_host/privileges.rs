//! The daemon with less than root has.
use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{self, Command},
};

use libtest_mimic::Trial;

use crate::{
    command_line::{complaint, output},
    scenarios::support::{
        daemon::{Daemon, binary, run_arguments},
        trials::trials_of,
    },
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!("privileges": anybody_else_is_told_what_is_missing, anybody_may_run_it_without_hooks)
}

/// `nobody`.
const NOBODY: u32 = 65534;

fn anybody_else_is_told_what_is_missing() {
    let copy = PublicBinary::new("refused");
    let line = complaint(&output(copy.as_nobody().args(run_arguments(&[]))));
    assert!(line.contains("CAP_BPF"), "{line}");
}

fn anybody_may_run_it_without_hooks() {
    let copy = PublicBinary::new("served");
    let mut command = copy.as_nobody();
    command.args(run_arguments(&["--plan", "none"]));
    let metrics = Daemon::start_command(command).scrape();
    let methods = metrics.label_values("tcp_backlog_accounting_info", "method");
    assert_eq!(methods, ["none"]);
}

/// A copy of the binary that everybody may run: the build directory may be root's alone.
struct PublicBinary(PathBuf);

impl PublicBinary {
    fn new(purpose: &str) -> Self {
        let path = env::temp_dir().join(format!("tcp-backlog-probe-{purpose}-{}", process::id()));
        fs::copy(binary(), &path).expect("a copy of the binary");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        Self(path)
    }

    fn as_nobody(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    }
}

impl Drop for PublicBinary {
    fn drop(&mut self) {
        // Nothing is lost but a file in the temporary directory.
        let _ = fs::remove_file(&self.0);
    }
}
