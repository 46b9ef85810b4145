//! Listeners: which socket each row of totals belongs to.
//!
//! A listener's totals are a row of the `HANDSHAKE` map. The `LISTENERS` map leads from the address
//! of its `struct sock` to the row, and `LISTENER_ROWS` says whose the row is. The address alone
//! names nobody: the kernel gives the memory of a closed socket to the next one. So a socket that
//! begins to listen gets a row of its own, and its predecessor's row is left to the user side, which
//! keeps the totals and hands the row out again through `FREE_ROWS`.
use crate::handshake::PortKey;

/// The row of all listeners that there is no row left for.
pub const OTHER_ROW: u32 = 0;

/// The value of the `LISTENERS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerSlot {
    /// The row of `HANDSHAKE` and of `LISTENER_ROWS`.
    pub row: u32,
    /// `skc_num` of the listener when it got the row: if the socket has another by now, its memory
    /// has become another listener, whose opening was missed.
    pub port: u16,
    /// Unused; keeps the size a multiple of four.
    pub reserved: u16,
}

/// Whose a row is; the value of the `LISTENER_ROWS` map. All zero: nobody's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize))]
pub struct ListenerIdentity {
    /// The address of the `struct sock`; 0 for a row that stands for all listeners of its port.
    pub socket: u64,
    /// The inode number of the socket, as in `/proc/PID/fd`; 0 when it is not known.
    pub inode: u64,
    /// `bpf_ktime_get_ns()` when it began to listen; 0 when it did before the hooks were attached,
    /// or unseen.
    pub opened_at: u64,
    /// `bpf_ktime_get_ns()` when it was closed, or was seen to be; 0 while it listens.
    pub closed_at: u64,
    /// What listen() was asked for, see [`Self::backlog_requested`]; 0 when it is not known.
    pub backlog: u64,
    /// The process (thread group) that called listen(); 0 when it is not known.
    pub opened_by: u64,
    /// Where it listens.
    pub port: PortKey,
}

/// Set in [`ListenerIdentity::backlog`] where the lower half is a number that was seen.
const BACKLOG_KNOWN: u64 = 1 << 32;

impl ListenerIdentity {
    /// Whether the row is anybody's.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.port.family != 0
    }

    /// The backlog that listen() was asked for, before `net.core.somaxconn` was looked at; `None` when the
    /// call was not seen.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
    pub const fn backlog_requested(&self) -> Option<i32> {
        if self.backlog & BACKLOG_KNOWN == 0 { None } else { Some((self.backlog as u32).cast_signed()) }
    }

    /// The form in which a backlog is kept: one word, which is written at once.
    #[must_use]
    pub const fn known_backlog(requested: i32) -> u64 {
        BACKLOG_KNOWN | requested.cast_unsigned() as u64
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for ListenerSlot {}
#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for ListenerIdentity {}
