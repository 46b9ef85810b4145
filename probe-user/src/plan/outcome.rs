//! What became of each hook: which variant is attached, or why none is.
use serde::{Deserialize, Serialize};

pub use super::hook::Variant;
use super::{
    catalogue::{CATALOGUE, name},
    hook::Hook,
};

/// What became of one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookOutcome {
    /// The hook's name in the catalogue.
    pub hook: String,
    /// What it measures, in a few words.
    pub measures: String,
    /// The kernel functions or tracepoints that are attached; empty when none is.
    pub attached_to: Vec<String>,
    /// The attached variant; `None` when the hook was skipped.
    pub variant: Option<Variant>,
    /// Why no variant, or no better one, is attached, in one line; empty when the first choice is attached.
    pub reason: String,
}

/// How refused packets are counted, from the most exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Which numbers the attached hooks give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of model::Handshakes")]
pub struct Coverage {
    pub syn_received: bool,
    pub syn_queued: bool,
    pub established: bool,
    pub last_ack_received: bool,
    pub last_ack_refused: bool,
    pub synack_retransmits: bool,
    pub accounting: Accounting,
    /// `sk_drops` can be cleaned of what is no listen drop (kfree_skb has rx_sk, 6.11).
    pub discards_known: bool,
}

/// The whole plan as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Coverage {
    /// No hook at all.
    pub const NOTHING: Self = Self {
        syn_received: false,
        syn_queued: false,
        established: false,
        last_ack_received: false,
        last_ack_refused: false,
        synack_retransmits: false,
        accounting: Accounting::None,
        discards_known: false,
    };
}

/// What the attached hooks give. `reason_known`: the kernel has a drop reason for refused last ACKs.
#[must_use]
pub fn coverage(hooks: &[HookOutcome], accounting: Accounting, reason_known: bool) -> Coverage {
    let attached = |name| hooks.iter().any(|hook| hook.hook == name && hook.variant.is_some());
    let frees = attached(name::PACKET_FREED);
    Coverage {
        syn_received: attached(name::SYN_RECEIVED),
        syn_queued: attached(name::SYN_QUEUED),
        established: attached(name::ESTABLISHED),
        last_ack_received: attached(name::LAST_ACK),
        last_ack_refused: attached(name::LAST_ACK) || (frees && reason_known),
        synack_retransmits: attached(name::SYNACK_RETRANSMITS),
        accounting,
        discards_known: frees,
    }
}
