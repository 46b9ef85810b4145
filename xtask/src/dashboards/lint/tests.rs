//! Each rule finds what it is for, in a dashboard that is right but for that.

use serde_json::{Value, json};

use super::super::catalogue::example;
use super::*;

fn right() -> Value {
    let datasource = json!({ "type": "prometheus", "uid": "${datasource}" });
    let variable = |name: &str, label: &str, query: &str| {
        json!({
            "type": "query", "name": name, "label": label, "datasource": datasource, "refresh": 2, "multi": true,
            "allValue": ".+", "query": { "query": query },
        })
    };
    json!({
        "title": "A", "uid": "a", "description": "B", "refresh": "30s", "time": { "from": "now-1h", "to": "now" },
        "editable": false, "tags": ["x"], "links": [{ "type": "dashboards" }],
        "annotations": { "list": [] },
        "templating": { "list": [
            { "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus" },
            variable("job", "Job", "label_values(up, job)"),
            variable("instance", "Instance", "label_values(up{job=~\"$job\"}, instance)"),
        ] },
        "panels": [{
            "id": 1, "type": "timeseries", "title": "T", "description": "D", "datasource": datasource,
            "gridPos": { "x": 0, "y": 0, "w": 12, "h": 8 },
            "fieldConfig": { "defaults": { "unit": "pps" }, "overrides": [] },
            "targets": [{
                "refId": "A", "datasource": datasource, "legendFormat": "{{port}}",
                "expr": "sum by (port) (rate(tcp_backlog_a_total{job=~\"$job\", instance=~\"$instance\"}[$__rate_interval]))",
            }],
        }],
    })
}

/// The rules that are broken when the value at the path is another.
fn rules_with(path: &str, value: Value) -> Vec<&'static str> {
    let mut board = right();
    *board.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
    check("a.json", &board, &example()).into_iter().map(|finding| finding.rule).collect()
}

fn rules_of(expression: &str) -> Vec<&'static str> {
    let own = r#"job=~"$job", instance=~"$instance""#;
    rules_with("/panels/0/targets/0/expr", json!(expression.replace("OWN", own)))
}

#[test]
fn a_dashboard_that_is_right_has_no_findings() {
    assert_eq!(check("a.json", &right(), &example()), []);
}

#[test]
fn a_finding_is_one_line_that_names_the_query() {
    let mut board = right();
    board["panels"][0]["targets"][0]["expr"] = json!("sum(1)");
    let findings = check("a.json", &board, &example());
    assert_eq!(
        findings[0].to_string(),
        "a.json: panel \"T\": query A: target-promql-rule: it asks for no metric"
    );
}

#[test]
fn a_misspelt_metric_is_found() {
    assert_eq!(
        rules_of("sum by (port) (rate(tcp_backlog_b_total{OWN}[$__rate_interval]))")[0],
        "known-metric"
    );
    assert_eq!(rules_of("avg by (port) (tcp_backlog_peak{OWN})"), [""; 0]);
    // A histogram is its parts.
    assert!(rules_of("avg by (port) (tcp_backlog_wait_seconds{OWN})").contains(&"known-metric"));
}

#[test]
fn a_misspelt_label_or_value_is_found() {
    assert_eq!(rules_of("max by (port) (tcp_backlog_peak{OWN, windows=\"60s\"})"), ["known-label"]);
    assert_eq!(rules_of("max by (port) (tcp_backlog_peak{OWN, window=\"30s\"})"), ["known-value"]);
    assert_eq!(rules_of("max by (port, netns) (tcp_backlog_peak{OWN})"), ["known-label"]);
    assert_eq!(rules_of("max by (port) (tcp_backlog_peak{OWN, port=~\"$port\"})"), ["known-variable"]);
    assert_eq!(rules_with("/panels/0/targets/0/legendFormat", json!("{{prot}}")), ["known-label"]);
}

#[test]
fn an_expression_is_about_the_chosen_hosts() {
    assert_eq!(rules_of("max by (port) (tcp_backlog_peak{instance=~\"$instance\"})"), ["target-job-rule"]);
    assert_eq!(rules_of("max by (port) (tcp_backlog_peak{job=~\"$job\"})"), ["target-instance-rule"]);
}

#[test]
fn what_only_grows_is_rated_over_the_right_interval() {
    assert_eq!(rules_of("sum by (port) (tcp_backlog_a_total{OWN})"), ["target-counter-agg-rule"]);
    assert_eq!(rules_of("sum by (port) (rate(tcp_backlog_a_total{OWN}[5m]))"), ["target-rate-interval-rule"]);
    assert_eq!(
        rules_of("sum by (port) (rate(tcp_backlog_a_total{OWN}[$__range]))"),
        ["target-rate-interval-rule"]
    );
    assert_eq!(rules_of("sum by (port) (increase(tcp_backlog_a_total{OWN}[$__range]))"), [""; 0]);
}

#[test]
fn a_panel_without_title_description_unit_or_query_is_found() {
    assert_eq!(rules_with("/panels/0/title", json!("")), ["panel-title-description-rule"]);
    assert_eq!(rules_with("/panels/0/description", json!(" ")), ["panel-title-description-rule"]);
    assert_eq!(rules_with("/panels/0/fieldConfig/defaults", json!({})), ["panel-units-rule"]);
    assert_eq!(rules_with("/panels/0/fieldConfig/defaults/unit", json!("furlong")), ["panel-units-rule"]);
    assert_eq!(rules_with("/panels/0/targets", json!([])), ["panel-no-targets-rule"]);
    let collapsed = json!([{ "id": 1, "type": "row", "gridPos": { "x": 0, "y": 0, "w": 24, "h": 1 }, "panels": [{ "type": "text" }] }]);
    assert_eq!(rules_with("/panels", collapsed), ["panel-title-description-rule"; 2]);
}

#[test]
fn a_data_source_that_is_fixed_is_found() {
    let fixed = json!({ "type": "prometheus", "uid": "P1809F7CD0C75ACF3" });
    for path in ["/panels/0/datasource", "/panels/0/targets/0/datasource", "/templating/list/1/datasource"] {
        assert_eq!(rules_with(path, fixed.clone()), ["panel-datasource-rule"], "{path}");
    }
}

#[test]
fn variables_are_as_readers_expect_them() {
    assert_eq!(rules_with("/templating/list/0/label", json!("Prometheus")), ["template-datasource-rule"]);
    assert_eq!(rules_with("/templating/list/1/multi", json!(false)), ["template-job-rule"]);
    assert_eq!(rules_with("/templating/list/2/allValue", json!("")), ["template-instance-rule"]);
    assert_eq!(rules_with("/templating/list/2/refresh", json!(1)), ["template-on-time-change-reload-rule"]);
    let query = json!("label_values(upp, instance)");
    assert_eq!(rules_with("/templating/list/2/query/query", query), ["known-metric", "known-label"]);
    assert_eq!(rules_with("/templating/list/2/query/query", json!("up")), ["template-label-promql-rule"]);
}

#[test]
fn a_dashboard_is_not_edited_in_grafana_and_names_itself() {
    assert_eq!(rules_with("/editable", json!(true)), ["uneditable-dashboard"]);
    assert_eq!(rules_with("/uid", json!("")), ["dashboard-head"]);
    assert_eq!(rules_with("/links", json!([])), ["dashboard-links"]);
}

#[test]
fn panels_lie_beside_each_other() {
    assert_eq!(rules_with("/panels/0/gridPos/x", json!(13)), ["panel-layout"]);
    let mut board = right();
    let panel = board["panels"][0].clone();
    board["panels"] = json!([panel, panel]);
    let rules: Vec<_> = check("a.json", &board, &example()).into_iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["panel-ids", "panel-layout"]);
}

#[test]
fn annotations_are_checked_too() {
    let annotation = json!([{
        "name": "N", "datasource": { "type": "prometheus", "uid": "${datasource}" }, "titleFormat": "{{prot}}",
        "expr": "tcp_backlog_advice{job=~\"$job\", instance=~\"$instance\", severity=\"loosing\"}",
    }]);
    assert_eq!(rules_with("/annotations/list", annotation), ["known-value", "known-label"]);
}

/// Of the dashboards as they are, each query alone.
#[test]
fn a_metric_that_is_renamed_in_any_query_is_found() {
    use crate::dashboards::{boards, catalogue, promql};
    let catalogue = catalogue().unwrap();
    let mut broken = 0;
    for board in boards() {
        let whole: Value = serde_json::from_str(&board.text()).unwrap();
        let expressions: Vec<String> =
            expressions(&whole).map(|(_, expression)| expression.to_owned()).collect();
        for expression in expressions {
            let name = promql::read(&expression).unwrap().selectors.remove(0).metric;
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let renamed = expression.replacen(&name, &format!("{name}x"), 1);
            let text = whole.to_string().replace(&quoted(&expression), &quoted(&renamed));
            let findings = check("x.json", &serde_json::from_str(&text).unwrap(), &catalogue);
            assert!(!findings.is_empty(), "{renamed}");
            broken += 1;
        }
    }
    assert!(broken > 100);
}
