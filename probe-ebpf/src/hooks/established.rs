//! Finished handshakes: children that were put in the accept queue.
use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe, map},
    maps::HashMap,
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use probe_common::{
    handshake::{HandshakeCounters, PortKey},
    loss::Loss,
};

use crate::{
    count::{add_anywhere, lose},
    cpu_state::{Answered, CpuState, Entering, cpu_state},
    hooks::accept_queue,
    kernel_read::{
        Direct, KernelPointer, KernelRead, Probed, TCP_LISTEN, TCP_SYN_RECV, is_something, is_tcp, port_key,
        state,
    },
    rows::{counters_at, counters_in, row_anywhere, row_of, row_of_port},
};

/// `TCP_ESTABLISHED` of `net/tcp_states.h`.
const TCP_ESTABLISHED: i32 = 1;

/// Counts one finished handshake. Not always with bottom halves off: the state of a child that was
/// accepted early changes in its owner's context.
#[inline(always)]
fn established(counters: Option<*mut HandshakeCounters>) {
    if let Some(counters) = counters {
        add_anywhere!(counters, established, 1);
    }
}

/// A child is about to be put in the accept queue.
///
/// Where the function that makes the child is watched, this is called from there: between the two nothing
/// else happens on this CPU. `answers_syn`: it is made of a SYN
/// (TCP Fast Open).
#[inline(always)]
pub(super) fn child_enters<R: KernelRead>(
    state: &mut CpuState,
    listener: KernelPointer,
    row: u32,
    child: KernelPointer,
    answers_syn: bool,
) {
    forget_entering(state);
    let hash = accept_queue::hash_of::<R>(child);
    let child = child as u64;
    let answers_syn = u64::from(answers_syn);
    state.entering = Entering { listener: listener as u64, child, row, hash, answers_syn };
    accept_queue::begins_to_wait(hash, child, row);
}

/// A child that was made is not put there: the listener was closed, another CPU was first, or it joins an MPTCP
/// connection (`rsk_drop_req()`).
#[inline(always)]
pub(super) fn forget_entering(state: &mut CpuState) {
    if state.entering.child != 0 {
        let _what_was_noted = accept_queue::waits_no_more(state.entering.hash, state.entering.child);
        state.entering.child = 0;
    }
}

/// A child was, or was not, put in the accept queue. `listener`: a pointer that `R` can read, where there is one.
///
/// `inet_csk_reqsk_queue_add()` is the only place that does it in every version, but compilers inline
/// it into `inet_csk_complete_hashdance()`, its neighbour in the same file, and not into the callers
/// elsewhere (SYN cookies, TCP Fast Open). So both functions are watched, and whichever returns first tells.
#[inline(always)]
pub(super) fn child_entered<R: KernelRead>(listener: Option<KernelPointer>, queued: u64) {
    let Some(state) = cpu_state() else { return };
    if state.entering.child == 0 {
        return;
    }
    if !is_something(queued) {
        forget_entering(state);
        return;
    }
    state.entered = core::mem::replace(&mut state.entering.child, 0);
    if state.entering.answers_syn != 0 {
        // Though it is not in the SYN queue.
        state.answered = Answered::Queued as u32;
    }
    let row = state.entering.row;
    established(counters_at(state, row));
    let listener = listener.unwrap_or(state.entering.listener as KernelPointer);
    accept_queue::queued::<R>(state, listener, row);
}

/// A request became a child, which is in the accept queue by now.
#[inline(always)]
pub(super) fn request_became<R: KernelRead>(
    state: &mut CpuState,
    listener: KernelPointer,
    (row, counters): (u32, *mut HandshakeCounters),
    child: KernelPointer,
) {
    if state.entering.child == child as u64 {
        child_entered::<R>(Some(listener), child as u64);
        return;
    }
    forget_entering(state);
    if state.entered != child as u64
        && state.joins != child as u64
        && self::state::<R>(child) == Some(TCP_SYN_RECV)
    {
        established(Some(counters));
        accept_queue::queued::<R>(state, listener, row);
    }
}

/// A child joins an MPTCP connection, and comes into no accept queue. One that may not is closed at once.
///
/// `bool mptcp_finish_join(struct sock *ssk)`: `subflow_syn_recv_sock()` calls it for each of them (f296234c98a8, 5.7).
#[fentry(function = "mptcp_finish_join")]
fn fentry_mptcp_finish_join(ctx: FEntryContext) -> i32 {
    if let Some(state) = cpu_state() {
        state.joins = ctx.arg::<u64>(0);
    }
    0
}

/// `struct sock *inet_csk_complete_hashdance(struct sock *sk, struct sock *child, struct request_sock *req,
/// bool own_req)`: unchanged from 5.4 to 7.3. Returns nothing when the listener was closed meanwhile, or
/// another CPU was first (then `own_req` is false). Its entry is watched where `tcp_v4_syn_recv_sock()` is not, and
/// its exit where `tcp_check_req()` is not, which returns the same.
#[inline(always)]
fn hashdance_begins<R: KernelRead>(listener: KernelPointer, child: KernelPointer, own_request: u8) {
    if own_request != 0
        && let Some(state) = cpu_state()
    {
        let row = row_of::<R>(state, listener);
        child_enters::<R>(state, listener, row, child, false);
    }
}

#[fentry(function = "inet_csk_complete_hashdance")]
fn fentry_inet_csk_complete_hashdance(ctx: FEntryContext) -> i32 {
    hashdance_begins::<Direct>(ctx.arg(0), ctx.arg(1), ctx.arg(3));
    0
}

#[fexit(function = "inet_csk_complete_hashdance")]
fn fexit_inet_csk_complete_hashdance(ctx: FExitContext) -> i32 {
    child_entered::<Direct>(Some(ctx.arg(0)), ctx.arg(4));
    0
}

#[kprobe(function = "inet_csk_complete_hashdance")]
fn kprobe_inet_csk_complete_hashdance(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(child), Some(own_request)) = (ctx.arg(0), ctx.arg(1), ctx.arg(3)) {
        hashdance_begins::<Probed>(listener, child, own_request);
    }
    0
}

#[kretprobe(function = "inet_csk_complete_hashdance")]
fn kretprobe_inet_csk_complete_hashdance(ctx: RetProbeContext) -> u32 {
    child_entered::<Probed>(None, ctx.ret());
    0
}

/// `struct sock *inet_csk_reqsk_queue_add(struct sock *sk, struct request_sock *req, struct sock *child)`:
/// unchanged from 5.4 to 7.3. Returns nothing when the listener was closed meanwhile.
///
/// A child that moves here from a listener which is being closed (`inet_csk_listen_stop()` with
/// `net.ipv4.tcp_migrate_req`, 5.14) has finished its handshake before and is counted there: a new one is in SYN_RECV.
#[inline(always)]
fn child_is_added<R: KernelRead>(listener: KernelPointer, child: KernelPointer) {
    let Some(state_of_cpu) = cpu_state() else { return };
    let row = row_of::<R>(state_of_cpu, listener);
    if state::<R>(child) == Some(TCP_SYN_RECV) {
        // Else it is known already, from where it was made or from the outer function.
        if state_of_cpu.entering.child != child as u64 {
            // Of a cookie as well: the bracket around it is closed before the next SYN.
            child_enters::<R>(state_of_cpu, listener, row, child, true);
        }
    } else {
        forget_entering(state_of_cpu);
        accept_queue::waits_elsewhere(accept_queue::hash_of::<R>(child), child as u64, row);
    }
}

#[fentry(function = "inet_csk_reqsk_queue_add")]
fn fentry_inet_csk_reqsk_queue_add(ctx: FEntryContext) -> i32 {
    child_is_added::<Direct>(ctx.arg(0), ctx.arg(2));
    0
}

#[fexit(function = "inet_csk_reqsk_queue_add")]
fn fexit_inet_csk_reqsk_queue_add(ctx: FExitContext) -> i32 {
    child_entered::<Direct>(Some(ctx.arg(0)), ctx.arg(3));
    0
}

#[kprobe(function = "inet_csk_reqsk_queue_add")]
fn kprobe_inet_csk_reqsk_queue_add(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(child)) = (ctx.arg(0), ctx.arg(2)) {
        child_is_added::<Probed>(listener, child);
    }
    0
}

#[kretprobe(function = "inet_csk_reqsk_queue_add")]
fn kretprobe_inet_csk_reqsk_queue_add(ctx: RetProbeContext) -> u32 {
    child_entered::<Probed>(None, ctx.ret());
    0
}

/// The listener was told of a new child (40e0b0908142, 6.3).
///
/// `TP_PROTO(const struct sock *sk)`: fires for data on every other socket too.
#[btf_tracepoint(function = "sk_data_ready")]
fn tp_btf_sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(0);
    if state::<Direct>(sock) == Some(TCP_LISTEN) && is_tcp::<Direct>(sock) {
        let row = row_anywhere::<Direct>(sock);
        established(counters_in(row));
        accept_queue::queued_anywhere::<Direct>(sock, row);
    }
    0
}

/// The listener's port of each child that is not yet established, for kernels without
/// `sock:sk_data_ready`. A child's own address is the one that the client used, and nothing in it
/// leads back to its listener; but when it is made it is still a copy of the listener.
#[map]
static CHILDREN: HashMap<u64, PortKey> = HashMap::with_max_entries(8192, 0);

/// A socket changes its state.
///
/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`. A child goes from LISTEN (it is
/// a copy of the listener) to SYN_RECV when it is made and from there to ESTABLISHED once it is in
/// the accept queue, or elsewhere when it came to nothing.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tp_btf_inet_sock_set_state_child(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(0);
    let (from, to) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    let child = sock as u64;
    if from == i32::from(TCP_LISTEN) && to == i32::from(TCP_SYN_RECV) {
        if is_tcp::<Direct>(sock)
            && let Some(key) = port_key::<Direct>(sock)
            && CHILDREN.insert(child, key, 0).is_err()
        {
            lose(Loss::ChildMapFull);
        }
    } else if from == i32::from(TCP_SYN_RECV) {
        // SAFETY: the entry of this child, which nobody else writes or removes.
        let key = unsafe { CHILDREN.get(child) };
        if to == TCP_ESTABLISHED
            && let Some(key) = key
        {
            established(counters_in(row_of_port(key)));
        }
        let _absent_when_older_than_the_hook = CHILDREN.remove(child);
    }
    0
}
