//! Brackets: what the kernel's own counters gained while it handled one packet.
//!
//! `tcp_listendrop()` is inlined everywhere and a SYN that is refused leaves no
//! other trace (it is freed with `consume_skb()`), so the kernel's counters
//! themselves are read when a packet comes to a listener and again when it is
//! done with. They are per CPU and bottom halves are off in between: the
//! difference belongs to this packet alone. The bracketed functions do not
//! nest, so there is one bracket per CPU.
use aya_ebpf::{macros::map, maps::PerCpuArray};
use probe_common::{
    loss::Loss,
    settings::{ACCOUNTING_CONDITIONS, ACCOUNTING_KERNEL_COUNTERS},
};

use crate::{
    count::{add_in_softirq, counters_of, lose},
    kernel_read::{KernelPointer, KernelRead, Probed, accept_queue_is_full, port_key},
    settings::global,
};

/// The step of the handshake that a bracket is around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A SYN: `tcp_conn_request()`.
    Syn,
    /// A last ACK, or an ICMP error for a queued request.
    LastAck,
}

/// What this CPU is in the middle of.
#[repr(C)]
pub(crate) struct CpuState {
    /// The listener of the open bracket; [`NO_LISTENER`] or [`NOT_A_HANDSHAKE`] else.
    listener: u64,
    /// The kernel's counters at the bracket's beginning.
    before: ListenCounters,
    /// Not 0: the SYN in the bracket was queued, answered with a cookie, or made a child.
    answered: u64,
    /// Distance from a per-CPU pointer to this CPU's copy; 0 until it is known.
    per_cpu_distance: u64,
    /// For turning a pointer into a number: the verifier forgets what it was.
    number: u64,
    /// Listeners handed from the entry of a call to its return: one slot per function.
    handed_over: [u64; 4],
}

/// No bracket is open.
const NO_LISTENER: u64 = 0;
/// A bracket is open around a call that no listener is concerned with.
const NOT_A_HANDSHAKE: u64 = 1;

/// A slot of [`CpuState::handed_over`].
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    /// `inet_csk_reqsk_queue_hash_add()`
    SynQueued = 0,
    /// `inet_csk_reqsk_queue_add()`
    Established = 1,
    /// `tcp_v4_syn_recv_sock()` and `tcp_v6_syn_recv_sock()`
    LastAck = 2,
    /// `inet_csk_complete_hashdance()`
    Hashdance = 3,
}

/// `LINUX_MIB_LISTENOVERFLOWS` and its neighbour `LINUX_MIB_LISTENDROPS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ListenCounters {
    overflows: u64,
    drops: u64,
}

#[map]
static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// Opens the bracket of this CPU for a packet to `listener`.
#[inline(always)]
pub(crate) fn open<R: KernelRead>(listener: KernelPointer) {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return };
    // SAFETY: a map value of this CPU, checked by the verifier.
    let state = unsafe { &mut *state };
    state.listener = listener as u64;
    state.answered = 0;
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS {
        match listen_counters::<R>(state, listener) {
            Some(counters) => state.before = counters,
            None => {
                state.listener = NOT_A_HANDSHAKE;
                lose(Loss::CountersUnreadable);
            }
        }
    }
}

/// Opens the bracket for a call that concerns no listener, so that its end is not taken for another's.
#[inline(always)]
pub(crate) fn open_for_nothing() {
    if let Some(state) = CPU_STATE.get_ptr_mut(0) {
        // SAFETY: a map value of this CPU, checked by the verifier.
        unsafe { (*state).listener = NOT_A_HANDSHAKE };
    }
}

/// Notes that the SYN in the bracket was answered: it is not lost.
#[inline(always)]
pub(crate) fn answered() {
    if global!(SETTINGS.accounting) != ACCOUNTING_CONDITIONS {
        return;
    }
    if let Some(state) = CPU_STATE.get_ptr_mut(0) {
        // SAFETY: a map value of this CPU, checked by the verifier.
        unsafe { (*state).answered = 1 };
    }
}

/// What a closed bracket has to say.
pub(crate) struct Closed {
    /// The listener; only [`Probed`] reads it.
    pub(crate) listener: KernelPointer,
    /// Whether the kernel counted a listen drop in between.
    pub(crate) dropped: bool,
}

/// Closes the bracket of this CPU and charges the listener with what the kernel counted in between.
#[inline(always)]
pub(crate) fn close(stage: Stage) -> Option<Closed> {
    // SAFETY: a map value of this CPU, checked by the verifier.
    let state = unsafe { &mut *CPU_STATE.get_ptr_mut(0)? };
    let listener = state.listener;
    state.listener = NO_LISTENER;
    if listener == NOT_A_HANDSHAKE {
        return None;
    }
    if listener == NO_LISTENER {
        lose(Loss::BracketUnmatched);
        return None;
    }
    let listener = listener as KernelPointer;
    let Some(gained) = gained(state, listener, stage) else {
        lose(Loss::CountersUnreadable);
        return None;
    };
    if gained.drops != 0 || gained.overflows != 0 {
        charge(listener, stage, &gained);
    }
    Some(Closed { listener, dropped: gained.drops != 0 })
}

/// Adds a bracket's overflows and drops to its listener's totals.
#[inline(always)]
fn charge(listener: KernelPointer, stage: Stage, gained: &ListenCounters) {
    let Some(key) = port_key::<Probed>(listener) else {
        lose(Loss::CountersUnreadable);
        return;
    };
    let Some(counters) = counters_of(&key) else { return };
    add_in_softirq!(counters, listen_drops, gained.drops);
    match stage {
        Stage::Syn => add_in_softirq!(counters, accept_queue_overflows_syn, gained.overflows),
        Stage::LastAck => add_in_softirq!(counters, accept_queue_overflows_ack, gained.overflows),
    }
}

/// What the kernel counted since the bracket was opened.
#[inline(always)]
fn gained(state: &mut CpuState, listener: KernelPointer, stage: Stage) -> Option<ListenCounters> {
    if global!(SETTINGS.accounting) == ACCOUNTING_KERNEL_COUNTERS {
        let after = listen_counters::<Probed>(state, listener)?;
        return Some(ListenCounters {
            overflows: after.overflows.wrapping_sub(state.before.overflows),
            drops: after.drops.wrapping_sub(state.before.drops),
        });
    }
    // The last ACK's conditions are evaluated at tcp_v4_syn_recv_sock(), which knows its outcome.
    let lost =
        stage == Stage::Syn && global!(SETTINGS.accounting) == ACCOUNTING_CONDITIONS && state.answered == 0;
    let overflowed = lost && accept_queue_is_full::<Probed>(listener);
    Some(ListenCounters { overflows: u64::from(overflowed), drops: u64::from(lost) })
}

/// Reads this CPU's `ListenOverflows` and `ListenDrops` of the listener's network namespace.
#[inline(always)]
fn listen_counters<R: KernelRead>(state: &mut CpuState, listener: KernelPointer) -> Option<ListenCounters> {
    let net = R::read::<KernelPointer>(listener, global!(KERNEL_OFFSETS.sock_net))?;
    let statistics = R::read::<KernelPointer>(net, global!(KERNEL_OFFSETS.net_statistics))?;
    let statistics = as_number(state, statistics);
    let this_cpu = statistics.wrapping_add(per_cpu_distance(state)?) as KernelPointer;
    Probed::read::<ListenCounters>(this_cpu, global!(KERNEL_OFFSETS.mib_listen_overflows))
}

/// `__per_cpu_offset[this CPU]`, found without kallsyms (which may be hidden, or lack data symbols):
/// the address of this CPU's value of a per-CPU array, less the per-CPU pointer that
/// `array_map_alloc()` put in its `struct bpf_array` (`pptrs[0]`, 4.6 and later).
#[inline(always)]
fn per_cpu_distance(state: &mut CpuState) -> Option<u64> {
    if state.per_cpu_distance == 0 {
        let value_address = (&raw const *state).cast();
        let value_address = as_number(state, value_address);
        let array = as_number(state, (&raw const CPU_STATE).cast()) as KernelPointer;
        let per_cpu_pointer = Probed::read::<u64>(array, global!(KERNEL_OFFSETS.bpf_array_pptrs))?;
        state.per_cpu_distance = value_address.wrapping_sub(per_cpu_pointer);
    }
    Some(state.per_cpu_distance)
}

/// A pointer as a plain number: stored and loaded again, the verifier no longer minds arithmetic.
#[inline(always)]
fn as_number(state: &mut CpuState, pointer: KernelPointer) -> u64 {
    let number = &raw mut state.number;
    // SAFETY: a field of a map value of this CPU.
    unsafe {
        number.write_volatile(pointer as u64);
        number.read_volatile()
    }
}

/// Hands a listener from the entry of a call to its return (a kretprobe has no arguments).
#[inline(always)]
pub(crate) fn hand_over(slot: Slot, listener: KernelPointer) {
    if let Some(state) = CPU_STATE.get_ptr_mut(0) {
        // SAFETY: a map value of this CPU; the slot is a constant below the array's length.
        unsafe { (&raw mut (*state).handed_over).cast::<u64>().add(slot as usize).write(listener as u64) };
    }
}

/// Whether a call that handed something over is still under way on this CPU.
#[inline(always)]
pub(crate) fn is_under_way(slot: Slot) -> bool {
    CPU_STATE.get_ptr_mut(0).is_some_and(|state| {
        // SAFETY: a map value of this CPU; the slot is a constant below the array's length.
        unsafe { (&raw const (*state).handed_over).cast::<u64>().add(slot as usize).read() != NO_LISTENER }
    })
}

/// Takes what the entry of this call handed over; `None` when there is nothing.
#[inline(always)]
pub(crate) fn take_over(slot: Slot) -> Option<KernelPointer> {
    let state = CPU_STATE.get_ptr_mut(0)?;
    // SAFETY: a map value of this CPU; the slot is a constant below the array's length.
    let listener =
        unsafe { (&raw mut (*state).handed_over).cast::<u64>().add(slot as usize).replace(NO_LISTENER) };
    (listener != NO_LISTENER).then_some(listener as KernelPointer)
}
