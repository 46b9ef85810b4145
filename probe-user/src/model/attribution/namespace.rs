//! One network namespace: its ports' histories and the checkpoint that conclusions are drawn from.
use serde::{Deserialize, Serialize};

use super::{
    Attributed, Unattributed,
    drops::{DropHistory, PortReading, Progress},
    interval::{self, Balance, Bounds, Bracket, Growth, Trust},
};
use crate::{
    sample::{NamespaceSample, NetstatSample, PortId},
    sorted::Sorted,
};

/// The most samples between two checkpoints.
///
/// What is certain of two intervals is never less than what is certain of both as one, so a checkpoint
/// is set whenever the numbers fit. If they do not for this long, what is not certain is given up.
const SAMPLES_PER_INTERVAL: u32 = 30;

/// The most samples of an interval with growth that may be late, where discarded segments are
/// known: little is certain in it, and the next one has none.
const SAMPLES_PER_LATE_INTERVAL: u32 = 2;

/// What one sample says of the namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation<'a> {
    /// Its counters.
    pub(super) namespace: &'a NamespaceSample,
    /// Its ports: all that are known and all that are new.
    pub(super) readings: &'a Sorted<PortId, PortReading>,
    /// It was not there when the hooks were attached.
    pub(super) watched_from_birth: bool,
    /// Discarded segments are known.
    pub(super) discards_known: bool,
    /// The most ports that it may follow.
    pub(super) port_budget: usize,
}

/// The history of one namespace.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct NamespaceLedger {
    ports: Sorted<PortId, Port>,
    /// `None` until the first sample in which it was read completely.
    life: Option<Life>,
    /// The namespace's cookie at the last sample, where the kernel tells it.
    #[serde(default)]
    cookie: Option<u64>,
    unattributed: Unattributed,
    /// A port of the map could not be read at the last sample: what it has dropped will be told later.
    more_to_come: bool,
}

/// One port of the namespace.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Port {
    history: DropHistory,
    /// The history as of the checkpoint.
    at_checkpoint: DropHistory,
    /// What was certain at the checkpoint.
    settled: Attributed,
    /// What was said last: never less than `settled`.
    reported: Attributed,
}

/// The counters of the namespace, from its first sample or, if it was born while watched, from its
/// birth.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Life {
    /// Where the counts begin.
    base: NetstatSample,
    /// What earlier namespaces with the same inode number counted while watched.
    earlier: NetstatSample,
    /// The last counters that were read.
    latest: NetstatSample,
    checkpoint: Bracket,
    /// Samples since the checkpoint.
    samples: u32,
    /// Since the checkpoint some drops were in no port's growth.
    blind: bool,
    /// Some growth since the checkpoint may be of drops that were counted before it.
    late: bool,
}

impl NamespaceLedger {
    /// How many ports are followed.
    pub(super) fn port_count(&self) -> usize {
        self.ports.len()
    }

    /// The ports that are followed.
    pub(super) fn port_ids(&self) -> impl Iterator<Item = PortId> {
        self.ports.keys().copied()
    }

    /// What is certain of each port.
    pub(super) fn attributed(&self) -> impl Iterator<Item = (PortId, Attributed)> {
        self.ports.iter().map(|(id, port)| (*id, port.reported))
    }

    /// What is no port's; `None` before the counters were read for the first time.
    pub(super) fn unattributed(&self) -> Option<Unattributed> {
        self.life.map(|_| self.unattributed)
    }

    /// Takes in a sample; one that is not complete changes nothing.
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        let NamespaceSample { netstat_before: Some(before), netstat_after: Some(after), .. } =
            *observation.namespace
        else {
            return;
        };
        let now = Bracket { before, after };
        let life = match self.life {
            None => self.begin(observation, now),
            Some(life) if self.is_another(observation.namespace, &life.latest, &before) => {
                Some(self.begin_again(&life))
            }
            Some(life) => Some(life),
        };
        let Some(mut life) = life else { return };
        // Where the kernel does not tell, it may be another one at each sample.
        life.late |= observation.namespace.cookie.is_none();
        self.cookie = observation.namespace.cookie;
        let waiting = self.advance_ports(observation, &mut life);
        self.conclude(observation, &mut life, now, waiting);
        life.latest = after;
        self.life = Some(life);
    }

    /// The first sample. `None` puts it off to the next one.
    fn begin(&mut self, observation: &Observation<'_>, now: Bracket) -> Option<Life> {
        let readings = observation.readings;
        if observation.watched_from_birth && readings.values().any(|reading| reading.socket_drops.is_none()) {
            return None;
        }
        let life = Life {
            base: NetstatSample::default(),
            earlier: NetstatSample::default(),
            latest: now.after,
            checkpoint: Bracket::default(),
            samples: 0,
            blind: false,
            late: false,
        };
        if observation.watched_from_birth && was_born(readings.values(), &now.before) {
            // The drops may be of more than one namespace that had the inode number since.
            return Some(Life { late: true, ..life });
        }
        let from_here = |(id, reading): (&PortId, &PortReading)| {
            (*id, Port::new(DropHistory::from_reading(reading, observation.discards_known)))
        };
        self.ports = readings.iter().take(observation.port_budget).map(from_here).collect();
        Some(Life { base: now.after, checkpoint: now, ..life })
    }

    /// Whether another namespace got the inode number, which the kernel hands out again at once (ida_alloc() in
    /// proc_alloc_inum() of fs/proc/generic.c). Where it does not tell, by counters that went back: in one namespace they
    /// only grow.
    fn is_another(&self, namespace: &NamespaceSample, last: &NetstatSample, now: &NetstatSample) -> bool {
        let went_back =
            || now.listen_drops < last.listen_drops || now.listen_overflows < last.listen_overflows;
        namespace.is_another_than(self.cookie).unwrap_or_else(went_back)
    }

    /// Another namespace has the inode number now: its counters began at 0. What the ports'
    /// listeners dropped in the old one after its last sample comes with the first sample of the
    /// new one.
    fn begin_again(&mut self, old: &Life) -> Life {
        let seen = seen(old, &old.latest);
        self.set_checkpoint(&seen);
        Life {
            base: NetstatSample::default(),
            earlier: seen,
            checkpoint: Bracket::default(),
            samples: 0,
            blind: false,
            late: true,
            ..*old
        }
    }

    /// Takes in the readings of the ports; returns whether one of them has to wait for the next.
    fn advance_ports(&mut self, observation: &Observation<'_>, life: &mut Life) -> bool {
        let mut waiting = false;
        self.more_to_come = false;
        for (id, reading) in observation.readings.iter() {
            let progress = if let Some(port) = self.ports.get_mut(id) {
                port.advance(reading, observation.discards_known)
            } else if self.ports.len() >= observation.port_budget {
                blind_if(reading.socket_drops != Some(0))
            } else if reading.socket_drops.is_none() {
                Progress::Waiting
            } else {
                // There was no listener in any sample before.
                let (port, progress) = Port::appeared(reading, observation.discards_known);
                self.ports.insert(*id, port);
                progress
            };
            waiting |= progress == Progress::Waiting;
            self.more_to_come |= progress == Progress::Waiting && reading.in_map;
            life.blind |= progress == Progress::Blind;
        }
        waiting
    }

    /// Says what is certain by now, and sets the checkpoint here if that is well.
    fn conclude(&mut self, observation: &Observation<'_>, life: &mut Life, now: Bracket, waiting: bool) {
        life.samples = life.samples.saturating_add(1);
        let discards_known = observation.discards_known;
        let growths: Vec<_> = self.ports.values().map(Port::growth).collect();
        let bounds = Bounds::between(&life.checkpoint, &now);
        let trust = Trust { discards_known, blind: life.blind || waiting, late: life.late };
        let certain = interval::certain(&growths, &bounds, trust);
        for (port, certain) in self.ports.values_mut().zip(certain) {
            port.report(certain);
        }
        let settled = now.is_quiet() && !waiting;
        let fits = match interval::balance(&growths, &bounds) {
            // Growth with discarded segments in it cannot be balanced.
            _ if !discards_known => settled,
            Balance::Even => settled,
            Balance::Short => false,
            // It cannot fit any more: another namespace had the inode number for a while.
            Balance::Over => true,
        };
        // What a waiting port has dropped comes with its next reading: to give it up now would count it twice.
        let hurried = discards_known && life.late && !waiting;
        let patience = if hurried { SAMPLES_PER_LATE_INTERVAL } else { SAMPLES_PER_INTERVAL };
        if fits || life.samples >= patience {
            // The drops that are on their way between the two reads of the counters are not missing.
            self.set_checkpoint(&seen(life, &now.before));
            *life = Life { checkpoint: now, samples: 0, blind: false, late: waiting, ..*life };
        }
    }

    /// Settles what was reported; of all that was `seen` the rest is unattributed, unless a port may yet
    /// show that it is its own: then a later checkpoint tells.
    fn set_checkpoint(&mut self, seen: &NetstatSample) {
        let mut rest = *seen;
        for port in self.ports.values_mut() {
            port.at_checkpoint = port.history;
            port.settled = port.reported;
            // What is possible but not certain yet is not missing.
            let owed = port.history.most().saturating_sub(port.history.total());
            let Attributed { listen_drops, accept_queue_overflows } = port.reported;
            rest.listen_drops = rest.listen_drops.saturating_sub(listen_drops.saturating_add(owed));
            rest.listen_overflows =
                rest.listen_overflows.saturating_sub(accept_queue_overflows.saturating_add(owed));
        }
        if self.more_to_come {
            return;
        }
        let last = &mut self.unattributed;
        last.listen_drops = last.listen_drops.max(rest.listen_drops);
        last.accept_queue_overflows = last.accept_queue_overflows.max(rest.listen_overflows);
    }
}

impl Port {
    /// A port whose history begins with the current interval, or in it.
    fn new(history: DropHistory) -> Self {
        Self { history, at_checkpoint: history, ..Self::default() }
    }

    /// A port that no earlier sample had.
    fn appeared(reading: &PortReading, discards_known: bool) -> (Self, Progress) {
        if reading.opened_while_watched {
            let mut port = Self::new(DropHistory::from_opening());
            let progress = port.advance(reading, discards_known);
            (port, progress)
        } else {
            // The hooks missed its opening, or the map has no room for it: what it brought along is
            // not known.
            let port = Self::new(DropHistory::from_reading(reading, discards_known));
            (port, blind_if(reading.socket_drops != Some(0)))
        }
    }

    /// Takes in the next reading.
    fn advance(&mut self, reading: &PortReading, discards_known: bool) -> Progress {
        let progress = self.history.advance(reading, discards_known);
        if progress == Progress::Blind {
            self.at_checkpoint = self.history;
        }
        progress
    }

    /// What it grew by since the checkpoint.
    fn growth(&self) -> Growth {
        let Self { history, at_checkpoint, .. } = self;
        Growth {
            certain: history.total().saturating_sub(at_checkpoint.total()),
            least: history.least().saturating_sub(at_checkpoint.most()),
            most: history.most().saturating_sub(at_checkpoint.least()),
        }
    }

    /// Takes note of what is certain since the checkpoint. It can become less when more happens, but
    /// what was certain once stays true.
    fn report(&mut self, certain: Attributed) {
        let Attributed { listen_drops, accept_queue_overflows } = self.settled;
        let drops = listen_drops.saturating_add(certain.listen_drops);
        let overflows = accept_queue_overflows.saturating_add(certain.accept_queue_overflows);
        self.reported.listen_drops = self.reported.listen_drops.max(drops);
        self.reported.accept_queue_overflows = self.reported.accept_queue_overflows.max(overflows);
    }
}

/// Whether the namespace, seen for the first time, was made while the hooks were watching: they saw
/// every listener open, and all that was ever dropped is in the listeners' drops.
fn was_born<'a>(
    mut readings: impl Iterator<Item = &'a PortReading> + Clone,
    counted: &NetstatSample,
) -> bool {
    let drops = readings.clone().filter_map(|reading| reading.socket_drops).map(u64::from);
    let drops = drops.fold(0, u64::saturating_add);
    readings.clone().next().is_some()
        && readings.all(|reading| reading.opened_while_watched)
        && drops >= counted.listen_drops
}

/// All that was counted while watched, up to `until`.
fn seen(life: &Life, until: &NetstatSample) -> NetstatSample {
    let total = |earlier: u64, until: u64, base: u64| earlier.saturating_add(until.saturating_sub(base));
    let Life { base, earlier, .. } = life;
    NetstatSample {
        listen_overflows: total(earlier.listen_overflows, until.listen_overflows, base.listen_overflows),
        listen_drops: total(earlier.listen_drops, until.listen_drops, base.listen_drops),
        ..NetstatSample::default()
    }
}

fn blind_if(condition: bool) -> Progress {
    if condition { Progress::Blind } else { Progress::Complete }
}
