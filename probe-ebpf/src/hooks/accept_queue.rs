//! Connections in accept queues: how full the queue is when one comes, and how long it waits there.
use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{fentry, fexit, kprobe},
    programs::{FEntryContext, FExitContext, ProbeContext},
};
use probe_common::{
    accept_queue::{
        AcceptQueueCounters, AcceptedCounters, BURST, FILL_ONE, QUEUED_WAYS, QueuedChild, QueuedSet,
        fill_bucket, wait_bucket,
    },
    loss::Loss,
    queue_peaks::QueuePeaks,
};

use crate::{
    count::{add_anywhere, atomic_add, lose},
    cpu_state::{CpuState, cpu_state},
    kernel_read::{
        Direct, KernelPointer, KernelRead, Probed, accept_queue, established_at, is_mptcp, is_something,
        is_tcp, syn_queue_length,
    },
    rows::{current_process, queues_at, queues_in, row_anywhere, row_of_in_process},
    settings::global,
    shared_maps::{ACCEPTED, QUEUED},
};

/// Whether the user side wants more of queues than what they refuse.
#[inline(always)]
pub(super) fn are_watched() -> bool {
    global!(SETTINGS.queues) != 0
}

/// `skc_hash` of a connection: by which its place in `QUEUED` is found, from its making to its end. A typed pointer
/// is no number that could be reckoned with.
#[inline(always)]
pub(super) fn hash_of<R: KernelRead>(child: KernelPointer) -> u32 {
    R::read::<u32>(child, global!(KERNEL_OFFSETS.sock_hash)).unwrap_or(0)
}

/// The places that a connection may have.
#[inline(always)]
fn places(hash: u32) -> Option<&'static mut QueuedSet> {
    let set = QUEUED.get_ptr_mut(hash.checked_rem(global!(SETTINGS.queued_sets))?)?;
    // SAFETY: a map value, checked by the verifier. Programs on other CPUs write places that are theirs.
    Some(unsafe { &mut *set })
}

/// The place that a connection has.
#[inline(always)]
fn place_of(hash: u32, child: u64) -> Option<&'static mut QueuedChild> {
    places(hash)?.iter_mut().find(|place| place.child == child)
}

/// A connection is about to be put into the accept queue of the row's listener. Noted before it is there:
/// accept() on another CPU may take it before the function is over.
#[inline(always)]
pub(super) fn begins_to_wait(hash: u32, child: u64, row: u32) {
    if !are_watched() {
        return;
    }
    let Some(places) = places(hash) else { return };
    // SAFETY: no argument, no effect but the answer.
    let queued_at = unsafe { bpf_ktime_get_ns() };
    let queued = QueuedChild { child, queued_at, row: u64::from(row) };
    for place in places.iter_mut() {
        // One that is there is of a connection whose end was missed, and whose memory this one has.
        if place.child == 0 || place.child == child {
            *place = queued;
            return;
        }
    }
    // Any one makes room: to look for the oldest is more than the verifier likes to follow.
    lose(Loss::AcceptWaitMapFull);
    if let Some(place) = places.get_mut((hash >> 24) as usize % QUEUED_WAYS) {
        *place = queued;
    }
}

/// A connection moves on to the queue of another listener (`net.ipv4.tcp_migrate_req`, 5.14): it has been
/// waiting all the time.
#[inline(always)]
pub(super) fn waits_elsewhere(hash: u32, child: u64, row: u32) {
    if are_watched()
        && let Some(place) = place_of(hash, child)
    {
        place.row = u64::from(row);
    }
}

/// A connection is in no accept queue any more, or never came into one. Gives what was noted of it, which is nothing
/// if it is older than the hook.
#[inline(always)]
pub(super) fn waits_no_more(hash: u32, child: u64) -> Option<QueuedChild> {
    if !are_watched() {
        return None;
    }
    let place = place_of(hash, child)?;
    let noted = *place;
    place.child = 0;
    Some(noted)
}

/// A connection has been put into the accept queue of the row's listener, in a softirq.
#[inline(always)]
pub(super) fn queued<R: KernelRead>(state: &mut CpuState, listener: KernelPointer, row: u32) {
    if are_watched()
        && let Some(queues) = queues_at(state, row)
    {
        note_queued::<R>(listener, queues, state.now_to_a_tick());
    }
}

/// The same, wherever the program runs.
#[inline(always)]
pub(super) fn queued_anywhere<R: KernelRead>(listener: KernelPointer, row: u32) {
    if are_watched()
        && let Some(queues) = queues_in(row)
    {
        // SAFETY: no argument, no effect but the answer.
        note_queued::<R>(listener, queues, unsafe { bpf_ktime_get_ns() });
    }
}

#[inline(always)]
fn note_queued<R: KernelRead>(listener: KernelPointer, queues: *mut AcceptQueueCounters, now: u64) {
    let Some((length, limit)) = accept_queue::<R>(listener) else { return };
    // SAFETY: a map value of this CPU, checked by the verifier; bottom halves are off.
    let queues = unsafe { &mut *queues };
    begin_if_over(&mut queues.peaks, now);
    queues.peaks.note(now, length);
    if let Some(bucket) = place(&raw mut queues.fill, fill_bucket(length, limit)) {
        // SAFETY: an element of the array.
        unsafe { *bucket += 1 };
    }
    queues.fill_sum += u64::from(length) * FILL_ONE / u64::from(limit.max(1));
}

/// Begins the windows of now where the last ones are over. The user side may look at any time: it is told.
#[inline(always)]
fn begin_if_over(peaks: &mut QueuePeaks, now: u64) {
    if !peaks.is_over(now) {
        return;
    }
    let version = &raw mut peaks.version;
    // SAFETY: a field of this CPU's map value, which only programs write.
    unsafe { version.write_volatile(version.read_volatile().wrapping_add(1)) };
    peaks.begin(now);
    let version = &raw mut peaks.version;
    // SAFETY: as above.
    unsafe { version.write_volatile(version.read_volatile().wrapping_add(1)) };
}

/// An element of an array. The compiler knows that every bucket has one and would leave the comparison out,
/// which the verifier wants to see (before 5.17 it cannot follow how the bucket was found).
#[inline(always)]
fn place<const BUCKETS: usize>(buckets: *mut [u64; BUCKETS], bucket: usize) -> Option<*mut u64> {
    let bucket = core::hint::black_box(bucket);
    (bucket < BUCKETS).then(|| buckets.cast::<u64>().wrapping_add(bucket))
}

/// A request has been put into the SYN queue of the row's listener. `missing`: so many of the queue are not
/// in its length yet.
#[inline(always)]
pub(super) fn syn_queued<R: KernelRead>(
    state: &mut CpuState,
    listener: KernelPointer,
    row: u32,
    missing: u32,
) {
    if !are_watched() {
        return;
    }
    if let (Some(length), Some(queues)) = (syn_queue_length::<R>(listener), queues_at(state, row)) {
        let now = state.now_to_a_tick();
        // SAFETY: as above.
        let peaks = unsafe { &mut (*queues).syn_peaks };
        begin_if_over(peaks, now);
        peaks.note(now, length.saturating_add(missing));
    }
}

/// A connection found the accept queue full, for the first time.
///
/// Those that are refused within a second of the first one wanted a place at the same time, by and large: with the
/// connections in the queue they are the demand. Two CPUs that begin a burst at once may lose one of it.
#[inline(always)]
pub(crate) fn refused<R: KernelRead>(state: &mut CpuState, listener: KernelPointer, row: u32) {
    if !are_watched() {
        return;
    }
    let (Some(accepted), Some(queues)) = (ACCEPTED.get_ptr_mut(row), queues_at(state, row)) else { return };
    let Some((length, _)) = accept_queue::<R>(listener) else { return };
    let now = state.now_to_a_tick();
    // SAFETY: map values, checked by the verifier; aligned fields.
    unsafe {
        let (began_at, refused) = (&raw mut (*accepted).burst_began_at, &raw mut (*accepted).burst_refused);
        // Another CPU that began it may be a tick ahead.
        if now.saturating_sub(began_at.read_volatile()) > BURST {
            began_at.write_volatile(now);
            refused.write_volatile(0);
        }
        atomic_add(refused, 1);
        let demand = refused.read_volatile().saturating_add(u64::from(length));
        let peaks = &mut (*queues).peaks;
        begin_if_over(peaks, now);
        peaks.note_demand(u32::try_from(demand).unwrap_or(u32::MAX));
    }
}

/// accept() has a connection for its caller. Not with bottom halves off, and on whatever CPU.
#[inline(always)]
fn accepted(accepted: *mut AcceptedCounters, wait: Option<u64>, now: u64) {
    add_anywhere!(accepted, accepted, 1);
    if let Some(wait) = wait {
        // SAFETY: a map value, checked by the verifier.
        if let Some(bucket) = unsafe { place(&raw mut (*accepted).wait, wait_bucket(wait)) } {
            atomic_add(bucket, 1);
        }
        add_anywhere!(accepted, wait_sum, wait);
    }
    // SAFETY: aligned fields of a map value: the last one to write is the last to accept.
    unsafe {
        (&raw mut (*accepted).accepted_at).write_volatile(now);
        (&raw mut (*accepted).accepted_by).write_volatile(current_process());
    }
}

/// Takes note of an accepted connection, if it is known when it was queued.
#[inline(always)]
fn accepted_after_wait<R: KernelRead>(child: KernelPointer) -> bool {
    let Some(queued) = waits_no_more(hash_of::<R>(child), child as u64) else { return false };
    // SAFETY: no argument, no effect but the answer.
    let now = unsafe { bpf_ktime_get_ns() };
    let row = u32::try_from(queued.row).unwrap_or(0);
    if let Some(place) = ACCEPTED.get_ptr_mut(row) {
        accepted(place, Some(now.saturating_sub(queued.queued_at)), now);
    }
    true
}

/// Takes note of an accepted connection that tells itself since when it has waited: from the end of its handshake, with bottom
/// halves off from the moment that it came into the queue. One that accept() took sooner has not waited.
#[inline(always)]
fn accepted_since_established<R: KernelRead>(listener: KernelPointer, child: KernelPointer) {
    let Some(state) = cpu_state() else { return };
    let Some(place) = ACCEPTED.get_ptr_mut(row_of_in_process::<R>(state, listener)) else { return };
    // SAFETY: no argument, no effect but the answer.
    let now = unsafe { bpf_ktime_get_ns() };
    let wait = established_at::<R>(child).map(|at| if at == 0 { 0 } else { now.saturating_sub(at) });
    accepted(place, wait, now);
}

/// accept() took a connection from the queue, or nothing.
///
/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`, from 6.10
/// `(struct sock *sk, struct proto_accept_arg *arg)`. It waits for a connection, so threads may be in it for
/// long. One that was queued before the hooks were attached, or found no room in the map, has no known wait.
#[inline(always)]
fn accept_returned<R: KernelRead>(listener: KernelPointer, child: KernelPointer) {
    if !is_something(child as u64) {
        return;
    }
    if global!(SETTINGS.queued_sets) == 0 {
        accepted_since_established::<R>(listener, child);
    } else if !accepted_after_wait::<R>(child)
        && let Some(place) = ACCEPTED.get_ptr_mut(row_anywhere::<R>(listener))
    {
        // SAFETY: no argument, no effect but the answer.
        accepted(place, None, unsafe { bpf_ktime_get_ns() });
    }
}

#[fexit(function = "inet_csk_accept")]
fn fexit_inet_csk_accept_4(ctx: FExitContext) -> i32 {
    accept_returned::<Direct>(ctx.arg(0), ctx.arg(4));
    0
}

#[fexit(function = "inet_csk_accept")]
fn fexit_inet_csk_accept_2(ctx: FExitContext) -> i32 {
    accept_returned::<Direct>(ctx.arg(0), ctx.arg(2));
    0
}

/// An accepted connection gets the file that its program will have of it.
///
/// `void security_sock_graft(struct sock *sk, struct socket *parent)`: unchanged from 5.4 to 7.3, in kernels with
/// `CONFIG_SECURITY_NETWORK`; `inet_accept()` calls it for every connection. Other protocols do so too. An MPTCP
/// connection is known by its first subflow, which is what was in the queue.
///
/// In place of a kretprobe on `inet_csk_accept()`: of those there are only so many at a time, and each
/// thread that waits in accept() holds one.
#[inline(always)]
fn grafted<R: KernelRead>(sock: KernelPointer) {
    if is_tcp::<R>(sock) {
        let _unless_older_than_the_hook = accepted_after_wait::<R>(sock);
    } else if global!(KERNEL_OFFSETS.mptcp_first_subflow) != 0
        && is_mptcp::<R>(sock)
        && let Some(child) = Probed::read(sock, global!(KERNEL_OFFSETS.mptcp_first_subflow))
    {
        let _unless_older_than_the_hook = accepted_after_wait::<Probed>(child);
    }
}

#[fentry(function = "security_sock_graft")]
fn fentry_security_sock_graft(ctx: FEntryContext) -> i32 {
    grafted::<Direct>(ctx.arg(0));
    0
}

#[kprobe(function = "security_sock_graft")]
fn kprobe_security_sock_graft(ctx: ProbeContext) -> u32 {
    if let Some(sock) = ctx.arg(0) {
        grafted::<Probed>(sock);
    }
    0
}
