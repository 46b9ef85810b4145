//! Brackets: what the kernel's own counters gained while it handled one packet.
//!
//! `tcp_listendrop()` is inlined everywhere and a SYN that is refused leaves no
//! other trace (it is freed with `consume_skb()`), so the kernel's counters
//! themselves are read when a packet comes to a listener and again when it is
//! done with. They are per CPU and bottom halves are off in between: the
//! difference belongs to this packet alone. There is one bracket per CPU: the bracketed functions do
//! not nest, but for `tcp_v4_syn_recv_sock()`, whose part the outer bracket sees as well.
//!
//! Reading costs more than all the rest, so a packet that is known to have ended well is not read again.
use probe_common::{
    handshake::HandshakeCounters,
    loss::Loss,
    settings::{ACCOUNTING_CONDITIONS, ACCOUNTING_KERNEL_COUNTERS},
};

use crate::{
    charge,
    count::lose,
    cpu_state::{CpuState, NO_LISTENER, NOT_A_HANDSHAKE, as_number, cpu_state, per_cpu_distance},
    kernel_counters::Gained,
    kernel_read::{
        KernelPointer, KernelRead, accept_queue_is_full, statistics_of_namespace, syn_queue_is_full,
        syncookies_are_off,
    },
    packet::{Packet, Stage},
    refused_connections::fingerprint,
    rows::{counters_in, row_of},
    settings::global,
};

/// Opens the bracket of this CPU for a packet, and gives the listener's totals.
#[inline(always)]
pub(crate) fn open<R: KernelRead>(
    state: &mut CpuState,
    stage: Stage,
    packet: &Packet,
) -> Option<*mut HandshakeCounters> {
    let row = row_of::<R>(state, packet.listener);
    state.listener = packet.listener as u64;
    state.row = row;
    state.answered = 0;
    state.child_refused = 0;
    state.reserve_kept = 0;
    state.skb = packet.skb as u64;
    state.request = packet.request as u64;
    if stage == Stage::Cookie {
        // From 6.8 on cookie_v4_check() frees what it refuses: nothing is left to look at afterwards.
        state.fingerprint = fingerprint::<R>(stage, packet, row).unwrap_or(0);
    }
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS && !begin::<R>(state, stage, packet) {
        state.listener = NOT_A_HANDSHAKE;
        lose(Loss::CountersUnreadable);
    }
    counters_in(row)
}

/// Knows what the kernel's counters are now; false where they cannot be read.
#[inline(always)]
fn begin<R: KernelRead>(state: &mut CpuState, stage: Stage, packet: &Packet) -> bool {
    let Some(here) = counters_here::<R>(state, packet.listener) else { return false };
    let (listen, flood) = (state.remembered_listen, state.remembered_flood);
    state.counters_here = here as u64;
    // Until the bracket is closed in good order.
    state.remembered_listen = 0;
    let remembers = remembers::<R>();
    let is_known = remembers && listen == here as u64;
    if !(is_known || state.before.read_listen(here)) {
        return false;
    }
    match stage {
        Stage::Syn => {
            state.remembered_flood = 0;
            (remembers && flood == here as u64) || state.before.read_flood(here, false)
        }
        Stage::Cookie => state.before.read_cookies_checked(here),
        Stage::LastAck | Stage::RequestError => true,
    }
}

/// Whether what the counters were at a bracket's end is taken for what they are at the next one's beginning, on the same
/// CPU and for the same network namespace: they move in brackets only. So it is where reading them is dear, and where no
/// bracket is missed: the kernel may leave kprobes out.
#[inline(always)]
fn remembers<R: KernelRead>() -> bool {
    R::TYPED && global!(KERNEL_OFFSETS.type_linux_mib) == 0
}

/// Where this CPU's counters of the listener's network namespace are.
#[inline(always)]
fn counters_here<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> Option<KernelPointer> {
    let of_every_cpu = as_number(state, statistics_of_namespace::<R>(listener)?);
    Some(of_every_cpu.wrapping_add(per_cpu_distance(state)?) as KernelPointer)
}

/// The packet in the open bracket, for a kretprobe, which has no arguments.
#[inline(always)]
pub(crate) const fn noted_packet(state: &CpuState) -> Packet {
    Packet {
        listener: state.listener as KernelPointer,
        skb: state.skb as KernelPointer,
        request: state.request as KernelPointer,
    }
}

/// Opens the bracket for a call that concerns no listener, so that its end is not taken for another's.
#[inline(always)]
pub(crate) fn open_for_nothing() {
    if let Some(state) = cpu_state() {
        state.listener = NOT_A_HANDSHAKE;
    }
}

/// The listener in the open bracket; [`crate::kernel_read::Probed`] reads it.
#[inline(always)]
pub(crate) fn listener(state: &CpuState) -> Option<KernelPointer> {
    (state.listener > NOT_A_HANDSHAKE).then_some(state.listener as KernelPointer)
}

/// The totals of the listener in the open bracket.
#[inline(always)]
pub(crate) fn counters() -> Option<*mut HandshakeCounters> {
    let state = cpu_state()?;
    (state.listener > NOT_A_HANDSHAKE).then(|| counters_in(state.row))?
}

/// Notes that the SYN in the bracket was answered: it is not lost.
#[inline(always)]
pub(crate) fn answered() {
    if let Some(state) = cpu_state() {
        state.answered = 1;
    }
}

/// Notes that the SYN in the bracket is refused to keep the rest of `tcp_max_syn_backlog` for others.
#[inline(always)]
pub(crate) fn reserve_kept() {
    if let Some(state) = cpu_state() {
        state.reserve_kept = 1;
    }
}

/// What a closed bracket has to say.
pub(crate) struct Closed {
    /// The address of the listener.
    pub(crate) listener: u64,
    /// The listener's totals.
    pub(crate) counters: *mut HandshakeCounters,
    /// The row that they are in.
    pub(crate) row: u32,
    /// Whether the kernel counted a listen drop in between.
    pub(crate) dropped: bool,
}

/// How much may have been counted in a bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Nothing: the packet is known to have ended well.
    None,
    /// A drop, but no cookie.
    Drop,
    /// Anything.
    Any,
}

/// Closes the bracket of this CPU and charges the listener with what the kernel counted in between.
/// `packet`: the one in the bracket, by pointers that `R` reads.
#[inline(always)]
pub(crate) fn close<R: KernelRead>(
    state: &mut CpuState,
    stage: Stage,
    packet: &Packet,
    suspicion: Suspicion,
) -> Option<Closed> {
    let listener = state.listener;
    state.listener = NO_LISTENER;
    if listener == NOT_A_HANDSHAKE {
        return None;
    }
    if listener == NO_LISTENER {
        lose(Loss::BracketUnmatched);
        return None;
    }
    let row = state.row;
    let counters = counters_in(row)?;
    state.remembered_listen = state.counters_here;
    if stage == Stage::Syn {
        state.remembered_flood = state.counters_here;
    }
    if suspicion == Suspicion::None {
        return Some(Closed { listener, counters, row, dropped: false });
    }
    let Some(gained) = gained::<R>(state, packet.listener, stage, suspicion) else {
        lose(Loss::CountersUnreadable);
        return None;
    };
    charge::gained::<R>(state, counters, &gained, stage, packet);
    Some(Closed { listener, counters, row, dropped: gained.is_drop() })
}

/// What the kernel counted since the bracket was opened.
#[inline(always)]
fn gained<R: KernelRead>(
    state: &mut CpuState,
    listener: KernelPointer,
    stage: Stage,
    suspicion: Suspicion,
) -> Option<Gained> {
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS {
        let here = state.counters_here as KernelPointer;
        let mut after = state.before;
        let read = after.read_listen(here)
            && match stage {
                Stage::Syn if suspicion == Suspicion::Any => {
                    let overflowed = after.since(&state.before).overflows != 0;
                    after.read_flood(here, overflowed)
                }
                Stage::Cookie => after.read_cookies_checked(here),
                Stage::Syn | Stage::LastAck | Stage::RequestError => true,
            };
        if !read {
            (state.remembered_listen, state.remembered_flood) = (0, 0);
            return None;
        }
        let before = core::mem::replace(&mut state.before, after);
        let gained = after.since(&before);
        return Some(if remembers::<R>() { gained.by_one_packet(&after) } else { gained });
    }
    // The last ACK's conditions are evaluated at tcp_v4_syn_recv_sock(), which knows its outcome.
    let lost =
        stage == Stage::Syn && global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS && state.answered == 0;
    if !lost {
        return Some(Gained::default());
    }
    let overflowed = accept_queue_is_full::<R>(listener);
    let syn_queue_full = !overflowed
        && state.reserve_kept == 0
        && syn_queue_is_full::<R>(listener)
        && syncookies_are_off::<R>(listener);
    Some(Gained {
        drops: 1,
        overflows: u64::from(overflowed),
        syn_queue_full_drops: u64::from(syn_queue_full),
        ..Gained::default()
    })
}
