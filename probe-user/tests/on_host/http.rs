//! The HTTP side of a real daemon: who may ask, by which way, and what clients cannot do to it.
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    attack::{self, MOST_GROWTH, Plan},
    command_line::{command, complaint, output},
    scenarios::support::{
        daemon::{Daemon, run_arguments},
        trials::trials_of,
        wait::PATIENCE,
    },
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "http":
        doctor_asks_by_the_socket_whatever_the_network_is_asked_for,
        a_socket_is_there_while_its_daemon_is,
        a_web_config_that_cannot_be_meant_is_one_line,
        odd_requests_and_slow_clients_leave_no_trace
    )
}

/// No password's.
const HASH: &str = "$2y$04$.....................................................";

fn doctor_asks_by_the_socket_whatever_the_network_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("web.yml"), format!("basic_auth_users:\n  alice: {HASH}\n")).expect("a file");
    let arguments =
        ["--plan", "none", "--socket", &path("probe.sock"), "--web-config-file", &path("web.yml")];
    let daemon = Daemon::start(&arguments);
    let asked = output(command().args(["doctor", "--json", "--socket", &path("probe.sock")]));
    let diagnosis: Value = serde_json::from_slice(&asked.stdout).expect("a diagnosis");
    assert!(diagnosis.get("health").is_some(), "{diagnosis:#}");
    let refused = output(command().args(["doctor", "--daemon", &daemon.address.to_string()]));
    let line = complaint(&refused);
    assert!(line.contains("wants a password") && line.contains("socket"), "{line}");
    let nobody = output(command().args(["doctor", "--socket", &path("nobody.sock")]));
    assert!(complaint(&nobody).contains("nobody.sock"), "{nobody:?}");
}

fn is_served(path: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(path) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.ends_with("alive\n")
}

fn a_socket_is_there_while_its_daemon_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("probe.sock");
    let shown = path.display().to_string();
    let arguments = ["--plan", "none", "--socket", &shown];
    // Killed, as a daemon that goes out of scope is: the file stays.
    drop(Daemon::start(&arguments));
    assert!(path.exists() && !is_served(&path));
    let mut daemon = Daemon::start(&arguments);
    assert!(is_served(&path));
    assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o660);
    let second = complaint(&output(command().args(run_arguments(&arguments))));
    assert!(second.contains(&shown) && second.contains("another daemon"), "{second}");
    assert!(is_served(&path));
    assert!(daemon.end_with(Signal::SIGTERM).success());
    assert!(!path.exists());
}

fn a_web_config_that_cannot_be_meant_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml").display().to_string();
    let check = |text: &str, expected: &str| {
        fs::write(&file, text).expect("a file");
        let started = output(command().args(run_arguments(&["--plan", "none", "--web-config-file", &file])));
        assert!(!started.status.success(), "{started:?}");
        let line = complaint(&started);
        assert!(line.contains(&file) && line.contains(expected), "{line}");
    };
    check(
        "tls_server_config:\n  cert_fil: a.crt\n",
        "line 2: tls_server_config.cert_fil: unknown key: is \"cert_file\"",
    );
    check("tls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n", "a.crt cannot be read");
    check("basic_auth_users:\n  alice: password\n", "line 2: basic_auth_users.alice");
}

/// The short form of `cargo xtask abuse`, whose scrapes have to be quick as well: here other tests run at the same time.
fn odd_requests_and_slow_clients_leave_no_trace() {
    let daemon = Daemon::start(&["--plan", "none", "--socket", "none"]);
    let plan = Plan { requests: 20_000, slow_connections: 200, scrapes: 20, seed: 7 };
    let report = attack::run(daemon.address, daemon.process_id(), &plan).expect("an attack");
    let [before, _, after] = report.memory;
    assert!(after <= before + MOST_GROWTH, "{:?} KiB", report.memory);
    let (quiet, beside) = (report.quiet, report.beside_slow);
    assert!(beside.median < quiet.slowest + Duration::from_millis(500), "{quiet}, beside slow {beside}");
    assert!(report.slow_opened >= 200 && report.flooded.answers >= 19_000, "{:?}", report.flooded);
    let log = daemon.log().text();
    assert!(!log.contains("panicked"), "{log}");
}
