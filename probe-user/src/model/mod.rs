//! What the numbers mean: pure functions from samples to what every renderer shows.
//!
//! No I/O, no clock, no aya. History that is needed to tell overflows from other drops lives in
//! [`attribution::Ledger`], which the daemon owns and feeds with every sample.
pub mod attribution;
pub mod build;
pub mod port;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::port::{Handshakes, Listener, Overflows, Port};
use crate::{plan::outcome::PlanOutcome, sample::OwnCostSample};

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
    /// Why something above is missing, in one line.
    pub error: Option<String>,
}
