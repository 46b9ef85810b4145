//! What is shown of each port, family by family.
use std::{
    fmt::{Display, Write as _},
    io,
    ops::Range,
};

use super::{
    OTHER,
    lines::{Lines, push_label},
};
use crate::{
    metrics::{Metric, catalogue},
    model::{BacklogBound, Handshakes, Listener, Model, Peaks, Port, QueueCounts, totals::Totals as _},
    sample::OwnerSample,
};

/// The loss that fills the row [`OTHER`].
const LISTENER_MAP_FULL: &str = "listener_map_full";
/// So much text is handed on at once.
const AT_ONCE: usize = 32 << 10;

/// Writes one port's samples of a family.
pub(super) type Write = fn(&mut Lines<'_>, &Place<'_>);

/// What series of a port are of: a port, or the row [`OTHER`].
pub(super) struct Place<'a> {
    /// Where in [`Ports::labels`] the labels are that name it.
    labels: Range<usize>,
    handshakes: &'a Handshakes,
    counts: &'a QueueCounts,
    /// `None` for the row.
    port: Option<&'a Port>,
    sockets_are_known: bool,
}

/// All ports with series of their own, and the row [`OTHER`] if it says anything.
pub(super) struct Ports<'a> {
    places: Vec<Place<'a>>,
    /// The labels that name each of them, as they are written: in every one of its lines.
    labels: String,
}

impl<'a> Ports<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let mut ports = Self { places: Vec::new(), labels: String::new() };
        for port in &model.ports {
            if let Some((handshakes, counts)) = model.exposed(port) {
                // An empty label is none to Prometheus.
                let process = port.process.as_deref().unwrap_or_default();
                let labels = ports.name([&port.id.netns, &port.id.address, &port.id.port], process);
                let sockets_are_known = model.knows_sockets_of(port);
                ports.places.push(Place { labels, handshakes, counts, port: Some(port), sockets_are_known });
            }
        }
        if let Some((handshakes, counts)) = model.exposed_other()
            && other_is_used(model, handshakes)
        {
            let [netns, address, port, process] = &OTHER;
            let labels = ports.name([netns, address, port], process);
            ports.places.push(Place { labels, handshakes, counts, port: None, sockets_are_known: false });
        }
        ports
    }

    fn name(&mut self, [netns, address, port]: [&dyn Display; 3], process: &str) -> Range<usize> {
        let begin = self.labels.len();
        // Memory takes whatever is written, and nothing in these three has to be escaped.
        let _ = write!(self.labels, "netns=\"{netns}\",address=\"{address}\",port=\"{port}\"");
        push_label(&mut self.labels, "process", process);
        begin..self.labels.len()
    }

    /// Writes a family, or nothing where no port has a sample of it.
    pub(super) fn write(
        &self,
        metric: &'static Metric,
        write: Write,
        text: &mut String,
        writer: &mut impl io::Write,
    ) -> io::Result<()> {
        text.clear();
        let mut lines = Lines::begin(metric, text);
        let (heading, mut has_samples) = (lines.text().len(), false);
        for place in &self.places {
            lines.of(self.labels.get(place.labels.clone()).unwrap_or_default());
            write(&mut lines, place);
            has_samples |= lines.text().len() > heading;
            if lines.text().len() > AT_ONCE {
                writer.write_all(lines.text().as_bytes())?;
                lines.text().clear();
            }
        }
        if has_samples { writer.write_all(text.as_bytes()) } else { Ok(()) }
    }
}

/// Whether the row for ports without series of their own says anything. Most hosts never need it.
fn other_is_used(model: &Model, other: &Handshakes) -> bool {
    let without_series = model.series.as_ref().map(|series| series.ports_in_other);
    let past_the_budget = model.losses.get(LISTENER_MAP_FULL).copied();
    !other.is_nothing() || [without_series, past_the_budget].into_iter().flatten().any(|count| count > 0)
}

/// The families that have the labels of a port.
pub(super) const FAMILIES: [(&Metric, Write); 36] = [
    (&catalogue::SYN_RECEIVED, |lines, of| lines.number(of.handshakes.syn_received)),
    (&catalogue::SYN_QUEUED, |lines, of| lines.number(of.handshakes.syn_queued)),
    (&catalogue::SYN_DROPPED, syn_dropped),
    (&catalogue::SYNCOOKIES_SENT, |lines, of| lines.number(of.handshakes.syncookies_sent)),
    (&catalogue::SYNCOOKIES_RECEIVED, |lines, of| lines.number(of.handshakes.syncookies_received)),
    (&catalogue::SYNCOOKIES_FAILED, |lines, of| lines.number(of.handshakes.syncookies_failed)),
    (&catalogue::SYN_QUEUE_FULL_COOKIES, |lines, of| lines.number(of.handshakes.syn_queue_full_cookies)),
    (&catalogue::LAST_ACK_RECEIVED, |lines, of| lines.number(of.handshakes.last_ack_received)),
    (&catalogue::LAST_ACK_REFUSED, last_ack_refused),
    (&catalogue::ESTABLISHED, |lines, of| lines.number(of.handshakes.established)),
    (&catalogue::SYNACK_RETRANSMITS, |lines, of| lines.number(of.handshakes.synack_retransmits)),
    (&catalogue::REQUEST_ERRORS, |lines, of| lines.number(of.handshakes.request_errors)),
    (&catalogue::REQUESTS_ABORTED, |lines, of| lines.number(of.handshakes.requests_aborted)),
    (&catalogue::REQUESTS_EXPIRED, |lines, of| lines.number(of.handshakes.requests_expired)),
    (&catalogue::CLOSED_UNACCEPTED, |lines, of| lines.number(of.handshakes.closed_unaccepted)),
    (&catalogue::CONNECTIONS_REFUSED, |lines, of| lines.number(of.handshakes.connections_refused)),
    (&catalogue::ACCEPT_QUEUE_OVERFLOWS, overflows),
    (&catalogue::LISTEN_DROPS, |lines, of| lines.number(of.handshakes.listen_drops)),
    (&catalogue::ACCEPTED, |lines, of| lines.number(of.counts.accepted)),
    (&catalogue::ACCEPT_WAIT, |lines, of| lines.histogram(of.counts.accept_wait.as_ref())),
    (&catalogue::ACCEPT_QUEUE_FILL, |lines, of| lines.histogram(of.counts.accept_queue_fill.as_ref())),
    (&catalogue::ACCEPT_QUEUE_PEAK, |lines, of| peaks(lines, of.accept_queue_peaks())),
    (&catalogue::ACCEPT_QUEUE_HIGHEST, |lines, of| {
        lines.number(of.accept_queue_peaks().map(|peaks| peaks.highest));
    }),
    (&catalogue::ACCEPT_QUEUE_HIGHEST_TIME, |lines, of| {
        lines.number(of.accept_queue_peaks().and_then(|peaks| peaks.highest_at));
    }),
    (&catalogue::SYN_QUEUE_PEAK, |lines, of| peaks(lines, of.of_port(|port| port.queues.syn_queue_peaks))),
    (&catalogue::LAST_ACCEPT_TIME, |lines, of| lines.number(of.of_port(|port| port.queues.last_accept))),
    (&catalogue::BACKLOG_RECOMMENDED, |lines, of| lines.number(of.of_port(|port| port.backlog_recommended))),
    (&catalogue::LISTENERS, |lines, of| {
        lines.number(of.port.filter(|_| of.sockets_are_known).map(|port| port.listeners.len() as u64));
    }),
    (&catalogue::BACKLOG_REQUESTED, |lines, of| lines.number(requested(of.listeners()))),
    (&catalogue::BACKLOG_ATTAINABLE, |lines, of| lines.number(attainable(of.listeners()))),
    (&catalogue::BACKLOG_BOUND_INFO, |lines, of| lines.parts(bounds(of.listeners()))),
    // A closed port has no queue, so it has no length and no limit either.
    (&catalogue::ACCEPT_QUEUE_LENGTH, |lines, of| lines.number(of.accept_queue().map(|(length, _)| length))),
    (&catalogue::ACCEPT_QUEUE_LIMIT, |lines, of| lines.number(of.accept_queue().map(|(_, limit)| limit))),
    (&catalogue::SYN_QUEUE_LENGTH, |lines, of| {
        lines.number(of.accept_queue().and_then(|_| of.of_port(|port| port.syn_queue_length)));
    }),
    (&catalogue::SYN_QUEUE_LIMIT, |lines, of| lines.number(of.accept_queue().map(|(_, limit)| limit))),
    (&catalogue::PORT_OWNER_INFO, owner),
];

impl<'a> Place<'a> {
    fn of_port<T>(&self, what: impl FnOnce(&'a Port) -> Option<T>) -> Option<T> {
        self.port.and_then(what)
    }

    fn listeners(&self) -> &'a [Listener] {
        self.port.map_or(&[], |port| &port.listeners)
    }

    fn accept_queue(&self) -> Option<(u64, u64)> {
        self.of_port(Port::accept_queue)
    }

    fn accept_queue_peaks(&self) -> Option<Peaks> {
        self.of_port(|port| port.queues.accept_queue_peaks)
    }
}

fn syn_dropped(lines: &mut Lines<'_>, of: &Place<'_>) {
    let dropped = &of.handshakes.syn_dropped;
    lines.parts([
        ("accept_queue_full", dropped.accept_queue_full),
        ("syn_queue_full", dropped.syn_queue_full),
        ("syn_backlog_reserve", dropped.syn_backlog_reserve),
        ("other", dropped.other),
    ]);
}

fn last_ack_refused(lines: &mut Lines<'_>, of: &Place<'_>) {
    let refused = &of.handshakes.last_ack_refused;
    lines.parts([
        ("accept_queue_full", refused.accept_queue_full),
        ("other", refused.other),
        ("undivided", refused.undivided),
    ]);
}

fn overflows(lines: &mut Lines<'_>, of: &Place<'_>) {
    let overflows = &of.handshakes.accept_queue_overflows;
    lines.parts([("syn", overflows.syn), ("ack", overflows.ack), ("undivided", overflows.undivided)]);
}

fn peaks(lines: &mut Lines<'_>, peaks: Option<Peaks>) {
    lines.parts([
        ("1s", peaks.map(|peaks| peaks.last_1_second)),
        ("15s", peaks.map(|peaks| peaks.last_15_seconds)),
        ("60s", peaks.map(|peaks| peaks.last_60_seconds)),
    ]);
}

/// The sum, like the limit; nothing where only some of the listeners' calls were seen.
fn requested(listeners: &[Listener]) -> Option<f64> {
    let sum = |sum: i64, listener: &Listener| {
        let requested = i64::from(listener.backlog.requested?);
        Some(if sum < 0 || requested < 0 { -1 } else { sum.saturating_add(requested) })
    };
    let sum = listeners.iter().try_fold(0, sum).filter(|_| !listeners.is_empty());
    sum.map(|sum| sum as f64)
}

/// The same of what they could have.
fn attainable(listeners: &[Listener]) -> Option<u64> {
    let sum = listeners.iter().map(|listener| listener.backlog.attainable.map(u64::from)).sum();
    Option::filter(sum, |_| !listeners.is_empty())
}

/// What limits them, each way once.
fn bounds(listeners: &[Listener]) -> [(&'static str, Option<u64>); 3] {
    [BacklogBound::Application, BacklogBound::Somaxconn, BacklogBound::Maximum].map(|bound| {
        let is_one = listeners.iter().any(|listener| listener.backlog.bound == Some(bound));
        (bound.label(), is_one.then_some(1))
    })
}

fn owner(lines: &mut Lines<'_>, of: &Place<'_>) {
    let Some(owner) = of.of_port(Port::owner) else { return };
    let OwnerSample { pid: _, process, command, application, unit, container, pod, user } = owner;
    let [command, application, unit] = [command, application, unit].map(Option::as_deref);
    let [container, pod, user] = [container, pod, user].map(Option::as_deref);
    lines.information([Some(process), command, application, unit, container, pod, user]);
}
