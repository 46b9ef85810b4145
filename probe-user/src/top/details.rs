//! Everything that is known of one port: why it loses connections, its limits, whose it is, and what to do.
use std::sync::Arc;

use ratatui::{
    style::{Modifier, Style},
    text::Line,
};

use super::{
    columns::display_width,
    readings::{Gain, Key},
    rows::port_of,
    state::State,
    words::{UNKNOWN, of_limit, rate, wait},
};
use crate::{
    model::{Backlog, BacklogBound, Handshakes, Model, Namespace, Port},
    render::{
        doctor::{self, Colour},
        words,
    },
    sample::{LimitsSample, OwnerSample},
};

/// Where values begin.
const VALUES: usize = 26;

/// What is written, before it is known how wide it may be.
enum Piece {
    Heading(String),
    /// A name and its value.
    Fact(&'static str, String),
    Text(String),
}

/// The lines, none of them wider than that.
pub(super) fn lines(state: &State, width: u16) -> Vec<Line<'static>> {
    let Some((model, port)) = state.port_in_detail() else {
        return vec![Line::raw("nothing is known of this port any more")];
    };
    let pieces = pieces(state, model, port);
    pieces.iter().flat_map(|piece| piece.lines(width.into())).collect()
}

fn pieces(state: &State, model: &Model, port: &Port) -> Vec<Piece> {
    let heading = |text: &str| Piece::Heading(text.to_owned());
    let mut pieces = whose(model, port);
    pieces.push(heading("Lost, by cause: since counting began, and per second now"));
    pieces.extend(causes(port, state.readings.gain(Key::Port(port.id)).as_ref()));
    pieces.push(heading("Waits for accept(), half of the connections and 99 of 100 at most"));
    pieces.extend(waits(port, state.readings.late(Key::Port(port.id)).as_ref()));
    pieces.push(heading("Limits"));
    pieces.extend(limits(model, port));
    pieces.push(heading("Last burst"));
    let mut bursts = model.episodes.iter().filter(|episode| episode.id == port.id);
    let burst = bursts.next().map(|episode| doctor::burst(episode, model.taken));
    pieces.push(Piece::Text(burst.unwrap_or_else(|| "none is known".to_owned())));
    pieces.push(heading("Advice"));
    pieces.extend(advice(model, port));
    pieces
}

fn whose(model: &Model, port: &Port) -> Vec<Piece> {
    let address = std::net::SocketAddr::new(port.id.address, port.id.port);
    let process = port.process.as_deref().map(words::one_line).unwrap_or_default();
    let mut pieces = vec![
        Piece::Heading(format!("{address} {process}")),
        Piece::Fact("network namespace", port.id.netns.to_string()),
    ];
    let owner = port.owner().map_or_else(|| UNKNOWN.to_owned(), owner);
    pieces.push(Piece::Fact("owner", owner));
    if port.listeners.is_empty() && model.knows_sockets_of(port) {
        pieces.push(Piece::Text("nobody listens there now".to_owned()));
    }
    pieces
}

fn owner(owner: &OwnerSample) -> String {
    let pid = Some(format!("{} {}", owner.process, owner.pid));
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let facts = [
        pid,
        named("command", &owner.command),
        named("application", &owner.application),
        named("unit", &owner.unit),
        named("container", &owner.container),
        named("pod", &owner.pod),
        named("user", &owner.user),
    ];
    words::one_line(&facts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// A number of handshakes that may be known.
type Count = fn(&Handshakes) -> Option<u64>;

/// What is refused or dropped, and why.
const CAUSES: [(&str, Count); 13] = [
    ("connections refused", |counts| counts.connections_refused),
    ("overflows by SYNs", |counts| counts.accept_queue_overflows.syn),
    ("overflows by last ACKs", |counts| counts.accept_queue_overflows.ack),
    ("overflows", |counts| counts.accept_queue_overflows.undivided),
    ("SYN queue full", |counts| counts.syn_dropped.syn_queue_full),
    ("SYN backlog reserve", |counts| counts.syn_dropped.syn_backlog_reserve),
    ("other dropped SYNs", |counts| counts.syn_dropped.other),
    ("other refused ACKs", |counts| counts.last_ack_refused.other),
    ("refused last ACKs", |counts| counts.last_ack_refused.undivided),
    ("requests aborted", |counts| counts.requests_aborted),
    ("requests expired", |counts| counts.requests_expired),
    ("closed unaccepted", |counts| counts.closed_unaccepted),
    ("listen drops", |counts| counts.listen_drops),
];

/// Those that this plan counts.
fn causes(port: &Port, gain: Option<&Gain>) -> Vec<Piece> {
    let counted = CAUSES.into_iter().filter_map(|(name, count)| {
        let total = count(&port.handshakes)?;
        let now = rate(gain.and_then(|gain| gain.per_second(count)));
        Some(Piece::Fact(name, format!("{} ({now}/s)", words::grouped(total))))
    });
    let counted: Vec<_> = counted.collect();
    if counted.is_empty() { vec![Piece::Text("is not counted here, see check".to_owned())] } else { counted }
}

fn waits(port: &Port, late: Option<&Gain>) -> Vec<Piece> {
    let quantiles = |counts: &crate::model::QueueCounts| {
        let quantile = |fraction| wait(counts.accept_wait.as_ref().and_then(|wait| wait.quantile(fraction)));
        format!("{}, {}", quantile(0.5), quantile(0.99))
    };
    let now = late.map_or_else(|| UNKNOWN.to_owned(), |late| quantiles(&late.totals.queues));
    let accepted = port.queues.counts.accepted.map_or_else(|| UNKNOWN.to_owned(), words::grouped);
    vec![
        Piece::Fact("in the last seconds", now),
        Piece::Fact("since counting began", quantiles(&port.queues.counts)),
        Piece::Fact("connections accepted", accepted),
    ]
}

fn limits(model: &Model, port: &Port) -> Vec<Piece> {
    let recommended = port.backlog_recommended.map_or_else(|| UNKNOWN.to_owned(), words::grouped);
    let mut pieces = vec![Piece::Fact("recommended backlog", recommended)];
    for listener in &port.listeners {
        let length =
            of_limit(Some(listener.accept_queue_length.into()), Some(listener.accept_queue_limit.into()));
        let peaks = match listener.queues.accept_queue_peaks.or(port.queues.accept_queue_peaks) {
            Some(peaks) => format!("highest {}", peaks.highest),
            None => format!("highest {UNKNOWN}"),
        };
        let backlog = backlog(&listener.backlog, listener.accept_queue_limit);
        let text = format!("accept queue {length}, {peaks}; {backlog}");
        pieces.push(Piece::Fact("listener", format!("socket {}: {text}", listener.inode)));
    }
    let namespace = model.namespace(port.id.netns);
    pieces.extend(namespace.map(sysctls));
    pieces
}

/// What listen() was asked for, what became of it, and which limit made it so.
fn backlog(backlog: &Backlog, effective: u32) -> String {
    let Some(requested) = backlog.requested else {
        return format!("backlog {effective}, what listen() asked for was not seen");
    };
    let asked = if requested < 0 { format!("the maximum ({requested})") } else { requested.to_string() };
    let clamp = match backlog.bound {
        Some(BacklogBound::Somaxconn) => ": cut by net.core.somaxconn",
        Some(BacklogBound::Maximum) => ": all that net.core.somaxconn allows",
        Some(BacklogBound::Application) | None => "",
    };
    let raised = match (backlog.raised_not_applied, backlog.attainable) {
        (Some(true), Some(attainable)) => {
            format!("; {attainable} when it listens again, mostly by a restart")
        }
        _ => String::new(),
    };
    format!("backlog {effective}, asked for {asked}{clamp}{raised}")
}

fn sysctls(namespace: &Namespace) -> Piece {
    let LimitsSample { somaxconn, tcp_max_syn_backlog, tcp_syncookies, tcp_abort_on_overflow, .. } =
        namespace.limits;
    let known = |name: &str, value: Option<u64>| {
        format!("{name} {}", value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string()))
    };
    let all = [
        known("net.core.somaxconn", somaxconn),
        known("net.ipv4.tcp_max_syn_backlog", tcp_max_syn_backlog),
        known("net.ipv4.tcp_syncookies", tcp_syncookies),
        known("net.ipv4.tcp_abort_on_overflow", tcp_abort_on_overflow),
    ];
    Piece::Fact("sysctls", all.join(", "))
}

/// The verdicts on this port, as `doctor` writes them.
fn advice(model: &Model, port: &Port) -> Vec<Piece> {
    let Some(advice) = model.advice.as_ref().map(Arc::as_ref) else {
        return vec![Piece::Text("nobody has judged yet".to_owned())];
    };
    let mut text = Vec::new();
    let verdicts = advice.verdicts.iter().filter(|verdict| port_of(verdict) == Some(port.id));
    for (number, verdict) in (1..).zip(verdicts) {
        if doctor::write_verdict(number, verdict, Colour::None, &mut text).is_err() {
            break; // memory takes everything
        }
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(|line| Piece::Text(format!("  {line}"))).collect();
    if lines.is_empty() { vec![Piece::Text("nothing is wrong with this port".to_owned())] } else { lines }
}

impl Piece {
    fn lines(&self, width: usize) -> Vec<Line<'static>> {
        match self {
            Self::Heading(text) => {
                let style = Style::new().add_modifier(Modifier::BOLD);
                wrapped("", text, width).into_iter().map(|line| Line::styled(line, style)).collect()
            }
            Self::Fact(name, value) => {
                let name = format!("  {name:<room$} ", room = VALUES.saturating_sub(3));
                wrapped(&name, value, width).into_iter().map(Line::raw).collect()
            }
            Self::Text(text) => {
                let indent = text.chars().take_while(|letter| *letter == ' ').count();
                let indent = " ".repeat(indent.max(2));
                wrapped(&indent, text.trim_start(), width).into_iter().map(Line::raw).collect()
            }
        }
    }
}

/// The text behind a beginning, on as many lines as it needs; later ones begin where it begins, if that leaves it room.
fn wrapped(beginning: &str, text: &str, width: usize) -> Vec<String> {
    let indent = display_width(beginning).min(width / 2);
    let mut lines = vec![beginning.to_owned()];
    let mut is_new = true;
    for word in text.split(' ').flat_map(|word| pieces_of(word, width.saturating_sub(indent))) {
        let fits = |line: &String| display_width(line) + display_width(&word) < width;
        match lines.last_mut() {
            Some(line) if is_new && display_width(line) + display_width(&word) <= width => {
                line.push_str(&word)
            }
            Some(line) if !is_new && fits(line) => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("{}{word}", " ".repeat(indent))),
        }
        is_new = false;
    }
    lines
}

/// A word in as many pieces as it takes for each to have room.
fn pieces_of(word: &str, room: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in word.chars() {
        let is_full = pieces.last().is_some_and(|piece| display_width(piece) >= room.max(1));
        if is_full {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
}
