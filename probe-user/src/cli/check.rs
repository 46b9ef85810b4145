//! `check`: what can be measured here, by which hooks, and why not the rest; and the proof.
use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{AttachArguments, Given, build_info, to_stdout};
use crate::{
    daemon::probe::Probe,
    model::methods::methods,
    prove,
    render::{check, json, proof},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    /// Lose connections in a private network, in every way that there is, and compare every counter with
    /// the kernel's; fails unless all agree
    #[arg(long)]
    prove: bool,
    #[command(flatten)]
    attach: AttachArguments,
}

pub(super) fn run(arguments: &Arguments, given: &Given) -> anyhow::Result<()> {
    let mut probe = arguments.attach.attach_once(given)?;
    if arguments.prove {
        return run_proof(&mut probe, arguments.json);
    }
    let model = probe.read();
    let plan = probe.wishes().plan.to_possible_value();
    let requested = plan.as_ref().map_or("auto", |value| value.get_name());
    to_stdout(|out| {
        if arguments.json {
            let check = json::Check { methods: methods(&model.plan) };
            json::write_check(&model, &build_info(), check, out)
        } else {
            check::write(&model, &build_info(), requested, out)
        }
    })
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
