//! Raw totals at one instant: everything that was read, nothing that was concluded.
//!
//! A [`Sample`] can be saved as JSON and read again; [`SAMPLE_VERSION`] rises when
//! a field changes its meaning.
mod limits;
mod queue;
mod syn_queue;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use probe_common::handshake::HandshakeCounters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sorted::Sorted;

pub use self::{
    limits::{HostSample, LimitsSample, SoftnetSample},
    queue::{Instants, PeakSample, QueueState, QueueTotals},
    syn_queue::{SynQueueSample, SynQueuesSample},
};

/// The version of [`Sample`]'s JSON form.
pub const SAMPLE_VERSION: u32 = 2;

/// The reason, beside those of `probe_common::loss::Loss`, for events that met a program of ours that was
/// already running on the CPU.
pub const LOSS_PROGRAM_SKIPPED: &str = "program_skipped";

/// A listening port: network namespace, local address, port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PortId {
    /// The inode number of the network namespace, as in `ls -l /proc/PID/ns/net`.
    pub netns: u32,
    /// The listener's own local address; unspecified when it listens on all.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
}

/// As they are shown: by namespace, port and address.
impl Ord for PortId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let by_number = (self.netns, self.port).cmp(&(other.netns, other.port));
        by_number.then_with(|| self.address.cmp(&other.address))
    }
}

impl PartialOrd for PortId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Everything that was read at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// [`SAMPLE_VERSION`] of the writer.
    pub version: u32,
    /// When it was taken.
    #[serde(default)]
    pub taken: Instants,
    /// Totals of the kernel hooks; `None` where no hook is attached at all.
    pub hooks: Option<HookSample>,
    /// Every network namespace that was found.
    pub namespaces: Vec<NamespaceSample>,
    /// The owners of listening sockets by inode number, as far as they are known.
    #[serde(default)]
    pub owners: Sorted<u64, Arc<OwnerSample>>,
    /// The daemon's own use of the host.
    pub own_cost: OwnCostSample,
    /// What holds for the whole host.
    #[serde(default)]
    pub host: HostSample,
    /// What could not be read apart from a single namespace, one line each.
    #[serde(default)]
    pub read_errors: Vec<String>,
}

impl Sample {
    /// The inodes of all sockets that listen; `None` when a namespace could not be read, so that a
    /// socket which is not in the list may listen all the same.
    #[must_use]
    pub fn listening_inodes(&self) -> Option<BTreeSet<u64>> {
        let mut inodes = BTreeSet::new();
        for namespace in &self.namespaces {
            inodes.extend(namespace.listeners.as_ref()?.iter().map(|socket| u64::from(socket.inode)));
        }
        self.read_errors.is_empty().then_some(inodes)
    }
}

/// What the BPF maps hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HookSample {
    /// Totals per port since the hooks were attached, read after the sockets.
    #[serde(with = "as_pairs")]
    pub ports: Sorted<PortId, HandshakeCounters>,
    /// The same, read before the sockets: what happened meanwhile is in one and not in the other.
    #[serde(with = "as_pairs")]
    pub ports_before: Sorted<PortId, HandshakeCounters>,
    /// Totals per socket that has listened since the hooks were attached, as far as they are known
    /// apart, by port and inode number; read with `ports`, which have these in their sums.
    pub sockets: Vec<SocketTotals>,
    /// What is known of the queues of each port, read with `ports`. It is the same piece of memory as that of the port's
    /// socket, if it has but one row, and as that of all others where nothing was noted.
    #[serde(default, with = "as_pairs")]
    pub queues: Sorted<PortId, Arc<QueueSample>>,
    /// Totals of the listeners that there is no row left for.
    pub other: HandshakeCounters,
    /// Totals of the queues of these.
    #[serde(default)]
    pub other_queues: QueueTotals,
    /// Counts that are missing, by the label of `probe_common::loss::Loss`.
    pub losses: BTreeMap<String, u64>,
}

/// Queues of one listener, or of all listeners of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSample {
    /// What only grows.
    pub totals: QueueTotals,
    /// The rest.
    pub state: QueueState,
}

/// Totals of one listening socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketTotals {
    /// Where it listens.
    pub port: PortId,
    /// Its inode number, as in `/proc/PID/fd`.
    pub inode: u64,
    /// What it counted.
    pub counters: HandshakeCounters,
    /// Its queues.
    #[serde(default)]
    pub queues: Arc<QueueSample>,
    /// What listen() was asked for; `None` when the call was not seen.
    #[serde(default)]
    pub backlog_requested: Option<i32>,
    /// The process that called listen(); `None` when that was not seen.
    #[serde(default)]
    pub opened_by: Option<u32>,
}

/// One network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespaceSample {
    /// Its inode number.
    pub netns: u32,
    /// Its cookie, which no other namespace gets before the next boot (`SO_NETNS_COOKIE`); `None` before Linux 5.14.
    #[serde(default)]
    pub cookie: Option<u64>,
    /// Its listening TCP sockets; `None` when they could not be read.
    pub listeners: Option<Vec<ListenerSample>>,
    /// Its TcpExt counters before the sockets were read.
    pub netstat_before: Option<NetstatSample>,
    /// Its TcpExt counters after the sockets were read.
    pub netstat_after: Option<NetstatSample>,
    /// Its sysctls that limit listeners.
    #[serde(default)]
    pub limits: LimitsSample,
    /// Its SYN queues; `None` when they could not be read.
    #[serde(default)]
    pub syn_queues: Option<SynQueuesSample>,
    /// Why something above is missing, in one line.
    pub error: Option<String>,
}

impl NamespaceSample {
    /// Whether the namespace that had the inode number before, with this cookie, was another one; `None` where the kernel does
    /// not tell.
    #[must_use]
    pub fn is_another_than(&self, cookie: Option<u64>) -> Option<bool> {
        Some(self.cookie? != cookie?)
    }
}

/// Declares [`NetstatSample`], so that no list of its fields can forget one.
macro_rules! netstat_sample {
    ($($(#[$documentation:meta])* $field:ident = $name:literal,)+) => {
        /// The counters of `/proc/PID/net/netstat` that concern listeners.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct NetstatSample {
            $($(#[$documentation])* pub $field: u64,)+
        }

        impl NetstatSample {
            /// Asks `counter` for each of them, by the kernel's name.
            ///
            /// # Errors
            /// The first that it gives.
            pub fn try_from_names<E>(
                mut counter: impl FnMut(&'static str) -> Result<u64, E>,
            ) -> Result<Self, E> {
                Ok(Self { $($field: counter($name)?,)+ })
            }
        }
    };
}

netstat_sample! {
    /// `TcpExt: ListenOverflows`.
    listen_overflows = "ListenOverflows",
    /// `TcpExt: ListenDrops`.
    listen_drops = "ListenDrops",
    /// `TcpExt: TCPReqQFullDrop`.
    syn_queue_full_drops = "TCPReqQFullDrop",
    /// `TcpExt: TCPReqQFullDoCookies`.
    syn_queue_full_cookies = "TCPReqQFullDoCookies",
    /// `TcpExt: SyncookiesSent`.
    syncookies_sent = "SyncookiesSent",
    /// `TcpExt: SyncookiesRecv`.
    syncookies_received = "SyncookiesRecv",
    /// `TcpExt: SyncookiesFailed`.
    syncookies_failed = "SyncookiesFailed",
    /// `TcpExt: TCPTimeouts`: timers of connections and of requests in the SYN queue.
    timeouts = "TCPTimeouts",
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

/// The process that a listening socket belongs to. `None` is "there is none, or it cannot be told". The texts
/// are other people's: bounded in length, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OwnerSample {
    /// Its number, as the host sees it.
    pub pid: u32,
    /// Its name: `/proc/PID/comm`.
    pub process: String,
    /// The notable part of `/proc/PID/cmdline`: the main class or jar file of a JVM, the script of an
    /// interpreter, else the program. No other argument is in it.
    pub command: Option<String>,
    /// The application server or framework: `tomcat`, `spring-boot`, `jetty`, `wildfly` or `quarkus`.
    pub application: Option<String>,
    /// The systemd unit, by its control group: `/proc/PID/cgroup`.
    pub unit: Option<String>,
    /// The id of the container, or an LXC container's name, by its control group.
    pub container: Option<String>,
    /// The uid of the Kubernetes pod, by its control group.
    pub pod: Option<String>,
    /// The name of its effective user in `/etc/passwd`, else the number.
    pub user: Option<String>,
}

impl ListenerSample {
    /// The port that it listens on, in the network namespace that it is in.
    #[must_use]
    pub const fn port_in(&self, netns: u32) -> PortId {
        PortId { netns, address: self.address, port: self.port }
    }
}

/// What the daemon itself costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Rows of totals that listeners have, and how many there are; `None` without hooks.
    #[serde(default)]
    pub listener_rows: Option<(u64, u64)>,
}

/// JSON has no maps with keys that are not strings: a list of pairs instead.
mod as_pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::PortId;
    use crate::sorted::Sorted;

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &Sorted<PortId, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Sorted<PortId, V>, D::Error> {
        Ok(Vec::<(PortId, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
