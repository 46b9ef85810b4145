//! The kernel's own counters on this CPU (`struct linux_mib`), as far as they are about handshakes.
use crate::{
    bracket::Stage,
    cpu_state::{CpuState, as_number, map_address},
    kernel_read::{KernelPointer, KernelRead, Probed},
    settings::global,
};

/// The counters that a stage of the handshake can raise; the others are 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelCounters {
    /// `LINUX_MIB_LISTENOVERFLOWS` and its neighbour `LINUX_MIB_LISTENDROPS`.
    listen: [u64; 2],
    /// `LINUX_MIB_SYNCOOKIESSENT`.
    cookies_sent: u64,
    /// `LINUX_MIB_SYNCOOKIESRECV` and its neighbour `LINUX_MIB_SYNCOOKIESFAILED`.
    cookies_checked: [u64; 2],
    /// `LINUX_MIB_TCPREQQFULLDOCOOKIES` and its neighbour `LINUX_MIB_TCPREQQFULLDROP`.
    syn_queue_full: [u64; 2],
}

/// What they gained.
#[derive(Default)]
pub(crate) struct Gained {
    pub(crate) overflows: u64,
    pub(crate) drops: u64,
    pub(crate) cookies_sent: u64,
    pub(crate) cookies_received: u64,
    pub(crate) cookies_failed: u64,
    pub(crate) syn_queue_full_cookies: u64,
    pub(crate) syn_queue_full_drops: u64,
}

impl KernelCounters {
    /// Reads this CPU's counters of the listener's network namespace.
    #[inline(always)]
    pub(crate) fn read<R: KernelRead>(
        state: &mut CpuState,
        stage: Stage,
        listener: KernelPointer,
    ) -> Option<Self> {
        let net = R::read::<KernelPointer>(listener, global!(KERNEL_OFFSETS.sock_net))?;
        let statistics = R::read::<KernelPointer>(net, global!(KERNEL_OFFSETS.net_statistics))?;
        let statistics = as_number(state, statistics);
        let here = statistics.wrapping_add(per_cpu_distance(state)?) as KernelPointer;
        let syncookies = global!(KERNEL_OFFSETS.mib_syncookies_sent);
        let mut counters = Self {
            listen: Probed::read(here, global!(KERNEL_OFFSETS.mib_listen_overflows))?,
            cookies_sent: 0,
            cookies_checked: [0; 2],
            syn_queue_full: [0; 2],
        };
        if stage == Stage::Syn {
            counters.cookies_sent = Probed::read(here, syncookies)?;
            counters.syn_queue_full = Probed::read(here, global!(KERNEL_OFFSETS.mib_syn_queue_full))?;
        } else if stage == Stage::Cookie {
            counters.cookies_checked = Probed::read(here, syncookies + 8)?;
        }
        Some(counters)
    }

    /// What was gained since `before`.
    #[inline(always)]
    pub(crate) const fn since(&self, before: &Self) -> Gained {
        Gained {
            overflows: self.listen[0].wrapping_sub(before.listen[0]),
            drops: self.listen[1].wrapping_sub(before.listen[1]),
            cookies_sent: self.cookies_sent.wrapping_sub(before.cookies_sent),
            cookies_received: self.cookies_checked[0].wrapping_sub(before.cookies_checked[0]),
            cookies_failed: self.cookies_checked[1].wrapping_sub(before.cookies_checked[1]),
            syn_queue_full_cookies: self.syn_queue_full[0].wrapping_sub(before.syn_queue_full[0]),
            syn_queue_full_drops: self.syn_queue_full[1].wrapping_sub(before.syn_queue_full[1]),
        }
    }
}

/// `__per_cpu_offset[this CPU]`, found without kallsyms (which may be hidden, or lack data symbols):
/// the address of this CPU's value of a per-CPU array, less the per-CPU pointer that
/// `array_map_alloc()` put in its `struct bpf_array` (`pptrs[0]`, 4.6 and later).
#[inline(always)]
fn per_cpu_distance(state: &mut CpuState) -> Option<u64> {
    if state.per_cpu_distance == 0 {
        let value_address = (&raw const *state).cast();
        let value_address = as_number(state, value_address);
        let array = as_number(state, map_address()) as KernelPointer;
        let per_cpu_pointer = Probed::read::<u64>(array, global!(KERNEL_OFFSETS.bpf_array_pptrs))?;
        state.per_cpu_distance = value_address.wrapping_sub(per_cpu_pointer);
    }
    Some(state.per_cpu_distance)
}
