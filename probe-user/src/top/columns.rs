//! The columns of the table, and which of them have room.
use ratatui::text::Span;

use super::{
    order::SortBy,
    rows::Row,
    words::{self, UNKNOWN},
};
use crate::plan::outcome::Accounting;

/// Places of the bar that shows how full a queue is.
const BAR: usize = 6;
/// More than this no name and no process needs.
const MOST_NAME: usize = 48;
const MOST_PROCESS: usize = 18;
/// As much of a name is worth more than another column: most addresses of IPv4, with the port.
const FAIR_NAME: usize = 18;
/// A name keeps as much, or it would be nobody's.
const LEAST_NAME: usize = 6;
/// The longest cause; what is behind it is shown where there is room.
const CAUSE: usize = 17;
/// Between two columns.
pub(super) const GAP: u16 = 1;

/// What a row is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A port, in a table without ports that several listeners share.
    Alone,
    /// A port with one listener, beside others.
    Single,
    /// A port whose listeners are shown below it.
    Open,
    /// A port whose listeners are not shown.
    Closed,
    /// A listener that shares its port.
    Member,
    /// The last one of these.
    LastMember,
}

impl Place {
    const fn mark(self) -> &'static str {
        match self {
            Self::Alone => "",
            Self::Single => "  ",
            Self::Open => "▾ ",
            Self::Closed => "▸ ",
            Self::Member => "├ ",
            Self::LastMember => "└ ",
        }
    }
}

/// A row in its place.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) row: &'a Row,
    pub(super) place: Place,
    pub(super) accounting: Accounting,
}

/// Where a cell's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Flush left; what is too long loses its beginning.
    Name,
    /// Flush left; what is too long loses its end.
    Text,
    /// The same, but what is behind a colon is lost first.
    Explained,
    /// Flush right, and never cut.
    Number,
    /// The same, with a colour of its own.
    Bar,
}

/// A column.
pub(super) struct Column {
    /// The two lines above it.
    pub(super) header: [&'static str; 2],
    pub(super) kind: Kind,
    /// Where not all columns have room, that with the highest number goes first; 0 stays as long as it fits.
    rank: u8,
    /// What the rows are sorted by when they are sorted by it.
    pub(super) sort: Option<SortBy>,
    /// The widest that it becomes.
    most: usize,
    cell: fn(Shown<'_>) -> String,
}

impl Column {
    const fn number(
        header: [&'static str; 2],
        rank: u8,
        sort: SortBy,
        cell: fn(Shown<'_>) -> String,
    ) -> Self {
        Self { header, kind: Kind::Number, rank, sort: Some(sort), most: usize::MAX, cell }
    }

    /// The text of a row's cell.
    pub(super) fn cell(&self, shown: Shown<'_>) -> String {
        (self.cell)(shown)
    }
}

/// Every column.
pub(super) const COLUMNS: &[Column] = &[
    Column {
        header: ["", "PORT"],
        kind: Kind::Name,
        rank: 0,
        sort: Some(SortBy::Port),
        most: MOST_NAME,
        cell: |shown| format!("{}{}", shown.place.mark(), shown.row.name),
    },
    Column {
        header: ["", "NETNS"],
        kind: Kind::Number,
        rank: 11,
        sort: None,
        most: usize::MAX,
        cell: |shown| shown.row.netns.map_or_else(|| UNKNOWN.to_owned(), |netns| netns.to_string()),
    },
    Column {
        header: ["", "PROCESS"],
        kind: Kind::Text,
        rank: 6,
        sort: Some(SortBy::Process),
        most: MOST_PROCESS,
        cell: |shown| shown.row.process.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
    },
    Column::number(["ACCEPT", "QUEUE"], 0, SortBy::AcceptQueue, |shown| {
        let (length, limit) = shown.row.accept_queue.unzip();
        words::of_limit(length, limit)
    }),
    Column {
        header: ["", "FILL"],
        kind: Kind::Bar,
        rank: 5,
        sort: None,
        most: BAR,
        cell: |shown| words::bar(shown.row.fill, BAR),
    },
    Column::number(["PEAK", "1s/15s"], 3, SortBy::Peak, |shown| {
        let peaks = shown.row.peaks.map(|peaks| (peaks.last_1_second.into(), peaks.last_15_seconds.into()));
        let (one, fifteen) = peaks.unzip();
        words::of_limit(one, fifteen)
    }),
    Column::number(["SYN", "QUEUE"], 9, SortBy::SynQueue, |shown| {
        words::of_limit(shown.row.syn_queue, shown.row.syn_queue_limit)
    }),
    Column::number(["ESTAB-", "LISHED/s"], 8, SortBy::Established, |shown| {
        words::rate(shown.row.rates.established)
    }),
    Column::number(["REFUSED", "/s"], 2, SortBy::Refused, |shown| words::rate(shown.row.rates.refused)),
    Column::number(["OVER-", "FLOWS/s"], 1, SortBy::Overflows, |shown| {
        words::rate(shown.row.rates.overflows)
    }),
    Column::number(["WAIT", "p50"], 10, SortBy::WaitMedian, |shown| words::wait(shown.row.waits[0])),
    Column::number(["WAIT", "p99"], 7, SortBy::WaitP99, |shown| words::wait(shown.row.waits[1])),
    Column {
        header: ["", "CAUSE"],
        kind: Kind::Explained,
        rank: 4,
        sort: Some(SortBy::Losses),
        most: CAUSE,
        cell: |shown| words::cause(&shown.row.loss, shown.accounting),
    },
];

/// A column that is shown, and how wide.
#[derive(Clone, Copy)]
pub(super) struct Fitted {
    pub(super) column: &'static Column,
    pub(super) width: usize,
}

/// The columns that have room in a width. `with_netns`: there are ports of several network namespaces.
pub(super) fn fit(rows: &[Shown<'_>], room: usize, with_netns: bool) -> Vec<Fitted> {
    let is_meant = |column: &&Column| with_netns || column.header[1] != "NETNS";
    let wanted = |column| Fitted { column, width: natural_width(column, rows) };
    let mut fitted: Vec<_> = COLUMNS.iter().filter(is_meant).map(wanted).collect();
    let whole_name = fitted.first().map_or(0, |name| name.width);
    set_name(&mut fitted, whole_name.min(FAIR_NAME));
    while width(&fitted) > room {
        let rank = fitted.iter().map(|one| one.column.rank).max().unwrap_or(0);
        if rank == 0 {
            break;
        }
        fitted.retain(|one| one.column.rank != rank);
    }
    shorten_name(&mut fitted, room);
    // A number that is cut would be another number.
    while width(&fitted) > room && fitted.len() > 1 {
        fitted.pop();
    }
    grow_last(&mut fitted, room, |column| whole_width(column, rows));
    let beside_name = width(&fitted).saturating_sub(fitted.first().map_or(0, |name| name.width));
    let name = fitted.first().map_or(0, |name| name.width);
    set_name(&mut fitted, room.saturating_sub(beside_name).clamp(name, whole_name.max(name)));
    grow_last(&mut fitted, room, |_| usize::MAX);
    fitted
}

/// Makes the name as short as it takes, but not shorter than it may be.
fn shorten_name(fitted: &mut [Fitted], room: usize) {
    let too_wide = width(fitted).saturating_sub(room);
    let name = fitted.first().map_or(0, |name| name.width);
    set_name(fitted, name.saturating_sub(too_wide).max(LEAST_NAME.min(name)));
}

/// Gives the last column the room that is left, if it is a text and as far as it needs it.
fn grow_last(fitted: &mut [Fitted], room: usize, needs: impl Fn(&Column) -> usize) {
    let left = room.saturating_sub(width(fitted));
    if let Some(last) = fitted.last_mut().filter(|last| last.column.kind == Kind::Explained) {
        last.width += left.min(needs(last.column).saturating_sub(last.width));
    }
}

fn set_name(fitted: &mut [Fitted], width: usize) {
    if let Some(name) = fitted.first_mut() {
        name.width = width;
    }
}

/// How wide a column becomes while others may need the room.
fn natural_width(column: &Column, rows: &[Shown<'_>]) -> usize {
    let header = column.header.into_iter().map(str::len).max().unwrap_or(0);
    whole_width(column, rows).min(column.most).max(header)
}

fn whole_width(column: &Column, rows: &[Shown<'_>]) -> usize {
    rows.iter().map(|row| display_width(&column.cell(*row))).max().unwrap_or(0)
}

fn width(fitted: &[Fitted]) -> usize {
    let gaps = usize::from(GAP) * fitted.len().saturating_sub(1);
    fitted.iter().map(|one| one.width).sum::<usize>() + gaps
}

/// How many places of a terminal a text takes.
pub(super) fn display_width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, without its end where it is too long.
pub(super) fn without_end(text: &str, room: usize) -> String {
    if display_width(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if display_width(&kept) >= room {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// The text, without what is behind a colon where it is too long.
pub(super) fn without_explanation(text: &str, room: usize) -> String {
    let short = text.split_once(": ").map_or(text, |(short, _)| short);
    if display_width(text) <= room { text.to_owned() } else { without_end(short, room) }
}

/// The text, without its beginning where it is too long: of an address the port matters most.
pub(super) fn without_beginning(text: &str, room: usize) -> String {
    let mut rest = text.chars();
    if display_width(text) <= room {
        return text.to_owned();
    }
    while display_width(rest.as_str()) >= room.max(1) && rest.next().is_some() {}
    format!("…{}", rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::tests::row;

    #[track_caller]
    fn check(room: usize, with_netns: bool, expected: &[&str]) {
        let row = row(8080);
        let shown = Shown { row: &row, place: Place::Alone, accounting: Accounting::KernelCounters };
        let fitted = fit(&[shown], room, with_netns);
        let headers: Vec<_> = fitted.iter().map(|one| one.column.header.concat()).collect();
        assert_eq!(headers, expected, "{room}");
        assert!(width(&fitted) <= room || fitted.len() == 1, "{} > {room}", width(&fitted));
    }

    #[test]
    fn columns_go_by_rank_where_there_is_no_room() {
        check(0, false, &["PORT"]);
        check(6, false, &["PORT"]);
        check(12, false, &["PORT", "ACCEPTQUEUE"]);
        check(20, false, &["PORT", "ACCEPTQUEUE", "OVER-FLOWS/s"]);
        check(40, false, &["PORT", "ACCEPTQUEUE", "PEAK1s/15s", "REFUSED/s", "OVER-FLOWS/s", "CAUSE"]);
        let all = [
            "PORT",
            "PROCESS",
            "ACCEPTQUEUE",
            "FILL",
            "PEAK1s/15s",
            "SYNQUEUE",
            "ESTAB-LISHED/s",
            "REFUSED/s",
            "OVER-FLOWS/s",
            "WAITp50",
            "WAITp99",
            "CAUSE",
        ];
        check(120, false, &all);
        let mut with_netns = all.to_vec();
        with_netns.insert(1, "NETNS");
        check(120, true, &with_netns);
    }

    #[test]
    fn texts_are_cut_where_it_matters_least() {
        let check = |room, end: &str, beginning: &str| {
            assert_eq!(without_end("127.0.0.1:80", room), end, "{room}");
            assert_eq!(without_beginning("127.0.0.1:80", room), beginning, "{room}");
        };
        check(12, "127.0.0.1:80", "127.0.0.1:80");
        check(6, "127.0…", "….1:80");
        check(1, "…", "…");
        check(0, "…", "…");
        let explained = |room| without_explanation("accept queue full: burst too big", room);
        assert_eq!(explained(32), "accept queue full: burst too big");
        assert_eq!(
            (explained(31), explained(17)),
            ("accept queue full".to_owned(), "accept queue full".to_owned())
        );
        assert_eq!(explained(7), "accept…");
        assert_eq!(without_end("日本語", 5), "日本…");
        assert_eq!(without_beginning("日本語", 5), "…本語");
    }
}
