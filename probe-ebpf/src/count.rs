//! How a total grows.
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use probe_common::loss::Loss;

use crate::shared_maps::LOSSES;

/// Adds to a total in code that neither a softirq nor another program of ours can interrupt on
/// this CPU: with bottom halves off, as all of the handshake is.
macro_rules! add_in_softirq {
    ($counters:expr, $field:ident, $amount:expr) => {{
        // SAFETY: a pointer into a map value of this CPU, checked by the verifier.
        unsafe { (*$counters).$field = (*$counters).$field.wrapping_add($amount) }
    }};
}
pub(crate) use add_in_softirq;

/// Adds to a total in code that may be interrupted by a softirq that adds to the same total.
macro_rules! add_anywhere {
    ($counters:expr, $field:ident, $amount:expr) => {{
        // SAFETY: a pointer into a map value of this CPU, checked by the verifier.
        $crate::count::atomic_add(unsafe { &raw mut (*$counters).$field }, $amount)
    }};
}
pub(crate) use add_anywhere;

/// One BPF atomic add without fetch, which every kernel since 3.18 has. The intrinsic itself, because
/// core offers `AtomicU64::fetch_add()` only to targets that also have compare-and-swap.
#[inline(always)]
pub(crate) fn atomic_add(total: *mut u64, amount: u64) {
    // SAFETY: aligned, and valid for as long as the program runs.
    let _before = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(total, amount) };
}

/// Counts something that could not be counted where it belongs.
#[inline(always)]
pub(crate) fn lose(reason: Loss) {
    if let Some(total) = LOSSES.get_ptr_mut(reason as u32) {
        atomic_add(total, 1);
    }
}
