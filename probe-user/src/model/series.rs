//! How many ports have series of their own in Prometheus, and what becomes of the others.
//!
//! A host may have thousands of listening ports, and each of them would cost Prometheus some thirty series. So at most
//! so many ports have series of their own; what is counted at the others is in the one row `other`.
//!
//! * `rules` says which ports may have some at all,
//! * `places` says which of them do,
//! * `shares` says which count is in which series.
//!
//! Every count is in one series, for good: the own series of its port, if there were any when it happened, else
//! `other`. That is why the increases over all series are the increases over all ports, and why a port that gets
//! or loses its series makes no jump anywhere. Added up as they stand, the series that exist lack just what
//! those that were taken away had shown; a port that gets its series back goes on from there.
mod places;
mod rules;
mod shares;

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::rules::{DEFAULT_LIMIT, PortRule, SeriesWishes};
use self::{
    places::{Activity, Candidate, Places},
    shares::Shares,
};
use super::{Handshakes, Model, Port, QueueCounts, totals::totals};

/// Everything of a port that only grows: what is shared out. A new set of totals becomes a field here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortTotals {
    /// What was counted of handshakes.
    pub handshakes: Handshakes,
    /// What was counted of accept queues.
    #[serde(default)]
    pub queues: QueueCounts,
}

totals!(PortTotals: handshakes, queues);

impl PortTotals {
    /// All that was counted at a port.
    #[must_use]
    pub fn of(port: &Port) -> Self {
        Self { handshakes: port.handshakes, queues: port.queues.counts.clone() }
    }

    const fn parts(&self) -> (&Handshakes, &QueueCounts) {
        (&self.handshakes, &self.queues)
    }

    /// All that was counted at the ports that there was no room for; `None` without hooks.
    #[must_use]
    pub fn of_other(model: &Model) -> Option<Self> {
        Some(Self { handshakes: model.other?, queues: model.other_queues.clone() })
    }
}

/// What Prometheus is shown of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exposure {
    /// Whether it has series of its own.
    pub own: bool,
    /// What these show, where some of the port's totals are in `other`; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Box<PortTotals>>,
}

impl Default for Exposure {
    fn default() -> Self {
        Self { own: true, totals: None }
    }
}

impl Exposure {
    /// Whether all of the port is in its own series.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// How the ports are shared out between series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Ports that are known.
    pub ports: u64,
    /// Of these, those without series of their own.
    pub ports_in_other: u64,
    /// What the row `other` shows; `None` without hooks.
    pub other: Option<PortTotals>,
}

impl Model {
    /// What the port's own series show; `None` where it has none.
    #[must_use]
    pub fn exposed<'a>(&self, port: &'a Port) -> Option<(&'a Handshakes, &'a QueueCounts)> {
        let shown = port.series.totals.as_deref().map(PortTotals::parts);
        port.series.own.then(|| shown.unwrap_or((&port.handshakes, &port.queues.counts)))
    }

    /// What the row `other` shows.
    #[must_use]
    pub fn exposed_other(&self) -> Option<(&Handshakes, &QueueCounts)> {
        match &self.series {
            Some(series) => series.other.as_ref().map(PortTotals::parts),
            None => Some((self.other.as_ref()?, &self.other_queues)),
        }
    }
}

/// The history of all series, fed with every model.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SeriesHistory {
    #[serde(skip)]
    wishes: SeriesWishes,
    places: Places,
    shares: Shares<PortTotals>,
    /// Whether the hooks' counts were ever read.
    counted: bool,
}

impl SeriesHistory {
    /// A history that has seen nothing yet.
    #[must_use]
    pub fn new(wishes: SeriesWishes) -> Self {
        Self { wishes, ..Self::default() }
    }

    /// Takes other wishes from the next model on.
    pub fn set_wishes(&mut self, wishes: SeriesWishes) {
        self.wishes = wishes;
    }

    /// Says in the model which ports have series of their own, and what they show. `now` is a time that never
    /// goes back, such as that since the daemon's start.
    pub fn share_out(&mut self, model: &mut Model, now: Duration) {
        self.counted |= model.other.is_some();
        // Without the hooks' counts, ports that nobody listens on are missing: they will be back.
        let complete = model.other.is_some() || !self.counted;
        self.assign_places(model, now, complete);
        for port in &model.ports {
            self.shares.take_in(port.id, &PortTotals::of(port), self.places.has(&port.id));
        }
        // All ports of the model are in it: are there more, some are no more.
        if complete && self.shares.len() > model.ports.len() {
            self.shares.keep_only(&model.ports.iter().map(|port| port.id).collect::<BTreeSet<_>>());
        }
        self.tell(model);
    }

    fn assign_places(&mut self, model: &Model, now: Duration, complete: bool) {
        let mut candidates = Vec::new();
        for port in &model.ports {
            if self.wishes.admit(&port.id, port.process.as_deref()) {
                candidates.push(self.candidate(model, port));
            } else {
                self.places.take_away(&port.id);
            }
        }
        self.places.assign(&candidates, self.wishes.limit, now, complete);
    }

    fn candidate(&self, model: &Model, port: &Port) -> Candidate {
        let gain = self.shares.gain(&port.id, &PortTotals::of(port));
        Candidate {
            id: port.id,
            activity: Activity::of(&gain.handshakes),
            closed: port.listeners.is_empty() && model.knows_sockets_of(port),
        }
    }

    fn tell(&mut self, model: &mut Model) {
        let mut ports_in_other = 0;
        for port in &mut model.ports {
            let own = self.places.has(&port.id);
            ports_in_other += u64::from(!own);
            let totals = if own { self.shares.shown(&port.id, &PortTotals::of(port)) } else { None };
            port.series = Exposure { own, totals: totals.map(Box::new) };
        }
        model.series = Some(Series {
            ports: u64::try_from(model.ports.len()).unwrap_or(u64::MAX),
            ports_in_other,
            other: self.shares.other(PortTotals::of_other(model).as_ref()),
        });
    }
}

#[cfg(test)]
mod tests;
