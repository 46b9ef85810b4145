//! Limits that the kernel was told, and the queue before all sockets.
use super::Exposition;
use crate::{
    metrics::{Metric, catalogue},
    model::Host,
    sample::LimitsSample,
};

/// The sysctls of a network namespace.
pub(super) const fn of_namespace(limits: &LimitsSample) -> [(&'static Metric, Option<u64>); 6] {
    [
        (&catalogue::NETNS_SOMAXCONN, limits.somaxconn),
        (&catalogue::NETNS_TCP_MAX_SYN_BACKLOG, limits.tcp_max_syn_backlog),
        (&catalogue::NETNS_TCP_SYNCOOKIES, limits.tcp_syncookies),
        (&catalogue::NETNS_TCP_ABORT_ON_OVERFLOW, limits.tcp_abort_on_overflow),
        (&catalogue::NETNS_TCP_SYNACK_RETRIES, limits.tcp_synack_retries),
        (&catalogue::NETNS_TCP_MIGRATE_REQ, limits.tcp_migrate_req),
    ]
}

impl Exposition {
    pub(super) fn add_host(&mut self, host: &Host) {
        self.add_known(&catalogue::NETDEV_MAX_BACKLOG, &[], host.netdev_max_backlog);
        for softnet in host.softnet.iter().flatten() {
            let cpu = softnet.cpu.to_string();
            self.add_known(&catalogue::SOFTNET_PROCESSED, &[&cpu], Some(softnet.processed));
            self.add_known(&catalogue::SOFTNET_DROPPED, &[&cpu], Some(softnet.dropped));
            self.add_known(&catalogue::SOFTNET_TIME_SQUEEZE, &[&cpu], Some(softnet.time_squeeze));
        }
    }
}
