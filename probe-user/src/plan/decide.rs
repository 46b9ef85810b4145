//! Facts and wishes to a plan: which programs to try for each hook, in which order, and
//! with which settings. Called again with what failed until nothing new fails.
use std::collections::BTreeMap;

use probe_common::{
    kernel_offsets::KernelOffsets,
    settings::{ACCOUNTING_CONDITIONS, ACCOUNTING_KERNEL_COUNTERS, AddressRange, Settings},
};

use circumstances::{Circumstances, LastAck, connections_tell};
use refusals::{
    PROBING_REFUSED, casting_is_refused, is_refusal_of_casting, is_refusal_of_probing, needs_probing,
    probing_is_refused,
};

use super::{
    catalogue::{CATALOGUE, name},
    hook::{Hook, Need, Program, ProgramKind, Wanted, Way},
    kernel_types::{KernelTypes, ParameterType, Prototype},
    offsets::{OffsetGroup, ResolvedOffsets, without_casts},
    outcome::{Accounting, Variant},
    sizes::{Host, queued_sets, rows},
    wishes::{AccountingWish, PlanWish, QueuesWish, Wishes},
};

/// What the decision rests on.
pub struct KernelFacts {
    /// The kernel's types.
    pub types: KernelTypes,
    /// The offsets found in them.
    pub resolved: ResolvedOffsets,
    /// The code that raises `sk_drops` for the packets that it frees, or why it is not known.
    pub discard_sites: Result<Vec<AddressRange>, String>,
    /// CPUs that may ever be there, numbered from 0: memory is paid for each.
    pub possible_cpus: usize,
    /// Sockets that listen now, in all network namespaces: each wants a row.
    pub listeners: usize,
}

/// Why a way of a hook does not work here: by hook and index of the way.
pub type Failures = BTreeMap<(&'static str, usize), String>;

/// One way of a hook that is worth trying.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its index in the catalogue.
    pub way: usize,
    /// Its variant.
    pub variant: Variant,
    /// The programs that fit this kernel; none where others tell enough.
    pub programs: Vec<Program>,
}

/// One hook of a plan.
#[derive(Clone, Debug)]
pub struct HookPlan {
    /// The hook.
    pub hook: &'static Hook,
    /// What to try, cheapest first.
    pub candidates: Vec<Candidate>,
    /// What is not tried, or was and failed, with the reason.
    pub rejected: Vec<(Variant, String)>,
    /// Why the hook is not wanted at all.
    pub unwanted: Option<String>,
}

impl HookPlan {
    /// The way that is tried first.
    fn first_way(&self) -> Option<&'static Way> {
        self.hook.ways.get(self.candidates.first()?.way)
    }
}

/// What shall be loaded and attached.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `SETTINGS` global.
    pub settings: Settings,
    /// The `KERNEL_OFFSETS` global.
    pub offsets: KernelOffsets,
    /// How refused packets are counted.
    pub accounting: Accounting,
    /// Entries of the map of totals: every CPU has all rows.
    pub total_entries: u32,
    /// Every hook of the catalogue.
    pub hooks: Vec<HookPlan>,
}

/// Decides. Pure: the same facts, wishes and failures give the same plan.
#[must_use]
pub fn decide(facts: &KernelFacts, wishes: Wishes, failures: &Failures) -> Plan {
    let (accounting, hooks) = most_exact(facts, wishes, failures);
    let host = Host { possible_cpus: facts.possible_cpus, listeners: facts.listeners };
    let rows = rows(host, wishes.listeners);
    Plan {
        settings: Settings {
            rows,
            ..settings(facts, wishes, accounting, &hooks, !probing_is_refused(failures))
        },
        offsets: if casting_is_refused(failures) {
            without_casts(facts.resolved.offsets)
        } else {
            facts.resolved.offsets
        },
        accounting,
        total_entries: rows.saturating_mul(cpus(facts.possible_cpus)),
        hooks,
    }
}

/// The most exact accounting that the wishes and the kernel allow, with the hooks of it.
fn most_exact(facts: &KernelFacts, wishes: Wishes, failures: &Failures) -> (Accounting, Vec<HookPlan>) {
    let is_possible = |accounting| {
        accounting != Accounting::KernelCounters
            || wishes.accounting != AccountingWish::Conditions
                && facts.resolved.why_missing(OffsetGroup::Counters).is_none()
    };
    let with_hooks = |accounting| {
        let hooks = plan_hooks(facts, wishes, failures, accounting);
        let works = stands_on(accounting).iter().all(|name| first_way(&hooks, name).is_some());
        works.then_some((accounting, hooks))
    };
    let wanted = [Accounting::KernelCounters, Accounting::Conditions, Accounting::SocketDrops];
    let found = wanted.into_iter().filter(|accounting| is_possible(*accounting)).find_map(with_hooks);
    found.unwrap_or_else(|| (Accounting::None, plan_hooks(facts, wishes, failures, Accounting::None)))
}

/// The hooks without which there is no such accounting.
#[must_use]
pub const fn stands_on(accounting: Accounting) -> &'static [&'static str] {
    match accounting {
        Accounting::KernelCounters => &[name::SYN_RECEIVED, name::LAST_ACK],
        Accounting::Conditions => &[name::SYN_RECEIVED],
        Accounting::SocketDrops => &[name::LISTENER_DROPS],
        Accounting::None => &[],
    }
}

/// As a number of the kernel's size.
fn cpus(possible_cpus: usize) -> u32 {
    u32::try_from(possible_cpus.max(1)).unwrap_or(u32::MAX)
}

/// The way of a hook that is tried first.
fn first_way(hooks: &[HookPlan], name: &str) -> Option<&'static Way> {
    hooks.iter().find(|plan| plan.hook.name == name)?.first_way()
}

fn settings(
    facts: &KernelFacts,
    wishes: Wishes,
    accounting: Accounting,
    hooks: &[HookPlan],
    may_probe: bool,
) -> Settings {
    let last_ack = first_way(hooks, name::LAST_ACK).map(LastAck::of);
    let accepted = first_way(hooks, name::ACCEPTED);
    let mut settings = Settings {
        accounting: match accounting {
            Accounting::KernelCounters => ACCOUNTING_KERNEL_COUNTERS,
            Accounting::Conditions => ACCOUNTING_CONDITIONS,
            Accounting::SocketDrops | Accounting::None => 0,
        },
        last_ack_from_caller: u32::from(last_ack.is_some_and(LastAck::is_from_caller)),
        known_at_end: u32::from(last_ack == Some(LastAck::AtEnd)),
        cookies_are_seen: u32::from(
            accounting == Accounting::KernelCounters && first_way(hooks, name::SYNCOOKIE_SENT).is_some(),
        ),
        syn_queued_cannot_fail: u32::from(!can_fail(facts, "inet_csk_reqsk_queue_hash_add")),
        may_probe: u32::from(may_probe),
        queues: u32::from(wishes.queues == QueuesWish::Full),
        queued_sets: if accepted.is_none() || connections_tell(accepted) {
            0
        } else {
            queued_sets(wishes.queued_connections)
        },
        cpus: cpus(facts.possible_cpus),
        ..Settings::UNSET
    };
    if let Ok(sites) = &facts.discard_sites {
        for (slot, site) in settings.discard_sites.iter_mut().zip(sites) {
            *slot = *site;
        }
    }
    settings
}

fn can_fail(facts: &KernelFacts, function: &str) -> bool {
    facts.types.function(function).is_some_and(|prototype| prototype.returns)
}

fn plan_hooks(
    facts: &KernelFacts,
    wishes: Wishes,
    failures: &Failures,
    accounting: Accounting,
) -> Vec<HookPlan> {
    let circumstances = Circumstances::find(facts, wishes, failures, accounting);
    CATALOGUE.iter().map(|hook| plan_hook(hook, facts, failures, circumstances)).collect()
}

fn plan_hook(
    hook: &'static Hook,
    facts: &KernelFacts,
    failures: &Failures,
    circumstances: Circumstances,
) -> HookPlan {
    let Circumstances { wishes, accounting, .. } = circumstances;
    let mut plan = HookPlan { hook, candidates: vec![], rejected: vec![], unwanted: None };
    if wishes.plan == PlanWish::None {
        plan.unwanted = Some("--plan none: no BPF program is loaded".to_owned());
        return plan;
    }
    if !is_wanted(hook.wanted, circumstances) {
        plan.unwanted = Some(why_unwanted(hook, wishes, failures, accounting));
        return plan;
    }
    for (index, way) in hook.ways.iter().enumerate() {
        let may_probe = !probing_is_refused(failures);
        let outcome = match failures.get(&(hook.name, index)) {
            // Tried with the call in it; without, it may well be accepted.
            Some(failure)
                if !is_refusal_of_casting(failure) && (may_probe || !is_refusal_of_probing(failure)) =>
            {
                Err(failure.clone())
            }
            _ if !may_probe && needs_probing(way) => Err(PROBING_REFUSED.to_owned()),
            _ => fitting_programs(hook, way, facts, circumstances),
        };
        match outcome {
            Ok(programs) => {
                plan.candidates.push(Candidate { way: index, variant: way.variant, programs });
            }
            Err(reason) => plan.rejected.push((way.variant, reason)),
        }
    }
    plan
}

/// A hook that was tried in vain is not wanted any more because of that.
fn why_unwanted(hook: &Hook, wishes: Wishes, failures: &Failures, accounting: Accounting) -> String {
    if hook.wanted == Wanted::ForQueues && wishes.queues == QueuesWish::Off {
        return "not asked for: --queues off".to_owned();
    }
    let failed: Vec<String> = hook
        .ways
        .iter()
        .enumerate()
        .filter_map(|(index, way)| {
            let reason = failures.get(&(hook.name, index))?;
            Some(format!("{}: {reason}", way.variant.label()))
        })
        .collect();
    if failed.is_empty() {
        format!("not needed: refused packets are counted by {}", accounting.label())
    } else {
        failed.join("; ")
    }
}

const fn is_wanted(wanted: Wanted, circumstances: Circumstances) -> bool {
    let Circumstances { wishes, accounting, .. } = circumstances;
    match wanted {
        Wanted::ForQueues if matches!(wishes.queues, QueuesWish::Off) => false,
        Wanted::Always => true,
        Wanted::ByKernelCounters => matches!(accounting, Accounting::KernelCounters),
        Wanted::ForCookies => matches!(accounting, Accounting::Conditions) || circumstances.syns_are_known,
        Wanted::ByFunctions | Wanted::ForQueues => {
            matches!(accounting, Accounting::KernelCounters | Accounting::Conditions)
        }
        Wanted::BySocketDrops => matches!(accounting, Accounting::SocketDrops),
    }
}

/// The programs of a way that fit this kernel and the wishes, or why there are none.
fn fitting_programs(
    hook: &Hook,
    way: &Way,
    facts: &KernelFacts,
    circumstances: Circumstances,
) -> Result<Vec<Program>, String> {
    let Circumstances { wishes, accounting, .. } = circumstances;
    // A forced plan keeps what there is no other way for in it.
    let only_by_tracepoint = way.variant == Variant::Tracepoint
        && wishes.plan != PlanWish::Tracepoint
        && hook.wanted != Wanted::BySocketDrops
        && !hook.ways.iter().any(|way| wishes.plan.allows(way.variant));
    if !(wishes.plan.allows(way.variant) || only_by_tracepoint) {
        return Err("not asked for".to_owned());
    }
    if way.needs.contains(&OffsetGroup::Counters) && accounting != Accounting::KernelCounters {
        return Err("needs accounting by kernel-counters".to_owned());
    }
    if way.variant == Variant::Kprobe
        && hook.wanted == Wanted::ForCookies
        && accounting == Accounting::KernelCounters
    {
        return Err("a kprobe may be missed, the kernel's counters tell as well".to_owned());
    }
    if way.needs.contains(&OffsetGroup::OtherCpus) && !circumstances.listeners_are_seen {
        return Err("listeners are not seen to come and go".to_owned());
    }
    if way.places.is_empty() && !circumstances.syns_are_known {
        return Err("the end of a SYN does not tell what became of it".to_owned());
    }
    for group in way.needs {
        if let Some(error) = facts.resolved.why_missing(*group) {
            return Err(error.to_string());
        }
    }
    let mut programs = vec![];
    for place in way.places {
        programs.extend(program_for(place, facts, circumstances)?);
    }
    // Last: it can be mended by a privilege or a setting, what the kernel lacks cannot.
    if hook.name == name::PACKET_FREED
        && let Err(reason) = &facts.discard_sites
    {
        return Err(reason.clone());
    }
    Ok(programs)
}

/// The program for one place: the first that fits the kernel's prototype; none where the place can be
/// left out.
fn program_for(
    place: &[Program],
    facts: &KernelFacts,
    circumstances: Circumstances,
) -> Result<Option<Program>, String> {
    let Some(first) = place.first() else { return Ok(None) };
    let prototype = match first.kind {
        ProgramKind::Tracepoint => facts.types.tracepoint(first.target),
        _ => facts.types.function(first.target),
    };
    let Some(prototype) = prototype else {
        // Without CONFIG_IPV6 there is no twin, and nothing for it to count.
        let has_ipv6 = facts.resolved.offsets.sock_v6_rcv_saddr != 0;
        if matches!(first.need, Need::IfPresent | Need::IfKnownAtEnd)
            || (!has_ipv6 && first.target.contains("_v6_"))
        {
            return Ok(None);
        }
        return Err(format!("this kernel has no {}", first.target));
    };
    if !prototype.returns && place.iter().all(|program| program.returns == Some(true)) {
        return Ok(None);
    }
    let exit_suffices = prototype.returns && circumstances.accounting != Accounting::Conditions;
    let superfluous = match first.need {
        Need::UnlessExitSuffices => exit_suffices,
        Need::UnlessChildIsSeen => match circumstances.last_ack {
            Some(LastAck::ByChild) => true,
            Some(LastAck::AtEnd) => !circumstances.waits_are_noted,
            Some(LastAck::ByCaller) | None => false,
        },
        Need::UnlessCallerIsSeen => circumstances.last_ack.is_some_and(LastAck::is_from_caller),
        Need::IfKnownAtEnd => circumstances.last_ack != Some(LastAck::AtEnd),
        Need::Required | Need::IfPresent => false,
    };
    if superfluous {
        return Ok(None);
    }
    place.iter().find(|program| fits(program, &prototype)).map(|program| Some(*program)).ok_or_else(|| {
        format!("{} has {} arguments here, or others than expected", first.target, prototype.parameters.len())
    })
}

fn fits(program: &Program, prototype: &Prototype) -> bool {
    let count = prototype.parameters.len();
    let pointers_fit = program.pointers.iter().all(|(index, structure)| {
        prototype
            .parameters
            .get(*index)
            .is_some_and(|parameter| matches!(parameter, ParameterType::Pointer(found) if found == structure))
    });
    let count_fits = program.arguments.is_empty() || program.arguments.contains(&count);
    pointers_fit && count_fits
}

mod circumstances;
mod refusals;
#[cfg(test)]
mod tests;
