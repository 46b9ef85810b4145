//! The packets that listeners have to do with, and the steps of the handshake that they are for.
use crate::kernel_read::KernelPointer;

/// The step of the handshake that a bracket is around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A SYN: `tcp_v4_conn_request()` and its like.
    Syn,
    /// The last ACK of a queued request: `tcp_v4_syn_recv_sock()` or its caller `tcp_check_req()`.
    LastAck,
    /// A packet for no request, which may carry a SYN cookie: `cookie_v4_check()` and its IPv6 twin.
    Cookie,
    /// An ICMP error for a queued request: `tcp_req_err()`.
    RequestError,
}

/// A packet that a listener has to do with.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// The listener's `struct sock`.
    pub(crate) listener: KernelPointer,
    /// The packet's `struct sk_buff`; null where there is none.
    pub(crate) skb: KernelPointer,
    /// Its `struct request_sock`, of a last ACK only.
    pub(crate) request: KernelPointer,
}

impl Packet {
    /// A packet that is for no request yet.
    #[inline(always)]
    pub(crate) const fn without_request(listener: KernelPointer, skb: KernelPointer) -> Self {
        Self { listener, skb, request: core::ptr::null() }
    }
}

/// The packet of a call whose first arguments are the listener, the packet and the request, as
/// `tcp_v4_syn_recv_sock()` and `tcp_check_req()` have them; by their types where the program knows these.
macro_rules! packet_of_request {
    ($ctx:ident) => {
        $crate::packet::Packet { listener: $ctx.arg(0), skb: $ctx.arg(1), request: $ctx.arg(2) }
    };
}
pub(crate) use packet_of_request;
