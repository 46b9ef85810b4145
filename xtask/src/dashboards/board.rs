//! A dashboard as a value: rows of panels, variables, links; and its JSON.

use serde_json::{Value, json};

use super::panel::{Panel, datasource};
use super::shorthand::expand;

/// The last version of this form of JSON: Grafana 12 and 13 write it, older ones read it.
const SCHEMA_VERSION: u32 = 42;
/// What all three have, and their links find them by.
pub(super) const TAG: &str = "tcp-backlog-probe";
const COLUMNS: u32 = 24;

/// A dashboard.
pub(super) struct Board {
    /// The file's name without its ending.
    pub(super) name: &'static str,
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Value>,
    pub(super) annotations: Vec<Value>,
    pub(super) rows: Vec<Row>,
}

/// Panels under a heading.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// Panels under a heading.
pub(super) fn row(title: &'static str, panels: Vec<Panel>) -> Row {
    Row { title, panels }
}

impl Board {
    /// The file, with the line end that an editor would put there.
    pub(super) fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": false,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "timepicker": { "refresh_intervals": ["10s", "30s", "1m", "5m", "15m"] },
            "links": [links()],
            "annotations": { "list": self.annotations },
            "templating": { "list": self.variables },
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let mut placed = Vec::new();
        let mut y = 0;
        let mut id = 0;
        for row in &self.rows {
            id += 1;
            placed.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
            }));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    y += tallest;
                    (x, tallest) = (0, 0);
                }
                id += 1;
                placed.push(panel.json(id, x, y));
                x += panel.width;
                tallest = tallest.max(panel.height);
            }
            y += tallest;
        }
        placed
    }
}

/// To the other dashboards, with what is chosen in this one.
fn links() -> Value {
    json!({
        "type": "dashboards", "tags": [TAG], "title": "TCP backlog", "tooltip": "", "icon": "external link",
        "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false, "url": "",
    })
}

/// The data source, job and instance, which every dashboard lets choose.
pub(super) fn host_variables() -> Vec<Value> {
    vec![
        json!({
            "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            "options": [], "regex": "", "hide": 0, "refresh": 1, "multi": false, "includeAll": false,
        }),
        variable("job", "Job", "label_values(tcp_backlog_build_info, job)"),
        // Not of a metric of the daemon's: one that does not answer has to be in the list, too.
        variable("instance", "Instance", r#"label_values(up{job=~"$job"}, instance)"#),
    ]
}

/// A variable whose values Prometheus knows; any number of them may be chosen, and at first all are.
pub(super) fn variable(name: &str, label: &str, query: &str) -> Value {
    // Ports are numbers, names are not.
    let sort = if matches!(name, "port" | "netns") { 3 } else { 1 };
    let query = expand(query);
    json!({
        "type": "query", "name": name, "label": label, "datasource": datasource(),
        "query": { "query": query, "refId": format!("variable-{name}") },
        "current": { "text": ["All"], "value": ["$__all"] }, "options": [], "regex": "", "hide": 0,
        "multi": true, "includeAll": true, "allValue": ".+", "refresh": 2, "sort": sort,
    })
}

/// Marks the times at which the expression has a value above 0.
pub(super) fn annotation(name: &str, enabled: bool, expression: &str, title: &str, text: &str) -> Value {
    json!({
        "name": name, "enable": enabled, "hide": false, "iconColor": "red", "datasource": datasource(),
        "expr": expand(expression), "step": "30s", "titleFormat": title, "textFormat": text, "tagKeys": "instance,port",
    })
}
