//! Episodes: when a port was losing connections, how many, and at which height of its queue.
//!
//! Totals say how many, and somebody has to look at the right time to learn when. An episode is what a burst comes to:
//! it begins when a port's losses grow and ends when nothing was lost for [`QUIET`].
//!
//! * `counts` says what of a port is a loss, and how much of it was between two samples,
//! * `recorder` says which of that belongs together.
//!
//! All that is said of an episode lies between the last sample before its first loss and the one that saw its
//! last: samples are all that there is, so the first loss came later than it begins by less than their distance.
mod counts;
mod recorder;

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::recorder::Episodes;
use crate::sample::PortId;

/// After so long without a loss an episode is over.
///
/// A client that gets no answer sends its SYN again 1, 3, 7, 15 and 31 seconds after the first (RFC 6298, 2.1 and 5.5:
/// one second, and twice as long each time). The pauses up to the fourth are 8 s at most, so these belong to the burst that
/// they come from; the fifth comes after 16 s, and would join bursts that have nothing to do with each other.
pub const QUIET: Duration = Duration::from_secs(10);

/// So many episodes that have ended are kept, and so many may go on at once.
pub const MOST_EPISODES: usize = 100;

/// The loss, beside those of the hooks, for episodes that were not recorded because too many others went on.
pub const LOSS_EPISODE_NOT_RECORDED: &str = "episode_not_recorded";

/// Why packets were refused, as in the label `cause` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// The accept queue was full.
    AcceptQueueFull,
    /// The SYN queue was full, and SYN cookies are off.
    SynQueueFull,
    /// The last quarter of `net.ipv4.tcp_max_syn_backlog` is kept for known clients, and SYN cookies are off.
    SynBacklogReserve,
    /// No memory, no route, a security module.
    Other,
}

impl LossCause {
    /// The label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AcceptQueueFull => "accept_queue_full",
            Self::SynQueueFull => "syn_queue_full",
            Self::SynBacklogReserve => "syn_backlog_reserve",
            Self::Other => "other",
        }
    }
}

/// A time in which a port was losing connections. `None` is "cannot be known here", never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Episode {
    /// Which port.
    #[serde(flatten)]
    pub id: PortId,
    /// The name of the process that the port belonged to, or did when it was last open.
    pub process: Option<Arc<str>>,
    /// When the last sample before the first loss was taken, in seconds since the epoch: it cannot have begun before.
    pub begun: f64,
    /// When the sample was taken that saw the last loss, in seconds since the epoch; `None` while it goes on, which is
    /// until 10 seconds have passed without a loss.
    pub ended: Option<f64>,
    /// From `begun` to the last sample that saw a loss, in seconds of the monotonic clock.
    pub seconds: f64,
    /// The highest length of one listener's accept queue that is known of this time: noted when a connection was put in
    /// it, read from the socket, or one more than the limit where a packet was refused because it was full.
    pub peak: Option<u32>,
    /// The limit of the accept queue, of several listeners that of the fullest, when it began.
    pub limit: Option<u32>,
    /// Connections of which at least one packet was dropped, each of them once.
    pub connections_refused: Option<u64>,
    /// Packets that were refused because the accept queue was full, those that were sent again included.
    pub packets_refused: Option<u64>,
    /// Packets that the kernel counted as ListenDrops, for whatever cause.
    pub listen_drops: Option<u64>,
    /// The cause of most of the dropped packets.
    pub cause: Option<LossCause>,
    /// The most places that were wanted in one listener's accept queue at once, in this time or in the two minutes
    /// before.
    pub demand: Option<u32>,
    /// Finished handshakes put in the accept queue.
    pub established: Option<u64>,
    /// Connections that accept() returned.
    pub accepted: Option<u64>,
    /// `established` by `seconds`.
    pub established_per_second: Option<f64>,
    /// `accepted` by `seconds`.
    pub accepted_per_second: Option<f64>,
}

impl Episode {
    /// One of which nothing is known but when it began.
    #[must_use]
    pub const fn beginning(id: PortId, begun: f64) -> Self {
        Self {
            id,
            process: None,
            begun,
            ended: None,
            seconds: 0.0,
            peak: None,
            limit: None,
            connections_refused: None,
            packets_refused: None,
            listen_drops: None,
            cause: None,
            demand: None,
            established: None,
            accepted: None,
            established_per_second: None,
            accepted_per_second: None,
        }
    }

    /// Whether it may still become longer.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.ended.is_none()
    }
}

#[cfg(test)]
mod tests;
