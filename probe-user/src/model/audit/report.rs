//! What an audit found, with whose it is and over which time: `check` tells it.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AuditedCounter;
use crate::{
    model::{Model, Namespace},
    plan::outcome::Accounting,
};

/// What is left when the counts are held against the kernel's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// The daemon whose numbers these are; `None` where they are those of a command that has watched for moments.
    pub daemon: Option<AskedDaemon>,
    /// Why they are no daemon's, in one line.
    pub no_daemon: Option<String>,
    /// How refused packets are counted there: only kernel-counters are held against the kernel.
    pub accounting: Accounting,
    /// When counting began, in seconds since the epoch; `None` without hooks.
    pub since: Option<f64>,
    /// When it was looked, in seconds since the epoch.
    pub until: f64,
    /// The network namespaces of which there is something to say.
    pub namespaces: Vec<NamespaceRest>,
}

/// A daemon that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedDaemon {
    /// Where it answers.
    pub address: String,
    /// Its version.
    pub version: String,
}

/// What no port of a network namespace accounts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceRest {
    /// Its inode number.
    pub netns: u32,
    /// What the kernel counted and no port did; negative when the ports counted more. Empty where nothing is audited.
    pub residuals: BTreeMap<AuditedCounter, i64>,
    /// Overflows that no port could be charged with; `None` unless accounting is by socket drops.
    pub unattributed_overflows: Option<u64>,
    /// Drops that no port could be charged with; `None` unless accounting is by socket drops.
    pub unattributed_drops: Option<u64>,
}

/// What is needed of the model that a daemon gives, whose version may be another one.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditedModel {
    taken: f64,
    counted_since: Option<f64>,
    plan: AuditedPlan,
    namespaces: Vec<Namespace>,
}

#[derive(Clone, Debug, Deserialize)]
struct AuditedPlan {
    coverage: AuditedCoverage,
}

#[derive(Clone, Debug, Deserialize)]
struct AuditedCoverage {
    accounting: Accounting,
}

impl AuditReport {
    /// What a daemon has found.
    #[must_use]
    pub fn of_daemon(daemon: AskedDaemon, model: &AuditedModel) -> Self {
        Self {
            daemon: Some(daemon),
            no_daemon: None,
            accounting: model.plan.coverage.accounting,
            since: model.counted_since,
            until: model.taken,
            namespaces: rests(&model.namespaces),
        }
    }

    /// What a command has found by itself.
    #[must_use]
    pub fn of_command(model: &Model, no_daemon: String) -> Self {
        Self {
            daemon: None,
            no_daemon: Some(no_daemon),
            accounting: model.plan.coverage.accounting,
            since: model.counted_since,
            until: model.taken,
            namespaces: rests(&model.namespaces),
        }
    }
}

fn rests(namespaces: &[Namespace]) -> Vec<NamespaceRest> {
    let rest = |namespace: &Namespace| {
        let rest = NamespaceRest {
            netns: namespace.netns,
            residuals: namespace.residuals.clone(),
            unattributed_overflows: namespace.unattributed_overflows,
            unattributed_drops: namespace.unattributed_drops,
        };
        let nothing = NamespaceRest { netns: namespace.netns, ..NamespaceRest::default() };
        (rest != nothing).then_some(rest)
    };
    namespaces.iter().filter_map(rest).collect()
}
