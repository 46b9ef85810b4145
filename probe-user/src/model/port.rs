//! One listening port, as every renderer sees it.
use serde::{Deserialize, Serialize};

use crate::sample::PortId;

/// What is known of one listening port. `None` is "cannot be known here", never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Which port.
    #[serde(flatten)]
    pub id: PortId,
    /// Totals since the daemon's hooks were attached.
    #[serde(flatten)]
    pub handshakes: Handshakes,
    /// The sockets that listen there now; empty when it is closed.
    pub listeners: Vec<Listener>,
}

/// Totals of handshakes since the hooks were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// SYNs that reached the listener.
    pub syn_received: Option<u64>,
    /// SYNs put in the SYN queue.
    pub syn_queued: Option<u64>,
    /// Finished handshakes put in the accept queue.
    pub established: Option<u64>,
    /// Last ACKs for which a child socket was asked.
    pub last_ack_received: Option<u64>,
    /// Last ACKs for which no child socket was made.
    pub last_ack_refused: Option<u64>,
    /// SYN-ACKs sent again.
    pub synack_retransmits: Option<u64>,
    /// Packets refused because the accept queue was full, by stage.
    pub accept_queue_overflows: Overflows,
    /// Packets that the kernel counted as ListenDrops on behalf of this port.
    pub listen_drops: Option<u64>,
}

/// Packets refused because the accept queue was full. Either the two stages are known or only their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflows {
    /// Refused SYNs.
    pub syn: Option<u64>,
    /// Refused last ACKs.
    pub ack: Option<u64>,
    /// Both together, where the plan cannot tell them apart.
    pub undivided: Option<u64>,
}

impl Overflows {
    /// The sum over the stages; `None` where nothing is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        [self.syn, self.ack, self.undivided].into_iter().flatten().reduce(u64::saturating_add)
    }
}

/// One socket that listens on the port now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Finished handshakes that wait for accept().
    pub accept_queue_length: u32,
    /// The effective backlog.
    pub accept_queue_limit: u32,
    /// Inode of the socket.
    pub inode: u32,
}
