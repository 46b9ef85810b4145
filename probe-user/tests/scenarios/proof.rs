//! `check --prove`: the program's own comparison of every counter with the kernel's.
use std::process::Command;

use serde_json::Value;

use super::{Setup, support::daemon::binary};

pub(crate) fn check_proves_every_counter(setup: &Setup) {
    let mut command = Command::new(binary());
    command.args(["check", "--prove", "--json", "--plan", setup.plan, "--accounting", setup.accounting]);
    let output = command.output().expect("the proof");
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
