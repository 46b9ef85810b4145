//! A network of one's own to prove things in: private, made and gone with the test, with a client that
//! speaks TCP itself and so decides what is sent in which order.
//!
//! The kernel's own TCP client answers a SYN-ACK at once, so how many SYNs come before the first last
//! ACK is a matter of luck. [`Client`] sends N SYNs first and N last ACKs then, again and again.
//!
//! Nothing needs to be installed: the network is a namespace with the loopback interface only, and
//! everything is done with sockets. What is needed is CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW.
//!
//! [`prove()`] makes one, loses connections in every way that there is, and holds what the probe
//! counts against the kernel's counters and the client's own ledger.
pub mod client;
mod counters;
mod exercise;
pub mod listener;
pub mod network;
mod steps;
mod verdict;
pub mod wire;

use rustix::thread::CapabilitySet;

/// What a network of one's own takes: setns(2) and unshare(2), its routes and sysctls, a client's sockets.
pub const CAPABILITIES: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::NET_RAW);

pub use self::{
    client::{Client, ClientError, Handshake, HandshakeId, Ledger},
    exercise::{ProveError, prove},
    listener::{Listener, ListenerError},
    network::{NetworkError, PrivateNetwork},
    verdict::{Agreement, Proof, Row},
};
