//! What the user asks for.
use super::hook::Variant;

/// What `--plan` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PlanWish {
    /// The cheapest variant of each hook that really attaches.
    #[default]
    Auto,
    /// fentry and fexit only.
    Trampoline,
    /// kprobes and kretprobes only.
    Kprobe,
    /// BTF tracepoints only.
    Tracepoint,
    /// No BPF at all.
    None,
}

impl PlanWish {
    /// Whether hooks may be attached in this way.
    #[must_use]
    pub const fn allows(self, variant: Variant) -> bool {
        match self {
            Self::Auto => true,
            Self::Trampoline => {
                matches!(variant, Variant::Derived | Variant::Trampoline | Variant::Caller)
            }
            Self::Kprobe => matches!(variant, Variant::Kprobe),
            Self::Tracepoint => matches!(variant, Variant::Tracepoint),
            Self::None => false,
        }
    }
}

/// What `--accounting` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AccountingWish {
    /// The most exact that works.
    #[default]
    Auto,
    /// The kernel's own counters before and after each packet.
    KernelCounters,
    /// The kernel's conditions evaluated again.
    Conditions,
}

/// What `--queues` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum QueuesWish {
    /// How full queues get, and how long connections wait in them.
    #[default]
    Full,
    /// Only what they refuse.
    Off,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// `--plan`
    pub plan: PlanWish,
    /// `--accounting`
    pub accounting: AccountingWish,
    /// `--queues`
    pub queues: QueuesWish,
    /// `--accept-wait-connections`: the connections in accept queues whose wait can be measured at once.
    pub queued_connections: u32,
    /// `--listeners`: how many are told apart; `None` decides by those that there are.
    pub listeners: Option<u32>,
}

/// What [`Wishes::queued_connections`] is by default: 1.5 MiB of kernel memory.
pub const DEFAULT_QUEUED_CONNECTIONS: u32 = 65_536;

impl Default for Wishes {
    fn default() -> Self {
        Self {
            plan: PlanWish::default(),
            accounting: AccountingWish::default(),
            queues: QueuesWish::default(),
            queued_connections: DEFAULT_QUEUED_CONNECTIONS,
            listeners: None,
        }
    }
}
