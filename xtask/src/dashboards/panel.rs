//! Panels as values: a constructor for each kind that the dashboards use, and their JSON.

use serde_json::{Value, json};

use super::shorthand::expand;

/// Every query and panel asks the data source that the reader chose.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// How the answer to a query is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Series over the time range.
    Range,
    /// One value for each series, of the end of the time range.
    Instant,
    /// The same as rows of a table, a column for each label.
    Table,
    /// The buckets of a histogram over the time range.
    Heatmap,
}

struct Target {
    expression: String,
    legend: String,
    format: Format,
}

/// One panel, without its place.
pub(super) struct Panel {
    kind: &'static str,
    title: String,
    description: String,
    pub(super) width: u32,
    pub(super) height: u32,
    targets: Vec<Target>,
    defaults: Value,
    overrides: Vec<Value>,
    options: Value,
    transformations: Vec<Value>,
    /// How fine a graph is: the panel's own settings of its queries.
    fineness: Option<(&'static str, u32)>,
}

impl Panel {
    pub(super) fn new(kind: &'static str, title: &str, description: &str, options: Value) -> Self {
        Self {
            kind,
            title: title.to_owned(),
            description: description.to_owned(),
            width: 12,
            height: 8,
            targets: Vec::new(),
            defaults: json!({}),
            overrides: Vec::new(),
            options,
            transformations: Vec::new(),
            fineness: None,
        }
    }

    /// Of 24 columns, and rows of 30 pixels.
    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// A query whose series are drawn over time; the legend may name labels: `{{port}}`.
    pub(super) fn line(self, expression: &str, legend: &str) -> Self {
        self.target(expression, legend, Format::Range)
    }

    /// A query for the values at the end of the time range.
    pub(super) fn value(self, expression: &str, legend: &str) -> Self {
        self.target(expression, legend, Format::Instant)
    }

    /// A query for the buckets of a histogram.
    pub(super) fn buckets(self, expression: &str) -> Self {
        self.target(expression, "{{le}}", Format::Heatmap)
    }

    /// A query for rows of a table.
    pub(super) fn rows(self, expression: &str) -> Self {
        self.target(expression, "", Format::Table)
    }

    fn target(mut self, expression: &str, legend: &str, format: Format) -> Self {
        self.targets.push(Target { expression: expand(expression), legend: legend.to_owned(), format });
        self
    }

    pub(super) fn default(mut self, key: &str, value: Value) -> Self {
        set(&mut self.defaults, key, value);
        self
    }

    /// The axis goes below 0 where values do.
    pub(super) fn signed(mut self) -> Self {
        if let Some(defaults) = self.defaults.as_object_mut() {
            defaults.remove("min");
        }
        self
    }

    pub(super) fn option(mut self, key: &str, value: Value) -> Self {
        set(&mut self.options, key, value);
        self
    }

    /// The colours from a value on; the first one holds from the lowest on.
    pub(super) fn thresholds(self, base: &str, steps: &[(f64, &str)]) -> Self {
        let mut list = vec![json!({ "color": base, "value": null })];
        list.extend(steps.iter().map(|(value, color)| json!({ "color": color, "value": value })));
        self.default("thresholds", json!({ "mode": "absolute", "steps": list }))
            .default("color", json!({ "mode": "thresholds" }))
    }

    /// What the columns or series of this name are like.
    pub(super) fn named(self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.matched(json!({ "id": "byName", "options": name }), properties)
    }

    /// What the series of the query at this place are like.
    pub(super) fn of_query(self, index: usize, properties: &[(&str, Value)]) -> Self {
        self.matched(json!({ "id": "byFrameRefID", "options": reference(index) }), properties)
    }

    fn matched(mut self, matcher: Value, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<Value> =
            properties.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
        self.overrides.push(json!({ "matcher": matcher, "properties": properties }));
        self
    }

    /// Draws the series of a query as a limit: a dashed line without an area.
    pub(super) fn limit_line(self, index: usize, color: &str) -> Self {
        self.of_query(
            index,
            &[
                ("custom.lineStyle", json!({ "fill": "dash", "dash": [10, 10] })),
                ("custom.fillOpacity", json!(0)),
                ("custom.stacking", json!({ "mode": "none", "group": "A" })),
                ("color", json!({ "mode": "fixed", "fixedColor": color })),
            ],
        )
    }

    /// At least this time from one point to the next, and at most so many points: for what takes Prometheus long.
    pub(super) fn coarse(mut self, interval: &'static str, points: u32) -> Self {
        self.fineness = Some((interval, points));
        self
    }

    pub(super) fn transformed(mut self, id: &str, options: Value) -> Self {
        self.transformations.push(json!({ "id": id, "options": options }));
        self
    }

    pub(super) fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let mut panel = json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "options": self.options,
        });
        if self.targets.is_empty() {
            return panel;
        }
        set(&mut panel, "datasource", datasource());
        set(&mut panel, "fieldConfig", json!({ "defaults": self.defaults, "overrides": self.overrides }));
        let targets: Vec<Value> = self.targets.iter().enumerate().map(|(i, target)| target.json(i)).collect();
        set(&mut panel, "targets", Value::from(targets));
        if let Some((interval, points)) = self.fineness {
            set(&mut panel, "interval", json!(interval));
            set(&mut panel, "maxDataPoints", json!(points));
        }
        if !self.transformations.is_empty() {
            set(&mut panel, "transformations", json!(self.transformations));
        }
        panel
    }
}

impl Target {
    fn json(&self, index: usize) -> Value {
        let instant = matches!(self.format, Format::Instant | Format::Table);
        let format = match self.format {
            Format::Range | Format::Instant => "time_series",
            Format::Table => "table",
            Format::Heatmap => "heatmap",
        };
        json!({
            "refId": reference(index),
            "datasource": datasource(),
            "editorMode": "code",
            "expr": self.expression,
            "format": format,
            "instant": instant,
            "range": !instant,
            "legendFormat": self.legend,
        })
    }
}

/// The name of the query at this place, as Grafana gives them: A, B, C.
pub(super) fn reference(index: usize) -> String {
    // No panel has more queries than the alphabet letters.
    char::from(b'A'.saturating_add(u8::try_from(index).unwrap_or(25).min(25))).to_string()
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Plans differ in what they measure, and a panel cannot tell that from nothing chosen.
const NO_SERIES: &str = "no data, or not measured on these hosts";

/// Lines over time.
pub(super) fn timeseries(title: &str, description: &str, unit: &str) -> Panel {
    let options = json!({
        "legend": { "calcs": ["max", "lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    let custom = json!({
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 10,
        "showPoints": "never", "spanNulls": false, "stacking": { "mode": "none", "group": "A" },
    });
    Panel::new("timeseries", title, description, options)
        .default("unit", json!(unit))
        .default("min", json!(0))
        .default("noValue", json!(NO_SERIES))
        .default("color", json!({ "mode": "palette-classic" }))
        .default("custom", custom)
}

/// Parts of a whole over time.
pub(super) fn stacked(title: &str, description: &str, unit: &str) -> Panel {
    let custom = json!({
        "drawStyle": "bars", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 60,
        "showPoints": "never", "spanNulls": false, "stacking": { "mode": "normal", "group": "A" },
    });
    timeseries(title, description, unit).default("custom", custom)
}

/// One large number.
pub(super) fn stat(title: &str, description: &str, unit: &str) -> Panel {
    let options = json!({
        "colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "percentChangeColorMode": "standard", "showPercentChange": false, "textMode": "auto", "wideLayout": true,
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
    });
    Panel::new("stat", title, description, options)
        .default("unit", json!(unit))
        .default("noValue", json!("not measured"))
        .default(
            "mappings",
            json!([{ "type": "special", "options": {
            "match": "null+nan", "result": { "text": "not measured", "color": "#8e9199", "index": 0 },
        } }]),
        )
        .size(4, 4)
}

/// One bar for each series, longest first if the query sorts them so.
pub(super) fn bar_gauge(title: &str, description: &str, unit: &str) -> Panel {
    let options = json!({
        "displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color",
        "namePlacement": "auto", "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
    });
    Panel::new("bargauge", title, description, options).default("unit", json!(unit)).default("min", json!(0))
}

/// How often which bucket of a histogram was hit, over time.
pub(super) fn heatmap(title: &str, description: &str, unit: &str) -> Panel {
    let options = json!({
        "calculate": false, "cellGap": 1, "showValue": "never",
        "color": {
            "mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "reverse": false,
            "scale": "exponential", "exponent": 0.5, "steps": 64,
        },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        "filterValues": { "le": 1e-9 },
        "legend": { "show": true },
        "rowsFrame": { "layout": "auto" },
        "tooltip": { "mode": "single", "showColorScale": true, "yHistogram": true },
        "yAxis": { "axisPlacement": "left", "reverse": false, "unit": unit },
    });
    Panel::new("heatmap", title, description, options)
        .default("unit", json!(unit))
        .default("noValue", json!(NO_SERIES))
}

/// Words.
pub(super) fn text(title: &str, description: &str, content: &str) -> Panel {
    Panel::new("text", title, description, json!({ "mode": "markdown", "content": content }))
}
