//! The packets that listeners have to do with, and the steps of the handshake that they are for.
use crate::{
    kernel_read::{KernelPointer, KernelRead, Probed},
    settings::global,
};

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

/// Whether a packet has the flag ACK and neither SYN nor RST.
#[inline(always)]
pub(crate) fn is_plain_ack(skb: KernelPointer) -> bool {
    /// Where the flags are in `struct tcphdr`.
    const FLAGS: u32 = 13;
    const SYN_RST_ACK: u8 = 0x02 | 0x04 | 0x10;
    const ACK: u8 = 0x10;
    tcp_header::<Probed>(skb)
        .and_then(|tcp| Probed::read::<u8>(tcp, FLAGS))
        .is_some_and(|flags| flags & SYN_RST_ACK == ACK)
}

/// Whether a packet of IPv6 comes from an IPv4 address (`ipv6_addr_v4mapped()`).
#[inline(always)]
pub(crate) fn is_from_mapped_address(skb: KernelPointer) -> bool {
    /// Where `saddr` is in `struct ipv6hdr`.
    const SOURCE: u32 = 8;
    const PREFIX: [u32; 3] = [0, 0, 0xffff_u32.to_be()];
    header::<Probed>(skb, global!(KERNEL_OFFSETS.skb_network_header))
        .and_then(|ip| Probed::read::<[u32; 3]>(ip, SOURCE))
        == Some(PREFIX)
}

/// A header of a packet, by the field of `struct sk_buff` that tells where it begins.
#[inline(always)]
fn header<R: KernelRead>(skb: KernelPointer, offset: u32) -> Option<KernelPointer> {
    let head = R::read::<KernelPointer>(skb, global!(KERNEL_OFFSETS.skb_head))?;
    Some(head.wrapping_byte_add(usize::from(R::read::<u16>(skb, offset)?)))
}

/// The `struct tcphdr` of a packet.
#[inline(always)]
pub(crate) fn tcp_header<R: KernelRead>(skb: KernelPointer) -> Option<KernelPointer> {
    header::<R>(skb, global!(KERNEL_OFFSETS.skb_transport_header))
}

/// The packet of a call whose first arguments are the listener, the packet and the request, as
/// `tcp_v4_syn_recv_sock()` and `tcp_check_req()` have them; by their types where the program knows these.
macro_rules! packet_of_request {
    ($ctx:ident) => {
        $crate::packet::Packet { listener: $ctx.arg(0), skb: $ctx.arg(1), request: $ctx.arg(2) }
    };
}
pub(crate) use packet_of_request;
