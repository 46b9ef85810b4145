//! The handshake signal's totals, from the BPF maps: the pure half.
//!
//! The bpf(2) half is whoever implements [`HandshakeSource`].
use std::{
    collections::BTreeMap,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use probe_common::{
    handshake::{AF_INET, AF_INET6, HandshakeCounters, PortKey},
    loss::Loss,
};

use super::accept_queue::QueueRow;
use crate::{
    sample::{HookSample, PortId, QueueSample, SocketTotals},
    sorted::Sorted,
};

/// The reason, beside those of [`Loss`], for counts under a key whose address family is unknown.
pub const LOSS_UNKNOWN_FAMILY: &str = "unknown_family";

/// One row of totals, summed over the CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The port that it belongs to.
    pub port: PortKey,
    /// The inode number of the listening socket that it is of; 0 for no single one.
    pub inode: u64,
    /// The totals.
    pub counters: HandshakeCounters,
    /// Its queues.
    pub queues: QueueRow,
    /// What listen() was asked for; `None` when the call was not seen.
    pub backlog_requested: Option<i32>,
    /// The process that called listen(); `None` when that was not seen.
    pub opened_by: Option<u32>,
}

/// Where the totals are read from: the maps of the attached hooks.
pub trait HandshakeSource {
    /// What every row has counted of handshakes, and nothing else of it.
    ///
    /// # Errors
    /// When the maps cannot be read completely.
    fn counters(&self) -> Result<Vec<(PortKey, HandshakeCounters)>, SourceError>;

    /// Gives away every row; a port's total is the sum over its rows.
    ///
    /// # Errors
    /// When the maps cannot be read completely.
    fn each_row(&self, take: &mut dyn FnMut(Row)) -> Result<(), SourceError>;

    /// What was counted of handshakes at the listeners that there is no row left for.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn other_counters(&self) -> Result<HandshakeCounters, SourceError>;

    /// All totals of the listeners that there is no row left for.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn other(&self) -> Result<(HandshakeCounters, QueueRow), SourceError>;

    /// The `LOSSES` map.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn losses(&self) -> Result<Vec<u64>, SourceError>;
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

/// All rows at one instant, or only what they have counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// The sums, per port.
    ports: Sorted<PortId, HandshakeCounters>,
    /// The queues, per port.
    queues: Sorted<PortId, Arc<QueueSample>>,
    /// The rows that are of one socket.
    sockets: Vec<SocketTotals>,
    /// Rows of a port that is neither IPv4 nor IPv6.
    unknown_family: u64,
}

impl Totals {
    /// SYNs put in the SYN queues of each network namespace.
    pub(super) fn syn_queued_by_namespace(&self) -> BTreeMap<u32, u64> {
        let mut sums = BTreeMap::<u32, u64>::new();
        for (port, counters) in self.ports.iter() {
            let sum = sums.entry(port.netns).or_default();
            *sum = sum.saturating_add(counters.syn_queued);
        }
        sums
    }
}

/// Sums the counters of each port's rows.
pub fn decode_counters(rows: impl IntoIterator<Item = (PortKey, HandshakeCounters)>) -> Totals {
    let (mut ports, mut unknown_family) = (Vec::new(), 0);
    for (key, counters) in rows {
        match decode_port(&key) {
            Some(port) => ports.push((port, counters)),
            None => unknown_family += 1,
        }
    }
    Totals { ports: sums(ports), unknown_family, ..Totals::default() }
}

fn sums(ports: Vec<(PortId, HandshakeCounters)>) -> Sorted<PortId, HandshakeCounters> {
    Sorted::joined(ports, |sum, more| sum.add(&more))
}

/// Rows while they come in.
#[derive(Debug, Default)]
pub struct Rows {
    ports: Vec<(PortId, HandshakeCounters)>,
    /// Nothing where nothing was noted, as at most of ten thousand listeners.
    queues: Vec<(PortId, Option<Box<QueueRow>>)>,
    /// Of each socket what is not with its queues, which are those of the row at this place.
    sockets: Vec<(SocketTotals, usize)>,
    unknown_family: u64,
    /// In place of queues of which nothing was noted.
    nothing: Arc<QueueSample>,
}

impl Rows {
    /// Takes in a row.
    pub fn take_in(&mut self, row: &Row) {
        let Some(port) = decode_port(&row.port) else {
            self.unknown_family = self.unknown_family.saturating_add(1);
            return;
        };
        self.ports.push((port, row.counters));
        if row.inode != 0 {
            let socket = SocketTotals {
                port,
                inode: row.inode,
                counters: row.counters,
                queues: Arc::clone(&self.nothing),
                backlog_requested: row.backlog_requested,
                opened_by: row.opened_by,
            };
            self.sockets.push((socket, self.queues.len()));
        }
        let is_noted = row.queues != QueueRow::default();
        self.queues.push((port, is_noted.then(|| Box::new(row.queues))));
    }

    /// Sums the rows of each port. `now` is the kernel's monotonic clock after they were read.
    pub fn decode(self, now: u64) -> Totals {
        let decode = |row: &Option<Box<QueueRow>>| match row {
            Some(row) => Arc::new(QueueSample { totals: *row.totals(), state: row.state(now) }),
            None => Arc::clone(&self.nothing),
        };
        let decoded: Vec<_> = self.queues.iter().map(|(_, row)| decode(row)).collect();
        let with_queues = |(socket, row): (SocketTotals, usize)| SocketTotals {
            queues: decoded.get(row).cloned().unwrap_or_default(),
            ..socket
        };
        let sockets = self.sockets.into_iter().map(with_queues).collect();
        let rows = self.queues.into_iter().zip(&decoded);
        // Most ports have one row, and that was decoded already.
        let rows = rows.map(|((port, row), decoded)| (port, (row, Some(Arc::clone(decoded))))).collect();
        let queues = Sorted::joined(rows, |(sum, decoded), (row, _)| {
            absorb(sum, row);
            *decoded = None;
        });
        let queues =
            queues.into_iter().map(|(port, (row, decoded))| (port, decoded.unwrap_or_else(|| decode(&row))));
        Totals {
            ports: sums(self.ports),
            queues: queues.collect(),
            sockets,
            unknown_family: self.unknown_family,
        }
    }
}

/// Adds what was noted in another row.
fn absorb(sum: &mut Option<Box<QueueRow>>, row: Option<Box<QueueRow>>) {
    match (sum, row) {
        (Some(sum), Some(row)) => sum.absorb(&row),
        (sum, Some(row)) => *sum = Some(row),
        (_, None) => {}
    }
}

fn decode_port(key: &PortKey) -> Option<PortId> {
    Some(PortId { netns: key.netns, address: decode_address(key)?, port: key.port })
}

/// Names the entries of the `LOSSES` map; an index that the map does not have is
/// left out. Keys of an unknown family are a loss as well.
pub fn decode_losses(losses: &[u64], totals: &Totals) -> BTreeMap<String, u64> {
    let mut named: BTreeMap<_, _> = Loss::ALL
        .into_iter()
        .filter_map(|loss| Some((loss, losses.get(usize::try_from(loss as u32).ok()?)?)))
        .map(|(loss, count)| (loss.label().to_owned(), *count))
        .collect();
    if totals.unknown_family > 0 {
        named.insert(LOSS_UNKNOWN_FAMILY.to_owned(), totals.unknown_family);
    }
    named
}

/// Puts the reads together: `before` is what was counted before the sockets were read, `after` are the rows after them.
pub fn join(
    before: Totals,
    after: Totals,
    (other, other_queues): (HandshakeCounters, QueueRow),
    losses: BTreeMap<String, u64>,
) -> HookSample {
    HookSample {
        ports: after.ports,
        ports_before: before.ports,
        sockets: after.sockets,
        queues: after.queues,
        other,
        other_queues: *other_queues.totals(),
        losses,
    }
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

#[cfg(test)]
mod tests {
    use probe_common::accept_queue::AcceptedCounters;
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

    fn decode_rows(rows: impl IntoIterator<Item = Row>, now: u64) -> Totals {
        let mut all = Rows::default();
        rows.into_iter().for_each(|row| all.take_in(&row));
        all.decode(now)
    }

    fn row(port: PortKey, inode: u64, established: u64) -> Row {
        let counters = HandshakeCounters { established, ..HandshakeCounters::default() };
        Row { port, inode, counters, ..Row::default() }
    }

    #[test]
    fn a_key_becomes_the_listeners_own_address() {
        let check = |address: &str, family: u16| {
            let totals = decode_rows([row(key(address, family), 0, 1)], 0);
            let expected = PortId { netns: 7, address: address.parse().unwrap(), port: 80 };
            assert_eq!(totals.ports.keys().collect::<Vec<_>>(), [&expected]);
        };
        check("10.0.0.1", AF_INET);
        check("0.0.0.0", AF_INET);
        check("::", AF_INET6);
        check("2001:db8::1", AF_INET6);
        check("::ffff:10.0.0.1", AF_INET6);
    }

    #[test]
    fn a_key_of_an_unknown_family_is_counted_as_a_loss() {
        let totals = decode_rows([row(key("::", 1), 0, 1), row(key("::", AF_INET6), 0, 1)], 0);
        assert_eq!(totals.ports.len(), 1);
        assert_eq!(decode_losses(&[], &totals), BTreeMap::from([(LOSS_UNKNOWN_FAMILY.to_owned(), 1)]));
    }

    #[test]
    fn a_ports_rows_are_added_up_and_its_sockets_stay_apart() {
        let key = key("::", AF_INET6);
        let totals = decode_rows([row(key, 5, 1), row(key, 6, 2), row(key, 0, 4)], 0);
        let sums: Vec<_> = totals.ports.values().map(|counters| counters.established).collect();
        assert_eq!(sums, [7]);
        let sockets = totals.sockets.iter().map(|socket| (socket.inode, socket.counters.established));
        assert_eq!(sockets.collect::<Vec<_>>(), [(5, 1), (6, 2)]);
    }

    #[test]
    fn queues_of_a_ports_rows_are_added_up_and_those_of_which_nothing_was_noted_take_no_memory() {
        let mut absorbed = QueueRow::default();
        absorbed.absorb_accepted(&AcceptedCounters {
            accepted: 2,
            accepted_by: 9,
            ..AcceptedCounters::default()
        });
        let noted = |port, inode| Row { queues: absorbed, ..row(port, inode, 0) };
        let [several, one, idle] = ["::", "::1", "::2"].map(|address| key(address, AF_INET6));
        let rows = [row(several, 1, 0), noted(several, 2), noted(several, 3), noted(one, 4), row(idle, 5, 0)];
        let totals = decode_rows(rows, 7);
        let accepted: Vec<_> = totals.queues.values().map(|queues| queues.totals.accepted).collect();
        assert_eq!(accepted, [4, 2, 0]);
        let accepted: Vec<_> = totals.sockets.iter().map(|socket| socket.queues.totals.accepted).collect();
        assert_eq!(accepted, [0, 2, 2, 2, 0]);
        let of_sockets = totals.sockets.iter().map(|socket| &socket.queues);
        let same = |left, right| Arc::ptr_eq(left, right);
        let mut of_ports = totals.queues.values().skip(1);
        assert!(of_ports.by_ref().zip(of_sockets.clone().skip(3)).all(|(port, socket)| same(port, socket)));
        assert!(same(&totals.sockets[0].queues, &totals.sockets[4].queues));
        assert_eq!(*totals.sockets[0].queues, QueueSample::default());
    }

    #[test]
    fn a_queue_of_which_nothing_was_noted_says_the_same_at_any_time() {
        for now in [0, 1, 119_000_000_000, u64::MAX] {
            assert_eq!(QueueRow::default().state(now), QueueSample::default().state);
        }
    }

    #[test]
    fn a_loss_is_named_and_one_that_the_map_lacks_is_left_out() {
        let check = |losses: &[u64], expected: &[(&str, u64)]| {
            let named = decode_losses(losses, &Totals::default());
            let expected = expected.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect();
            assert_eq!(named, expected);
        };
        check(&[], &[]);
        check(&[3], &[("listener_map_full", 3)]);
        check(&[0, 4], &[("bracket_unmatched", 4), ("listener_map_full", 0)]);
    }

    proptest! {
        #[test]
        fn no_key_and_no_value_make_the_decoder_panic(
            address: [u8; 16], netns: u32, port: u16, family in prop_oneof![0_u16..12, any::<u16>()],
            inode: u64, value: u64, losses: Vec<u64>,
        ) {
            let row = row(PortKey { address, netns, port, family }, inode, value);
            let totals = decode_rows([row, row], 0);
            let known = usize::from(family == AF_INET || family == AF_INET6);
            prop_assert_eq!(totals.ports.len(), known);
            prop_assert!(decode_losses(&losses, &totals).len() <= Loss::ALL.len() + 1);
        }
    }
}
