//! What is saved of the demands, so that a restart of the daemon does not make it forget a day.
//!
//! Numbers of network namespaces are given out anew when the host or a container is started. So ports of the daemon's
//! own namespace are saved as `own`. Those of another are saved with its number, and are taken over only if the host was
//! not started since and a namespace of that number lives. If that should be another one, which got the number while no
//! daemon looked, its ports have a recommendation of its predecessor's for a day at most.
use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{Demands, HORIZON_HOURS, HOUR, Hours, Recommender};
use crate::sample::PortId;

/// The version of [`RecommenderState`]'s JSON form.
pub const STATE_VERSION: u32 = 1;

/// How far a state may lie ahead: clocks are set back by a little all the time.
const TOLERANCE: u64 = HOUR;

/// A saved [`Recommender`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecommenderState {
    /// [`STATE_VERSION`] of the writer.
    pub version: u32,
    /// When it was saved, in seconds since the epoch.
    pub saved_at: u64,
    /// Which start of the host it is from: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The demands of each port.
    pub ports: Vec<PortState>,
}

/// The demands of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// The network namespace.
    netns: NetnsState,
    address: IpAddr,
    port: u16,
    /// When there was a demand last, in seconds since the epoch.
    last: u64,
    /// Hours since the epoch, each with its largest demand.
    hours: Hours,
}

/// A network namespace, as far as it can be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NetnsState {
    /// The daemon's own.
    Own,
    /// Another, by its inode number.
    Inode(u32),
}

/// Where and when the daemon runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its own network namespace.
    pub own_netns: u32,
    /// Every network namespace that lives now.
    pub netns: BTreeSet<u32>,
    /// Which start of the host this is; empty when that is unknown.
    pub boot_id: String,
}

/// Why a saved state is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is no such state.
    #[error("is no saved state: {0}")]
    Malformed(String),
    /// Another version of the daemon wrote it.
    #[error("has version {found}, this daemon reads {STATE_VERSION}")]
    Version {
        /// That version.
        found: u64,
    },
    /// The clock was set back by a lot since, or the state is another host's.
    #[error("was saved {seconds} s ahead of the clock")]
    Future {
        /// By how much.
        seconds: u64,
    },
}

impl Recommender {
    /// What is to be saved.
    #[must_use]
    pub fn state(&self, now_unix: u64, place: &Place) -> RecommenderState {
        let port = |(id, known): (&PortId, &Demands)| PortState {
            netns: if id.netns == place.own_netns { NetnsState::Own } else { NetnsState::Inode(id.netns) },
            address: id.address,
            port: id.port,
            last: known.last,
            hours: known.hours.clone(),
        };
        RecommenderState {
            version: STATE_VERSION,
            saved_at: now_unix,
            boot_id: place.boot_id.clone(),
            ports: self.ports.iter().map(port).collect(),
        }
    }

    /// Goes on from what was saved. Ports of namespaces that are not there any more are left out.
    ///
    /// # Errors
    /// When it is of no use.
    pub fn restore(text: &[u8], now_unix: u64, place: &Place) -> Result<Self, StateError> {
        let state = read(text)?;
        let ahead = state.saved_at.saturating_sub(now_unix);
        if ahead > TOLERANCE {
            return Err(StateError::Future { seconds: ahead });
        }
        let same_boot = state.boot_id == place.boot_id && !place.boot_id.is_empty();
        let netns = |netns| match netns {
            NetnsState::Own => Some(place.own_netns),
            NetnsState::Inode(inode) => (same_boot && place.netns.contains(&inode)).then_some(inode),
        };
        let mut restored = Self::default();
        for PortState { netns: saved, address, port, last, hours } in state.ports {
            if let Some(netns) = netns(saved) {
                let demands = Demands { hours: in_order(hours), last };
                restored.ports.insert(PortId { netns, address, port }, demands);
            }
        }
        restored.observe(now_unix, []);
        restored.changed = false;
        Ok(restored)
    }
}

/// The version before the rest: another version may look quite different.
fn read(text: &[u8]) -> Result<RecommenderState, StateError> {
    let malformed = |error: serde_json::Error| StateError::Malformed(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(text).map_err(malformed)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(STATE_VERSION) => Err(StateError::Version { found }),
        _ => serde_json::from_value(value).map_err(malformed),
    }
}

/// Whoever wrote it: as many hours as are kept, each once, the oldest first, and none without a demand.
fn in_order(mut hours: Hours) -> Hours {
    hours.retain(|(_, demand)| *demand > 0);
    hours.sort_unstable_by(|left, right| right.cmp(left));
    hours.dedup_by_key(|(hour, _)| *hour);
    hours.truncate(usize::try_from(HORIZON_HOURS).unwrap_or(usize::MAX).saturating_add(1));
    hours.reverse();
    hours
}
