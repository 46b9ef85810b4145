//! Brackets: what the kernel's own counters gained while it handled one packet.
//!
//! `tcp_listendrop()` is inlined everywhere and a SYN that is refused leaves no
//! other trace (it is freed with `consume_skb()`), so the kernel's counters
//! themselves are read, when a packet comes to a listener and again when it is
//! done with. They are per CPU and bottom halves are off in between: the
//! difference belongs to this packet alone. There is one bracket per CPU: the bracketed functions do
//! not nest, but for `tcp_v4_syn_recv_sock()`, whose part the outer bracket sees as well.
//!
//! Being called costs more than all the rest. So where no call is missed (trampolines) a SYN and a last ACK are seen at
//! their end only: the counters move in brackets alone, and are at its beginning what they were at the last one's end
//! (`seen`). And a packet that is known to have ended well has raised none.
use probe_common::{
    handshake::HandshakeCounters,
    loss::Loss,
    settings::{ACCOUNTING_CONDITIONS, ACCOUNTING_KERNEL_COUNTERS},
};

use crate::{
    charge, conditions,
    count::lose,
    cpu_state::{CpuState, NO_LISTENER, NOT_A_HANDSHAKE, as_number, cpu_state, per_cpu_distance},
    kernel_counters::Gained,
    kernel_read::{KernelPointer, KernelRead, namespace, statistics},
    packet::{Packet, Stage},
    refused_connections::fingerprint,
    rows::{counters_at, row_of},
    seen::{self, Counters},
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
    state.forget_packet();
    state.skb = packet.skb as u64;
    state.request = packet.request as u64;
    if stage == Stage::Cookie {
        // From 6.8 on cookie_v4_check() frees what it refuses: nothing is left to look at afterwards.
        state.fingerprint = fingerprint::<R>(stage, packet, row).unwrap_or(0);
    }
    if counters_are_read() && !begin::<R>(state, stage, packet) {
        state.listener = NOT_A_HANDSHAKE;
        lose(Loss::CountersUnreadable);
    }
    counters_at(state, row)
}

#[inline(always)]
fn counters_are_read() -> bool {
    global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS
}

/// Knows what the kernel's counters are now; false where they cannot be read.
#[inline(always)]
fn begin<R: KernelRead>(state: &mut CpuState, stage: Stage, packet: &Packet) -> bool {
    let Some(counters) = counters_here::<R>(state, packet.listener) else { return false };
    state.counters_here = counters.here as u64;
    seen::begin::<R>(state, counters, stage)
}

/// This CPU's counters of the listener's network namespace.
#[inline(always)]
fn counters_here<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> Option<Counters> {
    let net = namespace::<R>(listener)?;
    let of_every_cpu = as_number(state, statistics::<R>(net)?);
    let here = of_every_cpu.wrapping_add(per_cpu_distance(state)?) as KernelPointer;
    Some(Counters { listener, here })
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

/// The row of a listener: the one in the bracket, if it is that.
#[inline(always)]
pub(crate) fn row_for<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> u32 {
    if state.listener == listener as u64 { state.row } else { row_of::<R>(state, listener) }
}

/// The same, noted for a bracket whose beginning was not watched. Its end has to come.
#[inline(always)]
pub(crate) fn row_in_bracket<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> u32 {
    state.row = row_for::<R>(state, listener);
    state.listener = listener as u64;
    state.row
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
    let counters = counters_at(state, row)?;
    let mut dropped = false;
    if suspicion != Suspicion::None {
        let gained = if counters_are_read() {
            seen::gained::<R>(state, stage, suspicion).or_else(unreadable)?
        } else {
            by_conditions::<R>(state, packet.listener, stage)
        };
        charge::gained::<R>(state, (row, counters), &gained, stage, packet);
        dropped = gained.is_drop();
    }
    state.forget_packet();
    Some(Closed { listener, counters, row, dropped })
}

/// How a packet ended whose beginning was not watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was neither dropped nor answered by a cookie.
    Well,
    /// It was dropped.
    Dropped,
    /// It was answered by a cookie.
    Cookie,
    /// That is not known.
    Unknown,
}

/// The same of a SYN or a last ACK whose beginning was not watched. `row` and `counters`: the listener's.
#[inline(always)]
pub(crate) fn at_end<R: KernelRead>(
    state: &mut CpuState,
    (row, counters): (u32, *mut HandshakeCounters),
    stage: Stage,
    packet: &Packet,
    suspicion: Suspicion,
) -> End {
    state.listener = NO_LISTENER;
    let outcome = if counters_are_read() {
        by_counters::<R>(state, packet, stage, suspicion)
    } else if suspicion == Suspicion::None {
        Err(End::Unknown)
    } else {
        Ok(by_conditions::<R>(state, packet.listener, stage))
    };
    let end = match outcome {
        Ok(gained) => {
            charge::gained::<R>(state, (row, counters), &gained, stage, packet);
            gained.end()
        }
        Err(end) => end,
    };
    state.forget_packet();
    end
}

/// What the counters gained since this CPU last saw them, or how the packet ended if they gained nothing. Where it never saw
/// them, they are not known before the packet: its listener tells what became of it.
#[inline(always)]
fn by_counters<R: KernelRead>(
    state: &mut CpuState,
    packet: &Packet,
    stage: Stage,
    suspicion: Suspicion,
) -> Result<Gained, End> {
    let Some(counters) = counters_here::<R>(state, packet.listener) else {
        lose(Loss::CountersUnreadable);
        return Err(End::Unknown);
    };
    let gained = if let Some(namespace) = seen::known::<R>(state, counters) {
        if suspicion == Suspicion::None {
            return Err(End::Well);
        }
        namespace.gained::<R>(counters.here, stage, suspicion)
    } else if !seen::begin::<R>(state, counters, stage) {
        None
    } else if suspicion == Suspicion::None {
        return Err(End::Well);
    } else {
        Some(conditions::of_unseen::<R>(state, packet, stage))
    };
    gained.or_else(unreadable).ok_or(End::Unknown)
}

/// What a bracket gained by the conditions that the kernel decided by. Those of the last ACK are evaluated at
/// `tcp_v4_syn_recv_sock()`, which knows its outcome.
#[inline(always)]
fn by_conditions<R: KernelRead>(state: &CpuState, listener: KernelPointer, stage: Stage) -> Gained {
    if stage == Stage::Syn && global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS {
        conditions::of_syn::<R>(state, listener)
    } else {
        Gained::default()
    }
}

#[inline(always)]
fn unreadable() -> Option<Gained> {
    lose(Loss::CountersUnreadable);
    None
}
