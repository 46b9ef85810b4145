//! Brackets: what the kernel's own counters gained while it handled one packet.
//!
//! `tcp_listendrop()` is inlined everywhere and a SYN that is refused leaves no
//! other trace (it is freed with `consume_skb()`), so the kernel's counters
//! themselves are read when a packet comes to a listener and again when it is
//! done with. They are per CPU and bottom halves are off in between: the
//! difference belongs to this packet alone. The bracketed functions do not
//! nest, so there is one bracket per CPU.
use probe_common::{
    handshake::HandshakeCounters,
    loss::Loss,
    settings::{ACCOUNTING_CONDITIONS, ACCOUNTING_KERNEL_COUNTERS},
};

use crate::{
    count::{add_in_softirq, lose},
    cpu_state::{CpuState, NO_LISTENER, NOT_A_HANDSHAKE, cpu_state},
    hooks::accept_queue,
    kernel_counters::{Gained, KernelCounters},
    kernel_read::{
        KernelPointer, KernelRead, Probed, aborts_on_overflow, accept_queue_is_full, syn_queue_is_full,
        syncookies_are_off,
    },
    refused_connections::{Packet, fingerprint, is_first_refusal},
    rows::{counters_in, row_of},
    settings::global,
};

/// The step of the handshake that a bracket is around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A SYN: `tcp_v4_conn_request()` and its like.
    Syn,
    /// A packet for a queued request: `tcp_check_req()`.
    LastAck,
    /// A packet for no request, which may carry a SYN cookie: `cookie_v4_check()` and its IPv6 twin.
    Cookie,
    /// An ICMP error for a queued request: `tcp_req_err()`.
    RequestError,
}

/// Opens the bracket of this CPU for a packet to `listener`, and gives the listener's totals.
#[inline(always)]
pub(crate) fn open<R: KernelRead>(
    stage: Stage,
    listener: KernelPointer,
    skb: KernelPointer,
    request: KernelPointer,
) -> Option<*mut HandshakeCounters> {
    // SAFETY: a map value of this CPU, checked by the verifier.
    let state = unsafe { &mut *cpu_state()? };
    let row = row_of::<R>(listener);
    state.listener = listener as u64;
    state.row = row;
    state.answered = 0;
    state.reserve_kept = 0;
    state.skb = skb as u64;
    state.request = request as u64;
    if stage == Stage::Cookie {
        // From 6.8 on cookie_v4_check() frees what it refuses: nothing is left to look at afterwards.
        let packet = Packet { stage, skb, request };
        state.fingerprint = fingerprint(&packet, row).unwrap_or(0);
    }
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS {
        match KernelCounters::read::<R>(state, stage, listener) {
            Some(counters) => state.before = counters,
            None => {
                state.listener = NOT_A_HANDSHAKE;
                lose(Loss::CountersUnreadable);
            }
        }
    }
    counters_in(row)
}

/// Opens the bracket for a call that concerns no listener, so that its end is not taken for another's.
#[inline(always)]
pub(crate) fn open_for_nothing() {
    if let Some(state) = cpu_state() {
        // SAFETY: a map value of this CPU, checked by the verifier.
        unsafe { (*state).listener = NOT_A_HANDSHAKE };
    }
}

/// The totals of the listener in the open bracket.
#[inline(always)]
pub(crate) fn counters() -> Option<*mut HandshakeCounters> {
    // SAFETY: a map value of this CPU, checked by the verifier.
    let state = unsafe { &*cpu_state()? };
    (state.listener > NOT_A_HANDSHAKE).then(|| counters_in(state.row))?
}

/// Notes that the SYN in the bracket was answered: it is not lost.
#[inline(always)]
pub(crate) fn answered() {
    if global!(SETTINGS.accounting) != ACCOUNTING_CONDITIONS {
        return;
    }
    if let Some(state) = cpu_state() {
        // SAFETY: a map value of this CPU, checked by the verifier.
        unsafe { (*state).answered = 1 };
    }
}

/// Notes that the SYN in the bracket is refused to keep the rest of `tcp_max_syn_backlog` for others.
#[inline(always)]
pub(crate) fn reserve_kept() {
    if let Some(state) = cpu_state() {
        // SAFETY: a map value of this CPU, checked by the verifier.
        unsafe { (*state).reserve_kept = 1 };
    }
}

/// What a closed bracket has to say.
pub(crate) struct Closed {
    /// The listener; only [`Probed`] reads it.
    pub(crate) listener: KernelPointer,
    /// Its totals.
    pub(crate) counters: *mut HandshakeCounters,
    /// Whether the kernel counted a listen drop in between.
    pub(crate) dropped: bool,
}

/// Closes the bracket of this CPU and charges the listener with what the kernel counted in between.
#[inline(always)]
pub(crate) fn close(stage: Stage) -> Option<Closed> {
    // SAFETY: a map value of this CPU, checked by the verifier.
    let state = unsafe { &mut *cpu_state()? };
    let listener = state.listener;
    state.listener = NO_LISTENER;
    if listener == NOT_A_HANDSHAKE {
        return None;
    }
    if listener == NO_LISTENER {
        lose(Loss::BracketUnmatched);
        return None;
    }
    let listener = listener as KernelPointer;
    let counters = counters_in(state.row)?;
    let Some(gained) = gained(state, listener, stage) else {
        lose(Loss::CountersUnreadable);
        return None;
    };
    let dropped = gained.drops != 0 || gained.overflows != 0;
    charge_cookies(counters, &gained, stage);
    if dropped {
        charge_drops(state, counters, &gained, stage);
        charge_connection(state, counters, listener, stage, gained.overflows != 0);
    }
    Some(Closed { listener, counters, dropped })
}

/// Adds what was not lost, but answered or taken without a place in the SYN queue.
#[inline(always)]
fn charge_cookies(counters: *mut HandshakeCounters, gained: &Gained, stage: Stage) {
    if stage == Stage::Syn {
        add_in_softirq!(counters, syncookies_sent, gained.cookies_sent);
        add_in_softirq!(counters, syn_queue_full_cookies, gained.syn_queue_full_cookies);
    } else if stage == Stage::Cookie {
        add_in_softirq!(counters, syncookies_received, gained.cookies_received);
        add_in_softirq!(counters, syncookies_failed, gained.cookies_failed);
    }
}

/// Adds a bracket's drops to its listener's totals, by cause.
#[inline(always)]
fn charge_drops(state: &CpuState, counters: *mut HandshakeCounters, gained: &Gained, stage: Stage) {
    add_in_softirq!(counters, listen_drops, gained.drops);
    let unexplained = gained.drops.saturating_sub(gained.overflows);
    match stage {
        Stage::Syn => {
            add_in_softirq!(counters, syn_dropped_accept_queue_full, gained.overflows);
            add_in_softirq!(counters, syn_dropped_syn_queue_full, gained.syn_queue_full_drops);
            let unexplained = unexplained.saturating_sub(gained.syn_queue_full_drops);
            if state.reserve_kept == 0 {
                add_in_softirq!(counters, syn_dropped_other, unexplained);
            } else {
                add_in_softirq!(counters, syn_dropped_syn_backlog_reserve, unexplained);
            }
        }
        Stage::LastAck | Stage::Cookie => {
            add_in_softirq!(counters, last_ack_refused_accept_queue_full, gained.overflows);
            add_in_softirq!(counters, last_ack_refused_other, unexplained);
        }
        Stage::RequestError => add_in_softirq!(counters, request_errors, gained.drops),
    }
}

/// Counts the connection behind a dropped packet, once; and its reset, where that is the answer to
/// a full accept queue.
#[inline(always)]
fn charge_connection(
    state: &CpuState,
    counters: *mut HandshakeCounters,
    listener: KernelPointer,
    stage: Stage,
    overflowed: bool,
) {
    if stage == Stage::RequestError {
        return;
    }
    let fingerprint = if stage == Stage::Cookie {
        (state.fingerprint != 0).then_some(state.fingerprint)
    } else {
        let packet =
            Packet { stage, skb: state.skb as KernelPointer, request: state.request as KernelPointer };
        fingerprint(&packet, state.row)
    };
    if is_first_refusal(fingerprint) {
        add_in_softirq!(counters, connections_refused, 1);
        if overflowed {
            accept_queue::refused(listener, state.row);
        }
    }
    // tcp_check_req() alone asks for the setting, and then resets: a cookie's last ACK is dropped in silence.
    if stage == Stage::LastAck && aborts_on_overflow::<Probed>(listener) {
        add_in_softirq!(counters, requests_aborted, 1);
    }
}

/// What the kernel counted since the bracket was opened.
#[inline(always)]
fn gained(state: &mut CpuState, listener: KernelPointer, stage: Stage) -> Option<Gained> {
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS {
        let after = KernelCounters::read::<Probed>(state, stage, listener)?;
        return Some(after.since(&state.before));
    }
    // The last ACK's conditions are evaluated at tcp_v4_syn_recv_sock(), which knows its outcome.
    let lost =
        stage == Stage::Syn && global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS && state.answered == 0;
    if !lost {
        return Some(Gained::default());
    }
    let overflowed = accept_queue_is_full::<Probed>(listener);
    let syn_queue_full = !overflowed
        && state.reserve_kept == 0
        && syn_queue_is_full::<Probed>(listener)
        && syncookies_are_off::<Probed>(listener);
    Some(Gained {
        drops: 1,
        overflows: u64::from(overflowed),
        syn_queue_full_drops: u64::from(syn_queue_full),
        ..Gained::default()
    })
}
