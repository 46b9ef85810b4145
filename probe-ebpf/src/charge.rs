//! What a bracket found out goes to its listener's totals, by cause.
use probe_common::handshake::HandshakeCounters;

use crate::{
    count::add_in_softirq,
    cpu_state::CpuState,
    hooks::accept_queue,
    kernel_counters::Gained,
    kernel_read::{KernelRead, aborts_on_overflow},
    packet::{Packet, Stage},
    refused_connections::{fingerprint, is_first_refusal},
};

/// Charges a listener with what the kernel counted while it handled one packet.
#[inline(always)]
pub(crate) fn gained<R: KernelRead>(
    state: &mut CpuState,
    (row, counters): (u32, *mut HandshakeCounters),
    gained: &Gained,
    stage: Stage,
    packet: &Packet,
) {
    cookies(counters, gained, stage);
    if gained.is_drop() {
        drops(state, counters, gained, stage);
        connection::<R>(state, (row, counters), stage, packet, gained.overflows != 0);
    }
}

/// Adds what was not lost, but answered or taken without a place in the SYN queue.
#[inline(always)]
fn cookies(counters: *mut HandshakeCounters, gained: &Gained, stage: Stage) {
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
fn drops(state: &CpuState, counters: *mut HandshakeCounters, gained: &Gained, stage: Stage) {
    add_in_softirq!(counters, listen_drops, gained.drops);
    let unexplained = gained.drops.saturating_sub(gained.overflows);
    match stage {
        Stage::Syn => {
            add_in_softirq!(counters, syn_dropped_accept_queue_full, gained.overflows);
            if unexplained == 0 {
                return;
            }
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
fn connection<R: KernelRead>(
    state: &mut CpuState,
    (row, counters): (u32, *mut HandshakeCounters),
    stage: Stage,
    packet: &Packet,
    overflowed: bool,
) {
    if stage == Stage::RequestError {
        return;
    }
    let fingerprint = if stage == Stage::Cookie {
        (state.fingerprint != 0).then_some(state.fingerprint)
    } else {
        fingerprint::<R>(stage, packet, row)
    };
    if is_first_refusal(fingerprint) {
        add_in_softirq!(counters, connections_refused, 1);
        if overflowed {
            accept_queue::refused::<R>(state, packet.listener, row);
        }
    }
    // tcp_check_req() alone asks for the setting, and then resets: a cookie's last ACK is dropped in silence.
    if stage == Stage::LastAck && aborts_on_overflow::<R>(packet.listener) {
        add_in_softirq!(counters, requests_aborted, 1);
    }
}
