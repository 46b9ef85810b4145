//! What the daemon may take: all budgets of the user side, in one place.

use super::flood;
use super::probe::Figures as Probe;
use super::report::Figures;
use super::simulated::Here;

/// Listeners at which a budget holds, what of, how much at most, and the unit that it is told in.
type Budget = (usize, &'static str, f64, fn(&Probe) -> f64);

const MEBIBYTE: f64 = 1_048_576.0;

/// Kernel memory is that of a host with two CPUs; `plan::sizes` has the formula beyond.
const BUDGETS: [Budget; 8] = [
    (1_000, "scrape, ms", 10.0, |probe| probe.scrape.median_milliseconds),
    (10_000, "scrape, ms", 60.0, |probe| probe.scrape.median_milliseconds),
    (100, "resident memory, MiB", 16.0, resident),
    (10_000, "resident memory, MiB", 48.0, resident),
    (100, "CPU without a scrape, %", 0.1, |probe| 100.0 * probe.cpu_idle),
    (100, "kernel memory, MiB", 8.0, |probe| probe.map_bytes as f64 / MEBIBYTE),
    (10_000, "kernel memory, MiB", 32.0, |probe| probe.map_bytes as f64 / MEBIBYTE),
    (100, "until ready, s", 3.0, |probe| probe.seconds_to_ready),
];

fn resident(probe: &Probe) -> f64 {
    probe.resident_kibibytes as f64 / 1024.0
}

/// So much more of a CPU the daemon may use in a flood than while one connection comes a second, for which it reads as often.
/// It is a third of what that takes on a machine that does nothing else. The interval has to be above it as a whole: where
/// compilers run besides, single turns differ by more.
const MOST_MORE_IN_A_FLOOD: f64 = 0.001;

/// What the kernel says of the maps may be so far from what the plan's formula says: it is exact for what grows.
const MOST_BESIDE_THE_FORMULA: u64 = 256 << 10;

/// A line for each figure that is above its budget.
pub(super) fn broken(figures: &Figures) -> Vec<String> {
    let mut lines = in_floods(&figures.flood);
    lines.extend(beside_the_formula(&figures.probe, &figures.simulated.here));
    for (listeners, what, most, of) in BUDGETS {
        for probe in figures.probe.iter().filter(|probe| probe.listeners == listeners) {
            let is = of(probe);
            if is > most {
                lines.push(format!("{listeners} listeners: {what}: {is:.2}, {most} are allowed"));
            }
        }
    }
    lines
}

fn in_floods(figures: &[flood::Figures]) -> Vec<String> {
    let Some(trickle) = figures.iter().find(|one| one.is_trickle()) else { return Vec::new() };
    let floods = figures.iter().filter(|one| one.is_flood());
    let line = |one: &flood::Figures| {
        let more = one.above(trickle)?.lower;
        let (what, per_second) = (one.kind.words(), one.per_second);
        let [more_percent, most] = [more, MOST_MORE_IN_A_FLOOD].map(|share| 100.0 * share);
        (more > MOST_MORE_IN_A_FLOOD).then(|| {
            format!(
                "{per_second:.0} {what} a second: {more_percent:.2} % of a CPU more than by a connection, \
                 {most} are allowed"
            )
        })
    };
    floods.filter_map(line).collect()
}

/// The figures of hosts with other numbers of CPUs are the formula's: it has to be right on this one.
fn beside_the_formula(probes: &[Probe], formula: &[Here]) -> Vec<String> {
    let pairs = probes.iter().filter_map(|probe| {
        let here = formula.iter().find(|here| here.listeners == probe.listeners)?;
        Some((probe, here))
    });
    let is_beside = |(probe, here): &(&Probe, &Here)| {
        probe.rows != here.rows || probe.map_bytes.abs_diff(here.map_bytes) > MOST_BESIDE_THE_FORMULA
    };
    let line = |(probe, here): (&Probe, &Here)| {
        format!(
            "{} listeners: {} rows and {} bytes of maps, plan::sizes says {} and {}",
            probe.listeners, probe.rows, probe.map_bytes, here.rows, here.map_bytes
        )
    };
    pairs.filter(is_beside).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::flood::Kind;
    use super::*;

    #[test]
    fn what_is_above_its_budget_is_named() {
        let probe = Probe { listeners: 100, map_bytes: 9 << 20, ..Probe::default() };
        let figures = Figures { probe: vec![probe], ..Figures::default() };
        assert_eq!(broken(&figures), ["100 listeners: kernel memory, MiB: 9.00, 8 are allowed"]);
        assert!(broken(&Figures::default()).is_empty());
    }

    #[test]
    fn a_flood_may_cost_what_a_connection_a_second_costs() {
        let check = |kind: Kind, cpu: [f64; 6], expected: &[&str]| {
            let figures =
                |kind, per_second, cpu: [f64; 6]| flood::Figures { kind, per_second, cpu: cpu.to_vec() };
            let all = vec![
                figures(Kind::Nothing, 0.0, [0.000_8; 6]),
                // The machine was slow the second time.
                figures(Kind::Connections, 1.0, [0.002_8, 0.008, 0.002_8, 0.002_8, 0.003, 0.002_8]),
                figures(kind, 20_000.0, cpu),
            ];
            assert_eq!(broken(&Figures { flood: all, ..Figures::default() }), expected);
        };
        let broken = "20000 SYNs that a full queue drops a second: 0.12 % of a CPU more than by a connection, \
                      0.1 are allowed";
        check(Kind::Dropped, [0.004, 0.009_2, 0.004, 0.004, 0.004_2, 0.02], &[broken]);
        check(Kind::Dropped, [0.02, 0.02, 0.02, 0.003_7, 0.02, 0.02], &[]);
        check(Kind::Connections, [0.1; 6], &[]);
    }

    #[test]
    fn a_formula_that_is_not_the_kernels_is_named() {
        let check = |rows: u64, map_bytes: u64, is_right: bool| {
            let probe = Probe { listeners: 10, rows, map_bytes, ..Probe::default() };
            let here = Here { listeners: 10, rows: 2_048, map_bytes: 5 << 20 };
            assert_eq!(beside_the_formula(&[probe], &[here]).is_empty(), is_right, "{rows} {map_bytes}");
        };
        check(2_048, (5 << 20) + 114_140, true);
        check(2_048, 4 << 20, false);
        check(2_048, 6 << 20, false);
        check(4_096, 5 << 20, false);
        assert!(beside_the_formula(&[Probe::default()], &[]).is_empty(), "nobody asked the formula");
    }
}
