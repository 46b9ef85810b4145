//! By which method each number is counted under a plan, and how exact that is: a pure table.
//!
//! Whether a number is measured at all is asked of the model itself, for a port at which nothing has happened: what is
//! `None` there is not. What is attached where is the plan's. Written here is only which hooks a number comes from,
//! and in [`limits`] what docs/COMPATIBILITY.md says of it.
mod counters;
mod limits;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    counters::{COUNTERS, Counter, Origin, attached},
    limits::limits_of,
};
use super::{Handshakes, Queues, build::nothing_counted};
use crate::{
    plan::{
        catalogue::name,
        outcome::{Accounting, HookOutcome, PlanOutcome, Variant},
    },
    sample::{Instants, QueueSample},
};

/// How one number is counted here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CounterMethod {
    /// The number, by the name that it has in the JSON of a port, of its `listeners`, or of its `namespaces`.
    pub counter: String,
    /// How it is counted.
    pub method: Method,
    /// The kernel functions and tracepoints that are watched for it, or the files and interfaces that are read.
    pub sources: Vec<String>,
    /// How these are watched.
    pub variants: Vec<Variant>,
    /// How exact it is; `None` where it is not measured.
    pub exactness: Option<Exactness>,
    /// What it is exact but for, or what is inferred; empty for what is exact.
    pub limits: Vec<String>,
    /// Why it is not measured; empty where it is.
    pub reason: String,
}

/// A way to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The kernel's own counters around each packet.
    KernelCounters,
    /// The kernel's conditions, evaluated again after each packet.
    Conditions,
    /// The drops of the sockets and the counters of their namespace.
    SocketDrops,
    /// A program each time that a function runs, or a tracepoint is met.
    Hook,
    /// What sock_diag says at the reading.
    #[serde(rename = "sock_diag")]
    SockDiag,
    /// What a file below `/proc` says at the reading.
    Proc,
    /// It is not.
    NotMeasured,
}

impl Method {
    /// As in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::KernelCounters => Accounting::KernelCounters.label(),
            Self::Conditions => Accounting::Conditions.label(),
            Self::SocketDrops => Accounting::SocketDrops.label(),
            Self::Hook => "hook",
            Self::SockDiag => "sock_diag",
            Self::Proc => "proc",
            Self::NotMeasured => "not-measured",
        }
    }

    /// What refused packets are counted by.
    const fn of(accounting: Accounting) -> Self {
        match accounting {
            Accounting::KernelCounters => Self::KernelCounters,
            Accounting::Conditions => Self::Conditions,
            Accounting::SocketDrops => Self::SocketDrops,
            Accounting::None => Self::NotMeasured,
        }
    }
}

/// How exact a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// To the unit.
    Exact,
    /// To the unit, but for what the limits name.
    ExactBut,
    /// Concluded, and never more than is certain.
    Inferred,
}

/// What is known of a port at which nothing has happened.
struct Known {
    handshakes: Handshakes,
    queues: Queues,
    backlog_requested: bool,
}

impl Known {
    fn under(plan: &PlanOutcome) -> Self {
        let coverage = &plan.coverage;
        let (handshakes, _) = nothing_counted(plan.any_attached(), coverage);
        let queues = Queues::new(&QueueSample::default(), coverage, &Instants::default());
        Self { handshakes, queues, backlog_requested: coverage.backlog_requested }
    }
}

/// The table of a plan.
#[must_use]
pub fn methods(plan: &PlanOutcome) -> Vec<CounterMethod> {
    let known = Known::under(plan);
    let is_worth_a_line = |counter: &&Counter| (counter.is_known)(&known) || !(counter.is_elsewhere)(&known);
    COUNTERS.iter().filter(is_worth_a_line).map(|counter| method_of(counter, plan, &known)).collect()
}

fn method_of(counter: &Counter, plan: &PlanOutcome, known: &Known) -> CounterMethod {
    let method = match counter.origin {
        _ if !(counter.is_known)(known) => Method::NotMeasured,
        Origin::Hook => Method::Hook,
        Origin::Refusals => Method::of(plan.coverage.accounting),
        Origin::Counters => match plan.coverage.accounting {
            Accounting::KernelCounters => Method::KernelCounters,
            _ => Method::Hook,
        },
        Origin::Read(method, _) => method,
    };
    let mut found = CounterMethod {
        counter: counter.name.to_owned(),
        method,
        sources: vec![],
        variants: vec![],
        exactness: None,
        limits: vec![],
        reason: String::new(),
    };
    if method == Method::NotMeasured {
        found.reason = why_not(counter, plan);
        return found;
    }
    add_sources(&mut found, counter, plan);
    let (exactness, limits) = limits_of(&found, counter, &plan.coverage);
    found.exactness = Some(exactness);
    found.limits = limits.into_iter().map(str::to_owned).collect();
    found
}

fn add_sources(found: &mut CounterMethod, counter: &Counter, plan: &PlanOutcome) {
    if let Origin::Read(_, sources) = counter.origin {
        found.sources.extend(sources.iter().map(|&source| source.to_owned()));
    }
    if found.method == Method::SocketDrops {
        let read = ["sk_drops", "/proc/PID/net/netstat"];
        found.sources.extend(read.map(str::to_owned));
    }
    for hook in hooks_of(counter, found.method, plan) {
        found.variants.extend(hook.variant.filter(|variant| !found.variants.contains(variant)));
        let told_by = hook.told_by().and_then(|name| attached(plan, name));
        let targets = hook.attached_to.iter().chain(told_by.into_iter().flat_map(|hook| &hook.attached_to));
        let new: Vec<String> =
            targets.filter(|target| !found.sources.contains(target)).map(Clone::clone).collect();
        found.sources.extend(new);
    }
}

/// The attached hooks that a number comes from.
fn hooks_of<'a>(
    counter: &Counter,
    method: Method,
    plan: &'a PlanOutcome,
) -> impl Iterator<Item = &'a HookOutcome> {
    let names = match method {
        Method::SocketDrops => &[name::LISTENER_DROPS, name::PACKET_FREED],
        Method::Hook if counter.origin == Origin::Counters => counter.instead,
        _ => counter.hooks,
    };
    names.iter().chain((counter.more)(plan)).filter_map(|name| attached(plan, name))
}

/// Why a number is not measured: by what its hooks say of themselves where one of them is missing.
fn why_not(counter: &Counter, plan: &PlanOutcome) -> String {
    let accounting = plan.coverage.accounting;
    if counter.origin == Origin::Counters
        && !matches!(accounting, Accounting::KernelCounters | Accounting::None)
    {
        return format!("takes accounting by {}", Accounting::KernelCounters.label());
    }
    let skipped =
        |name: &&'static str| plan.hooks.iter().find(|hook| hook.hook == **name && hook.variant.is_none());
    match counter.hooks.iter().find_map(skipped) {
        Some(hook) if !hook.reason.is_empty() => format!("{}: {}", hook.hook, hook.reason),
        _ if accounting == Accounting::None => "no hook is attached".to_owned(),
        _ => counter.otherwise.to_owned(),
    }
}
