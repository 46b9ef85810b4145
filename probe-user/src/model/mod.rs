//! What the numbers mean: pure functions from samples to what every renderer shows.
//!
//! No I/O, no clock, no aya. History lives in [`History`]: what is needed to tell overflows from other
//! drops, to hold all counts against the kernel's, to name ports that are closed, to say which losses were one
//! burst, and what happened of late. The daemon owns it and feeds it with every sample.
pub mod advice;
pub mod attribution;
pub mod audit;
pub mod backlog;
pub mod build;
pub mod carried;
pub mod episode;
pub mod host;
pub mod methods;
pub mod port;
pub mod process_names;
pub mod queue;
pub mod rate;
pub mod recent;
pub mod recommendation;
pub mod series;
mod syn_queue;
pub mod totals;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    advice::Advice,
    backlog::{Backlog, BacklogBound},
    episode::{Episode, LossCause},
    host::{Host, Softnet},
    port::{Handshakes, LastAckRefused, Listener, Overflows, Port, SynDropped},
    queue::{Histogram, Peaks, QueueCounts, Queues},
    rate::Rates,
};
use self::{
    attribution::{Attribution, Ledger},
    audit::{AuditedCounter, Auditor, Residuals},
    carried::Carried,
    episode::Episodes,
    host::SoftnetTotals,
    process_names::ProcessNames,
    rate::Speedometer,
    recent::{Recent, Recorder},
    series::{Series, SeriesHistory, SeriesWishes},
};
use crate::{
    plan::outcome::{Coverage, PlanOutcome},
    sample::{Instants, LimitsSample, OwnCostSample, PortId, Sample},
    sorted::Sorted,
};

/// Everything that is known at one instant, ready to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// When it was read, in seconds since the epoch.
    #[serde(default)]
    pub taken: f64,
    /// Which hooks are attached and which are not, with reasons.
    pub plan: PlanOutcome,
    /// Every listening port that was seen, sorted by namespace, port and address.
    pub ports: Vec<Port>,
    /// When counting began, in seconds since the epoch: totals are what was counted from then on. Earlier than the
    /// daemon's start where it went on from another one's; `None` without hooks.
    #[serde(default)]
    pub counted_since: Option<f64>,
    /// Totals of the ports past the map's budget; `None` without hooks.
    pub other: Option<Handshakes>,
    /// Totals of their queues.
    #[serde(default)]
    pub other_queues: QueueCounts,
    /// Every network namespace that was found, sorted by inode number.
    pub namespaces: Vec<Namespace>,
    /// What holds for the whole host.
    #[serde(default)]
    pub host: Host,
    /// Counts that are missing, by reason; empty without hooks.
    pub losses: BTreeMap<String, u64>,
    /// What this reading could not read, one line each; what concerns one namespace is in its `error`.
    pub read_errors: Vec<String>,
    /// What the daemon itself costs.
    pub own_cost: OwnCostSample,
    /// How the ports are shared out between Prometheus' series; `None` where each has its own.
    #[serde(default)]
    pub series: Option<Series>,
    /// The times in which ports were losing connections, the newest first: those that go on, and the last 100 that
    /// have ended.
    #[serde(default)]
    pub episodes: Vec<Arc<Episode>>,
    /// What is wrong and what cures it; `None` when nobody has judged.
    #[serde(default)]
    pub advice: Option<Arc<Advice>>,
    /// What happened of late.
    #[serde(skip)]
    pub recent: Recent,
}

impl Model {
    /// The network namespace with this inode number.
    #[must_use]
    pub fn namespace(&self, netns: u32) -> Option<&Namespace> {
        let place = self.namespaces.binary_search_by_key(&netns, |namespace| namespace.netns);
        self.namespaces.get(place.ok()?)
    }

    /// Whether "no listeners" means that the port is closed, rather than that nobody could look. A namespace that has ended
    /// took its listeners along.
    #[must_use]
    pub fn knows_sockets_of(&self, port: &Port) -> bool {
        let netns = port.id.netns;
        let has_ended = || self.host.namespaces_not_found.as_ref().is_some_and(|open| !open.contains(&netns));
        !port.listeners.is_empty()
            || self.namespace(netns).map_or_else(has_ended, |found| found.error.is_none())
    }
}

#[cfg(test)]
impl Model {
    /// Nothing is known, for tests that fill in the rest.
    pub(crate) fn empty() -> Self {
        let plan = PlanOutcome { hooks: Vec::new(), coverage: Coverage::NOTHING };
        Self::new(&Sample::default(), &plan, &Findings::default())
    }
}

/// What is remembered from sample to sample.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct History {
    ledger: Ledger,
    auditor: Auditor,
    process_names: ProcessNames,
    /// Two samples make a rate again.
    #[serde(skip)]
    speedometer: Speedometer,
    softnet: SoftnetTotals,
    series: SeriesHistory,
    episodes: Episodes,
    recorder: Recorder,
    carried: Carried,
    /// When the hooks' counts were first read, in seconds since the epoch.
    counted_since: Option<f64>,
}

/// What a history knows after a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Drops and overflows by port, where they are not counted but concluded.
    pub attribution: Attribution,
    /// What the kernel counted and no port did.
    pub residuals: Residuals,
    /// How fast connections come and go, by port.
    pub rates: Sorted<PortId, Rates>,
    /// What each CPU's network softirq has counted; `None` when it could not be read.
    pub softnet: Option<Vec<Softnet>>,
    /// The names of the processes that ports belong to, or did when they were last open.
    pub processes: Sorted<PortId, Arc<str>>,
    /// When counting began, in seconds since the epoch; `None` without hooks.
    pub counted_since: Option<f64>,
}

impl History {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(series: SeriesWishes) -> Self {
        Self { series: SeriesHistory::new(series), ..Self::default() }
    }

    /// The history that goes on where another daemon with hooks of its own has ended, whose last totals were `carried`.
    /// What is told by the hooks' counts alone begins anew.
    #[must_use]
    pub fn carried_on(self, carried: Carried) -> Self {
        let (ledger, auditor, speedometer) = Default::default();
        Self { ledger, auditor, speedometer, carried, ..self }
    }

    /// Adds to a model what was counted before its hooks were attached.
    pub fn add_carried(&self, model: &mut Model, findings: &Findings) {
        self.carried.add_to(model, &findings.processes);
    }

    /// Other ports may have series of their own from now on. What was counted stays where it is shown.
    pub fn set_series_wishes(&mut self, wishes: SeriesWishes) {
        self.series.set_wishes(wishes);
    }

    /// Takes in a sample that was read with these hooks.
    pub fn observe(&mut self, sample: &Sample, coverage: &Coverage) -> Findings {
        if sample.hooks.is_some() {
            self.counted_since.get_or_insert(sample.taken.unix_seconds);
        }
        Findings {
            counted_since: self.counted_since.filter(|_| sample.hooks.is_some()),
            attribution: self.ledger.observe(sample, coverage),
            residuals: self.auditor.observe(sample, coverage),
            rates: self.speedometer.observe(sample, coverage),
            softnet: sample.host.softnet.as_deref().map(|softnet| self.softnet.observe(softnet)),
            processes: self.process_names.observe(sample),
        }
    }

    /// Says in a model what happened of late. `monotonic`: when it was read, in nanoseconds.
    pub fn note_recent(&mut self, model: &mut Model, monotonic: u64) {
        model.recent = self.recorder.observe(model, monotonic);
    }

    /// Says in a model which of its ports have series of their own: [`SeriesHistory::share_out`].
    pub fn share_out_series(&mut self, model: &mut Model, now: Duration) {
        self.series.share_out(model, now);
    }

    /// Says in a model which of the losses until now were one burst. `taken` is when its sample was.
    pub fn note_episodes(&mut self, model: &mut Model, taken: &Instants) {
        self.episodes.note(model, taken);
    }
}

/// One network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// Its inode number.
    pub netns: u32,
    /// `TcpExt: ListenOverflows` since the namespace was made; `None` when it cannot be read.
    pub listen_overflows: Option<u64>,
    /// `TcpExt: ListenDrops` since the namespace was made; `None` when it cannot be read.
    pub listen_drops: Option<u64>,
    /// Overflows that no port could be charged with; `None` unless accounting is by socket drops.
    pub unattributed_overflows: Option<u64>,
    /// Drops that no port could be charged with; `None` unless accounting is by socket drops.
    pub unattributed_drops: Option<u64>,
    /// What the kernel counted and no port did, by counter, since the hooks were attached; negative when
    /// the ports counted more. Empty where the counts are not held against the kernel's.
    #[serde(default)]
    pub residuals: BTreeMap<AuditedCounter, i64>,
    /// Its sysctls that limit listeners.
    #[serde(default)]
    pub limits: LimitsSample,
    /// How old the lengths of its SYN queues are, which cost too much to be read at all times; `None` when they
    /// could not be read.
    #[serde(default)]
    pub syn_queues_age_milliseconds: Option<u64>,
    /// Why something above is missing, in one line.
    pub error: Option<String>,
}
