//! What every scenario stands on: a private network, sockets in it, the kernel's own
//! counters, the daemon and its metrics.
pub(crate) mod daemon;
pub(crate) mod half_open;
pub(crate) mod io_uring;
pub(crate) mod kernel_counters;
pub(crate) mod metrics;
pub(crate) mod multipath;
pub(crate) mod namespace;
pub(crate) mod raw_client;
pub(crate) mod service_manager;
pub(crate) mod sockets;
pub(crate) mod trials;
pub(crate) mod verdicts;
pub(crate) mod wait;
