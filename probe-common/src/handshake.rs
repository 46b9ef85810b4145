//! The handshake signal: what every listening port was asked, gave and refused.

/// `AF_INET` of `linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `linux/socket.h`.
pub const AF_INET6: u16 = 10;

/// A listening port: the key of the `HANDSHAKE` map.
///
/// Read from the listener's `struct sock_common`, never from a packet: a
/// dual-stack listener on `::` keeps that address for the IPv4 connections that
/// it takes. `SO_REUSEPORT` listeners of one address share a key.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// `skc_v6_rcv_saddr`, or `skc_rcv_saddr` in the first four bytes, in network order.
    pub address: [u8; 16],
    /// `ns.inum` of the socket's network namespace, as in `ls -l /proc/PID/ns/net`.
    pub netns: u32,
    /// `skc_num`, in host order.
    pub port: u16,
    /// `skc_family`: [`AF_INET`] or [`AF_INET6`].
    pub family: u16,
}

/// Totals of one port on one CPU since the hooks were attached; the value of the `HANDSHAKE` map.
///
/// Every field only grows. Which of them move depends on the plan: the user side
/// knows from the attached hooks which fields mean something.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeCounters {
    /// SYNs that reached the listener: calls of `tcp_conn_request()`.
    pub syn_received: u64,
    /// SYNs put in the SYN queue by `inet_csk_reqsk_queue_hash_add()`.
    pub syn_queued: u64,
    /// Finished handshakes put in the accept queue by `inet_csk_reqsk_queue_add()`.
    pub established: u64,
    /// Last ACKs for which a child socket was asked: calls of `tcp_v4_syn_recv_sock()` and its IPv6 twin.
    pub last_ack_received: u64,
    /// Last ACKs for which no child socket was made.
    pub last_ack_refused: u64,
    /// SYN-ACKs sent again: tracepoint `tcp:tcp_retransmit_synack`.
    pub synack_retransmits: u64,
    /// `LINUX_MIB_LISTENOVERFLOWS` raised while a SYN was handled.
    pub accept_queue_overflows_syn: u64,
    /// `LINUX_MIB_LISTENOVERFLOWS` raised while a last ACK was handled.
    pub accept_queue_overflows_ack: u64,
    /// `LINUX_MIB_LISTENDROPS` raised on behalf of the listener.
    pub listen_drops: u64,
    /// Segments that raised the listener's `sk_drops` without being a listen drop
    /// (`discard_and_relse` of `tcp_v4_rcv()`, `tcp_drop_reason()`): to be taken off `sk_drops`.
    pub discarded_segments: u64,
    /// `sk_drops` of listeners at their close, less `sk_drops` at their opening. Wraps: a listener
    /// that is opened for a second time brings its old drops along.
    pub closed_listener_drops: u64,
    /// Listeners opened since the hooks were attached: `inet_sock_set_state` from CLOSE to LISTEN.
    pub listeners_opened: u64,
}

impl HandshakeCounters {
    /// Adds another CPU's totals. `closed_listener_drops` is a difference and may wrap.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.syn_received, other.syn_received),
            (&mut self.syn_queued, other.syn_queued),
            (&mut self.established, other.established),
            (&mut self.last_ack_received, other.last_ack_received),
            (&mut self.last_ack_refused, other.last_ack_refused),
            (&mut self.synack_retransmits, other.synack_retransmits),
            (&mut self.accept_queue_overflows_syn, other.accept_queue_overflows_syn),
            (&mut self.accept_queue_overflows_ack, other.accept_queue_overflows_ack),
            (&mut self.listen_drops, other.listen_drops),
            (&mut self.discarded_segments, other.discarded_segments),
            (&mut self.closed_listener_drops, other.closed_listener_drops),
            (&mut self.listeners_opened, other.listeners_opened),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.wrapping_add(theirs);
        }
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for PortKey {}
#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for HandshakeCounters {}
