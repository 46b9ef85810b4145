//! Carries a plan out: each hook by the first of its ways that really attaches.
use aya::{
    Ebpf,
    programs::{Program as AyaProgram, ProgramError},
};

use super::{
    maps::{ProbeMaps, offer_rows},
    object::{self, KernelBtf},
    one_line,
};
use crate::plan::{
    decide::{Candidate, Failures, HookPlan, KernelFacts, Plan, decide, stands_on},
    hook::{Program, ProgramKind},
    outcome::{Coverage, HookOutcome, PlanOutcome, coverage},
    wishes::Wishes,
};

/// What came of it.
pub struct Attached {
    /// The maps, and with them the programs: dropped, everything is detached. `None` without BPF.
    pub maps: Option<ProbeMaps>,
    /// Every hook's fate.
    pub outcome: PlanOutcome,
}

/// Times that the object may be loaded: each failure can change the settings once.
const MOST_ROUNDS: usize = 6;

/// Loads and attaches as much as the kernel allows. Never fails as a whole: what does not work is in
/// the outcome with its reason.
#[must_use]
pub fn attach(facts: &KernelFacts, btf: &KernelBtf, wishes: Wishes, log_level: u8) -> Attached {
    let mut failures = Failures::new();
    for _ in 0..MOST_ROUNDS {
        let plan = decide(facts, wishes, &failures);
        if plan.hooks.iter().all(|hook| hook.candidates.is_empty()) {
            return without_bpf(&plan);
        }
        let mut ebpf = match object::load(&plan, btf, log_level) {
            Ok(ebpf) => ebpf,
            Err(reason) => return refused(&plan, &reason),
        };
        if let Err(error) = offer_rows(&mut ebpf, &plan) {
            return refused(&plan, &error.to_string());
        }
        let chosen = attach_hooks(&mut ebpf, btf, &plan, &mut failures);
        let next = decide(facts, wishes, &failures);
        let settled =
            (next.settings, next.offsets, next.accounting) == (plan.settings, plan.offsets, plan.accounting);
        if settled {
            return match ProbeMaps::take(ebpf, &plan) {
                Ok(maps) => Attached { maps: Some(maps), outcome: outcome(&next, &chosen, facts) },
                Err(error) => refused(&plan, &error.to_string()),
            };
        }
    }
    refused(&decide(facts, wishes, &failures), "attaching did not settle")
}

/// The chosen way of each hook, in the plan's order.
type Chosen = Vec<Option<Candidate>>;

fn attach_hooks(ebpf: &mut Ebpf, btf: &KernelBtf, plan: &Plan, failures: &mut Failures) -> Chosen {
    let mut chosen = vec![];
    for hook in &plan.hooks {
        let taken = attach_hook(ebpf, btf, hook, failures);
        let decisive = stands_on(plan.accounting).contains(&hook.hook.name);
        let given_up = decisive && taken.is_none() && !hook.candidates.is_empty();
        chosen.push(taken);
        if given_up {
            // Another accounting will be decided on: no use in attaching the rest.
            break;
        }
    }
    chosen
}

fn attach_hook(
    ebpf: &mut Ebpf,
    btf: &KernelBtf,
    hook: &HookPlan,
    failures: &mut Failures,
) -> Option<Candidate> {
    for candidate in &hook.candidates {
        match attach_programs(ebpf, btf, &candidate.programs) {
            Ok(()) => return Some(candidate.clone()),
            Err(reason) => {
                failures.insert((hook.hook.name, candidate.way), reason);
            }
        }
    }
    None
}

/// Attaches all programs of a way, or none of them.
fn attach_programs(ebpf: &mut Ebpf, btf: &KernelBtf, programs: &[Program]) -> Result<(), String> {
    for (index, program) in programs.iter().enumerate() {
        let Err(reason) = attach_program(ebpf, btf, program) else { continue };
        for attached in programs.iter().take(index + 1) {
            unload(ebpf, attached);
        }
        return Err(format!("{}: {reason}", program.target));
    }
    Ok(())
}

fn attach_program(ebpf: &mut Ebpf, btf: &KernelBtf, program: &Program) -> Result<(), String> {
    let Some(loaded) = ebpf.program_mut(program.name) else {
        return Err(format!("the object has no program {}", program.name));
    };
    load_and_attach(loaded, btf, program.target).map_err(|error| one_line::program(&error))
}

fn load_and_attach(program: &mut AyaProgram, btf: &KernelBtf, target: &str) -> Result<(), ProgramError> {
    match program {
        AyaProgram::FEntry(program) => {
            program.load(target, &btf.0)?;
            program.attach().map(drop)
        }
        AyaProgram::FExit(program) => {
            program.load(target, &btf.0)?;
            program.attach().map(drop)
        }
        AyaProgram::KProbe(program) => {
            program.load()?;
            program.attach(target, 0).map(drop)
        }
        AyaProgram::BtfTracePoint(program) => {
            program.load(target, &btf.0)?;
            program.attach().map(drop)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Takes a program out of the kernel again, with its links. One that never got in is left alone.
fn unload(ebpf: &mut Ebpf, program: &Program) {
    let Some(loaded) = ebpf.program_mut(program.name) else { return };
    let unloaded = match loaded {
        AyaProgram::FEntry(program) => program.unload(),
        AyaProgram::FExit(program) => program.unload(),
        AyaProgram::KProbe(program) => program.unload(),
        AyaProgram::BtfTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
    if let Err(error) = unloaded {
        tracing::debug!(program = program.name, %error, "was not loaded");
    }
}

/// No program was tried: the plan has none.
fn without_bpf(plan: &Plan) -> Attached {
    Attached { maps: None, outcome: skipped(plan, None) }
}

/// The kernel refused BPF as a whole.
fn refused(plan: &Plan, reason: &str) -> Attached {
    Attached { maps: None, outcome: skipped(plan, Some(reason)) }
}

fn skipped(plan: &Plan, reason: Option<&str>) -> PlanOutcome {
    let hooks = plan
        .hooks
        .iter()
        .map(|hook| {
            let mut outcome = hook_outcome(hook, None);
            if let Some(reason) = reason {
                outcome.reason = reason.to_owned();
            }
            outcome
        })
        .collect();
    PlanOutcome { hooks, coverage: Coverage::NOTHING }
}

fn outcome(plan: &Plan, chosen: &Chosen, facts: &KernelFacts) -> PlanOutcome {
    let hooks: Vec<HookOutcome> = plan
        .hooks
        .iter()
        .enumerate()
        .map(|(index, hook)| hook_outcome(hook, chosen.get(index).and_then(Option::as_ref)))
        .collect();
    let reason_known = facts.resolved.offsets.reason_tcp_listen_overflow != 0;
    let coverage = coverage(&hooks, plan.accounting, reason_known, plan.settings.queues != 0);
    PlanOutcome { hooks, coverage }
}

fn hook_outcome(hook: &HookPlan, chosen: Option<&Candidate>) -> HookOutcome {
    let mut attached_to: Vec<String> = vec![];
    for program in chosen.iter().flat_map(|candidate| &candidate.programs) {
        let target = target_name(program);
        if !attached_to.contains(&target) {
            attached_to.push(target);
        }
    }
    let reason = hook.unwanted.clone().unwrap_or_else(|| {
        // Ways that were passed over for the chosen one, or all of them.
        let passed_over = hook
            .rejected
            .iter()
            .filter(|(variant, _)| chosen.is_none_or(|candidate| *variant <= candidate.variant));
        passed_over
            .map(|(variant, reason)| format!("{}: {reason}", variant.label()))
            .collect::<Vec<_>>()
            .join("; ")
    });
    HookOutcome {
        hook: hook.hook.name.to_owned(),
        measures: hook.hook.measures.to_owned(),
        attached_to,
        variant: chosen.map(|candidate| candidate.variant),
        reason,
    }
}

fn target_name(program: &Program) -> String {
    match program.kind {
        ProgramKind::Tracepoint => format!("tracepoint {}", program.target),
        _ => format!("{}()", program.target),
    }
}
