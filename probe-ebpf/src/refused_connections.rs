//! Connections that were refused, each of them once.
//!
//! A client whose SYN or last ACK is dropped sends it again, and each one is another listen drop. The
//! kernel keeps no trace of a dropped SYN, so a fingerprint of the connection is kept here: addresses,
//! ports and the sequence number of the client's SYN, which is the same whenever it is sent again
//! and another one in each new connection.
//!
//! The table is bounded. A fingerprint has one of four places, which its lowest bits name; a fifth that comes to
//! these makes the oldest be forgotten, and a later packet of that connection counts it once more. With a single place
//! for each, three thousand refused connections were enough for some sixty pairs that made each other forgotten.
use aya_ebpf::{macros::map, maps::Array};

use crate::{
    bracket::Stage,
    kernel_read::{ETH_P_IP, KernelPointer, KernelRead, Probed},
    rows::opened_at,
    settings::global,
};

/// A packet that a listener has to do with.
pub(crate) struct Packet {
    pub(crate) stage: Stage,
    /// Its `struct sk_buff`.
    pub(crate) skb: KernelPointer,
    /// Its `struct request_sock`; read for a last ACK only.
    pub(crate) request: KernelPointer,
}

impl Packet {
    /// The sequence number of the client's SYN.
    #[inline(always)]
    fn client_isn(&self, tcp: KernelPointer) -> Option<u32> {
        if self.stage == Stage::LastAck {
            // Not the packet's own number: the client may have sent data by now.
            return Probed::read(self.request, global!(KERNEL_OFFSETS.request_client_isn));
        }
        let number = u32::from_be(Probed::read(tcp, TCP_SEQUENCE)?);
        Some(if self.stage == Stage::Cookie { number.wrapping_sub(1) } else { number })
    }
}

/// Fingerprints that share their lowest bits and are remembered, the newest first.
type Places = [u64; 4];
/// So often: 65,536 connections at most, in 512 KiB.
const SETS: u32 = 1 << 14;

#[map]
static REFUSED_CONNECTIONS: Array<Places> = Array::with_max_entries(SETS, 0);

/// Where `saddr` is in `struct iphdr` and `struct ipv6hdr`.
const IPV4_SOURCE: u32 = 12;
const IPV6_SOURCE: u32 = 8;
/// Where `seq` is in `struct tcphdr`, behind the two ports.
const TCP_SEQUENCE: u32 = 4;

/// Whether a connection is not known to have been refused before; from now on it is. One whose
/// packet could not be read counts each time.
#[inline(always)]
pub(crate) fn is_first_refusal(fingerprint: Option<u64>) -> bool {
    let Some(fingerprint) = fingerprint else { return true };
    let Some(places) = REFUSED_CONNECTIONS.get_ptr_mut(set_of(fingerprint)) else { return true };
    // SAFETY: an aligned map value, checked by the verifier. Two CPUs may write at once: one is forgotten.
    unsafe {
        let [newest, second, third, oldest] = places.read_volatile();
        if fingerprint == newest || fingerprint == second || fingerprint == third || fingerprint == oldest {
            return false;
        }
        places.write_volatile([fingerprint, newest, second, third]);
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
pub(crate) fn fingerprint(packet: &Packet, row: u32) -> Option<u64> {
    let head = Probed::read::<KernelPointer>(packet.skb, global!(KERNEL_OFFSETS.skb_head))?;
    let header =
        |offset: u32| Some(head.wrapping_byte_add(usize::from(Probed::read::<u16>(packet.skb, offset)?)));
    let tcp = header(global!(KERNEL_OFFSETS.skb_transport_header))?;
    let ip = header(global!(KERNEL_OFFSETS.skb_network_header))?;
    let ports = Probed::read::<u32>(tcp, 0)?;
    let mut hash = mix(u64::from(ports) << 32 | u64::from(packet.client_isn(tcp)?));
    if Probed::read::<u16>(packet.skb, global!(KERNEL_OFFSETS.skb_protocol)) == Some(ETH_P_IP) {
        hash = mix(hash ^ u64::from(Probed::read::<u32>(ip, IPV4_SOURCE)?));
    } else {
        hash = mix(hash ^ Probed::read::<u64>(ip, IPV6_SOURCE)?);
        hash = mix(hash ^ Probed::read::<u64>(ip, IPV6_SOURCE + 8)?);
    }
    // A listener that has the port, or the row, after another one is asked for the first time.
    hash = mix(hash ^ u64::from(row) << 48 ^ opened_at(row));
    Some(hash | 1 << 63)
}

/// The finaliser of splitmix64: every bit of the input changes half of the output's.
#[inline(always)]
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
