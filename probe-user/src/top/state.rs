//! All that is remembered between two frames.
use std::{collections::BTreeSet, time::Duration};

use super::{
    order::{self, SortBy},
    readings::{Key, Readings, find},
    rows::{Group, Row, groups},
    words,
};
use crate::{
    model::{Model, Port},
    sample::PortId,
};

/// Whose figures are shown, as the header says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The host that they are of; `None` where only an address is known.
    pub host: Option<String>,
    /// Who is asked.
    pub asked: String,
}

/// What the keys mean at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move in the table.
    #[default]
    Table,
    /// They write the filter.
    Filter,
    /// They move in the details of the selected port, of which so many lines are above the screen.
    Details(usize),
    /// The keys are explained.
    Help,
}

/// A line of the table, by its place among the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) group: usize,
    pub(super) member: Option<usize>,
}

/// Everything that a frame is made of.
#[derive(Debug, Default)]
pub struct State {
    pub(super) origin: Origin,
    pub(super) readings: Readings,
    /// In the order in which they are shown, those that the filter hides included.
    pub(super) groups: Vec<Group>,
    pub(super) lines: Vec<Line>,
    pub(super) mode: Mode,
    pub(super) sort: SortBy,
    pub(super) reversed: bool,
    pub(super) filter: String,
    /// Ports whose listeners are not shown apart.
    pub(super) collapsed: BTreeSet<PortId>,
    /// `None` until somebody moves: the first line, whichever it is.
    selected: Option<Key>,
    /// Where it is, or was when it was last there.
    position: usize,
    pub(super) paused: bool,
    /// Why there are no newer figures, since the daemon last answered.
    pub(super) lost: Option<String>,
    /// Since the start.
    pub(super) now: Duration,
    /// How wide the terminal is.
    pub(super) width: u16,
}

impl State {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { origin, ..Self::default() }
    }

    /// Tells the time since the start.
    pub const fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// Tells how wide the terminal is.
    pub const fn set_width(&mut self, width: u16) {
        self.width = width;
    }

    /// Takes in a model that has just come. While paused it is let go.
    pub fn observe(&mut self, model: Model) {
        self.lost = None;
        if self.paused {
            return;
        }
        self.readings.observe(model, self.now);
        self.groups = groups(&self.readings);
        self.arrange();
    }

    /// Nobody answered, for this reason. What was known stays.
    pub fn note_lost(&mut self, reason: String) {
        self.lost = Some(reason);
    }

    /// Sorts and filters anew.
    pub(super) fn arrange(&mut self) {
        order::sort(&mut self.groups, self.sort, self.reversed);
        let lines = self.groups.iter().enumerate().flat_map(|(index, group)| self.lines_of(index, group));
        self.lines = lines.collect();
        if self.selected.is_none() {
            self.position = 0;
        } else if let Some(position) = self.find_selected() {
            self.position = position;
        } else {
            self.select(self.position);
        }
    }

    fn lines_of(&self, index: usize, group: &Group) -> Vec<Line> {
        let mut rows = [&group.row].into_iter().chain(&group.members);
        if !rows.any(|row| words::matches(row, &self.filter)) {
            return Vec::new();
        }
        let members = if self.is_collapsed(group.row.key) { 0 } else { group.members.len() };
        let members = (0..members).map(|member| Line { group: index, member: Some(member) });
        [Line { group: index, member: None }].into_iter().chain(members).collect()
    }

    fn find_selected(&self) -> Option<usize> {
        self.lines.iter().position(|line| self.row(*line).map(|row| row.key) == self.selected)
    }

    /// Selects the line with this number, or the last one where there are fewer.
    pub(super) fn select(&mut self, position: usize) {
        self.position = position.min(self.lines.len().saturating_sub(1));
        self.selected = self.selected_row().map(|row| row.key);
    }

    /// The number of the selected line.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// What a line shows.
    pub(super) fn row(&self, line: Line) -> Option<&Row> {
        let group = self.groups.get(line.group)?;
        match line.member {
            None => Some(&group.row),
            Some(member) => group.members.get(member),
        }
    }

    /// The row that is selected.
    pub(super) fn selected_row(&self) -> Option<&Row> {
        self.row(*self.lines.get(self.position)?)
    }

    /// The port that is selected, or that the selected listener belongs to.
    pub(super) fn selected_port(&self) -> Option<PortId> {
        port_of(self.selected_row()?.key)
    }

    /// The same, and all that is known of it.
    pub(super) fn port_in_detail(&self) -> Option<(&Model, &Port)> {
        let model = self.readings.model()?;
        Some((model, find(model, self.selected_port()?)?))
    }

    /// Whether the listeners of a port are not shown apart.
    pub(super) fn is_collapsed(&self, key: Key) -> bool {
        port_of(key).is_some_and(|id| self.collapsed.contains(&id))
    }

    /// How old the figures are; `None` before there are any.
    pub(super) fn age(&self) -> Option<Duration> {
        Some(self.now.saturating_sub(self.readings.at()?))
    }
}

/// The port that a row belongs to.
pub(super) const fn port_of(key: Key) -> Option<PortId> {
    match key {
        Key::Port(id) | Key::Member(id, _) => Some(id),
        Key::Other => None,
    }
}
