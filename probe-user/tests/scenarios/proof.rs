//! `check --prove`: the program's own comparison of every counter with the kernel's.
use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use super::{
    Setup,
    support::{
        daemon::binary,
        wait::{ensure, wait_until},
    },
};

/// In the environment of the command, and of whatever it starts.
const MARK: &str = "TCP_BACKLOG_PROBE_PROOF_OF_TRIAL";
/// The thread that lives in the network of a proof.
const RESIDENT: &str = "private-network";

pub(crate) fn check_proves_every_counter(setup: &Setup) {
    let mut command = Command::new(binary());
    command.args(["check", "--prove", "--json", "--plan", setup.plan, "--accounting", setup.accounting]);
    let output = output_with_nothing_left_behind(&mut command);
    let report = String::from_utf8_lossy(&output.stderr);
    let proof: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{report}", String::from_utf8_lossy(&output.stdout)));
    let rows = proof.get("rows").and_then(Value::as_array).expect("rows");
    let with = |agreement: &str| -> Vec<&Value> {
        rows.iter().filter(|row| row.get("agreement").is_some_and(|found| found == agreement)).collect()
    };
    assert!(output.status.success(), "{:#?}\n{report}", with("wrong"));
    assert!(with("exact").len() > 20, "{proof:#}");
    if matches!(setup.plan, "trampoline" | "kprobe") && setup.accounting == "auto" {
        // What the kernel left out of the kprobes' programs is declared.
        let right = with("exact").len() + if setup.plan == "kprobe" { with("declared").len() } else { 0 };
        assert_eq!(right, rows.len(), "{:#?} {:#?}", with("not_measured"), with("declared"));
    }
}

/// Runs the command to its end, and waits until nobody is in its network any more and nothing that it started runs.
fn output_with_nothing_left_behind(command: &mut Command) -> Output {
    let mark = format!("{}-{:?}", std::process::id(), thread::current().id());
    command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().expect("the proof");
    let tasks = PathBuf::from(format!("/proc/{}/task", process.id()));
    let end = thread::spawn(move || process.wait_with_output().expect("what it prints"));
    // As long as it is open here its number is no other namespace's.
    let network = wait_until("the network of the proof", || match network_of(&tasks) {
        None if !end.is_finished() => Err("there is none yet".to_owned()),
        found => Ok(found),
    });
    let output = end.join().expect("the end of the proof");
    let network = network.unwrap_or_else(|| panic!("it made no network: {output:?}"));
    let link = format!("net:[{}]", network.metadata().expect("its number").ino());
    let mark = format!("{MARK}={mark}");
    wait_until("nothing is left of the proof", || {
        let residents = entries("/proc").into_iter().flat_map(|process| entries(process.join("task")));
        let residents = residents.filter(|task| is_in(task, &link)).count();
        let marked = entries("/proc").into_iter().filter(|process| has_environment(process, &mark)).count();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts").matches(&link).count();
        ensure([residents, marked, mounts] == [0; 3], || format!("{residents}, {marked}, {mounts}"))
    });
    output
}

/// The namespace of the thread that lives in a network of its own.
fn network_of(tasks: &Path) -> Option<File> {
    let is_resident =
        |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == RESIDENT);
    let network = File::open(entries(tasks).into_iter().find(is_resident)?.join("ns/net")).ok()?;
    let home = fs::metadata(tasks.parent()?.join("ns/net")).ok()?;
    // It begins where the process is.
    (network.metadata().ok()?.ino() != home.ino()).then_some(network)
}

fn is_in(task: &Path, link: &str) -> bool {
    fs::read_link(task.join("ns/net")).is_ok_and(|found| found.as_os_str() == OsStr::new(link))
}

fn has_environment(process: &Path, variable: &str) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
}

/// What is in a folder; nothing when it is gone.
fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
