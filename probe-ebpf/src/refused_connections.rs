//! Connections that were refused, each of them once.
//!
//! A client whose SYN or last ACK is dropped sends it again, and each one is another listen drop. The
//! kernel keeps no trace of a dropped SYN, so a fingerprint of the connection is kept here: addresses,
//! ports and the sequence number of the client's SYN, which is the same whenever it is sent again
//! and another one in each new connection.
//!
//! The table is bounded. A fingerprint has one of eight places, which its lowest bits name; a ninth that comes to
//! these makes the oldest be forgotten, and a later packet of that connection counts it once more. With four places, three
//! thousand refused connections had five in one set every fiftieth time, and these made each other forgotten at each try.
use aya_ebpf::{macros::map, maps::Array};

use crate::{
    cast,
    kernel_read::{ETH_P_IP, KernelPointer, KernelRead, Probed},
    packet::{IPV6_SOURCE, Packet, Stage, head_of, header_behind},
    rows::opened_at,
    settings::global,
};

/// Fingerprints that share their lowest bits and are remembered, the newest first.
type Places = [u64; 8];
/// So often: 65,536 connections at most, in 512 KiB.
const SETS: u32 = 1 << 13;

#[map]
static REFUSED_CONNECTIONS: Array<Places> = Array::with_max_entries(SETS, 0);

/// Where `saddr` is in `struct iphdr`.
const IPV4_SOURCE: u32 = 12;

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

/// Where it is remembered: by its lowest bits.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
const fn set_of(fingerprint: u64) -> u32 {
    fingerprint as u32 % SETS
}

/// What tells a connection to the listener in `row` from others.
///
/// Never 0, which is an empty place.
#[inline(always)]
pub(crate) fn fingerprint<R: KernelRead>(stage: Stage, packet: &Packet, row: u32) -> Option<u64> {
    let skb = packet.skb;
    let head = head_of::<R>(skb)?;
    let header = |offset: u32| header_behind::<R>(skb, head, offset);
    let tcp = header(global!(KERNEL_OFFSETS.skb_transport_header))?;
    let (ports, sequence) = ports_and_sequence(tcp)?;
    let mut hash = mix(u64::from(ports) << 32 | u64::from(client_isn(stage, packet, sequence)?));
    let ip = header(global!(KERNEL_OFFSETS.skb_network_header))?;
    if R::read::<u16>(skb, global!(KERNEL_OFFSETS.skb_protocol)) == Some(ETH_P_IP) {
        let source: u32 = cast::read(global!(KERNEL_OFFSETS.type_iphdr), ip, IPV4_SOURCE)?;
        hash ^= u64::from(source);
    } else {
        let [high, low] = Probed::read::<[u64; 2]>(ip, IPV6_SOURCE)?;
        hash = mix(hash ^ high) ^ low;
    }
    // A listener that has the port, or the row, after another one is asked for the first time.
    hash = mix(hash ^ u64::from(row) << 48 ^ opened_at(row));
    Some(hash | 1 << 63)
}

/// Both ports, and `seq`, which is behind them in `struct tcphdr`; neighbours are read at once where a call is needed.
#[inline(always)]
fn ports_and_sequence(tcp: KernelPointer) -> Option<(u32, u32)> {
    let id = global!(KERNEL_OFFSETS.type_tcphdr);
    if id == 0 {
        let [ports, sequence] = Probed::read::<[u32; 2]>(tcp, 0)?;
        return Some((ports, sequence));
    }
    let (source, destination) = (cast::read::<u16>(id, tcp, 0)?, cast::read::<u16>(id, tcp, 2)?);
    Some((u32::from(source) | u32::from(destination) << 16, cast::read(id, tcp, 4)?))
}

/// The sequence number of the client's SYN. `sequence`: the packet's own, as it was sent.
#[inline(always)]
fn client_isn(stage: Stage, packet: &Packet, sequence: u32) -> Option<u32> {
    match stage {
        // Not the packet's own number: the client may have sent data by now.
        Stage::LastAck => cast::read(
            global!(KERNEL_OFFSETS.type_tcp_request_sock),
            packet.request,
            global!(KERNEL_OFFSETS.request_client_isn),
        ),
        Stage::Cookie => Some(u32::from_be(sequence).wrapping_sub(1)),
        Stage::Syn | Stage::RequestError => Some(u32::from_be(sequence)),
    }
}

/// The finaliser of splitmix64: every bit of the input changes half of the output's.
#[inline(always)]
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
