//! What programs depend on beside the kernel: each other, and what is wished.
use super::{Failures, KernelFacts, plan_hook};
use crate::plan::{
    catalogue::{CATALOGUE, name},
    hook::{Variant, Way},
    offsets::OffsetGroup,
    outcome::Accounting,
    wishes::Wishes,
};

/// How last ACKs are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastAck {
    /// At the end of `tcp_check_req()`.
    AtEnd,
    /// By `tcp_v4_syn_recv_sock()` and its IPv6 twin.
    ByChild,
    /// In a bracket around `tcp_check_req()`.
    ByCaller,
}

impl LastAck {
    pub(super) fn of(way: &Way) -> Self {
        if way.needs.contains(&OffsetGroup::OtherCpus) {
            Self::AtEnd
        } else if way.variant == Variant::Caller {
            Self::ByCaller
        } else {
            Self::ByChild
        }
    }

    /// Whether the caller of the function that makes the child tells of it.
    pub(super) const fn is_from_caller(self) -> bool {
        matches!(self, Self::AtEnd | Self::ByCaller)
    }
}

/// What programs depend on beside the kernel.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) wishes: Wishes,
    pub(super) accounting: Accounting,
    /// Whether listeners are seen to come and go.
    pub(super) listeners_are_seen: bool,
    /// How last ACKs are seen.
    pub(super) last_ack: Option<LastAck>,
    /// Whether the end of a SYN tells what became of it.
    pub(super) syns_are_known: bool,
    /// Whether it matters that a child is known before it is in the accept queue.
    pub(super) waits_are_noted: bool,
}

impl Circumstances {
    pub(super) fn find(
        facts: &KernelFacts,
        wishes: Wishes,
        failures: &Failures,
        accounting: Accounting,
    ) -> Self {
        let mut found = Self {
            wishes,
            accounting,
            listeners_are_seen: false,
            last_ack: None,
            syns_are_known: false,
            waits_are_noted: true,
        };
        let first_way = |name, circumstances| {
            let hook = CATALOGUE.iter().find(|hook| hook.name == name)?;
            plan_hook(hook, facts, failures, circumstances).first_way()
        };
        // Each of these depends on those before it at most.
        found.listeners_are_seen = first_way(name::LISTENER, found).is_some();
        found.last_ack = first_way(name::LAST_ACK, found).map(LastAck::of);
        let syn = first_way(name::SYN_RECEIVED, found).map(|way| way.variant);
        let accepted = first_way(name::ACCEPTED, found);
        found.syns_are_known = found.last_ack == Some(LastAck::AtEnd) && syn == Some(Variant::Trampoline);
        found.waits_are_noted = accepted.is_some() && !connections_tell(accepted);
        found
    }
}

/// Whether connections tell themselves, at accept(), since when they have waited.
pub(super) fn connections_tell(accepted: Option<&Way>) -> bool {
    accepted.is_some_and(|way| way.needs.contains(&OffsetGroup::Connection))
}
