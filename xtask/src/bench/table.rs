//! Rows and columns as text: for a terminal, or in Markdown.

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Markdown,
}

impl Style {
    /// As an option of the command line has it.
    pub(super) const fn of(markdown: bool) -> Self {
        if markdown { Self::Markdown } else { Self::Plain }
    }
}

/// A table with a title.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn render(&self, style: Style) -> String {
        let lines = lines(std::iter::once(&self.head).chain(&self.rows), style);
        match style {
            Style::Plain => {
                let indented: String = lines.iter().map(|line| format!("  {line}\n")).collect();
                format!("{}\n{indented}\n", self.title)
            }
            Style::Markdown => format!("**{}**\n\n{}\n\n", self.title, lines.join("\n")),
        }
    }
}

/// The text of a table without a title, whose first row are its headings.
pub(super) fn text(rows: &[Vec<String>], style: Style) -> String {
    lines(rows.iter(), style).join("\n")
}

/// The first row are the headings. The first column is text; all others are numbers and stand to the right.
fn lines<'a>(rows: impl Iterator<Item = &'a Vec<String>> + Clone, style: Style) -> Vec<String> {
    let columns = rows.clone().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.clone().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = widths.iter().enumerate().map(|(column, width)| {
            let cell = row.get(column).map_or("", String::as_str);
            match (style, column) {
                (Style::Markdown, _) => cell.to_owned(),
                (Style::Plain, 0) => format!("{cell:<width$}"),
                (Style::Plain, _) => format!("{cell:>width$}"),
            }
        });
        let cells: Vec<String> = cells.collect();
        match style {
            Style::Plain => cells.join("  ").trim_end().to_owned(),
            Style::Markdown => format!("| {} |", cells.join(" | ")),
        }
    };
    let mut lines: Vec<String> = rows.clone().map(line).collect();
    if style == Style::Markdown && !lines.is_empty() {
        lines.insert(1, format!("| --- |{}", " ---: |".repeat(columns.saturating_sub(1))));
    }
    lines
}

/// A number of instructions: 12,345.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number <= -0.5 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_at_the_right() {
        let rows = [["what", "a"], ["one", "1000"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(text(&rows, Style::Plain), "what     a\none   1000");
        assert_eq!(text(&rows, Style::Markdown), "| what | a |\n| --- | ---: |\n| one | 1000 |");
    }

    fn table() -> Table {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        Table {
            title: "Costs".to_owned(),
            head: row(["who", "cost"]),
            rows: vec![row(["a", "1,234"]), row(["longer", "5"])],
        }
    }

    #[test]
    fn columns_stand_under_each_other() {
        let expected = "Costs\n  who      cost\n  a       1,234\n  longer      5\n\n";
        assert_eq!(table().render(Style::Plain), expected);
    }

    #[test]
    fn markdown_says_which_columns_are_numbers() {
        let expected = "**Costs**\n\n| who | cost |\n| --- | ---: |\n| a | 1,234 |\n| longer | 5 |\n\n";
        assert_eq!(table().render(Style::Markdown), expected);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(["0", "999", "1,000", "-1,234,567"], [0.2, 999.0, 999.6, -1_234_567.0].map(whole)[..]);
        assert_eq!(whole(-0.4), "0");
    }
}
