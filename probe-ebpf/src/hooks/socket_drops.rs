//! Packets freed on behalf of a listener: what must be taken off its `sk_drops`
//! to get its listen drops, and the listen-queue overflow of a last ACK, which has a
//! drop reason of its own (6.15).
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use probe_common::handshake::HandshakeCounters;

use crate::{
    cast,
    count::add_anywhere,
    kernel_read::{Direct, KernelPointer, KernelRead, TCP_LISTEN, is_tcp, state},
    rows::counters_of,
    settings::global,
};

/// A packet was freed.
///
/// `TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason, struct sock *rx_sk)`: `rx_sk`, the
/// socket that it was for, from 6.11 (c53795d48ee8); it may be null.
#[btf_tracepoint(function = "kfree_skb")]
fn tp_btf_kfree_skb(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(3);
    if sock.is_null() || state::<Direct>(sock) != Some(TCP_LISTEN) || !is_tcp::<Direct>(sock) {
        return 0;
    }
    let (skb, location, reason) = (ctx.arg(0), ctx.arg::<u64>(1), ctx.arg::<u32>(2));
    if let Some(counters) = counters_of::<Direct>(sock) {
        packet_freed(counters, skb, location, reason);
    }
    0
}

/// Counts a freed packet by the code that freed it and by its reason.
#[inline(always)]
fn packet_freed(counters: *mut HandshakeCounters, skb: KernelPointer, location: u64, reason: u32) {
    if raises_sk_drops(location) {
        add_anywhere!(counters, discarded_segments, segments(skb));
    }
    let refused = global!(KERNEL_OFFSETS.reason_tcp_listen_overflow);
    if refused != 0 && reason == refused {
        add_anywhere!(counters, last_ack_refused_undivided, 1);
    }
}

/// Whether the code at `location` adds the packet to `sk_drops`: `discard_and_relse` of
/// `tcp_v4_rcv()` and `tcp_v6_rcv()`, and `tcp_drop_reason()`; but not `tcp_v4_do_rcv()` and
/// `cookie_v4_check()`, which free packets for a listener too.
#[inline(always)]
fn raises_sk_drops(location: u64) -> bool {
    macro_rules! any_site {
        ($($site:literal)+) => {
            $(
                (location >= global!(SETTINGS.discard_sites[$site].start)
                    && location < global!(SETTINGS.discard_sites[$site].end))
            )||+
        };
    }
    any_site!(0 1 2 3 4 5 6 7)
}

/// What `sk_drops_add()` adds for a packet: `max(1, gso_segs)`.
#[inline(always)]
fn segments(skb: KernelPointer) -> u64 {
    let head = Direct::read::<KernelPointer>(skb, global!(KERNEL_OFFSETS.skb_head));
    let end = Direct::read::<u32>(skb, global!(KERNEL_OFFSETS.skb_end));
    let (Some(head), Some(end)) = (head, end) else { return 1 };
    let shared_info = head.wrapping_byte_add(end as usize);
    let (id, offset) =
        (global!(KERNEL_OFFSETS.type_skb_shared_info), global!(KERNEL_OFFSETS.shared_info_gso_segs));
    match cast::read::<u16>(id, shared_info, offset) {
        Some(segments) if segments > 1 => u64::from(segments),
        _ => 1,
    }
}
