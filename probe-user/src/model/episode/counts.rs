//! What of a port's totals an episode is made of, and how much of it was between two samples.
use super::LossCause;
use crate::model::Port;
use serde::{Deserialize, Serialize};

/// Totals of one port, or what they have grown by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) connections_refused: Option<u64>,
    /// Because the accept queue was full.
    pub(super) packets_refused: Option<u64>,
    pub(super) listen_drops: Option<u64>,
    syn_queue_full: Option<u64>,
    syn_backlog_reserve: Option<u64>,
    /// Dropped SYNs and refused last ACKs for none of the causes above.
    other: Option<u64>,
    requests_aborted: Option<u64>,
    pub(super) established: Option<u64>,
    pub(super) accepted: Option<u64>,
}

impl Counts {
    /// The totals of a port.
    pub(super) fn of(port: &Port) -> Self {
        let handshakes = &port.handshakes;
        let (syn, last_ack) = (handshakes.syn_dropped, handshakes.last_ack_refused);
        Self {
            connections_refused: handshakes.connections_refused,
            packets_refused: handshakes.accept_queue_overflows.total(),
            listen_drops: handshakes.listen_drops,
            syn_queue_full: syn.syn_queue_full,
            syn_backlog_reserve: syn.syn_backlog_reserve,
            // Without the SYNs' part the last ACKs' would pass for the whole.
            other: syn.other.map(|count| count.saturating_add(last_ack.other.unwrap_or(0))),
            requests_aborted: handshakes.requests_aborted,
            established: handshakes.established,
            accepted: port.queues.counts.accepted,
        }
    }

    fn combine(&self, other: &Self, combine: fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
        Self {
            connections_refused: combine(self.connections_refused, other.connections_refused),
            packets_refused: combine(self.packets_refused, other.packets_refused),
            listen_drops: combine(self.listen_drops, other.listen_drops),
            syn_queue_full: combine(self.syn_queue_full, other.syn_queue_full),
            syn_backlog_reserve: combine(self.syn_backlog_reserve, other.syn_backlog_reserve),
            other: combine(self.other, other.other),
            requests_aborted: combine(self.requests_aborted, other.requests_aborted),
            established: combine(self.established, other.established),
            accepted: combine(self.accepted, other.accepted),
        }
    }

    /// How much these totals have grown. One that is lower than before began anew: the port had been forgotten.
    pub(super) fn grown_since(&self, before: &Self) -> Self {
        self.combine(before, |now, before| Some(now?.checked_sub(before.unwrap_or(0)).unwrap_or(now?)))
    }

    /// The sum; what is known of either is known of it.
    pub(super) fn plus(&self, more: &Self) -> Self {
        self.combine(more, |sum, more| match (sum, more) {
            (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
            (sum, more) => sum.or(more),
        })
    }

    /// What is known here, else what is known there.
    pub(super) fn or(&self, other: &Self) -> Self {
        self.combine(other, Option::or)
    }

    /// Whether packets were dropped or requests reset, again or for the first time.
    pub(super) fn is_loss(&self) -> bool {
        let losses = [
            self.connections_refused,
            self.packets_refused,
            self.listen_drops,
            self.syn_queue_full,
            self.syn_backlog_reserve,
            self.requests_aborted,
        ];
        losses.iter().flatten().any(|count| *count > 0)
    }

    /// Whether connections were lost that had not been lost before. Where connections are told apart from their
    /// retries, these alone tell: a retry after the end of its episode is no new burst. They count for every cause.
    pub(super) fn is_new_loss(&self) -> bool {
        self.connections_refused.map_or_else(|| self.is_loss(), |count| count > 0)
    }

    /// The cause of most drops; `None` where it may be one that cannot be told.
    pub(super) fn cause(&self) -> Option<LossCause> {
        let by_cause = [
            (LossCause::AcceptQueueFull, self.packets_refused),
            (LossCause::SynQueueFull, self.syn_queue_full),
            (LossCause::SynBacklogReserve, self.syn_backlog_reserve),
            (LossCause::Other, self.other),
        ];
        let told = by_cause.iter().filter_map(|(_, count)| *count).fold(0, u64::saturating_add);
        let untold = self.listen_drops.unwrap_or(0).saturating_sub(told);
        // Of several that are equal the last one is taken: here the first of the causes.
        let known = by_cause.into_iter().rev().filter_map(|(cause, count)| Some((cause, count?)));
        let (cause, most) = known.max_by_key(|(_, count)| *count)?;
        (most > 0 && most >= untold).then_some(cause)
    }
}
