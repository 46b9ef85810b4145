//! The maps that every hook writes.
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, Stack},
};
use probe_common::{
    handshake::{HandshakeCounters, PortKey},
    listener::{ListenerIdentity, ListenerSlot},
    loss::Loss,
};

/// Totals per row and CPU. The user side sets the number of rows by the number of CPUs, so that the
/// memory stays within its budget; the maps below that are about rows have as many entries.
#[map]
pub(crate) static HANDSHAKE: PerCpuArray<HandshakeCounters> = PerCpuArray::with_max_entries(1024, 0);

/// Whose each row is.
#[map]
pub(crate) static LISTENER_ROWS: Array<ListenerIdentity> = Array::with_max_entries(1024, 0);

/// From the address of a listener's `struct sock` to its row.
/// Preallocated: a tracing program must not allocate (it warns in kernels before 6.1).
#[map]
pub(crate) static LISTENERS: HashMap<u64, ListenerSlot> = HashMap::with_max_entries(1024, 0);

/// From a port to a row that stands for all its listeners, where a hook sees only the port.
#[map]
pub(crate) static PORT_ROWS: HashMap<PortKey, ListenerSlot> = HashMap::with_max_entries(1024, 0);

/// Rows that are nobody's. The user side fills it, the lowest on top: rows in use stay close together.
#[map]
pub(crate) static FREE_ROWS: Stack<u32> = Stack::with_max_entries(1024, 0);

/// How many rows were ever taken: with it the user side knows how far it has to look.
#[map]
pub(crate) static ROWS_TAKEN: Array<u64> = Array::with_max_entries(1, 0);

/// Counts that are missing, by [`Loss`].
#[map]
pub(crate) static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::COUNT, 0);
