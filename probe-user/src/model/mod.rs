//! What the numbers mean: pure functions from samples to what every renderer shows.
//!
//! No I/O, no clock, no aya. History lives in [`History`]: what is needed to tell overflows from other
//! drops, and to hold all counts against the kernel's. The daemon owns it and feeds it with every sample.
pub mod attribution;
pub mod audit;
pub mod build;
pub mod port;
pub mod recommendation;
pub mod series;
pub mod totals;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::port::{Handshakes, LastAckRefused, Listener, Overflows, Port, SynDropped};
use self::{
    attribution::{Attribution, Ledger},
    audit::{AuditedCounter, Auditor, Residuals},
    series::{Series, SeriesHistory, SeriesWishes},
};
use crate::{
    plan::outcome::{Coverage, PlanOutcome},
    sample::{OwnCostSample, Sample},
};

/// Everything that is known at one instant, ready to be shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Which hooks are attached and which are not, with reasons.
    pub plan: PlanOutcome,
    /// Every listening port that was seen, sorted by namespace, port and address.
    pub ports: Vec<Port>,
    /// Totals of the ports past the map's budget; `None` without hooks.
    pub other: Option<Handshakes>,
    /// Every network namespace that was found.
    pub namespaces: Vec<Namespace>,
    /// Counts that are missing, by reason; empty without hooks.
    pub losses: BTreeMap<String, u64>,
    /// What this reading could not read, one line each; what concerns one namespace is in its `error`.
    pub read_errors: Vec<String>,
    /// What the daemon itself costs.
    pub own_cost: OwnCostSample,
    /// How the ports are shared out between Prometheus' series; `None` where each has its own.
    #[serde(default)]
    pub series: Option<Series>,
}

/// What is remembered from sample to sample.
#[derive(Debug, Default)]
pub struct History {
    ledger: Ledger,
    auditor: Auditor,
    series: SeriesHistory,
}

/// What a history knows after a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Drops and overflows by port, where they are not counted but concluded.
    pub attribution: Attribution,
    /// What the kernel counted and no port did.
    pub residuals: Residuals,
}

impl History {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(series: SeriesWishes) -> Self {
        Self { series: SeriesHistory::new(series), ..Self::default() }
    }

    /// Takes in a sample that was read with these hooks.
    pub fn observe(&mut self, sample: &Sample, coverage: &Coverage) -> Findings {
        Findings {
            attribution: self.ledger.observe(sample, coverage),
            residuals: self.auditor.observe(sample, coverage),
        }
    }

    /// Says in a model which of its ports have series of their own: [`SeriesHistory::share_out`].
    pub fn share_out_series(&mut self, model: &mut Model, now: Duration) {
        self.series.share_out(model, now);
    }
}

/// One network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Why something above is missing, in one line.
    pub error: Option<String>,
}
