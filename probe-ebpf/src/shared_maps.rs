//! The maps that every hook writes.
use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap},
};
use probe_common::{
    handshake::{HandshakeCounters, PortKey},
    loss::Loss,
};

/// Totals per port and CPU. The user side sets the number of entries by the number of CPUs, so that
/// the memory stays within its budget. Entries are never deleted: totals survive the listener.
/// Preallocated: a tracing program must not allocate (it warns in kernels before 6.1).
#[map]
pub(crate) static HANDSHAKE: PerCpuHashMap<PortKey, HandshakeCounters> =
    PerCpuHashMap::with_max_entries(1024, 0);

/// Totals of the ports that [`HANDSHAKE`] has no room for.
#[map]
pub(crate) static HANDSHAKE_OTHER: PerCpuArray<HandshakeCounters> = PerCpuArray::with_max_entries(1, 0);

/// Counts that are missing, by [`Loss`].
#[map]
pub(crate) static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::COUNT, 0);
