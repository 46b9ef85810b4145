//! What a daemon before this one had counted with hooks of its own: it goes on in the totals of this one's.
//!
//! Where this one's plan does not measure a number, what was counted of it before is not shown either.
use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Model, Namespace, Port, build::nothing_counted, series::PortTotals, totals::Totals as _};
use crate::{sample::PortId, sorted::Sorted};

/// The most ports whose totals are carried on; those of others are added to the row for others.
const PORT_BUDGET: usize = 16_384;

/// Totals as the last model of that daemon had them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    ports: BTreeMap<PortId, PortTotals>,
    other: PortTotals,
    namespaces: BTreeMap<u32, Unattributed>,
}

/// What no port of a namespace could be charged with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Unattributed {
    overflows: Option<u64>,
    drops: Option<u64>,
}

impl Carried {
    /// All totals of a model, which has what was carried before in it.
    #[must_use]
    pub fn from_model(model: &Model) -> Self {
        let counted = |port: &&Port| !PortTotals::of(port).is_nothing();
        let unattributed = |namespace: &Namespace| Unattributed {
            overflows: namespace.unattributed_overflows,
            drops: namespace.unattributed_drops,
        };
        let mut ports: BTreeMap<_, _> =
            model.ports.iter().filter(counted).map(|port| (port.id, PortTotals::of(port))).collect();
        let mut other = PortTotals::of_other(model).unwrap_or_default();
        while ports.len() > PORT_BUDGET {
            if let Some((_, totals)) = ports.pop_last() {
                other.add(&totals);
            }
        }
        let namespaces = model.namespaces.iter();
        Self {
            ports,
            other,
            namespaces: namespaces.map(|namespace| (namespace.netns, unattributed(namespace))).collect(),
        }
    }

    /// Whether there is nothing to add anywhere.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds it to what was counted since. `processes`: the names that ports are known by.
    pub fn add_to(&self, model: &mut Model, processes: &Sorted<PortId, Arc<str>>) {
        if self.is_nothing() {
            return;
        }
        let mut missing = self.ports.clone();
        for port in &mut model.ports {
            if let Some(carried) = missing.remove(&port.id) {
                add(port, &carried);
            }
        }
        // Ports that were closed before this daemon looked.
        for (id, carried) in missing {
            let (handshakes, counts) = nothing_counted(model.other.is_some(), &model.plan.coverage);
            let mut port = Port { process: processes.get(&id).cloned(), handshakes, ..Port::closed(id) };
            port.queues.counts = counts;
            add(&mut port, &carried);
            model.ports.push(port);
        }
        model.ports.sort_by_key(|port| port.id);
        if let Some(other) = &mut model.other {
            *other = other.plus(&self.other.handshakes);
            model.other_queues = model.other_queues.plus(&self.other.queues);
        }
        for namespace in &mut model.namespaces {
            let carried = self.namespaces.get(&namespace.netns).copied().unwrap_or_default();
            namespace.unattributed_overflows = namespace.unattributed_overflows.plus(&carried.overflows);
            namespace.unattributed_drops = namespace.unattributed_drops.plus(&carried.drops);
        }
    }
}

fn add(port: &mut Port, carried: &PortTotals) {
    port.handshakes = port.handshakes.plus(&carried.handshakes);
    port.queues.counts = port.queues.counts.plus(&carried.queues);
}

#[cfg(test)]
mod tests;
