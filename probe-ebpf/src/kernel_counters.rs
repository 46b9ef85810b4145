//! The kernel's own counters on this CPU (`struct linux_mib`), as far as they are about handshakes.
use crate::{
    kernel_read::{KernelPointer, KernelRead, Probed},
    packet::Stage,
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

impl Gained {
    /// Whether a packet was lost.
    #[inline(always)]
    pub(crate) const fn is_drop(&self) -> bool {
        self.drops != 0 || self.overflows != 0
    }
}

impl KernelCounters {
    /// All of them 0, which none is read to be.
    const UNREAD: Self =
        Self { listen: [0; 2], cookies_sent: 0, cookies_checked: [0; 2], syn_queue_full: [0; 2] };

    /// Reads those that a stage can raise, of the CPU whose counters are `here`.
    #[inline(always)]
    pub(crate) fn read(here: KernelPointer, stage: Stage) -> Option<Self> {
        let syncookies = global!(KERNEL_OFFSETS.mib_syncookies_sent);
        let mut counters = Self::UNREAD.with_listen(here)?;
        if stage == Stage::Syn {
            counters.cookies_sent = Probed::read(here, syncookies)?;
            counters.syn_queue_full = Probed::read(here, global!(KERNEL_OFFSETS.mib_syn_queue_full))?;
        } else if stage == Stage::Cookie {
            counters.cookies_checked = Probed::read(here, syncookies + 8)?;
        }
        Some(counters)
    }

    /// The same, with overflows and drops as they are now.
    #[inline(always)]
    pub(crate) fn with_listen(mut self, here: KernelPointer) -> Option<Self> {
        self.listen = Probed::read(here, global!(KERNEL_OFFSETS.mib_listen_overflows))?;
        Some(self)
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
