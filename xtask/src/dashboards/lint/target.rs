//! Rules for one query.

use serde_json::Value;

use super::{Report, list_at, text_at};
use crate::dashboards::catalogue::Catalogue;
use crate::dashboards::promql::{self, Expression, Matcher, Selector};

/// Grafana's own variables.
const OF_GRAFANA: [&str; 3] = ["__rate_interval", "__range", "__interval"];

pub(super) fn check(board: &Value, target: &Value, catalogue: &Catalogue, report: &mut Report<'_>) {
    datasource(target, report);
    let text = text_at(target, "/expr");
    expression(board, text, catalogue, report);
    legend(text_at(target, "/legendFormat"), text, catalogue, report);
}

/// Everything asks the data source that the reader chose.
pub(super) fn datasource(asks: &Value, report: &mut Report<'_>) {
    let uid = text_at(asks, "/datasource/uid");
    if text_at(asks, "/datasource/type") != "prometheus" || !matches!(uid, "${datasource}" | "$datasource") {
        report.find("panel-datasource-rule", "ask the data source ${datasource} of the type prometheus");
    }
}

pub(super) fn expression(board: &Value, text: &str, catalogue: &Catalogue, report: &mut Report<'_>) {
    let expression = match promql::read(text) {
        Ok(expression) if expression.selectors.is_empty() => {
            return report.find("target-promql-rule", "it asks for no metric");
        }
        Ok(expression) => expression,
        Err(error) => return report.find("target-promql-rule", error),
    };
    for selector in &expression.selectors {
        metric(selector, catalogue, report);
        own_host(selector, report);
        rate(selector, catalogue, report);
    }
    for name in &expression.labels {
        label(name, &expression, catalogue, report);
    }
    variables(board, text, report);
}

/// The metric is the daemon's and has the labels, and the document knows the values.
pub(super) fn metric(selector: &Selector, catalogue: &Catalogue, report: &mut Report<'_>) {
    let name = &selector.metric;
    let Some(series) = catalogue.find_or_recorded(name) else {
        return report.find("known-metric", format!("docs/METRICS.md has no {name}"));
    };
    for Matcher { label, operator, value } in &selector.matchers {
        if !series.has_label(label) {
            report.find("known-label", format!("{name} has no label {label}"));
        }
        let exact = matches!(operator.as_str(), "=" | "!=") && !value.is_empty() && !value.contains('$');
        // The document's words have no dash in them: of `socket-drops` both halves are looked for.
        if exact && !value.split('-').all(|word| series.names_value(word)) {
            report.find(
                "known-value",
                format!("docs/METRICS.md does not say that {label} of {name} may be {value}"),
            );
        }
    }
}

/// Some metric of the expression has the label.
pub(super) fn label(name: &str, expression: &Expression, catalogue: &Catalogue, report: &mut Report<'_>) {
    let mut series =
        expression.selectors.iter().filter_map(|selector| catalogue.find_or_recorded(&selector.metric));
    if !series.any(|series| series.has_label(name)) {
        report.find("known-label", format!("no metric of the expression has the label {name}"));
    }
}

fn own_host(selector: &Selector, report: &mut Report<'_>) {
    let has = |label: &str| {
        let value = format!("${label}");
        selector.matchers.iter().any(|it| it.label == label && it.operator == "=~" && it.value == value)
    };
    for (rule, label) in [("target-job-rule", "job"), ("target-instance-rule", "instance")] {
        if !has(label) {
            report.find(rule, format!("{} needs {label}=~\"${label}\"", selector.metric));
        }
    }
}

fn rate(selector: &Selector, catalogue: &Catalogue, report: &mut Report<'_>) {
    let function = selector.function.as_deref().unwrap_or_default();
    let is_rate = matches!(function, "rate" | "irate" | "increase");
    let grows = catalogue.find_or_recorded(&selector.metric).is_some_and(|series| series.grows);
    if grows && !is_rate {
        report.find("target-counter-agg-rule", format!("{} only grows: take a rate of it", selector.metric));
    }
    match (function, selector.range.as_deref()) {
        (_, None | Some("$__rate_interval")) => {}
        // How much in the time range that is shown.
        ("increase", Some("$__range")) => {}
        _ if is_rate => report.find("target-rate-interval-rule", "its range is [$__rate_interval]"),
        _ => {}
    }
}

/// The labels that a legend names are there.
pub(super) fn legend(legend: &str, expression: &str, catalogue: &Catalogue, report: &mut Report<'_>) {
    let Ok(expression) = promql::read(expression) else {
        return; // is a finding already
    };
    for part in legend.split("{{").skip(1) {
        match part.split_once("}}") {
            Some((name, _)) => label(name.trim(), &expression, catalogue, report),
            None => report.find("target-legend", format!("}}}} is missing in {legend}")),
        }
    }
}

/// The names behind a $, with or without braces.
fn variables_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    })
}

/// The variables in a text are the dashboard's or Grafana's own.
pub(super) fn variables(board: &Value, text: &str, report: &mut Report<'_>) {
    for name in variables_in(text) {
        let mut of_board =
            list_at(board, "/templating/list").iter().map(|variable| text_at(variable, "/name"));
        if !OF_GRAFANA.contains(&name) && !of_board.any(|known| known == name) {
            report.find("known-variable", format!("the dashboard has no variable {name}"));
        }
    }
}
