//! The conventions of Prometheus and of this project, as checks on every row.
use super::*;

#[track_caller]
fn check(rule: &str, holds: impl Fn(&Metric) -> bool) {
    let offenders: Vec<_> =
        CATALOGUE.iter().filter(|metric| !holds(metric)).map(|metric| metric.name).collect();
    assert!(offenders.is_empty(), "{rule}: {offenders:?}");
}

#[test]
fn every_name_has_the_prefix_but_for_the_process_family() {
    check("prefix", |metric| match metric.group {
        Group::Process => metric.name.starts_with("process_"),
        _ => metric.name.starts_with("tcp_backlog_"),
    });
}

#[test]
fn names_use_lower_case_letters_and_underscores_only() {
    check("characters", |metric| metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
}

#[test]
fn total_is_on_every_counter_and_on_nothing_else() {
    check("_total", |metric| metric.name.ends_with("_total") == (metric.kind == Kind::Counter));
}

#[test]
fn info_is_on_every_information_metric_and_on_nothing_else() {
    check("_info", |metric| metric.name.ends_with("_info") == (metric.kind == Kind::Info));
    check("labels", |metric| metric.kind != Kind::Info || !metric.labels.is_empty());
}

#[test]
fn a_name_ends_with_its_base_unit() {
    check("unit", |metric| {
        let stem = metric.name.trim_end_matches("_total");
        match metric.unit {
            Unit::Number => {
                [Unit::Seconds, Unit::Bytes, Unit::Ratio].iter().all(|unit| !stem.ends_with(unit.suffix()))
            }
            unit => stem.ends_with(unit.suffix()),
        }
    });
    let scaled = ["milli", "micro", "nano", "minute", "hour", "kilo", "mega", "percent"];
    check("base unit", |metric| !scaled.iter().any(|word| metric.name.contains(word)));
}

#[test]
fn every_name_is_unique() {
    check("unique", |metric| CATALOGUE.iter().filter(|other| other.name == metric.name).count() == 1);
}

#[test]
fn labels_are_in_their_fixed_order_without_repetition() {
    check("label order", |metric| metric.labels.is_sorted_by(|left, right| left < right));
}

#[test]
fn a_label_is_never_part_of_the_name() {
    check("stage in name", |metric| !metric.name.contains("stage"));
}

#[test]
fn groups_are_contiguous_and_in_the_order_of_the_documentation() {
    let position = |metric: &Metric| Group::ALL.iter().position(|group| *group == metric.group);
    assert!(CATALOGUE.is_sorted_by_key(position));
}

#[test]
fn identity_labels_follow_the_group() {
    check("identity", |metric| match metric.group {
        Group::Port => metric.labels.starts_with(PORT_LABELS),
        Group::Namespace => metric.labels.starts_with(&[Netns]),
        Group::Host | Group::Probe | Group::Process => !metric.labels.contains(&Netns),
    });
}

#[test]
fn every_help_is_one_paragraph_of_whole_sentences() {
    check("help", |metric| {
        metric.help.ends_with('.') && !metric.help.contains('\n') && !metric.help.contains("  ")
    });
}

#[test]
fn every_help_about_the_kernel_names_where_the_number_comes_from() {
    let sources = [
        "tcp_",
        "inet_",
        "cookie_",
        "reqsk_",
        "TcpExt",
        "sk_",
        "sock_diag",
        "/proc/",
        "uname",
        "BPF",
        "fentry",
        "__sys_listen",
    ];
    check("source", |metric| sources.iter().any(|source| metric.help.contains(source)));
}
