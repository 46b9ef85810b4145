//! Connections that were refused, each of them once.
//!
//! A client whose SYN or last ACK is dropped sends it again, and each one is another listen drop. The
//! kernel keeps no trace of a dropped SYN, so a fingerprint of the connection is kept here: addresses,
//! ports and the sequence number of the client's SYN, which is the same whenever it is sent again
//! and another one in each new connection.
//!
//! The table is bounded. A fingerprint has one of eight places, which its highest bits name; a ninth that comes to
//! these makes the oldest be forgotten, and a later packet of that connection counts it once more. With four places, three
//! thousand refused connections had five in one set every fiftieth time, and these made each other forgotten at each try.
use aya_ebpf::{macros::map, maps::Array};

use crate::{
    cast,
    kernel_read::{Direct, ETH_P_IP, KernelPointer, KernelRead, Probed},
    packet::{Packet, Stage, tcp_header},
    rows::opened_at,
    settings::global,
};

/// Fingerprints that share their highest bits and are remembered, the newest first.
type Places = [u64; 8];
/// So often: 65,536 connections at most, in 512 KiB.
const SETS: u32 = 1 << 13;

#[map]
static REFUSED_CONNECTIONS: Array<Places> = Array::with_max_entries(SETS, 0);

/// Whether a connection is not known to have been refused before; from now on it is. One whose
/// packet could not be read counts each time.
#[inline(always)]
pub(crate) fn is_first_refusal(fingerprint: Option<u64>) -> bool {
    let Some(fingerprint) = fingerprint else { return true };
    let Some(places) = REFUSED_CONNECTIONS.get_ptr_mut(set_of(fingerprint)) else { return true };
    // SAFETY: an aligned map value, checked by the verifier. Two CPUs may write at once: one is forgotten.
    unsafe {
        let [a, b, c, d, e, f, g, h] = places.read_volatile();
        let half = fingerprint == a || fingerprint == b || fingerprint == c || fingerprint == d;
        if half || fingerprint == e || fingerprint == f || fingerprint == g || fingerprint == h {
            return false;
        }
        places.write_volatile([fingerprint, a, b, c, d, e, f, g]);
    }
    true
}

/// Where it is remembered: by its highest bits, which depend on all others.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the bits that are left are a place")]
const fn set_of(fingerprint: u64) -> u32 {
    (fingerprint >> (u64::BITS - SETS.trailing_zeros())) as u32
}

/// What tells a connection to the listener in `row` from others: addresses, ports, the number of its SYN, and since when the
/// listener has listened. One that has the port, or the row, after another one is asked for the first time.
///
/// Never 0, which is an empty place.
#[inline(always)]
pub(crate) fn fingerprint<R: KernelRead>(stage: Stage, packet: &Packet, row: u32) -> Option<u64> {
    let tcp = tcp_header::<R>(packet.skb)?;
    let is_ipv4 = R::read::<u16>(packet.skb, global!(KERNEL_OFFSETS.skb_protocol)) == Some(ETH_P_IP);
    let Client { address, ports_and_sequence } = client(tcp, is_ipv4)?;
    let numbers = match stage {
        Stage::Syn | Stage::RequestError => ports_and_sequence,
        // From here on not the packet's own number: the client may have sent data by now.
        Stage::LastAck => with_sequence(ports_and_sequence, client_isn(packet)?),
        Stage::Cookie => {
            let sequence = u32::from_be((ports_and_sequence >> 32) as u32);
            with_sequence(ports_and_sequence, sequence.wrapping_sub(1))
        }
    };
    let listener = u64::from(row) << 48 ^ opened_at(row);
    Some(spread(address, numbers ^ listener) | 1)
}

/// What two numbers make: neighbours of the one or the other are far from each other, and no two pairs that only differ in
/// one come to the same.
#[inline(always)]
const fn spread(first: u64, second: u64) -> u64 {
    (first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ second).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// What a packet tells of its client.
struct Client {
    /// The end of the IP header: IPv4's addresses, of IPv6 the client's in a number. Options and extension headers, if there are
    /// any, are what it is instead: they are the same when a packet is sent again.
    address: u64,
    /// The beginning of `struct tcphdr`: both ports, and `seq` in the upper half.
    ports_and_sequence: u64,
}

/// Reads it where the TCP header begins, and before. Words at once: each look costs, by a helper most of all.
#[inline(always)]
fn client(tcp: KernelPointer, is_ipv4: bool) -> Option<Client> {
    /// How long both addresses of IPv6 are, and those of IPv4.
    const IPV6: usize = 32;
    const IPV4: usize = 8;
    let id = global!(KERNEL_OFFSETS.type_linux_mib);
    if is_ipv4 {
        let start = tcp.wrapping_byte_sub(IPV4);
        let [address, ports_and_sequence] = if id == 0 {
            Probed::read(start, 0)?
        } else {
            let words = cast::rdonly_cast(start, id);
            [Direct::read(words, 0)?, Direct::read(words, 8)?]
        };
        return Some(Client { address, ports_and_sequence });
    }
    let [high, low, _, _, ports_and_sequence] = Probed::read::<[u64; 5]>(tcp.wrapping_byte_sub(IPV6), 0)?;
    Some(Client { address: spread(high, low), ports_and_sequence })
}

/// The same ports with another sequence number.
#[inline(always)]
const fn with_sequence(ports_and_sequence: u64, sequence: u32) -> u64 {
    ports_and_sequence & 0xffff_ffff | (sequence.to_be() as u64) << 32
}

/// The sequence number of the SYN that a request was made of.
#[inline(always)]
fn client_isn(packet: &Packet) -> Option<u32> {
    cast::read(
        global!(KERNEL_OFFSETS.type_tcp_request_sock),
        packet.request,
        global!(KERNEL_OFFSETS.request_client_isn),
    )
}
