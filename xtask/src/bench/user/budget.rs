//! What the daemon may take: all budgets of the user side, in one place.

use super::probe::Figures as Probe;
use super::report::Figures;

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

/// A line for each figure that is above its budget.
pub(super) fn broken(figures: &Figures) -> Vec<String> {
    let mut lines = Vec::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_its_budget_is_named() {
        let probe = Probe { listeners: 100, map_bytes: 9 << 20, ..Probe::default() };
        let figures = Figures { probe: vec![probe], ..Figures::default() };
        assert_eq!(broken(&figures), ["100 listeners: kernel memory, MiB: 9.00, 8 are allowed"]);
        assert!(broken(&Figures::default()).is_empty());
    }
}
