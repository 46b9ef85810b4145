//! Rules for dashboards, over their JSON: those of grafana/dashboard-linter that apply, written anew, and that nothing is
//! asked for which the daemon does not have.

mod dashboard;
mod panel;
mod target;

use std::fmt;

use serde_json::Value;

use super::catalogue::Catalogue;

/// A rule that is broken, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    place: String,
    rule: &'static str,
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.place, self.rule, self.remedy)
    }
}

/// What the rules write to, with the place that they are about.
struct Report<'a> {
    place: String,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn find(&mut self, rule: &'static str, remedy: impl Into<String>) {
        self.findings.push(Finding { place: self.place.clone(), rule, remedy: remedy.into() });
    }

    fn at(&mut self, place: &str) -> Report<'_> {
        Report { place: format!("{}: {place}", self.place), findings: self.findings }
    }
}

/// Checks one dashboard.
pub(super) fn check(file: &str, board: &Value, catalogue: &Catalogue) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = Report { place: file.to_owned(), findings: &mut findings };
    dashboard::check(board, catalogue, &mut report);
    for panel in panels(board) {
        let mut report = report.at(&format!("panel \"{}\"", text_at(panel, "/title")));
        panel::check(panel, &mut report);
        for target in list_at(panel, "/targets") {
            let mut report = report.at(&format!("query {}", text_at(target, "/refId")));
            target::check(board, target, catalogue, &mut report);
        }
    }
    findings
}

/// Every panel but rows, those within collapsed rows too.
pub(super) fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    let all = list_at(board, "/panels").iter();
    all.flat_map(|panel| std::iter::once(panel).chain(list_at(panel, "/panels")))
        .filter(|panel| text_at(panel, "/type") != "row")
}

/// Every expression of a dashboard, with the title of its panel: those of panels and of annotations.
pub(super) fn expressions(board: &Value) -> impl Iterator<Item = (&str, &str)> {
    let of_panels = panels(board).flat_map(|panel| {
        list_at(panel, "/targets").iter().map(|target| (text_at(panel, "/title"), text_at(target, "/expr")))
    });
    let annotations = list_at(board, "/annotations/list").iter();
    of_panels
        .chain(annotations.map(|annotation| (text_at(annotation, "/name"), text_at(annotation, "/expr"))))
}

/// The text at a path, empty where there is none.
pub(super) fn text_at<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a path, empty where there is none.
pub(super) fn list_at<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
