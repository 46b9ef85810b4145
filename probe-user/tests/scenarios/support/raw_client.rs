//! A client that speaks TCP itself, in a test's namespace: what is sent in which order is decided, not a matter of luck.
use std::net::SocketAddr;

use tcp_backlog_probe::prove::{Client, HandshakeId, Ledger};

use super::{namespace::Namespace, wait::PATIENCE};

/// One that sends what it is told to.
pub(crate) struct RawClient(Client);

impl RawClient {
    /// Opens one; needs CAP_NET_RAW.
    pub(crate) fn open(namespace: &Namespace) -> Self {
        Self(Client::open(namespace.network()).expect("a client"))
    }

    /// Begins handshakes, waits for the SYN-ACKs, and leaves it at that.
    pub(crate) fn syns(&mut self, server: SocketAddr, count: u64) -> Vec<HandshakeId> {
        let handshakes = self.spike(server, count);
        // These: an answer to what was sent before may come meanwhile.
        let is_answered =
            |ledger: &Ledger, id| ledger.handshake(id).is_some_and(|handshake| handshake.synacks > 0);
        let answered = |ledger: &Ledger| handshakes.iter().all(|id| is_answered(ledger, *id));
        self.0.wait("every SYN is answered", PATIENCE, answered).expect("SYN-ACKs");
        handshakes
    }

    /// Sends SYNs and waits for nothing.
    pub(crate) fn spike(&mut self, server: SocketAddr, count: u64) -> Vec<HandshakeId> {
        (0..count).map(|_| self.0.syn(server).expect("a SYN")).collect()
    }

    /// Finishes handshakes from the first to the last packet.
    pub(crate) fn establish(&mut self, server: SocketAddr, count: u64) {
        let handshakes = self.syns(server, count);
        self.last_acks(&handshakes);
    }

    /// Sends their SYNs again.
    pub(crate) fn again(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.0.syn_again(*id).expect("a SYN"));
    }

    /// Sends their last ACKs.
    pub(crate) fn last_acks(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.0.last_ack(*id).expect("a last ACK"));
    }

    /// Sends the first data of each, which is a last ACK as well.
    pub(crate) fn data(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.0.data(*id, b"x").expect("data"));
    }

    /// Sends a SYN with data and without a cookie, and no last ACK.
    pub(crate) fn fast_open(&mut self, server: SocketAddr) {
        self.0.syn_with_data(server, b"x").expect("a SYN with data");
    }

    /// Gives handshakes up.
    pub(crate) fn reset(&mut self, handshakes: &[HandshakeId]) {
        handshakes.iter().for_each(|id| self.0.reset(*id).expect("a reset"));
    }
}
