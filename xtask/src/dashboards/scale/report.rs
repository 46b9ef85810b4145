//! The table, and whether it is good enough.

use std::time::Duration;

use anyhow::{Result, bail};

use super::panels::{Panel, Spread, Times};
use super::stage::Facts;

/// No panel may take longer, its queries one after the other, in the middle of some tries: whatever else this machine does is
/// in the worst of them.
const PATIENCE: Duration = Duration::from_secs(2);
/// What one host may cost.
const SERIES_LIMIT: f64 = 1_500.0;

/// Prints what was measured, as docs/PERFORMANCE.md has it; an error if it is too much.
pub(super) fn tell(panels: &[Panel], times: &Times, facts: &Facts) -> Result<()> {
    println!("\n| panel | queries | rows | slowest query, median | worst | whole panel, median | worst |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (index, panel) in panels.iter().enumerate() {
        let (slowest, whole) = (times.slowest(index), times.whole(index));
        let (queries, series) = (panel.targets.len(), times.series(index));
        println!("| {} | {queries} | {series} | {} | {} |", panel.title, cells(slowest), cells(whole));
    }
    let gigabytes = |bytes: f64| bytes / 1e9;
    println!("\nseries of one host: {}", facts.series_of_a_host);
    println!("series in Prometheus: {}, samples per second: {:.0}", facts.series, facts.samples_per_second);
    println!("hosts that are down: {}", facts.hosts_down);
    println!(
        "memory of Prometheus: {:.1} GB, at most {:.1} GB",
        gigabytes(facts.memory),
        gigabytes(facts.highest_memory)
    );
    facts.rules.iter().for_each(|(group, seconds)| println!("rules of {group}: {seconds:.2} s"));
    let whole = (0..panels.len()).map(|index| times.whole(index));
    judge(&whole.collect::<Vec<_>>(), facts.series_of_a_host)
}

fn cells(spread: Spread) -> String {
    format!("{} ms | {} ms", spread.median.as_millis(), spread.worst.as_millis())
}

fn judge(panels: &[Spread], series_of_a_host: f64) -> Result<()> {
    let slow = panels.iter().filter(|spread| spread.median > PATIENCE).count();
    if slow > 0 {
        bail!("dashboards: {slow} panels take more than {} s", PATIENCE.as_secs());
    }
    if series_of_a_host >= SERIES_LIMIT {
        bail!("dashboards: a host has {series_of_a_host} series, not fewer than {SERIES_LIMIT}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_panels_and_costly_hosts_are_failures() {
        let spread = |milliseconds| {
            let median = Duration::from_millis(milliseconds);
            Spread { median, worst: 2 * median }
        };
        assert!(judge(&[spread(10), spread(2_000)], 1_499.0).is_ok());
        assert!(judge(&[spread(10), spread(2_001)], 1_499.0).is_err());
        assert!(judge(&[spread(10)], 1_500.0).is_err());
    }
}
