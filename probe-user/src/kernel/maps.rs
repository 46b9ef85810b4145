//! The maps of the kernel side, read whole, and the care for their rows.
use std::{collections::BTreeSet, fs, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, Stack},
};
use probe_common::{
    handshake::HandshakeCounters,
    listener::{ListenerIdentity, ListenerSlot, OTHER_ROW},
};

use super::{
    object::{FREE_ROWS, HANDSHAKE, LISTENER_ROWS, LISTENERS, LOSSES, ROWS_TAKEN},
    retirement::{Retirement, Step},
};
use crate::readers::handshake::{HandshakeSource, Row, SourceError};

/// The maps that the hooks write. Dropping them detaches the hooks.
pub struct ProbeMaps {
    handshake: PerCpuArray<MapData, HandshakeCounters>,
    rows: Array<MapData, ListenerIdentity>,
    listeners: HashMap<MapData, u64, ListenerSlot>,
    free: Stack<MapData, u32>,
    taken: Array<MapData, u64>,
    losses: PerCpuArray<MapData, u64>,
    retirement: Retirement,
    /// Holds the programs and their links.
    ebpf: Ebpf,
}

impl ProbeMaps {
    pub(super) fn take(mut ebpf: Ebpf) -> Result<Self, SourceError> {
        Ok(Self {
            handshake: take(&mut ebpf, HANDSHAKE)?,
            rows: take(&mut ebpf, LISTENER_ROWS)?,
            listeners: take(&mut ebpf, LISTENERS)?,
            free: take(&mut ebpf, FREE_ROWS)?,
            taken: take(&mut ebpf, ROWS_TAKEN)?,
            losses: take(&mut ebpf, LOSSES)?,
            retirement: Retirement::default(),
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
        for (row, identity) in self.taken_rows()? {
            let leads_here = self.leads_to(&identity, row)?;
            match self.retirement.step(row, &identity, leads_here, listening, now) {
                Step::Keep => {}
                Step::Unlink => self.unlink(&identity)?,
                Step::Collect => self.collect(row, &identity)?,
            }
        }
        Ok(())
    }

    /// Rows that are somebody's. Rows are taken from the lowest, so none above the number of rows
    /// that were ever in use at once can be.
    fn taken_rows(&self) -> Result<Vec<(u32, ListenerIdentity)>, SourceError> {
        let taken = self.taken.get(&0, 0).map_err(unreadable(ROWS_TAKEN))?;
        let highest = self.retirement.most_in_use(taken).min(u64::from(self.rows.len().saturating_sub(1)));
        let highest = u32::try_from(highest).unwrap_or(u32::MAX);
        let identity = |row: u32| self.rows.get(&row, 0).map(|identity| (row, identity));
        (OTHER_ROW + 1..=highest)
            .map(identity)
            .filter(|read| read.as_ref().map_or(true, |(_, identity)| identity.is_taken()))
            .collect::<Result<_, _>>()
            .map_err(unreadable(LISTENER_ROWS))
    }

    /// Whether events of the socket still come to the row.
    fn leads_to(&self, identity: &ListenerIdentity, row: u32) -> Result<bool, SourceError> {
        match self.listeners.get(&identity.socket, 0) {
            Ok(slot) => Ok(slot.row == row),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(unreadable(LISTENERS)(error)),
        }
    }

    fn unlink(&mut self, identity: &ListenerIdentity) -> Result<(), SourceError> {
        match self.listeners.remove(&identity.socket) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(unreadable(LISTENERS)(error)),
        }
    }

    /// No program can write the row any more: keeps its totals and gives it back.
    fn collect(&mut self, row: u32, identity: &ListenerIdentity) -> Result<(), SourceError> {
        let values = self.handshake.get(&row, 0).map_err(unreadable(HANDSHAKE))?;
        let zeros = PerCpuValues::try_from(vec![HandshakeCounters::default(); values.len()])
            .map_err(|error| SourceError { map: HANDSHAKE, cause: Box::new(error) })?;
        self.rows.set(row, ListenerIdentity::default(), 0).map_err(unreadable(LISTENER_ROWS))?;
        self.retirement.collect(row, &identity.port, &sum(&values));
        self.handshake.set(row, zeros, 0).map_err(unreadable(HANDSHAKE))?;
        self.free.push(row, 0).map_err(unreadable(FREE_ROWS))
    }
}

impl HandshakeSource for ProbeMaps {
    fn rows(&self) -> Result<Vec<Row>, SourceError> {
        let live = self.taken_rows()?.into_iter().map(|(row, identity)| {
            let values = self.handshake.get(&row, 0).map_err(unreadable(HANDSHAKE))?;
            Ok(Row { port: identity.port, inode: identity.inode, counters: sum(&values) })
        });
        let retired = self.retirement.retired().map(|(port, counters)| Row {
            port: *port,
            inode: 0,
            counters: *counters,
        });
        live.chain(retired.map(Ok)).collect()
    }

    fn other(&self) -> Result<HandshakeCounters, SourceError> {
        let values = self.handshake.get(&OTHER_ROW, 0).map_err(unreadable(HANDSHAKE))?;
        let mut other = sum(&values);
        other.add(self.retirement.past_budget());
        Ok(other)
    }

    fn losses(&self) -> Result<Vec<Vec<u64>>, SourceError> {
        (0..self.losses.len())
            .map(|index| self.losses.get(&index, 0).map(|values| values.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(unreadable(LOSSES))
    }
}

/// One row, summed over the CPUs. Each value only grows while it is read, so the sum is a number
/// that the total had, or passed, during the read.
fn sum(values: &[HandshakeCounters]) -> HandshakeCounters {
    values.iter().fold(HandshakeCounters::default(), |mut sum, value| {
        sum.add(value);
        sum
    })
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
