//! The handshake signal: what every listener was asked, gave and refused.

/// `AF_INET` of `linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `linux/socket.h`.
pub const AF_INET6: u16 = 10;

/// A listening port.
///
/// Read from the listener's `struct sock_common`, never from a packet: a
/// dual-stack listener on `::` keeps that address for the IPv4 connections that
/// it takes. `SO_REUSEPORT` listeners of one address share a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize))]
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

/// Declares [`HandshakeCounters`], so that no list of its fields can forget one.
macro_rules! handshake_counters {
    ($($(#[$documentation:meta])* $field:ident,)+) => {
        /// Totals of one listener on one CPU; a value of the `HANDSHAKE` map.
        ///
        /// Every field only grows. Which of them move depends on the plan: the user side
        /// knows from the attached hooks which fields mean something.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize), serde(default))]
        pub struct HandshakeCounters {
            $($(#[$documentation])* pub $field: u64,)+
        }

        impl HandshakeCounters {
            /// How many fields there are.
            pub const FIELDS: usize = [$(stringify!($field)),+].len();

            /// Adds another CPU's totals. `closed_listener_drops` is a difference and may wrap.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

handshake_counters! {
    /// SYNs that reached the listener: calls of `tcp_v4_conn_request()` and its like.
    syn_received,
    /// SYNs put in the SYN queue by `inet_csk_reqsk_queue_hash_add()`.
    syn_queued,
    /// `LINUX_MIB_LISTENOVERFLOWS` raised while a SYN was handled: the accept queue was full.
    syn_dropped_accept_queue_full,
    /// `LINUX_MIB_TCPREQQFULLDROP` raised: the SYN queue was full and SYN cookies are off.
    syn_dropped_syn_queue_full,
    /// Refused by the rule that keeps the last quarter of `net.ipv4.tcp_max_syn_backlog` for
    /// clients that are known (`tcp_conn_request()`, with SYN cookies off).
    syn_dropped_syn_backlog_reserve,
    /// `LINUX_MIB_LISTENDROPS` raised while a SYN was handled, for none of the reasons above: no
    /// memory, no route, a security module, a broadcast address.
    syn_dropped_other,
    /// `LINUX_MIB_SYNCOOKIESSENT` raised: the SYN was answered with a cookie.
    syncookies_sent,
    /// `LINUX_MIB_SYNCOOKIESRECV` raised: a last ACK carried a good cookie.
    syncookies_received,
    /// `LINUX_MIB_SYNCOOKIESFAILED` raised: an ACK carried no good cookie.
    syncookies_failed,
    /// `LINUX_MIB_TCPREQQFULLDOCOOKIES` raised: the SYN queue was full, or cookies are always sent.
    syn_queue_full_cookies,
    /// Last ACKs for which a child socket was asked: calls of `tcp_v4_syn_recv_sock()` and its IPv6 twin.
    last_ack_received,
    /// `LINUX_MIB_LISTENOVERFLOWS` raised while a last ACK was handled: the accept queue was full.
    last_ack_refused_accept_queue_full,
    /// `LINUX_MIB_LISTENDROPS` raised while a last ACK was handled, without an overflow.
    last_ack_refused_other,
    /// Last ACKs freed with the reason `TCP_LISTEN_OVERFLOW`, which stands for both (6.15).
    last_ack_refused_undivided,
    /// Finished handshakes put in the accept queue by `inet_csk_reqsk_queue_add()`.
    established,
    /// SYN-ACKs sent again: tracepoint `tcp:tcp_retransmit_synack`.
    synack_retransmits,
    /// Requests ended by an ICMP error, a listen drop: `tcp_req_err()`.
    request_errors,
    /// Requests ended with a reset instead of a place in the accept queue, because of
    /// `net.ipv4.tcp_abort_on_overflow`: `LINUX_MIB_EMBRYONICRSTS` and a listen drop in one `tcp_check_req()`.
    requests_aborted,
    /// Requests given up after their last SYN-ACK: `reqsk_timer_handler()` left the timer stopped.
    requests_expired,
    /// Connections reset because their listener was closed before it accepted them: `inet_child_forget()`.
    closed_unaccepted,
    /// Connections of which at least one packet was a listen drop, each of them once.
    connections_refused,
    /// `LINUX_MIB_LISTENDROPS` raised on behalf of the listener, for any reason.
    listen_drops,
    /// Segments that raised the listener's `sk_drops` without being a listen drop
    /// (`discard_and_relse` of `tcp_v4_rcv()`, `tcp_drop_reason()`): to be taken off `sk_drops`.
    discarded_segments,
    /// `sk_drops` of the listener at its close, less `sk_drops` at its opening. Wraps: a listener
    /// that is opened for a second time brings its old drops along.
    closed_listener_drops,
    /// Times that the listener was opened since the hooks were attached.
    listeners_opened,
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for PortKey {}
#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for HandshakeCounters {}
