//! `cargo xtask tidy`: the architecture's rules (docs/ARCHITECTURE.md) that no compiler checks.
//!
//! Every rule is a pure function over the content of one file, or over the list of files. A rule
//! reads code only, never comments or string literals, unless it says so.

mod architecture;
mod rust_rules;
mod source;
mod text_rules;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use self::source::Line;
use crate::{AlreadyReported, workspace};

/// A file under check.
pub(crate) struct SourceFile {
    /// Below the repository's top, with slashes.
    path: String,
    text: String,
    /// Empty unless it is Rust.
    lines: Vec<Line>,
    /// Only compiled for tests, as a whole.
    is_test: bool,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        let lines = if path.ends_with(".rs") { source::parse(text) } else { Vec::new() };
        let is_test = path.split('/').any(|part| part == "tests" || part == "benches");
        Self { path: path.to_owned(), text: text.to_owned(), lines, is_test }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// The files or folders of modules that this file declares for tests only, without their
    /// ending: `#[cfg(test)] mod simulation;`.
    fn test_modules(&self) -> impl Iterator<Item = String> {
        let own = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let folder = match own.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => own,
        };
        let declarations = self.lines.iter().filter(|line| line.in_test).filter_map(|line| {
            let (_, name) = line.code.trim().strip_suffix(';')?.rsplit_once("mod ")?;
            Some(name.to_owned())
        });
        declarations.map(move |name| format!("{folder}/{name}"))
    }

    /// The lines that end up in a program, numbered from 1.
    fn shipped_lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        let whole = !self.is_test;
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| whole && !line.in_test)
            .map(|(i, line)| (i + 1, line))
    }

    fn violation(&self, line: usize, rule: &'static str, remedy: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, rule, remedy: remedy.into() }
    }
}

/// A rule that is broken, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}: {}", self.path, self.line, self.rule, self.remedy)
    }
}

type Rule = fn(&SourceFile, &mut Vec<Violation>);

const RULES: [Rule; 13] = [
    text_rules::trailing_space,
    text_rules::tabs,
    text_rules::unfinished,
    text_rules::words,
    rust_rules::length,
    rust_rules::module_docs,
    rust_rules::unsafe_place,
    rust_rules::safety_comment,
    rust_rules::panics,
    rust_rules::allow_without_reason,
    architecture::aya_place,
    architecture::purity,
    architecture::direction,
];

/// The command itself.
pub(crate) fn run() -> Result<()> {
    let files = read_files(&workspace::root())?;
    let violations = check_all(&files);
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        return Ok(());
    }
    println!("tidy: {} violations", violations.len());
    Err(AlreadyReported.into())
}

fn check_all(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = architecture::missing_files(files);
    for file in files {
        RULES.iter().for_each(|rule| rule(file, &mut violations));
    }
    violations.sort();
    violations
}

/// All text files of the repository.
fn read_files(root: &Path) -> Result<Vec<SourceFile>> {
    let mut found = BTreeMap::new();
    collect(root, "", &mut found)?;
    let mut files: Vec<_> = found.into_iter().map(|(path, text)| SourceFile::new(&path, &text)).collect();
    mark_test_files(&mut files);
    Ok(files)
}

/// A file belongs to the tests if another one declares it so.
fn mark_test_files(files: &mut [SourceFile]) {
    let modules: Vec<String> = files.iter().flat_map(SourceFile::test_modules).collect();
    for file in files {
        let below = |module: &String| {
            let rest = file.path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        file.is_test |= modules.iter().any(below);
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) -> Result<()> {
    let read = || format!("tidy: cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(read)? {
        let entry = entry.with_context(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().with_context(read)?;
        if kind.is_dir() {
            // What was built, what git keeps, and what a package manager put there.
            if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                collect(&entry.path(), &format!("{path}/"), found)?;
            }
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.insert(path, text); // what is not text has no lines to check
        }
    }
    Ok(())
}

/// What the rules' tests share: one file in, line numbers and rules out.
#[cfg(test)]
fn check(rule: Rule, path: &str, text: &str, expected: &[usize]) {
    let mut violations = Vec::new();
    rule(&SourceFile::new(path, text), &mut violations);
    let lines: Vec<usize> = violations.iter().map(|violation| violation.line).collect();
    assert_eq!(lines, expected, "{path}:\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_one_line_that_an_editor_understands() {
        let file = SourceFile::new("a/b.rs", "");
        let violation = file.violation(7, "tabs", "indent with spaces");
        assert_eq!(violation.to_string(), "a/b.rs:7: tabs: indent with spaces");
    }

    #[test]
    fn a_file_is_a_test_if_it_is_declared_so() {
        let declaration = "#[cfg(test)]\nmod simulation;\nmod interval;\n";
        let mut files = [
            SourceFile::new("model/attribution.rs", declaration),
            SourceFile::new("model/attribution/interval.rs", ""),
            SourceFile::new("model/attribution/simulation.rs", ""),
            SourceFile::new("model/attribution/simulation/tape.rs", ""),
            SourceFile::new("render/mod.rs", "#[cfg(test)]\nmod samples;\n"),
            SourceFile::new("render/samples.rs", ""),
        ];
        mark_test_files(&mut files);
        let marked: Vec<bool> = files.iter().map(|file| file.is_test).collect();
        assert_eq!(marked, [false, false, true, true, false, true]);
    }

    #[test]
    fn violations_come_in_the_order_of_the_files() {
        let files = [SourceFile::new("b.md", "x \n\ty\n"), SourceFile::new("a.md", "x \n")];
        let lines: Vec<String> = check_all(&files)
            .iter()
            .filter(|violation| violation.path.ends_with(".md") && violation.line > 0)
            .map(|violation| format!("{}:{}", violation.path, violation.line))
            .collect();
        assert_eq!(lines, ["CHANGELOG.md:1", "a.md:1", "b.md:1", "b.md:2"]);
    }
}
