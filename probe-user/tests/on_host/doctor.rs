//! `doctor` as its caller sees it: a report and an exit status.
use std::net::TcpListener;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    command_line::{command, complaint, output, text},
    scenarios::support::{
        daemon::Daemon,
        namespace::Namespace,
        sockets::{IPV4, Listener, connect_all},
        trials::trials_of,
        wait::{ensure, wait_until},
    },
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "doctor":
        a_daemon_is_asked,
        without_a_daemon_it_looks_for_itself,
        whoever_cannot_tell_has_a_status_of_his_own
    )
}

/// What was printed as JSON, with the status that belongs to it.
fn diagnosis(arguments: &[&str]) -> Value {
    let output = output(command().args(["doctor", "--json"]).args(arguments));
    let diagnosis: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let status = match diagnosis.get("health").and_then(Value::as_str) {
        Some("healthy") => 0,
        Some("advice") => 1,
        Some("losing") => 2,
        Some("unknown") => 3,
        other => panic!("health {other:?}"),
    };
    assert_eq!(output.status.code(), Some(status), "{diagnosis:#}");
    diagnosis
}

/// How bad it is in a network namespace, by the worst verdict there.
fn severity(diagnosis: &Value, namespace: &Namespace) -> Option<String> {
    let verdicts = diagnosis.get("verdicts").and_then(Value::as_array).expect("verdicts");
    let there = |verdict: &&Value| verdict.get("netns") == Some(&namespace.inode().into());
    let worst = verdicts.iter().find(there)?;
    Some(worst.get("severity").and_then(Value::as_str).expect("a severity").to_owned())
}

fn a_daemon_is_asked() {
    let namespace = Namespace::new();
    let daemon = Daemon::start(&["--plan", "none"]);
    let listener = Listener::open(&namespace, IPV4, 4);
    let (address, port) = (daemon.address.to_string(), listener.address.port().to_string());
    let ask = || diagnosis(&["--daemon", &address, "--port", &port, "--since", "5m"]);
    wait_until("the listener is known, and nothing is wrong with it", || {
        let diagnosis = ask();
        let is_known = diagnosis.get("ports") == Some(&1.into());
        ensure(is_known && severity(&diagnosis, &namespace).is_none(), || format!("{diagnosis:#}"))
    });
    let _clients = connect_all(&namespace, listener.address, 12);
    wait_until("connections are lost", || {
        let diagnosis = ask();
        let severity = severity(&diagnosis, &namespace);
        ensure(severity.as_deref() == Some("losing"), || format!("{diagnosis:#}"))
    });
    let report = output(command().args(["doctor", "--daemon", &address, "--port", &port]));
    let report = text(&report.stdout);
    assert!(report.contains("1. LOSING") && report.contains(&format!("127.0.0.1:{port}")), "{report}");
    assert!(!report.contains('\x1b'), "colours, and no terminal: {report:?}");
}

fn without_a_daemon_it_looks_for_itself() {
    let namespace = Namespace::new();
    let (quiet, full) = (Listener::open(&namespace, IPV4, 4), Listener::open(&namespace, IPV4, 4));
    let look = |listener: &Listener| {
        let port = listener.address.port().to_string();
        diagnosis(&["--seconds", "2", "--plan", "none", "--port", &port])
    };
    let diagnosis = look(&quiet);
    assert_eq!(severity(&diagnosis, &namespace), None, "{diagnosis:#}");
    // Their SYNs are sent again after 1, 3 and 7 seconds.
    let _clients = connect_all(&namespace, full.address, 12);
    let diagnosis = look(&full);
    assert_eq!(severity(&diagnosis, &namespace).as_deref(), Some("losing"), "{diagnosis:#}");
}

fn whoever_cannot_tell_has_a_status_of_his_own() {
    let check = |arguments: &[&str], expected: &str| {
        let output = output(command().arg("doctor").args(arguments));
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let complaint = if arguments.contains(&"--daemon") {
            complaint(&output)
        } else {
            text(&output.stderr).lines().next().unwrap_or_default().to_owned()
        };
        assert!(complaint.contains(expected), "{complaint}");
    };
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    check(&["--daemon", &silent.to_string()], &silent.to_string());
    check(&["--since", "soon"], "soon");
    check(&["--no-such-flag"], "--no-such-flag");
    let nobody = diagnosis(&["--seconds", "1", "--plan", "none", "--port", "1"]);
    assert_eq!(nobody.get("health"), Some(&"unknown".into()), "{nobody:#}");
}
