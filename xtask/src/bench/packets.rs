//! SYNs of clients that do not exist: nobody answers the SYN-ACK, so a packet costs what the server does for it.
//!
//! They are sent by a raw socket from TEST-NET-1, which a route leads to the loopback interface: an answer is thrown
//! away there (`dst_discard()`), and nobody resets the connection.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

/// Hosts of 192.0.2.0/24.
const HOSTS: u32 = 250;
const FIRST_PORT: u16 = 1024;
const PORTS: u32 = 60_000;
const HOP_LIMIT: u8 = 64;
const WINDOW: u16 = 64_240;
const MAX_SEGMENT_SIZE: u16 = 1460;

/// Where they are sent from, in the words of `ip route add`.
pub(super) const NETWORK: &str = "192.0.2.0/24";

/// Sends SYNs, no two alike.
pub(super) struct Flood {
    raw: OwnedFd,
    made: u32,
}

impl Flood {
    pub(super) fn open() -> Result<Self> {
        let raw = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
            .context("bench: no raw socket")?;
        Ok(Self { raw, made: 0 })
    }

    /// The next packets to this server, ready to be sent.
    pub(super) fn make(&mut self, server: SocketAddrV4, count: u32) -> Result<Vec<Vec<u8>>> {
        let first = self.made;
        self.made = self.made.wrapping_add(count);
        (first..first.wrapping_add(count)).map(|number| syn(number, server)).collect()
    }

    /// Sends one. On the loopback interface it is with the server when the call returns.
    pub(super) fn send(&self, packet: &[u8], server: SocketAddrV4) -> Result<()> {
        sendto(&self.raw, packet, SendFlags::empty(), &server).context("bench: a SYN cannot be sent")?;
        Ok(())
    }
}

/// The n-th SYN: every client has its own address, port and sequence number.
fn syn(number: u32, server: SocketAddrV4) -> Result<Vec<u8>> {
    let host = u8::try_from(number % HOSTS + 1)?;
    let port = FIRST_PORT + u16::try_from(number / HOSTS % PORTS)?;
    let client = Ipv4Addr::new(192, 0, 2, host);
    let sequence = number.wrapping_mul(0x0001_0001);
    let builder = PacketBuilder::ipv4(client.octets(), server.ip().octets(), HOP_LIMIT)
        .tcp(port, server.port(), sequence, WINDOW)
        .syn()
        .options(&[etherparse::TcpOptionElement::MaximumSegmentSize(MAX_SEGMENT_SIZE)])?;
    let mut packet = Vec::with_capacity(builder.size(0));
    builder.write(&mut packet, &[])?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_clients_are_alike() {
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        let ends: BTreeSet<(Vec<u8>, Vec<u8>)> = (0..1000)
            .map(|number| {
                let packet = syn(number, server).unwrap();
                (packet[12..16].to_vec(), packet[20..22].to_vec())
            })
            .collect();
        assert_eq!(ends.len(), 1000);
        assert!(ends.iter().all(|(client, _)| client.starts_with(&[192, 0, 2])));
    }

    #[test]
    fn a_packet_is_a_syn_with_a_segment_size() {
        let packet = syn(7, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).unwrap();
        assert_eq!(packet.len(), 20 + 24);
        assert_eq!(packet[33], 0b10, "only SYN is set");
        assert_eq!(packet[40..44], [2, 4, 5, 180]);
    }
}
