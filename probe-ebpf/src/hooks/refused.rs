//! Refused packets: brackets around everything that handles a last ACK or an
//! error on behalf of a listener, and the milestones that tell an answered SYN
//! from a lost one. (The bracket around a SYN is in `handshake`.)
use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    bracket::{self, Stage},
    hooks::last_ack,
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, is_something},
    settings::global,
};

/// A packet came for a request in the SYN queue.
///
/// `struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req,
/// bool fastopen, bool *req_stolen)`: a sixth argument `drop_reason` from 6.15. With `fastopen`
/// `sk` is the child: no listener is concerned.
#[inline(always)]
fn request_checked<R: KernelRead>(listener: KernelPointer, fastopen: u8) {
    if fastopen == 0 {
        bracket::open::<R>(listener);
    } else {
        bracket::open_for_nothing();
    }
}

/// The packet is done with. The child is returned, or the listener itself (the packet is for
/// it after all), or nothing.
#[inline(always)]
fn request_done(result: u64) {
    if let Some(closed) = bracket::close(Stage::LastAck) {
        let child_made = is_something(result) && result != closed.listener as u64;
        last_ack::from_caller(&closed, child_made);
    }
}

#[fentry(function = "tcp_check_req")]
fn fentry_tcp_check_req(ctx: FEntryContext) -> i32 {
    request_checked::<Direct>(ctx.arg(0), ctx.arg(3));
    0
}

#[fexit(function = "tcp_check_req")]
fn fexit_tcp_check_req_5(ctx: FExitContext) -> i32 {
    request_done(ctx.arg(5));
    0
}

#[fexit(function = "tcp_check_req")]
fn fexit_tcp_check_req_6(ctx: FExitContext) -> i32 {
    request_done(ctx.arg(6));
    0
}

#[kprobe(function = "tcp_check_req")]
fn kprobe_tcp_check_req(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(fastopen)) = (ctx.arg(0), ctx.arg(3)) {
        request_checked::<Probed>(listener, fastopen);
    }
    0
}

#[kretprobe(function = "tcp_check_req")]
fn kretprobe_tcp_check_req(ctx: RetProbeContext) -> u32 {
    request_done(ctx.ret());
    0
}

/// A last ACK with a valid SYN cookie came.
///
/// `struct sock *tcp_get_cookie_sock(struct sock *sk, struct sk_buff *skb, struct request_sock *req,
/// struct dst_entry *dst, u32 tsoff)`: without `tsoff` from 6.8. Returns the child or nothing.
#[inline(always)]
fn cookie_done(result: u64) {
    if let Some(closed) = bracket::close(Stage::LastAck) {
        last_ack::from_caller(&closed, is_something(result));
    }
}

#[fentry(function = "tcp_get_cookie_sock")]
fn fentry_tcp_get_cookie_sock(ctx: FEntryContext) -> i32 {
    bracket::open::<Direct>(ctx.arg(0));
    0
}

#[fexit(function = "tcp_get_cookie_sock")]
fn fexit_tcp_get_cookie_sock_5(ctx: FExitContext) -> i32 {
    cookie_done(ctx.arg(5));
    0
}

#[fexit(function = "tcp_get_cookie_sock")]
fn fexit_tcp_get_cookie_sock_4(ctx: FExitContext) -> i32 {
    cookie_done(ctx.arg(4));
    0
}

#[kprobe(function = "tcp_get_cookie_sock")]
fn kprobe_tcp_get_cookie_sock(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg(0) {
        bracket::open::<Probed>(listener);
    }
    0
}

#[kretprobe(function = "tcp_get_cookie_sock")]
fn kretprobe_tcp_get_cookie_sock(ctx: RetProbeContext) -> u32 {
    cookie_done(ctx.ret());
    0
}

/// An ICMP error came for a request in the SYN queue, which the kernel counts as a listen drop.
///
/// `void tcp_req_err(struct sock *sk, u32 seq, bool abort)`: `sk` is the request.
#[inline(always)]
fn request_failed(request: KernelPointer) {
    // skc_listener lies in a union: to the verifier it is a number.
    match Probed::read::<KernelPointer>(request, global!(KERNEL_OFFSETS.request_listener)) {
        Some(listener) if !listener.is_null() => bracket::open::<Probed>(listener),
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
    let _closed = bracket::close(Stage::LastAck);
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
    let _closed = bracket::close(Stage::LastAck);
    0
}

/// A SYN is answered with a cookie: nothing is queued and nothing is lost.
///
/// `__u32 cookie_v4_init_sequence(const struct sk_buff *skb, __u16 *mssp)` and its IPv6 twin.
#[fentry(function = "cookie_v4_init_sequence")]
fn fentry_cookie_v4_init_sequence(_ctx: FEntryContext) -> i32 {
    bracket::answered();
    0
}

#[fentry(function = "cookie_v6_init_sequence")]
fn fentry_cookie_v6_init_sequence(_ctx: FEntryContext) -> i32 {
    bracket::answered();
    0
}

#[kprobe(function = "cookie_v4_init_sequence")]
fn kprobe_cookie_v4_init_sequence(_ctx: ProbeContext) -> u32 {
    bracket::answered();
    0
}

#[kprobe(function = "cookie_v6_init_sequence")]
fn kprobe_cookie_v6_init_sequence(_ctx: ProbeContext) -> u32 {
    bracket::answered();
    0
}
