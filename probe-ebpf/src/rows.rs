//! Which row of totals an event belongs to.
//!
//! The way from a listener to its row is a cache: when an entry is missing, gone or stale, the
//! listener gets a new row for the same port, and the port's total is the sum over its rows. So
//! nothing that is missed here loses a count.
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use probe_common::{
    accept_queue::AcceptQueueCounters,
    handshake::{HandshakeCounters, PortKey},
    listener::{ListenerIdentity, ListenerSlot, OTHER_ROW},
    loss::Loss,
    queue_peaks::SECOND,
};

use crate::{
    count::lose,
    cpu_state::{CpuState, HINTS, Hint, as_number, place_among},
    kernel_read::{
        KernelPointer, KernelRead, TCP_LISTEN, inode_number, listening_port, port_key, socket_drops, state,
    },
    seen::know_everywhere,
    settings::global,
    shared_maps::{ACCEPT_QUEUE, FREE_ROWS, HANDSHAKE, LISTEN_CALLS, LISTENER_ROWS, LISTENERS, PORT_ROWS},
};

/// `BPF_NOEXIST` of `linux/bpf.h`.
const BPF_NOEXIST: u64 = 1;
/// How often a row is asked for when another CPU holds the stack's lock (EBUSY from 6.15 on).
const ATTEMPTS: usize = 3;

/// This CPU's totals of a listener.
#[inline(always)]
pub(crate) fn counters_of<R: KernelRead>(listener: KernelPointer) -> Option<*mut HandshakeCounters> {
    counters_in(row_anywhere::<R>(listener))
}

/// This CPU's totals in a row.
#[inline(always)]
pub(crate) fn counters_in(row: u32) -> Option<*mut HandshakeCounters> {
    HANDSHAKE.get_ptr_mut(place_of(row))
}

/// The same, in a softirq for which `state` is this CPU's.
#[inline(always)]
pub(crate) fn counters_at(state: &mut CpuState, row: u32) -> Option<*mut HandshakeCounters> {
    HANDSHAKE.get_ptr_mut(place_at(state, row))
}

/// What this CPU noted of the queues of a row's listener.
#[inline(always)]
pub(crate) fn queues_in(row: u32) -> Option<*mut AcceptQueueCounters> {
    ACCEPT_QUEUE.get_ptr_mut(place_of(row))
}

/// The same, in a softirq for which `state` is this CPU's.
#[inline(always)]
pub(crate) fn queues_at(state: &mut CpuState, row: u32) -> Option<*mut AcceptQueueCounters> {
    ACCEPT_QUEUE.get_ptr_mut(place_at(state, row))
}

/// Where this CPU has a row in an array that has one for each CPU.
#[inline(always)]
fn place_of(row: u32) -> u32 {
    // SAFETY: no argument, no effect but the answer. The program stays on its CPU.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu.wrapping_mul(global!(SETTINGS.rows)).wrapping_add(row)
}

/// The same by what the CPU remembers: before 6.10 to ask for its number is a call.
#[inline(always)]
fn place_at(state: &mut CpuState, row: u32) -> u32 {
    if state.rows_behind == 0 {
        state.rows_behind = place_of(1);
    }
    state.rows_behind.wrapping_add(row).wrapping_sub(1)
}

/// The row of a listener, in a softirq, for which `state` is this CPU's.
///
/// Where this CPU found it last is looked at first: whether it is still the listener's row the row says itself.
#[inline(always)]
pub(crate) fn row_of<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> u32 {
    hint_of::<R>(state, listener).map_or(OTHER_ROW, |hint| hint.row)
}

/// What this CPU remembers of a listener, in a softirq. Of one that it does not know yet it takes something for dropped.
#[inline(always)]
pub(crate) fn hint_of<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> Option<&mut Hint> {
    let socket = as_number(state, listener);
    let [last, other] = state.hints.get_mut(place_among::<HINTS>(socket))?;
    if is_row_of::<R>(last.row, listener, |identity| identity.socket == socket) {
        return Some(last);
    }
    if is_row_of::<R>(other.row, listener, |identity| identity.socket == socket) {
        return Some(other);
    }
    let row = row_anywhere::<R>(listener);
    let drops = socket_drops::<R>(listener).unwrap_or(0).wrapping_sub(1);
    *other = core::mem::replace(last, Hint { row, drops });
    Some(last)
}

/// The row of a listener in the context of a process. A softirq or another process may come in between: then it is looked for
/// at another one's place, which is not its own, and found in the map.
#[inline(always)]
pub(crate) fn row_of_in_process<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> u32 {
    let place = place_among::<HINTS>(as_number(state, listener));
    let [last, other] = state.hints.get(place).map_or([OTHER_ROW; 2], |[last, other]| [last.row, other.row]);
    let is_socket = |identity: &ListenerIdentity| {
        // The pointer itself: through memory, so that the compiler does not reckon with it.
        core::hint::black_box(identity.socket == listener as u64)
    };
    if is_row_of::<R>(last, listener, is_socket) {
        last
    } else if is_row_of::<R>(other, listener, is_socket) {
        other
    } else {
        row_anywhere::<R>(listener)
    }
}

/// The row of a listener, wherever the program runs. One is given to it if it has none.
#[inline(always)]
pub(crate) fn row_anywhere<R: KernelRead>(listener: KernelPointer) -> u32 {
    find_row::<R>(listener, port_of::<R>(listener))
}

/// Whether a row is the one of a listener that is not closed. `is_socket`: whether it is of the same `struct sock`.
#[inline(always)]
fn is_row_of<R: KernelRead>(
    row: u32,
    listener: KernelPointer,
    is_socket: impl FnOnce(&ListenerIdentity) -> bool,
) -> bool {
    LISTENER_ROWS.get(row).is_some_and(|identity| {
        is_socket(identity)
            && identity.closed_at == 0
            // Where no listener comes or goes unseen, another one has another row.
            && (global!(SETTINGS.known_at_end) != 0 || Some(identity.port.port) == port_of::<R>(listener))
    })
}

#[inline(always)]
fn port_of<R: KernelRead>(listener: KernelPointer) -> Option<u16> {
    R::read::<u16>(listener, global!(KERNEL_OFFSETS.sock_num))
}

#[inline(always)]
fn find_row<R: KernelRead>(listener: KernelPointer, port: Option<u16>) -> u32 {
    // SAFETY: a copy of a value that is written whole and never changed.
    if let Some(slot) = unsafe { LISTENERS.get(listener as u64) } {
        // A listener that is being closed may have lost its port already: it is still the same.
        if port == Some(slot.port) || port == Some(0) {
            return slot.row;
        }
        forget(listener);
    }
    enroll::<R>(listener, 0)
}

/// The row that stands for all listeners of a port.
#[inline(always)]
pub(crate) fn row_of_port(port: &PortKey) -> u32 {
    // SAFETY: as in find_row().
    if let Some(slot) = unsafe { PORT_ROWS.get(port) } {
        return slot.row;
    }
    let identity = ListenerIdentity { port: *port, ..ListenerIdentity::default() };
    let Some(slot) = take_row(&identity) else { return OTHER_ROW };
    if PORT_ROWS.insert(port, slot, BPF_NOEXIST).is_ok() {
        return slot.row;
    }
    give_back(slot.row);
    // SAFETY: as in find_row().
    unsafe { PORT_ROWS.get(port) }.map_or(OTHER_ROW, |slot| slot.row)
}

/// What this thread has just asked listen() for, in the form of [`ListenerIdentity::backlog`]; 0 when it is not
/// known: nobody listens for the hook, or the kernel itself makes the listener.
#[inline(always)]
pub(crate) fn backlog_asked_for() -> u64 {
    /// A call that took longer is taken for another one that came to nothing.
    const LATEST: u64 = SECOND;
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a copy of a value that only this thread writes.
    match unsafe { LISTEN_CALLS.get(thread) } {
        // SAFETY: no argument, no effect but the answer.
        Some(call) if unsafe { bpf_ktime_get_ns() }.wrapping_sub(call.called_at) < LATEST => {
            ListenerIdentity::known_backlog(call.backlog)
        }
        _ => 0,
    }
}

/// The process (thread group) that is running.
#[inline(always)]
pub(crate) fn current_process() -> u64 {
    bpf_get_current_pid_tgid() >> 32
}

/// The socket begins to listen: whatever its memory was before, its counts are another's from now on.
#[inline(always)]
pub(crate) fn opened<R: KernelRead>(listener: KernelPointer) {
    forget(listener);
    know_everywhere::<R>(listener);
    // One without a port is about to get one from the kernel: its first event gives it a row.
    if port_of::<R>(listener) != Some(0) {
        // SAFETY: no argument, no effect but the answer.
        let _row = enroll::<R>(listener, unsafe { bpf_ktime_get_ns() });
    }
}

/// The listener is being closed: the user side may keep its totals and free the row, in its own time.
#[inline(always)]
pub(crate) fn closed(listener: KernelPointer) {
    // SAFETY: as in find_row().
    if let Some(slot) = unsafe { LISTENERS.get(listener as u64) }
        && let Some(identity) = LISTENER_ROWS.get_ptr_mut(slot.row)
    {
        // SAFETY: an aligned field of a map value, checked by the verifier.
        unsafe { (&raw mut (*identity).closed_at).write_volatile(bpf_ktime_get_ns()) };
    }
}

/// When the row's listener was opened: what tells it from others that had the row.
#[inline(always)]
pub(crate) fn opened_at(row: u32) -> u64 {
    LISTENER_ROWS.get(row).map_or(0, |identity| identity.opened_at)
}

/// The listener's memory is another's by now. Its row is closed, so that no CPU finds it where it was.
#[inline(always)]
fn forget(listener: KernelPointer) {
    closed(listener);
    let _absent_when_never_seen = LISTENERS.remove(listener as u64);
}

/// Gives the listener a row.
#[inline(always)]
fn enroll<R: KernelRead>(listener: KernelPointer, opened_at: u64) -> u32 {
    let Some(identity) = identity::<R>(listener, opened_at) else {
        lose(Loss::ListenerUnreadable);
        return OTHER_ROW;
    };
    let Some(slot) = take_row(&identity) else { return OTHER_ROW };
    // Two CPUs may both get here for one listener: the second must not take the first one's place.
    if LISTENERS.insert(identity.socket, slot, BPF_NOEXIST).is_ok() {
        return slot.row;
    }
    give_back(slot.row);
    // SAFETY: as in find_row().
    unsafe { LISTENERS.get(identity.socket) }.map_or(OTHER_ROW, |slot| slot.row)
}

#[inline(always)]
fn identity<R: KernelRead>(listener: KernelPointer, opened_at: u64) -> Option<ListenerIdentity> {
    // At its opening it does not listen yet.
    let listens = opened_at != 0 || state::<R>(listener)? == TCP_LISTEN;
    let port = if listens { port_key::<R>(listener) } else { listening_port::<R>(listener) }?;
    // SAFETY: no argument, no effect but the answer.
    let closed_at = if listens { 0 } else { unsafe { bpf_ktime_get_ns() } };
    // Only at its opening is the thread that runs here the one that asked for it.
    let (backlog, opened_by) = if opened_at == 0 { (0, 0) } else { (backlog_asked_for(), current_process()) };
    Some(ListenerIdentity {
        socket: listener as u64,
        inode: inode_number::<R>(listener),
        opened_at,
        closed_at,
        backlog,
        opened_by,
        port,
    })
}

/// Takes a row that is nobody's.
#[inline(always)]
fn take_row(identity: &ListenerIdentity) -> Option<ListenerSlot> {
    for _ in 0..ATTEMPTS {
        if let Ok(popped) = FREE_ROWS.pop() {
            let Some(row) = popped else { break };
            let place = LISTENER_ROWS.get_ptr_mut(row)?;
            // SAFETY: a map value, checked by the verifier; the row is nobody else's.
            unsafe { place.write(*identity) };
            return Some(ListenerSlot { row, port: identity.port.port, reserved: 0 });
        }
    }
    lose(Loss::ListenerMapFull);
    None
}

/// A row that was taken in vain is nobody's again.
#[inline(always)]
fn give_back(row: u32) {
    if let Some(place) = LISTENER_ROWS.get_ptr_mut(row) {
        // SAFETY: a map value, checked by the verifier; the row is nobody else's.
        unsafe { place.write(ListenerIdentity::default()) };
    }
    if FREE_ROWS.push(row, 0).is_err() {
        lose(Loss::RowLost);
    }
}
