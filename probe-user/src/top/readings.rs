//! The last models, and what was counted between them.
//!
//! Rates are of the time between the last two models: whoever looks at a load test wants to see it begin. Waits are of ten seconds or a
//! little more, because a quantile of the few connections of one second says little.
use std::{sync::Arc, time::Duration};

use crate::{
    model::{Handshakes, Model, Port, series::PortTotals, totals::Totals},
    sample::PortId,
};

/// At least so long is what waits are taken from, in seconds, once that much was seen.
const WAITS_SECONDS: f64 = 10.0;

/// Whose totals are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A port, with all its listeners.
    Port(PortId),
    /// One of the listeners that share a port, by its socket's inode number.
    Member(PortId, u32),
    /// All ports that there was no room for.
    Other,
}

/// What was counted between two models.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gain {
    /// How long that was.
    seconds: f64,
    /// By how much the totals have grown.
    pub(super) totals: PortTotals,
}

impl Gain {
    /// How often something happened per second.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    pub(super) fn per_second(&self, count: impl FnOnce(&Handshakes) -> Option<u64>) -> Option<f64> {
        count(&self.totals.handshakes).map(|count| count as f64 / self.seconds)
    }
}

/// The last models.
#[derive(Debug, Default)]
pub(super) struct Readings {
    last: Option<(Arc<Model>, Duration)>,
    /// The one before it: rates are differences to this one.
    before: Option<Arc<Model>>,
    /// Waits are differences to the older of these two, the newer one becomes it when it is old enough.
    older: Option<Arc<Model>>,
    newer: Option<Arc<Model>>,
}

impl Readings {
    /// Takes in a model that came at this time.
    pub(super) fn observe(&mut self, model: Model, at: Duration) {
        let model = Arc::new(model);
        if self.model().is_some_and(|last| last.counted_since != model.counted_since) {
            // Its totals began anew: there is nothing that they could be compared with.
            *self = Self::default();
        }
        let is_due = |mark: &Arc<Model>| model.taken - mark.taken >= WAITS_SECONDS;
        if self.newer.as_ref().is_none_or(is_due) {
            self.older = self.newer.replace(Arc::clone(&model));
        }
        if let Some((last, _)) = self.last.replace((model, at)) {
            self.before = Some(last);
        }
    }

    /// The last one.
    pub(super) fn model(&self) -> Option<&Model> {
        self.last.as_ref().map(|(model, _)| &**model)
    }

    /// When the last one came.
    pub(super) fn at(&self) -> Option<Duration> {
        self.last.as_ref().map(|(_, at)| *at)
    }

    /// What was counted since the model before the last one.
    pub(super) fn gain(&self, key: Key) -> Option<Gain> {
        self.since(self.before.as_deref()?, key)
    }

    /// What was counted in the last seconds.
    pub(super) fn late(&self, key: Key) -> Option<Gain> {
        let mark = self.older.as_deref().or(self.newer.as_deref())?;
        self.since(mark, key)
    }

    fn since(&self, earlier: &Model, key: Key) -> Option<Gain> {
        let last = self.model()?;
        let seconds = last.taken - earlier.taken;
        // A clock that was set back says nothing.
        let is_later = seconds > 0.0;
        let now = totals(last, key).filter(|_| is_later)?;
        // What was not there had counted nothing.
        let Some(then) = totals(earlier, key) else { return Some(Gain { seconds, totals: now }) };
        then.knows_all_of(&now).then(|| Gain { seconds, totals: now.minus(&then) })
    }
}

fn totals(model: &Model, key: Key) -> Option<PortTotals> {
    match key {
        Key::Port(id) => find(model, id).map(PortTotals::of),
        Key::Member(id, inode) => {
            let member = find(model, id)?.listeners.iter().find(|listener| listener.inode == inode)?;
            Some(PortTotals { handshakes: *member.handshakes, queues: member.queues.counts.clone() })
        }
        Key::Other => PortTotals::of_other(model),
    }
}

/// The port in a model, whose ports are sorted.
pub(super) fn find(model: &Model, id: PortId) -> Option<&Port> {
    let index = model.ports.binary_search_by_key(&id, |port| port.id).ok()?;
    model.ports.get(index)
}
