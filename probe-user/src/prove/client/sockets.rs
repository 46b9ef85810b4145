//! The sockets of a client: one pair for each version of IP.
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, eth, ipproto, recv, sendto,
        socket_with, sockopt,
    },
};

use super::ClientError;

/// Room for what arrives between two calls of [`Pair::receive`]: about 20,000 segments without data.
const RECEIVE_BYTES: usize = 16 * 1024 * 1024;
/// The longest packet of the loopback interface is 65,536 bytes: its MTU.
pub(super) const PACKET_BYTES: usize = 65_536;

/// The two sockets for one version of IP.
#[derive(Debug)]
pub(super) struct Pair {
    /// Sends packets with the IP header that they are given: with `IPPROTO_RAW` that is the only way.
    raw: OwnedFd,
    /// Sees every packet that comes in, from the IP header on. That it is for one protocol keeps it from
    /// those that go out: only sockets for `ETH_P_ALL` see them (dev_queue_xmit_nit() of net/core/dev.c).
    packets: OwnedFd,
}

impl Pair {
    /// Opens those for IPv4, in the calling thread's network namespace.
    pub(super) fn for_ipv4() -> Result<Self, ClientError> {
        let pair = Self::open(AddressFamily::INET, eth::IP)?;
        // Without it the route to a broadcast address is refused.
        sockopt::set_socket_broadcast(&pair.raw, true)
            .map_err(|cause| ClientError::Open { what: "SO_BROADCAST", cause: cause.into() })?;
        Ok(pair)
    }

    /// The same for IPv6.
    pub(super) fn for_ipv6() -> Result<Self, ClientError> {
        Self::open(AddressFamily::INET6, eth::IPV6)
    }

    fn open(family: AddressFamily, protocol: Protocol) -> Result<Self, ClientError> {
        let failed = |what| move |cause: Errno| ClientError::Open { what, cause: cause.into() };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let raw = socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
            .map_err(failed("a raw socket"))?;
        let packets = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, Some(protocol))
            .map_err(failed("a packet socket"))?;
        sockopt::set_socket_recv_buffer_size_force(&packets, RECEIVE_BYTES)
            .map_err(failed("SO_RCVBUFFORCE"))?;
        Ok(Self { raw, packets })
    }

    /// Sends a packet that begins with its IP header.
    pub(super) fn send(&self, packet: &[u8], destination: IpAddr) -> io::Result<()> {
        // A raw socket for IPv6 takes a port for a protocol's number.
        let destination = SocketAddr::new(destination, 0);
        sendto(&self.raw, packet, SendFlags::empty(), &destination)?;
        Ok(())
    }

    /// Takes one packet into `buffer`; `None` when no more has arrived.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match recv(&self.packets, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => Ok(Some(buffer.get(..length).unwrap_or_default())),
            Err(Errno::AGAIN) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }
}

/// Waits until one of the pairs has something to receive, at most for `patience`.
pub(super) fn wait_for_packets<'a>(
    pairs: impl Iterator<Item = &'a Pair>,
    patience: &Timespec,
) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = pairs.map(|pair| pair.packets.as_fd()).collect();
    let mut polled: Vec<_> =
        descriptors.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
    match poll(&mut polled, Some(patience)) {
        // A signal is no packet: the caller looks at its clock again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}
