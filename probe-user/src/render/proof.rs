//! The table of `check --prove`: what was expected, what was seen, and whether they agree.
use std::io::{self, Write};

use super::words;
use crate::{
    plan::outcome::Accounting,
    prove::{Agreement, Proof, Row},
};

/// Writes a line per counter, under a heading per step, and a verdict.
///
/// # Errors
/// Those of the writer.
pub fn write(proof: &Proof, accounting: Accounting, writer: &mut impl Write) -> io::Result<()> {
    writeln!(writer, "accounting  {}: {}", accounting.label(), words::meaning(accounting))?;
    let mut step = "";
    for row in &proof.rows {
        if row.step != step {
            step = row.step;
            writeln!(writer, "\n{step}\n  {:<38}{:>10}{:>10}", "counter", "expected", "seen")?;
        }
        write_row(row, writer)?;
    }
    writeln!(writer, "\n{}", verdict(proof))
}

fn write_row(row: &Row, writer: &mut impl Write) -> io::Result<()> {
    let seen = row.seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string());
    let remark = match row.agreement {
        Agreement::Exact => "",
        Agreement::Declared => "the rest is declared as missing",
        Agreement::NotMeasured => "not measured",
        Agreement::Wrong => "WRONG",
    };
    let line = format!("  {:<38}{:>10}{:>10}  {remark}", row.counter, row.expected, seen);
    writeln!(writer, "{}", line.trim_end())
}

fn verdict(proof: &Proof) -> String {
    let count = |agreement| proof.rows.iter().filter(|row| row.agreement == agreement).count();
    let mut line = format!("{} counters exact", count(Agreement::Exact));
    for (agreement, words) in [
        (Agreement::Declared, "declared as incomplete"),
        (Agreement::NotMeasured, "not measured"),
        (Agreement::Wrong, "WRONG"),
    ] {
        let count = count(agreement);
        if count > 0 {
            line.push_str(&format!(", {count} {words}"));
        }
    }
    line.push_str(&format!("; it took {}", words::duration(proof.seconds)));
    line
}

/// Writes the rows as JSON.
///
/// # Errors
/// Those of the writer.
pub fn write_json(proof: &Proof, writer: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, proof)?;
    writer.write_all(b"\n")
}
