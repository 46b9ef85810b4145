//! What the kernel refuses to programs: a helper, or a function of its own.
use super::Failures;
use crate::plan::{hook::Way, outcome::Variant};

/// Why a way that reads memory by the helper is not tried any more.
pub(super) const PROBING_REFUSED: &str = "bpf_probe_read_kernel() is refused: lockdown=confidentiality";

/// Whether a program was refused because it calls `bpf_probe_read_kernel()`, which the verifier says
/// in words that differ from version to version ("unknown func", "cannot use helper").
pub(super) fn is_refusal_of_probing(failure: &str) -> bool {
    failure.contains("bpf_probe_read")
}

/// Whether a program was refused because it calls `bpf_rdonly_cast()`: no BPF JIT is there, or the verifier does not let
/// it be called. It speaks of a kernel function then. What failed is tried again without.
pub(super) fn is_refusal_of_casting(failure: &str) -> bool {
    failure.contains("kernel function") || failure.contains("kfunc")
}

pub(super) fn casting_is_refused(failures: &Failures) -> bool {
    failures.values().any(|failure| is_refusal_of_casting(failure))
}

pub(super) fn probing_is_refused(failures: &Failures) -> bool {
    failures.values().any(|failure| is_refusal_of_probing(failure))
}

/// Whether a way is nothing without the helper: kprobes have untyped arguments, and what is not in a
/// `struct sock` is reached through pointers that the verifier does not know.
pub(super) fn needs_probing(way: &Way) -> bool {
    way.variant == Variant::Kprobe || way.needs.iter().any(|group| group.needs_probing())
}
