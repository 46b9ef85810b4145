//! Last ACKs: was a child socket made of them or not.
use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use probe_common::{handshake::HandshakeCounters, settings::ACCOUNTING_CONDITIONS};

use crate::{
    bracket::Closed,
    count::add_in_softirq,
    cpu_state::{Slot, hand_over, take_over},
    kernel_read::{
        Direct, KernelPointer, KernelRead, Probed, accept_queue_is_full, is_passed_on, is_something,
    },
    rows::counters_of,
    settings::global,
};

/// A child socket was asked for, and made or not.
///
/// `struct sock *tcp_v4_syn_recv_sock(const struct sock *sk, struct sk_buff *skb, struct request_sock *req,
/// struct dst_entry *dst, struct request_sock *req_unhash, bool *own_req)`, a seventh argument
/// `opt_child_init` from 6.20 and in stable trees (6.1.192, 6.18.44).
#[inline(always)]
fn child_asked<R: KernelRead>(listener: KernelPointer, child: u64) {
    let Some(counters) = counters_of::<R>(listener) else { return };
    add_in_softirq!(counters, last_ack_received, 1);
    if global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS && !is_something(child) {
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
        let counters = closed.counters;
        add_in_softirq!(counters, last_ack_received, 1);
    }
}

#[fexit(function = "tcp_v4_syn_recv_sock")]
fn fexit_tcp_v4_syn_recv_sock_6(ctx: FExitContext) -> i32 {
    child_asked::<Direct>(ctx.arg(0), ctx.arg(6));
    0
}

#[fexit(function = "tcp_v4_syn_recv_sock")]
fn fexit_tcp_v4_syn_recv_sock_7(ctx: FExitContext) -> i32 {
    child_asked::<Direct>(ctx.arg(0), ctx.arg(7));
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
fn fexit_tcp_v6_syn_recv_sock_6(ctx: FExitContext) -> i32 {
    if !is_passed_on::<Direct>(ctx.arg(1)) {
        child_asked::<Direct>(ctx.arg(0), ctx.arg(6));
    }
    0
}

#[fexit(function = "tcp_v6_syn_recv_sock")]
fn fexit_tcp_v6_syn_recv_sock_7(ctx: FExitContext) -> i32 {
    if !is_passed_on::<Direct>(ctx.arg(1)) {
        child_asked::<Direct>(ctx.arg(0), ctx.arg(7));
    }
    0
}

#[kprobe(function = "tcp_v4_syn_recv_sock")]
fn kprobe_tcp_v4_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        hand_over(Slot::LastAck, listener);
    }
    0
}

#[kretprobe(function = "tcp_v4_syn_recv_sock")]
fn kretprobe_tcp_v4_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    if let Some(listener) = take_over(Slot::LastAck) {
        child_asked::<Probed>(listener, ctx.ret());
    }
    0
}

#[kprobe(function = "tcp_v6_syn_recv_sock")]
fn kprobe_tcp_v6_syn_recv_sock(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb)) = (ctx.arg(0), ctx.arg(1))
        && !is_passed_on::<Probed>(skb)
    {
        hand_over(Slot::LastAck, listener);
    }
    0
}

#[kretprobe(function = "tcp_v6_syn_recv_sock")]
fn kretprobe_tcp_v6_syn_recv_sock(ctx: RetProbeContext) -> u32 {
    // Empty after a packet that was passed on: the IPv4 function's kretprobe has taken it.
    if let Some(listener) = take_over(Slot::LastAck) {
        child_asked::<Probed>(listener, ctx.ret());
    }
    0
}
