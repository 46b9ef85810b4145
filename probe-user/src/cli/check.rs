//! `check`: what can be measured here, by which hooks, and why not the rest; and the proof.
use anyhow::bail;
use clap::{Args, ValueEnum};
use rustix::thread::CapabilitySet;

use super::{AttachArguments, Given, asked::AskedArguments, build_info, to_stdout};
use crate::{
    daemon::{
        client::{self, Answer},
        probe::Probe,
    },
    host::capabilities::{missing_of, names},
    model::{audit::report::AuditReport, methods::methods},
    prove,
    render::{check, json, proof},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status of --prove: 0 when counters were compared and all of them agree. Where one is less by no more than \
what the probe itself says is missing (\"declared\"), and where one is not measured under the plan, that is told and \
does not fail. 1 when a counter is wrong, when none is measured, or when nothing could be proved."
)]
pub(super) struct Arguments {
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    /// Lose connections in a private network, in every way that there is, and compare every counter with
    /// the kernel's; fails unless all that are compared agree. Takes CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW
    #[arg(long)]
    prove: bool,
    #[command(flatten)]
    asked: AskedArguments,
    #[command(flatten)]
    attach: AttachArguments,
}

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<()> {
    let missing = if arguments.prove { missing_of(prove::CAPABILITIES) } else { CapabilitySet::empty() };
    if !missing.is_empty() {
        bail!(
            "--prove makes a network of its own, which takes {}; missing here: {} (run it as root, with sudo)",
            names(prove::CAPABILITIES),
            names(missing)
        );
    }
    let mut probe = arguments.attach.attach_once(given)?;
    if arguments.prove {
        return run_proof(&mut probe, arguments.json);
    }
    let model = probe.read();
    let audit = ask_for_audit(&arguments.asked)
        .unwrap_or_else(|no_daemon| AuditReport::of_command(&model, no_daemon));
    let plan = probe.wishes().plan.to_possible_value();
    let requested = plan.as_ref().map_or("auto", |value| value.get_name());
    to_stdout(|out| {
        if arguments.json {
            let check = json::Check { methods: methods(&model.plan), audit };
            json::write_check(&model, &build_info(), check, out)
        } else {
            check::write(&model, &audit, &build_info(), requested, out)
        }
    })
}

/// What the daemon that runs has found since it began to count; or why there is none, in one line. That is no failure:
/// whoever asks what can be measured here need not have a daemon.
fn ask_for_audit(asked: &AskedArguments) -> Result<AuditReport, String> {
    let (mut silent, mut reasons) = (vec![], vec![]);
    for (daemon, _) in asked.daemons() {
        match client::audit(&daemon) {
            Ok(Answer::Given(audit)) => return Ok(audit),
            Ok(Answer::Nobody) => silent.push(daemon.to_string()),
            Ok(Answer::Forbidden) => {
                reasons.push(format!("this user may not open the daemon's socket {daemon}"))
            }
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("no daemon answers on {}", silent.join(" or ")));
    }
    Err(reasons.join("; "))
}

fn run_proof(probe: &mut Probe, as_json: bool) -> anyhow::Result<()> {
    if !probe.plan().any_attached() {
        let hook = probe.plan().hooks.first();
        bail!("nothing to prove, no hook is attached: {}", hook.map_or("", |hook| hook.reason.as_str()));
    }
    let accounting = probe.plan().coverage.accounting;
    let proof = prove::prove(&mut || probe.read())?;
    to_stdout(
        |out| {
            if as_json { proof::write_json(&proof, out) } else { proof::write(&proof, accounting, out) }
        },
    )?;
    if !proof.holds() {
        bail!("what was counted is not what the kernel counted: see the lines marked WRONG");
    }
    Ok(())
}
