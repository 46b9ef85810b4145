//! Rows and columns as text: for a terminal, or in Markdown.

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Markdown,
}

/// A table whose first column is text; all others are numbers and stand to the right.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn render(&self, style: Style) -> String {
        match style {
            Style::Plain => self.plain(),
            Style::Markdown => self.markdown(),
        }
    }

    fn plain(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        let lines: String = std::iter::once(&self.head).chain(&self.rows).map(line).collect();
        format!("{}\n{lines}\n", self.title)
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|cells| cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    }

    fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let under: Vec<String> =
            (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(line).collect();
        format!("**{}**\n\n{}{}{rows}\n", self.title, line(&self.head), line(&under))
    }
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
