//! The maps of the kernel side, read whole, and the care for their rows.
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData, MapError, Stack},
};
use probe_common::{
    handshake::HandshakeCounters,
    listener::{ListenerIdentity, ListenerSlot, OTHER_ROW},
    loss::Loss,
};

use super::{
    mapped::MappedArray,
    object::{FREE_ROWS, HANDSHAKE, LISTENER_ROWS, LISTENERS, LOSSES},
    retirement::{Retirement, Step},
};
use crate::{
    plan::decide::Plan,
    readers::handshake::{HandshakeSource, Row, SourceError},
};

/// Rows that are to spare: listeners that may appear between two looks.
const SPARE_ROWS: u32 = 8_192;

/// Offers the first rows, before any hook may ask for one.
pub(super) fn offer_first_rows(ebpf: &mut Ebpf, plan: &Plan) -> Result<(), SourceError> {
    let Some(free) = ebpf.map_mut(FREE_ROWS) else {
        return Err(SourceError { map: FREE_ROWS, cause: "not in the eBPF object".into() });
    };
    let mut free = Stack::<_, u32>::try_from(free).map_err(unreadable(FREE_ROWS))?;
    let last = SPARE_ROWS.min(plan.settings.rows.saturating_sub(1));
    (OTHER_ROW + 1..=last).rev().try_for_each(|row| free.push(row, 0)).map_err(unreadable(FREE_ROWS))
}

/// The maps that the hooks write. Dropping them detaches the hooks.
pub struct ProbeMaps {
    /// All rows of the first CPU, then all of the second.
    handshake: MappedArray<HandshakeCounters>,
    rows: MappedArray<ListenerIdentity>,
    losses: MappedArray<u64>,
    listeners: HashMap<MapData, u64, ListenerSlot>,
    free: Stack<MapData, u32>,
    retirement: Retirement,
    /// The rows up to this one were offered to the hooks.
    offered: u32,
    in_use: Cell<u64>,
    /// Holds the programs and their links.
    ebpf: Ebpf,
}

impl ProbeMaps {
    pub(super) fn take(mut ebpf: Ebpf, plan: &Plan) -> Result<Self, SourceError> {
        let rows = plan.settings.rows;
        Ok(Self {
            handshake: mapped(&mut ebpf, HANDSHAKE, plan.total_entries)?,
            rows: mapped(&mut ebpf, LISTENER_ROWS, rows)?,
            losses: mapped(&mut ebpf, LOSSES, Loss::COUNT)?,
            listeners: take(&mut ebpf, LISTENERS)?,
            free: take(&mut ebpf, FREE_ROWS)?,
            retirement: Retirement::default(),
            offered: SPARE_ROWS.min(rows.saturating_sub(1)),
            in_use: Cell::new(0),
            ebpf,
        })
    }

    /// The programs and their links.
    pub(super) const fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Takes the rows of listeners that are no more back, and keeps what they counted. `now` is any
    /// clock that goes on; `listening` has the inodes of all sockets that listen, as far as every
    /// namespace could be read.
    ///
    /// # Errors
    /// When a map cannot be read or written; what was not done is done the next time.
    pub fn tend(&mut self, now: Duration, listening: Option<&BTreeSet<u64>>) -> Result<(), SourceError> {
        let taken = self.taken_rows();
        let mut rows_of_sockets: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, identity) in &taken {
            *rows_of_sockets.entry(identity.socket).or_default() += 1;
        }
        self.offer(taken.len(), listening.map_or(0, BTreeSet::len))?;
        for (row, identity) in taken {
            // Only where a socket's memory has had several rows is it asked which one is in use.
            let several = rows_of_sockets.get(&identity.socket).is_some_and(|rows| *rows > 1);
            let replaced = identity.socket != 0 && several && !self.leads_to(&identity, row)?;
            match self.retirement.step(row, &identity, replaced, listening, now) {
                Step::Keep => {}
                Step::Unlink => {
                    self.unlink(&identity, row)?;
                    self.retirement.unlinked(row, now);
                }
                Step::Collect => self.collect(row, &identity)?,
            }
        }
        Ok(())
    }

    /// How many rows were somebody's at the last look, and how many there are.
    #[must_use]
    pub fn rows_in_use(&self) -> (u64, u64) {
        (self.in_use.get(), u64::from(self.rows.len()))
    }

    /// Rows that are somebody's.
    fn taken_rows(&self) -> Vec<(u32, ListenerIdentity)> {
        let identity = |row| Some((row, self.rows.get(row).filter(ListenerIdentity::is_taken)?));
        let rows: Vec<_> = (OTHER_ROW + 1..=self.offered).filter_map(identity).collect();
        self.in_use.set(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        rows
    }

    /// Offers more rows, so that there are some to spare above what is in use or listens.
    fn offer(&mut self, in_use: usize, listening: usize) -> Result<(), SourceError> {
        let wanted = u32::try_from(in_use.max(listening)).unwrap_or(u32::MAX).saturating_add(SPARE_ROWS);
        // In whole steps: while bpf(2) is at work the kernel leaves kprobes out on that CPU.
        let wanted = wanted
            .checked_next_multiple_of(SPARE_ROWS)
            .unwrap_or(u32::MAX)
            .min(self.rows.len().saturating_sub(1));
        while self.offered < wanted {
            self.free.push(self.offered + 1, 0).map_err(unreadable(FREE_ROWS))?;
            self.offered += 1;
        }
        Ok(())
    }

    /// A row's totals, summed over the CPUs. Each value only grows while it is read, so the sum is a
    /// number that the total had, or passed, during the read.
    fn totals(&self, row: u32) -> HandshakeCounters {
        let values = self.of_every_cpu(row).filter_map(|index| self.handshake.get(index));
        values.fold(HandshakeCounters::default(), |mut sum, value| {
            sum.add(&value);
            sum
        })
    }

    /// Where each CPU has the row.
    fn of_every_cpu(&self, row: u32) -> impl Iterator<Item = u32> {
        (row..self.handshake.len()).step_by(self.rows.len().max(1) as usize)
    }

    /// Whether events of the socket still come to the row.
    fn leads_to(&self, identity: &ListenerIdentity, row: u32) -> Result<bool, SourceError> {
        match self.listeners.get(&identity.socket, 0) {
            Ok(slot) => Ok(slot.row == row),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(unreadable(LISTENERS)(error)),
        }
    }

    /// Cuts the way from the socket to the row, if it still is one.
    fn unlink(&mut self, identity: &ListenerIdentity, row: u32) -> Result<(), SourceError> {
        if !self.leads_to(identity, row)? {
            return Ok(());
        }
        match self.listeners.remove(&identity.socket) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(unreadable(LISTENERS)(error)),
        }
    }

    /// No program can write the row any more: keeps its totals and gives it back.
    fn collect(&mut self, row: u32, identity: &ListenerIdentity) -> Result<(), SourceError> {
        self.retirement.collect(row, &identity.port, &self.totals(row));
        self.of_every_cpu(row).for_each(|index| self.handshake.clear(index));
        self.rows.clear(row);
        self.free.push(row, 0).map_err(unreadable(FREE_ROWS))
    }
}

impl HandshakeSource for ProbeMaps {
    fn rows(&self) -> Result<Vec<Row>, SourceError> {
        let live = self.taken_rows().into_iter().map(|(row, identity)| Row {
            port: identity.port,
            inode: identity.inode,
            counters: self.totals(row),
        });
        let retired = self.retirement.retired().map(|(port, counters)| Row {
            port: *port,
            inode: 0,
            counters: *counters,
        });
        Ok(live.chain(retired).collect())
    }

    fn other(&self) -> Result<HandshakeCounters, SourceError> {
        let mut other = self.totals(OTHER_ROW);
        other.add(self.retirement.past_budget());
        Ok(other)
    }

    fn losses(&self) -> Result<Vec<u64>, SourceError> {
        Ok((0..self.losses.len()).filter_map(|index| self.losses.get(index)).collect())
    }
}

fn mapped<T: Pod>(ebpf: &mut Ebpf, name: &'static str, entries: u32) -> Result<MappedArray<T>, SourceError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => {
            MappedArray::new(map, entries).map_err(|error| SourceError { map: name, cause: Box::new(error) })
        }
        _ => Err(SourceError { map: name, cause: "no array in the eBPF object".into() }),
    }
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, SourceError> {
    let Some(map) = ebpf.take_map(name) else {
        return Err(SourceError { map: name, cause: "not in the eBPF object".into() });
    };
    T::try_from(map).map_err(unreadable(name))
}

fn unreadable(map: &'static str) -> impl Fn(MapError) -> SourceError {
    move |error| SourceError { map, cause: Box::new(error) }
}

/// Kernel memory of all BPF maps that this process holds: the `memlock` lines of `/proc/self/fdinfo`
/// (an estimate before 6.4, exact since `map_mem_usage`). `None` when it cannot be read.
#[must_use]
pub fn map_bytes() -> Option<u64> {
    sum_of_descriptors("map_type", "memlock")
}

/// Runs of the programs that this process holds that the kernel left out, because the program was
/// already running on the CPU and was interrupted (`bpf_prog_inc_misses_counter()`): events that are
/// counted nowhere. The `recursion_misses` lines of `/proc/self/fdinfo` (5.12). `None` when it
/// cannot be read.
#[must_use]
pub fn skipped_runs() -> Option<u64> {
    sum_of_descriptors("prog_type", "recursion_misses")
}

/// The sum of one number over the descriptors of one kind.
fn sum_of_descriptors(kind: &str, key: &str) -> Option<u64> {
    let mut total = 0_u64;
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        // A descriptor may be gone by now.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        total = total.saturating_add(number_in(&text, kind, key).unwrap_or(0));
    }
    Some(total)
}

/// One number of a descriptor's information, if the descriptor is of the kind.
fn number_in(fdinfo: &str, kind: &str, key: &str) -> Option<u64> {
    let value =
        |key: &str| fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim));
    value(kind)?;
    value(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptors_of_the_kind_are_counted() {
        let check = |fdinfo: &str, kind: &str, key: &str, expected| {
            assert_eq!(number_in(fdinfo, kind, key), expected, "{fdinfo}");
        };
        check("pos:\t0\nmap_type:\t5\nmemlock:\t4096\n", "map_type", "memlock", Some(4096));
        check("pos:\t0\nprog_type:\t26\nmemlock:\t4096\n", "map_type", "memlock", None);
        check("pos:\t0\nmap_type:\t5\nmemlock:\tmany\n", "map_type", "memlock", None);
        check("prog_type:\t26\nrecursion_misses:\t3\n", "prog_type", "recursion_misses", Some(3));
        check("", "prog_type", "recursion_misses", None);
    }
}
