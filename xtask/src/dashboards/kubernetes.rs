//! What Kubernetes gets of Prometheus' rules and of Grafana's dashboards: the same texts, wrapped in its own objects.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{boards, rules};
use crate::workspace;

const FOLDER: &str = "dashboards/kubernetes";
const RULES: [&str; 2] = ["rules.yml", "alerts.yml"];
const GENERATED: &str = "# Written by `cargo xtask dashboards write`: edit its sources.\n";

/// By these Prometheus finds rules in the manifests of kube-prometheus.
const RULE_LABELS: &str =
    "    app.kubernetes.io/name: tcp-backlog-probe\n    prometheus: k8s\n    role: alert-rules\n";
/// By these Grafana's sidecar finds dashboards, and the folder to show them in.
const DASHBOARD_LABELS: &str =
    "    app.kubernetes.io/name: tcp-backlog-probe\n    grafana_dashboard: \"1\"\n";
const DASHBOARD_ANNOTATIONS: &str = "    grafana_folder: TCP backlog\n";

/// The files that are made of others, with what is to be in them.
pub(super) fn files() -> Result<Vec<(PathBuf, String)>> {
    let path = |name: &str| Path::new(FOLDER).join(name);
    let dashboards: String = boards().iter().map(|board| config_map(board.name, &board.text())).collect();
    Ok(vec![
        (path("prometheus-rule.yaml"), prometheus_rule()?),
        (path("dashboards.yaml"), format!("{GENERATED}{dashboards}")),
    ])
}

fn prometheus_rule() -> Result<String> {
    let mut text = format!(
        "{GENERATED}apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: tcp-backlog-probe\n  labels:\n{RULE_LABELS}spec:\n  groups:\n"
    );
    for name in RULES {
        let path = workspace::root().join(rules::FOLDER).join(name);
        let source = fs::read_to_string(&path)
            .with_context(|| format!("dashboards: cannot read {}", path.display()))?;
        let (_, groups) = source
            .split_once("\ngroups:\n")
            .with_context(|| format!("dashboards: {name} has no line `groups:`"))?;
        text.push_str(&indented(groups, 2));
    }
    Ok(text)
}

fn config_map(name: &str, content: &str) -> String {
    let content = indented(content, 4);
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: tcp-backlog-probe-{name}\n  labels:\n{DASHBOARD_LABELS}  annotations:\n{DASHBOARD_ANNOTATIONS}data:\n  tcp-backlog-{name}.json: |\n{content}"
    )
}

/// Deeper in YAML, which leaves texts over several lines as they are.
fn indented(text: &str, spaces: usize) -> String {
    let margin = " ".repeat(spaces);
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{margin}{line}\n") };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_moved_without_trailing_spaces() {
        assert_eq!(indented("- a: |\n    b\n\n  c\n", 2), "  - a: |\n      b\n\n    c\n");
    }

    #[test]
    fn every_rule_and_every_dashboard_is_in_a_manifest() {
        let files = files().unwrap();
        let [(_, rule), (_, dashboards)] = files.as_slice() else { panic!("two files") };
        let sources =
            RULES.map(|name| fs::read_to_string(workspace::root().join(rules::FOLDER).join(name)).unwrap());
        for line in sources.iter().flat_map(|source| source.lines()).filter(|line| line.starts_with("      "))
        {
            assert!(rule.contains(&format!("\n  {line}\n")), "{line}");
        }
        assert_eq!(dashboards.matches("kind: ConfigMap").count(), boards().len());
        for board in boards() {
            let json = dashboards.split_once(&format!("tcp-backlog-{}.json: |\n", board.name)).unwrap().1;
            let json = json.split("\n---\n").next().unwrap();
            let json: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(json, serde_json::from_str::<serde_json::Value>(&board.text()).unwrap());
        }
    }

    /// The API server takes no ConfigMap above a mebibyte.
    #[test]
    fn dashboards_fit_into_config_maps() {
        assert!(boards().iter().all(|board| board.text().len() < 1 << 19));
    }
}
