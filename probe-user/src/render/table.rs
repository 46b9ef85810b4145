//! The table of `snapshot`: one line per port, the worst first.
use std::{
    cmp::Reverse,
    io::{self, Write},
    net::SocketAddr,
};

use super::words;
use crate::model::{Handshakes, Listener, Model, Port};

const HEADER: [&str; 10] = [
    "NETNS",
    "ADDRESS:PORT",
    "LISTENERS",
    "LENGTH/LIMIT",
    "SYN",
    "QUEUED",
    "ESTABLISHED",
    "OVERFLOWS",
    "DROPS",
    "RETRANSMITS",
];

/// The columns before this one are text and flush left, the others are numbers and flush right.
const FIRST_NUMBER: usize = 2;

/// What is shown where nothing is known.
const UNKNOWN: &str = "-";

type Row = [String; HEADER.len()];

/// Writes the header, a line per port and a last line about how the numbers were come by.
///
/// # Errors
/// Those of the writer.
pub fn write(model: &Model, writer: &mut impl Write) -> io::Result<()> {
    let rows = rows(model);
    let widths = widths(&rows);
    write_line(&HEADER.map(str::to_owned), &widths, writer)?;
    for row in &rows {
        write_line(row, &widths, writer)?;
    }
    writeln!(writer, "{}", footnote(model))
}

fn rows(model: &Model) -> Vec<Row> {
    let mut ports: Vec<_> = model.ports.iter().collect();
    ports.sort_by_key(|port| {
        let handshakes = &port.handshakes;
        let overflows = handshakes.accept_queue_overflows.total();
        let identity = (port.id.netns, port.id.port, port.id.address);
        (Reverse(overflows), Reverse(handshakes.listen_drops), identity)
    });
    let other = model.other.as_ref().filter(|other| has_counted(other)).map(other_row);
    ports.into_iter().map(|port| port_row(model, port)).chain(other).collect()
}

/// Whether any number is above zero.
fn has_counted(handshakes: &Handshakes) -> bool {
    numbers(handshakes).iter().any(|text| text != UNKNOWN && text != "0")
}

fn port_row(model: &Model, port: &Port) -> Row {
    let address = SocketAddr::new(port.id.address, port.id.port).to_string();
    let known = words::sockets_are_known(model, port);
    let listeners = if known { port.listeners.len().to_string() } else { UNKNOWN.to_owned() };
    let queue = queue(&port.listeners);
    row([port.id.netns.to_string(), address, listeners, queue], &port.handshakes)
}

fn other_row(handshakes: &Handshakes) -> Row {
    let unknown = || UNKNOWN.to_owned();
    row(["other".to_owned(), "other".to_owned(), unknown(), unknown()], handshakes)
}

fn row([netns, address, listeners, queue]: [String; 4], handshakes: &Handshakes) -> Row {
    let [syn, queued, established, overflows, drops, retransmits] = numbers(handshakes);
    [netns, address, listeners, queue, syn, queued, established, overflows, drops, retransmits]
}

/// The accept queues as length/limit: sums, as in the metrics. A closed port has none.
fn queue(listeners: &[Listener]) -> String {
    if listeners.is_empty() {
        return UNKNOWN.to_owned();
    }
    let length: u64 = listeners.iter().map(|one| u64::from(one.accept_queue_length)).sum();
    let limit: u64 = listeners.iter().map(|one| u64::from(one.accept_queue_limit)).sum();
    format!("{length}/{limit}")
}

fn numbers(handshakes: &Handshakes) -> [String; 6] {
    [
        handshakes.syn_received,
        handshakes.syn_queued,
        handshakes.established,
        handshakes.accept_queue_overflows.total(),
        handshakes.listen_drops,
        handshakes.synack_retransmits,
    ]
    .map(|count| count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string()))
}

fn widths(rows: &[Row]) -> [usize; HEADER.len()] {
    let mut widths = HEADER.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    widths
}

fn write_line(row: &Row, widths: &[usize], writer: &mut impl Write) -> io::Result<()> {
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        if column < FIRST_NUMBER {
            write!(writer, "{gap}{cell:<width$}")?;
        } else {
            write!(writer, "{gap}{cell:>width$}")?;
        }
    }
    writeln!(writer)
}

/// How the numbers were come by, and what is missing.
fn footnote(model: &Model) -> String {
    let coverage = &model.plan.coverage;
    let mut line = format!("accounting: {}", coverage.accounting.label());
    let missing = words::not_measured(coverage);
    if !missing.is_empty() {
        line.push_str("; not measured here: ");
        line.push_str(&missing.join(", "));
    }
    let unreadable: Vec<_> =
        words::unreadable(model).map(|(namespace, _)| namespace.netns.to_string()).collect();
    if !unreadable.is_empty() {
        line.push_str("; unreadable namespaces: ");
        line.push_str(&unreadable.join(", "));
    }
    let lost: u64 = model.losses.values().fold(0, |sum, count| sum.saturating_add(*count));
    if lost > 0 {
        line.push_str(&format!("; lost events: {lost}"));
    }
    line
}
