//! ICMP errors as bytes: what comes back for a segment that was not delivered.
use std::net::IpAddr;

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};

use super::{HOP_LIMIT, Segment, WireError};

/// How much of a segment an error quotes behind its IP header: the ports and the sequence number (RFC 792).
const QUOTED_BYTES: usize = 8;
/// An IPv4 header without options, and an IPv6 header.
const IP_HEADERS: (usize, usize) = (20, 40);

/// What could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host.
    Host,
    /// The port.
    Port,
}

impl Unreachable {
    /// The error that the destination of a segment sends to its source: the packet, from the IP header on.
    ///
    /// # Errors
    /// When the segment cannot be one.
    pub fn answer_to(self, segment: &Segment) -> Result<Vec<u8>, WireError> {
        let quoted = segment.to_packet()?;
        match (segment.destination.ip(), segment.source.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let quoted = quoted.get(..IP_HEADERS.0 + QUOTED_BYTES).unwrap_or_default();
                let builder = PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT).icmpv4(self.ipv4());
                written(builder.size(quoted.len()), |packet| builder.write_to_slice(packet, quoted).ok())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let quoted = quoted.get(..IP_HEADERS.1 + QUOTED_BYTES).unwrap_or_default();
                let builder = PacketBuilder::ipv6(from.octets(), to.octets(), HOP_LIMIT).icmpv6(self.ipv6());
                written(builder.size(quoted.len()), |packet| builder.write_to_slice(packet, quoted).ok())
            }
            (destination, source_address) => Err(WireError::Families { source_address, destination }),
        }
    }

    const fn ipv4(self) -> Icmpv4Type {
        Icmpv4Type::DestinationUnreachable(match self {
            Self::Host => icmpv4::DestUnreachableHeader::Host,
            Self::Port => icmpv4::DestUnreachableHeader::Port,
        })
    }

    const fn ipv6(self) -> Icmpv6Type {
        Icmpv6Type::DestinationUnreachable(match self {
            Self::Host => icmpv6::DestUnreachableCode::Address,
            Self::Port => icmpv6::DestUnreachableCode::Port,
        })
    }
}

/// A packet of so many bytes.
fn written(bytes: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Result<Vec<u8>, WireError> {
    let mut packet = vec![0; bytes];
    let length = write(&mut packet).ok_or(WireError::TooLong { bytes })?;
    packet.truncate(length);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synack(server: &str, client: &str) -> Segment {
        let ends = Segment::between(server.parse().unwrap(), client.parse().unwrap());
        Segment { syn: true, sequence: 0x0102_0304, acknowledgement: Some(5), ..ends }
    }

    #[test]
    fn an_ipv4_error_quotes_ports_and_sequence_number_as_rfc_792_says() {
        let packet = Unreachable::Host.answer_to(&synack("127.0.0.1:80", "192.0.2.1:1024")).unwrap();
        assert_eq!(packet.len(), 20 + 8 + 20 + 8);
        // From the client to the server, ICMP, "destination unreachable", "host".
        assert_eq!(
            (packet[9], &packet[12..20], &packet[20..22]),
            (1, &[192, 0, 2, 1, 127, 0, 0, 1][..], &[3, 1][..])
        );
        assert_eq!(packet[40..48], [127, 0, 0, 1, 192, 0, 2, 1]);
        assert_eq!(packet[48..], [0, 80, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_ipv6_error_does_so_too() {
        let packet = Unreachable::Port.answer_to(&synack("[::1]:80", "[2001:db8::1]:1024")).unwrap();
        assert_eq!(packet.len(), 40 + 8 + 40 + 8);
        // ICMPv6, "destination unreachable", "port".
        assert_eq!((packet[6], &packet[40..42]), (58, &[1, 4][..]));
        assert_eq!(packet[88..], [0, 80, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_error_between_two_versions_of_ip_is_none() {
        let answer = Unreachable::Port.answer_to(&synack("[::1]:80", "192.0.2.1:1024"));
        assert!(matches!(answer, Err(WireError::Families { .. })));
    }
}
