//! What a key makes of the state.
use std::ops::ControlFlow;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    details,
    state::{Mode, State, port_of},
};

/// So many lines a page has.
const PAGE: usize = 10;

/// The keys and what they do, for the help.
pub(super) const KEYS: [(&str, &str); 11] = [
    ("↑ ↓  j k", "move; Page Up, Page Down, Home and End too"),
    ("s >", "sort by the next column"),
    ("<", "sort by the column before"),
    ("r", "the other way round"),
    ("Enter", "details of a port: causes, limits, owner, advice, the last burst"),
    ("e", "show the listeners that share a port apart, or together"),
    ("/", "show only ports and processes with these words; Esc shows all"),
    ("p", "pause: the figures stay as they are"),
    ("?", "this help"),
    ("Esc", "back, and from the table the end"),
    ("q  Ctrl-C", "the end"),
];

impl State {
    /// Does what a key asks for. `Break`: the end.
    pub fn on_key(&mut self, key: KeyEvent) -> ControlFlow<()> {
        if key.kind == KeyEventKind::Release {
            return ControlFlow::Continue(());
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            // Other combinations are not the letters that they are made of.
            return if key.code == KeyCode::Char('c') {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        match self.mode {
            Mode::Table => return self.on_table_key(key.code),
            Mode::Filter => self.on_filter_key(key.code),
            Mode::Details(scroll) => return self.on_details_key(key.code, scroll),
            Mode::Help if key.code == KeyCode::Char('q') => return ControlFlow::Break(()),
            Mode::Help => self.mode = Mode::Table,
        }
        ControlFlow::Continue(())
    }

    fn on_table_key(&mut self, code: KeyCode) -> ControlFlow<()> {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return ControlFlow::Break(()),
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('e') => self.toggle_members(),
            KeyCode::Char('s' | '>') => self.sort_by(|state| state.sort = state.sort.next()),
            KeyCode::Char('<') => self.sort_by(|state| state.sort = state.sort.previous()),
            KeyCode::Char('r') => self.sort_by(|state| state.reversed = !state.reversed),
            KeyCode::Enter if self.selected_port().is_some() => {
                // It stays the same port, wherever it goes.
                self.select(self.position());
                self.mode = Mode::Details(0);
            }
            _ => {
                if let Some(position) = moved(code, self.position()) {
                    self.select(position);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn on_filter_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            _ => return,
        }
        self.arrange();
    }

    fn on_details_key(&mut self, code: KeyCode, scroll: usize) -> ControlFlow<()> {
        match code {
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace => self.mode = Mode::Table,
            KeyCode::Char('p') => self.paused = !self.paused,
            _ => {
                if let Some(scroll) = moved(code, scroll) {
                    let last = details::lines(self, self.width).len().saturating_sub(1);
                    self.mode = Mode::Details(scroll.min(last));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn sort_by(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.arrange();
    }

    fn toggle_members(&mut self) {
        let Some(id) = self.selected_port() else { return };
        if !self.collapsed.remove(&id) {
            self.collapsed.insert(id);
            // The cursor of a listener that is no longer shown goes to its port.
            let port = self.lines.iter().rposition(|line| {
                line.member.is_none() && self.row(*line).and_then(|row| port_of(row.key)) == Some(id)
            });
            self.select(port.unwrap_or_else(|| self.position()));
        }
        self.arrange();
    }
}

/// Where a key moves to from there; `None` for keys that move nothing.
fn moved(code: KeyCode, from: usize) -> Option<usize> {
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => from.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => from.saturating_add(1),
        KeyCode::PageUp => from.saturating_sub(PAGE),
        KeyCode::PageDown => from.saturating_add(PAGE),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => usize::MAX,
        _ => return None,
    })
}
