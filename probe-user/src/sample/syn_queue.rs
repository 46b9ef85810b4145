//! What the SYN queues of a network namespace hold.
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The SYN queues of a network namespace. Reading them is dear, so they may be older than the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynQueuesSample {
    /// How long before the rest of the sample this was true.
    pub age_milliseconds: u64,
    /// Where there are requests; a local end that is not here has none.
    pub queues: Vec<SynQueueSample>,
}

/// Handshakes that wait for their last ACK, of one local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SynQueueSample {
    /// Where their SYNs went to: not the listener's own address, which may be the unspecified one. IPv4 is
    /// v4-mapped when the listener is of IPv6.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
    /// How many.
    pub length: u64,
}
