//! What each CPU is in the middle of.
use aya_ebpf::{
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_jiffies64, bpf_map_lookup_percpu_elem},
    },
    macros::map,
    maps::PerCpuArray,
};

use crate::{
    kernel_read::{KernelPointer, KernelRead, Probed},
    seen::Seen,
    settings::global,
};

/// What this CPU is in the middle of.
#[repr(C)]
pub(crate) struct CpuState {
    /// The listener of the open bracket; [`NO_LISTENER`] or [`NOT_A_HANDSHAKE`] else.
    pub(crate) listener: u64,
    /// The packet in the bracket.
    pub(crate) skb: u64,
    /// The request that it is for; 0 where there is none.
    pub(crate) request: u64,
    /// The connection that it belongs to, where the packet may be gone at the end; 0 when unknown.
    pub(crate) fingerprint: u64,
    /// Where the kernel's counters for the packet are: this CPU's `struct linux_mib` of the listener's network namespace.
    pub(crate) counters_here: u64,
    /// The row of the listener's totals.
    pub(crate) row: u32,
    /// Whether the SYN in the bracket was answered, an [`Answered`].
    pub(crate) answered: u32,
    /// Not 0: the SYN in the bracket met the rule that keeps a reserve of `tcp_max_syn_backlog`.
    pub(crate) reserve_kept: u32,
    /// Not 0: the IPv6 function that is under way only calls its IPv4 twin. Of a kprobe, whose kretprobe has no packet.
    pub(crate) passed_on: u32,
    /// Not 0: a child was asked for in the bracket and not made, which may have been counted.
    pub(crate) child_refused: u32,
    /// The call of `tcp_v4_syn_recv_sock()` that a kprobe saw begin, an [`Asked`]; 0 for none.
    pub(crate) asked: u32,
    /// The connection that is being put into an accept queue.
    pub(crate) entering: Entering,
    /// The one that was put there last in the bracket, and counted; 0 for none.
    pub(crate) entered: u64,
    /// The kernel's counters as they were last.
    pub(crate) seen: Seen,
    /// Listeners that were looked up, by a hash of their address: only where to look.
    pub(crate) hints: [[Hint; 2]; HINTS],
    /// When this CPU last asked for the time, in a softirq.
    clock: Clock,
    /// Where this CPU's rows begin, and one more; 0 until it is known.
    pub(crate) rows_behind: u32,
    padding: u32,
    /// Distance from a per-CPU pointer to this CPU's copy; 0 until it is known.
    pub(crate) per_cpu_distance: u64,
    /// The child that joins an MPTCP connection, and comes into no queue; 0 for none. Not beside `entered`: what is set to zero
    /// at once, and is sixteen bytes long, the compiler makes a call of.
    pub(crate) joins: u64,
    /// For turning a pointer into a number: the verifier forgets what it was.
    number: u64,
    /// The same for the address of this state and of the map that it is in, which never change.
    own_addresses: [u64; 2],
    /// What the entry of a call handed to its return: one slot per function.
    handed_over: [u64; 2],
}

/// Twice as many listeners have rows that a CPU finds without the `LISTENERS` map, if no three want the same place. Eight bytes
/// each; looking a row up in the map takes 115 to 195 instructions, and then the kernel's counters are looked at as well.
pub(crate) const HINTS: usize = 512;

/// What a CPU remembers of a listener.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Hint {
    /// Its row.
    pub(crate) row: u32,
    /// Its `sk_drops` when this CPU had last seen to it that all drops here are counted.
    pub(crate) drops: u32,
}

/// The time, and the tick of the kernel in which it was that.
#[repr(C)]
struct Clock {
    tick: u64,
    now: u64,
}

impl CpuState {
    /// Forgets what was noted of a packet that is done with.
    #[inline(always)]
    pub(crate) const fn forget_packet(&mut self) {
        self.answered = Answered::No as u32;
        self.entered = 0;
        self.joins = 0;
        self.child_refused = 0;
        self.reserve_kept = 0;
    }

    /// `bpf_ktime_get_ns()` as it was a tick of the kernel ago at most (1 to 10 ms), in a softirq. To ask takes some sixty
    /// instructions, and is done once in each tick.
    #[inline(always)]
    pub(crate) fn now_to_a_tick(&mut self) -> u64 {
        // SAFETY: no argument, no effect but the answer.
        let tick = unsafe { bpf_jiffies64() };
        if self.clock.tick != tick {
            // SAFETY: as above.
            let now = unsafe { bpf_ktime_get_ns() };
            self.clock = Clock { tick, now };
        }
        self.clock.now
    }
}

/// How a SYN was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Not at all, as far as the hooks know.
    No = 0,
    /// It was put in the SYN queue, or made a child (TCP Fast Open).
    Queued = 1,
    /// By a cookie. Noted only where the kernel's own counter is not read.
    ByCookie = 2,
}

/// The place of what lies at an address, of a number of places that is a power of two. The highest bits of the product
/// depend on all others; the lowest of an address are the same everywhere.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only the highest bits are left, which are a place")]
pub(crate) const fn place_among<const PLACES: usize>(address: u64) -> usize {
    let product = address.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - PLACES.trailing_zeros())) as usize & (PLACES - 1)
}

/// A call that asks for a child socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// For a queued request: it has a bracket of its own.
    ByRequest = 1,
    /// Within the bracket of a SYN (TCP Fast Open) or of a cookie.
    WithinBracket = 2,
}

/// A connection that is being put into an accept queue.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entering {
    /// The listener.
    pub(crate) listener: u64,
    /// The child; 0 for none.
    pub(crate) child: u64,
    /// The row of the listener's totals.
    pub(crate) row: u32,
    /// The child's `skc_hash`.
    pub(crate) hash: u32,
    /// Not 0: it is made of a SYN (TCP Fast Open), which is answered once it is there.
    pub(crate) answers_syn: u64,
}

/// No bracket is open.
pub(crate) const NO_LISTENER: u64 = 0;
/// A bracket is open around a call that no listener is concerned with.
pub(crate) const NOT_A_HANDSHAKE: u64 = 1;

/// Nothing was handed over.
const NOTHING: u64 = 0;

/// A slot of [`CpuState::handed_over`].
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    /// `reqsk_timer_handler()`: the listener
    ExpiringListener = 0,
    /// `reqsk_timer_handler()`: the timer
    ExpiringTimer = 1,
}

#[map]
static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state.
#[inline(always)]
pub(crate) fn cpu_state() -> Option<&'static mut CpuState> {
    let state = CPU_STATE.get_ptr_mut(0)?;
    // SAFETY: a map value of this CPU, checked by the verifier. Programs have it one after the other: those that write more
    // of it than a number to look at again run with bottom halves off.
    Some(unsafe { &mut *state })
}

/// A pointer as a plain number: stored and loaded again, the verifier no longer minds arithmetic. Exact in softirqs only:
/// elsewhere one could come in between.
#[inline(always)]
pub(crate) fn as_number(state: &mut CpuState, pointer: KernelPointer) -> u64 {
    number_in(&raw mut state.number, pointer)
}

#[inline(always)]
fn number_in(place: *mut u64, pointer: KernelPointer) -> u64 {
    // SAFETY: a field of a map value.
    unsafe {
        place.write_volatile(pointer as u64);
        place.read_volatile()
    }
}

/// The state of a CPU by its number; `None` where there is none of that number, or the kernel cannot tell (before 5.19).
///
/// It may be in use there: see who calls this.
#[inline(always)]
pub(crate) fn state_of(cpu: u32) -> Option<&'static mut CpuState> {
    let map = (&raw const CPU_STATE).cast_mut().cast();
    let index = 0_u32;
    // SAFETY: the map, a key of its and a number that the kernel checks.
    let state = unsafe { bpf_map_lookup_percpu_elem(map, (&raw const index).cast(), cpu) };
    // SAFETY: null, or a value of the map.
    unsafe { state.cast::<CpuState>().as_mut() }
}

/// `__per_cpu_offset[the state's CPU]`, found without kallsyms (which may be hidden, or lack data symbols):
/// the address of that CPU's value of a per-CPU array, less the per-CPU pointer that
/// `array_map_alloc()` put in its `struct bpf_array` (`pptrs[0]`, 4.6 and later). Whoever comes in between does the same.
#[inline(always)]
pub(crate) fn per_cpu_distance(state: &mut CpuState) -> Option<u64> {
    if state.per_cpu_distance == 0 {
        let state_itself = (&raw const *state).cast();
        let [own, map] = &mut state.own_addresses;
        let value_address = number_in(own, state_itself);
        let array = number_in(map, (&raw const CPU_STATE).cast()) as KernelPointer;
        let per_cpu_pointer = Probed::read::<u64>(array, global!(KERNEL_OFFSETS.bpf_array_pptrs))?;
        state.per_cpu_distance = value_address.wrapping_sub(per_cpu_pointer);
    }
    Some(state.per_cpu_distance)
}

/// Hands something from the entry of a call to its return (a kretprobe has no arguments).
#[inline(always)]
pub(crate) fn hand_over(slot: Slot, pointer: KernelPointer) {
    if let Some(state) = cpu_state() {
        // SAFETY: a map value of this CPU; the slot is a constant below the array's length.
        unsafe { (&raw mut state.handed_over).cast::<u64>().add(slot as usize).write(pointer as u64) };
    }
}

/// Takes what the entry of this call handed over; `None` when there is nothing.
#[inline(always)]
pub(crate) fn take_over(slot: Slot) -> Option<KernelPointer> {
    let state = cpu_state()?;
    // SAFETY: a map value of this CPU; the slot is a constant below the array's length.
    let pointer = unsafe { (&raw mut state.handed_over).cast::<u64>().add(slot as usize).replace(NOTHING) };
    (pointer != NOTHING).then_some(pointer as KernelPointer)
}
