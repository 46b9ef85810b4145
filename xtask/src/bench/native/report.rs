//! The figures as a table and as JSON in `target/bench/native.json`, and what they say.

use anyhow::Result;
use serde_json::json;

use super::rounds::{Compared, Figures, Verdict};
use super::{Arguments, Run};
use crate::bench::spread::Interval;
use crate::bench::{stage, table};

/// A connection that is opened, accepted and reset, and nothing else, may take so many times the CPU time that it takes
/// unwatched. The interval has to be above that as a whole before it is said to be broken.
const MOST_CPU: f64 = 1.10;

pub(super) fn tell(figures: &Figures, run: &Run, arguments: &Arguments) -> Result<()> {
    println!("{}", table::text(&rows(figures, arguments.widest), arguments.common.style()));
    println!("\nThe daemon's own: {:.2} µs of CPU time per connection.", figures.cpu_of_the_daemon);
    println!(
        "Its programs, by the kernel's statistics: {:.2} µs per connection ({}).",
        run.programs.microseconds, run.programs.accounting
    );
    println!(
        "{} rounds, {} threads; {} more were left out because a connection waited for a timer of the kernel.",
        figures.rounds, run.threads, figures.disturbed
    );
    if leaves_softirqs_out(figures) {
        println!(
            "This kernel leaves softirqs out of a thread's CPU time: go by connections that nothing interrupts."
        );
    }
    let document = json!({ "machine": stage::machine(), "run": run, "figures": figures });
    stage::write_figures("native", &document)
}

/// With CONFIG_IRQ_TIME_ACCOUNTING the time in which packets are received is no thread's, and it is there that programs run.
/// It is a third of a connection's at least, and an undisturbed one is on a processor all the time.
fn leaves_softirqs_out(figures: &Figures) -> bool {
    figures.cpu.without < 0.8 * figures.undisturbed.without
}

fn rows(figures: &Figures, widest: f64) -> Vec<Vec<String>> {
    let row = |what: &str, compared: &Compared, digits: usize| {
        let number = |number: f64| format!("{number:.digits$}");
        let verdict = Verdict::of(compared.ratio, widest).words().to_owned();
        vec![what.to_owned(), number(compared.without), number(compared.with), words(compared.ratio), verdict]
    };
    let head = ["", "without", "with", "ratio (95 %)", ""];
    let nothing = figures.cpu_of_nothing;
    let verdict = Verdict::of(nothing, widest).words();
    let of_nothing = ["CPU time, second slice without / first", "", "", &words(nothing), verdict];
    vec![
        head.map(str::to_owned).to_vec(),
        row("connections per second", &figures.rate, 0),
        row("a connection that nothing interrupts, µs", &figures.undisturbed, 2),
        row("CPU time of a connection, µs", &figures.cpu, 2),
        of_nothing.map(str::to_owned).to_vec(),
    ]
}

fn words(ratio: Option<Interval>) -> String {
    ratio.map_or_else(
        || "too few rounds".to_owned(),
        |ratio| format!("{:.3} ({:.3}..{:.3})", ratio.middle, ratio.lower, ratio.upper),
    )
}

/// A line for what is not as it should be. Only CPU time has a budget: connections per second are also what else the
/// machine does.
pub(super) fn complaints(figures: &Figures, widest: f64) -> Vec<String> {
    let ratio = figures.cpu.ratio;
    if Verdict::of(ratio, widest) == Verdict::Unknown {
        let advice = "more --rounds, or a machine that does less besides";
        return vec![format!(
            "CPU time of a connection: {}: nothing can be concluded ({advice})",
            words(ratio)
        )];
    }
    let broken = ratio.filter(|ratio| ratio.lower > MOST_CPU);
    let line = |_| format!("CPU time of a connection: {} times, {MOST_CPU} are allowed", words(ratio));
    broken.map(line).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_dear_or_unknown_is_said() {
        let check = |ratio: Option<(f64, f64)>, expected: &str| {
            let interval = |(lower, upper)| Interval { lower, middle: upper, upper };
            let cpu = Compared { ratio: ratio.map(interval), ..Compared::default() };
            let figures = Figures { cpu, ..Figures::default() };
            let complaints = complaints(&figures, 0.1).join("\n");
            assert!(
                complaints.contains(expected) && complaints.is_empty() == expected.is_empty(),
                "{complaints}"
            );
        };
        check(None, "too few rounds: nothing can be concluded");
        check(Some((0.9, 1.2)), "nothing can be concluded");
        check(Some((1.11, 1.15)), "1.150 (1.110..1.150) times, 1.1 are allowed");
        check(Some((1.09, 1.15)), "");
        check(Some((0.99, 1.01)), "");
    }

    #[test]
    fn a_thread_that_is_charged_too_little_shows() {
        let check = |cpu: f64, undisturbed: f64, expected: bool| {
            let compared = |without| Compared { without, ..Compared::default() };
            let figures =
                Figures { cpu: compared(cpu), undisturbed: compared(undisturbed), ..Figures::default() };
            assert_eq!(leaves_softirqs_out(&figures), expected, "{cpu} {undisturbed}");
        };
        check(38.4, 36.5, false);
        check(36.0, 38.0, false);
        check(20.0, 36.5, true);
    }
}
