//! The table of `snapshot`: one line per port, the worst first, as many columns as fit into a terminal.
use std::{
    cmp::Reverse,
    io::{self, Write},
    net::SocketAddr,
};

use super::words;
use crate::model::{Handshakes, Listener, Model, Peaks, Port, QueueCounts};

/// The width that the table keeps to, by leaving out what matters less.
const WIDTH: usize = 100;

/// Between two columns.
const GAP: &str = "  ";

/// What is shown where nothing is known.
const UNKNOWN: &str = "-";

/// What a line is about.
struct Line<'a> {
    model: &'a Model,
    /// `None`: all ports that there was no room for.
    port: Option<&'a Port>,
    handshakes: &'a Handshakes,
    counts: &'a QueueCounts,
    peaks: Option<Peaks>,
}

/// A column.
struct Column {
    header: &'static str,
    /// Text is flush left, numbers are flush right.
    is_text: bool,
    /// Where not all columns have room, those with the highest number go first; 0 always stays.
    rank: u8,
    cell: fn(&Line<'_>) -> String,
}

const fn text(header: &'static str, rank: u8, cell: fn(&Line<'_>) -> String) -> Column {
    Column { header, is_text: true, rank, cell }
}

const fn number(header: &'static str, rank: u8, cell: fn(&Line<'_>) -> String) -> Column {
    Column { header, is_text: false, rank, cell }
}

const COLUMNS: &[Column] = &[
    text("NETNS", 0, |line| line.port.map_or_else(|| "other".to_owned(), |port| port.id.netns.to_string())),
    text("ADDRESS:PORT", 0, |line| {
        let address = |port: &Port| SocketAddr::new(port.id.address, port.id.port).to_string();
        line.port.map_or_else(|| "other".to_owned(), address)
    }),
    text("PROCESS", 2, |line| {
        let process = line.port.and_then(|port| port.process.as_deref());
        process.map_or_else(|| UNKNOWN.to_owned(), words::one_line)
    }),
    number("LISTENERS", 8, listeners),
    number("QUEUE", 0, |line| {
        let queue = line.port.and_then(Port::accept_queue);
        queue.map_or_else(|| UNKNOWN.to_owned(), |(length, limit)| format!("{length}/{limit}"))
    }),
    number("HIGHEST", 1, |line| known(line.peaks.map(|peaks| peaks.highest.into()))),
    number("ASKED", 3, |line| line.port.map_or_else(|| UNKNOWN.to_owned(), |port| asked(&port.listeners))),
    number("WAIT P99", 5, wait),
    number("ESTABLISHED", 4, |line| known(line.handshakes.established)),
    number("REFUSED", 2, |line| known(line.handshakes.connections_refused)),
    number("OVERFLOWS", 0, |line| known(line.handshakes.accept_queue_overflows.total())),
    number("DROPS", 0, |line| known(line.handshakes.listen_drops)),
    number("RETRANSMITS", 6, |line| known(line.handshakes.synack_retransmits)),
    number("SYN", 7, |line| known(line.handshakes.syn_received)),
];

/// Writes the header, a line per port and a last line about how the numbers were come by.
///
/// # Errors
/// Those of the writer.
pub fn write(model: &Model, writer: &mut impl Write) -> io::Result<()> {
    let lines = lines(model);
    for row in rows(&lines) {
        writeln!(writer, "{row}")?;
    }
    writeln!(writer, "{}", footnote(model))
}

/// The ports, the worst first: by what they lost, then by how full their queues were.
fn lines(model: &Model) -> Vec<Line<'_>> {
    let mut ports: Vec<_> = model.ports.iter().collect();
    ports.sort_by_key(|port| {
        let handshakes = &port.handshakes;
        let lost = (handshakes.connections_refused, handshakes.accept_queue_overflows.total());
        let identity = (port.id.netns, port.id.port, port.id.address);
        (Reverse(lost), Reverse(handshakes.listen_drops), Reverse(fill(port)), identity)
    });
    let line = |port| Line {
        model,
        port: Some(port),
        handshakes: &port.handshakes,
        counts: &port.queues.counts,
        peaks: port.queues.accept_queue_peaks,
    };
    let other = model.other.as_ref().map(|other| Line {
        model,
        port: None,
        handshakes: other,
        counts: &model.other_queues,
        peaks: None,
    });
    let other = other.filter(|line| has_counted(line));
    ports.into_iter().map(line).chain(other).collect()
}

/// How full the fullest queue of a port ever was, or is now, in thousandths of its limit.
fn fill(port: &Port) -> u64 {
    let highest = port.queues.accept_queue_peaks.map_or(0, |peaks| peaks.highest);
    let fill = |one: &Listener| {
        u64::from(highest.max(one.accept_queue_length)) * 1_000 / u64::from(one.accept_queue_limit.max(1))
    };
    port.listeners.iter().map(fill).max().unwrap_or(0)
}

/// Whether any number is above zero.
fn has_counted(line: &Line<'_>) -> bool {
    COLUMNS.iter().filter(|column| !column.is_text).any(|column| {
        let cell = (column.cell)(line);
        cell != UNKNOWN && cell != "0"
    })
}

/// The lines as text, the header first, all of one width.
fn rows(lines: &[Line<'_>]) -> Vec<String> {
    let mut columns: Vec<(&Column, Vec<String>, usize)> = COLUMNS
        .iter()
        .map(|column| {
            let cells: Vec<_> = lines.iter().map(|line| (column.cell)(line)).collect();
            let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
            (column, cells, width.max(column.header.len()))
        })
        .collect();
    while width(&columns) > WIDTH {
        let rank = columns.iter().map(|(column, ..)| column.rank).max().unwrap_or(0);
        if rank == 0 {
            break;
        }
        columns.retain(|(column, ..)| column.rank != rank);
    }
    let row = |cell: &dyn Fn(&Column, &[String]) -> String| -> String {
        let cells = columns.iter().map(|(column, cells, width)| {
            let cell = cell(column, cells);
            if column.is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join(GAP)
    };
    let header = row(&|column, _| column.header.to_owned());
    let line = |index: usize| row(&|_, cells| cells.get(index).cloned().unwrap_or_default());
    [header].into_iter().chain((0..lines.len()).map(line)).collect()
}

fn width(columns: &[(&Column, Vec<String>, usize)]) -> usize {
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    columns.iter().map(|(_, _, width)| width).sum::<usize>() + gaps
}

fn known(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

fn listeners(line: &Line<'_>) -> String {
    let Some(port) = line.port else { return UNKNOWN.to_owned() };
    let counted = line.model.knows_sockets_of(port).then_some(port.listeners.len());
    known(counted.and_then(|count| u64::try_from(count).ok()))
}

/// What listen() was asked for, if that is known and the same for all listeners.
fn asked(listeners: &[Listener]) -> String {
    let mut requested = listeners.iter().map(|one| one.backlog.requested);
    match requested.next().flatten() {
        Some(first) if requested.all(|other| other == Some(first)) => {
            if first < 0 {
                "max".to_owned()
            } else {
                first.to_string()
            }
        }
        _ => UNKNOWN.to_owned(),
    }
}

/// What 99 of 100 accepted connections did not wait longer than, as far as the buckets tell.
fn wait(line: &Line<'_>) -> String {
    let quantile = line.counts.accept_wait.as_ref().and_then(|wait| wait.quantile(0.99));
    quantile.map_or_else(|| UNKNOWN.to_owned(), words::wait)
}

/// How the numbers were come by, and what is missing.
fn footnote(model: &Model) -> String {
    let coverage = &model.plan.coverage;
    let mut line = format!("accounting: {}", coverage.accounting.label());
    let missing = words::not_measured(coverage).len();
    if missing > 0 {
        line.push_str(&format!("; {missing} numbers not measured, see check"));
    }
    match words::unreadable(model).count() {
        0 => {}
        1 => line.push_str("; 1 namespace unreadable"),
        count => line.push_str(&format!("; {count} namespaces unreadable")),
    }
    let lost: u64 = model.losses.values().fold(0, |sum, count| sum.saturating_add(*count));
    if lost > 0 {
        line.push_str(&format!("; lost events: {lost}"));
    }
    line
}
