//! Every renderer against its golden files, and what must hold for any model at all.
//!
//! `UPDATE_GOLDEN=1 cargo test --test renderers` rewrites the golden files: read the difference
//! before you commit it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints spare test functions, but not the functions that tests call"
)]

#[path = "renderers/advice.rs"]
mod advice;
#[path = "renderers/arbitrary.rs"]
mod arbitrary;
#[path = "renderers/busy.rs"]
mod busy;
#[path = "renderers/exposition.rs"]
mod exposition;
#[path = "renderers/full_host.rs"]
mod full_host;
#[path = "renderers/methods.rs"]
mod methods;
#[path = "renderers/models.rs"]
mod models;
#[path = "renderers/top.rs"]
mod top;

use std::{collections::BTreeSet, env, fs, path::Path, sync::LazyLock};

use proptest::prelude::*;
use tcp_backlog_probe::{
    metrics::{Kind, Metric, catalogue::CATALOGUE},
    model::{Handshakes, Model, Namespace, Port, SynDropped, advice::Diagnosis},
    plan::outcome::Accounting,
    render::{
        BuildInfo, check,
        doctor::{self, Colour},
        json, markdown, prometheus, proof, table,
    },
};

use self::exposition::{Family, Sample};

/// Compares with a file, named from `tests/golden`, or writes it when asked to.
#[track_caller]
fn check_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{} is out of date; UPDATE_GOLDEN=1 rewrites it. Now it would be:\n{actual}",
        path.display()
    );
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn exposition_of(model: &Model) -> String {
    text(|writer| prometheus::write(model, &models::build(), writer))
}

fn parsed(model: &Model) -> Vec<Family> {
    let text = exposition_of(model);
    exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[track_caller]
fn check_every_format(name: &str, model: &Model) {
    let build = models::build();
    check_golden(&format!("{name}.prom"), &exposition_of(model));
    check_golden(&format!("{name}.json"), &text(|writer| json::write(model, &build, writer)));
    let table = text(|writer| table::write(model, writer));
    assert!(table.lines().all(|line| line.chars().count() <= 100), "wider than a terminal:\n{table}");
    check_golden(&format!("{name}.table.txt"), &table);
    check_golden(
        &format!("{name}.check.txt"),
        &text(|writer| check::write(model, &models::own_audit(model), &build, "auto", writer)),
    );
}

/// The documented schema, as a reader of the JSON would use it.
fn check_schema(json: &str) -> Result<(), String> {
    const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/snapshot.schema.json");
    static COMPILED: LazyLock<(boon::Schemas, boon::SchemaIndex)> = LazyLock::new(|| {
        let mut schemas = boon::Schemas::new();
        let index = boon::Compiler::new().compile(SCHEMA, &mut schemas).unwrap();
        (schemas, index)
    });
    let (schemas, index) = &*COMPILED;
    let instance = serde_json::from_str(json).unwrap();
    schemas.validate(&instance, *index).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_documented_schema_refuses_what_no_snapshot_is() {
    let snapshot = text(|writer| json::write(&models::trampoline(), &models::build(), writer));
    check_schema(&snapshot).unwrap();
    for (right, wrong) in [
        ("\"version\": 1", "\"version\": \"one\""),
        ("\"ports\": [", "\"port\": ["),
        ("\"established\": 52", "\"established\": -1"),
        ("\"kernel-counters\"", "\"guessing\""),
    ] {
        assert!(snapshot.contains(right), "{right}");
        assert!(check_schema(&snapshot.replacen(right, wrong, 1)).is_err(), "{wrong}");
    }
}

#[test]
fn a_host_with_trampolines_is_shown_whole() {
    check_every_format("trampoline", &models::trampoline());
}

#[test]
fn a_hardened_host_with_tracepoints_shows_what_it_can() {
    check_every_format("tracepoint", &models::tracepoint());
}

#[test]
fn a_host_without_bpf_still_shows_what_sock_diag_and_proc_give() {
    check_every_format("without_bpf", &models::without_bpf());
}

#[test]
fn a_proof_shows_every_counter_and_says_what_is_wrong() {
    let proof = models::proof();
    check_golden("proof.txt", &text(|writer| proof::write(&proof, Accounting::SocketDrops, writer)));
    check_golden("proof.json", &text(|writer| proof::write_json(&proof, writer)));
}

#[test]
fn a_diagnosis_is_told_worst_first_in_a_hundred_columns() {
    let check = |name: &str, diagnosis: &Diagnosis| {
        let report = text(|writer| doctor::write(diagnosis, Colour::None, writer));
        assert!(report.lines().all(|line| line.chars().count() <= 100), "wider than a terminal:\n{report}");
        check_golden(&format!("{name}.doctor.txt"), &report);
        let json = text(|writer| doctor::write_json(diagnosis, writer));
        check_golden(&format!("{name}.doctor.json"), &json);
        assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), *diagnosis);
    };
    check("losing", &advice::diagnosis());
    check("healthy", &advice::healthy());
}

#[test]
fn colours_are_for_terminals_and_change_nothing_else() {
    let report = |colour| text(|writer| doctor::write(&advice::diagnosis(), colour, writer));
    let (plain, coloured) = (report(Colour::None), report(Colour::Ansi));
    assert!(!plain.contains('\x1b') && coloured.contains("\x1b[1;31m"), "{coloured:?}");
    let codes = ["\x1b[0m", "\x1b[1m", "\x1b[1;31m", "\x1b[1;33m"];
    let uncoloured = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(uncoloured, plain);
}

#[test]
fn the_published_metrics_page_is_the_one_that_the_catalogue_makes() {
    check_golden("../../../docs/METRICS.md", &text(markdown::write));
}

#[test]
fn a_closed_port_has_no_queue_but_a_port_that_nobody_could_look_at_has_no_listener_count_either() {
    let text = exposition_of(&models::tracepoint());
    let closed =
        r#"tcp_backlog_listeners{netns="4026531840",address="127.0.0.1",port="9000",process="php-fpm"} 0"#;
    assert!(text.contains(closed), "{text}");
    for line in text.lines().filter(|line| line.contains(r#"netns="4026532199""#)) {
        assert!(!line.starts_with("tcp_backlog_listeners"), "{line}");
    }
}

#[test]
fn a_count_past_the_precision_of_floats_is_the_nearest_float() {
    let mut model = models::trampoline();
    model.losses.insert("listener_map_full".to_owned(), u64::MAX);
    let lost = parsed(&model);
    let lost = lost.iter().find(|family| family.name == "tcp_backlog_lost_events_total").unwrap();
    let full = lost.samples.iter().find(|sample| sample.value > 1.0).unwrap();
    assert_eq!(full.value, u64::MAX as f64);
}

/// The sample lines of a family that have the identity.
fn find<'a>(families: &'a [Family], name: &str, identity: &[(&str, String)]) -> Vec<&'a Sample> {
    let family = families.iter().filter(|family| family.name == name);
    family.flat_map(|family| &family.samples).filter(|sample| sample.has(identity)).collect()
}

fn check_against_catalogue(family: &Family) -> Result<(), TestCaseError> {
    let metric: &Metric = CATALOGUE
        .iter()
        .find(|metric| metric.name == family.name)
        .ok_or_else(|| TestCaseError::fail(format!("{} is not catalogued", family.name)))?;
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    prop_assert_eq!(&family.kind, kind);
    prop_assert_eq!(&family.help, metric.help);
    for sample in &family.samples {
        let names = sample.labels.iter().map(|(name, _)| name.as_str());
        // The bound of a bucket is no label of the metric.
        let labels: Vec<_> = names.filter(|name| *name != "le").collect();
        let expected: Vec<_> = metric.labels.iter().map(|label| label.name()).collect();
        prop_assert_eq!(labels, expected);
        prop_assert!(metric.kind != Kind::Info || sample.value == 1.0);
    }
    Ok(())
}

fn check_port_numbers(model: &Model, families: &[Family]) -> Result<(), TestCaseError> {
    for port in &model.ports {
        let identity = [
            ("netns", port.id.netns.to_string()),
            ("address", port.id.address.to_string()),
            ("port", port.id.port.to_string()),
            ("process", port.process.as_deref().unwrap_or_default().to_owned()),
        ];
        let exposed = model.exposed(port);
        let open = exposed.is_some() && !port.listeners.is_empty();
        if exposed.is_some() {
            check_owner(port, identity.get(..3).unwrap_or_default(), families)?;
        }
        // A port without series of its own is in none.
        let nothing = Handshakes::default();
        let counts = exposed.map_or(&nothing, |(handshakes, _)| handshakes);
        for (name, count) in [
            ("tcp_backlog_syn_received_total", counts.syn_received),
            ("tcp_backlog_syn_queued_total", counts.syn_queued),
            ("tcp_backlog_last_ack_received_total", counts.last_ack_received),
            ("tcp_backlog_syncookies_sent_total", counts.syncookies_sent),
            ("tcp_backlog_requests_expired_total", counts.requests_expired),
            ("tcp_backlog_connections_refused_total", counts.connections_refused),
            ("tcp_backlog_established_total", counts.established),
            ("tcp_backlog_synack_retransmits_total", counts.synack_retransmits),
            ("tcp_backlog_listen_drops_total", counts.listen_drops),
        ] {
            let found: Vec<_> =
                find(families, name, &identity).into_iter().map(|sample| sample.value).collect();
            let expected: Vec<_> = count.into_iter().map(|count| count as f64).collect();
            prop_assert_eq!(found, expected, "{} of {:?}", name, port.id);
        }
        check_parts(counts, &identity, families)?;
        check_queues(port, open, &identity, families)?;
    }
    Ok(())
}

/// The lengths and limits of an open port with series of its own.
fn check_queues(
    port: &Port,
    open: bool,
    identity: &[(&str, String)],
    families: &[Family],
) -> Result<(), TestCaseError> {
    let limit: u64 = port.listeners.iter().map(|one| u64::from(one.accept_queue_limit)).sum();
    for (name, queue) in [
        ("tcp_backlog_accept_queue_limit", Some(limit)),
        ("tcp_backlog_syn_queue_limit", Some(limit)),
        ("tcp_backlog_syn_queue_length", port.syn_queue_length),
    ] {
        let found: Vec<_> = find(families, name, identity).iter().map(|sample| sample.value).collect();
        let expected: Vec<_> = queue.into_iter().filter(|_| open).map(|queue| queue as f64).collect();
        prop_assert_eq!(found, expected, "{} of {:?}", name, port.id);
    }
    Ok(())
}

/// At most one owner of a port is shown: that with the lowest number.
fn check_owner(port: &Port, identity: &[(&str, String)], families: &[Family]) -> Result<(), TestCaseError> {
    let shown = find(families, "tcp_backlog_port_owner_info", identity);
    let owners = port.listeners.iter().filter_map(|listener| listener.owner.as_deref());
    let lowest = owners.min_by_key(|owner| owner.pid);
    prop_assert_eq!(shown.len(), usize::from(lowest.is_some()));
    for (sample, owner) in shown.into_iter().zip(lowest) {
        let unit = owner.unit.as_deref().unwrap_or_default();
        prop_assert_eq!((sample.label("process"), sample.label("unit")), (Some(&*owner.process), Some(unit)));
    }
    Ok(())
}

/// The counters that have a number for each cause or stage.
fn check_parts(
    counts: &Handshakes,
    identity: &[(&str, String)],
    families: &[Family],
) -> Result<(), TestCaseError> {
    let SynDropped { accept_queue_full, syn_queue_full, syn_backlog_reserve, other } = counts.syn_dropped;
    let (refused, overflows) = (counts.last_ack_refused, counts.accept_queue_overflows);
    for (name, parts) in [
        ("tcp_backlog_accept_queue_overflows_total", vec![overflows.syn, overflows.ack, overflows.undivided]),
        (
            "tcp_backlog_syn_dropped_total",
            vec![accept_queue_full, syn_queue_full, syn_backlog_reserve, other],
        ),
        (
            "tcp_backlog_last_ack_refused_total",
            vec![refused.accept_queue_full, refused.other, refused.undivided],
        ),
    ] {
        let found: Vec<_> = find(families, name, identity).iter().map(|sample| sample.value).collect();
        let expected: Vec<_> = parts.into_iter().flatten().map(|count| count as f64).collect();
        prop_assert_eq!(found, expected, "{} of {:?}", name, identity);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_model_gives_a_strictly_valid_exposition_of_catalogued_metrics(
        model in arbitrary::model(),
    ) {
        let text = exposition_of(&model);
        let families = exposition::parse(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        for family in &families {
            check_against_catalogue(family)?;
        }
        check_port_numbers(&model, &families)?;
        let reasons = find(&families, "tcp_backlog_hook_info", &[]);
        let reasons: Vec<_> = reasons.iter().filter_map(|sample| sample.label("reason")).collect();
        let expected: Vec<_> = model.plan.hooks.iter().map(|hook| hook.reason.as_str()).collect();
        prop_assert_eq!(reasons, expected);
    }

    #[test]
    fn any_model_survives_json_with_every_digit(model in arbitrary::model()) {
        let text = text(|writer| json::write(&model, &models::build(), writer));
        let back: json::Snapshot<Model, BuildInfo> = serde_json::from_str(&text).unwrap();
        check_schema(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(back.version, json::SNAPSHOT_VERSION);
        prop_assert_eq!(back.model, model);
    }

    #[test]
    fn any_model_gives_an_aligned_table_with_one_line_per_port(model in arbitrary::model()) {
        let text = text(|writer| table::write(&model, writer));
        let lines: Vec<_> = text.lines().collect();
        let (_, rows) = lines.split_last().unwrap();
        prop_assert!(rows.iter().all(|row| row.chars().count() == rows[0].chars().count()));
        let ports = rows.iter().skip(1).filter(|row| !row.starts_with("other")).count();
        prop_assert_eq!(ports, model.ports.len());
    }

    #[test]
    fn any_model_gives_a_report_without_stray_lines(model in arbitrary::model()) {
        let text = text(|writer| check::write(&model, &models::own_audit(&model), &models::build(), "auto", writer));
        let unreadable = model.namespaces.iter().filter(|one| one.error.is_some()).count();
        let amiss = |one: &&Namespace| match model.plan.coverage.accounting {
            Accounting::KernelCounters => one.residuals.values().any(|residual| *residual != 0),
            Accounting::SocketDrops => {
                let counts = one.unattributed_overflows.zip(one.unattributed_drops);
                counts.is_some_and(|(overflows, drops)| overflows > 0 || drops > 0)
            }
            Accounting::Conditions | Accounting::None => false,
        };
        let audit = 2 + model.namespaces.iter().filter(amiss).count();
        let table = methods::methods(&model.plan);
        let notes = table.iter().flat_map(|counter| &counter.limits).collect::<BTreeSet<_>>().len();
        let methods = 2 + table.len() + notes;
        prop_assert_eq!(text.lines().count(), 9 + model.plan.hooks.len() + unreadable + audit + methods);
    }
}
