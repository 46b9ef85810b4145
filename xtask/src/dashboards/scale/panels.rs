//! What Grafana asks for a dashboard of the last hour on a full screen, and how long it waits for the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use super::super::board::Board;
use super::super::lint::{list_at, text_at};
use super::super::promql;
use super::{RANGE, http, stage};

/// The width of one of 24 columns on a screen of 1,920 pixels.
const COLUMN_PIXELS: u64 = 78;
/// The scrape interval, which the data source in Grafana knows.
const SCRAPE_INTERVAL: u64 = 15;
/// Steps of a graph that Grafana likes, in seconds.
const ROUND_STEPS: [u64; 10] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300];

/// A panel with queries.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) targets: Vec<Target>,
}

/// One query.
pub(super) struct Target {
    pub(super) expression: String,
    /// Seconds from one point of a graph to the next; `None`: the end of the range is enough.
    step: Option<u64>,
}

/// The panels of a dashboard that ask for something.
pub(super) fn of(board: &Board) -> Result<Vec<Panel>> {
    let json: Value = serde_json::from_str(&board.text()).context("dashboards: not JSON")?;
    let panels = list_at(&json, "/panels").iter().map(panel);
    Ok(panels.filter(|panel| !panel.targets.is_empty()).collect())
}

/// The metrics of graphs, and those that are counted over the whole range.
pub(super) fn with_past(panels: &[Panel]) -> Result<BTreeSet<String>> {
    let whole = format!("{}h", RANGE.as_secs() / 3600);
    let mut metrics = BTreeSet::new();
    for target in panels.iter().flat_map(|panel| &panel.targets) {
        let read =
            promql::read(&target.expression).map_err(|error| anyhow!("{}: {error}", target.expression))?;
        let asked = read.selectors.into_iter();
        let asked = asked.filter(|selector| target.step.is_some() || selector.range.as_ref() == Some(&whole));
        metrics.extend(asked.map(|selector| selector.metric));
    }
    Ok(metrics)
}

fn panel(panel: &Value) -> Panel {
    let width = panel.pointer("/gridPos/w").and_then(Value::as_u64).unwrap_or(24);
    let points = panel.pointer("/maxDataPoints").and_then(Value::as_u64).unwrap_or(width * COLUMN_PIXELS);
    let least = text_at(panel, "/interval").trim_end_matches('s').parse().unwrap_or(SCRAPE_INTERVAL);
    let step = step(points).max(least);
    let target = |target: &Value| {
        let over_time = target.pointer("/range").and_then(Value::as_bool).unwrap_or_default();
        let rate_interval = (step + SCRAPE_INTERVAL).max(4 * SCRAPE_INTERVAL);
        let expression = text_at(target, "/expr").replace("$__rate_interval", &format!("{rate_interval}s"));
        let expression = super::super::as_prometheus_gets_it(&expression);
        Target { expression, step: over_time.then_some(step) }
    };
    let targets = list_at(panel, "/targets").iter().map(target).collect();
    Panel { title: text_at(panel, "/title").to_owned(), targets }
}

/// The range by the points, rounded as Grafana does: to the nearest of its steps, half way between two to the larger one.
fn step(points: u64) -> u64 {
    let points = points.max(1);
    let pairs = ROUND_STEPS.windows(2);
    let mut fitting = pairs.filter_map(|pair| match pair {
        [low, high] if 2 * RANGE.as_secs() < (low + high) * points => Some(*low),
        _ => None,
    });
    fitting.next().unwrap_or(300)
}

impl Target {
    fn path(&self, now: u64) -> String {
        let query = crate::http::encoded(&self.expression);
        match self.step {
            None => format!("/api/v1/query?query={query}&time={now}"),
            Some(step) => {
                // Grafana begins at multiples of the step, so that graphs do not flicker.
                let end = now / step * step;
                let start = end - RANGE.as_secs();
                format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}")
            }
        }
    }
}

/// How long each query of each panel took, time and again; and how many series came.
#[derive(Default)]
pub(super) struct Times {
    of_targets: BTreeMap<(usize, usize), Vec<Duration>>,
    series: BTreeMap<usize, usize>,
}

/// The middle and the longest of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) median: Duration,
    pub(super) worst: Duration,
}

impl Times {
    /// Asks everything once, one after the other.
    pub(super) fn ask(&mut self, panels: &[Panel]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for (index, panel) in panels.iter().enumerate() {
            let mut series = 0;
            for (target_index, target) in panel.targets.iter().enumerate() {
                let began = Instant::now();
                let answer =
                    http::get(stage::PROMETHEUS, &target.path(now)).with_context(|| panel.title.clone())?;
                let took = began.elapsed();
                self.of_targets.entry((index, target_index)).or_default().push(took);
                let answer: Value =
                    serde_json::from_str(&answer).context("dashboards: no JSON from Prometheus")?;
                series += list_at(&answer, "/data/result").len();
            }
            self.series.insert(index, series);
        }
        Ok(())
    }

    /// The slowest query of a panel.
    pub(super) fn slowest(&self, panel: usize) -> Spread {
        let spreads = self.targets_of(panel).map(|times| spread(times.clone()));
        spreads.max_by_key(|spread| (spread.median, spread.worst)).unwrap_or_default()
    }

    /// All queries of a panel, one after the other.
    pub(super) fn whole(&self, panel: usize) -> Spread {
        let rounds = self.targets_of(panel).next().map_or(0, Vec::len);
        let sum = |round: usize| self.targets_of(panel).filter_map(|times| times.get(round)).sum();
        spread((0..rounds).map(sum).collect())
    }

    /// How many series or rows were the answer.
    pub(super) fn series(&self, panel: usize) -> usize {
        self.series.get(&panel).copied().unwrap_or_default()
    }

    fn targets_of(&self, panel: usize) -> impl Iterator<Item = &Vec<Duration>> {
        self.of_targets.range((panel, 0)..(panel + 1, 0)).map(|(_, times)| times)
    }
}

fn spread(mut times: Vec<Duration>) -> Spread {
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Spread { median, worst: times.last().copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_a_point_for_each_scrape_or_each_few() {
        assert_eq!((step(1_872), step(936), step(100), step(60)), (2, 5, 30, 60));
    }

    #[test]
    fn every_query_of_the_fleet_is_asked_without_variables() {
        let panels = of(&super::super::super::fleet::board()).unwrap();
        let targets: Vec<&Target> = panels.iter().flat_map(|panel| &panel.targets).collect();
        assert!(targets.len() > 20 && targets.iter().all(|target| !target.expression.contains('$')));
        let past = with_past(&panels).unwrap();
        assert!(
            past.contains("tcp_backlog_listen_drops_total") && !past.contains("tcp_backlog_advice"),
            "{past:?}"
        );
        let graph = targets.iter().find(|target| target.step.is_some()).unwrap();
        assert!(graph.path(7_200).contains("&start="), "{}", graph.path(7_200));
    }

    #[test]
    fn panels_are_as_slow_as_their_slowest_query_or_all_of_them() {
        let seconds = |values: [u64; 3]| values.map(Duration::from_secs).to_vec();
        let of_targets = BTreeMap::from([
            ((0, 0), seconds([1, 1, 9])),
            ((0, 1), seconds([3, 2, 4])),
            ((1, 0), seconds([7, 7, 7])),
        ]);
        let times = Times { of_targets, ..Times::default() };
        let of =
            |median, worst| Spread { median: Duration::from_secs(median), worst: Duration::from_secs(worst) };
        assert_eq!(times.slowest(0), of(3, 4));
        assert_eq!(times.whole(0), of(4, 13));
    }
}
