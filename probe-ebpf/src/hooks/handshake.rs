//! SYNs: received, queued, answered again.
use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    bracket::{self, End, Suspicion},
    count::{add_anywhere, add_in_softirq},
    cpu_state::{Answered, CpuState, NO_LISTENER, cpu_state},
    hooks::accept_queue,
    kernel_read::{
        Direct, KernelPointer, KernelRead, Probed, TCP_LISTEN, is_passed_on, serves_fast_opens, socket_drops,
        state,
    },
    packet::{Packet, Stage, is_from_mapped_address},
    rows::{counters_at, counters_of, hint_of},
    settings::global,
};

/// A SYN came to a listener.
///
/// `int tcp_v4_conn_request(struct sock *sk, struct sk_buff *skb)`, its IPv6 twin and MPTCP's
/// `subflow_v4_conn_request()` and `subflow_v6_conn_request()`: unchanged from 5.10 to 7.3. They refuse what is sent to
/// a broadcast address, as a listen drop, and leave the rest to `tcp_conn_request()`. The IPv6 ones pass
/// IPv4 packets on to the IPv4 ones, which see them then.
#[inline(always)]
fn syn_received<R: KernelRead>(packet: &Packet) {
    let Some(state) = cpu_state() else { return };
    if let Some(counters) = bracket::open::<R>(state, Stage::Syn, packet) {
        add_in_softirq!(counters, syn_received, 1);
    }
}

/// The same at a function that may pass the packet on.
#[inline(always)]
fn syn_received_unless_passed_on<R: KernelRead>(packet: &Packet) {
    let passed_on = is_passed_on::<R>(packet.skb);
    if let Some(state) = cpu_state() {
        state.passed_on = u32::from(passed_on);
    }
    if !passed_on {
        syn_received::<R>(packet);
    }
}

/// How much the kernel may have counted of the SYN in the bracket.
#[inline(always)]
fn suspicion<R: KernelRead>(state: &CpuState, listener: KernelPointer) -> Suspicion {
    if state.answered != Answered::Queued as u32 {
        Suspicion::Any
    } else if state.child_refused != 0 || {
        global!(SETTINGS.last_ack_from_caller) != 0 && serves_fast_opens::<R>(listener)
    } {
        // TCP Fast Open may have found the queue full before the SYN was queued like any other.
        Suspicion::Drop
    } else {
        Suspicion::None
    }
}

/// The SYN in the bracket is done with.
#[inline(always)]
fn syn_done() {
    let Some(state) = cpu_state() else { return };
    let packet = bracket::noted_packet(state);
    let suspicion = suspicion::<Probed>(state, packet.listener);
    let _closed = bracket::close::<Probed>(state, Stage::Syn, &packet, suspicion);
}

/// The same at a function that may have passed the packet on: its twin has closed the bracket then.
#[inline(always)]
fn syn_done_unless_passed_on() {
    let Some(state) = cpu_state() else { return };
    let passed_on = core::mem::replace(&mut state.passed_on, 0);
    if passed_on == 0 {
        syn_done();
    }
}

/// A SYN came to a listener, and is done with: both at once, where that is known without looking at its beginning.
/// `may_be_ignored`: by a function for IPv6.
#[inline(always)]
fn syn_handled(packet: &Packet, may_be_ignored: bool) {
    let Some(state) = cpu_state() else { return };
    if global!(SETTINGS.known_at_end) != 0 {
        known_syn_handled(state, packet, may_be_ignored);
        return;
    }
    let row = bracket::row_for::<Direct>(state, packet.listener);
    let Some(counters) = counters_at(state, row) else { return };
    add_in_softirq!(counters, syn_received, 1);
    let suspicion = suspicion::<Direct>(state, packet.listener);
    let _end = bracket::at_end::<Direct>(state, (row, counters), Stage::Syn, packet, suspicion);
}

/// The same where the kernel's counters are known before it: what was neither dropped nor answered by a cookie is in the
/// SYN queue.
#[inline(always)]
fn known_syn_handled(state: &mut CpuState, packet: &Packet, may_be_ignored: bool) {
    let Some(hint) = hint_of::<Direct>(state, packet.listener) else { return };
    let row = hint.row;
    let has_lost_some = socket_drops::<Direct>(packet.listener)
        .is_none_or(|drops| core::mem::replace(&mut hint.drops, drops) != drops);
    let Some(counters) = counters_at(state, row) else { return };
    add_in_softirq!(counters, syn_received, 1);
    // TCP Fast Open may have made a child of it.
    let made_a_child = state.answered == Answered::Queued as u32;
    // The listener's `sk_drops` tells as well, at less cost, that this one was not dropped, and a hook would have seen a cookie.
    let may_be_counted =
        has_lost_some || state.answered != Answered::No as u32 || global!(SETTINGS.cookies_are_seen) == 0;
    let ended_well = !may_be_counted
        || bracket::at_end::<Direct>(state, (row, counters), Stage::Syn, packet, Suspicion::Any) == End::Well;
    if ended_well && !made_a_child && !(may_be_ignored && is_from_mapped_address(packet.skb)) {
        add_in_softirq!(counters, syn_queued, 1);
        accept_queue::syn_queued::<Direct>(state, packet.listener, row, 0);
    }
}

#[inline(always)]
fn ipv4_syn_handled(packet: &Packet) {
    syn_handled(packet, false);
}

/// The same at a function that may pass the packet on, or ignore it: one from a mapped IPv4 address, which no network
/// delivers (dcc32f4f183a, 5.12 and stable trees).
#[inline(always)]
fn ipv6_syn_handled(packet: &Packet) {
    if !is_passed_on::<Direct>(packet.skb) {
        syn_handled(packet, true);
    }
}

/// The programs around one function that handles a SYN.
macro_rules! syn_programs {
    ($function:literal, $handled:ident, $received:ident, $done:ident, $fexit:ident, $kprobe:ident, $kretprobe:ident) => {
        #[fexit(function = $function)]
        fn $fexit(ctx: FExitContext) -> i32 {
            $handled(&Packet::without_request(ctx.arg(0), ctx.arg(1)));
            0
        }

        #[kprobe(function = $function)]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            if let (Some(listener), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
                $received::<Probed>(&Packet::without_request(listener, skb));
            }
            0
        }

        #[kretprobe(function = $function)]
        fn $kretprobe(_ctx: RetProbeContext) -> u32 {
            $done();
            0
        }
    };
}

syn_programs!(
    "tcp_v4_conn_request",
    ipv4_syn_handled,
    syn_received,
    syn_done,
    fexit_tcp_v4_conn_request,
    kprobe_tcp_v4_conn_request,
    kretprobe_tcp_v4_conn_request
);
syn_programs!(
    "tcp_v6_conn_request",
    ipv6_syn_handled,
    syn_received_unless_passed_on,
    syn_done_unless_passed_on,
    fexit_tcp_v6_conn_request,
    kprobe_tcp_v6_conn_request,
    kretprobe_tcp_v6_conn_request
);
syn_programs!(
    "subflow_v4_conn_request",
    ipv4_syn_handled,
    syn_received,
    syn_done,
    fexit_subflow_v4_conn_request,
    kprobe_subflow_v4_conn_request,
    kretprobe_subflow_v4_conn_request
);
syn_programs!(
    "subflow_v6_conn_request",
    ipv6_syn_handled,
    syn_received_unless_passed_on,
    syn_done_unless_passed_on,
    fexit_subflow_v6_conn_request,
    kprobe_subflow_v6_conn_request,
    kretprobe_subflow_v6_conn_request
);

/// The same where those functions cannot be had, all being static but the first: without the SYNs
/// that they refuse themselves.
///
/// `int tcp_conn_request(struct request_sock_ops *rsk_ops, const struct tcp_request_sock_ops *af_ops,
/// struct sock *sk, struct sk_buff *skb)`: unchanged from 5.4 to 7.3.
#[fexit(function = "tcp_conn_request")]
fn fexit_tcp_conn_request(ctx: FExitContext) -> i32 {
    ipv4_syn_handled(&Packet::without_request(ctx.arg(2), ctx.arg(3)));
    0
}

#[kprobe(function = "tcp_conn_request")]
fn kprobe_tcp_conn_request(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(skb)) = (ctx.arg(2), ctx.arg(3)) {
        syn_received::<Probed>(&Packet::without_request(listener, skb));
    }
    0
}

#[kretprobe(function = "tcp_conn_request")]
fn kretprobe_tcp_conn_request(_ctx: RetProbeContext) -> u32 {
    syn_done();
    0
}

/// The rule that keeps the last quarter of `tcp_max_syn_backlog` for known clients has asked for this one.
///
/// `bool tcp_peer_is_proven(struct request_sock *req, struct dst_entry *dst)`: unchanged from 5.4 to 7.3. Only
/// `tcp_conn_request()` calls it, with SYN cookies off and three quarters full; for "no" the SYN is dropped.
#[inline(always)]
fn peer_judged(proven: u8) {
    if proven == 0
        && let Some(state) = cpu_state()
    {
        state.reserve_kept = 1;
    }
}

#[fexit(function = "tcp_peer_is_proven")]
fn fexit_tcp_peer_is_proven(ctx: FExitContext) -> i32 {
    peer_judged(ctx.arg(2));
    0
}

#[kretprobe(function = "tcp_peer_is_proven")]
fn kretprobe_tcp_peer_is_proven(ctx: RetProbeContext) -> u32 {
    peer_judged(ctx.ret());
    0
}

/// A SYN is in the SYN queue: the one in the bracket of this CPU. `listener`: a pointer that `R` can read, where there is one.
///
/// `bool inet_csk_reqsk_queue_hash_add(struct sock *sk, struct request_sock *req, unsigned long timeout)`:
/// returns nothing up to 6.0, 6.8 and 6.9; without `timeout` from 6.19. Only `tcp_conn_request()` calls it.
#[inline(always)]
fn syn_queued<R: KernelRead>(listener: Option<KernelPointer>, missing: u32) {
    let Some(state) = cpu_state() else { return };
    if R::TYPED
        && let Some(listener) = listener
    {
        let _row = bracket::row_in_bracket::<R>(state, listener);
    } else if state.listener == NO_LISTENER {
        // Told at the bracket's end, if there is one.
        return;
    }
    state.answered = Answered::Queued as u32;
    let row = state.row;
    if let Some(counters) = counters_at(state, row) {
        add_in_softirq!(counters, syn_queued, 1);
    }
    if let Some(listener) = listener.or_else(|| bracket::listener(state)) {
        accept_queue::syn_queued::<R>(state, listener, row, missing);
    }
}

/// At the entry: a request that cannot fail is queued; one that turns out to be a duplicate
/// (false) is not lost either, its twin is in the queue.
#[inline(always)]
fn syn_queue_entered<R: KernelRead>(listener: KernelPointer) {
    if let Some(state) = cpu_state() {
        state.answered = Answered::Queued as u32;
    }
    if global!(SETTINGS.syn_queued_cannot_fail) != 0 {
        syn_queued::<R>(Some(listener), 1);
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
        syn_queued::<Direct>(Some(ctx.arg(0)), 0);
    }
    0
}

#[fexit(function = "inet_csk_reqsk_queue_hash_add")]
fn fexit_inet_csk_reqsk_queue_hash_add_2(ctx: FExitContext) -> i32 {
    if ctx.arg::<u8>(2) != 0 {
        syn_queued::<Direct>(Some(ctx.arg(0)), 0);
    }
    0
}

#[kprobe(function = "inet_csk_reqsk_queue_hash_add")]
fn kprobe_inet_csk_reqsk_queue_hash_add(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        syn_queue_entered::<Probed>(listener);
    }
    0
}

#[kretprobe(function = "inet_csk_reqsk_queue_hash_add")]
fn kretprobe_inet_csk_reqsk_queue_hash_add(ctx: RetProbeContext) -> u32 {
    if ctx.ret::<u8>() != 0 {
        syn_queued::<Probed>(None, 0);
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
    let counters = if state::<Direct>(sock) == Some(TCP_LISTEN) {
        counters_of::<Direct>(sock)
    } else {
        // skc_listener lies in a union: to the verifier it is a number.
        Probed::read::<KernelPointer>(ctx.arg(1), global!(KERNEL_OFFSETS.request_listener))
            .and_then(counters_of::<Probed>)
    };
    if let Some(counters) = counters {
        add_anywhere!(counters, synack_retransmits, 1);
    }
    0
}
