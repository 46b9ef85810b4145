//! Furnishing a network namespace by rtnetlink, so that no `ip` program is needed.
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkFlags, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::NetworkError;

/// The loopback interface is the first of every namespace (LOOPBACK_IFINDEX of net/net_namespace.h).
const LOOPBACK: u32 = 1;

/// A hardware address that is not the loopback interface's, which is all zeros: locally administered.
const ANOTHER_HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A connection to the routing part of the kernel, in the namespace of the thread that opened it.
pub(super) struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    pub(super) fn open() -> Result<Self, NetworkError> {
        let socket = Socket::new(NETLINK_ROUTE)
            .map_err(|cause| NetworkError::Setting { what: "anything (no NETLINK_ROUTE socket)", cause })?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sets `IFF_UP` on the loopback interface.
    pub(super) fn bring_loopback_up(&mut self) -> Result<(), NetworkError> {
        let mut link = LinkMessage::default();
        link.header.index = LOOPBACK;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request("the loopback interface", RouteNetlinkMessage::SetLink(link))
    }

    /// Sends what is for this network out on the loopback interface.
    pub(super) fn route_ipv4(&mut self, network: Ipv4Addr, prefix: u8) -> Result<(), NetworkError> {
        let header = RouteHeader {
            address_family: AddressFamily::Inet,
            scope: RouteScope::Link,
            kind: RouteType::Unicast,
            ..static_route(prefix)
        };
        self.route("the IPv4 route", header, RouteAddress::Inet(network))
    }

    /// The same; a `local` route, because no other kind may lead to the loopback interface.
    pub(super) fn route_ipv6(&mut self, network: Ipv6Addr, prefix: u8) -> Result<(), NetworkError> {
        let header = RouteHeader {
            address_family: AddressFamily::Inet6,
            scope: RouteScope::Universe,
            kind: RouteType::Local,
            ..static_route(prefix)
        };
        self.route("the IPv6 route", header, RouteAddress::Inet6(network))
    }

    /// Makes an address unreachable, or lets it be reached again by the network's route.
    pub(super) fn refuse_ipv4(&mut self, address: Ipv4Addr, refused: bool) -> Result<(), NetworkError> {
        let header = unreachable_route(AddressFamily::Inet, 32);
        self.refuse(header, RouteAddress::Inet(address), refused)
    }

    /// The same.
    pub(super) fn refuse_ipv6(&mut self, address: Ipv6Addr, refused: bool) -> Result<(), NetworkError> {
        let header = unreachable_route(AddressFamily::Inet6, 128);
        self.refuse(header, RouteAddress::Inet6(address), refused)
    }

    fn refuse(
        &mut self,
        header: RouteHeader,
        address: RouteAddress,
        refused: bool,
    ) -> Result<(), NetworkError> {
        let mut route = RouteMessage::default();
        route.header = header;
        route.attributes = vec![RouteAttribute::Destination(address)];
        let request = if refused { RouteNetlinkMessage::NewRoute } else { RouteNetlinkMessage::DelRoute };
        self.request("an unreachable route", request(route))
    }

    /// Makes the address another host's: packets to it come back as not meant for this one.
    pub(super) fn neighbour(&mut self, address: Ipv6Addr) -> Result<(), NetworkError> {
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = AddressFamily::Inet6;
        neighbour.header.ifindex = LOOPBACK;
        neighbour.header.state = NeighbourState::Permanent;
        neighbour.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)),
            NeighbourAttribute::LinkLayerAddress(ANOTHER_HOST.to_vec()),
        ];
        self.request("an IPv6 neighbour", RouteNetlinkMessage::NewNeighbour(neighbour))
    }

    fn route(
        &mut self,
        what: &'static str,
        header: RouteHeader,
        network: RouteAddress,
    ) -> Result<(), NetworkError> {
        let mut route = RouteMessage::default();
        route.header = header;
        route.attributes = vec![RouteAttribute::Destination(network), RouteAttribute::Oif(LOOPBACK)];
        self.request(what, RouteNetlinkMessage::NewRoute(route))
    }

    /// Sends one request and takes its acknowledgement.
    fn request(&mut self, what: &'static str, message: RouteNetlinkMessage) -> Result<(), NetworkError> {
        self.exchange(message).map_err(|cause| NetworkError::Setting { what, cause })
    }

    fn exchange(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        decode_answer(&answer)
    }
}

/// What all routes have in common.
fn static_route(prefix: u8) -> RouteHeader {
    RouteHeader {
        destination_prefix_length: prefix,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        ..RouteHeader::default()
    }
}

/// A route to one address by which nothing goes.
fn unreachable_route(address_family: AddressFamily, prefix: u8) -> RouteHeader {
    let kind = RouteType::Unreachable;
    RouteHeader { address_family, kind, scope: RouteScope::Universe, ..static_route(prefix) }
}

/// An acknowledgement is an error message without an error.
fn decode_answer(answer: &[u8]) -> io::Result<()> {
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer)
        .map_err(|error| io::Error::other(format!("an answer that cannot be decoded: {error}")))?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Error(_) => Ok(()),
        _ => Err(io::Error::other("an answer that is no acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// struct nlmsghdr and struct nlmsgerr with no request after it.
    fn answer(errno: i32) -> Vec<u8> {
        const NLMSG_ERROR: u16 = 2;
        let mut bytes = Vec::new();
        bytes.extend(36_u32.to_ne_bytes());
        bytes.extend(NLMSG_ERROR.to_ne_bytes());
        bytes.extend([0; 10]); // flags, sequence, sender
        bytes.extend(errno.to_ne_bytes());
        bytes.extend([0; 16]); // the request's header
        bytes
    }

    #[test]
    fn an_answer_is_an_acknowledgement_or_says_what_was_refused() {
        assert!(decode_answer(&answer(0)).is_ok());
        let refused = decode_answer(&answer(-1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(decode_answer(&[]).is_err());
        assert!(decode_answer(&[0; 15]).is_err());
    }
}
