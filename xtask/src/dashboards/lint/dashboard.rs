//! Rules for a dashboard as a whole: its variables, its links, its layout.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Report, list_at, target, text_at};
use crate::dashboards::catalogue::Catalogue;
use crate::dashboards::promql;

pub(super) fn check(board: &Value, catalogue: &Catalogue, report: &mut Report<'_>) {
    head(board, report);
    datasource_variable(board, report);
    for name in ["job", "instance"] {
        required_variable(board, name, report);
    }
    for variable in list_at(board, "/templating/list") {
        query_variable(board, variable, catalogue, report);
    }
    layout(board, report);
    for annotation in list_at(board, "/annotations/list") {
        let mut report = report.at(&format!("annotation \"{}\"", text_at(annotation, "/name")));
        target::datasource(annotation, &mut report);
        target::expression(board, text_at(annotation, "/expr"), catalogue, &mut report);
        for format in ["/titleFormat", "/textFormat"] {
            target::legend(text_at(annotation, format), text_at(annotation, "/expr"), catalogue, &mut report);
        }
    }
}

fn head(board: &Value, report: &mut Report<'_>) {
    for key in ["/title", "/uid", "/description", "/refresh", "/time/from", "/time/to"] {
        if text_at(board, key).is_empty() {
            report.find("dashboard-head", format!("give it a {}", key.trim_start_matches('/')));
        }
    }
    if board.get("editable") != Some(&Value::Bool(false)) {
        report.find(
            "uneditable-dashboard",
            "set editable to false: what is changed in Grafana is lost at the next import",
        );
    }
    if list_at(board, "/tags").is_empty() {
        report.find("dashboard-head", "give it a tag: the links between the dashboards go by tags");
    }
    if !list_at(board, "/links").iter().any(|link| text_at(link, "/type") == "dashboards") {
        report.find("dashboard-links", "link the other dashboards of the same tag");
    }
}

fn variable<'a>(board: &'a Value, name: &str) -> Option<&'a Value> {
    list_at(board, "/templating/list").iter().find(|variable| text_at(variable, "/name") == name)
}

fn datasource_variable(board: &Value, report: &mut Report<'_>) {
    let right = variable(board, "datasource").is_some_and(|variable| {
        text_at(variable, "/type") == "datasource"
            && text_at(variable, "/query") == "prometheus"
            && text_at(variable, "/label") == "Data source"
    });
    if !right {
        let remedy =
            "a variable datasource of the type datasource, for prometheus, with the label Data source";
        report.find("template-datasource-rule", remedy);
    }
}

fn required_variable(board: &Value, name: &str, report: &mut Report<'_>) {
    let rule = if name == "job" { "template-job-rule" } else { "template-instance-rule" };
    let Some(variable) = variable(board, name) else {
        return report.find(rule, format!("a variable {name} of the type query"));
    };
    let label = text_at(variable, "/label");
    if text_at(variable, "/type") != "query" || !label.eq_ignore_ascii_case(name) {
        report.find(rule, format!("the variable {name} is of the type query and labelled so"));
    }
    if variable.get("multi") != Some(&Value::Bool(true)) || text_at(variable, "/allValue") != ".+" {
        report.find(rule, format!("of {name} several values can be chosen, and all are .+"));
    }
}

fn query_variable(board: &Value, variable: &Value, catalogue: &Catalogue, report: &mut Report<'_>) {
    if text_at(variable, "/type") != "query" {
        return;
    }
    let mut report = report.at(&format!("variable {}", text_at(variable, "/name")));
    target::datasource(variable, &mut report);
    if variable.get("refresh") != Some(&Value::from(2)) {
        report.find("template-on-time-change-reload-rule", "refresh it when the time range changes: 2");
    }
    let query = text_at(variable, "/query/query");
    target::variables(board, query, &mut report);
    let parts = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.rsplit_once(','));
    let Some((selector, label)) = parts else {
        return report
            .find("template-label-promql-rule", format!("label_values(selector, label), not {query}"));
    };
    match promql::read(selector) {
        Ok(read) => {
            for selector in &read.selectors {
                target::metric(selector, catalogue, &mut report);
            }
            target::label(label.trim(), &read, catalogue, &mut report);
        }
        Err(error) => report.find("template-label-promql-rule", error),
    }
}

/// Panels have numbers of their own and lie beside each other.
fn layout(board: &Value, report: &mut Report<'_>) {
    let mut numbers = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list_at(board, "/panels") {
        let title = text_at(panel, "/title");
        let number = |path: &str| panel.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        if !numbers.insert(number("/id")) {
            report.find("panel-ids", format!("the panel \"{title}\" has the number of another one"));
        }
        let (x, y) = (number("/gridPos/x"), number("/gridPos/y"));
        let (width, height) = (number("/gridPos/w"), number("/gridPos/h"));
        let mut fits = width > 0 && height > 0 && x + width <= 24;
        for row in y..y + height {
            for column in x..x + width {
                fits &= cells.insert((row, column));
            }
        }
        if !fits {
            report.find(
                "panel-layout",
                format!("the panel \"{title}\" lies on another one or outside of 24 columns"),
            );
        }
    }
}
