//! Prometheus' rules and alerts: what they name must be there, every alert has a page and a test, and Prometheus' own tools
//! have the last word.

mod names;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::names::Names;
use self::yaml::Entry;
use super::catalogue::Catalogue;
use crate::setup::prometheus::Prometheus;
use crate::{AlreadyReported, processes, setup, workspace};

pub(super) const FOLDER: &str = "dashboards/prometheus";
const RUNBOOKS: &str = "dashboards/runbooks";
/// Where the values of the label `rule` of tcp_backlog_advice come from.
const ADVICE: &str = "probe-user/src/model/advice.rs";
/// What each page of a runbook says, in this order.
const CHAPTERS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];

/// A file with what was read in it.
struct Source {
    path: PathBuf,
    text: String,
    entries: Vec<Entry>,
}

/// Every check of rules, alerts, their tests and their pages. The tools of Prometheus are unpacked if they are not there.
pub(crate) fn check(catalogue: &Catalogue) -> Result<()> {
    let rules = [read("rules.yml")?, read("alerts.yml")?];
    let tests = read_tests()?;
    let advice = workspace::root().join(ADVICE);
    let advice = fs::read_to_string(&advice).with_context(|| format!("dashboards: cannot read {ADVICE}"))?;
    let mut problems = named_wrongly(catalogue, &rules, &tests);
    problems.extend(unknown_verdicts(&rules, &advice));
    for alert in alerts(&rules) {
        problems.extend(problems_of_alert(&alert, &tests));
    }
    problems.iter().for_each(|problem| println!("{problem}"));
    if !problems.is_empty() {
        println!("dashboards: {} problems", problems.len());
        return Err(AlreadyReported.into());
    }
    ask_the_tools(&setup::prometheus()?, &tests)
}

/// The names that recording rules make.
pub(super) fn recorded() -> Result<BTreeSet<String>> {
    Ok(values_of("record", &[read("rules.yml")?]).collect())
}

fn read(name: &str) -> Result<Source> {
    let path = Path::new(FOLDER).join(name);
    let text = fs::read_to_string(workspace::root().join(&path))
        .with_context(|| format!("dashboards: cannot read {}", path.display()))?;
    let entries = yaml::entries(&text);
    Ok(Source { path, text, entries })
}

fn read_tests() -> Result<Vec<Source>> {
    let folder = workspace::root().join(FOLDER).join("tests");
    let advice = || format!("dashboards: cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(advice)? {
        names.push(entry.with_context(advice)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names.iter().filter(|name| name.ends_with(".yml")).map(|name| read(&format!("tests/{name}"))).collect()
}

/// Metrics and labels that nobody has.
fn named_wrongly(catalogue: &Catalogue, rules: &[Source], tests: &[Source]) -> Vec<String> {
    let recorded = values_of("record", rules).collect::<BTreeSet<_>>();
    let names = Names { catalogue, recorded };
    let mut problems = Vec::new();
    for source in rules.iter().chain(tests) {
        for entry in &source.entries {
            let place = format!("{}:{}", source.path.display(), entry.line);
            problems.extend(names.problems(entry).iter().map(|problem| format!("{place}: {problem}")));
        }
    }
    problems
}

/// Causes that a text tells apart by the names of verdicts, and that the daemon never gives.
fn unknown_verdicts(rules: &[Source], advice: &str) -> Vec<String> {
    let texts = rules.iter().flat_map(|source| source.text.split("eq . \"").skip(1));
    let named = texts.filter_map(|rest| rest.split('"').next()).filter(|name| *name != "other");
    let unknown = named.filter(|name| !advice.contains(&format!("= \"{name}\",")));
    unknown.map(|name| format!("{FOLDER}/alerts.yml: {ADVICE} has no rule {name}")).collect()
}

fn values_of<'a>(key: &'a str, sources: &'a [Source]) -> impl Iterator<Item = String> + 'a {
    let entries = sources.iter().flat_map(|source| &source.entries);
    entries.filter(move |entry| entry.key == key).map(|entry| entry.value.clone())
}

fn alerts(rules: &[Source]) -> BTreeSet<String> {
    values_of("alert", rules).collect()
}

/// What an alert lacks beside its rule.
fn problems_of_alert(alert: &str, tests: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    // A test of annotations names it by a key, one of what fires by the label.
    if !tests.iter().any(|test| test.text.contains(&format!("alertname: {alert}\n"))) {
        problems.push(format!("{FOLDER}/tests: no test has the texts of {alert} (alert_rule_test)"));
    }
    if !tests.iter().any(|test| test.text.contains(&format!("alertname=\"{alert}\""))) {
        problems.push(format!("{FOLDER}/tests: no test says when {alert} fires, and when it does not"));
    }
    let page = Path::new(RUNBOOKS).join(format!("{alert}.md"));
    let text = fs::read_to_string(workspace::root().join(&page)).unwrap_or_default();
    let chapters: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    if chapters != CHAPTERS {
        problems.push(format!("{}: has to have the chapters {}", page.display(), CHAPTERS.join(", ")));
    }
    problems
}

/// Syntax, and what the tests say.
fn ask_the_tools(tools: &Prometheus, tests: &[Source]) -> Result<()> {
    let folder = workspace::root().join(FOLDER);
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(&folder).args(arguments);
        said_by(&mut command)
    };
    run(&tools.promtool, &["check", "rules", "rules.yml", "alerts.yml"])?;
    run(&tools.promtool, &["check", "config", "prometheus.yml"])?;
    run(&tools.amtool, &["check-config", "alertmanager.yml"])?;
    for test in tests {
        let path = test.path.strip_prefix(FOLDER).unwrap_or(&test.path).display().to_string();
        run(&tools.promtool, &["test", "rules", &path])?;
    }
    println!("dashboards: rules and alerts are right, and {} files of tests pass", tests.len());
    Ok(())
}

/// Runs a tool; what it says is shown whole if it fails, because it is a report.
fn said_by(command: &mut Command) -> Result<()> {
    let line = processes::line_of(command);
    let output = command.output().with_context(|| format!("dashboards: cannot run `{line}`"))?;
    if !output.status.success() {
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("dashboards: `{line}` failed; see above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::promql;
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: PathBuf::from("a.yml"), text: text.to_owned(), entries: yaml::entries(text) }
    }

    #[test]
    fn a_misspelt_metric_fails_and_a_recorded_one_does_not() {
        let catalogue = super::super::catalogue::example();
        let rules = [source(
            "- record: port:a:sum\n  expr: tcp_backlog_a_total\n- alert: A\n  expr: port:a:sum > tcp_backlog_c_total\n",
        )];
        let problems = named_wrongly(&catalogue, &rules, &[]);
        assert_eq!(problems, ["a.yml:4: tcp_backlog_c_total is neither in docs/METRICS.md nor recorded"]);
        let tests =
            [source("- series: 'port:a:sum{port=\"1\"}'\n- series: 'tcp_backlog_d_total{port=\"1\"}'\n")];
        assert_eq!(named_wrongly(&catalogue, &rules, &tests).len(), 2);
        assert_eq!(alerts(&rules), BTreeSet::from(["A".to_owned()]));
    }

    #[test]
    fn a_verdict_that_is_never_given_is_found() {
        let rules = [source("x: '{{ if eq . \"stalled\" }}{{ else if eq . \"stuck\" }}'")];
        let problems = unknown_verdicts(&rules, "AcceptorStalled = \"stalled\",");
        assert_eq!(problems.len(), 1);
        assert!(problems.iter().all(|problem| problem.ends_with("has no rule stuck")));
    }

    #[test]
    fn the_rules_of_the_repository_name_only_what_there_is() {
        let document = fs::read_to_string(workspace::root().join("docs/METRICS.md")).unwrap();
        let catalogue = Catalogue::parse(&document).unwrap();
        let rules = [read("rules.yml").unwrap(), read("alerts.yml").unwrap()];
        let tests = read_tests().unwrap();
        assert_eq!(named_wrongly(&catalogue, &rules, &tests), Vec::<String>::new());
        // Every rule has its expression read, so that none is past by.
        let rules_count = values_of("record", &rules).count() + values_of("alert", &rules).count();
        assert_eq!(values_of("expr", &rules).count(), rules_count);
        assert!(rules_count > 20);
    }

    /// In expressions, and in what the texts of alerts ask Prometheus.
    #[test]
    fn a_metric_that_is_renamed_in_any_expression_of_a_rule_is_found() {
        let catalogue = super::super::catalogue().unwrap();
        let whole = ["rules.yml", "alerts.yml"].map(|name| read(name).unwrap());
        for (marker, at_least) in [("expr", 20), ("summary", 1), ("description", 5)] {
            let mut broken = 0;
            let entries = whole.iter().flat_map(|source| &source.entries);
            for entry in entries.filter(|entry| entry.key == marker) {
                let asked =
                    if marker == "expr" { vec![entry.value.clone()] } else { names::queries(&entry.value) };
                for name in asked
                    .iter()
                    .filter_map(|query| Some(promql::read(query).ok()?.selectors.first()?.metric.clone()))
                {
                    let value = entry.value.replacen(&name, &format!("{name}x"), 1);
                    let text = format!(
                        "- record: a\n  {marker}: '{}'\n",
                        value.replace('\n', " ").replace('\'', "''")
                    );
                    let problems = names_wrongly_beside(&catalogue, &whole, &text);
                    assert!(!problems.is_empty(), "{marker}: {name} in {text}");
                    broken += 1;
                }
            }
            assert!(broken >= at_least, "{marker}: {broken}");
        }
    }

    fn names_wrongly_beside(catalogue: &Catalogue, rules: &[Source], text: &str) -> Vec<String> {
        assert_eq!(named_wrongly(catalogue, rules, &[]), [""; 0]);
        let recorded = values_of("record", rules).collect();
        let names = Names { catalogue, recorded };
        yaml::entries(text).iter().flat_map(|entry| names.problems(entry)).collect()
    }

    #[test]
    fn an_alert_without_page_and_test_is_found() {
        assert_eq!(problems_of_alert("TcpBacklogNothing", &[]).len(), 3);
    }
}
