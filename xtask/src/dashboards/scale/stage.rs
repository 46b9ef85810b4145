//! Prometheus with the rules of the repository, in a folder of its own, until it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::lint::{list_at, text_at};
use super::{farm, http};
use crate::setup::prometheus::Prometheus;
use crate::{processes, workspace};

pub(super) const PROMETHEUS: &str = "127.0.0.1:9090";
/// Prometheus keeps to it from then on.
const INTERVAL: Duration = Duration::from_secs(15);
const RULES: [&str; 2] = ["rules.yml", "alerts.yml"];

pub(super) struct Stage {
    prometheus: Child,
    folder: PathBuf,
    hosts: u32,
}

/// What Prometheus says of itself.
pub(super) struct Facts {
    pub(super) series_of_a_host: f64,
    pub(super) series: f64,
    pub(super) samples_per_second: f64,
    pub(super) memory: f64,
    pub(super) highest_memory: f64,
    /// Groups of rules with the seconds that their last evaluation took.
    pub(super) rules: Vec<(String, f64)>,
    pub(super) hosts_down: f64,
}

impl Stage {
    /// Starts it, with as much time as this for the first scrape of every host.
    pub(super) fn open(tools: &Prometheus, hosts: u32, first: Duration) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tcp-backlog-probe-scale-{}", std::process::id()));
        let advice = || format!("dashboards: cannot write {}", folder.display());
        fs::create_dir_all(&folder).with_context(advice)?;
        let started = prepare(&folder, hosts, first).and_then(|()| start(&tools.prometheus, &folder));
        match started {
            Ok(prometheus) => Ok(Self { prometheus, folder, hosts }),
            Err(error) => {
                // What is left only costs disk space.
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// From now on every host is scraped as the examples have it.
    pub(super) fn go_live(&self) -> Result<()> {
        write_configuration(&self.folder, self.hosts, INTERVAL, &RULES)?;
        http::post(PROMETHEUS, "/-/reload").map(drop)
    }

    /// The last line that Prometheus said, for a failure that nobody explains.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("prometheus.log")).unwrap_or_default();
        format!("prometheus: {}", log.lines().last().unwrap_or("nothing"))
    }

    pub(super) fn facts(&self) -> Result<Facts> {
        // The least of some scrapes: one that came late has two samples of each series.
        let of_a_host = "max(min_over_time(scrape_samples_post_metric_relabeling[1m]))";
        let status = fs::read_to_string(format!("/proc/{}/status", self.prometheus.id()))?;
        let head = http::get(PROMETHEUS, "/metrics")?;
        let head = |name: &str| number_after(&head, &format!("\n{name} "));
        Ok(Facts {
            series_of_a_host: number(of_a_host)?,
            series: head("prometheus_tsdb_head_series"),
            samples_per_second: number("sum(scrape_samples_scraped)")? / INTERVAL.as_secs_f64(),
            memory: 1024.0 * number_after(&status, "VmRSS:"),
            highest_memory: 1024.0 * number_after(&status, "VmHWM:"),
            rules: rules()?,
            hosts_down: number("count(up == 0) or vector(0)")?,
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is all we want.
        let _ = self.prometheus.kill();
        let _ = self.prometheus.wait();
        // What is left only costs disk space.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn prepare(folder: &Path, hosts: u32, interval: Duration) -> Result<()> {
    for name in RULES {
        fs::copy(workspace::root().join(super::super::rules::FOLDER).join(name), folder.join(name))
            .with_context(|| format!("dashboards: cannot copy {name}"))?;
    }
    // Rules look at the present, and there is none yet.
    write_configuration(folder, hosts, interval, &[])
}

fn write_configuration(folder: &Path, hosts: u32, interval: Duration, rules: &[&str]) -> Result<()> {
    // JSON is YAML.
    let text = format!("{:#}", configuration(hosts, interval, rules));
    fs::write(folder.join("prometheus.yml"), text).context("dashboards: cannot write prometheus.yml")
}

fn configuration(hosts: u32, interval: Duration, rules: &[&str]) -> Value {
    let host = |number: u32| {
        let labels = json!({
            "instance": format!("host{number:04}.example.org:10511"),
            "__metrics_path__": format!("/host/{number}/metrics"),
        });
        json!({ "targets": [farm::ADDRESS], "labels": labels })
    };
    let interval = format!("{}s", interval.as_secs());
    json!({
        "global": { "evaluation_interval": format!("{}s", INTERVAL.as_secs()) },
        "rule_files": rules,
        "scrape_configs": [{
            "job_name": "tcp-backlog-probe",
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "static_configs": (0..hosts).map(host).collect::<Vec<_>>(),
        }],
    })
}

fn start(program: &Path, folder: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg("--config.file=prometheus.yml").args(["--storage.tsdb.path=data", "--web.enable-lifecycle"]);
    command.arg(format!("--web.listen-address={PROMETHEUS}"));
    // What Prometheus 3 has by itself: less garbage for some more work.
    command.env("GOGC", "75");
    let mut command = processes::tied_to_this_process(command);
    let log = File::create(folder.join("prometheus.log"))?;
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("dashboards: cannot start prometheus")
}

/// The one value of an expression.
fn number(expression: &str) -> Result<f64> {
    let answer = http::get(PROMETHEUS, &format!("/api/v1/query?query={}", crate::http::encoded(expression)))?;
    let answer: Value = serde_json::from_str(&answer)?;
    text_at(&answer, "/data/result/0/value/1").parse().with_context(|| format!("no value of {expression}"))
}

fn rules() -> Result<Vec<(String, f64)>> {
    let answer: Value = serde_json::from_str(&http::get(PROMETHEUS, "/api/v1/rules")?)?;
    let seconds =
        |group: &Value| group.pointer("/evaluationTime").and_then(Value::as_f64).unwrap_or_default();
    let groups = list_at(&answer, "/data/groups").iter();
    Ok(groups.map(|group| (text_at(group, "/name").to_owned(), seconds(group))).collect())
}

/// The number that follows a word in a text, 0 where there is none.
fn number_after(text: &str, word: &str) -> f64 {
    let after = text.split_once(word).map_or("", |(_, after)| after);
    after.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_a_target_of_its_own() {
        let configuration = configuration(3, INTERVAL, &RULES);
        let targets = list_at(&configuration, "/scrape_configs/0/static_configs");
        assert_eq!(targets.len(), 3);
        assert_eq!(
            text_at(&configuration, "/scrape_configs/0/static_configs/2/labels/__metrics_path__"),
            "/host/2/metrics"
        );
    }

    #[test]
    fn numbers_are_found_after_their_names() {
        assert_eq!(number_after("VmHWM:\t   9 kB\nVmRSS:\t   7 kB\n", "VmRSS:"), 7.0);
        assert_eq!(number_after("\na 1.4e+06\n", "\na "), 1_400_000.0);
        assert_eq!(number_after("", "VmRSS:"), 0.0);
    }
}
