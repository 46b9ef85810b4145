//! What is said and returned to whoever calls the program.
use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::scenarios::support::{
    daemon::{binary, run_arguments},
    namespace::Namespace,
    sockets::{IPV4, Listener},
    trials::trials_of,
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "command_line":
        a_port_that_is_taken_is_named,
        an_unknown_flag_is_named,
        a_plan_that_does_not_exist_is_refused,
        a_bad_configuration_is_one_line,
        a_snapshot_lists_every_listener,
        a_check_says_what_can_be_measured
    )
}

fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let line = complaint(&output(command().args(["run", "--plan", "none", "--listen", &address])));
    assert!(line.contains(&address), "{line}");
}

fn an_unknown_flag_is_named() {
    let output = output(command().args(["run", "--no-such-flag"]));
    assert!(!output.status.success(), "{output:?}");
    let stderr = text(&output.stderr);
    assert!(stderr.lines().next().is_some_and(|line| line.contains("--no-such-flag")), "{stderr}");
}

fn a_plan_that_does_not_exist_is_refused() {
    let output = output(command().args(run_arguments(&["--plan", "fastest"])));
    assert!(!output.status.success(), "{output:?}");
    let stderr = text(&output.stderr);
    assert!(stderr.lines().next().is_some_and(|line| line.contains("fastest")), "{stderr}");
}

/// Whatever is done with it.
fn a_bad_configuration_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("probe.toml").display().to_string();
    let check = |text: &str, expected: &str| {
        fs::write(&file, text).expect("a configuration file");
        for subcommand in ["run", "snapshot", "check"] {
            let output = output(command().args([subcommand, "--plan", "none", "--config", &file]));
            assert_eq!(output.status.code(), Some(78), "a service manager does not try again: {output:?}");
            let line = complaint(&output);
            assert!(line.contains(&file) && line.contains(expected), "{subcommand}: {line}");
        }
    };
    check("[ports]\nlimt = 3\n", "ports.limt: unknown key \"limt\": is \"limit\" meant?");
    check("[[ports.exclude]]\nport = \"22-21\"\n", "ports.exclude[0].port");
    check("[ports\n", "line 1");
    fs::remove_file(&file).expect("no configuration file");
    let output =
        output(command().args(["snapshot", "--plan", "none"]).env("TCP_BACKLOG_PROBE_CONFIG", &file));
    assert!(complaint(&output).contains(&file));
}

/// `snapshot --json` is one document, with hooks and without.
fn a_snapshot_lists_every_listener() {
    let namespace = Namespace::new();
    let listener = Listener::open(&namespace, IPV4, 7);
    for plan in ["tracepoint", "none"] {
        let document = json(&output(command().args(["snapshot", "--json", "--plan", plan])));
        let port = find_port(&document, namespace.inode(), listener.address.port());
        assert!(port.is_some(), "--plan {plan}: port {} is not in {document:#}", listener.address.port());
    }
}

fn a_check_says_what_can_be_measured() {
    let document = json(&output(command().args(["check", "--json"])));
    assert!(document.is_object(), "{document:#}");
    let output = output(command().arg("check"));
    assert!(output.status.success(), "{output:?}");
    assert!(!text(&output.stdout).is_empty(), "{output:?}");
}

/// What a command printed and returned.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
}

/// The one line on standard error of a command that failed.
pub(crate) fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it did not fail: {output:?}");
    let stderr = text(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    let [line] = lines.as_slice() else { panic!("not one clear line: {stderr}") };
    (*line).to_owned()
}

/// The program under test.
pub(crate) fn command() -> Command {
    Command::new(binary())
}

/// What was printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The document that a command printed.
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The object with this namespace and port, wherever it is in the document.
fn find_port(document: &Value, netns: u64, port: u16) -> Option<&Value> {
    let number = |name: &str| document.get(name).and_then(Value::as_u64);
    if number("netns") == Some(netns) && number("port") == Some(u64::from(port)) {
        return Some(document);
    }
    match document {
        Value::Array(items) => items.iter().find_map(|item| find_port(item, netns, port)),
        Value::Object(fields) => fields.values().find_map(|item| find_port(item, netns, port)),
        _ => None,
    }
}
