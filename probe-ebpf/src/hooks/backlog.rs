//! What listen() is asked for, before `net.core.somaxconn` is looked at: afterwards nothing tells it any more.
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{fentry, fexit, kprobe},
    programs::{FEntryContext, FExitContext, ProbeContext},
};
use probe_common::accept_queue::ListenCall;

use crate::{
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, TCP_LISTEN, is_tcp, state},
    rows::{backlog_asked_for, row_anywhere},
    settings::global,
    shared_maps::{LISTEN_CALLS, LISTENER_ROWS},
};

/// A thread asks for a backlog.
///
/// `int __sys_listen(int fd, int backlog)`: unchanged from 5.4 to 7.3. From 6.11 on it calls
/// `int __sys_listen_socket(struct socket *sock, int backlog)`, which `io_listen()` of io_uring calls as well.
#[inline(always)]
fn asked(backlog: i32) {
    // SAFETY: no argument, no effect but the answer.
    let called_at = unsafe { bpf_ktime_get_ns() };
    // The oldest makes room.
    let call = ListenCall { called_at, backlog, reserved: 0 };
    let _always_fits = LISTEN_CALLS.insert(bpf_get_current_pid_tgid(), call, 0);
}

/// A socket listens, or listens again with another backlog, which no change of its state shows.
///
/// `int inet_listen(struct socket *sock, int backlog)`: unchanged from 5.4 to 7.3. From 6.6 on it calls
/// `int __inet_listen_sk(struct sock *sk, int backlog)`, which MPTCP calls for its first subflow as well.
#[inline(always)]
fn listens<R: KernelRead>(sock: KernelPointer) {
    if state::<R>(sock) != Some(TCP_LISTEN) || !is_tcp::<R>(sock) {
        return;
    }
    let backlog = backlog_asked_for();
    if backlog != 0
        && let Some(identity) = LISTENER_ROWS.get_ptr_mut(row_anywhere::<R>(sock))
    {
        // SAFETY: an aligned field of a map value, checked by the verifier.
        unsafe { (&raw mut (*identity).backlog).write_volatile(backlog) };
    }
}

#[inline(always)]
fn socket_listens<R: KernelRead>(socket: KernelPointer) {
    if let Some(sock) = R::read::<KernelPointer>(socket, global!(KERNEL_OFFSETS.socket_sock)) {
        listens::<R>(sock);
    }
}

#[fentry(function = "__sys_listen")]
fn fentry_sys_listen(ctx: FEntryContext) -> i32 {
    asked(ctx.arg(1));
    0
}

#[fentry(function = "__sys_listen_socket")]
fn fentry_sys_listen_socket(ctx: FEntryContext) -> i32 {
    asked(ctx.arg(1));
    0
}

#[fexit(function = "inet_listen")]
fn fexit_inet_listen(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(2) == 0 {
        socket_listens::<Direct>(ctx.arg(0));
    }
    0
}

#[fexit(function = "__inet_listen_sk")]
fn fexit_inet_listen_sk(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(2) == 0 {
        listens::<Direct>(ctx.arg(0));
    }
    0
}

#[kprobe(function = "__sys_listen")]
fn kprobe_sys_listen(ctx: ProbeContext) -> u32 {
    if let Some(backlog) = ctx.arg(1) {
        asked(backlog);
    }
    0
}

#[kprobe(function = "__sys_listen_socket")]
fn kprobe_sys_listen_socket(ctx: ProbeContext) -> u32 {
    if let Some(backlog) = ctx.arg(1) {
        asked(backlog);
    }
    0
}

/// At the entry: one that listens already will do so again, nothing is left to fail. One that begins to
/// is noted at its change of state.
#[kprobe(function = "inet_listen")]
fn kprobe_inet_listen(ctx: ProbeContext) -> u32 {
    if let Some(socket) = ctx.arg(0) {
        socket_listens::<Probed>(socket);
    }
    0
}

#[kprobe(function = "__inet_listen_sk")]
fn kprobe_inet_listen_sk(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0) {
        listens::<Probed>(sock);
    }
    0
}
