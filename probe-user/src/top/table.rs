//! The table of ports.
use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Text},
    widgets::{Cell, Row as TableRow, Table},
};

use super::{
    columns::{Fitted, GAP, Kind, Place, Shown, fit, without_beginning, without_end, without_explanation},
    rows::Row,
    state::{Line as Shows, State},
    view::Palette,
};
use crate::plan::outcome::Accounting;

/// With fewer lines the header has but one.
const TWO_HEADER_LINES_FROM: u16 = 5;
/// A queue that is fuller than this will soon be too full.
const NEARLY_FULL: f64 = 0.8;

/// Draws as many lines as there is room for, the selected one among them.
pub(super) fn draw(state: &State, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let header_lines = if area.height >= TWO_HEADER_LINES_FROM { 2 } else { 1 };
    let visible = visible(state, area.height.saturating_sub(header_lines).into());
    let shown: Vec<_> = visible.iter().filter_map(|line| shown(state, *line)).collect();
    let columns = fit(&shown, area.width.into(), has_several_namespaces(state));
    let selected = state.selected_row().map(|row| row.key);
    let rows = shown.iter().map(|row| {
        let style = row_style(row.row, palette);
        let is_selected = selected == Some(row.row.key);
        let style = if is_selected { style.add_modifier(Modifier::REVERSED) } else { style };
        table_row(*row, &columns, palette).style(style)
    });
    let widths = columns.iter().map(|one| Constraint::Length(u16::try_from(one.width).unwrap_or(u16::MAX)));
    let header = header(&columns, state, header_lines);
    let table = Table::new(rows, widths).header(header).column_spacing(GAP);
    frame.render_widget(table, area);
}

/// The lines that are on the screen: the selected one is in the middle, as far as that can be.
fn visible(state: &State, room: usize) -> &[Shows] {
    let first = state.position().saturating_sub(room / 2).min(state.lines.len().saturating_sub(room));
    let last = first.saturating_add(room).min(state.lines.len());
    state.lines.get(first..last).unwrap_or_default()
}

fn shown(state: &State, line: Shows) -> Option<Shown<'_>> {
    let group = state.groups.get(line.group)?;
    let place = match line.member {
        Some(member) if member + 1 == group.members.len() => Place::LastMember,
        Some(_) => Place::Member,
        None if group.members.is_empty() && state.groups.iter().all(|group| group.members.is_empty()) => {
            Place::Alone
        }
        None if group.members.is_empty() => Place::Single,
        None if state.is_collapsed(group.row.key) => Place::Closed,
        None => Place::Open,
    };
    let accounting = state.readings.model().map_or(Accounting::None, |model| model.plan.coverage.accounting);
    Some(Shown { row: state.row(line)?, place, accounting })
}

fn has_several_namespaces(state: &State) -> bool {
    let mut numbers = state.groups.iter().filter_map(|group| group.row.netns);
    let first = numbers.next();
    numbers.any(|number| Some(number) != first)
}

fn header<'a>(columns: &[Fitted], state: &State, lines: u16) -> TableRow<'a> {
    let cells = columns.iter().map(|one| {
        let [above, below] = one.column.header;
        let text: Vec<_> = match lines {
            2 => vec![above, below],
            _ if above.is_empty() => vec![below],
            _ => vec![above],
        };
        let style = Style::new().add_modifier(Modifier::BOLD);
        let is_sorted = one.column.sort == Some(state.sort);
        let style = if is_sorted { style.add_modifier(Modifier::UNDERLINED) } else { style };
        Cell::from(aligned(text.into_iter().map(Line::from).collect(), one)).style(style)
    });
    TableRow::new(cells.collect::<Vec<_>>()).height(lines)
}

fn aligned<'a>(lines: Vec<Line<'a>>, one: &Fitted) -> Text<'a> {
    match one.column.kind {
        Kind::Number => Text::from(lines).right_aligned(),
        Kind::Name | Kind::Text | Kind::Explained | Kind::Bar => Text::from(lines),
    }
}

fn table_row<'a>(row: Shown<'_>, columns: &[Fitted], palette: Palette) -> TableRow<'a> {
    let cells = columns.iter().map(|one| {
        let text = one.column.cell(row);
        let text = match one.column.kind {
            Kind::Name => without_beginning(&text, one.width),
            Kind::Text => without_end(&text, one.width),
            Kind::Explained => without_explanation(&text, one.width),
            Kind::Number | Kind::Bar => text,
        };
        let style =
            if one.column.kind == Kind::Bar { bar_style(row.row.fill, palette) } else { Style::new() };
        Cell::from(aligned(vec![Line::from(text)], one)).style(style)
    });
    TableRow::new(cells.collect::<Vec<_>>())
}

fn row_style(row: &Row, palette: Palette) -> Style {
    if row.loss.now {
        return palette.colour(Color::Red).add_modifier(Modifier::BOLD);
    }
    // What is over, and what is said of a listener, is less than what goes on.
    if row.accept_queue.is_none() { Style::new().add_modifier(Modifier::DIM) } else { Style::new() }
}

fn bar_style(fill: Option<f64>, palette: Palette) -> Style {
    match fill {
        Some(fill) if fill >= 1.0 => palette.colour(Color::Red),
        Some(fill) if fill >= NEARLY_FULL => palette.colour(Color::Yellow),
        Some(_) => palette.colour(Color::Green),
        None => Style::new(),
    }
}
