//! Tables: several queries, one row for each port or host, one column for each query.

use serde_json::{Map, Value, json};

use super::panel::{Panel, reference};

/// Columns of labels, in the order in which a reader wants them.
const LABELS: [&str; 26] = [
    "severity",
    "rule",
    "instance",
    "process",
    "address",
    "port",
    "netns",
    "hook",
    "variant",
    "method",
    "source",
    "version",
    "kernel",
    "bound",
    "reason",
    "counter",
    "application",
    "command",
    "unit",
    "container",
    "pod",
    "user",
    "cause",
    "stage",
    "window",
    "cpu",
];

/// A table in the making.
pub(super) struct Table {
    panel: Panel,
    unit: String,
    names: Vec<Option<String>>,
    sort_by: Option<String>,
    values_first: bool,
}

/// A table whose numbers have this unit unless a column has its own.
pub(super) fn table(title: &str, description: &str, unit: &str) -> Table {
    let options = json!({ "showHeader": true, "cellHeight": "sm", "frameIndex": 0 });
    let custom =
        json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false, "filterable": true });
    // Labels are no numbers, though ports and namespaces look like some: with another unit 18080 would be "18.1 K".
    let panel = Panel::new("table", title, description, options)
        .default("unit", json!("string"))
        .default("custom", custom)
        .size(24, 9);
    Table { panel, unit: unit.to_owned(), names: Vec::new(), sort_by: None, values_first: false }
}

impl Table {
    /// A query and the name of its column of values.
    pub(super) fn column(mut self, expression: &str, name: &str, properties: &[(&str, Value)]) -> Self {
        self.names.push(Some(name.to_owned()));
        self.panel = self.panel.rows(expression);
        let mut properties = properties.to_vec();
        if !properties.iter().any(|(property, _)| *property == "unit") {
            properties.insert(0, ("unit", json!(self.unit)));
        }
        self.panel = self.panel.named(name, &properties);
        self
    }

    /// A query of which only the labels matter.
    pub(super) fn labels(mut self, expression: &str) -> Self {
        self.names.push(None);
        self.panel = self.panel.rows(expression);
        self
    }

    /// What the column of a label is like.
    pub(super) fn label(mut self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.panel = self.panel.named(name, properties);
        self
    }

    /// The column with the largest values first.
    pub(super) fn worst_first(mut self, column: &str) -> Self {
        self.sort_by = Some(column.to_owned());
        self
    }

    /// The values before the labels.
    pub(super) fn values_first(mut self) -> Self {
        self.values_first = true;
        self
    }

    /// What is said when there is no row.
    pub(super) fn or_else(mut self, text: &str) -> Self {
        self.panel = self.panel.default("noValue", json!(text));
        self
    }

    /// What a click on a cell of this column opens.
    pub(super) fn link(mut self, column: &str, title: &str, url: &str) -> Self {
        self.panel = self.panel.named(column, &[("links", json!([{ "title": title, "url": url }]))]);
        self
    }

    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        self.panel = self.panel.size(width, height);
        self
    }

    pub(super) fn done(self) -> Panel {
        let several = self.names.len() > 1;
        let first = self.names.first().cloned().flatten();
        let mut renamed = Map::new();
        let mut excluded = Map::new();
        excluded.insert("Time".to_owned(), json!(true));
        let mut order = Vec::new();
        for (index, name) in self.names.into_iter().enumerate() {
            // This is what Grafana calls the values of several queries, and of one.
            let column = if several { format!("Value #{}", reference(index)) } else { "Value".to_owned() };
            order.push(column.clone());
            match name {
                Some(name) => renamed.insert(column, Value::from(name)),
                None => excluded.insert(column, json!(true)),
            };
        }
        if several {
            // Where one query alone has an answer Grafana calls its values so: mostly it is the first.
            match first {
                Some(name) => renamed.insert("Value".to_owned(), Value::from(name)),
                None => excluded.insert("Value".to_owned(), json!(true)),
            };
        }
        let mut labels: Vec<String> = LABELS.iter().map(|&label| label.to_owned()).collect();
        if self.values_first {
            order.append(&mut labels);
        } else {
            order.splice(0..0, labels);
        }
        let order: Map<String, Value> =
            order.into_iter().enumerate().map(|(index, name)| (name, json!(index))).collect();
        let mut panel = self.panel;
        if several {
            panel = panel.transformed("merge", json!({}));
        }
        if let Some(column) = self.sort_by {
            panel = panel.option("sortBy", json!([{ "displayName": column, "desc": true }]));
        }
        panel.transformed(
            "organize",
            json!({ "excludeByName": excluded, "indexByName": order, "renameByName": renamed }),
        )
    }
}
