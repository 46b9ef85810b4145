//! Every expression of panels, marks, rules and alerts, asked of the Prometheus of the play.
//!
//! Each has to be accepted and to give something. It may give nothing where a metric is absent that its plan does not have, and
//! where nothing of the kind happens in the play: those are listed here, and may not give anything then.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::http;
use super::quiet::{self, Quiet};
use super::stage::PROMETHEUS;
use crate::dashboards::catalogue::Catalogue;
use crate::dashboards::lint::{list_at, panels, text_at};
use crate::dashboards::{as_prometheus_gets_it, boards, promql};

/// The time that the play took so far, in seconds since 1970, and the interval of its scrapes.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) scrape: u64,
}

/// An expression with its place.
struct Question {
    /// The file, kind and title of the panel, letter of the query; or the name of the rule.
    place: String,
    expression: String,
    over_time: bool,
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Answered,
    /// It names a metric that is not there.
    Absent,
    /// Nothing of the kind happened.
    Quiet,
    Wrong(String),
}

/// Asks all of it; what is wrong is returned, one line each.
pub(super) fn ask(catalogue: &Catalogue, span: Span) -> Result<Vec<String>> {
    let present = names()?;
    let mut problems: Vec<String> = catalogue
        .everywhere()
        .filter(|name| !present.contains(*name))
        .map(|name| format!("{name}: docs/METRICS.md says that every host has it, and Prometheus has not"))
        .collect();
    let mut questions = of_boards()?;
    questions.extend(of_rules(&mut problems)?);
    let places: BTreeSet<&str> = questions.iter().map(|question| question.place.as_str()).collect();
    problems.extend(quiet::of_no_place(&places));
    let (mut answered, mut absent, mut quiet) = (0, 0, 0);
    for question in &questions {
        match judge(question, &present, span)? {
            Verdict::Answered => answered += 1,
            Verdict::Absent => absent += 1,
            Verdict::Quiet => quiet += 1,
            Verdict::Wrong(why) => problems.push(format!("{}: {why}", question.place)),
        }
    }
    let count = questions.len();
    println!(
        "dashboards: {count} expressions asked: {answered} answered, {absent} of metrics not in this plan, {quiet} of what did not happen"
    );
    Ok(problems)
}

fn judge(question: &Question, present: &BTreeSet<String>, span: Span) -> Result<Verdict> {
    let gives = match put(&question.expression, question.over_time.then_some(span), span.to)? {
        Ok(gives) => gives,
        Err(refusal) => return Ok(Verdict::Wrong(format!("refused: {refusal}: {}", question.expression))),
    };
    let read = promql::read(&question.expression).unwrap_or_default();
    let is_absent = read.selectors.iter().any(|selector| !present.contains(&selector.metric));
    let listed = quiet::find(&question.place);
    let happened = match listed {
        Some(Quiet { unless, .. }) if gives => put(unless, Some(span), span.to)?.is_ok_and(|gives| gives),
        _ => false,
    };
    Ok(verdict(gives, is_absent, listed.is_some(), happened))
}

fn verdict(gives: bool, is_absent: bool, is_listed: bool, happened: bool) -> Verdict {
    let wrong = |why: &str| Verdict::Wrong(why.to_owned());
    match (gives, is_listed) {
        (true, true) if !happened => {
            wrong("gives something: take it off the list of quiet.rs, or say there what it takes")
        }
        (true, _) => Verdict::Answered,
        (false, _) if is_absent => Verdict::Absent,
        (false, true) => Verdict::Quiet,
        (false, false) => wrong("gives nothing, though all its metrics are there; quiet.rs may say why"),
    }
}

/// The names of all metrics that Prometheus knows.
fn names() -> Result<BTreeSet<String>> {
    let answer = http::get(PROMETHEUS, "/api/v1/label/__name__/values")?;
    let names = list_at(&answer, "/data").iter().filter_map(Value::as_str).map(str::to_owned);
    Ok(names.collect())
}

/// Whether Prometheus gives anything; the error is its own.
fn put(expression: &str, over_time: Option<Span>, at: u64) -> Result<Result<bool, String>> {
    let query = crate::http::encoded(expression);
    let path = match over_time {
        Some(Span { from, to, scrape }) => {
            format!("/api/v1/query_range?start={from}&end={to}&step={scrape}&query={query}")
        }
        None => format!("/api/v1/query?time={at}&query={query}"),
    };
    let answer = http::get(PROMETHEUS, &path)?;
    if text_at(&answer, "/status") != "success" {
        return Ok(Err(text_at(&answer, "/error").to_owned()));
    }
    Ok(Ok(!list_at(&answer, "/data/result").is_empty()))
}

fn of_boards() -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for board in boards() {
        let json: Value = serde_json::from_str(&board.text()).context("dashboards: not JSON")?;
        let mut note = |place: String, expression: &str, over_time| {
            questions.push(Question { place, expression: as_prometheus_gets_it(expression), over_time });
        };
        for panel in panels(&json) {
            let panel_place =
                format!("{}: {} {}", board.name, text_at(panel, "/type"), text_at(panel, "/title"));
            for target in list_at(panel, "/targets") {
                let place = format!("{panel_place}: {}", text_at(target, "/refId"));
                note(place, text_at(target, "/expr"), target.get("instant") != Some(&Value::Bool(true)));
            }
        }
        for mark in list_at(&json, "/annotations/list") {
            note(format!("{}: marks {}", board.name, text_at(mark, "/name")), text_at(mark, "/expr"), true);
        }
    }
    Ok(questions)
}

/// Rules as Prometheus has read them; one that it could not evaluate is a problem.
fn of_rules(problems: &mut Vec<String>) -> Result<Vec<Question>> {
    let answer = http::get(PROMETHEUS, "/api/v1/rules")?;
    let mut questions = Vec::new();
    for rule in list_at(&answer, "/data/groups").iter().flat_map(|group| list_at(group, "/rules")) {
        let place = format!("rule {}", text_at(rule, "/name"));
        if text_at(rule, "/health") != "ok" {
            problems.push(format!("{place}: not evaluated: {}", text_at(rule, "/lastError")));
        }
        questions.push(Question { place, expression: text_at(rule, "/query").to_owned(), over_time: true });
    }
    if questions.is_empty() {
        problems.push("Prometheus has read no rule".to_owned());
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_excused_by_an_absent_metric_or_by_the_list_and_by_nothing_else() {
        assert_eq!(verdict(false, true, false, false), Verdict::Absent);
        assert_eq!(verdict(false, false, true, false), Verdict::Quiet);
        assert!(matches!(verdict(false, false, false, false), Verdict::Wrong(_)));
    }

    #[test]
    fn what_is_listed_may_give_something_only_where_it_happened() {
        assert!(matches!(verdict(true, false, true, false), Verdict::Wrong(_)));
        assert_eq!(verdict(true, false, true, true), Verdict::Answered);
        assert_eq!(verdict(true, true, false, false), Verdict::Answered);
    }

    #[test]
    fn every_query_has_a_place_of_its_own() {
        let questions = of_boards().unwrap();
        let places: BTreeSet<&String> = questions.iter().map(|question| &question.place).collect();
        assert_eq!(places.len(), questions.len());
        assert!(questions.iter().all(|question| promql::read(&question.expression).is_ok()));
    }
}
