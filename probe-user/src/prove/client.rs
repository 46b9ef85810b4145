//! A client that speaks TCP itself: every segment that a server gets from it was asked for.
//!
//! It sends by raw sockets and receives by packet sockets of a [`PrivateNetwork`], from addresses that
//! nobody owns there. So the kernel never answers in its place: no last ACK, no reset, nothing sent again.
mod ledger;
mod sockets;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::Timespec;

pub use self::ledger::{Handshake, HandshakeId, Ledger};
use self::sockets::{PACKET_BYTES, Pair, wait_for_packets};
use super::{
    network::{CLIENT_ADDRESSES, NetworkError, PrivateNetwork, STRANDED, client_address},
    wire::{Segment, Unreachable, WireError},
};

/// What fits into an Ethernet frame.
const MAX_SEGMENT_SIZE: u16 = 1460;
/// The first port; those before it are the system's by custom.
const FIRST_PORT: u16 = 1024;
/// How many ports one address has.
const PORTS: u32 = 64_512;
/// After so many segments sent, what arrived is taken in, before the sockets are full.
const SENDS_BETWEEN_RECEPTIONS: u32 = 64;

/// A TCP end that sends what it is told to, and keeps a [`Ledger`].
#[derive(Debug)]
pub struct Client {
    ipv4: Pair,
    ipv6: Option<Pair>,
    handshakes: Arc<AtomicU32>,
    ledger: Ledger,
    buffer: Box<[u8]>,
    sends: u32,
}

/// Why a client could not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A socket cannot be made.
    #[error("{what} for the client cannot be had ({cause}): that needs CAP_NET_RAW and CAP_NET_ADMIN")]
    Open {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The network did not run what was needed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The segment cannot be built.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The kernel did not take the segment.
    #[error("a segment to {server} cannot be sent ({cause}): is the address one of the private network's?")]
    Send {
        /// Where it should go.
        server: SocketAddr,
        /// What sendto(2) said.
        cause: io::Error,
    },
    /// There is no IPv6.
    #[error("{server} cannot be reached without IPv6 on this host: use an IPv4 address")]
    NoIpv6 {
        /// Where it should go.
        server: SocketAddr,
    },
    /// Receiving failed.
    #[error("the packets of the private network cannot be received ({cause}): make a new one")]
    Receive {
        /// What recv(2) or poll(2) said.
        cause: io::Error,
    },
    /// Every address and port was used once.
    #[error("the private network has no address and port left for another handshake: make a new one")]
    Exhausted,
    /// The handshake is another client's.
    #[error("handshake {id:?} is not this client's: ask the client that began it")]
    Unknown {
        /// Which.
        id: HandshakeId,
    },
    /// The server has not answered, so there is nothing to acknowledge.
    #[error("no SYN-ACK came to {client}: wait for it before its last ACK is sent")]
    Unanswered {
        /// The client's end.
        client: SocketAddr,
    },
    /// What was waited for did not come.
    #[error("not within {patience:?}: {what} (the client {ledger})")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
        /// What the client sent and received, in words.
        ledger: String,
    },
}

impl Client {
    /// Opens one in this network: CAP_NET_RAW and CAP_NET_ADMIN are needed. Several in one network never
    /// begin the same handshake.
    ///
    /// # Errors
    /// When its sockets cannot be made.
    pub fn open(network: &PrivateNetwork) -> Result<Self, ClientError> {
        let has_ipv6 = network.without_ipv6().is_none();
        let open = move || -> Result<_, ClientError> {
            let ipv6 = if has_ipv6 { Some(Pair::for_ipv6()?) } else { None };
            Ok((Pair::for_ipv4()?, ipv6))
        };
        let (ipv4, ipv6) = network.run(open)??;
        Ok(Self {
            ipv4,
            ipv6,
            handshakes: network.handshakes(),
            ledger: Ledger::default(),
            buffer: vec![0; PACKET_BYTES].into_boxed_slice(),
            sends: 0,
        })
    }

    /// What was sent and received so far; [`Self::receive`] takes in what has arrived since.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Begins a handshake by its SYN, from an address, port and sequence number that are new: the n-th of
    /// a network is the same in every run. The server may be any address of the network, broadcast too.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn syn(&mut self, server: SocketAddr) -> Result<HandshakeId, ClientError> {
        let handshake = self.next_handshake(server)?;
        self.begin(handshake, &[])
    }

    /// The same with data in the SYN, as TCP Fast Open has it, and without a cookie.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn syn_with_data(&mut self, server: SocketAddr, bytes: &[u8]) -> Result<HandshakeId, ClientError> {
        let mut handshake = self.next_handshake(server)?;
        handshake.syn_data = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.begin(handshake, bytes)
    }

    /// The same from the address to which [`PrivateNetwork::strand`] takes the routes away.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn syn_of_stranded(&mut self, server: SocketAddr) -> Result<HandshakeId, ClientError> {
        let mut handshake = self.next_handshake(server)?;
        handshake.client.set_ip(client_address(server.ip(), STRANDED));
        self.begin(handshake, &[])
    }

    fn begin(&mut self, handshake: Handshake, data: &[u8]) -> Result<HandshakeId, ClientError> {
        self.send(&Segment { payload: data.to_vec(), ..syn(&handshake) })?;
        self.ledger.syns_sent += 1;
        Ok(self.ledger.begin(handshake))
    }

    /// Sends the SYN of a handshake again, as a client that had no answer; without data.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn syn_again(&mut self, id: HandshakeId) -> Result<(), ClientError> {
        let segment = syn(self.handshake(id)?);
        self.send(&segment)?;
        self.ledger.syn_retransmits_sent += 1;
        Ok(())
    }

    /// Finishes a handshake by its last ACK; the SYN-ACK must have been received.
    ///
    /// # Errors
    /// When there was no SYN-ACK, or it cannot be sent.
    pub fn last_ack(&mut self, id: HandshakeId) -> Result<(), ClientError> {
        let segment = last_ack(self.handshake(id)?)?;
        self.send(&segment)?;
        self.ledger.last_acks_sent += 1;
        Ok(())
    }

    /// Sends the last ACK again.
    ///
    /// # Errors
    /// As [`Self::last_ack`].
    pub fn last_ack_again(&mut self, id: HandshakeId) -> Result<(), ClientError> {
        let segment = last_ack(self.handshake(id)?)?;
        self.send(&segment)?;
        self.ledger.last_acks_again += 1;
        Ok(())
    }

    /// Sends the first data of a connection, which acknowledges the SYN-ACK as well. A second call sends it
    /// again.
    ///
    /// # Errors
    /// As [`Self::last_ack`], and when the data does not fit into a packet.
    pub fn data(&mut self, id: HandshakeId, bytes: &[u8]) -> Result<(), ClientError> {
        let segment = Segment { payload: bytes.to_vec(), ..last_ack(self.handshake(id)?)? };
        self.send(&segment)?;
        self.ledger.data_segments_sent += 1;
        if let Some(handshake) = self.ledger.handshake_mut(id) {
            handshake.first_data = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// Sends the data that comes after that of [`Self::data`].
    ///
    /// # Errors
    /// As [`Self::data`].
    pub fn second_data(&mut self, id: HandshakeId, bytes: &[u8]) -> Result<(), ClientError> {
        let handshake = self.handshake(id)?;
        let mut segment = Segment { payload: bytes.to_vec(), ..last_ack(handshake)? };
        segment.sequence = segment.sequence.wrapping_add(handshake.first_data);
        self.send(&segment)?;
        self.ledger.data_segments_sent += 1;
        Ok(())
    }

    /// Gives a handshake or connection up by a reset, with the sequence number that follows what was sent
    /// by [`Self::data`].
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn reset(&mut self, id: HandshakeId) -> Result<(), ClientError> {
        let handshake = self.handshake(id)?;
        let mut segment = Segment { reset: true, ..after_syn(handshake) };
        segment.sequence = segment.sequence.wrapping_add(handshake.first_data);
        self.send(&segment)?;
        self.ledger.resets_sent += 1;
        Ok(())
    }

    /// Sends an ACK that answers no SYN-ACK: to a listener that sends cookies it is a bad one.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn bad_cookie_ack(&mut self, server: SocketAddr) -> Result<HandshakeId, ClientError> {
        let handshake = self.next_handshake(server)?;
        let segment = Segment { acknowledgement: Some(handshake.sequence), ..after_syn(&handshake) };
        self.send(&segment)?;
        self.ledger.bad_cookie_acks_sent += 1;
        Ok(self.ledger.begin(handshake))
    }

    /// Sends an ICMP error for a handshake's SYN-ACK, as if that had not come to the client. `beside`: so far from
    /// the SYN-ACK's sequence number is the one that is quoted.
    ///
    /// # Errors
    /// When there was no SYN-ACK, or it cannot be sent.
    pub fn icmp_error(
        &mut self,
        id: HandshakeId,
        error: Unreachable,
        beside: u32,
    ) -> Result<(), ClientError> {
        let handshake = self.handshake(id)?;
        let acknowledgement = last_ack(handshake)?.acknowledgement.unwrap_or_default();
        let synack = Segment {
            sequence: acknowledgement.wrapping_sub(1).wrapping_add(beside),
            acknowledgement: Some(after_syn(handshake).sequence),
            syn: true,
            ..Segment::between(handshake.server, handshake.client)
        };
        let (server, packet) = (handshake.server, error.answer_to(&synack)?);
        self.send_packet(server, &packet)?;
        self.ledger.errors_sent += 1;
        Ok(())
    }

    /// Takes in everything that has arrived, without waiting.
    ///
    /// # Errors
    /// When the sockets fail.
    pub fn receive(&mut self) -> Result<(), ClientError> {
        for pair in [Some(&self.ipv4), self.ipv6.as_ref()].into_iter().flatten() {
            let failed = |cause| ClientError::Receive { cause };
            while let Some(packet) = pair.receive(&mut self.buffer).map_err(failed)? {
                if let Some(segment) = Segment::from_packet(packet) {
                    self.ledger.note(&segment);
                }
            }
        }
        Ok(())
    }

    /// Receives until the condition holds.
    ///
    /// # Errors
    /// When it does not hold within `patience`, or the sockets fail.
    pub fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&Ledger) -> bool,
    ) -> Result<(), ClientError> {
        let begin = Instant::now();
        loop {
            self.receive()?;
            if holds(&self.ledger) {
                return Ok(());
            }
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() {
                let ledger = self.ledger.to_string();
                return Err(ClientError::TimedOut { what: what.to_owned(), patience, ledger });
            }
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let pairs = [Some(&self.ipv4), self.ipv6.as_ref()].into_iter().flatten();
            wait_for_packets(pairs, &left).map_err(|cause| ClientError::Receive { cause })?;
        }
    }

    fn handshake(&self, id: HandshakeId) -> Result<&Handshake, ClientError> {
        self.ledger.handshake(id).ok_or(ClientError::Unknown { id })
    }

    /// A handshake unlike every other of the network.
    fn next_handshake(&self, server: SocketAddr) -> Result<Handshake, ClientError> {
        let number = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let (client, sequence) = identity(number, server.ip()).ok_or(ClientError::Exhausted)?;
        Ok(Handshake::new(client, server, sequence))
    }

    fn send(&mut self, segment: &Segment) -> Result<(), ClientError> {
        self.send_packet(segment.destination, &segment.to_packet()?)
    }

    fn send_packet(&mut self, server: SocketAddr, packet: &[u8]) -> Result<(), ClientError> {
        // Before and not after: the answer to a SYN has no account to go to until its sender opens one.
        if self.sends.is_multiple_of(SENDS_BETWEEN_RECEPTIONS) {
            self.receive()?;
        }
        let pair = match server {
            SocketAddr::V4(_) => &self.ipv4,
            SocketAddr::V6(_) => self.ipv6.as_ref().ok_or(ClientError::NoIpv6 { server })?,
        };
        pair.send(packet, server.ip()).map_err(|cause| ClientError::Send { server, cause })?;
        self.sends = self.sends.wrapping_add(1);
        Ok(())
    }
}

/// The end and the initial sequence number of the n-th handshake of a network.
fn identity(number: u32, like: IpAddr) -> Option<(SocketAddr, u32)> {
    let index = u8::try_from(number / PORTS).ok().filter(|index| *index < CLIENT_ADDRESSES)?;
    let port = FIRST_PORT.checked_add(u16::try_from(number % PORTS).ok()?)?;
    // Far enough apart for the data of each, and recognisable in a dump.
    let sequence = number.wrapping_mul(0x0001_0000).wrapping_add(0x1000_0000);
    Some((SocketAddr::new(client_address(like, index), port), sequence))
}

fn syn(handshake: &Handshake) -> Segment {
    Segment {
        sequence: handshake.sequence,
        syn: true,
        max_segment_size: Some(MAX_SEGMENT_SIZE),
        ..Segment::between(handshake.client, handshake.server)
    }
}

/// A segment that comes after the SYN and what the server took with it, with nothing set yet.
fn after_syn(handshake: &Handshake) -> Segment {
    let sequence = handshake.sequence.wrapping_add(1).wrapping_add(handshake.data_taken);
    Segment { sequence, ..Segment::between(handshake.client, handshake.server) }
}

fn last_ack(handshake: &Handshake) -> Result<Segment, ClientError> {
    let unanswered = ClientError::Unanswered { client: handshake.client };
    let server_sequence = handshake.server_sequence.ok_or(unanswered)?;
    Ok(Segment { acknowledgement: Some(server_sequence.wrapping_add(1)), ..after_syn(handshake) })
}
