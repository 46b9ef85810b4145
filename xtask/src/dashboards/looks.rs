//! What columns and numbers look like, by what they mean.

use serde_json::{Value, json};

/// A property of a column, as Grafana names it.
pub(super) type Property = (&'static str, Value);

/// A unit of its own.
pub(super) fn unit(unit: &str) -> Property {
    ("unit", json!(unit))
}

/// No digits after the point.
pub(super) fn whole() -> Property {
    ("decimals", json!(0))
}

/// A coloured cell: green, and red from this value on.
pub(super) fn red_from(value: f64) -> Vec<Property> {
    let steps = json!([{ "color": "green", "value": null }, { "color": "red", "value": value }]);
    vec![("thresholds", json!({ "mode": "absolute", "steps": steps })), coloured()]
}

/// A bar in the cell, from empty to full.
pub(super) fn fill() -> Vec<Property> {
    vec![
        unit("percentunit"),
        ("min", json!(0)),
        ("max", json!(1)),
        ("thresholds", json!({ "mode": "absolute", "steps": fill_steps() })),
        ("color", json!({ "mode": "thresholds" })),
        ("custom.cellOptions", json!({ "type": "gauge", "mode": "basic", "valueDisplayMode": "text" })),
    ]
}

fn fill_steps() -> Value {
    let mut steps = vec![json!({ "color": "green", "value": null })];
    steps.extend(FILL.iter().map(|(value, color)| json!({ "color": color, "value": value })));
    Value::from(steps)
}

/// From where on a queue is nearly full, and full: the colours' limits.
pub(super) const FILL: [(f64, &str); 2] = [(0.7, "orange"), (1.0, "red")];

/// The words of a verdict's weight, in the colours of their meaning.
pub(super) fn severity() -> Vec<Property> {
    let word = |text: &str, color: &str, index: u8| json!({ "text": text, "color": color, "index": index });
    let options = json!({ "3": word("losing", "red", 0), "2": word("warning", "orange", 1), "1": word("notice", "blue", 2) });
    vec![("mappings", json!([{ "type": "value", "options": options }])), coloured(), width(110)]
}

/// So many pixels for a column whose words are short, for the sake of the others.
pub(super) fn width(pixels: u32) -> Property {
    ("custom.width", json!(pixels))
}

/// Yes is good, no is bad.
pub(super) fn yes_or_no() -> Vec<Property> {
    let word = |text: &str, color: &str, index: u8| json!({ "text": text, "color": color, "index": index });
    let options = json!({ "1": word("yes", "green", 0), "0": word("no", "red", 1) });
    vec![("mappings", json!([{ "type": "value", "options": options }])), coloured()]
}

fn coloured() -> Property {
    ("custom.cellOptions", json!({ "type": "color-background", "mode": "basic" }))
}
