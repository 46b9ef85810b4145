//! The maps that every hook writes.
//!
//! What the user side reads regularly can be mapped into its memory (`BPF_F_MMAPABLE`, 5.5). That is not
//! for speed alone: while bpf(2) looks a value up, the kernel leaves out the programs of kprobes on that CPU
//! (`bpf_disable_instrumentation()`), and a packet that comes in then would not be counted.
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, Stack},
};
use probe_common::{
    accept_queue::{AcceptQueueCounters, AcceptedCounters, ListenCall, QueuedSet},
    handshake::{HandshakeCounters, PortKey},
    listener::{ListenerIdentity, ListenerSlot},
    loss::Loss,
};

/// `BPF_F_MMAPABLE` of `linux/bpf.h`.
const MAPPABLE: u32 = 1 << 10;

/// Totals per CPU and row: all rows of the first CPU, then all of the second. The user side sets the
/// number of rows by the number of CPUs, so that the memory stays within its budget; the maps below
/// that are about rows have an entry for each.
#[map]
pub(crate) static HANDSHAKE: Array<HandshakeCounters> = Array::with_max_entries(1024, MAPPABLE);

/// What is noted of queues per CPU and row, in the same order.
#[map]
pub(crate) static ACCEPT_QUEUE: Array<AcceptQueueCounters> = Array::with_max_entries(1024, MAPPABLE);

/// What is noted at accept(), per row.
#[map]
pub(crate) static ACCEPTED: Array<AcceptedCounters> = Array::with_max_entries(1024, MAPPABLE);

/// When each connection in an accept queue came there, in sets by its `skc_hash`: a hash table of our own, because
/// what the kernel's costs for each connection is a third of all the rest. The user side may set another size.
#[map]
pub(crate) static QUEUED: Array<QueuedSet> = Array::with_max_entries(1024, 0);

/// What threads ask listen() for, by `bpf_get_current_pid_tgid()`. A call that comes to nothing leaves its
/// entry behind: the oldest make room.
#[map]
pub(crate) static LISTEN_CALLS: LruHashMap<u64, ListenCall> = LruHashMap::with_max_entries(1024, 0);

/// Whose each row is.
#[map]
pub(crate) static LISTENER_ROWS: Array<ListenerIdentity> = Array::with_max_entries(1024, MAPPABLE);

/// From the address of a listener's `struct sock` to its row.
/// Preallocated: a tracing program must not allocate (it warns in kernels before 6.1).
#[map]
pub(crate) static LISTENERS: HashMap<u64, ListenerSlot> = HashMap::with_max_entries(1024, 0);

/// From a port to a row that stands for all its listeners, where a hook sees only the port.
#[map]
pub(crate) static PORT_ROWS: HashMap<PortKey, ListenerSlot> = HashMap::with_max_entries(1024, 0);

/// Rows that are nobody's. The user side fills it, step by step.
#[map]
pub(crate) static FREE_ROWS: Stack<u32> = Stack::with_max_entries(1024, 0);

/// Counts that are missing, by [`Loss`].
#[map]
pub(crate) static LOSSES: Array<u64> = Array::with_max_entries(Loss::COUNT, MAPPABLE);
