//! Requests that are given up: every SYN-ACK was sent in vain.
use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    count::add_in_softirq,
    cpu_state::{Slot, as_number, cpu_state, hand_over, take_over},
    kernel_read::{KernelPointer, KernelRead, Probed, TCP_LISTEN, state},
    rows::counters_of,
    settings::global,
};

/// The timer of a queued request fires.
///
/// `void reqsk_timer_handler(struct timer_list *t)`: unchanged from 5.4 to 7.3. It sends the SYN-ACK again
/// and starts the timer anew, or else it drops the request. A request whose listener does not listen
/// any more is not given up but orphaned, and maybe moved to another listener.
#[inline(always)]
fn timer_fires(timer: KernelPointer) {
    let Some(state_of_cpu) = cpu_state() else { return };
    let timer = as_number(state_of_cpu, timer);
    let request = timer.wrapping_sub(u64::from(global!(KERNEL_OFFSETS.request_timer))) as KernelPointer;
    let listener = Probed::read::<KernelPointer>(request, global!(KERNEL_OFFSETS.request_listener));
    if let Some(listener) = listener
        && state::<Probed>(listener) == Some(TCP_LISTEN)
    {
        hand_over(Slot::ExpiringListener, listener);
        hand_over(Slot::ExpiringTimer, timer as KernelPointer);
    }
}

/// It has fired. The request may be free by now, but its memory is not another's before this softirq
/// is over: the slab's free list is this CPU's.
#[inline(always)]
fn timer_fired() {
    let (Some(listener), Some(timer)) = (take_over(Slot::ExpiringListener), take_over(Slot::ExpiringTimer))
    else {
        return;
    };
    let pending = Probed::read::<u64>(timer, global!(KERNEL_OFFSETS.timer_is_pending));
    if pending == Some(0)
        && let Some(counters) = counters_of::<Probed>(listener)
    {
        add_in_softirq!(counters, requests_expired, 1);
    }
}

#[fentry(function = "reqsk_timer_handler")]
fn fentry_reqsk_timer_handler(ctx: FEntryContext) -> i32 {
    timer_fires(ctx.arg(0));
    0
}

#[fexit(function = "reqsk_timer_handler")]
fn fexit_reqsk_timer_handler(_ctx: FExitContext) -> i32 {
    timer_fired();
    0
}

#[kprobe(function = "reqsk_timer_handler")]
fn kprobe_reqsk_timer_handler(ctx: ProbeContext) -> u32 {
    if let Some(timer) = ctx.arg(0) {
        timer_fires(timer);
    }
    0
}

#[kretprobe(function = "reqsk_timer_handler")]
fn kretprobe_reqsk_timer_handler(_ctx: RetProbeContext) -> u32 {
    timer_fired();
    0
}
