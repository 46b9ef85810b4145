//! Rules for one panel.

use serde_json::Value;

use super::{Report, list_at, target, text_at};

/// Of Grafana's units those that the dashboards may need.
const UNITS: [&str; 15] = [
    "none",
    "string",
    "short",
    "percent",
    "percentunit",
    "bytes",
    "s",
    "ms",
    "dtdurations",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "cps",
    "pps",
    "ops",
    "bool_yes_no",
];

/// Panels of these types have no numbers.
const WITHOUT_NUMBERS: [&str; 1] = ["text"];

pub(super) fn check(panel: &Value, report: &mut Report<'_>) {
    for key in ["title", "description"] {
        if text_at(panel, &format!("/{key}")).trim().is_empty() {
            report.find("panel-title-description-rule", format!("give it a {key}"));
        }
    }
    if WITHOUT_NUMBERS.contains(&text_at(panel, "/type")) {
        return;
    }
    if list_at(panel, "/targets").is_empty() {
        report.find("panel-no-targets-rule", "give it a query");
    }
    target::datasource(panel, report);
    unit(text_at(panel, "/fieldConfig/defaults/unit"), report);
    for property in
        list_at(panel, "/fieldConfig/overrides").iter().flat_map(|one| list_at(one, "/properties"))
    {
        if text_at(property, "/id") == "unit" {
            unit(text_at(property, "/value"), report);
        }
    }
}

fn unit(unit: &str, report: &mut Report<'_>) {
    if !UNITS.contains(&unit) {
        let known = UNITS.join(", ");
        report.find("panel-units-rule", format!("\"{unit}\" is none of the units: {known}"));
    }
}
