//! The backlog that the worst burst of the last day would have needed.
//!
//! A demand is the largest number of connections that wanted a place in one listener's accept queue at once. Of each port
//! the largest demand of each hour is kept, for as many hours as the horizon has, and one more that has only begun.
//!
//! Hours are those of the clock of the day, so that a state can be saved and read again. That clock may be set
//! back: hours that lie ahead of it then are taken for the present one, so nothing lasts longer than the
//! horizon, and nothing is lost. Set ahead by more than the horizon, it makes all that was seen old.
mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::state::{Place, RecommenderState, STATE_VERSION, StateError};
use crate::sample::PortId;

/// For how many hours a demand counts, beside the one that it was seen in.
const HORIZON_HOURS: u64 = 24;
/// Seconds of an hour.
const HOUR: u64 = 3600;
/// The most ports whose demands are remembered.
pub const PORT_BUDGET: usize = 16_384;

/// The largest demand of each hour, the oldest first. Hours without a demand are left out.
type Hours = Vec<(u64, u64)>;

/// What is remembered of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Demands {
    hours: Hours,
    /// When there was a demand last, in seconds since the epoch.
    last: u64,
}

/// Remembers demands and recommends backlogs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommender {
    ports: BTreeMap<PortId, Demands>,
    /// The hour of the last look.
    hour: u64,
    forgotten: u64,
    changed: bool,
}

impl Recommender {
    /// Takes in what was wanted since the last look. `now_unix`: seconds since the epoch.
    pub fn observe(&mut self, now_unix: u64, demands: impl IntoIterator<Item = (PortId, u64)>) {
        self.go_on_to(now_unix / HOUR);
        for (port, demand) in demands {
            if demand > 0 {
                let known = self.ports.entry(port).or_default();
                known.last = now_unix;
                self.changed |= known.note(self.hour, demand);
            }
        }
        self.forget_past_budget();
    }

    /// The backlog to ask `listen()` for: the largest demand within the horizon and a quarter more, as the next power
    /// of two. `None` without a demand.
    #[must_use]
    pub fn recommended(&self, port: &PortId) -> Option<u64> {
        self.ports.get(port)?.hours.iter().map(|(_, demand)| *demand).max().map(recommendation)
    }

    /// Ports whose demands were forgotten, because there was no room for so many.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether there is something to save since this was asked last.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Another hour than before makes some demands old, or, if the clock was set back, others younger.
    fn go_on_to(&mut self, hour: u64) {
        if hour == self.hour {
            return;
        }
        self.hour = hour;
        for known in self.ports.values_mut() {
            self.changed |= known.adapt(hour);
        }
        self.ports.retain(|_, known| !known.hours.is_empty());
    }

    /// Drops those whose last demand is the oldest.
    fn forget_past_budget(&mut self) {
        let excess = self.ports.len().saturating_sub(PORT_BUDGET);
        if excess == 0 {
            return;
        }
        let mut by_age: Vec<_> = self.ports.iter().map(|(id, known)| (known.last, *id)).collect();
        by_age.sort_unstable();
        for (_, id) in by_age.into_iter().take(excess) {
            self.ports.remove(&id);
        }
        self.forgotten = self.forgotten.saturating_add(u64::try_from(excess).unwrap_or(u64::MAX));
        self.changed = true;
    }
}

impl Demands {
    /// Notes a demand of the present hour; whether that says anything new.
    fn note(&mut self, hour: u64, demand: u64) -> bool {
        match self.hours.last_mut() {
            Some((last, most)) if *last == hour => {
                let more = demand > *most;
                *most = demand.max(*most);
                more
            }
            _ => {
                self.hours.push((hour, demand));
                true
            }
        }
    }

    /// Leaves out what is too old, and takes what lies ahead for the present; whether anything is different now.
    fn adapt(&mut self, hour: u64) -> bool {
        let before = self.hours.len();
        self.hours.retain(|(seen, _)| seen.saturating_add(HORIZON_HOURS) >= hour);
        let ahead = self.hours.iter().filter(|(seen, _)| *seen > hour).map(|(_, demand)| *demand).max();
        if let Some(demand) = ahead {
            self.hours.retain(|(seen, _)| *seen <= hour);
            self.note(hour, demand);
            self.last = self.last.min(hour.saturating_add(1).saturating_mul(HOUR));
        }
        ahead.is_some() || self.hours.len() != before
    }
}

/// A quarter more, as the next power of two.
fn recommendation(demand: u64) -> u64 {
    let with_headroom = demand.saturating_add(demand.div_ceil(4));
    with_headroom.checked_next_power_of_two().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
