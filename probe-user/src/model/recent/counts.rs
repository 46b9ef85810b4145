//! Numbers that are counted over a while, and where in a model their totals are.
use std::sync::Arc;

use super::{HostCounts, NamespaceCounts};
use crate::model::{Histogram, Model, Namespace, Port};
use serde::{Deserialize, Serialize};

/// How many buckets of accept waits there are.
const WAITS: usize = probe_common::accept_queue::WAIT_BUCKETS;

/// Makes a struct's sums and differences of a list of its fields, each with its total's place, so that no list can
/// forget one. What stands in brackets are the values of the other fields.
macro_rules! counts {
    ($type:ident of $source:ty [$($rest:tt)*]: $($(#[$documentation:meta])* $field:ident = $total:expr,)+) => {
        impl $type {
            /// The totals at one instant; what is not known counts as nothing.
            pub(super) fn of(source: &$source) -> Self {
                let total = |of: &dyn Fn(&$source) -> Option<u64>| of(source).unwrap_or(0);
                Self { $($field: total(&$total),)+ $($rest)* }
            }

            fn fields_plus(&self, more: &Self) -> Self {
                Self { $($field: self.$field.saturating_add(more.$field),)+ $($rest)* }
            }

            fn fields_since(&self, before: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(before.$field),)+ $($rest)* }
            }
        }
    };
}

/// Declares [`RecentCounts`] with its totals.
macro_rules! recent_counts {
    ($($(#[$documentation:meta])* $field:ident = $total:expr,)+) => {
        /// What was counted at one port. Whether a number is known at all, its total in the model tells:
        /// what is not known is 0 here.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct RecentCounts {
            $($(#[$documentation])* pub $field: u64,)+
            /// How long accepted connections had waited, in the buckets of the histogram.
            pub waits: [u32; WAITS],
            /// The longest that an accept queue was, as far as the windows of the peaks tell: it may be of half a minute
            /// before the while.
            pub highest: u32,
        }

        counts! { RecentCounts of Port [..Self::default()]: $($(#[$documentation])* $field = $total,)+ }
    };
}

recent_counts! {
    /// SYNs received.
    syn_received = |port: &Port| port.handshakes.syn_received,
    /// SYNs put in the SYN queue.
    syn_queued = |port: &Port| port.handshakes.syn_queued,
    /// Connections put in the accept queue.
    established = |port: &Port| port.handshakes.established,
    /// Connections that accept() returned.
    accepted = |port: &Port| port.queues.counts.accepted,
    /// SYN-ACKs sent again.
    synack_retransmits = |port: &Port| port.handshakes.synack_retransmits,
    /// Connections of which at least one packet was dropped.
    connections_refused = |port: &Port| port.handshakes.connections_refused,
    /// Packets refused because the accept queue was full.
    overflows = |port: &Port| port.handshakes.accept_queue_overflows.total(),
    /// SYNs dropped because the SYN queue was full.
    syn_queue_full = |port: &Port| port.handshakes.syn_dropped.syn_queue_full,
    /// SYNs dropped because the rest of `tcp_max_syn_backlog` is kept for known clients.
    syn_backlog_reserve = |port: &Port| port.handshakes.syn_dropped.syn_backlog_reserve,
    /// SYNs dropped for another reason.
    syn_other = |port: &Port| port.handshakes.syn_dropped.other,
    /// Last ACKs refused for another reason.
    last_ack_other = |port: &Port| port.handshakes.last_ack_refused.other,
    /// SYNs that found the SYN queue full while cookies are on.
    syn_queue_full_cookies = |port: &Port| port.handshakes.syn_queue_full_cookies,
    /// SYN cookies sent.
    syncookies_sent = |port: &Port| port.handshakes.syncookies_sent,
    /// SYN cookies that came back.
    syncookies_received = |port: &Port| port.handshakes.syncookies_received,
    /// Requests given up after their last SYN-ACK.
    requests_expired = |port: &Port| port.handshakes.requests_expired,
    /// Requests reset because of `tcp_abort_on_overflow`.
    requests_aborted = |port: &Port| port.handshakes.requests_aborted,
    /// Packets that the kernel counted as ListenDrops.
    listen_drops = |port: &Port| port.handshakes.listen_drops,
    /// Packets that the sockets refused for whatever reason: `sk_drops`, added up over the listeners.
    socket_drops = |port: &Port| {
        port.listeners.iter().map(|listener| u64::from(listener.socket_drops)).reduce(|sum, one| sum + one)
    },
}

counts! { NamespaceCounts of Namespace []:
    listen_overflows = |netns: &Namespace| netns.listen_overflows,
    listen_drops = |netns: &Namespace| netns.listen_drops,
    unattributed_overflows = |netns: &Namespace| netns.unattributed_overflows,
}

counts! { HostCounts of Model []:
    softnet_dropped = |model: &Model| {
        model.host.softnet.iter().flatten().map(|cpu| cpu.dropped).reduce(|sum, one| sum + one)
    },
    softnet_processed = |model: &Model| {
        model.host.softnet.iter().flatten().map(|cpu| cpu.processed).reduce(|sum, one| sum + one)
    },
}

impl RecentCounts {
    /// The totals at one instant, and how high the queue was of late.
    pub(super) fn at(port: &Port) -> Self {
        Self { waits: waits(port), highest: highest(port), ..Self::of(port) }
    }

    /// Adds what was counted in the stretch after.
    pub(super) fn add(&mut self, more: &Self) {
        let mut sum = self.fields_plus(more);
        for ((sum, ours), theirs) in sum.waits.iter_mut().zip(&self.waits).zip(&more.waits) {
            *sum = ours.saturating_add(*theirs);
        }
        sum.highest = self.highest.max(more.highest);
        *self = sum;
    }

    /// What was counted since then.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut gained = self.fields_since(before);
        for ((gained, now), before) in gained.waits.iter_mut().zip(&self.waits).zip(&before.waits) {
            // Totals modulo 2^32: the difference is right all the same.
            *gained = now.wrapping_sub(*before);
        }
        gained.highest = self.highest;
        gained
    }

    /// Whether nothing was counted.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The waits as the histogram that the port has of all times; `None` where they are not known.
    #[must_use]
    pub fn accept_wait(&self, port: &Port) -> Option<Histogram> {
        let known = port.queues.counts.accept_wait.as_ref()?;
        let counts = self.waits.iter().map(|count| u64::from(*count)).collect();
        // The sum is not remembered: quantiles do not need it.
        Some(Histogram { upper_bounds: Arc::clone(&known.upper_bounds), counts, sum: f64::NAN })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "differences are taken modulo 2^32")]
fn waits(port: &Port) -> [u32; WAITS] {
    let mut waits = [0; WAITS];
    let counts = port.queues.counts.accept_wait.iter().flat_map(|histogram| histogram.counts.iter());
    waits.iter_mut().zip(counts).for_each(|(wait, count)| *wait = *count as u32);
    waits
}

/// The longest queue of late: now, or in the last complete windows.
fn highest(port: &Port) -> u32 {
    let now = port.listeners.iter().map(|listener| listener.accept_queue_length).max().unwrap_or(0);
    let peaks = port.queues.accept_queue_peaks.unwrap_or_default();
    now.max(peaks.last_1_second).max(peaks.last_15_seconds)
}

/// Both halves of what has fields only.
macro_rules! plain {
    ($($type:ident),+) => {
        $(impl $type {
            /// Adds what was counted in the stretch after.
            pub(super) fn add(&mut self, more: &Self) {
                *self = self.fields_plus(more);
            }

            /// What was counted since then.
            pub(super) fn since(&self, before: &Self) -> Self {
                self.fields_since(before)
            }
        })+
    };
}

plain!(NamespaceCounts, HostCounts);
