//! `cargo xtask metrics-docs`: what the daemon writes about itself: its metrics, and the schema of its JSON.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{build, processes, workspace};

/// The documents, and the daemon's arguments that print them.
const DOCUMENTS: [(&str, &[&str]); 2] = [
    ("docs/METRICS.md", &["metrics", "--markdown"]),
    ("docs/snapshot.schema.json", &["snapshot", "--schema"]),
];

/// Writes docs/METRICS.md and docs/snapshot.schema.json
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only compare, for CI
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let daemon = build::daemon(false, false)?;
    for (document, printed_by) in DOCUMENTS {
        let wanted = processes::output_of(Command::new(&daemon).args(printed_by))?;
        let path = workspace::root().join(document);
        if !arguments.check {
            fs::write(&path, wanted).with_context(|| format!("cannot write {document}"))?;
            continue;
        }
        let present = fs::read_to_string(&path).unwrap_or_default();
        if let Some(line) = first_difference(&present, &wanted) {
            bail!("{document}:{line}: not what the daemon says; remedy: cargo xtask metrics-docs");
        }
    }
    Ok(())
}

/// The number of the first line that differs.
fn first_difference(present: &str, wanted: &str) -> Option<usize> {
    if present == wanted {
        return None;
    }
    let equal = present.split('\n').zip(wanted.split('\n')).take_while(|(left, right)| left == right);
    Some(equal.count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a", "a\n"), Some(2));
    }
}
