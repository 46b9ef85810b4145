//! Advice to be shown: of the story that the program is for, and any at all.
use std::{net::IpAddr, sync::Arc};

use proptest::{collection, option, prelude::*, sample::select};
use tcp_backlog_probe::model::advice::{
    ADVICE_VERSION, Advice, Diagnosis, Evidence, EvidenceUnit, Headroom, Health, Place, Rule, Severity, Step,
    StepKind, Verdict,
};

use super::{
    arbitrary::{quarters, text},
    busy::episode,
};

fn evidence(what: &str, value: f64, unit: EvidenceUnit) -> Evidence {
    Evidence { what: what.to_owned(), value, unit }
}

fn step(kind: StepKind, text: &str, command: &str) -> Step {
    let command = (!command.is_empty()).then(|| command.to_owned());
    Step { kind, text: text.to_owned(), command }
}

fn tomcat() -> Place {
    let address: IpAddr = "::".parse().unwrap();
    Place {
        netns: Some(4_026_531_840),
        address: Some(address),
        port: Some(8080),
        process: Some("java".into()),
    }
}

/// A queue that is too small for a burst, and a host whose network softirq drops.
pub(crate) fn diagnosis() -> Diagnosis {
    let clamped = Verdict {
        rule: Rule::ClampedBySomaxconn,
        severity: Severity::Losing,
        place: tomcat(),
        title: "asked for 10000, got 128: net.core.somaxconn".to_owned(),
        meaning: None,
        evidence: vec![
            evidence("connections refused", 2_871.0, EvidenceUnit::Number),
            evidence("99 of 100 waited for accept() at most", 0.524_288, EvidenceUnit::Seconds),
            evidence("handshakes finished", 0.043, EvidenceUnit::Ratio),
            evidence("connections accepted", 12.25, EvidenceUnit::PerSecond),
        ],
        remedy: vec![
            step(StepKind::Now, "raise net.core.somaxconn", "sysctl -w net.core.somaxconn=10000"),
            step(StepKind::Lasting, "set it where the network namespace is made", ""),
            step(StepKind::Restart, "restart it", "systemctl restart tomcat10.service"),
        ],
    };
    let episode = episode();
    Diagnosis {
        taken: episode.begun + 65.0,
        advice: Advice {
            version: ADVICE_VERSION,
            health: Health::Losing,
            window_seconds: 900.0,
            verdicts: vec![clamped, softnet_drops()],
            fullest: Some(Headroom { place: tomcat(), highest: 129, limit: 128 }),
            ports: 2,
            not_judged: vec!["what listen() was asked for is not seen on this host: see check".to_owned()],
        },
        episodes: vec![Arc::new(episode)],
    }
}

fn softnet_drops() -> Verdict {
    Verdict {
        rule: Rule::SoftnetDrops,
        severity: Severity::Warning,
        place: Place::default(),
        title: "7 packets were dropped before the network stack: net.core.netdev_max_backlog".to_owned(),
        meaning: Some("SYNs and last ACKs among them are lost without a trace at any listener.".to_owned()),
        evidence: vec![],
        remedy: vec![step(StepKind::Look, "see whether one CPU takes all", "cat /proc/net/softnet_stat")],
    }
}

/// A host that is well.
pub(crate) fn healthy() -> Diagnosis {
    let mut diagnosis = diagnosis();
    diagnosis.advice.health = Health::Healthy;
    diagnosis.advice.verdicts.clear();
    diagnosis.advice.not_judged.clear();
    diagnosis.advice.ports = 1;
    diagnosis.advice.fullest = Some(Headroom { place: tomcat(), highest: 1_229, limit: 10_000 });
    diagnosis.episodes.clear();
    diagnosis
}

fn place() -> impl Strategy<Value = Place> {
    (any::<(Option<u32>, Option<IpAddr>, Option<u16>)>(), option::of(text())).prop_map(
        |((netns, address, port), process)| Place { netns, address, port, process: process.map(Arc::from) },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let severity = select(&[Severity::Losing, Severity::Warning, Severity::Notice][..]);
    let unit = select(
        &[EvidenceUnit::Number, EvidenceUnit::Seconds, EvidenceUnit::PerSecond, EvidenceUnit::Ratio][..],
    );
    let evidence = (text(), quarters(), unit).prop_map(|(what, value, unit)| Evidence { what, value, unit });
    let kind = select(
        &[StepKind::Now, StepKind::Lasting, StepKind::Application, StepKind::Restart, StepKind::Look][..],
    );
    let step =
        (kind, text(), option::of(text())).prop_map(|(kind, text, command)| Step { kind, text, command });
    let lists = (collection::vec(evidence, 0..3), collection::vec(step, 0..3));
    (select(Rule::ALL), severity, place(), text(), option::of(text()), lists).prop_map(
        |(rule, severity, place, title, meaning, (evidence, remedy))| Verdict {
            rule,
            severity,
            place,
            title,
            meaning,
            evidence,
            remedy,
        },
    )
}

/// Any advice at all.
pub(crate) fn advice() -> impl Strategy<Value = Advice> {
    let health = select(&[Health::Healthy, Health::Advice, Health::Losing, Health::Unknown][..]);
    let fullest = (place(), any::<(u32, u32)>()).prop_map(|(place, (highest, limit))| Headroom {
        place,
        highest,
        limit,
    });
    let rest = (option::of(fullest), 0..9_u64, collection::vec(text(), 0..3));
    (health, quarters(), collection::vec(verdict(), 0..4), rest).prop_map(
        |(health, window_seconds, verdicts, (fullest, ports, not_judged))| Advice {
            version: ADVICE_VERSION,
            health,
            window_seconds,
            verdicts,
            fullest,
            ports,
            not_judged,
        },
    )
}
