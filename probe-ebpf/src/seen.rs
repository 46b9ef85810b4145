//! What the kernel's counters were when this CPU last looked at them, by network namespace.
use crate::{
    bracket::Suspicion,
    cpu_state::{CpuState, per_cpu_distance, place_among, state_of},
    kernel_counters::{Gained, KernelCounters},
    kernel_read::{KernelPointer, KernelRead, Probed, hash_mix, namespace, statistics},
    packet::Stage,
    settings::global,
};

/// The counters of one network namespace on this CPU.
#[repr(C)]
pub(crate) struct Namespace {
    /// Where they are: this CPU's `struct linux_mib`; 0 for nowhere.
    here: u64,
    /// Whose: the namespace's `hash_mix`. The next namespace has what a dead one leaves, and its counters begin anew there.
    mix: u64,
    /// What they were.
    counters: KernelCounters,
}

/// This CPU's counters of a network namespace.
#[derive(Clone, Copy)]
pub(crate) struct Counters {
    /// Whose: the namespace's of this socket.
    pub(crate) listener: KernelPointer,
    /// Where they are: a `struct linux_mib`.
    pub(crate) here: KernelPointer,
}

impl Counters {
    #[inline(always)]
    fn mix<R: KernelRead>(self) -> Option<u64> {
        hash_mix::<R>(namespace::<R>(self.listener)?).map(u64::from)
    }
}

impl Namespace {
    /// Whether these are the namespace's counters. Nobody has to ask where each is made known by its first listener, and
    /// kprobes trust nothing that is remembered.
    #[inline(always)]
    fn has<R: KernelRead>(&self, counters: Counters) -> bool {
        !R::TYPED || global!(SETTINGS.known_at_end) != 0 || counters.mix::<R>() == Some(self.mix)
    }

    /// What the counters, which are `here`, gained since then; `None` where they cannot be read.
    #[inline(always)]
    pub(crate) fn gained<R: KernelRead>(
        &mut self,
        here: KernelPointer,
        stage: Stage,
        suspicion: Suspicion,
    ) -> Option<Gained> {
        let Some(gained) = self.counters.gained(here, stage, suspicion) else {
            self.here = 0;
            return None;
        };
        Some(if R::TYPED { gained.by_one_packet() } else { gained })
    }
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
    /// The place of the counters that are `here`, whosever they were.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is a place")]
    fn place(&mut self, here: KernelPointer) -> Option<usize> {
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

/// What was remembered of the counters that are `here`, whosever they were.
#[inline(always)]
fn remembered(state: &mut CpuState, here: KernelPointer) -> Option<&mut Namespace> {
    let place = state.seen.place(here)?;
    state.seen.at(place)
}

/// What is known of the counters, since the end of the last bracket.
#[inline(always)]
pub(crate) fn known<R: KernelRead>(state: &mut CpuState, counters: Counters) -> Option<&mut Namespace> {
    remembered(state, counters.here).filter(|namespace| namespace.has::<R>(counters))
}

/// A bracket begins: its packet may raise what belongs to `stage`. False where the counters cannot be read.
///
/// What is remembered is trusted on trampolines only: the kernel may leave kprobes out.
#[inline(always)]
pub(crate) fn begin<R: KernelRead>(state: &mut CpuState, of: Counters, stage: Stage) -> bool {
    let here = of.here;
    let remembered = state.seen.place(here);
    // Where no place is free one is taken from another namespace.
    let place = remembered.or_else(|| state.seen.search(here, 0)).unwrap_or_else(|| first_place(here));
    let Some(namespace) = state.seen.at(place) else { return false };
    let is_known = remembered.is_some() && namespace.has::<R>(of);
    if !is_known {
        namespace.mix = of.mix::<R>().unwrap_or(0);
    }
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

/// What the counters gained since the bracket began; `None` where they cannot be read.
#[inline(always)]
pub(crate) fn gained<R: KernelRead>(
    state: &mut CpuState,
    stage: Stage,
    suspicion: Suspicion,
) -> Option<Gained> {
    let here = state.counters_here as KernelPointer;
    remembered(state, here)?.gained::<R>(here, stage, suspicion)
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
    let Some(net) = namespace::<R>(listener) else { return };
    // As a number, which can be added to.
    let Some(statistics) = statistics::<Probed>(net) else { return };
    let Some(mix) = hash_mix::<Probed>(net) else { return };
    for cpu in 0..global!(SETTINGS.cpus) {
        if let Some(state) = state_of(cpu) {
            know(state, statistics as u64, mix.into());
        }
    }
}

#[inline(always)]
fn know(state: &mut CpuState, statistics: u64, mix: u64) {
    let Some(distance) = per_cpu_distance(state) else { return };
    let here = statistics.wrapping_add(distance) as KernelPointer;
    let remembered = state.seen.search(here, here as u64);
    let Some(place) = remembered.or_else(|| state.seen.search(here, 0)) else { return };
    let Some(namespace) = state.seen.at(place) else { return };
    if remembered.is_some() && namespace.mix == mix {
        return;
    }
    // Of a dead namespace, or of none: nobody looks at it before all of it is read.
    namespace.here = 0;
    namespace.mix = mix;
    let counters = &mut namespace.counters;
    if counters.read_listen(here) && counters.read_flood(here) {
        namespace.here = here as u64;
    }
}
