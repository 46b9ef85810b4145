//! Listeners that come and go: whose counts are whose, and what they take with them.
use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};
use aya_log_ebpf::debug;

use crate::{
    count::{add_anywhere, add_in_softirq},
    hooks::accept_queue,
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, TCP_LISTEN, is_tcp},
    rows::{closed, counters_of, opened},
    settings::global,
};

/// `TCP_CLOSE` of `net/tcp_states.h`.
const TCP_CLOSE: i32 = 7;

/// A socket begins to listen. It cannot be found by any packet yet.
///
/// `int inet_csk_listen_start(struct sock *sk, int backlog)`: without `backlog` from 5.17.
#[fentry(function = "inet_csk_listen_start")]
fn fentry_inet_csk_listen_start(ctx: FEntryContext) -> i32 {
    opened::<Direct>(ctx.arg(0));
    0
}

/// A socket listens no more.
///
/// `void inet_csk_listen_stop(struct sock *sk)`: unchanged from 5.4 to 7.3.
#[fentry(function = "inet_csk_listen_stop")]
fn fentry_inet_csk_listen_stop(ctx: FEntryContext) -> i32 {
    closed(ctx.arg(0));
    0
}

/// A connection is reset because its listener was closed: while it waited for accept(), or in the
/// instant before it would have been put in the accept queue.
///
/// `static void inet_child_forget(struct sock *sk, struct request_sock *req, struct sock *child)`: unchanged from 5.4 to
/// 7.3, with bottom halves off. One that moves to another listener (`net.ipv4.tcp_migrate_req`) does not come here.
#[inline(always)]
fn child_forgotten<R: KernelRead>(listener: KernelPointer, child: KernelPointer) {
    let _what_was_noted = accept_queue::waits_no_more(accept_queue::hash_of::<R>(child), child as u64);
    if let Some(counters) = counters_of::<R>(listener) {
        add_in_softirq!(counters, closed_unaccepted, 1);
    }
}

#[fentry(function = "inet_child_forget")]
fn fentry_inet_child_forget(ctx: FEntryContext) -> i32 {
    child_forgotten::<Direct>(ctx.arg(0), ctx.arg(2));
    0
}

#[kprobe(function = "inet_child_forget")]
fn kprobe_inet_child_forget(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(child)) = (ctx.arg(0), ctx.arg(2)) {
        child_forgotten::<Probed>(listener, child);
    }
    0
}

/// A socket begins or ends to listen, with the drops that it brings or takes along.
///
/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`, before the new state is stored: on
/// the way out of LISTEN `sk_drops` is still there to be read, and the port still known.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tp_btf_inet_sock_set_state_listener(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(0);
    let (from, to) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    let begins = from == TCP_CLOSE && to == i32::from(TCP_LISTEN);
    let ends = from == i32::from(TCP_LISTEN) && to == TCP_CLOSE;
    if !(begins || ends) || !is_tcp::<Direct>(sock) {
        return 0;
    }
    let Some(drops) = Direct::read::<u32>(sock, global!(KERNEL_OFFSETS.sock_drops)) else { return 0 };
    if begins {
        opened::<Direct>(sock);
        // One that was not bound is about to get a port: until then it is nobody that could be named.
        if Direct::read::<u16>(sock, global!(KERNEL_OFFSETS.sock_num)) == Some(0) {
            return 0;
        }
    }
    let Some(counters) = counters_of::<Direct>(sock) else { return 0 };
    if begins {
        // A socket that listens for the second time still has the drops of the first.
        add_anywhere!(counters, closed_listener_drops, u64::from(drops).wrapping_neg());
        add_anywhere!(counters, listeners_opened, 1);
        debug!(&ctx, "listener opened");
    } else {
        add_anywhere!(counters, closed_listener_drops, u64::from(drops));
        closed(sock);
        debug!(&ctx, "listener closed, drops {}", drops);
    }
    0
}
