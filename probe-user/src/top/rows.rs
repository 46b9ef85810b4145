//! What is shown of each port, and of each listener that shares one.
use std::{collections::BTreeMap, net::SocketAddr};

use super::readings::{Gain, Key, Readings};
use crate::{
    model::{
        Listener, LossCause, Model, Peaks, Port,
        advice::{Rule, Severity, Verdict},
        totals::Totals,
    },
    render::words,
    sample::PortId,
};

/// A line of the table. `None` is "is not known", never zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Address and port; of a member its socket.
    pub(super) name: String,
    pub(super) netns: Option<u32>,
    pub(super) process: Option<String>,
    /// Length and limit of the accept queue, summed over the listeners.
    pub(super) accept_queue: Option<(u64, u64)>,
    /// How full the fullest of the queues is: 1 at its limit, and a little more than that at most.
    pub(super) fill: Option<f64>,
    pub(super) peaks: Option<Peaks>,
    pub(super) syn_queue: Option<u64>,
    pub(super) syn_queue_limit: Option<u64>,
    pub(super) rates: PerSecond,
    /// What half of the connections did not wait longer than, of those that were accepted in the last seconds, and
    /// what 99 of 100 did not.
    pub(super) waits: [Option<f64>; 2],
    pub(super) loss: Loss,
}

/// How often something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PerSecond {
    pub(super) established: Option<f64>,
    pub(super) refused: Option<f64>,
    pub(super) overflows: Option<f64>,
    pub(super) drops: Option<f64>,
}

impl PerSecond {
    fn is_loss(&self) -> bool {
        [self.refused, self.overflows, self.drops].into_iter().flatten().any(|rate| rate > 0.0)
    }

    /// An overflow has but one cause; of other drops the rate does not tell it.
    fn cause(&self) -> Option<LossCause> {
        self.overflows.filter(|rate| *rate > 0.0).map(|_| LossCause::AcceptQueueFull)
    }

    fn plus(&self, more: &Self) -> Self {
        let sum = |one: Option<f64>, more: Option<f64>| {
            [one, more].into_iter().flatten().reduce(|one, more| one + more)
        };
        Self {
            established: sum(self.established, more.established),
            refused: sum(self.refused, more.refused),
            overflows: sum(self.overflows, more.overflows),
            drops: sum(self.drops, more.drops),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Loss {
    /// Whether connections are being lost.
    pub(super) now: bool,
    /// Why, as far as it is known.
    pub(super) cause: Option<LossCause>,
    /// The worst verdict of the last minutes.
    pub(super) verdict: Option<(Severity, Rule)>,
    /// What was lost since counting began.
    pub(super) ever: Option<u64>,
}

/// A port and, if more than one listener shares it, each of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) row: Row,
    pub(super) members: Vec<Row>,
}

/// All that can be shown, in the order of the model.
pub(super) fn groups(readings: &Readings) -> Vec<Group> {
    let Some(model) = readings.model() else { return Vec::new() };
    let findings = Findings::of(model);
    let ports = model.ports.iter().map(|port| group(port, readings, &findings));
    ports.chain(other(readings)).collect()
}

/// What a model says of ports beside their numbers.
struct Findings {
    /// Ports that are losing connections, with the cause.
    losing: BTreeMap<PortId, Option<LossCause>>,
    verdicts: BTreeMap<PortId, (Severity, Rule)>,
}

impl Findings {
    fn of(model: &Model) -> Self {
        let going_on = model.episodes.iter().filter(|episode| episode.goes_on());
        let mut verdicts = BTreeMap::new();
        for verdict in model.advice.iter().flat_map(|advice| &advice.verdicts) {
            // The worst one comes first.
            if let Some(id) = port_of(verdict) {
                verdicts.entry(id).or_insert((verdict.severity, verdict.rule));
            }
        }
        Self { losing: going_on.map(|episode| (episode.id, episode.cause)).collect(), verdicts }
    }
}

/// The port that a verdict is about; `None` when it is about a namespace or the host.
pub(super) fn port_of(verdict: &Verdict) -> Option<PortId> {
    let place = &verdict.place;
    Some(PortId { netns: place.netns?, address: place.address?, port: place.port? })
}

fn group(port: &Port, readings: &Readings, findings: &Findings) -> Group {
    let members = match port.listeners.as_slice() {
        [] | [_] => Vec::new(),
        several => several.iter().map(|listener| member(port, listener, readings)).collect(),
    };
    Group { row: port_row(port, readings, findings), members }
}

fn port_row(port: &Port, readings: &Readings, findings: &Findings) -> Row {
    let key = Key::Port(port.id);
    let rates = rates(readings.gain(key).as_ref());
    let episode = findings.losing.get(&port.id);
    let fill = port.listeners.iter().map(fill_of).max_by(f64::total_cmp);
    Row {
        key,
        name: SocketAddr::new(port.id.address, port.id.port).to_string(),
        netns: Some(port.id.netns),
        process: port.process.as_deref().map(words::one_line),
        accept_queue: port.accept_queue(),
        fill,
        peaks: port.queues.accept_queue_peaks,
        syn_queue: port.syn_queue_length,
        // The kernel compares both queues with the one backlog.
        syn_queue_limit: port.accept_queue().map(|(_, limit)| limit),
        rates,
        waits: waits(readings.late(key).as_ref()),
        loss: Loss {
            now: episode.is_some() || rates.is_loss(),
            cause: episode.map_or_else(|| rates.cause(), |cause| *cause),
            verdict: findings.verdicts.get(&port.id).copied(),
            ever: port.handshakes.connections_refused.or(port.handshakes.listen_drops),
        },
    }
}

fn member(port: &Port, listener: &Listener, readings: &Readings) -> Row {
    let key = Key::Member(port.id, listener.inode);
    let rates = rates(readings.gain(key).as_ref());
    let owner = listener.owner.as_deref();
    let (length, limit) = (u64::from(listener.accept_queue_length), u64::from(listener.accept_queue_limit));
    Row {
        key,
        name: format!("socket {}", listener.inode),
        netns: Some(port.id.netns),
        process: owner.map(|owner| format!("{} {}", words::one_line(&owner.process), owner.pid)),
        accept_queue: Some((length, limit)),
        fill: Some(fill_of(listener)),
        peaks: listener.queues.accept_queue_peaks,
        // The kernel's list of requests does not say which of the listeners they are for.
        syn_queue: None,
        syn_queue_limit: Some(limit),
        rates,
        waits: waits(readings.late(key).as_ref()),
        loss: Loss {
            now: rates.is_loss(),
            cause: rates.cause(),
            verdict: None,
            ever: listener.handshakes.connections_refused.or(listener.handshakes.listen_drops),
        },
    }
}

/// The ports that there was no room for, if anything was counted at them.
fn other(readings: &Readings) -> Option<Group> {
    let counts = readings.model()?.other.filter(|other| !other.is_nothing())?;
    let gain = readings.gain(Key::Other);
    let row = Row {
        key: Key::Other,
        name: "other".to_owned(),
        netns: None,
        process: None,
        accept_queue: None,
        fill: None,
        peaks: None,
        syn_queue: None,
        syn_queue_limit: None,
        rates: rates(gain.as_ref()),
        waits: waits(readings.late(Key::Other).as_ref()),
        loss: Loss { ever: counts.connections_refused.or(counts.listen_drops), ..Loss::default() },
    };
    Some(Group { row, members: Vec::new() })
}

/// One more than the limit fits: the kernel refuses what comes when there are more than the limit.
fn fill_of(listener: &Listener) -> f64 {
    f64::from(listener.accept_queue_length) / f64::from(listener.accept_queue_limit.max(1))
}

fn rates(gain: Option<&Gain>) -> PerSecond {
    let Some(gain) = gain else { return PerSecond::default() };
    PerSecond {
        established: gain.per_second(|counts| counts.established),
        refused: gain.per_second(|counts| counts.connections_refused),
        overflows: gain.per_second(|counts| counts.accept_queue_overflows.total()),
        drops: gain.per_second(|counts| counts.listen_drops),
    }
}

fn waits(late: Option<&Gain>) -> [Option<f64>; 2] {
    let histogram = late.and_then(|late| late.totals.queues.accept_wait.as_ref());
    [0.5, 0.99].map(|fraction| histogram?.quantile(fraction))
}

/// The sum over all ports; what no port knows is not known.
pub(super) fn sum(readings: &Readings, groups: &[Group]) -> PerSecond {
    // It is there without a row of its own as well: a host where nobody listens loses nothing.
    let other = rates(readings.gain(Key::Other).as_ref());
    let ports = groups.iter().filter(|group| group.row.key != Key::Other);
    ports.fold(other, |sum, group| sum.plus(&group.row.rates))
}
