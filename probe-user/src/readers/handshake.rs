//! The handshake signal's totals, from the BPF maps: the pure half.
//!
//! The bpf(2) half is whoever implements [`HandshakeSource`]. The maps hold one value per CPU; each
//! only grows while it is read, so a sum over the CPUs is a number that the total had, or passed,
//! during the read.
use std::{
    collections::BTreeMap,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_common::{
    handshake::{AF_INET, AF_INET6, HandshakeCounters, PortKey},
    loss::Loss,
};

use crate::sample::{HandshakeTotals, HookSample, PortId};

/// The reason, beside those of [`Loss`], for counts under a key whose address family is unknown.
pub const LOSS_UNKNOWN_FAMILY: &str = "unknown_family";

/// Where the totals are read from: the maps of the attached hooks.
pub trait HandshakeSource {
    /// Every entry of the `HANDSHAKE` map, with one value per CPU.
    ///
    /// # Errors
    /// When the map cannot be read completely.
    fn ports(&self) -> Result<Vec<(PortKey, Vec<HandshakeCounters>)>, SourceError>;

    /// The row of the ports past the map's budget, with one value per CPU.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn other(&self) -> Result<Vec<HandshakeCounters>, SourceError>;

    /// The `LOSSES` map: for each index one value per CPU.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn losses(&self) -> Result<Vec<Vec<u64>>, SourceError>;
}

/// A BPF map that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("BPF map {map} cannot be read, this sample has no handshake totals: {cause}")]
pub struct SourceError {
    /// The map's name.
    pub map: &'static str,
    /// What the look-up said.
    pub cause: Box<dyn Error + Send + Sync>,
}

/// The `HANDSHAKE` map at one instant, summed over the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTotals {
    /// The sums, per port.
    counters: BTreeMap<PortId, HandshakeCounters>,
    /// Entries with a key that is neither IPv4 nor IPv6.
    unknown_family: u64,
}

/// Sums the `HANDSHAKE` map over the CPUs.
pub fn decode_ports<V>(entries: impl IntoIterator<Item = (PortKey, V)>) -> PortTotals
where
    V: IntoIterator<Item = HandshakeCounters>,
{
    let mut totals = PortTotals::default();
    for (key, values) in entries {
        let Some(address) = decode_address(&key) else {
            totals.unknown_family = totals.unknown_family.saturating_add(1);
            continue;
        };
        let id = PortId { netns: key.netns, address, port: key.port };
        totals.counters.entry(id).or_default().add(&sum(values));
    }
    totals
}

/// Sums one row over the CPUs.
pub fn decode_totals(values: impl IntoIterator<Item = HandshakeCounters>) -> HandshakeTotals {
    totals(&sum(values))
}

/// Sums the `LOSSES` map over the CPUs and names its entries; an index that the map does not have is
/// left out. Keys of an unknown family are a loss as well.
pub fn decode_losses(losses: &[Vec<u64>], ports: &PortTotals) -> BTreeMap<String, u64> {
    let mut named: BTreeMap<_, _> = Loss::ALL
        .into_iter()
        .filter_map(|loss| Some((loss, losses.get(usize::try_from(loss as u32).ok()?)?)))
        .map(|(loss, values)| {
            (loss.label().to_owned(), values.iter().fold(0, |sum, value| value.wrapping_add(sum)))
        })
        .collect();
    if ports.unknown_family > 0 {
        named.insert(LOSS_UNKNOWN_FAMILY.to_owned(), ports.unknown_family);
    }
    named
}

/// Puts the reads together: `before` and `after` are the `HANDSHAKE` map before and after the sockets.
pub fn join(
    before: Option<&PortTotals>,
    after: PortTotals,
    other: HandshakeTotals,
    losses: BTreeMap<String, u64>,
) -> HookSample {
    let mut sample = HookSample { other, losses, ..HookSample::default() };
    for (id, before) in before.into_iter().flat_map(|before| &before.counters) {
        sample.discarded_segments_before.insert(*id, before.discarded_segments);
        if after.counters.get(id).is_some_and(|after| same_listeners(before, after)) {
            sample.closed_listener_drops.insert(*id, before.closed_listener_drops);
        }
    }
    sample.ports = after.counters.into_iter().map(|(id, counters)| (id, totals(&counters))).collect();
    sample
}

/// Whether no listener that matters was opened or closed between the two reads. A closing adds the
/// listener's drops; only an opening takes some off, and each opening is counted: two equal sums with
/// as many openings are the same listeners, but for those that came and went without any drop.
fn same_listeners(before: &HandshakeCounters, after: &HandshakeCounters) -> bool {
    before.closed_listener_drops == after.closed_listener_drops
        && before.listeners_opened == after.listeners_opened
}

/// The address of a key: `skc_rcv_saddr` is in network order and in the first four bytes.
fn decode_address(key: &PortKey) -> Option<IpAddr> {
    let [a, b, c, d, ..] = key.address;
    match key.family {
        AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
        // A v4-mapped address stays one: sock_diag shows it in the same form.
        AF_INET6 => Some(Ipv6Addr::from(key.address).into()),
        _ => None,
    }
}

fn sum(values: impl IntoIterator<Item = HandshakeCounters>) -> HandshakeCounters {
    values.into_iter().fold(HandshakeCounters::default(), |mut sum, value| {
        sum.add(&value);
        sum
    })
}

fn totals(counters: &HandshakeCounters) -> HandshakeTotals {
    HandshakeTotals {
        syn_received: counters.syn_received,
        syn_queued: counters.syn_queued,
        established: counters.established,
        last_ack_received: counters.last_ack_received,
        last_ack_refused: counters.last_ack_refused,
        synack_retransmits: counters.synack_retransmits,
        accept_queue_overflows_syn: counters.accept_queue_overflows_syn,
        accept_queue_overflows_ack: counters.accept_queue_overflows_ack,
        listen_drops: counters.listen_drops,
        discarded_segments: counters.discarded_segments,
        listeners_opened: counters.listeners_opened,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(address: &str, family: u16) -> PortKey {
        let mut octets = match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        octets.resize(16, 0);
        PortKey { address: octets.try_into().unwrap(), netns: 7, port: 80, family }
    }

    fn counters(closed_listener_drops: u64, listeners_opened: u64) -> HandshakeCounters {
        HandshakeCounters { closed_listener_drops, listeners_opened, ..HandshakeCounters::default() }
    }

    fn port(counters: HandshakeCounters) -> PortTotals {
        decode_ports([(key("10.0.0.1", AF_INET), [counters])])
    }

    #[test]
    fn a_key_becomes_the_listeners_own_address() {
        let check = |address: &str, family: u16| {
            let totals = decode_ports([(key(address, family), [HandshakeCounters::default()])]);
            let expected = PortId { netns: 7, address: address.parse().unwrap(), port: 80 };
            assert_eq!(totals.counters.keys().collect::<Vec<_>>(), [&expected]);
        };
        check("10.0.0.1", AF_INET);
        check("0.0.0.0", AF_INET);
        check("::", AF_INET6);
        check("2001:db8::1", AF_INET6);
        check("::ffff:10.0.0.1", AF_INET6);
    }

    #[test]
    fn a_key_of_an_unknown_family_is_counted_as_a_loss() {
        let entries = [(key("::", 1), [counters(1, 1)]), (key("::", AF_INET6), [counters(1, 1)])];
        let totals = decode_ports(entries);
        assert_eq!(totals.counters.len(), 1);
        assert_eq!(decode_losses(&[], &totals), BTreeMap::from([(LOSS_UNKNOWN_FAMILY.to_owned(), 1)]));
    }

    #[test]
    fn the_cpus_are_added_up_and_differences_may_wrap() {
        let totals =
            decode_ports([(key("::", AF_INET6), [counters(5, 1), counters(5_u64.wrapping_neg(), 2)])]);
        assert_eq!(totals.counters.values().collect::<Vec<_>>(), [&counters(0, 3)]);
        let other = decode_totals([HandshakeCounters { syn_received: 2, ..HandshakeCounters::default() }; 3]);
        assert_eq!(other, HandshakeTotals { syn_received: 6, ..HandshakeTotals::default() });
    }

    #[test]
    fn a_loss_is_named_and_one_that_the_map_lacks_is_left_out() {
        let check = |losses: &[Vec<u64>], expected: &[(&str, u64)]| {
            let named = decode_losses(losses, &PortTotals::default());
            let expected = expected.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect();
            assert_eq!(named, expected);
        };
        check(&[], &[]);
        check(&[vec![1, 2]], &[("port_map_full", 3)]);
        check(&[vec![0], vec![4, 0]], &[("bracket_unmatched", 4), ("port_map_full", 0)]);
    }

    #[test]
    fn what_closed_listeners_dropped_is_left_out_where_listeners_changed_meanwhile() {
        let check = |before: HandshakeCounters, after: HandshakeCounters, expected: &[u64]| {
            let before = port(before);
            let sample = join(Some(&before), port(after), HandshakeTotals::default(), BTreeMap::new());
            let closed: Vec<_> = sample.closed_listener_drops.into_values().collect();
            assert_eq!(closed, expected);
            assert_eq!(sample.discarded_segments_before.len(), 1);
        };
        check(counters(5, 1), counters(5, 1), &[5]);
        check(counters(5, 1), counters(8, 1), &[]);
        check(counters(5, 1), counters(5, 2), &[]);
        check(counters(5, 1), counters(3, 2), &[]);
    }

    #[test]
    fn without_a_read_before_the_sockets_nothing_is_known_of_closed_listeners() {
        let sample = join(None, port(counters(5, 1)), HandshakeTotals::default(), BTreeMap::new());
        assert!(sample.closed_listener_drops.is_empty() && sample.discarded_segments_before.is_empty());
        assert_eq!(sample.ports.len(), 1);
    }

    proptest! {
        #[test]
        fn no_key_and_no_value_make_the_decoder_panic(
            address: [u8; 16], netns: u32, port: u16, family in prop_oneof![0_u16..12, any::<u16>()],
            values: Vec<u64>, losses: Vec<Vec<u64>>,
        ) {
            let values = values.iter().map(|value| counters(*value, *value));
            let entry = (PortKey { address, netns, port, family }, values);
            let totals = decode_ports([entry.clone(), entry]);
            let known = usize::from(family == AF_INET || family == AF_INET6);
            prop_assert_eq!(totals.counters.len(), known);
            prop_assert!(decode_losses(&losses, &totals).len() <= Loss::ALL.len() + 1);
        }
    }
}
