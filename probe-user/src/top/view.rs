//! A frame: header, table or details, and the keys that mean something.
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    columns::{display_width, without_end},
    details, header,
    keys::KEYS,
    state::{Mode, State},
    table,
};

/// With fewer lines the header has but one.
const TWO_HEADER_LINES_FROM: u16 = 8;
/// With fewer lines no keys are named.
const FOOTER_FROM: u16 = 4;

/// Whether the terminal shows colours. What they say is said in words or by an attribute as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Red, yellow and green.
    Colours,
    /// As the terminal is, for `NO_COLOR`.
    Plain,
}

impl Palette {
    pub(super) const fn colour(self, colour: Color) -> Style {
        match self {
            Self::Colours => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}

/// Draws the state, whatever the size.
pub fn draw(state: &State, palette: Palette, frame: &mut Frame<'_>) {
    let area = frame.area();
    let header = header_lines(state, palette, area);
    let footer = u16::from(area.height >= FOOTER_FROM);
    let header_height = u16::try_from(header.len()).unwrap_or(u16::MAX);
    let rows = [Constraint::Length(header_height), Constraint::Min(0), Constraint::Length(footer)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(header), top);
    match state.mode {
        Mode::Details(scroll) => draw_details(state, scroll, frame, middle),
        Mode::Help => frame.render_widget(Paragraph::new(help(middle.width)), middle),
        Mode::Table | Mode::Filter => draw_table(state, palette, frame, middle),
    }
    frame.render_widget(Paragraph::new(footer_line(state, bottom.width)), bottom);
}

fn header_lines(state: &State, palette: Palette, area: Rect) -> Vec<Line<'static>> {
    let width = area.width.into();
    let mut lines = Vec::new();
    if area.height >= TWO_HEADER_LINES_FROM {
        lines.push(Line::styled(header::origin(state, width), Style::new().add_modifier(Modifier::BOLD)));
    }
    lines.push(Line::raw(header::totals(state, width)));
    if let Some(text) = header::lost(state) {
        let style = palette.colour(Color::Red).add_modifier(Modifier::REVERSED);
        lines.push(Line::styled(without_end(&text, width), style));
    }
    if let Some(text) = header::restriction(state) {
        let style = palette.colour(Color::Yellow).add_modifier(Modifier::BOLD);
        lines.push(Line::styled(without_end(&text, width), style));
    }
    lines
}

fn draw_table(state: &State, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    match header::nothing(state) {
        Some(text) => frame.render_widget(Paragraph::new(without_end(&text, area.width.into())), area),
        None => table::draw(state, palette, frame, area),
    }
}

fn draw_details(state: &State, scroll: usize, frame: &mut Frame<'_>, area: Rect) {
    let lines = details::lines(state, area.width).into_iter().skip(scroll).take(area.height.into());
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn help(width: u16) -> Vec<Line<'static>> {
    let widest = KEYS.iter().map(|(keys, _)| display_width(keys)).max().unwrap_or(0);
    let line = |(keys, what): &(&str, &str)| {
        let room = widest.saturating_sub(display_width(keys));
        let text = format!("{keys}{}  {what}", " ".repeat(room));
        Line::raw(without_end(&text, width.into()))
    };
    let explained = [
        "",
        "ACCEPT QUEUE and SYN QUEUE are the length now and its limit.",
        "PEAK is the highest length in the last whole second, and in 15 seconds.",
        "Rates are of the time since the last reading, waits of the last ten seconds.",
        "A dash is a number that is not known here; `check` says why.",
    ];
    let explained = explained.into_iter().map(|text| Line::raw(without_end(text, width.into())));
    KEYS.iter().map(line).chain(explained).collect()
}

/// The keys that mean something, as many as there is room for.
fn footer_line(state: &State, width: u16) -> Line<'static> {
    if state.mode == Mode::Filter {
        return Line::raw(format!("/{}▏", state.filter));
    }
    let sorted = format!("s sort: {} {}", state.sort.label(), if state.reversed { "▲" } else { "▼" });
    let keys: &[&str] = match state.mode {
        Mode::Details(_) => &["Esc back", "↑↓ scroll", "p pause", "q quit"],
        Mode::Help => &["any key: back", "q quit"],
        Mode::Table | Mode::Filter => &[
            "q quit",
            &sorted,
            "? help",
            "Enter details",
            "/ filter",
            "e members",
            "p pause",
            "r reverse",
            "↑↓ move",
        ],
    };
    let text = header::fitting(keys.iter().map(ToString::to_string), width.into());
    Line::from(Span::styled(text, Style::new().add_modifier(Modifier::DIM)))
}
