//! Refused packets: the brackets beside those around a SYN (`handshake`) and around `tcp_v4_syn_recv_sock()`
//! (`last_ack`), and the milestone that tells an answered SYN from a lost one.
use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    bracket::{self, Closed, Suspicion},
    cpu_state::{Answered, cpu_state},
    hooks::{established::child_entered, last_ack},
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, is_something},
    packet::{Packet, Stage, packet_of_request},
    settings::global,
};

#[inline(always)]
fn open<R: KernelRead>(stage: Stage, packet: &Packet) {
    if let Some(state) = cpu_state() {
        let _totals = bracket::open::<R>(state, stage, packet);
    }
}

/// `packet`: by pointers that `R` reads; by default the one that the bracket was opened for.
#[inline(always)]
fn close<R: KernelRead>(stage: Stage, packet: Option<Packet>, suspicion: Suspicion) -> Option<Closed> {
    let state = cpu_state()?;
    let packet = packet.unwrap_or_else(|| bracket::noted_packet(state));
    bracket::close::<R>(state, stage, &packet, suspicion)
}

/// A packet came for a request in the SYN queue. Watched where `tcp_v4_syn_recv_sock()`, which it calls, is not, and the
/// counters are not known before.
///
/// `struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req,
/// bool fastopen, bool *req_stolen)`: a sixth argument `drop_reason` from 6.15. With `fastopen`
/// `sk` is the child: no listener is concerned.
#[inline(always)]
fn request_checked(packet: &Packet, fastopen: u8) {
    if fastopen == 0 {
        open::<Direct>(Stage::LastAck, packet);
    } else {
        bracket::open_for_nothing();
    }
}

/// The packet is done with. The child is returned, or the listener itself (the packet is for
/// it after all), or nothing.
#[inline(always)]
fn request_done(packet: Packet, fastopen: u8, result: KernelPointer) {
    let child_made = is_something(result as u64) && result != packet.listener;
    if global!(SETTINGS.known_at_end) != 0 {
        if fastopen == 0 {
            last_ack::handled(&packet, result, child_made);
        }
        return;
    }
    child_entered::<Direct>(Some(packet.listener), u64::from(child_made));
    let suspicion = if child_made { Suspicion::None } else { Suspicion::Any };
    if let Some(closed) = close::<Direct>(Stage::LastAck, Some(packet), suspicion) {
        last_ack::from_caller(&closed, child_made);
    }
}

#[fentry(function = "tcp_check_req")]
fn fentry_tcp_check_req(ctx: FEntryContext) -> i32 {
    request_checked(&packet_of_request!(ctx), ctx.arg(3));
    0
}

#[fexit(function = "tcp_check_req")]
fn fexit_tcp_check_req_5(ctx: FExitContext) -> i32 {
    request_done(packet_of_request!(ctx), ctx.arg(3), ctx.arg(5));
    0
}

#[fexit(function = "tcp_check_req")]
fn fexit_tcp_check_req_6(ctx: FExitContext) -> i32 {
    request_done(packet_of_request!(ctx), ctx.arg(3), ctx.arg(6));
    0
}

/// A packet that is no SYN came for a listener and for none of its requests: the last ACK of a
/// handshake with a SYN cookie, or a stray.
///
/// `struct sock *cookie_v4_check(struct sock *sk, struct sk_buff *skb)` and its IPv6 twin: unchanged from 5.4 to 7.3.
/// Returns the child, or nothing, or the listener itself: no cookie, or a bad one.
#[inline(always)]
fn cookie_checked<R: KernelRead>(listener: KernelPointer, skb: KernelPointer) {
    open::<R>(Stage::Cookie, &Packet::without_request(listener, skb));
}

/// The packet may be free by now, and is not looked at.
#[inline(always)]
fn cookie_done<R: KernelRead>(listener: Option<KernelPointer>, result: u64) {
    let packet = listener.map(|listener| Packet::without_request(listener, core::ptr::null()));
    if let Some(closed) = close::<R>(Stage::Cookie, packet, Suspicion::Any) {
        let child_made = is_something(result) && result != closed.listener;
        last_ack::from_caller(&closed, child_made);
    }
}

/// The programs around one function that checks SYN cookies.
macro_rules! cookie_programs {
    ($function:literal, $fentry:ident, $fexit:ident, $kprobe:ident, $kretprobe:ident) => {
        #[fentry(function = $function)]
        fn $fentry(ctx: FEntryContext) -> i32 {
            cookie_checked::<Direct>(ctx.arg(0), ctx.arg(1));
            0
        }

        #[fexit(function = $function)]
        fn $fexit(ctx: FExitContext) -> i32 {
            cookie_done::<Direct>(Some(ctx.arg(0)), ctx.arg(2));
            0
        }

        #[kprobe(function = $function)]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            if let (Some(listener), Some(skb)) = (ctx.arg(0), ctx.arg(1)) {
                cookie_checked::<Probed>(listener, skb);
            }
            0
        }

        #[kretprobe(function = $function)]
        fn $kretprobe(ctx: RetProbeContext) -> u32 {
            cookie_done::<Probed>(None, ctx.ret());
            0
        }
    };
}

cookie_programs!(
    "cookie_v4_check",
    fentry_cookie_v4_check,
    fexit_cookie_v4_check,
    kprobe_cookie_v4_check,
    kretprobe_cookie_v4_check
);
cookie_programs!(
    "cookie_v6_check",
    fentry_cookie_v6_check,
    fexit_cookie_v6_check,
    kprobe_cookie_v6_check,
    kretprobe_cookie_v6_check
);

/// An ICMP error came for a request in the SYN queue, which the kernel counts as a listen drop.
///
/// `void tcp_req_err(struct sock *sk, u32 seq, bool abort)`: `sk` is the request.
#[inline(always)]
fn request_failed(request: KernelPointer) {
    // skc_listener lies in a union: to the verifier it is a number.
    match Probed::read::<KernelPointer>(request, global!(KERNEL_OFFSETS.request_listener)) {
        Some(listener) if !listener.is_null() => {
            open::<Probed>(Stage::RequestError, &Packet::without_request(listener, core::ptr::null()));
        }
        _ => bracket::open_for_nothing(),
    }
}

#[fentry(function = "tcp_req_err")]
fn fentry_tcp_req_err(ctx: FEntryContext) -> i32 {
    request_failed(ctx.arg(0));
    0
}

#[fexit(function = "tcp_req_err")]
fn fexit_tcp_req_err(_ctx: FExitContext) -> i32 {
    let _closed = close::<Probed>(Stage::RequestError, None, Suspicion::Any);
    0
}

#[kprobe(function = "tcp_req_err")]
fn kprobe_tcp_req_err(ctx: ProbeContext) -> u32 {
    if let Some(request) = ctx.arg(0) {
        request_failed(request);
    }
    0
}

#[kretprobe(function = "tcp_req_err")]
fn kretprobe_tcp_req_err(_ctx: RetProbeContext) -> u32 {
    let _closed = close::<Probed>(Stage::RequestError, None, Suspicion::Any);
    0
}

/// A SYN is answered with a cookie: nothing is queued and nothing is lost. Asked for only where the
/// kernel's own counter is not read.
///
/// `__u32 cookie_v4_init_sequence(const struct sk_buff *skb, __u16 *mssp)` and its IPv6 twin.
#[inline(always)]
fn cookie_sent() {
    if let Some(state) = cpu_state() {
        state.answered = Answered::ByCookie as u32;
    }
}

#[fentry(function = "cookie_v4_init_sequence")]
fn fentry_cookie_v4_init_sequence(_ctx: FEntryContext) -> i32 {
    cookie_sent();
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
fn fentry_cookie_v6_init_sequence(_ctx: FEntryContext) -> i32 {
    cookie_sent();
    0
}

#[kprobe(function = "cookie_v4_init_sequence")]
fn kprobe_cookie_v4_init_sequence(_ctx: ProbeContext) -> u32 {
    cookie_sent();
    0
}

#[kprobe(function = "cookie_v6_init_sequence")]
fn kprobe_cookie_v6_init_sequence(_ctx: ProbeContext) -> u32 {
    cookie_sent();
    0
}
