//! What the kernel's counters were when this CPU last looked at them, by network namespace.
use crate::{
    bracket::Suspicion,
    cpu_state::{CpuState, per_cpu_distance, place_among, state_of},
    kernel_counters::{Gained, KernelCounters},
    kernel_read::{KernelPointer, KernelRead, Probed},
    packet::Stage,
    settings::global,
};

/// The counters of one network namespace on this CPU.
#[repr(C)]
struct Namespace {
    /// Where they are: this CPU's `struct linux_mib`; 0 for nowhere.
    here: u64,
    /// What they were.
    counters: KernelCounters,
}

/// So many namespaces may have the same place in [`Seen`].
const WAYS: usize = 4;
/// So many places there are in all.
const PLACES: usize = 128;

/// The network namespaces of which a CPU knows the counters.
#[repr(C)]
pub(crate) struct Seen {
    namespaces: [Namespace; PLACES],
    /// The one that was asked for last, which is mostly the one that is asked for next.
    last: u64,
}

impl Seen {
    /// The place of the counters that are `here`, if they are known.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is a place")]
    fn known(&mut self, here: KernelPointer) -> Option<usize> {
        let last = self.last as usize % PLACES;
        if self.namespaces.get(last)?.here == here as u64 {
            return Some(last);
        }
        let place = self.search(here, here as u64)?;
        self.last = place as u64;
        Some(place)
    }

    /// Which of the places for counters that are `here` has the namespace whose counters are at `address`; 0 for nobody's.
    #[inline(always)]
    fn search(&self, here: KernelPointer, address: u64) -> Option<usize> {
        let first = first_place(here);
        (first..first + WAYS).find(|place| {
            self.namespaces.get(place % PLACES).is_some_and(|namespace| namespace.here == address)
        })
    }

    #[inline(always)]
    fn at(&mut self, place: usize) -> Option<&mut Namespace> {
        self.namespaces.get_mut(place % PLACES)
    }
}

/// The first place for counters that are `here`.
#[inline(always)]
fn first_place(here: KernelPointer) -> usize {
    WAYS * place_among::<{ PLACES / WAYS }>(here as u64)
}

/// What is known of the counters that are `here`, since the end of the last bracket.
#[inline(always)]
fn known(state: &mut CpuState, here: KernelPointer) -> Option<&mut Namespace> {
    let place = state.seen.known(here)?;
    state.seen.at(place)
}

/// Whether it is known what the counters were at the end of the last bracket.
#[inline(always)]
pub(crate) fn is_known(state: &mut CpuState, here: KernelPointer) -> bool {
    state.seen.known(here).is_some()
}

/// Whether it is certain, at little cost, that no packet has been dropped or answered by a cookie since.
#[inline(always)]
pub(crate) fn is_unmoved(state: &mut CpuState, here: KernelPointer) -> bool {
    known(state, here).is_some_and(|namespace| namespace.counters.are_unmoved(here))
}

/// A bracket begins: its packet may raise what belongs to `stage`. False where the counters cannot be read.
///
/// What is remembered is trusted on trampolines only: the kernel may leave kprobes out.
#[inline(always)]
pub(crate) fn begin<R: KernelRead>(state: &mut CpuState, here: KernelPointer, stage: Stage) -> bool {
    let known = state.seen.known(here);
    let is_known = known.is_some();
    // Where no place is free one is taken from another namespace.
    let place = known.or_else(|| state.seen.search(here, 0)).unwrap_or_else(|| first_place(here));
    let Some(namespace) = state.seen.at(place) else { return false };
    // Until all of it is read.
    namespace.here = 0;
    let counters = &mut namespace.counters;
    let is_read = (R::TYPED && is_known || counters.read_listen(here))
        && (is_known && (R::TYPED || stage != Stage::Syn) || counters.read_flood(here))
        && (stage != Stage::Cookie || counters.read_cookies_checked(here));
    if is_read {
        namespace.here = here as u64;
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
    let namespace = known(state, here)?;
    let gained = namespace.counters.gained(here, stage, suspicion);
    if gained.is_none() {
        namespace.here = 0;
    }
    let gained = gained?;
    Some(if R::TYPED { gained.by_one_packet(&namespace.counters) } else { gained })
}

/// A socket begins to listen: every CPU gets to know the counters of its namespace before the first packet comes, so that
/// the end of that packet tells what became of it.
///
/// Another CPU may be at work on its own state. It does nothing with a place that is free, unless it comes upon a namespace
/// for the first time in the same instant, which another listener must have been in before the hooks.
#[inline(always)]
pub(crate) fn know_everywhere<R: KernelRead>(listener: KernelPointer) {
    if global!(SETTINGS.known_at_end) == 0 {
        return;
    }
    let Some(net) = R::read::<KernelPointer>(listener, global!(KERNEL_OFFSETS.sock_net)) else { return };
    // As a number, which can be added to.
    let Some(statistics) = Probed::read::<u64>(net, global!(KERNEL_OFFSETS.net_statistics)) else { return };
    for cpu in 0..global!(SETTINGS.cpus) {
        if let Some(state) = state_of(cpu) {
            know(state, statistics);
        }
    }
}

#[inline(always)]
fn know(state: &mut CpuState, statistics: u64) {
    let Some(distance) = per_cpu_distance(state) else { return };
    let here = statistics.wrapping_add(distance) as KernelPointer;
    if state.seen.search(here, here as u64).is_some() {
        return;
    }
    let Some(place) = state.seen.search(here, 0) else { return };
    let Some(namespace) = state.seen.at(place) else { return };
    let counters = &mut namespace.counters;
    if counters.read_listen(here) && counters.read_flood(here) {
        namespace.here = here as u64;
    }
}
