//! SYNs: received, queued, answered again.
use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    bracket::{self, Slot, Stage},
    count::{add_anywhere, add_in_softirq, counters_of},
    hooks::listener::TCP_LISTEN,
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, port_key, state},
    settings::global,
};

/// A SYN came to a listener.
///
/// `int tcp_conn_request(struct request_sock_ops *rsk_ops, const struct tcp_request_sock_ops *af_ops,
/// struct sock *sk, struct sk_buff *skb)`: unchanged from 5.4 to 7.3.
#[inline(always)]
fn syn_received<R: KernelRead>(listener: KernelPointer) {
    bracket::open::<R>(listener);
    if let Some(key) = port_key::<R>(listener)
        && let Some(counters) = counters_of(&key)
    {
        add_in_softirq!(counters, syn_received, 1);
    }
}

#[fentry(function = "tcp_conn_request")]
fn fentry_tcp_conn_request(ctx: FEntryContext) -> i32 {
    syn_received::<Direct>(ctx.arg(2));
    0
}

#[fexit(function = "tcp_conn_request")]
fn fexit_tcp_conn_request(_ctx: FExitContext) -> i32 {
    let _closed = bracket::close(Stage::Syn);
    0
}

#[kprobe(function = "tcp_conn_request")]
fn kprobe_tcp_conn_request(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(2) {
        syn_received::<Probed>(listener);
    }
    0
}

#[kretprobe(function = "tcp_conn_request")]
fn kretprobe_tcp_conn_request(_ctx: RetProbeContext) -> u32 {
    let _closed = bracket::close(Stage::Syn);
    0
}

/// A SYN is in the SYN queue.
///
/// `bool inet_csk_reqsk_queue_hash_add(struct sock *sk, struct request_sock *req, unsigned long timeout)`:
/// returns nothing up to 6.0, 6.8 and 6.9; without `timeout` from 6.19.
#[inline(always)]
fn syn_queued<R: KernelRead>(listener: KernelPointer) {
    if let Some(key) = port_key::<R>(listener)
        && let Some(counters) = counters_of(&key)
    {
        add_in_softirq!(counters, syn_queued, 1);
    }
}

/// At the entry: a request that cannot fail is queued; one that turns out to be a duplicate
/// (false) is not lost either, its twin is in the queue.
#[inline(always)]
fn syn_queue_entered<R: KernelRead>(listener: KernelPointer) {
    bracket::answered();
    if global!(SETTINGS.syn_queued_cannot_fail) != 0 {
        syn_queued::<R>(listener);
    }
}

#[fentry(function = "inet_csk_reqsk_queue_hash_add")]
fn fentry_inet_csk_reqsk_queue_hash_add(ctx: FEntryContext) -> i32 {
    syn_queue_entered::<Direct>(ctx.arg(0));
    0
}

#[fexit(function = "inet_csk_reqsk_queue_hash_add")]
fn fexit_inet_csk_reqsk_queue_hash_add_3(ctx: FExitContext) -> i32 {
    if ctx.arg::<u8>(3) != 0 {
        syn_queued::<Direct>(ctx.arg(0));
    }
    0
}

#[fexit(function = "inet_csk_reqsk_queue_hash_add")]
fn fexit_inet_csk_reqsk_queue_hash_add_2(ctx: FExitContext) -> i32 {
    if ctx.arg::<u8>(2) != 0 {
        syn_queued::<Direct>(ctx.arg(0));
    }
    0
}

#[kprobe(function = "inet_csk_reqsk_queue_hash_add")]
fn kprobe_inet_csk_reqsk_queue_hash_add(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        syn_queue_entered::<Probed>(listener);
        bracket::hand_over(Slot::SynQueued, listener);
    }
    0
}

#[kretprobe(function = "inet_csk_reqsk_queue_hash_add")]
fn kretprobe_inet_csk_reqsk_queue_hash_add(ctx: RetProbeContext) -> u32 {
    if let Some(listener) = bracket::take_over(Slot::SynQueued)
        && ctx.ret::<u8>() != 0
    {
        syn_queued::<Probed>(listener);
    }
    0
}

/// A SYN-ACK was sent again.
///
/// `TP_PROTO(const struct sock *sk, struct request_sock *req)`: `sk` is the listener, or the child
/// where the SYN carried data (TCP Fast Open); the request knows the listener then.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn tp_btf_tcp_retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(0);
    let key = if state::<Direct>(sock) == Some(TCP_LISTEN) {
        port_key::<Direct>(sock)
    } else {
        // skc_listener lies in a union: to the verifier it is a number.
        Probed::read::<KernelPointer>(ctx.arg(1), global!(KERNEL_OFFSETS.request_listener))
            .and_then(port_key::<Probed>)
    };
    if let Some(key) = key
        && let Some(counters) = counters_of(&key)
    {
        add_anywhere!(counters, synack_retransmits, 1);
    }
    0
}
