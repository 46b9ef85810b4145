//! One listening port, as every renderer sees it.
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{backlog::Backlog, queue::Queues, rate::Rates, series::Exposure};
use crate::sample::{OwnerSample, PortId};

/// What is known of one listening port. `None` is "cannot be known here", never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// Which port.
    #[serde(flatten)]
    pub id: PortId,
    /// The name of the process that the port belongs to, or did when it was last open. Of several owners it
    /// is the one with the lowest process number. `None` when it was never known.
    #[serde(default)]
    pub process: Option<Arc<str>>,
    /// Totals since the daemon's hooks were attached.
    #[serde(flatten)]
    pub handshakes: Handshakes,
    /// Their queues.
    #[serde(flatten)]
    pub queues: Queues,
    /// How fast connections come and go.
    #[serde(flatten)]
    pub rates: Rates,
    /// The sockets that listen there now; empty when it is closed.
    pub listeners: Vec<Listener>,
    /// Handshakes that wait for their last ACK, of all its listeners; `None` for a closed port.
    #[serde(default)]
    pub syn_queue_length: Option<u64>,
    /// The backlog that the worst burst of the last day would have needed, with something to spare; `None` where nobody
    /// wanted a place.
    #[serde(default)]
    pub backlog_recommended: Option<u64>,
    /// What Prometheus is shown of it; left out where that is all.
    #[serde(default, skip_serializing_if = "Exposure::is_whole")]
    pub series: Exposure,
}

impl Port {
    /// Length and limit of the accept queue, summed over the listeners: each has a queue of its own. A closed port
    /// has none.
    #[must_use]
    pub fn accept_queue(&self) -> Option<(u64, u64)> {
        let queues = self.listeners.iter().map(|one| (one.accept_queue_length, one.accept_queue_limit));
        queues
            .map(|(length, limit)| (u64::from(length), u64::from(limit)))
            .reduce(|(length, limit), (more, more_limit)| (length + more, limit + more_limit))
    }

    /// The process that the port belongs to now: of several owners the one with the lowest number.
    #[must_use]
    pub fn owner(&self) -> Option<&OwnerSample> {
        lowest(self.listeners.iter().filter_map(|listener| listener.owner.as_deref()))
    }
}

impl Port {
    /// A port without listeners of which nothing is known.
    pub(crate) fn closed(id: PortId) -> Self {
        let (handshakes, queues, rates, series) = Default::default();
        Self {
            id,
            process: None,
            handshakes,
            queues,
            rates,
            listeners: Vec::new(),
            syn_queue_length: None,
            backlog_recommended: None,
            series,
        }
    }
}

#[cfg(test)]
impl Listener {
    /// A listener of which nothing is known but its queue.
    pub(crate) fn with_queue(accept_queue_length: u32, accept_queue_limit: u32) -> Self {
        let (backlog, handshakes, queues) = Default::default();
        Self {
            accept_queue_length,
            accept_queue_limit,
            backlog,
            inode: 1,
            socket_drops: 0,
            owner: None,
            handshakes,
            queues,
        }
    }
}

/// The owner that is shown of several: which one hardly matters, but it has to be the same the next time.
pub(super) fn lowest<'a>(owners: impl Iterator<Item = &'a OwnerSample>) -> Option<&'a OwnerSample> {
    owners.min_by_key(|owner| owner.pid)
}

/// Totals of handshakes since the hooks were attached. `probe_common::handshake::HandshakeCounters`
/// says where each number comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Handshakes {
    /// SYNs that reached the listener.
    pub syn_received: Option<u64>,
    /// SYNs put in the SYN queue.
    pub syn_queued: Option<u64>,
    /// SYNs that were dropped, by cause.
    pub syn_dropped: SynDropped,
    /// SYNs answered with a SYN cookie.
    pub syncookies_sent: Option<u64>,
    /// Last ACKs with a good SYN cookie.
    pub syncookies_received: Option<u64>,
    /// ACKs without a good SYN cookie.
    pub syncookies_failed: Option<u64>,
    /// SYNs that found the SYN queue full while SYN cookies are on.
    pub syn_queue_full_cookies: Option<u64>,
    /// Last ACKs for which a child socket was asked.
    pub last_ack_received: Option<u64>,
    /// Last ACKs for which no child socket was made, by cause.
    pub last_ack_refused: LastAckRefused,
    /// Finished handshakes put in the accept queue.
    pub established: Option<u64>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: Option<u64>,
    /// Requests ended by an ICMP error.
    pub request_errors: Option<u64>,
    /// Requests reset because of `net.ipv4.tcp_abort_on_overflow`.
    pub requests_aborted: Option<u64>,
    /// Requests given up after their last SYN-ACK.
    pub requests_expired: Option<u64>,
    /// Connections reset because their listener was closed before it accepted them.
    pub closed_unaccepted: Option<u64>,
    /// Connections of which at least one packet was dropped, each of them once.
    pub connections_refused: Option<u64>,
    /// Packets refused because the accept queue was full, by stage.
    pub accept_queue_overflows: Overflows,
    /// Packets that the kernel counted as ListenDrops on behalf of this port.
    pub listen_drops: Option<u64>,
}

/// SYNs that were dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SynDropped {
    /// The accept queue was full.
    pub accept_queue_full: Option<u64>,
    /// The SYN queue was full, and SYN cookies are off.
    pub syn_queue_full: Option<u64>,
    /// The last quarter of `net.ipv4.tcp_max_syn_backlog` is kept for known clients, and SYN cookies are off.
    pub syn_backlog_reserve: Option<u64>,
    /// No memory, no route, a security module, a broadcast address.
    pub other: Option<u64>,
}

/// Last ACKs for which no child socket was made. Either the causes are known or only their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LastAckRefused {
    /// The accept queue was full.
    pub accept_queue_full: Option<u64>,
    /// No memory, no route.
    pub other: Option<u64>,
    /// All together, where the plan cannot tell them apart.
    pub undivided: Option<u64>,
}

/// Packets refused because the accept queue was full. Either the two stages are known or only their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overflows {
    /// Refused SYNs.
    pub syn: Option<u64>,
    /// Refused last ACKs.
    pub ack: Option<u64>,
    /// Both together, where the plan cannot tell them apart.
    pub undivided: Option<u64>,
}

impl Overflows {
    /// The sum over the stages; `None` where nothing is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        [self.syn, self.ack, self.undivided].into_iter().flatten().reduce(u64::saturating_add)
    }
}

/// One socket that listens on the port now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// Finished handshakes that wait for accept().
    pub accept_queue_length: u32,
    /// The effective backlog.
    pub accept_queue_limit: u32,
    /// What was asked for, and what made this limit of it.
    #[serde(default)]
    pub backlog: Backlog,
    /// Inode of the socket.
    pub inode: u32,
    /// Packets that this socket refused since it was made, for whatever reason: the kernel's `sk_drops`, whose 32 bits
    /// wrap.
    #[serde(default)]
    pub socket_drops: u32,
    /// The process that it belongs to, if it is known.
    #[serde(default)]
    pub owner: Option<Arc<OwnerSample>>,
    /// Its own part in the port's totals, as far as sockets can be told apart.
    // Shared by those at which nothing happened.
    #[serde(default)]
    pub handshakes: Arc<Handshakes>,
    /// Its own queues, in the same way.
    #[serde(default)]
    pub queues: Arc<Queues>,
}
