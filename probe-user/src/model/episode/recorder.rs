//! Makes episodes of the models of one sample after the other.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Episode, LOSS_EPISODE_NOT_RECORDED, MOST_EPISODES, QUIET, counts::Counts};
use crate::{
    model::{Listener, Model, Peaks, Port},
    sample::{Instants, PortId},
    sorted::Sorted,
};

/// What is remembered from sample to sample.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::model) struct Episodes {
    /// When the last sample with counts was taken; `None` before the first.
    before: Option<Instants>,
    ports: Sorted<PortId, Seen>,
    going_on: BTreeMap<PortId, GoingOn>,
    /// The last that have ended, the oldest end first, with when they began.
    ended: VecDeque<(u64, Arc<Episode>)>,
    /// When ports last lost something whose episode there was no room for.
    unrecorded: BTreeMap<PortId, u64>,
    /// How many those were.
    not_recorded: u64,
}

/// A port in the last sample.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Seen {
    counts: Counts,
    limits: Option<Limits>,
}

/// Accept queue limits of a port's listeners.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Limits {
    fullest: u32,
    lowest: u32,
}

/// An episode that may become longer. Times are nanoseconds of the monotonic clock.
#[derive(Debug, Serialize, Deserialize)]
struct GoingOn {
    episode: Arc<Episode>,
    begun_at: u64,
    lost_at: u64,
    /// Up to the last sample that saw a loss.
    counts: Counts,
    /// Since then.
    pending: Counts,
}

/// What a sample says of a port that lost something since the last one.
struct Loss<'a> {
    port: &'a Port,
    /// The limits in the last sample.
    limits_before: Option<Limits>,
    overflowed: bool,
    taken: &'a Instants,
}

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

impl Episodes {
    /// Takes in a model and says in it which episodes there are. `taken` is when its sample was.
    pub(in crate::model) fn note(&mut self, model: &mut Model, taken: &Instants) {
        // Without the hooks' counts nobody knows what was lost, or that nothing was.
        if model.other.is_some() {
            let before = self.before.replace(*taken);
            self.ports.make_room_for(model.ports.iter().map(|port| port.id), Seen::default);
            for port in &model.ports {
                self.take_in(port, before.as_ref(), taken);
            }
            self.forget_others(&model.ports);
            self.end_quiet_ones(taken.monotonic);
        }
        self.tell(model);
    }

    /// The first sample is where the counts begin: what was there before is nobody's.
    fn take_in(&mut self, port: &Port, before: Option<&Instants>, taken: &Instants) {
        let counts = Counts::of(port);
        // A port that was not there had counted nothing.
        let Some(last) = self.ports.get_mut(&port.id) else { return };
        let seen = *last;
        *last = Seen { counts: counts.or(&seen.counts), limits: Limits::of(&port.listeners) };
        let Some(before) = before else { return };
        let gain = counts.grown_since(&seen.counts);
        if gain.is_new_loss() {
            self.begin(port.id, before, taken.monotonic);
        }
        if let Some(going_on) = self.going_on.get_mut(&port.id) {
            going_on.pending = going_on.pending.plus(&gain);
            let overflowed = gain.packets_refused.is_some_and(|count| count > 0);
            if gain.is_loss() {
                going_on.note(&Loss { port, limits_before: seen.limits, overflowed, taken });
            }
        }
        if let Some(lost_at) = self.unrecorded.get_mut(&port.id).filter(|_| gain.is_loss()) {
            *lost_at = taken.monotonic;
        }
    }

    /// Begins an episode unless one goes on, recorded or not.
    fn begin(&mut self, id: PortId, before: &Instants, now: u64) {
        if self.going_on.contains_key(&id) || self.unrecorded.contains_key(&id) {
            return;
        }
        if self.going_on.len() < MOST_EPISODES {
            self.going_on.insert(id, GoingOn::new(id, before));
        } else {
            self.unrecorded.insert(id, now);
            self.not_recorded = self.not_recorded.saturating_add(1);
        }
    }

    /// Ports that are not in the model any more have no totals to go on from.
    fn forget_others(&mut self, ports: &[Port]) {
        if self.ports.len() > ports.len() {
            let present: BTreeSet<_> = ports.iter().map(|port| port.id).collect();
            self.ports.retain(|id, _| present.contains(id));
        }
    }

    fn end_quiet_ones(&mut self, now: u64) {
        let is_over = |lost_at: u64| u128::from(now.saturating_sub(lost_at)) >= QUIET.as_nanos();
        self.unrecorded.retain(|_, lost_at| !is_over(*lost_at));
        let mut over: Vec<_> = self
            .going_on
            .extract_if(.., |_, going_on| is_over(going_on.lost_at))
            .map(|(_, one)| one)
            .collect();
        over.sort_by_key(|one| one.lost_at);
        self.ended.extend(over.into_iter().map(|one| (one.begun_at, one.end())));
        let excess = self.ended.len().saturating_sub(MOST_EPISODES);
        self.ended.drain(..excess);
    }

    fn tell(&self, model: &mut Model) {
        let going_on = self.going_on.values().map(|one| (one.begun_at, &one.episode));
        let ended = self.ended.iter().map(|(begun_at, episode)| (*begun_at, episode));
        let mut episodes: Vec<_> = going_on.chain(ended).collect();
        episodes.sort_by_key(|(begun_at, episode)| (Reverse(*begun_at), episode.id));
        model.episodes = episodes.into_iter().map(|(_, episode)| Arc::clone(episode)).collect();
        if self.not_recorded > 0 {
            model.losses.insert(LOSS_EPISODE_NOT_RECORDED.to_owned(), self.not_recorded);
        }
    }
}

impl GoingOn {
    /// One of which nothing is known but when the sample before it was taken.
    fn new(id: PortId, before: &Instants) -> Self {
        Self {
            episode: Arc::new(Episode::beginning(id, before.unix_seconds)),
            begun_at: before.monotonic,
            lost_at: before.monotonic,
            counts: Counts::default(),
            pending: Counts::default(),
        }
    }

    /// Takes in a sample that saw a loss: up to here the episode goes at least.
    fn note(&mut self, loss: &Loss<'_>) {
        let Loss { port, limits_before, taken, .. } = loss;
        self.lost_at = taken.monotonic;
        self.counts = self.counts.plus(&mem::take(&mut self.pending));
        let limits = limits_before.or_else(|| Limits::of(&port.listeners));
        let peak = loss.peak(self.begun_at);
        let episode = Arc::make_mut(&mut self.episode);
        episode.process = port.process.clone().or_else(|| episode.process.take());
        episode.limit = episode.limit.or(limits.map(|limits| limits.fullest));
        // Nothing is less than any number.
        episode.peak = episode.peak.max(peak);
        episode.demand = episode.demand.max(port.queues.demand);
        episode.seconds = seconds(taken.monotonic.saturating_sub(self.begun_at));
        episode.count(&self.counts);
    }

    fn end(mut self) -> Arc<Episode> {
        let episode = Arc::make_mut(&mut self.episode);
        // Not the clock of the day, which may have been set in between.
        episode.ended = Some(episode.begun + episode.seconds);
        self.episode
    }
}

impl Episode {
    fn count(&mut self, counts: &Counts) {
        let per_second = |count: Option<u64>| rate(count?, self.seconds);
        self.connections_refused = counts.connections_refused;
        self.packets_refused = counts.packets_refused;
        self.listen_drops = counts.listen_drops;
        self.cause = counts.cause();
        self.established = counts.established;
        self.accepted = counts.accepted;
        self.established_per_second = per_second(counts.established);
        self.accepted_per_second = per_second(counts.accepted);
    }
}

impl Loss<'_> {
    /// The highest length of one listener's accept queue since the episode began, as far as it is known.
    fn peak(&self, begun_at: u64) -> Option<u32> {
        let peaks = self.port.queues.accept_queue_peaks.as_ref();
        let noted = peaks.and_then(|peaks| noted_since(peaks, begun_at, self.taken));
        let read = self.port.listeners.iter().map(|listener| listener.accept_queue_length).max();
        noted.max(read).max(self.length_when_full())
    }

    /// A queue is full when it holds more than its limit, so the packet that it refused met that many. A listener
    /// whose limit is known at one end of the time only may have had another one in between.
    fn length_when_full(&self) -> Option<u32> {
        let (before, now) = (self.limits_before?, Limits::of(&self.port.listeners)?);
        self.overflowed.then(|| before.lowest.min(now.lowest).saturating_add(1))
    }
}

impl Limits {
    fn of(listeners: &[Listener]) -> Option<Self> {
        let lowest = listeners.iter().map(|listener| listener.accept_queue_limit).min()?;
        Some(Self { fullest: fullest(listeners)?.accept_queue_limit, lowest })
    }
}

/// The listener whose queue is the fullest; of those that are equally full the one with the lowest limit.
fn fullest(listeners: &[Listener]) -> Option<&Listener> {
    // One more than the limit fits.
    let room = |listener: &Listener| u64::from(listener.accept_queue_limit).saturating_add(1);
    let fill =
        |listener: &Listener, of: &Listener| u64::from(listener.accept_queue_length).saturating_mul(room(of));
    let by_fill = |one: &&Listener, other: &&Listener| fill(one, other).cmp(&fill(other, one));
    let by_limit = |one: &&Listener, other: &&Listener| room(other).cmp(&room(one));
    listeners.iter().max_by(|one, other| by_fill(one, other).then_with(|| by_limit(one, other)))
}

/// The highest length that was noted between the beginning and now. The highest of all may be of an earlier burst of the
/// same height; then the windows tell that lie in between as a whole.
fn noted_since(peaks: &Peaks, begun_at: u64, taken: &Instants) -> Option<u32> {
    let begun_ago = seconds(taken.monotonic.saturating_sub(begun_at));
    let is_new = peaks.highest_at.is_some_and(|at| taken.unix_seconds - at <= begun_ago);
    let windows = [(1, peaks.last_1_second), (15, peaks.last_15_seconds), (60, peaks.last_60_seconds)];
    let within = |(length, peak): (u64, u32)| {
        let length = length * SECOND;
        let end = taken.monotonic / length * length;
        end.checked_sub(length).filter(|begin| *begin >= begun_at).map(|_| peak)
    };
    let highest = is_new.then_some(peaks.highest);
    highest.or_else(|| windows.into_iter().filter_map(within).max())
}

#[expect(clippy::cast_precision_loss, reason = "a time needs no more digits")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn rate(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then_some(count as f64 / seconds)
}
