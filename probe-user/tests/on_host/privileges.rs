//! The daemon with less than root has.
use std::{
    env, fs,
    net::TcpListener,
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
    trials_of!("privileges": anybody_else_is_told_what_is_missing, anybody_may_run_it_without_hooks, owners_that_may_not_be_seen_are_unknown)
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

/// And that is said once, however often it is read and however many processes come and go.
fn owners_that_may_not_be_seen_are_unknown() {
    let copy = PublicBinary::new("blind");
    let of_root = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = of_root.local_addr().expect("its address").port().to_string();
    let mut command = copy.as_nobody();
    command.args(run_arguments(&["--plan", "none"]));
    let daemon = Daemon::start_command(command);
    for _ in 0..3 {
        let metrics = daemon.scrape();
        let label = |name: &str| metrics.label(name, &[("port", &port)], "process");
        assert_eq!(label("tcp_backlog_listeners"), Some(""));
        assert_eq!(label("tcp_backlog_port_owner_info"), None);
    }
    let log = daemon.log().text();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("/proc/PID/fd")).collect();
    let [complaint] = complaints.as_slice() else { panic!("not said once: {complaints:#?}") };
    assert!(complaint.contains("CAP_SYS_PTRACE"), "{complaint}");
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
