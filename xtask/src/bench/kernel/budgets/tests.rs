//! Limits, and figures that rise.
use super::super::report::{Hook, Work};
use super::*;

const BY_HAND: &str = "# Why.\n\
    [tolerance]\npercent = 5\ninstructions = 30\nstart_percent = 10\n\n\
    [[limit]]\nwatcher = \"ours\"\nworkload = \"accepted\"\nat_most = 1.5\nof = \"one-liners\"\n\n\
    [[limit]]\nwatcher = \"ours\"\nworkload = \"accepted\"\nat_most = 0.5\nof = \"one-liners-per-kprobe\"\n\n\
    [[limit]]\nwatcher = \"ours\"\nworkload = \"syn_dropped\"\nat_most = 400\nof = \"instructions\"\n";

fn exactly(figure: f64) -> Spread {
    Spread { median: figure, lower_quartile: figure, upper_quartile: figure }
}

fn watched(name: &str, accepted: f64, dropped: f64) -> Watched {
    let extra = [("accepted", accepted), ("syn_dropped", dropped)];
    Watched {
        name: name.to_owned(),
        failed: None,
        ready: Some(exactly(2e9)),
        busy: Some(exactly(1e9)),
        extra: extra.map(|(workload, figure)| (workload.to_owned(), exactly(figure))).into(),
    }
}

/// The one-liner costs 1,000; our one program is verified in so many instructions and runs four times.
fn report(accepted: f64, dropped: f64, verified: u32) -> Report {
    let program = Program {
        watcher: "ours".to_owned(),
        id: 1,
        name: "kprobe_a".to_owned(),
        verified: Some(verified),
        translated_bytes: None,
        jited_bytes: 1,
    };
    let work = BTreeMap::from([(ACCEPTED.to_owned(), Work { runs: 4.0, instructions: 1.0 })]);
    Report {
        kernel: "6.1".to_owned(),
        watchers: vec![watched(ONE_LINER, 1000.0, 0.0), watched("ours", accepted, dropped)],
        hooks: vec![Hook { program, work }],
        ..Report::default()
    }
}

/// Those that were recorded of the first report.
fn budgets() -> Budgets {
    let recorded = BTreeMap::from([("6.1".to_owned(), recorded_of(&report(1000.0, 100.0, 200), &["ours"]))]);
    toml::from_str(&with_recorded(BY_HAND, &recorded).unwrap()).unwrap()
}

#[test]
fn what_is_recorded_keeps_what_is_written_by_hand() {
    let recorded = BTreeMap::from([("6.1".to_owned(), recorded_of(&report(1000.4, 100.0, 200), &["ours"]))]);
    let once = with_recorded(BY_HAND, &recorded).unwrap();
    assert!(once.starts_with(BY_HAND), "{once}");
    assert_eq!(with_recorded(&once, &recorded).unwrap(), once);
    let budgets: Budgets = toml::from_str(&once).unwrap();
    assert_eq!(budgets.recorded, recorded);
    assert_eq!(budgets.recorded["6.1"].extra["ours"]["accepted"], 1000);
    assert!(!budgets.recorded["6.1"].extra.contains_key(ONE_LINER));
}

#[test]
fn the_same_figures_are_within_the_budget() {
    assert_eq!(budgets().complaints(&report(1000.0, 100.0, 200)), [""; 0]);
    // 5 % and 30 instructions more.
    assert_eq!(budgets().complaints(&report(1079.0, 134.0, 209)), [""; 0]);
}

#[test]
fn a_limit_that_is_known_to_be_broken_is_told_until_it_is_met() {
    let known = BY_HAND.replace("at_most = 400\n", "at_most = 400\nnot_met_on = [\"6.1\"]\n");
    let recorded = BTreeMap::from([("6.1".to_owned(), Recorded::default())]);
    let check = |dropped: f64, expected_known: &[&str], expected: &[&str]| {
        let budgets: Budgets = toml::from_str(&with_recorded(&known, &recorded).unwrap()).unwrap();
        assert_eq!(budgets.known(&report(1000.0, dropped, 200)), expected_known);
        assert_eq!(budgets.complaints(&report(1000.0, dropped, 200)), expected);
    };
    check(450.0, &["6.1: not met yet: ours, syn_dropped: 450.00 instructions, 400 is the limit"], &[]);
    let met = "6.1: ours, syn_dropped: the limit 400 is met by now (remedy: take 6.1 out of not_met_on)";
    check(400.0, &[], &[met]);
}

#[test]
fn a_rise_names_kernel_watcher_and_workload() {
    let complaints = budgets().complaints(&report(1081.0, 100.0, 200));
    assert_eq!(complaints, ["6.1: ours, accepted: 1081 instructions, 1000 were recorded"]);
    let complaints = budgets().complaints(&report(1000.0, 100.0, 300));
    assert_eq!(complaints, ["6.1: ours, kprobe_a: the verifier walks through 300 instructions, not 200"]);
}

#[test]
fn a_slower_start_is_a_rise() {
    let complaints = |ready, busy| {
        let mut slow = report(1000.0, 100.0, 200);
        slow.watchers[1].ready = Some(exactly(ready));
        slow.watchers[1].busy = Some(exactly(busy));
        budgets().complaints(&slow)
    };
    assert_eq!(complaints(2e9, 1.2e9), ["6.1: ours: a start takes 1200 million instructions, not 1000"]);
    assert_eq!(complaints(2.5e9, 1e9), ["6.1: ours: a start takes 2500 ms, not 2000"]);
    assert_eq!(complaints(2.1e9, 1.05e9), [""; 0]);
}

#[test]
fn limits_hold_against_the_one_liner_of_the_same_boot() {
    let complaints = budgets().complaints(&report(2100.0, 500.0, 200)).join("\n");
    assert!(
        complaints.contains("ours, accepted: 2.10 times the one-liner, 1.5 is the limit"),
        "{complaints}"
    );
    assert!(complaints.contains("0.53 times the one-liner for each kprobe, 0.5"), "{complaints}");
    assert!(complaints.contains("ours, syn_dropped: 500.00 instructions, 400 is the limit"), "{complaints}");
}

#[test]
fn many_listeners_are_held_against_one() {
    let figures = [1, 100].map(|count| (growth_name(count), exactly(f64::from(count).mul_add(0.5, 600.0))));
    let watched = Watched { name: "ours".to_owned(), extra: figures.into(), ..Watched::default() };
    let report = Report { watchers: vec![watched], ..Report::default() };
    let (watcher, workload, not_met_on) = ("ours".to_owned(), growth_name(100), Vec::new());
    let limit = Limit { watcher, workload, at_most: 1.05, of: Measure::OneListeners, not_met_on };
    let expected = "ours, accepted, 100 listeners: 1.08 times that of one, 1.05 is the limit";
    assert_eq!(broken(&limit, &report).as_deref(), Some(expected));
}

#[test]
fn what_was_recorded_has_to_be_measured() {
    let mut missing = report(1000.0, 100.0, 200);
    missing.watchers.pop();
    let complaints = budgets().complaints(&missing);
    assert!(complaints.contains(&"6.1: ours, accepted: was not measured".to_owned()), "{complaints:?}");
    missing.kernel = "7.9".to_owned();
    assert_eq!(budgets().complaints(&missing), ["7.9: no figures are recorded (remedy: --record)"]);
}

#[test]
fn the_real_file_can_be_read() {
    let budgets = read().unwrap();
    assert_eq!(budgets.limits.len(), 6);
    assert!(budgets.tolerance.percent > 0.0);
}
