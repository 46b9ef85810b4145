//! Which row comes first.
use std::cmp::Ordering;

use super::rows::{Group, Row};
use crate::model::advice::Severity;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortBy {
    /// Where connections are being lost comes first, then where they were, then the fullest queue.
    #[default]
    Losses,
    /// Namespace, port and address, as in a list.
    Port,
    /// The process' name.
    Process,
    /// How full the accept queue is.
    AcceptQueue,
    /// The highest length of the accept queue in a window of 15 seconds.
    Peak,
    /// The length of the SYN queue.
    SynQueue,
    /// Finished handshakes.
    Established,
    /// Connections refused.
    Refused,
    /// Packets refused because the accept queue was full.
    Overflows,
    /// What half of the connections wait for accept() at most.
    WaitMedian,
    /// What 99 of 100 wait at most.
    WaitP99,
}

impl SortBy {
    /// All of them, in the order of the columns.
    pub(super) const ALL: [Self; 11] = [
        Self::Losses,
        Self::Port,
        Self::Process,
        Self::AcceptQueue,
        Self::Peak,
        Self::SynQueue,
        Self::Established,
        Self::Refused,
        Self::Overflows,
        Self::WaitMedian,
        Self::WaitP99,
    ];

    /// In a word or two.
    #[must_use]
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Losses => "losses",
            Self::Port => "port",
            Self::Process => "process",
            Self::AcceptQueue => "accept queue",
            Self::Peak => "peak",
            Self::SynQueue => "SYN queue",
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Overflows => "overflows",
            Self::WaitMedian => "wait p50",
            Self::WaitP99 => "wait p99",
        }
    }

    /// The next one, and after the last the first.
    #[must_use]
    pub(super) fn next(self) -> Self {
        let mut cycle = Self::ALL.into_iter().cycle().skip_while(|column| *column != self);
        cycle.nth(1).unwrap_or_default()
    }

    /// The one before it, and before the first the last.
    #[must_use]
    pub(super) fn previous(self) -> Self {
        Self::ALL.into_iter().rev().cycle().skip_while(|column| *column != self).nth(1).unwrap_or_default()
    }

    /// The larger number first, texts by the alphabet. What is not known comes last, whichever way round.
    fn compare(self, one: &Row, other: &Row, reversed: bool) -> Ordering {
        let number =
            |of: &dyn Fn(&Row) -> Option<f64>| known_first(of(one), of(other), !reversed, f64::total_cmp);
        match self {
            Self::Losses => turned(reversed, losses(one, other)),
            Self::Port => turned(reversed, by_identity(one, other)),
            Self::Process => {
                let name = |row: &Row| row.process.as_ref().map(|process| process.to_lowercase());
                known_first(name(one), name(other), reversed, Ord::cmp)
            }
            Self::AcceptQueue => number(&|row| row.fill),
            Self::Peak => number(&|row| row.peaks.map(|peaks| f64::from(peaks.last_15_seconds))),
            Self::SynQueue => number(&|row| row.syn_queue.map(whole)),
            Self::Established => number(&|row| row.rates.established),
            Self::Refused => number(&|row| row.rates.refused),
            Self::Overflows => number(&|row| row.rates.overflows),
            Self::WaitMedian => number(&|row| row.waits[0]),
            Self::WaitP99 => number(&|row| row.waits[1]),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an order needs no more digits")]
const fn whole(count: u64) -> f64 {
    count as f64
}

/// Sorts groups, and the members of each; what is equal by the port.
pub(super) fn sort(groups: &mut [Group], by: SortBy, reversed: bool) {
    let compare =
        |one: &Row, other: &Row| by.compare(one, other, reversed).then_with(|| by_identity(one, other));
    groups.sort_by(|one, other| compare(&one.row, &other.row));
    for group in groups {
        group.members.sort_by(compare);
    }
}

const fn turned(reversed: bool, order: Ordering) -> Ordering {
    if reversed { order.reverse() } else { order }
}

fn by_identity(one: &Row, other: &Row) -> Ordering {
    one.key.cmp(&other.key)
}

fn known_first<T>(
    one: Option<T>,
    other: Option<T>,
    descending: bool,
    compare: impl FnOnce(&T, &T) -> Ordering,
) -> Ordering {
    match (&one, &other) {
        (Some(one), Some(other)) => turned(descending, compare(one, other)),
        _ => other.is_some().cmp(&one.is_some()),
    }
}

/// What hurts more comes first: what is lost now, how fast, what was lost in the last minutes and ever, and how full it is.
fn losses(one: &Row, other: &Row) -> Ordering {
    let lost = |row: &Row| row.loss.verdict.filter(|(severity, _)| *severity == Severity::Losing).is_some();
    let rate = |of: fn(&Row) -> Option<f64>| known_first(of(one), of(other), true, f64::total_cmp);
    let now = other.loss.now.cmp(&one.loss.now);
    now.then_with(|| rate(|row| row.rates.refused))
        .then_with(|| rate(|row| row.rates.overflows))
        .then_with(|| rate(|row| row.rates.drops))
        .then_with(|| lost(other).cmp(&lost(one)))
        .then_with(|| other.loss.ever.cmp(&one.loss.ever))
        .then_with(|| rate(|row| row.fill))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::row;

    /// The names in the order that they are sorted into.
    fn order(rows: Vec<Row>, by: SortBy, reversed: bool) -> Vec<String> {
        let mut groups: Vec<_> = rows.into_iter().map(|row| Group { row, members: Vec::new() }).collect();
        sort(&mut groups, by, reversed);
        groups.into_iter().map(|group| group.row.name).collect()
    }

    #[track_caller]
    fn check(by: SortBy, change: impl Fn(&mut Row, u32), forwards: [&str; 4], backwards: [&str; 4]) {
        let changed = |(port, number): (u16, u32)| {
            let mut row = row(port);
            if number > 0 {
                change(&mut row, number);
            }
            row
        };
        // Of the last one it is not known.
        let rows: Vec<_> = [(10, 2), (11, 3), (12, 1), (13, 0)].map(changed).into();
        assert_eq!(order(rows.clone(), by, false), forwards, "{by:?}");
        assert_eq!(order(rows, by, true), backwards, "{by:?} reversed");
    }

    #[test]
    fn numbers_go_down_and_what_is_not_known_is_always_last() {
        let down = ["11", "10", "12", "13"];
        let up = ["12", "10", "11", "13"];
        check(SortBy::AcceptQueue, |row, number| row.fill = Some(f64::from(number)), down, up);
        check(SortBy::SynQueue, |row, number| row.syn_queue = Some(number.into()), down, up);
        check(SortBy::Established, |row, number| row.rates.established = Some(number.into()), down, up);
        check(SortBy::Refused, |row, number| row.rates.refused = Some(number.into()), down, up);
        check(SortBy::Overflows, |row, number| row.rates.overflows = Some(number.into()), down, up);
        check(SortBy::WaitMedian, |row, number| row.waits[0] = Some(number.into()), down, up);
        check(SortBy::WaitP99, |row, number| row.waits[1] = Some(number.into()), down, up);
        let peaks = |number| crate::model::Peaks { last_15_seconds: number, ..Default::default() };
        check(SortBy::Peak, |row, number| row.peaks = Some(peaks(number)), down, up);
    }

    #[test]
    fn texts_go_up() {
        let name = |row: &mut Row, number| row.process = Some(format!("Process {number}"));
        check(SortBy::Process, name, ["12", "10", "11", "13"], ["11", "10", "12", "13"]);
        check(SortBy::Port, |_, _| {}, ["10", "11", "12", "13"], ["13", "12", "11", "10"]);
    }

    #[test]
    fn what_is_lost_now_is_before_what_was_lost_and_that_before_what_is_full() {
        let mut rows: Vec<_> = [1, 2, 3, 4, 5, 6].map(row).into();
        rows[0].fill = Some(0.5);
        rows[1].loss.ever = Some(7);
        rows[2].loss.verdict = Some((Severity::Losing, crate::model::advice::Rule::BurstTooBig));
        rows[3].rates.refused = Some(1.0);
        rows[4].loss.now = true;
        assert_eq!(order(rows, SortBy::Losses, false), ["5", "4", "3", "2", "1", "6"]);
    }

    #[test]
    fn the_columns_are_a_cycle() {
        for by in SortBy::ALL {
            assert_eq!(by.next().previous(), by);
        }
        assert_eq!(SortBy::Losses.previous(), SortBy::WaitP99);
        let all = std::iter::successors(Some(SortBy::Losses), |by| Some(by.next()));
        assert_eq!(all.take(11).collect::<Vec<_>>(), SortBy::ALL);
    }
}
