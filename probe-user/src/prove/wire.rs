//! TCP segments as bytes: built and parsed, nothing else. No segment is sent or received here.
mod icmp;

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TcpSlice, TransportSlice,
};

pub use self::icmp::Unreachable;

/// As much as a window says without scaling: a client never makes the server wait.
const WINDOW: u16 = u16::MAX;
/// Hops that a packet may take; it takes none.
const HOP_LIMIT: u8 = 64;

/// A TCP segment with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes to: the same version of IP.
    pub destination: SocketAddr,
    /// The number of its first byte, or of its SYN.
    pub sequence: u32,
    /// With ACK: the next byte that is expected from the other side.
    pub acknowledgement: Option<u32>,
    /// Whether SYN is set.
    pub syn: bool,
    /// Whether FIN is set.
    pub fin: bool,
    /// Whether RST is set.
    pub reset: bool,
    /// The option "maximum segment size", which belongs into a SYN.
    pub max_segment_size: Option<u16>,
    /// The data.
    pub payload: Vec<u8>,
}

/// Why a segment cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The two ends do not speak the same version of IP.
    #[error("no packet goes from {source_address} to {destination}: use two addresses of one version of IP")]
    Families {
        /// One end.
        source_address: IpAddr,
        /// The other.
        destination: IpAddr,
    },
    /// It is longer than a packet can be.
    #[error("{bytes} bytes of data do not fit into one packet: send fewer")]
    TooLong {
        /// How long the data is.
        bytes: usize,
    },
}

impl Segment {
    /// A segment with nothing set but its ends.
    #[must_use]
    pub const fn between(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source,
            destination,
            sequence: 0,
            acknowledgement: None,
            syn: false,
            fin: false,
            reset: false,
            max_segment_size: None,
            payload: Vec::new(),
        }
    }

    /// The packet, from the IP header on, with its checksums.
    ///
    /// # Errors
    /// When the ends are of different versions of IP, or the data is too long.
    pub fn to_packet(&self) -> Result<Vec<u8>, WireError> {
        let too_long = || WireError::TooLong { bytes: self.payload.len() };
        let builder = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), HOP_LIMIT)
            }
            (source_address, destination) => {
                return Err(WireError::Families { source_address, destination });
            }
        };
        let builder = builder.tcp_header(self.header());
        let mut packet = vec![0; builder.size(self.payload.len())];
        let length = builder.write_to_slice(&mut packet, &self.payload).map_err(|_| too_long())?;
        packet.truncate(length);
        Ok(packet)
    }

    /// Its TCP header, without a checksum yet.
    fn header(&self) -> TcpHeader {
        let mut header = TcpHeader::new(self.source.port(), self.destination.port(), self.sequence, WINDOW);
        header.ack = self.acknowledgement.is_some();
        header.acknowledgment_number = self.acknowledgement.unwrap_or_default();
        header.syn = self.syn;
        header.fin = self.fin;
        header.rst = self.reset;
        header.psh = !self.payload.is_empty();
        let option = self.max_segment_size.map(TcpOptionElement::MaximumSegmentSize);
        // One option of four bytes always fits into the forty that there are.
        let _ = header.set_options(option.as_slice());
        header
    }

    /// Reads a packet that begins with its IP header. `None` if it is not a whole TCP segment.
    ///
    /// Checksums are not looked at: on the loopback interface nobody fills them in.
    #[must_use]
    pub fn from_packet(packet: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ip(packet).ok()?;
        let (source, destination): (IpAddr, IpAddr) = match packet.net? {
            NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
        Some(Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledgement: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            reset: tcp.rst(),
            max_segment_size: max_segment_size(&tcp),
            payload: tcp.payload().to_vec(),
        })
    }
}

fn max_segment_size(tcp: &TcpSlice<'_>) -> Option<u16> {
    tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::MaximumSegmentSize(bytes)) => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        let v6 = any::<([u16; 8], u16)>().prop_map(SocketAddr::from);
        let other_v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        let other_v6 = any::<([u16; 8], u16)>().prop_map(SocketAddr::from);
        prop_oneof![(v4, other_v4), (v6, other_v6)]
    }

    prop_compose! {
        fn segment()(
            (source, destination) in ends(),
            sequence: u32,
            acknowledgement: Option<u32>,
            (syn, fin, reset) in any::<(bool, bool, bool)>(),
            max_segment_size: Option<u16>,
            payload: Vec<u8>,
        ) -> Segment {
            Segment { source, destination, sequence, acknowledgement, syn, fin, reset, max_segment_size, payload }
        }
    }

    fn syn() -> Segment {
        let source = "192.0.2.1:1024".parse().unwrap();
        let destination = "127.0.0.1:80".parse().unwrap();
        Segment { syn: true, max_segment_size: Some(1460), ..Segment::between(source, destination) }
    }

    #[test]
    fn a_syn_is_the_bytes_that_rfc_9293_says() {
        let packet = syn().to_packet().unwrap();
        assert_eq!(packet.len(), 20 + 24);
        assert_eq!(packet[0], 0x45);
        assert_eq!(packet[12..20], [192, 0, 2, 1, 127, 0, 0, 1]);
        assert_eq!(packet[20..24], [4, 0, 0, 80]);
        // Six words of header, and SYN alone.
        assert_eq!(packet[32..34], [0x60, 0x02]);
        assert_eq!(packet[40..44], [2, 4, 0x05, 0xb4]);
    }

    #[test]
    fn what_cannot_be_a_packet_is_refused() {
        let mixed = Segment { destination: "[::1]:80".parse().unwrap(), ..syn() };
        assert!(matches!(mixed.to_packet(), Err(WireError::Families { .. })));
        let long = Segment { payload: vec![0; 65_536], ..syn() };
        assert!(matches!(long.to_packet(), Err(WireError::TooLong { bytes: 65_536 })));
    }

    proptest! {
        #[test]
        fn what_is_built_is_what_is_parsed(segment in segment()) {
            let packet = segment.to_packet().unwrap();
            prop_assert_eq!(Segment::from_packet(&packet), Some(segment));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = Segment::from_packet(&bytes);
        }

        #[test]
        fn no_change_or_cut_makes_the_parser_panic(
            segment in segment(),
            changes: Vec<(prop::sample::Index, u8)>,
            cut: prop::sample::Index,
        ) {
            let mut packet = segment.to_packet().unwrap();
            for (place, byte) in changes {
                let place = place.index(packet.len());
                packet[place] = byte;
            }
            let _ = Segment::from_packet(&packet);
            let _ = Segment::from_packet(&packet[..cut.index(packet.len())]);
        }
    }
}
