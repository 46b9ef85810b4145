//! What the kernel's counters were when this CPU last looked at them, by network namespace.
use crate::{
    bracket::Suspicion,
    cpu_state::{CpuState, place_among},
    kernel_counters::{Gained, KernelCounters},
    kernel_read::{KernelPointer, KernelRead},
    packet::Stage,
};

/// The counters of one network namespace on this CPU.
#[repr(C)]
pub(crate) struct Seen {
    /// Where they are: this CPU's `struct linux_mib`; 0 for nowhere.
    here: u64,
    /// What they were.
    counters: KernelCounters,
}

/// Network namespaces of which a CPU knows the counters, if no two want the same place.
pub(crate) const NAMESPACES: usize = 32;

/// The place of the counters that are `here`.
#[inline(always)]
fn place(state: &mut CpuState, here: KernelPointer) -> Option<&mut Seen> {
    state.seen.get_mut(place_among::<NAMESPACES>(here as u64))
}

/// Whether it is known what the counters were at the end of the last bracket.
#[inline(always)]
pub(crate) fn is_known(state: &mut CpuState, here: KernelPointer) -> bool {
    place(state, here).is_some_and(|seen| seen.here == here as u64)
}

/// A bracket begins: its packet may raise what belongs to `stage`. False where the counters cannot be read.
///
/// What is remembered is trusted on trampolines only: the kernel may leave kprobes out.
#[inline(always)]
pub(crate) fn begin<R: KernelRead>(state: &mut CpuState, here: KernelPointer, stage: Stage) -> bool {
    let Some(seen) = place(state, here) else { return false };
    let is_known = seen.here == here as u64;
    // Until all of it is read.
    seen.here = 0;
    let is_read = (R::TYPED && is_known || seen.counters.read_listen(here))
        && (is_known && (R::TYPED || stage != Stage::Syn) || seen.counters.read_flood(here, false))
        && (stage != Stage::Cookie || seen.counters.read_cookies_checked(here));
    if is_read {
        seen.here = here as u64;
    }
    is_read
}

/// What the counters gained since then; `None` where they cannot be read.
#[inline(always)]
pub(crate) fn gained<R: KernelRead>(
    state: &mut CpuState,
    stage: Stage,
    suspicion: Suspicion,
) -> Option<Gained> {
    let here = state.counters_here as KernelPointer;
    let seen = place(state, here)?;
    let mut after = seen.counters;
    let is_read = after.read_listen(here)
        && match stage {
            Stage::Syn if suspicion == Suspicion::Any => {
                let overflowed = after.since(&seen.counters).overflows != 0;
                after.read_flood(here, overflowed)
            }
            Stage::Cookie => after.read_cookies_checked(here),
            Stage::Syn | Stage::LastAck | Stage::RequestError => true,
        };
    if !is_read {
        seen.here = 0;
        return None;
    }
    let before = core::mem::replace(&mut seen.counters, after);
    let gained = after.since(&before);
    Some(if R::TYPED { gained.by_one_packet(&after) } else { gained })
}
