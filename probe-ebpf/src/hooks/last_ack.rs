//! Last ACKs: was a child socket made of them or not.
use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use probe_common::{handshake::HandshakeCounters, settings::ACCOUNTING_CONDITIONS};

use crate::{
    bracket::{self, Closed, End, Suspicion},
    count::add_in_softirq,
    cpu_state::{Asked, cpu_state},
    hooks::established::{child_enters, forget_entering, request_became},
    kernel_read::{
        Direct, KernelPointer, KernelRead, Probed, accept_queue_is_full, is_passed_on, is_something,
    },
    packet::{Packet, Stage, packet_of_request},
    rows::{counters_at, row_of},
    settings::global,
};

/// A child socket is asked for. It is for a queued request, unless a bracket is open around the same packet, that of a
/// cookie, or it is for a SYN with TCP Fast Open.
///
/// `struct sock *tcp_v4_syn_recv_sock(const struct sock *sk, struct sk_buff *skb, struct request_sock *req,
/// struct dst_entry *dst, struct request_sock *req_unhash, bool *own_req)`, a seventh argument
/// `opt_child_init` from 6.20 and in stable trees (6.1.192, 6.18.44). MPTCP's `subflow_syn_recv_sock()` calls it as well.
#[inline(always)]
fn child_asked(packet: &Packet, by_fast_open: bool) {
    let Some(state) = cpu_state() else { return };
    if by_fast_open || bracket::listener(state).is_some() && state.skb == packet.skb as u64 {
        state.asked = Asked::WithinBracket as u32;
        // Of a SYN that a trampoline sees nothing is noted yet.
        let _row = bracket::row_in_bracket::<Probed>(state, packet.listener);
    } else {
        state.asked = Asked::ByRequest as u32;
        let _totals = bracket::open::<Probed>(state, Stage::LastAck, packet);
    }
}

/// It was made, or not.
#[inline(always)]
fn child_made_or_refused(child: KernelPointer) {
    let Some(state) = cpu_state() else { return };
    let packet = bracket::noted_packet(state);
    let asked = core::mem::replace(&mut state.asked, 0);
    let made = is_something(child as u64);
    let row = if asked == Asked::ByRequest as u32 {
        let closed = bracket::close::<Probed>(state, Stage::LastAck, &packet, suspicion(made));
        let Some(closed) = closed else { return };
        closed.row
    } else if asked == Asked::WithinBracket as u32 {
        state.child_refused = u32::from(!made);
        state.row
    } else {
        // An IPv6 function that passed the packet on: its twin has seen all of it.
        return;
    };
    if let Some(counters) = counters_at(state, row) {
        last_ack_done::<Probed>(counters, packet.listener, made);
    }
    if made {
        child_enters::<Probed>(state, packet.listener, row, child, asked == Asked::WithinBracket as u32);
    }
}

/// Whether a child is made of a SYN: `tcp_fastopen_create_child()` alone has neither a route for it nor a request that it takes
/// the place of. Of a cookie there is a route only (`tcp_get_cookie_sock()`).
#[inline(always)]
fn is_fast_open(route: u64, unhashed: u64) -> bool {
    !is_something(route) && !is_something(unhashed)
}

/// A child socket was asked for, and made or not: all that a trampoline has to see. `route` and `unhashed`: the arguments
/// `dst` and `req_unhash`.
#[inline(always)]
fn child_handled(packet: &Packet, route: u64, unhashed: u64, child: KernelPointer) {
    let Some(state) = cpu_state() else { return };
    let row = bracket::row_for::<Direct>(state, packet.listener);
    let Some(counters) = counters_at(state, row) else { return };
    let (made, by_fast_open) = (is_something(child as u64), is_fast_open(route, unhashed));
    if is_something(unhashed) {
        let _charged =
            bracket::at_end::<Direct>(state, (row, counters), Stage::LastAck, packet, suspicion(made));
    } else if by_fast_open {
        state.child_refused = u32::from(!made);
    }
    last_ack_done::<Direct>(counters, packet.listener, made);
    if made {
        child_enters::<Direct>(state, packet.listener, row, child, by_fast_open);
    }
}

/// How much the kernel may have counted of a last ACK.
#[inline(always)]
const fn suspicion(made: bool) -> Suspicion {
    if made { Suspicion::None } else { Suspicion::Any }
}

/// Counts a last ACK.
#[inline(always)]
fn last_ack_done<R: KernelRead>(counters: *mut HandshakeCounters, listener: KernelPointer, made: bool) {
    add_in_softirq!(counters, last_ack_received, 1);
    if global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS && !made {
        refused_by_conditions::<R>(counters, listener);
    }
}

/// Every way out without a child but that of a duplicate (found_dup_sk) is a listen drop, and the
/// accept queue is the first thing that is looked at.
#[inline(always)]
fn refused_by_conditions<R: KernelRead>(counters: *mut HandshakeCounters, listener: KernelPointer) {
    add_in_softirq!(counters, listen_drops, 1);
    if accept_queue_is_full::<R>(listener) {
        add_in_softirq!(counters, last_ack_refused_accept_queue_full, 1);
    } else {
        add_in_softirq!(counters, last_ack_refused_other, 1);
    }
}

/// A last ACK as the caller's bracket saw it, where `tcp_v4_syn_recv_sock()` has no hook of its own:
/// every refusal by it is a listen drop.
#[inline(always)]
pub(super) fn from_caller(closed: &Closed, child_made: bool) {
    if global!(SETTINGS.last_ack_from_caller) != 0 && (closed.dropped || child_made) {
        add_in_softirq!(closed.counters, last_ack_received, 1);
    }
}

/// A packet for a queued request is done with: all that a trampoline has to see of a last ACK, where the counters are known
/// before it.
#[inline(always)]
pub(super) fn handled(packet: &Packet, child: KernelPointer, made: bool) {
    let Some(state) = cpu_state() else { return };
    let row = row_of::<Direct>(state, packet.listener);
    let Some(counters) = counters_at(state, row) else { return };
    if made {
        add_in_softirq!(counters, last_ack_received, 1);
        request_became::<Direct>(state, packet.listener, (row, counters), child);
        state.forget_packet();
        return;
    }
    forget_entering(state);
    let end = bracket::at_end::<Direct>(state, (row, counters), Stage::LastAck, packet, Suspicion::Any);
    if end == End::Dropped {
        add_in_softirq!(counters, last_ack_received, 1);
    }
}

#[fexit(function = "tcp_v4_syn_recv_sock")]
fn fexit_tcp_v4_syn_recv_sock_6(ctx: FExitContext) -> i32 {
    child_handled(&packet_of_request!(ctx), ctx.arg(3), ctx.arg(4), ctx.arg(6));
    0
}

#[fexit(function = "tcp_v4_syn_recv_sock")]
fn fexit_tcp_v4_syn_recv_sock_7(ctx: FExitContext) -> i32 {
    child_handled(&packet_of_request!(ctx), ctx.arg(3), ctx.arg(4), ctx.arg(7));
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
fn fexit_tcp_v6_syn_recv_sock_6(ctx: FExitContext) -> i32 {
    if !is_passed_on::<Direct>(ctx.arg(1)) {
        child_handled(&packet_of_request!(ctx), ctx.arg(3), ctx.arg(4), ctx.arg(6));
    }
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
fn fexit_tcp_v6_syn_recv_sock_7(ctx: FExitContext) -> i32 {
    if !is_passed_on::<Direct>(ctx.arg(1)) {
        child_handled(&packet_of_request!(ctx), ctx.arg(3), ctx.arg(4), ctx.arg(7));
    }
    0
}

#[inline(always)]
fn by_fast_open(ctx: &ProbeContext) -> bool {
    matches!((ctx.arg(3), ctx.arg(4)), (Some(route), Some(unhashed)) if is_fast_open(route, unhashed))
}

#[kprobe(function = "tcp_v4_syn_recv_sock")]
fn kprobe_tcp_v4_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb), Some(request)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        child_asked(&Packet { listener, skb, request }, by_fast_open(&ctx));
    }
    0
}

#[kretprobe(function = "tcp_v4_syn_recv_sock")]
fn kretprobe_tcp_v4_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    child_made_or_refused(ctx.ret());
    0
}

#[kprobe(function = "tcp_v6_syn_recv_sock")]
fn kprobe_tcp_v6_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb), Some(request)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2))
        && !is_passed_on::<Probed>(skb)
    {
        child_asked(&Packet { listener, skb, request }, by_fast_open(&ctx));
    }
    0
}

#[kretprobe(function = "tcp_v6_syn_recv_sock")]
fn kretprobe_tcp_v6_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    child_made_or_refused(ctx.ret());
    0
}
