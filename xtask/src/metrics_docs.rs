//! `cargo xtask metrics-docs`: docs/METRICS.md, written by the daemon out of its own catalogue.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{build, processes, workspace};

const DOCUMENT: &str = "docs/METRICS.md";

/// Writes docs/METRICS.md
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only compare, for CI
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let daemon = build::daemon(false, false)?;
    let wanted = processes::output_of(Command::new(daemon).args(["metrics", "--markdown"]))?;
    let path = workspace::root().join(DOCUMENT);
    if !arguments.check {
        return fs::write(&path, wanted).with_context(|| format!("cannot write {DOCUMENT}"));
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    if let Some(line) = first_difference(&present, &wanted) {
        bail!("{DOCUMENT}:{line}: not what the catalogue says; remedy: cargo xtask metrics-docs");
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
