//! What became of a packet by the conditions that the kernel decides by, where its counters do not tell: looked at
//! afterwards, so that another CPU may have changed them since.
use crate::{
    cpu_state::{Answered, CpuState},
    kernel_counters::Gained,
    kernel_read::{
        KernelPointer, KernelRead, accept_queue_is_full, socket_drops, syn_queue_is_full, syncookies,
    },
    packet::{Packet, Stage, is_plain_ack},
    settings::global,
};

/// `net.ipv4.tcp_syncookies`: every SYN gets a cookie.
const ALWAYS: u8 = 2;

/// Of a SYN, where cookies are seen by a hook of their own.
#[inline(always)]
pub(crate) fn of_syn<R: KernelRead>(state: &CpuState, listener: KernelPointer) -> Gained {
    if state.answered == Answered::ByCookie as u32 {
        return Gained { cookies_sent: 1, ..Gained::default() };
    }
    if state.answered != Answered::No as u32 {
        return Gained::default();
    }
    let overflowed = accept_queue_is_full::<R>(listener);
    let syn_queue_full = !overflowed
        && state.reserve_kept == 0
        && syn_queue_is_full::<R>(listener)
        && syncookies::<R>(listener) == Some(0);
    let is_told = state.reserve_kept != 0 || overflowed || syn_queue_full;
    Gained {
        // Where it was not seen to be queued either, it is taken for that unless something speaks against it.
        drops: u64::from(is_told || global!(SETTINGS.known_at_end) == 0),
        overflows: u64::from(overflowed),
        syn_queue_full_drops: u64::from(syn_queue_full),
        ..Gained::default()
    }
}

/// Of a packet that may have come to nothing: the first one of its network namespace that this CPU sees.
#[inline(always)]
pub(crate) fn of_unseen<R: KernelRead>(state: &CpuState, packet: &Packet, stage: Stage) -> Gained {
    let listener = packet.listener;
    if stage == Stage::Syn && got_a_cookie::<R>(state, listener) {
        return Gained { cookies_sent: 1, syn_queue_full_cookies: 1, ..Gained::default() };
    }
    // Nobody has seen whether it came into a queue: a listener that has lost nothing so far has not lost this one.
    if global!(SETTINGS.known_at_end) != 0 && socket_drops::<R>(listener) == Some(0) {
        return Gained::default();
    }
    if stage == Stage::Syn {
        return of_syn::<R>(state, listener);
    }
    let overflowed = accept_queue_is_full::<R>(listener);
    let refused = global!(SETTINGS.known_at_end) == 0 || overflowed && is_plain_ack(packet.skb);
    Gained { drops: u64::from(refused), overflows: u64::from(refused && overflowed), ..Gained::default() }
}

/// Whether a SYN was answered by a cookie: `tcp_conn_request()`, where neither the accept queue nor the reserve of
/// `tcp_max_syn_backlog` forbids it.
#[inline(always)]
fn got_a_cookie<R: KernelRead>(state: &CpuState, listener: KernelPointer) -> bool {
    if state.answered != Answered::No as u32 || state.reserve_kept != 0 {
        return false;
    }
    let wanted = match syncookies::<R>(listener) {
        Some(ALWAYS) => true,
        Some(1) => syn_queue_is_full::<R>(listener),
        _ => false,
    };
    wanted && !accept_queue_is_full::<R>(listener)
}
