//! What a hook is: programs, the places in the kernel that they are attached to, and the ways to do it.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::offsets::OffsetGroup;

/// A way to be attached, as `--plan` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// No program of its own: what another hook's programs see tells it.
    Derived,
    /// fentry and fexit programs on BPF trampolines.
    Trampoline,
    /// fentry and fexit programs around the calling function, which sees a little less.
    Caller,
    /// kprobe and kretprobe programs.
    Kprobe,
    /// BTF tracepoints (tp_btf).
    Tracepoint,
}

impl Variant {
    /// The label value of `tcp_backlog_hook_info`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Derived => "derived",
            Self::Trampoline => "trampoline",
            Self::Caller => "caller",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// What a program is attached to and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramKind {
    /// At a function's entry, by trampoline.
    Fentry,
    /// At a function's exit, by trampoline.
    Fexit,
    /// At a function's entry, by breakpoint or ftrace.
    Kprobe,
    /// At a function's return, by breakpoint or rethook.
    Kretprobe,
    /// At a tracepoint, with typed arguments.
    Tracepoint,
}

/// One program of the object and its place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's name in the object.
    pub name: &'static str,
    /// How it is attached.
    pub kind: ProgramKind,
    /// The kernel function or tracepoint.
    pub target: &'static str,
    /// The numbers of arguments that the target may have; empty: any.
    pub arguments: &'static [usize],
    /// Whether the target must (`Some(true)`) or must not return something.
    pub returns: Option<bool>,
    /// Arguments that are read, with the structure that they must point to.
    pub pointers: &'static [(usize, &'static str)],
    /// Whether it can be done without.
    pub need: Need,
}

/// Whether a program can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the way is none.
    Required,
    /// Left out where the kernel has no such function: nothing happens there then.
    IfPresent,
    /// Left out where the same way's exit program tells enough: the function can fail, and nobody
    /// needs to know that it was entered.
    UnlessExitSuffices,
    /// Left out where `tcp_v4_syn_recv_sock()` is watched itself, for the child is known from there, and where nobody needs to
    /// know it before it is in the queue.
    UnlessChildIsSeen,
    /// Left out where `tcp_check_req()` is watched: it returns what this one does.
    UnlessCallerIsSeen,
    /// Only where last ACKs are known at their end, and the kernel has such a function.
    IfKnownAtEnd,
}

/// One way to attach a hook. Of several programs for one place the first that fits the kernel is taken.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Which plan it belongs to.
    pub variant: Variant,
    /// The places, each with the programs that differ by the kernel's prototype; none where it is derived.
    pub places: &'static [&'static [Program]],
    /// The offsets that its programs read.
    pub needs: &'static [OffsetGroup],
}

/// When a hook is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// In every plan.
    Always,
    /// Only for accounting by the kernel's counters.
    ByKernelCounters,
    /// For accounting by conditions, and where SYNs are known at their end.
    ForCookies,
    /// For both accountings that need hooks on functions.
    ByFunctions,
    /// For both accountings that need hooks on functions, if queues are watched.
    ForQueues,
    /// Only for accounting by socket drops.
    BySocketDrops,
}

/// One hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The name in `check` and in `tcp_backlog_hook_info`.
    pub name: &'static str,
    /// What it measures, in a few words.
    pub measures: &'static str,
    /// When it is wanted.
    pub wanted: Wanted,
    /// The ways, cheapest first.
    pub ways: &'static [Way],
}
