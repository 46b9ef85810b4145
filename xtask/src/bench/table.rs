//! A table on a terminal, or in Markdown.

/// The text of a table, whose first row are its headings. The first column is text, all others are numbers.
pub(super) fn text(rows: &[Vec<String>], in_markdown: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.len())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| {
                let cell = row.get(column).map_or("", String::as_str);
                match (in_markdown, column) {
                    (true, _) => cell.to_owned(),
                    (false, 0) => format!("{cell:<width$}"),
                    (false, _) => format!("{cell:>width$}"),
                }
            })
            .collect();
        if in_markdown {
            lines.push(format!("| {} |", cells.join(" | ")));
        } else {
            lines.push(cells.join("  ").trim_end().to_owned());
        }
        if in_markdown && index == 0 {
            lines.push(format!("| --- |{}", " ---: |".repeat(columns.saturating_sub(1))));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_at_the_right() {
        let rows = [["what", "a"], ["one", "1000"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(text(&rows, false), "what     a\none   1000");
        assert_eq!(text(&rows, true), "| what | a |\n| --- | ---: |\n| one | 1000 |");
    }
}
