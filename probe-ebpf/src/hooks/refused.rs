//! Refused packets: brackets around everything that handles a last ACK or an
//! error on behalf of a listener, and the milestones that tell an answered SYN
//! from a lost one. (The bracket around a SYN is in `handshake`.)
use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    bracket::{self, Stage},
    count::add_in_softirq,
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
fn request_checked<R: KernelRead>(
    listener: KernelPointer,
    skb: KernelPointer,
    request: KernelPointer,
    fastopen: u8,
) {
    if fastopen == 0 {
        let _counters = bracket::open::<R>(Stage::LastAck, listener, skb, request);
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
    request_checked::<Direct>(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
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
    if let (Some(listener), Some(skb), Some(request), Some(fastopen)) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3))
    {
        request_checked::<Probed>(listener, skb, request, fastopen);
    }
    0
}

#[kretprobe(function = "tcp_check_req")]
fn kretprobe_tcp_check_req(ctx: RetProbeContext) -> u32 {
    request_done(ctx.ret());
    0
}

/// A packet that is no SYN came for a listener and for none of its requests: the last ACK of a
/// handshake with a SYN cookie, or a stray.
///
/// `struct sock *cookie_v4_check(struct sock *sk, struct sk_buff *skb)` and its IPv6 twin: unchanged from 5.4 to 7.3.
/// Returns the child, or nothing, or the listener itself: no cookie, or a bad one.
#[inline(always)]
fn cookie_checked<R: KernelRead>(listener: KernelPointer, skb: KernelPointer) {
    let _counters = bracket::open::<R>(Stage::Cookie, listener, skb, core::ptr::null());
}

#[inline(always)]
fn cookie_done(result: u64) {
    if let Some(closed) = bracket::close(Stage::Cookie) {
        let child_made = is_something(result) && result != closed.listener as u64;
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
            cookie_done(ctx.arg(2));
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
            cookie_done(ctx.ret());
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
            let nothing = core::ptr::null();
            let _counters = bracket::open::<Probed>(Stage::RequestError, listener, nothing, nothing);
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
    let _closed = bracket::close(Stage::RequestError);
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
    let _closed = bracket::close(Stage::RequestError);
    0
}

/// A SYN is answered with a cookie: nothing is queued and nothing is lost. Counted here only where the
/// kernel's own counter is not read.
///
/// `__u32 cookie_v4_init_sequence(const struct sk_buff *skb, __u16 *mssp)` and its IPv6 twin.
#[inline(always)]
fn cookie_sent() {
    bracket::answered();
    if let Some(counters) = bracket::counters() {
        add_in_softirq!(counters, syncookies_sent, 1);
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
