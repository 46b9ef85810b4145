//! Metrics that texts name: runbooks, pages and comments. A reader copies them from there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::catalogue::Catalogue;
use super::rules;
use crate::{AlreadyReported, workspace};

/// Where texts about metrics are.
const PLACES: [&str; 5] = [
    "README.md",
    "dashboards/README.md",
    "dashboards/prometheus",
    "dashboards/runbooks",
    "dashboards/grafana",
];

/// Checks every text.
pub(super) fn check(catalogue: &Catalogue) -> Result<()> {
    let recorded = rules::recorded()?;
    let mut problems = Vec::new();
    for path in paths()? {
        let text = read(&path)?;
        problems.extend(problems_in(catalogue, &recorded, &path.display().to_string(), &text));
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() {
        return Ok(());
    }
    println!("dashboards: {} problems", problems.len());
    Err(AlreadyReported.into())
}

/// The texts, as paths in the repository.
fn paths() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for place in PLACES {
        let path = workspace::root().join(place);
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("dashboards: cannot read {place}"))?;
            let names = entries.filter_map(|entry| Some(Path::new(place).join(entry.ok()?.file_name())));
            paths.extend(names.filter(|path| path.extension().is_some()));
        } else {
            paths.push(PathBuf::from(place));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(workspace::root().join(path))
        .with_context(|| format!("dashboards: cannot read {}", path.display()))?;
    // In JSON the n of a line's end would be the first letter of the word behind it.
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    Ok(if is_json { text.replace("\\n", "  ") } else { text })
}

/// Names of metrics that nobody has, with their lines.
fn problems_in(catalogue: &Catalogue, recorded: &BTreeSet<String>, place: &str, text: &str) -> Vec<String> {
    let is_known = |name: &str| {
        recorded.contains(name)
            || catalogue.find(name).is_some()
            || catalogue.names().any(|metric| metric == name)
    };
    let lines = text.lines().enumerate();
    let named = lines.flat_map(|(index, line)| names_in(line).map(move |name| (index + 1, name)));
    let unknown = named.filter(|(_, name)| !is_known(name));
    unknown
        .map(|(line, name)| format!("{place}:{line}: {name} is neither in docs/METRICS.md nor recorded"))
        .collect()
}

/// Words that look like metrics of the daemon or like what is recorded of them. A beginning that stands for several
/// (`tcp_backlog_netns_*`) is none.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    let words = line.split(move |character| !is_part(character)).map(|word| word.trim_matches(':'));
    words.filter(|word| word.contains("tcp_backlog_") && !word.ends_with('_'))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::example;
    use super::*;

    #[test]
    fn a_misspelt_metric_in_a_text_is_found_with_its_line() {
        let recorded = BTreeSet::from(["port:tcp_backlog_a:sum".to_owned()]);
        let text = "Look at `rate(tcp_backlog_a_total[5m])`,\nport:tcp_backlog_a:sum: tcp_backlog_wait_seconds.\n\
                    All of tcp_backlog_netns_*; not tcp_backlog_b_total, not port:tcp_backlog_b:sum.";
        assert_eq!(
            problems_in(&example(), &recorded, "x.md", text),
            [
                "x.md:3: tcp_backlog_b_total is neither in docs/METRICS.md nor recorded",
                "x.md:3: port:tcp_backlog_b:sum is neither in docs/METRICS.md nor recorded",
            ]
        );
    }

    /// Whichever metric is renamed in whichever place: it is found.
    #[test]
    fn every_metric_that_any_file_names_is_checked() {
        let catalogue = super::super::catalogue().unwrap();
        let recorded = rules::recorded().unwrap();
        for (folder, at_least) in [
            ("dashboards/grafana", 100),
            ("dashboards/prometheus", 100),
            ("dashboards/runbooks", 20),
            ("dashboards/README", 5),
        ] {
            let mut broken = 0;
            for path in paths().unwrap().iter().filter(|path| path.to_string_lossy().starts_with(folder)) {
                for line in read(path).unwrap().lines() {
                    for name in names_in(line) {
                        let renamed = line.replacen(name, &name.replacen("backlog_", "backlog_x", 1), 1);
                        let problems = problems_in(&catalogue, &recorded, "x", &renamed);
                        assert!(!problems.is_empty(), "{}: {name} in {line}", path.display());
                        broken += 1;
                    }
                }
            }
            assert!(broken >= at_least, "{folder} names metrics in {broken} places only");
        }
    }
}
