//! What became of each hook: which variant is attached, or why none is.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::hook::Variant;
use super::{
    catalogue::{CATALOGUE, name},
    hook::Hook,
};

/// What became of one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookOutcome {
    /// The hook's name in the catalogue.
    pub hook: String,
    /// What it measures, in a few words.
    pub measures: String,
    /// The kernel functions or tracepoints that are attached; empty when none is, or where it is derived.
    pub attached_to: Vec<String>,
    /// The attached variant; `None` when the hook was skipped.
    pub variant: Option<Variant>,
    /// Why no variant, or no better one, is attached, in one line; empty when the first choice is attached.
    pub reason: String,
}

impl HookOutcome {
    /// The hook whose programs tell what this one measures, where it has none of its own.
    #[must_use]
    pub fn told_by(&self) -> Option<&'static str> {
        // Of a SYN that was neither dropped nor answered by a cookie; nothing else is derived.
        (self.variant == Some(Variant::Derived)).then_some(name::SYN_RECEIVED)
    }
}

/// How refused packets are counted, from the most exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accounting {
    /// The kernel's own counters of this CPU, read before and after each packet: exact.
    KernelCounters,
    /// The kernel's own conditions, evaluated again after the packet: exact but for races with accept().
    Conditions,
    /// The listener's `sk_drops` less what is no listen drop, and the namespace's counters.
    SocketDrops,
    /// Nothing per port.
    None,
}

impl Accounting {
    /// The name in `check` and in labels.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::KernelCounters => "kernel-counters",
            Self::Conditions => "conditions",
            Self::SocketDrops => "socket-drops",
            Self::None => "none",
        }
    }
}

/// Declares [`Coverage`], so that no list of its fields can forget one.
macro_rules! coverage {
    ($($(#[$documentation:meta])* $field:ident,)+) => {
        /// Which numbers the attached hooks give.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct Coverage {
            $($(#[$documentation])* pub $field: bool,)+
            /// How refused packets are counted.
            pub accounting: Accounting,
        }

        impl Coverage {
            /// No hook at all.
            pub const NOTHING: Self = Self { $($field: false,)+ accounting: Accounting::None };

            /// Every hook, and what the best plan gives.
            pub const EVERYTHING: Self = Self { $($field: true,)+ accounting: Accounting::KernelCounters };
        }
    };
}

coverage! {
    /// SYNs received.
    syn_received,
    /// SYNs queued.
    syn_queued,
    /// SYNs refused for the sake of `tcp_max_syn_backlog` can be told from others.
    syn_backlog_reserve,
    /// SYN cookies sent.
    syncookies_sent,
    /// SYN cookies received, good ones and others.
    syncookies_checked,
    /// Connections put in the accept queue.
    established,
    /// Connections put in the accept queue, by listening socket and not by port alone.
    established_by_socket,
    /// How full the accept queue is when a connection comes.
    accept_queue_depth,
    /// How full the SYN queue is when a request comes.
    syn_queue_depth,
    /// Connections accepted, and how long they waited.
    accepted,
    /// What listen() was asked for.
    backlog_requested,
    /// Last ACKs received.
    last_ack_received,
    /// Last ACKs refused.
    last_ack_refused,
    /// SYN-ACKs sent again.
    synack_retransmits,
    /// Requests ended by an ICMP error.
    request_errors,
    /// Requests given up.
    requests_expired,
    /// Connections reset with their listener.
    closed_unaccepted,
    /// `sk_drops` can be cleaned of what is no listen drop (kfree_skb has rx_sk, 6.11).
    discards_known,
}

impl Coverage {
    /// Whether it is known how many places were wanted in an accept queue: who is refused is told apart from who
    /// tries again.
    #[must_use]
    pub const fn tells_demand(&self) -> bool {
        self.accept_queue_depth && matches!(self.accounting, Accounting::KernelCounters)
    }
}

/// The whole plan as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanOutcome {
    /// Every hook of the catalogue.
    pub hooks: Vec<HookOutcome>,
    /// What they give together.
    pub coverage: Coverage,
}

impl PlanOutcome {
    /// Nothing is attached, all for one reason.
    #[must_use]
    pub fn nothing(reason: &str) -> Self {
        let skipped = |hook: &Hook| HookOutcome {
            hook: hook.name.to_owned(),
            measures: hook.measures.to_owned(),
            attached_to: vec![],
            variant: None,
            reason: reason.to_owned(),
        };
        Self { hooks: CATALOGUE.iter().map(skipped).collect(), coverage: Coverage::NOTHING }
    }

    /// Whether any hook is attached.
    #[must_use]
    pub fn any_attached(&self) -> bool {
        self.hooks.iter().any(|hook| hook.variant.is_some())
    }
}

/// What the attached hooks give. `reason_known`: the kernel has a drop reason for refused last ACKs.
/// `queues`: the hooks look at them.
#[must_use]
pub fn coverage(hooks: &[HookOutcome], accounting: Accounting, reason_known: bool, queues: bool) -> Coverage {
    let attached = |name| hooks.iter().any(|hook| hook.hook == name && hook.variant.is_some());
    let frees = attached(name::PACKET_FREED);
    let by_counters = accounting == Accounting::KernelCounters;
    let has = |name, holds: fn(&HookOutcome) -> bool| {
        hooks.iter().any(|hook| hook.hook == name && hook.variant.is_some() && holds(hook))
    };
    let sees_listeners = has(name::ESTABLISHED, |hook| !sees_the_port_only(hook));
    Coverage {
        syn_received: attached(name::SYN_RECEIVED),
        syn_queued: attached(name::SYN_QUEUED),
        syn_backlog_reserve: attached(name::SYN_BACKLOG_RESERVE),
        syncookies_sent: by_counters || attached(name::SYNCOOKIE_SENT),
        syncookies_checked: attached(name::SYNCOOKIE_CHECKED),
        established: attached(name::ESTABLISHED),
        established_by_socket: sees_listeners,
        // Whoever sees the listener sees how full its queue is.
        accept_queue_depth: queues && sees_listeners,
        syn_queue_depth: queues && attached(name::SYN_QUEUED),
        // A tracepoint does not tell which connection it is.
        accepted: attached(name::ACCEPTED)
            && has(name::ESTABLISHED, |hook| hook.variant != Some(Variant::Tracepoint)),
        backlog_requested: attached(name::BACKLOG),
        last_ack_received: attached(name::LAST_ACK),
        last_ack_refused: by_counters || attached(name::LAST_ACK) || (frees && reason_known),
        synack_retransmits: attached(name::SYNACK_RETRANSMITS),
        request_errors: attached(name::REQUEST_ERROR),
        requests_expired: attached(name::REQUEST_EXPIRED),
        closed_unaccepted: attached(name::CLOSED_UNACCEPTED),
        discards_known: frees,
        accounting,
    }
}

/// Whether a hook follows children, which do not lead back to their listener (before 6.3).
fn sees_the_port_only(hook: &HookOutcome) -> bool {
    hook.attached_to.iter().any(|target| target.contains("inet_sock_set_state"))
}
