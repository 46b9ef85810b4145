//! `cargo xtask dashboards`: what belongs in Grafana, written from the source beside this file, and its rules.

mod board;
mod catalogue;
pub(crate) mod check;
mod fleet;
mod kubernetes;
mod libraries;
mod lint;
mod live;
mod looks;
mod manifests;
mod measures;
mod panel;
mod port;
mod port_queues;
mod probe;
mod promql;
mod render;
mod rules;
mod scale;
mod schema;
mod shorthand;
mod table;
mod texts;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::board::Board;
use self::catalogue::Catalogue;
use crate::{AlreadyReported, workspace};

/// Where Grafana's files are in the repository.
const FOLDER: &str = "dashboards/grafana";

/// Writes and checks Grafana's dashboards
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Writes dashboards/grafana/*.json from their source in xtask/src/dashboards, and of these and the rules what Kubernetes gets
    Write,
    Check(check::Arguments),
    Live(live::Arguments),
    Scale(scale::Arguments),
    /// Validates dashboards/kubernetes and dashboards/compose against the published schemas of both (needs node and npm)
    Manifests,
    /// Validates the files against the JSON schema of Grafana's own package @grafana/schema
    Schema,
    /// Prints every expression as Prometheus gets it: dashboard, panel, expression, with a tab between them
    Expressions {
        /// As recording rules, which `promtool check rules` can parse
        #[arg(long)]
        rules: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Write => write(),
        Command::Check(arguments) => check::run(arguments),
        Command::Live(arguments) => live::run(arguments),
        Command::Scale(arguments) => scale::run(arguments),
        Command::Manifests => manifests::validate(),
        Command::Schema => schema::validate(&files()),
        Command::Expressions { rules } => print_expressions(*rules),
    }
}

fn boards() -> [Board; 3] {
    [fleet::board(), port::board(), probe::board()]
}

fn path_of(board: &Board) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.json", board.name))
}

fn files() -> Vec<PathBuf> {
    boards().iter().map(|board| workspace::root().join(path_of(board))).collect()
}

fn write() -> Result<()> {
    for board in boards() {
        let path = path_of(&board);
        let written = workspace::root().join(&path);
        let advice = || format!("dashboards: cannot write {}", path.display());
        fs::create_dir_all(workspace::root().join(FOLDER)).with_context(advice)?;
        fs::write(written, board.text()).with_context(advice)?;
    }
    for (path, text) in kubernetes::files()? {
        let advice = || format!("dashboards: cannot write {}", path.display());
        fs::write(workspace::root().join(&path), text).with_context(advice)?;
    }
    Ok(())
}

fn catalogue() -> Result<Catalogue> {
    let document = workspace::root().join("docs/METRICS.md");
    let document = fs::read_to_string(&document)
        .context("dashboards: cannot read docs/METRICS.md; remedy: cargo xtask metrics-docs")?;
    Ok(Catalogue::parse(&document)?.with_recorded(rules::recorded()?))
}

/// Every check that needs nothing but the repository and is about dashboards.
fn check_boards(catalogue: &Catalogue) -> Result<()> {
    let mut problems = Vec::new();
    let mut usage = usage::Usage::default();
    for board in boards() {
        let path = path_of(&board);
        let text = fs::read_to_string(workspace::root().join(&path)).unwrap_or_default();
        if text != board.text() {
            let path = path.display();
            problems.push(format!(
                "{path}: not what xtask/src/dashboards says; remedy: cargo xtask dashboards write"
            ));
            continue;
        }
        let json: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let findings = lint::check(&path.display().to_string(), &json, catalogue);
        problems.extend(findings.iter().map(ToString::to_string));
        lint::expressions(&json).for_each(|(_, expression)| usage.note(expression));
    }
    problems.extend(stale_manifests()?);
    usage.note_folder(&workspace::root().join("dashboards/prometheus"))?;
    problems.extend(usage.problems(catalogue));
    problems.iter().for_each(|problem| println!("{problem}"));
    if problems.is_empty() {
        return Ok(());
    }
    println!("dashboards: {} problems", problems.len());
    Err(AlreadyReported.into())
}

/// What Kubernetes gets and is not what its sources say.
fn stale_manifests() -> Result<Vec<String>> {
    let files = kubernetes::files()?.into_iter();
    let stale = files
        .filter(|(path, text)| fs::read_to_string(workspace::root().join(path)).unwrap_or_default() != *text);
    let problem = |path: PathBuf| {
        format!("{}: not what its sources say; remedy: cargo xtask dashboards write", path.display())
    };
    Ok(stale.map(|(path, _)| problem(path)).collect())
}

fn print_expressions(as_rules: bool) -> Result<()> {
    let mut rules = Vec::new();
    for board in boards() {
        let json: Value = serde_json::from_str(&board.text()).context("dashboards: not JSON")?;
        for (title, expression) in lint::expressions(&json) {
            let expression = as_prometheus_gets_it(expression);
            if as_rules {
                let record = format!("{}:{}", board.name, rules.len());
                rules.push(json!({ "record": record, "expr": expression, "labels": { "panel": title } }));
            } else {
                println!("{}\t{title}\t{expression}", board.name);
            }
        }
    }
    if as_rules {
        // JSON is YAML.
        println!("{:#}", json!({ "groups": [{ "name": "panels", "rules": rules }] }));
    }
    Ok(())
}

/// What Grafana makes of an expression when everything is chosen: on one line, with its variables replaced.
fn as_prometheus_gets_it(expression: &str) -> String {
    let mut text = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    for (variable, value) in [
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$netns", ".+"),
        ("$port", ".+"),
    ] {
        text = text.replace(variable, value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_no_variables_left() {
        for board in boards() {
            let json: Value = serde_json::from_str(&board.text()).unwrap();
            for (title, expression) in lint::expressions(&json) {
                let text = as_prometheus_gets_it(expression);
                assert!(!text.contains('$'), "{title}: {text}");
            }
        }
    }
}
