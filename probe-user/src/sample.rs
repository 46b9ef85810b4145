//! Raw totals at one instant: everything that was read, nothing that was concluded.
//!
//! A [`Sample`] can be saved as JSON and read again; [`SAMPLE_VERSION`] rises when
//! a field changes its meaning.
use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// The version of [`Sample`]'s JSON form.
pub const SAMPLE_VERSION: u32 = 1;

/// A listening port: network namespace, local address, port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortId {
    /// The inode number of the network namespace, as in `ls -l /proc/PID/ns/net`.
    pub netns: u32,
    /// The listener's own local address; unspecified when it listens on all.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
}

/// Everything that was read at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// [`SAMPLE_VERSION`] of the writer.
    pub version: u32,
    /// Totals of the kernel hooks; `None` where no hook is attached at all.
    pub hooks: Option<HookSample>,
    /// Every network namespace that was found.
    pub namespaces: Vec<NamespaceSample>,
    /// The daemon's own use of the host.
    pub own_cost: OwnCostSample,
    /// What could not be read apart from a single namespace, one line each.
    #[serde(default)]
    pub read_errors: Vec<String>,
}

/// What the BPF maps hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HookSample {
    /// Totals per port since the hooks were attached, read after the sockets.
    #[serde(with = "as_pairs")]
    pub ports: BTreeMap<PortId, HandshakeTotals>,
    /// `closed_listener_drops` per port, read before the sockets and again after them: a port
    /// where a listener was opened or closed in between is left out, because its sockets and this
    /// number do not belong together. Empty unless accounting is by socket drops.
    #[serde(with = "as_pairs")]
    pub closed_listener_drops: BTreeMap<PortId, u64>,
    /// `discarded_segments` per port, read before the sockets: where a count begins. Empty unless
    /// accounting is by socket drops.
    #[serde(default, with = "as_pairs")]
    pub discarded_segments_before: BTreeMap<PortId, u64>,
    /// Totals of the ports that the map has no room for.
    pub other: HandshakeTotals,
    /// Counts that are missing, by the label of `probe_common::loss::Loss`.
    pub losses: BTreeMap<String, u64>,
}

/// Totals of one port, summed over the CPUs: `probe_common::handshake::HandshakeCounters`, whose
/// documentation says where each number comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented in probe_common::handshake::HandshakeCounters")]
pub struct HandshakeTotals {
    pub syn_received: u64,
    pub syn_queued: u64,
    pub established: u64,
    pub last_ack_received: u64,
    pub last_ack_refused: u64,
    pub synack_retransmits: u64,
    pub accept_queue_overflows_syn: u64,
    pub accept_queue_overflows_ack: u64,
    pub listen_drops: u64,
    pub discarded_segments: u64,
    pub listeners_opened: u64,
}

/// One network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespaceSample {
    /// Its inode number.
    pub netns: u32,
    /// Its listening TCP sockets; `None` when they could not be read.
    pub listeners: Option<Vec<ListenerSample>>,
    /// Its TcpExt counters before the sockets were read.
    pub netstat_before: Option<NetstatSample>,
    /// Its TcpExt counters after the sockets were read.
    pub netstat_after: Option<NetstatSample>,
    /// Why something above is missing, in one line.
    pub error: Option<String>,
}

/// The counters of `/proc/PID/net/netstat` that concern listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetstatSample {
    /// `TcpExt: ListenOverflows`.
    pub listen_overflows: u64,
    /// `TcpExt: ListenDrops`.
    pub listen_drops: u64,
}

/// One listening TCP socket, from a `sock_diag` dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSample {
    /// Local address.
    pub address: IpAddr,
    /// Local port.
    pub port: u16,
    /// Finished handshakes that wait for accept(): `idiag_rqueue`, the kernel's `sk_ack_backlog`.
    pub accept_queue_length: u32,
    /// The effective backlog: `idiag_wqueue`, the kernel's `sk_max_ack_backlog`.
    pub accept_queue_limit: u32,
    /// `sk_drops` from `INET_DIAG_SKMEMINFO`. 32 bits in the kernel: wraps.
    pub drops: u32,
    /// Inode of the socket, as in `/proc/PID/fd`.
    pub inode: u32,
}

/// What the daemon itself costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnCostSample {
    /// User and system time of the process: `/proc/self/stat` fields 14 and 15.
    pub cpu_seconds: Option<f64>,
    /// Resident memory: `/proc/self/stat` field 24 times the page size.
    pub resident_bytes: Option<u64>,
    /// Start of the process in seconds since the epoch: field 22 and the boot time.
    pub start_unix_seconds: Option<f64>,
    /// Open file descriptors: the entries of `/proc/self/fd`.
    pub open_descriptors: Option<u64>,
    /// Kernel memory of the BPF maps: the sum of `memlock` in their `/proc/self/fdinfo`.
    pub map_bytes: Option<u64>,
}

/// JSON has no maps with keys that are not strings: a list of pairs instead.
mod as_pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::PortId;

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &BTreeMap<PortId, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<PortId, V>, D::Error> {
        Ok(Vec::<(PortId, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
