//! What the kernel was told to allow: sysctls, and the counters of the queue before all sockets.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares [`LimitsSample`], so that no list of its fields can forget one.
macro_rules! limits_sample {
    ($($(#[$documentation:meta])* $field:ident = $name:literal,)+) => {
        /// The sysctls of a network namespace that limit its listeners; `None` where the kernel has none of
        /// that name, or hides it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct LimitsSample {
            $($(#[$documentation])* pub $field: Option<u64>,)+
        }

        impl LimitsSample {
            /// Asks `value` for each of them, by its sysctl's name.
            #[must_use]
            pub fn from_names(mut value: impl FnMut(&'static str) -> Option<u64>) -> Self {
                Self { $($field: value($name),)+ }
            }
        }
    };
}

limits_sample! {
    /// What listen(2) cuts the backlog to, as `__sys_listen()` of net/socket.c does. Hidden in network
    /// namespaces of other user namespaces.
    somaxconn = "net.core.somaxconn",
    /// With SYN cookies off, three quarters of it are for clients that were never here: `tcp_conn_request()`.
    tcp_max_syn_backlog = "net.ipv4.tcp_max_syn_backlog",
    /// 0 never sends SYN cookies, 1 when the SYN queue is full, 2 always.
    tcp_syncookies = "net.ipv4.tcp_syncookies",
    /// 1 answers a last ACK that meets a full accept queue with a reset: `tcp_check_req()`.
    tcp_abort_on_overflow = "net.ipv4.tcp_abort_on_overflow",
    /// How often a SYN-ACK is sent again before its request expires: `reqsk_timer_handler()`.
    tcp_synack_retries = "net.ipv4.tcp_synack_retries",
    /// 1 moves connections of a closed listener to another one of its port (Linux 5.14).
    tcp_migrate_req = "net.ipv4.tcp_migrate_req",
}

/// What holds for the whole host, whichever the network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSample {
    /// The network namespace that the daemon runs in, by its inode number.
    pub own_netns: Option<u32>,
    /// `net.core.netdev_max_backlog`: how many packets wait per CPU for the network stack. Only the initial
    /// network namespace shows it.
    pub netdev_max_backlog: Option<u64>,
    /// `/proc/net/softnet_stat`, by CPU; `None` when it cannot be read.
    pub softnet: Option<Vec<SoftnetSample>>,
    /// Processes whose network namespace may not be read: one of theirs may be missing.
    #[serde(default)]
    pub hidden_processes: usize,
    /// Every network namespace was found that has a process or a bind mount: one that is missing has ended.
    #[serde(default)]
    pub all_namespaces_found: bool,
}

/// What one CPU's network softirq has counted since boot: `struct softnet_data`. Each is 32 bits in the
/// kernel: wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftnetSample {
    /// The CPU's number.
    pub cpu: u32,
    /// Packets taken off the CPU's backlog or off a device.
    pub processed: u32,
    /// Packets dropped because the CPU's backlog was longer than `netdev_max_backlog`.
    pub dropped: u32,
    /// Runs that ended with work left, by `netdev_budget` or its time.
    pub time_squeeze: u32,
}
