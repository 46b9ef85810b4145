//! The figures in docs/PERFORMANCE.md, between two marks: a part for each kernel, of which a run writes its own.

use std::fs;

use anyhow::{Context as _, Result};

use super::report::Report;
use super::tables;
use crate::bench::table::Style;
use crate::workspace;

const DOCUMENT: &str = "docs/PERFORMANCE.md";

/// Puts the tables of these kernels in place of the former ones.
pub(super) fn write(reports: &[Report]) -> Result<()> {
    let path = workspace::root().join(DOCUMENT);
    let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    for report in reports {
        let tables: String =
            tables::in_brief(report).iter().map(|table| table.render(Style::Markdown)).collect();
        text = with_part(&text, &report.kernel, &tables)
            .with_context(|| format!("no place for kernel {} in {DOCUMENT}", report.kernel))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {DOCUMENT}"))
}

/// The text with another part between a kernel's marks.
fn with_part(text: &str, kernel: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench kernel {kernel} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", part.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_part_is_replaced_and_nothing_else() {
        let text = "A\n<!-- bench kernel 5.10 -->\nold\n<!-- end -->\nB\n<!-- bench kernel 6.1 -->\n<!-- end -->\nC\n";
        let once = with_part(text, "6.1", "new\n\n").unwrap();
        assert_eq!(once, text.replace("6.1 -->\n", "6.1 -->\n\nnew\n\n"));
        assert_eq!(with_part(&once, "6.1", "new").unwrap(), once);
    }

    #[test]
    fn a_kernel_without_a_place_is_not_written() {
        assert_eq!(with_part("A\n", "6.1", "new"), None);
    }
}
