//! The `SETTINGS` global: what the user side decided before the programs were loaded.
//!
//! It lies in `.rodata`, which is frozen before loading: the verifier sees
//! constants and removes what is switched off.

/// Refused packets are counted by reading the kernel's own counters of this CPU.
pub const ACCOUNTING_KERNEL_COUNTERS: u32 = 1;
/// Refused packets are counted by evaluating the kernel's conditions again.
pub const ACCOUNTING_CONDITIONS: u32 = 2;

/// A range of kernel addresses: one function's code.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address.
    pub start: u64,
    /// The first address past the end.
    pub end: u64,
}

/// How many functions, or parts of functions, [`Settings::discard_sites`] has room for.
pub const DISCARD_SITES: usize = 8;

/// Decisions of the user side.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Code that raises `sk_drops` for each packet that it frees: `tcp_v4_rcv()`, `tcp_v6_rcv()`,
    /// `tcp_drop_reason()`, `tcp_rcv_state_process()`. Unused entries are zero.
    pub discard_sites: [AddressRange; DISCARD_SITES],
    /// [`ACCOUNTING_KERNEL_COUNTERS`], [`ACCOUNTING_CONDITIONS`] or 0: none.
    pub accounting: u32,
    /// Not 0: last ACKs are counted in a bracket around `tcp_check_req()`, the caller of `tcp_v4_syn_recv_sock()`.
    pub last_ack_from_caller: u32,
    /// Not 0: what became of SYNs and last ACKs is known at the end of the functions that handle them, because the kernel's
    /// counters are known before it.
    pub known_at_end: u32,
    /// Not 0: each SYN cookie that is sent is seen by a hook.
    pub cookies_are_seen: u32,
    /// Not 0: `inet_csk_reqsk_queue_hash_add()` returns nothing and cannot fail (up to 6.0, 6.8, 6.9).
    pub syn_queued_cannot_fail: u32,
    /// Rows of totals that each CPU has in the `HANDSHAKE` map.
    pub rows: u32,
    /// Not 0: how full queues get and how long connections wait in them is noted as well.
    pub queues: u32,
    /// How long the `QUEUED` map is; 0 where connections themselves tell since when they have waited.
    pub queued_sets: u32,
    /// Numbers that CPUs may have: the highest one and one more.
    pub cpus: u32,
    /// Not 0: `bpf_probe_read_kernel()` may be called. Lockdown refuses every program that has the call.
    pub may_probe: u32,
}

impl Settings {
    /// What the object holds before the user side fills it in: nothing is counted.
    pub const UNSET: Self = Self {
        discard_sites: [AddressRange { start: 0, end: 0 }; DISCARD_SITES],
        accounting: 0,
        last_ack_from_caller: 0,
        known_at_end: 0,
        cookies_are_seen: 0,
        syn_queued_cannot_fail: 0,
        rows: 0,
        queues: 0,
        queued_sets: 1,
        cpus: 1,
        may_probe: 1,
    };
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for Settings {}
