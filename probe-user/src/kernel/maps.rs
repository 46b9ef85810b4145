//! The maps of the kernel side, read whole, and the care for their rows.
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    mem::offset_of,
    os::fd::OwnedFd,
    time::Duration,
};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData, MapError, Stack},
};
use probe_common::{
    accept_queue::{AcceptQueueCounters, AcceptedCounters},
    handshake::{HandshakeCounters, PortKey},
    listener::{ListenerIdentity, ListenerSlot, OTHER_ROW},
    loss::Loss,
    queue_peaks::QueuePeaks,
};

use super::{
    handover::Layout,
    mapped::MappedArray,
    object::{ACCEPT_QUEUE, ACCEPTED, FREE_ROWS, HANDSHAKE, LISTENER_ROWS, LISTENERS, LOSSES},
    retirement::{Retirement, Step},
};
use crate::{
    plan::decide::Plan,
    readers::{
        accept_queue::QueueRow,
        handshake::{HandshakeSource, Row, SourceError},
    },
    sorted::Sorted,
};

/// Offers the rows, before any hook may ask for one: later, while bpf(2) is at work, the kernel leaves kprobes
/// out on that CPU.
pub(super) fn offer_rows(ebpf: &mut Ebpf, plan: &Plan) -> Result<(), SourceError> {
    let Some(free) = ebpf.map_mut(FREE_ROWS) else {
        return Err(SourceError { map: FREE_ROWS, cause: "not in the eBPF object".into() });
    };
    let mut free = Stack::<_, u32>::try_from(free).map_err(unreadable(FREE_ROWS))?;
    (OTHER_ROW + 1..plan.settings.rows)
        .rev()
        .try_for_each(|row| free.push(row, 0))
        .map_err(unreadable(FREE_ROWS))
}

/// In which word of [`AcceptQueueCounters`] the versions of its peaks are.
const PEAKS_VERSION: usize = version_of(offset_of!(AcceptQueueCounters, peaks));
const SYN_PEAKS_VERSION: usize = version_of(offset_of!(AcceptQueueCounters, syn_peaks));

const fn version_of(peaks: usize) -> usize {
    (peaks + offset_of!(QueuePeaks, version)) / size_of::<u64>()
}

/// The maps that the hooks write. Dropping them detaches the hooks.
pub struct ProbeMaps {
    /// All rows of the first CPU, then all of the second.
    handshake: MappedArray<HandshakeCounters>,
    /// In the same order.
    queues: MappedArray<AcceptQueueCounters>,
    accepted: MappedArray<AcceptedCounters>,
    rows: MappedArray<ListenerIdentity>,
    losses: MappedArray<u64>,
    listeners: HashMap<MapData, u64, ListenerSlot>,
    free: Stack<MapData, u32>,
    retirement: Retirement,
    in_use: Cell<u64>,
    layout: Layout,
    /// What is mapped stays open, too: it is handed over, and its size is told by its descriptor.
    _arrays: BTreeMap<String, Map>,
    holder: Holder,
}

/// In place of the time at which a listener was closed, where nobody saw it.
const NEVER_SEEN_TO_CLOSE: u64 = 1;

/// Who keeps the programs and their links.
enum Holder {
    /// They were loaded by this process.
    Loaded(Box<Ebpf>),
    /// They came from another one.
    Adopted(#[expect(dead_code, reason = "open is all that they have to be")] Vec<OwnedFd>),
}

impl ProbeMaps {
    pub(super) fn take(mut ebpf: Ebpf, plan: &Plan) -> Result<Self, SourceError> {
        let layout = Layout { rows: plan.settings.rows, total_entries: plan.total_entries };
        let mut maps = BTreeMap::new();
        for name in [HANDSHAKE, ACCEPT_QUEUE, ACCEPTED, LISTENER_ROWS, LOSSES, LISTENERS, FREE_ROWS] {
            maps.extend(ebpf.take_map(name).map(|map| (name.to_owned(), map)));
        }
        Self::open(maps, Holder::Loaded(Box::new(ebpf)), layout, Retirement::default())
    }

    /// Goes on with the maps of another process, whose programs and links are among the descriptors.
    pub(super) fn adopt(
        maps: BTreeMap<String, Map>,
        descriptors: Vec<OwnedFd>,
        layout: Layout,
        retirement: Retirement,
    ) -> Result<Self, SourceError> {
        let mut adopted = Self::open(maps, Holder::Adopted(descriptors), layout, retirement)?;
        // It may have ended between the two steps.
        adopted.free_collected()?;
        Ok(adopted)
    }

    fn open(
        mut maps: BTreeMap<String, Map>,
        holder: Holder,
        layout: Layout,
        retirement: Retirement,
    ) -> Result<Self, SourceError> {
        let Layout { rows, total_entries } = layout;
        Ok(Self {
            handshake: mapped(&maps, HANDSHAKE, total_entries)?,
            queues: mapped(&maps, ACCEPT_QUEUE, total_entries)?,
            accepted: mapped(&maps, ACCEPTED, rows)?,
            rows: mapped(&maps, LISTENER_ROWS, rows)?,
            losses: mapped(&maps, LOSSES, Loss::COUNT)?,
            listeners: take(&mut maps, LISTENERS)?,
            free: take(&mut maps, FREE_ROWS)?,
            retirement,
            in_use: Cell::new(0),
            layout,
            _arrays: maps,
            holder,
        })
    }

    /// The programs and their links; `None` if another process has loaded them.
    pub(super) fn ebpf_mut(&mut self) -> Option<&mut Ebpf> {
        match &mut self.holder {
            Holder::Loaded(ebpf) => Some(ebpf),
            Holder::Adopted(_) => None,
        }
    }

    /// Whether the kernel lets this thread look something up.
    #[must_use]
    pub fn can_look_up(&self) -> bool {
        matches!(self.listeners.get(&0, 0), Ok(_) | Err(MapError::KeyNotFound))
    }

    /// How long the arrays are.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// What was counted in rows that were given back, and which of them may not be free yet.
    #[must_use]
    pub const fn retirement(&self) -> &Retirement {
        &self.retirement
    }

    /// Takes the rows of listeners that are no more back, and keeps what they counted. They are free after
    /// [`Self::free_collected`]: whoever wants to save what is kept does so in between. `now` is any
    /// clock that goes on; `listening` has the inodes of all sockets that listen, as far as every
    /// namespace could be read.
    ///
    /// # Errors
    /// When a map cannot be read or written; what was not done is done the next time.
    pub fn tend(&mut self, now: Duration, listening: Option<&BTreeSet<u64>>) -> Result<(), SourceError> {
        let taken = self.taken_rows();
        let sockets = taken.iter().map(|(_, identity)| (identity.socket, 1)).collect();
        let rows_of_sockets: Sorted<u64, usize> = Sorted::joined(sockets, |sum, more| *sum += more);
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
                Step::Collect => {
                    // No program can write it any more.
                    let totals = (self.totals(row), self.queues(row));
                    self.retirement.collect(row, &identity, &totals);
                }
            }
        }
        Ok(())
    }

    /// How many rows were somebody's at the last look, and how many there are.
    #[must_use]
    pub fn rows_in_use(&self) -> (u64, u64) {
        (self.in_use.get(), u64::from(self.rows.len()))
    }

    /// Another number as soon as anything was counted, and as soon as a listener came or went. Much cheaper than to
    /// read the rows.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let counted = |row| {
            let words = self.of_every_cpu(row).map(|index| self.handshake.sum_of_words(index));
            words.fold(0, u64::wrapping_add)
        };
        // Whose a row is may change without a sum of it changing; totals only grow.
        let whose = |row| self.rows.sum_of_words(row).wrapping_mul(u64::from(row) << 1 | 1);
        let taken = (OTHER_ROW + 1..self.rows.len()).filter(|row| self.rows.sum_of_words(*row) != 0);
        taken.fold(counted(OTHER_ROW), |sum, row| {
            sum.wrapping_mul(31).wrapping_add(whose(row)).wrapping_add(counted(row))
        })
    }

    /// Rows that are somebody's.
    fn taken_rows(&self) -> Vec<(u32, ListenerIdentity)> {
        let identity = |row| Some((row, self.rows.get(row).filter(ListenerIdentity::is_taken)?));
        let mut rows = Vec::with_capacity(usize::try_from(self.in_use.get()).unwrap_or(0));
        rows.extend((OTHER_ROW + 1..self.rows.len()).filter_map(identity));
        self.in_use.set(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        rows
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

    /// What was noted of a row's queues, by all CPUs.
    fn queues(&self, row: u32) -> QueueRow {
        let mut queues = QueueRow::default();
        for index in self.of_every_cpu(row) {
            if let Some(counters) = self.settled(index) {
                queues.absorb_cpu(&counters);
            }
        }
        if let Some(accepted) = self.accepted.get(row) {
            queues.absorb_accepted(&accepted);
        }
        queues
    }

    /// One CPU's part of it, not while a program begins another window: that takes it an instant. `None` where it has
    /// noted nothing yet: most CPUs never see most listeners.
    fn settled(&self, index: u32) -> Option<AcceptQueueCounters> {
        const ATTEMPTS: usize = 64;
        let versions = || [PEAKS_VERSION, SYN_PEAKS_VERSION].map(|word| self.queues.word(index, word));
        // Half of each word is the version, the other half the highest length.
        let mut before = versions();
        if before == [0, 0] {
            return None;
        }
        for _ in 0..ATTEMPTS {
            let counters = self.queues.get(index)?;
            let after = versions();
            let is_even = counters.peaks.version % 2 == 0 && counters.syn_peaks.version % 2 == 0;
            if before == after && is_even {
                return Some(counters);
            }
            before = after;
        }
        self.queues.get(index)
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
        // CPUs that know the way by heart go by this.
        if identity.closed_at == 0 {
            self.rows.store(row, offset_of!(ListenerIdentity, closed_at), NEVER_SEEN_TO_CLOSE);
        }
        match self.listeners.remove(&identity.socket) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(unreadable(LISTENERS)(error)),
        }
    }

    /// Frees the rows whose totals are kept.
    ///
    /// # Errors
    /// The first row that cannot be given back: it is lost for new listeners. The others are free all the same.
    pub fn free_collected(&mut self) -> Result<(), SourceError> {
        let mut outcome = Ok(());
        for (row, identity) in self.retirement.take_collected() {
            if self.rows.get(row) != Some(identity) {
                // It was freed already, and may be another listener's by now.
                continue;
            }
            for index in self.of_every_cpu(row) {
                self.handshake.clear(index);
                self.queues.clear(index);
            }
            self.accepted.clear(row);
            self.rows.clear(row);
            outcome = outcome.and(self.free.push(row, 0).map_err(unreadable(FREE_ROWS)));
        }
        outcome
    }
}

impl HandshakeSource for ProbeMaps {
    fn counters(&self) -> Result<Vec<(PortKey, HandshakeCounters)>, SourceError> {
        let live = self.taken_rows().into_iter().map(|(row, identity)| (identity.port, self.totals(row)));
        let retired = self.retirement.retired().map(|(port, (counters, _))| (*port, *counters));
        Ok(live.chain(retired).collect())
    }

    fn each_row(&self, take: &mut dyn FnMut(Row)) -> Result<(), SourceError> {
        let live = self.taken_rows().into_iter().map(|(row, identity)| Row {
            port: identity.port,
            inode: identity.inode,
            counters: self.totals(row),
            queues: self.queues(row),
            backlog_requested: identity.backlog_requested(),
            opened_by: u32::try_from(identity.opened_by).ok().filter(|process| *process != 0),
        });
        let retired = self.retirement.retired().map(|(port, (counters, queues))| Row {
            port: *port,
            counters: *counters,
            queues: *queues,
            ..Row::default()
        });
        live.chain(retired).for_each(take);
        Ok(())
    }

    fn other_counters(&self) -> Result<HandshakeCounters, SourceError> {
        let mut other = self.totals(OTHER_ROW);
        other.add(&self.retirement.past_budget().0);
        Ok(other)
    }

    fn other(&self) -> Result<(HandshakeCounters, QueueRow), SourceError> {
        let mut queues = self.queues(OTHER_ROW);
        queues.absorb(&self.retirement.past_budget().1);
        Ok((self.other_counters()?, queues))
    }

    fn losses(&self) -> Result<Vec<u64>, SourceError> {
        Ok((0..self.losses.len()).filter_map(|index| self.losses.get(index)).collect())
    }
}

fn mapped<T: Pod>(
    maps: &BTreeMap<String, Map>,
    name: &'static str,
    entries: u32,
) -> Result<MappedArray<T>, SourceError> {
    match maps.get(name) {
        Some(Map::Array(map)) => {
            MappedArray::new(map, entries).map_err(|error| SourceError { map: name, cause: Box::new(error) })
        }
        _ => Err(SourceError { map: name, cause: "there is no such array".into() }),
    }
}

fn take<T: TryFrom<Map, Error = MapError>>(
    maps: &mut BTreeMap<String, Map>,
    name: &'static str,
) -> Result<T, SourceError> {
    let Some(map) = maps.remove(name) else {
        return Err(SourceError { map: name, cause: "there is no such map".into() });
    };
    T::try_from(map).map_err(unreadable(name))
}

fn unreadable(map: &'static str) -> impl Fn(MapError) -> SourceError {
    move |error| SourceError { map, cause: Box::new(error) }
}
