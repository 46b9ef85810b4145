//! The real programs with the files of the repository, in a folder of their own, until they are dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::processes::{self, Kept};
use crate::setup::prometheus::Prometheus;
use crate::workspace;

/// Where everybody listens: nobody else is in the network namespace.
pub(super) const PROMETHEUS: &str = "127.0.0.1:9090";
pub(super) const ALERTMANAGER: &str = "127.0.0.1:9093";
pub(super) const DAEMON: &str = "127.0.0.1:10511";
/// As dashboards/prometheus/alertmanager.yml has it.
pub(super) const WEBHOOK: &str = "127.0.0.1:9099";

const FILES: [&str; 4] = ["rules.yml", "alerts.yml", "prometheus.yml", "alertmanager.yml"];

/// What makes ten minutes one, and 15 seconds two.
const FASTER: [(&str, &str); 9] = [
    ("[10m]", "[60s]"),
    ("offset 10m", "offset 60s"),
    ("< 600", "< 60"),
    ("interval: 1m", "interval: 2s"),
    ("scrape_interval: 15s", "scrape_interval: 2s"),
    ("evaluation_interval: 15s", "evaluation_interval: 2s"),
    ("group_wait: 10s", "group_wait: 1s"),
    ("group_wait: 30s", "group_wait: 1s"),
    ("group_interval: 5m", "group_interval: 5s"),
];

/// Other ports of the host may lose connections meanwhile: each is told by itself.
const GROUPS: (&str, &str) = ("group_by: [alertname, job, instance]", "group_by: ['...']");

/// The programs and their folder; both are gone when it is dropped.
pub(super) struct Stage {
    running: Vec<Kept>,
    folder: PathBuf,
}

impl Stage {
    /// Starts all of it. `in_real_time`: with the windows and intervals of the repository's files.
    pub(super) fn open(tools: &Prometheus, daemon: &Path, in_real_time: bool) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tcp-backlog-probe-alerts-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("dashboards: cannot write {}", folder.display()))?;
        let mut stage = Self { running: Vec::new(), folder };
        stage.write_files(in_real_time)?;
        let mut watch = Command::new(daemon);
        watch.args(["run", "--listen", DAEMON]);
        stage.start("daemon", watch)?;
        let mut prometheus = Command::new(&tools.prometheus);
        prometheus.arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
        prometheus.arg(format!("--web.listen-address={PROMETHEUS}"));
        stage.start("prometheus", prometheus)?;
        let mut alertmanager = Command::new(&tools.alertmanager);
        alertmanager.args(["--config.file=alertmanager.yml", "--storage.path=notes"]);
        alertmanager.arg(format!("--web.listen-address={ALERTMANAGER}")).arg("--cluster.listen-address=");
        stage.start("alertmanager", alertmanager)?;
        Ok(stage)
    }

    fn write_files(&self, in_real_time: bool) -> Result<()> {
        for name in FILES {
            let path = workspace::root().join(super::super::rules::FOLDER).join(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("dashboards: cannot read {}", path.display()))?;
            let text = prepared(&text, in_real_time);
            ensure!(
                name != "alertmanager.yml" || text.contains(GROUPS.1),
                "dashboards: {name} has no `{}`",
                GROUPS.0
            );
            fs::write(self.folder.join(name), text)?;
        }
        Ok(())
    }

    fn start(&mut self, name: &str, command: Command) -> Result<()> {
        let mut command = processes::tied_to_this_process(command);
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("dashboards: cannot start {name}"))?;
        self.running.push(Kept(child));
        Ok(())
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last line that each program said, for a failure that nobody explains.
    pub(super) fn last_words(&self) -> String {
        let names = ["daemon", "prometheus", "alertmanager"];
        let last = names.map(|name| {
            let text = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            format!("{name}: {}", text.lines().last().unwrap_or("nothing"))
        });
        last.join("\n")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.running.clear();
        // What is left only costs disk space.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn prepared(text: &str, in_real_time: bool) -> String {
    let text = text.replace(GROUPS.0, GROUPS.1);
    if in_real_time {
        return text;
    }
    FASTER.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_when_windows_get_shorter() {
        let rules = "record: a:b:increase10m\nexpr: increase(a:b:sum[10m]) unless a offset 10m";
        let faster = "record: a:b:increase10m\nexpr: increase(a:b:sum[60s]) unless a offset 60s";
        assert_eq!(prepared(rules, false), faster);
        assert_eq!(prepared(rules, true), rules);
    }
}
