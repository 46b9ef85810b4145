//! `cargo xtask compatibility`: the table of hooks in docs/COMPATIBILITY.md, written from a run of the
//! lab and held against every later one.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::matrix::Matrix;
use super::{Arguments, boot_all};
use crate::{setup, workspace};

const DOCUMENT: &str = "docs/COMPATIBILITY.md";
const BEGIN: &str = "<!-- generated: cargo xtask compatibility -->\n";
const END: &str = "<!-- end of generated -->\n";

/// The only tests that are needed for it.
const TEST: &str = "::every_hook_says_how_it_is_attached";

/// Boots every kernel and writes the table.
pub(crate) fn run() -> Result<()> {
    let arguments = Arguments { test_arguments: vec![TEST.to_owned()], ..Arguments::default() };
    let labels: Vec<&str> = arguments.kernels.iter().map(String::as_str).collect();
    let results = boot_all(&setup::lab(&labels)?, &arguments)?;
    if results.tests.counts.failed > 0 || !results.matrix.is_complete() {
        bail!("compatibility: the run is not complete, {DOCUMENT} is left as it is");
    }
    let document = read()?;
    let (before, _, after) = parts(&document)?;
    let path = workspace::root().join(DOCUMENT);
    fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", generated(&results.matrix)))
        .with_context(|| format!("cannot write {DOCUMENT}"))
}

/// Where the document says otherwise than a complete run of the lab, a line for each cell.
pub(crate) fn differences(matrix: &Matrix) -> Result<Vec<String>> {
    let document = read()?;
    let (_, present, _) = parts(&document)?;
    Ok(differing_cells(&cells(present), &cells(&matrix.hooks())))
}

/// The releases change with every update of the kernels' packages; only the table is compared.
fn generated(matrix: &Matrix) -> String {
    let releases: Vec<&str> = matrix.0.iter().map(|kernel| kernel.release.as_str()).collect();
    format!("As seen on {}:\n\n{}", releases.join(", "), matrix.hooks())
}

fn read() -> Result<String> {
    fs::read_to_string(workspace::root().join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))
}

fn parts(document: &str) -> Result<(&str, &str, &str)> {
    let found = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (generated, after) = rest.split_once(END)?;
        Some((before, generated, after))
    });
    found.with_context(|| format!("{DOCUMENT} lacks the line {} or {}", BEGIN.trim(), END.trim()))
}

/// A name such as `last_ack, plan kprobe, kernel 6.1` and the variant, for each cell of a table.
fn cells(text: &str) -> Vec<(String, String)> {
    let mut rows = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>());
    let Some(header) = rows.next() else { return Vec::new() };
    let named = rows.skip(1).flat_map(|row| {
        let [hook, plan, variants @ ..] = row.as_slice() else { return Vec::new() };
        let kernels = header.iter().skip(2);
        let name = |kernel: &String| format!("{hook}, plan {plan}, kernel {kernel}");
        kernels.zip(variants).map(|(kernel, variant)| (name(kernel), variant.clone())).collect()
    });
    named.collect()
}

fn differing_cells(documented: &[(String, String)], seen: &[(String, String)]) -> Vec<String> {
    let find = |cells: &[(String, String)], name: &str| {
        let found = cells.iter().find(|(its_name, _)| its_name == name);
        found.map_or_else(|| "nothing".to_owned(), |(_, variant)| variant.clone())
    };
    let mut names: Vec<&str> = documented.iter().chain(seen).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter_map(|name| {
        let (documented, seen) = (find(documented, name), find(seen, name));
        (documented != seen).then(|| format!("{name}: {DOCUMENT} has {documented}, the run has {seen}"))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::matrix;
    use super::*;

    #[test]
    fn only_variants_are_compared() {
        let documented = generated(&matrix("MATRIX: hook kprobe last_ack kprobe\n"));
        let of = |lines: &str| differing_cells(&cells(&documented), &cells(&matrix(lines).hooks()));
        assert_eq!(of("MATRIX: hook kprobe last_ack kprobe\n"), [""; 0]);
        assert_eq!(
            of("MATRIX: hook kprobe last_ack skipped\n"),
            ["last_ack, plan kprobe, kernel 6.1: docs/COMPATIBILITY.md has kprobe, the run has -"]
        );
        let new_hook = of("MATRIX: hook kprobe last_ack kprobe\nMATRIX: hook kprobe more kprobe\n");
        assert_eq!(new_hook.len(), 3, "{new_hook:?}");
    }

    #[test]
    fn the_document_has_a_place_for_it() {
        assert!(parts(&read().unwrap()).is_ok());
        assert!(parts("no markers").is_err());
    }
}
