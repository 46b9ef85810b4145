//! What a made-up host says: an exposition of the daemon's own, with more ports and other numbers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::movement::{Movement, Mover, STEP};
use crate::dashboards::catalogue::Catalogue;

/// The port of the exposition that is multiplied.
const FIRST_PORT: u16 = 8080;
/// Of so many hosts one loses connections, at two of its ports.
const LOSING: u32 = 20;
/// Of so many hosts one cannot attach all hooks, and of so many none.
const TRACEPOINT: u32 = 20;
const WITHOUT_HOOKS: u32 = 100;
/// At most so many samples of one series are in an answer if no panel asks for its past: what rules look back on, and
/// a short gap.
const NEWEST_OF_RULES: usize = 48;
const NEWEST: usize = 4;

/// What the rules would have recorded in the past, of which the dashboard asks for an hour: its name, the metric whose
/// series it has, and which ports have one.
const RECORDED: [(&str, &str, Which); 3] = [
    ("port:tcp_backlog_refused:rate2m", "tcp_backlog_connections_refused_total", Which::Losing),
    ("port:tcp_backlog_established:busiest2m", "tcp_backlog_established_total", Which::Ten),
    ("port:tcp_backlog_accept_queue_fill:ratio", "tcp_backlog_accept_queue_limit", Which::All),
];

/// Which ports of a host.
#[derive(Clone, Copy)]
enum Which {
    All,
    Losing,
    Ten,
}

/// Who asks for the past.
pub(super) struct Asked {
    /// Metrics of which a panel shows the whole range.
    pub(super) by_panels: BTreeSet<String>,
    /// The rules, which look back for some minutes.
    pub(super) by_rules: String,
}

impl Asked {
    fn newest(&self, metric: &str) -> usize {
        if self.by_panels.contains(metric) {
            usize::MAX
        } else if self.by_rules.contains(metric) {
            NEWEST_OF_RULES
        } else {
            NEWEST
        }
    }
}

/// What is attached on a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Trampoline,
    Tracepoint,
    None,
}

/// The exposition, ready to be filled in.
pub(super) struct Template {
    families: Vec<Family>,
}

struct Family {
    /// HELP and TYPE.
    comments: String,
    metric: String,
    /// Which plans have it.
    plans: String,
    movement: Movement,
    /// At most so many samples are told at once.
    newest: usize,
    /// Rules record it from now on: there is only a past to tell.
    recorded: Option<Which>,
    /// Of the host, and of each port.
    lines: Vec<Line>,
}

struct Line {
    /// For each port, or once.
    ports: Option<Vec<(u32, String)>>,
    once: String,
    value: f64,
}

/// A host and the time since it was started.
pub(super) struct Host {
    pub(super) number: u32,
    /// When its daemon started, in milliseconds since the epoch.
    pub(super) started: i64,
}

impl Template {
    pub(super) fn parse(text: &str, catalogue: &Catalogue, ports: u16, asked: &Asked) -> Result<Self> {
        let mut families: Vec<Family> = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let metric = help.split(' ').next().unwrap_or_default().to_owned();
                families.push(family(line, metric, catalogue, asked));
                continue;
            }
            let family = families.last_mut().context("a sample before the first HELP")?;
            if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
                family.movement = Movement::of(kind, &family.metric);
                family.comments.push_str(line);
                family.comments.push('\n');
            } else {
                family.lines.push(Line::parse(line, ports)?);
            }
        }
        let recorded: Vec<Family> =
            RECORDED.iter().filter_map(|recorded| past_of(&families, *recorded)).collect();
        families.extend(recorded);
        Ok(Self { families })
    }

    /// The exposition at these times, in milliseconds since the epoch; the last is now. `first`: nobody has asked before.
    pub(super) fn write(&self, host: &Host, times: &[i64], first: bool) -> String {
        let plan = host.plan();
        let mut body = String::new();
        let told = |family: &&Family| family.is_in(plan) && (first || family.recorded.is_none());
        for family in self.families.iter().filter(told) {
            body.push_str(&family.comments);
            let times = times.split_at(times.len().saturating_sub(family.newest)).1;
            for line in &family.lines {
                match &line.ports {
                    None => family.write(&mut body, &line.once, line.value, host, None, times),
                    Some(names) => {
                        for (port, name) in names {
                            family.write(&mut body, name, line.value, host, Some(*port), times);
                        }
                    }
                }
            }
        }
        body
    }
}

/// A recorded metric, with the series of another one.
fn past_of(families: &[Family], (name, of, which): (&str, &str, Which)) -> Option<Family> {
    let source = families.iter().find(|family| family.metric == of)?;
    let renamed = |(port, series): &(u32, String)| (*port, series.replacen(of, name, 1));
    let line = |line: &Line| {
        let ports = line.ports.as_ref().map(|ports| ports.iter().map(renamed).collect());
        Line { ports, once: line.once.replacen(of, name, 1), value: 0.5 }
    };
    Some(Family {
        comments: String::new(),
        metric: name.to_owned(),
        plans: source.plans.clone(),
        movement: Movement::Constant,
        newest: usize::MAX,
        recorded: Some(which),
        lines: source.lines.iter().map(line).collect(),
    })
}

fn family(help: &str, metric: String, catalogue: &Catalogue, asked: &Asked) -> Family {
    Family {
        comments: format!("{help}\n"),
        plans: catalogue.plans_of(&metric).to_owned(),
        newest: asked.newest(&metric),
        metric,
        recorded: None,
        movement: Movement::Constant,
        lines: Vec::new(),
    }
}

impl Line {
    fn parse(line: &str, ports: u16) -> Result<Self> {
        let (series, value) = line.rsplit_once(' ').context("no sample")?;
        let value = value.parse().with_context(|| format!("no value: {line}"))?;
        let label = |port: u16| format!("port=\"{port}\"");
        let of_port = series.contains(&label(FIRST_PORT));
        let numbered =
            |offset| (u32::from(offset), series.replace(&label(FIRST_PORT), &label(FIRST_PORT + offset)));
        let names = of_port.then(|| (0..ports).map(numbered).collect());
        Ok(Self { ports: names, once: series.to_owned(), value })
    }
}

impl Family {
    fn is_in(&self, plan: Plan) -> bool {
        let everywhere = self.plans.contains("every host");
        match plan {
            Plan::Trampoline => true,
            Plan::Tracepoint => everywhere || self.plans.contains("tracepoint"),
            Plan::None => everywhere,
        }
    }

    fn write(
        &self,
        body: &mut String,
        series: &str,
        value: f64,
        host: &Host,
        port: Option<u32>,
        times: &[i64],
    ) {
        let mover = host.mover(port);
        let is_recorded = match self.recorded {
            None | Some(Which::All) => true,
            Some(Which::Losing) => mover.loses,
            Some(Which::Ten) => port.is_some_and(|port| port < 10),
        };
        if !is_recorded {
            return;
        }
        let Some((series, value)) = adapted(&self.metric, series, value, mover.loses, host) else {
            return;
        };
        for time in times {
            let value = match self.movement {
                // Everybody accepts.
                Movement::Moment => (time / 1000) as f64,
                movement => mover.value(movement, value, time - host.started),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(body, "{series} {value} {time}");
        }
    }
}

/// What is different where nothing is wrong: limits are the programs' own, and there is no advice.
fn adapted(metric: &str, series: &str, value: f64, loses: bool, host: &Host) -> Option<(String, f64)> {
    let method = match host.plan() {
        Plan::Trampoline => "kernel-counters",
        Plan::Tracepoint => "socket-drops",
        Plan::None => "none",
    };
    match metric {
        "port:tcp_backlog_accept_queue_fill:ratio" => Some((series.replace(",process=\"java\"", ""), value)),
        "tcp_backlog_advice" => loses.then(|| (series.to_owned(), value)),
        "tcp_backlog_backlog_bound_info" if !loses => {
            Some((series.replace("somaxconn", "application"), value))
        }
        "tcp_backlog_backlog_requested" if !loses => Some((series.to_owned(), 128.0)),
        "tcp_backlog_accounting_info" => Some((series.replace("kernel-counters", method), value)),
        "tcp_backlog_netns_audit_residual" => Some((series.to_owned(), 0.0)),
        "process_start_time_seconds" => Some((series.to_owned(), (host.started / 1000) as f64)),
        _ => Some((series.to_owned(), value)),
    }
}

impl Host {
    fn plan(&self) -> Plan {
        if self.number % WITHOUT_HOOKS == 13 {
            Plan::None
        } else if self.number % TRACEPOINT == 7 {
            Plan::Tracepoint
        } else {
            Plan::Trampoline
        }
    }

    fn mover(&self, port: Option<u32>) -> Mover {
        let seed = (self.number * 613 + port.map_or(0, |port| port + 1) * 7_919) % 100_003;
        let loses = self.number % LOSING == 3 || self.number % WITHOUT_HOOKS == 13;
        // A host as a whole is calm where nothing is lost.
        Mover { seed, loses: loses && port.is_none_or(|port| port % 10 == 4) }
    }

    /// When samples of the host are taken, after one time until another: not all hosts at once.
    pub(super) fn times(&self, after: i64, until: i64) -> Vec<i64> {
        let offset = i64::from(self.number) * 7_919 % STEP;
        let first = (after - offset).div_euclid(STEP) + 1;
        let last = (until - offset).div_euclid(STEP);
        (first..=last).map(|step| step * STEP + offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP tcp_backlog_a_total A.\n# TYPE tcp_backlog_a_total counter\n\
        tcp_backlog_a_total{netns=\"7\",port=\"8080\"} 600\n\
        # HELP process_open_fds Files.\n# TYPE process_open_fds gauge\nprocess_open_fds 31\n";

    fn asked(metrics: &[&str]) -> Asked {
        let by_panels = metrics.iter().map(|&metric| metric.to_owned()).collect();
        Asked { by_panels, by_rules: String::new() }
    }

    #[test]
    fn a_host_has_all_its_ports_and_the_past_of_what_is_asked_for() {
        let catalogue = super::super::super::catalogue::example();
        let template = Template::parse(TEXT, &catalogue, 2, &asked(&["tcp_backlog_a_total"])).unwrap();
        let host = Host { number: 0, started: 0 };
        let times = host.times(0, 600_000);
        assert_eq!(times.len(), 40);
        let body = template.write(&host, &times, true);
        assert_eq!(body.lines().filter(|line| line.contains("port=\"8081\"")).count(), 40);
        assert_eq!(body.lines().filter(|line| line.starts_with("process_open_fds ")).count(), NEWEST);
        assert!(body.ends_with("process_open_fds 31 600000\n"), "{body}");
    }

    #[test]
    fn plans_have_what_the_catalogue_says() {
        let catalogue = super::super::super::catalogue::example();
        let text = TEXT.replace("tcp_backlog_a_total", "tcp_backlog_peak");
        let template = Template::parse(&text, &catalogue, 1, &asked(&[])).unwrap();
        let body = |number| template.write(&Host { number, started: 0 }, &[600_000], true);
        assert!(body(0).contains("tcp_backlog_peak{"));
        assert!(!body(7).contains("tcp_backlog_peak") && body(7).contains("process_open_fds"));
    }

    #[test]
    fn times_are_on_a_grid_of_the_hosts_own() {
        let host = Host { number: 5, started: 0 };
        let times = host.times(100_000, 160_000);
        assert_eq!(times.len(), 4);
        assert_eq!(host.times(*times.last().unwrap(), 160_000), Vec::<i64>::new());
    }
}
