//! The kernel's own counters on this CPU (`struct linux_mib`), as far as they are about handshakes.
use crate::{
    bracket::{End, Suspicion},
    cast,
    kernel_read::{KernelPointer, KernelRead, Probed},
    packet::Stage,
    settings::global,
};

/// The counters that a stage of the handshake can raise; the others are of another one's end.
#[repr(C)]
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

    /// Whether a SYN was answered by a cookie.
    #[inline(always)]
    const fn is_cookie(&self) -> bool {
        self.cookies_sent != 0
    }

    /// How the packet ended that they gained it by.
    #[inline(always)]
    pub(crate) const fn end(&self) -> End {
        if self.is_drop() {
            End::Dropped
        } else if self.is_cookie() {
            End::Cookie
        } else {
            End::Well
        }
    }
}

impl Gained {
    /// What one packet can have raised of it. The rest was counted where no bracket is, and belongs to nobody.
    #[inline(always)]
    pub(crate) const fn by_one_packet(self) -> Self {
        Self {
            overflows: at_most_one(self.overflows),
            drops: at_most_one(self.drops),
            cookies_sent: at_most_one(self.cookies_sent),
            cookies_received: at_most_one(self.cookies_received),
            cookies_failed: at_most_one(self.cookies_failed),
            syn_queue_full_cookies: at_most_one(self.syn_queue_full_cookies),
            syn_queue_full_drops: at_most_one(self.syn_queue_full_drops),
        }
    }
}

#[inline(always)]
const fn at_most_one(gained: u64) -> u64 {
    (gained != 0) as u64
}

impl KernelCounters {
    /// Reads overflows and drops, of the CPU whose counters are `here`; false where they cannot be read.
    #[inline(always)]
    pub(crate) fn read_listen(&mut self, here: KernelPointer) -> bool {
        store(&mut self.listen, read_two(here, global!(KERNEL_OFFSETS.mib_listen_overflows)))
    }

    /// Reads what a SYN can raise beside these.
    #[inline(always)]
    pub(crate) fn read_flood(&mut self, here: KernelPointer) -> bool {
        self.read_cookies_sent(here) && self.read_syn_queue_full(here)
    }

    #[inline(always)]
    fn read_cookies_sent(&mut self, here: KernelPointer) -> bool {
        store(&mut self.cookies_sent, read(here, global!(KERNEL_OFFSETS.mib_syncookies_sent)))
    }

    #[inline(always)]
    fn read_syn_queue_full(&mut self, here: KernelPointer) -> bool {
        store(&mut self.syn_queue_full, read_two(here, global!(KERNEL_OFFSETS.mib_syn_queue_full)))
    }

    /// Reads what a packet for no request can raise beside these.
    #[inline(always)]
    pub(crate) fn read_cookies_checked(&mut self, here: KernelPointer) -> bool {
        store(&mut self.cookies_checked, read_two(here, global!(KERNEL_OFFSETS.mib_syncookies_sent) + 8))
    }

    /// What a packet of this stage raised since they were read last; `None` where they cannot be read.
    #[inline(always)]
    pub(crate) fn gained(
        &mut self,
        here: KernelPointer,
        stage: Stage,
        suspicion: Suspicion,
    ) -> Option<Gained> {
        let mut gained = self.lost(here)?;
        match stage {
            Stage::Syn if suspicion == Suspicion::Any => self.add_flood(here, &mut gained)?,
            Stage::Cookie => {
                let [received, failed] = read_two(here, global!(KERNEL_OFFSETS.mib_syncookies_sent) + 8)?;
                gained.cookies_received = since(&mut self.cookies_checked[0], received);
                gained.cookies_failed = since(&mut self.cookies_checked[1], failed);
            }
            Stage::Syn | Stage::LastAck | Stage::RequestError => {}
        }
        Some(gained)
    }

    /// What overflows is dropped as well: mostly drops tell that nothing was lost.
    #[inline(always)]
    fn lost(&mut self, here: KernelPointer) -> Option<Gained> {
        let offset = global!(KERNEL_OFFSETS.mib_listen_overflows);
        let [overflows, drops] = if looks_are_calls() {
            read_two(here, offset)?
        } else {
            let drops = read(here, offset + 8)?;
            if drops == self.listen[1] {
                return Some(Gained::default());
            }
            [read(here, offset)?, drops]
        };
        Some(Gained {
            overflows: since(&mut self.listen[0], overflows),
            drops: since(&mut self.listen[1], drops),
            ..Gained::default()
        })
    }

    /// Where the accept queue was full a SYN got no cookie; and one that found the SYN queue full was dropped or got one.
    #[inline(always)]
    fn add_flood(&mut self, here: KernelPointer, gained: &mut Gained) -> Option<()> {
        if gained.overflows == 0 {
            let sent = read(here, global!(KERNEL_OFFSETS.mib_syncookies_sent))?;
            gained.cookies_sent = since(&mut self.cookies_sent, sent);
        }
        if gained.is_drop() || gained.is_cookie() {
            let [cookies, dropped] = read_two(here, global!(KERNEL_OFFSETS.mib_syn_queue_full))?;
            gained.syn_queue_full_cookies = since(&mut self.syn_queue_full[0], cookies);
            gained.syn_queue_full_drops = since(&mut self.syn_queue_full[1], dropped);
        }
        Some(())
    }
}

/// What a counter gained since it was `before`, which is what it is `now` from here on.
#[inline(always)]
const fn since(before: &mut u64, now: u64) -> u64 {
    now.wrapping_sub(core::mem::replace(before, now))
}

#[inline(always)]
fn store<T>(place: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    *place = value;
    true
}

/// Whether nothing can be cast, and each look takes a call: as much as there is is read at once then.
#[inline(always)]
fn looks_are_calls() -> bool {
    global!(KERNEL_OFFSETS.type_linux_mib) == 0
}

/// Reads one counter.
#[inline(always)]
fn read(here: KernelPointer, offset: u32) -> Option<u64> {
    cast::read(global!(KERNEL_OFFSETS.type_linux_mib), here, offset)
}

/// Reads one counter and its neighbour, which the helper does at once.
#[inline(always)]
fn read_two(here: KernelPointer, offset: u32) -> Option<[u64; 2]> {
    if looks_are_calls() {
        return Probed::read(here, offset);
    }
    Some([read(here, offset)?, read(here, offset + 8)?])
}
