//! The kernel's own counters on this CPU (`struct linux_mib`), as far as they are about handshakes.
use crate::{
    cast,
    kernel_read::{KernelPointer, KernelRead, Probed},
    settings::global,
};

/// The counters that a stage of the handshake can raise; the others are of another one's end.
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

impl Gained {
    /// Whether a packet was lost.
    #[inline(always)]
    pub(crate) const fn is_drop(&self) -> bool {
        self.drops != 0 || self.overflows != 0
    }
}

/// Bounds what one counter gained by what one packet can raise.
#[inline(always)]
const fn at_most_one(gained: u64, now: u64) -> u64 {
    // A namespace that has the place of another one began at 0: the difference is negative then.
    let gained = if gained > now { now } else { gained };
    if gained > 1 { 1 } else { gained }
}

impl Gained {
    /// What one packet can have raised of it, with the counters as they are now. The rest was counted where no bracket
    /// is, and belongs to nobody.
    #[inline(always)]
    pub(crate) const fn by_one_packet(self, now: &KernelCounters) -> Self {
        Self {
            overflows: at_most_one(self.overflows, now.listen[0]),
            drops: at_most_one(self.drops, now.listen[1]),
            cookies_sent: at_most_one(self.cookies_sent, now.cookies_sent),
            cookies_received: at_most_one(self.cookies_received, now.cookies_checked[0]),
            cookies_failed: at_most_one(self.cookies_failed, now.cookies_checked[1]),
            syn_queue_full_cookies: at_most_one(self.syn_queue_full_cookies, now.syn_queue_full[0]),
            syn_queue_full_drops: at_most_one(self.syn_queue_full_drops, now.syn_queue_full[1]),
        }
    }
}

impl KernelCounters {
    /// Reads overflows and drops, of the CPU whose counters are `here`; false where they cannot be read.
    #[inline(always)]
    pub(crate) fn read_listen(&mut self, here: KernelPointer) -> bool {
        store(&mut self.listen, read_two(here, global!(KERNEL_OFFSETS.mib_listen_overflows)))
    }

    /// Reads what a SYN can raise beside these. `dropped`: it has raised an overflow, and got no cookie then.
    #[inline(always)]
    pub(crate) fn read_flood(&mut self, here: KernelPointer, dropped: bool) -> bool {
        store(&mut self.syn_queue_full, read_two(here, global!(KERNEL_OFFSETS.mib_syn_queue_full)))
            && (dropped
                || store(&mut self.cookies_sent, read(here, global!(KERNEL_OFFSETS.mib_syncookies_sent))))
    }

    /// Reads what a packet for no request can raise beside these.
    #[inline(always)]
    pub(crate) fn read_cookies_checked(&mut self, here: KernelPointer) -> bool {
        store(&mut self.cookies_checked, read_two(here, global!(KERNEL_OFFSETS.mib_syncookies_sent) + 8))
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

#[inline(always)]
fn store<T>(place: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    *place = value;
    true
}

/// Reads one counter.
#[inline(always)]
fn read(here: KernelPointer, offset: u32) -> Option<u64> {
    cast::read(global!(KERNEL_OFFSETS.type_linux_mib), here, offset)
}

/// Reads one counter and its neighbour, which the helper does at once.
#[inline(always)]
fn read_two(here: KernelPointer, offset: u32) -> Option<[u64; 2]> {
    if global!(KERNEL_OFFSETS.type_linux_mib) == 0 {
        return Probed::read(here, offset);
    }
    Some([read(here, offset)?, read(here, offset + 8)?])
}
