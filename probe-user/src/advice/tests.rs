//! Rules against models that are made by hand: each speaks where it should, and is silent where another does.
mod handshakes;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::*;
use crate::{
    model::{
        Backlog, Handshakes, History, Host, LastAckRefused, Listener, Namespace, Overflows, Port, Softnet,
        SynDropped,
        advice::{Rule, StepKind},
    },
    sample::{LimitsSample, OwnerSample, PortId},
};

const OWN: u32 = 1;
const CONTAINER: u32 = 2;

fn id(netns: u32) -> PortId {
    PortId { netns, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 8080 }
}

/// An open port with one listener of a known process, at which nothing was counted.
fn port_of_tomcat(limit: u32, requested: Option<i32>, somaxconn: u64) -> Port {
    let owner = OwnerSample {
        pid: 77,
        process: "java".to_owned(),
        application: Some("tomcat".to_owned()),
        unit: Some("tomcat10.service".to_owned()),
        ..OwnerSample::default()
    };
    let listener = Listener {
        backlog: Backlog::new(requested, limit, Some(somaxconn)),
        owner: Some(Arc::new(owner)),
        ..Listener::with_queue(0, limit)
    };
    let mut port = Port { listeners: vec![listener], ..Port::closed(id(OWN)) };
    port.handshakes = known_handshakes();
    port.queues.counts.accepted = Some(0);
    port
}

/// Everything is counted, and nothing was.
fn known_handshakes() -> Handshakes {
    let zero = Some(0);
    Handshakes {
        syn_received: zero,
        syn_queued: zero,
        established: zero,
        connections_refused: zero,
        listen_drops: zero,
        synack_retransmits: zero,
        syn_dropped: SynDropped {
            accept_queue_full: zero,
            syn_queue_full: zero,
            syn_backlog_reserve: zero,
            other: zero,
        },
        last_ack_refused: LastAckRefused { accept_queue_full: zero, other: zero, undivided: None },
        accept_queue_overflows: Overflows { syn: zero, ack: zero, undivided: None },
        ..Handshakes::default()
    }
}

fn namespace(netns: u32, somaxconn: u64) -> Namespace {
    let limits = LimitsSample { somaxconn: Some(somaxconn), ..LimitsSample::default() };
    Namespace { netns, limits, listen_overflows: Some(0), listen_drops: Some(0), ..Namespace::default() }
}

fn model(port: Port, somaxconn: u64) -> Model {
    let host = Host { own_netns: Some(OWN), ..Host::default() };
    let namespaces = vec![namespace(OWN, somaxconn), namespace(CONTAINER, 128)];
    Model { ports: vec![port], namespaces, host, ..Model::empty() }
}

/// What is said after the model was looked at, changed, and looked at again so many seconds later.
fn advice_after(mut model: Model, seconds: u64, change: impl Fn(&mut Model)) -> Advice {
    let mut history = History::default();
    let mut look = |model: &Model, second: u64| {
        let mut looked_at = model.clone();
        history.note_recent(&mut looked_at, second * 1_000_000_000);
        looked_at
    };
    look(&model, 0);
    change(&mut model);
    look(&model, 1);
    look(&model, 2);
    let model = look(&model, 2 + seconds);
    advise(&model, Question::default())
}

fn advice(model: Model, change: impl Fn(&mut Port)) -> Advice {
    advice_after(model, 1, |model| model.ports.iter_mut().for_each(&change))
}

fn rules(advice: &Advice) -> Vec<(Rule, Severity)> {
    advice.verdicts.iter().map(|verdict| (verdict.rule, verdict.severity)).collect()
}

/// Seven connections are refused at a full queue.
fn overflow(port: &mut Port) {
    port.handshakes.connections_refused = Some(7);
    port.handshakes.accept_queue_overflows.syn = Some(9);
    port.handshakes.established = Some(200);
    port.queues.counts.accepted = Some(150);
}

const LOSING: Severity = Severity::Losing;

#[test]
fn whoever_overflows_is_told_which_limit_rules_it() {
    let check = |limit, requested, somaxconn, rule, title: &str| {
        let advice = advice(model(port_of_tomcat(limit, requested, somaxconn), somaxconn), overflow);
        assert_eq!(rules(&advice), [(rule, LOSING)]);
        assert_eq!(advice.verdicts[0].title, title);
        assert_eq!(advice.health, Health::Losing);
        let evidence = &advice.verdicts[0].evidence;
        let refused = evidence.iter().find(|number| number.what == "connections refused").unwrap();
        assert_eq!(refused.value, 7.0);
    };
    let clamped = Rule::ClampedBySomaxconn;
    check(128, Some(10_000), 128, clamped, "asked for 10000, got 128: net.core.somaxconn");
    check(128, None, 128, clamped, "got 128, which is net.core.somaxconn; what it asked for was not seen");
    check(
        128,
        Some(10_000),
        65_535,
        Rule::RaisedNotApplied,
        "net.core.somaxconn is 65535 by now, but the limit is still 128: it has not listened again",
    );
    check(
        100,
        Some(100),
        4_096,
        Rule::ClampedByApplication,
        "asked for 100 only, while net.core.somaxconn would allow 4096",
    );
    check(
        100,
        None,
        4_096,
        Rule::ClampedByApplication,
        "has a limit of 100, while net.core.somaxconn allows 4096: its own, or it must listen again",
    );
    let too_big = "more connections came at once than its accept queue for 4096 has room for";
    check(4_096, Some(-1), 4_096, Rule::BurstTooBig, too_big);
    check(4_096, Some(4_096), 4_096, Rule::BurstTooBig, too_big);
}

/// The commands of all steps of one kind.
fn commands(advice: &Advice, kind: StepKind) -> Vec<&str> {
    let steps = advice.verdicts.iter().flat_map(|verdict| &verdict.remedy);
    steps.filter(|step| step.kind == kind).filter_map(|step| step.command.as_deref()).collect()
}

#[test]
fn a_remedy_is_what_an_operator_types() {
    let advice_of = |limit, requested, somaxconn, recommended: Option<u64>| {
        let mut port = port_of_tomcat(limit, requested, somaxconn);
        port.backlog_recommended = recommended;
        advice(model(port, somaxconn), overflow)
    };
    let clamped = advice_of(128, Some(10_000), 128, Some(4_096));
    assert_eq!(commands(&clamped, StepKind::Now), ["sysctl -w net.core.somaxconn=10000"]);
    assert_eq!(
        commands(&clamped, StepKind::Lasting),
        ["echo 'net.core.somaxconn = 10000' >> /etc/sysctl.d/90-tcp-backlog.conf"]
    );
    assert_eq!(commands(&clamped, StepKind::Application), [""; 0]);
    assert_eq!(commands(&clamped, StepKind::Restart), ["systemctl restart tomcat10.service"]);

    let own = advice_of(100, Some(100), 4_096, Some(2_048));
    assert_eq!(commands(&own, StepKind::Now), [""; 0]);
    assert_eq!(commands(&own, StepKind::Application), ["acceptCount=\"2048\""]);
    assert_eq!(commands(&own, StepKind::Restart), ["systemctl restart tomcat10.service"]);

    let both = advice_of(100, Some(100), 4_096, Some(8_192));
    assert_eq!(commands(&both, StepKind::Now), ["sysctl -w net.core.somaxconn=8192"]);
    assert_eq!(commands(&both, StepKind::Application), ["acceptCount=\"8192\""]);

    // The sysctl is raised already: nothing but a restart is left.
    let raised = advice_of(128, Some(10_000), 65_535, Some(4_096));
    assert_eq!(commands(&raised, StepKind::Now), [""; 0]);
    assert_eq!(commands(&raised, StepKind::Restart), ["systemctl restart tomcat10.service"]);
}

#[test]
fn a_container_is_told_about_its_own_namespace() {
    let mut port = port_of_tomcat(128, Some(10_000), 128);
    port.id = id(CONTAINER);
    let model = model(port, 4_096);
    let advice = advice(model, overflow);
    let notice = (Rule::LimitOfAnotherNamespace, Severity::Notice);
    assert_eq!(rules(&advice), [(Rule::ClampedBySomaxconn, LOSING), notice]);
    assert_eq!(
        commands(&advice, StepKind::Now)[0],
        "nsenter --net=/proc/77/ns/net sysctl -w net.core.somaxconn=10000"
    );
}

#[test]
fn what_was_meant_and_not_given_is_said_in_peace_and_what_is_an_idiom_is_not() {
    let check = |limit, requested, somaxconn, expected: &[(Rule, Severity)]| {
        let advice = advice(model(port_of_tomcat(limit, requested, somaxconn), somaxconn), |_| {});
        assert_eq!(rules(&advice), expected, "{requested:?} {limit} {somaxconn}");
    };
    check(128, Some(10_000), 128, &[(Rule::ClampedBySomaxconn, Severity::Notice)]);
    check(128, Some(10_000), 65_535, &[(Rule::RaisedNotApplied, Severity::Notice)]);
    check(128, Some(-1), 128, &[]);
    check(128, Some(i32::MAX), 128, &[]);
    check(128, Some(65_535), 128, &[]);
    check(128, Some(-1), 4_096, &[]);
    check(128, None, 128, &[]);
    check(128, Some(128), 4_096, &[]);
    check(4_096, Some(4_096), 128, &[]);
}

#[test]
fn a_queue_that_was_nearly_full_is_said_before_it_hurts() {
    let check = |limit, length, expected: &[(Rule, Severity)]| {
        let advice = advice(model(port_of_tomcat(limit, Some(-1), 4_096), u64::from(limit)), |port| {
            port.listeners[0].accept_queue_length = length;
            // Somebody accepts.
            port.queues.counts.accepted = port.queues.counts.accepted.map(|count| count + 1);
        });
        assert_eq!(rules(&advice), expected, "{length} of {limit}");
    };
    let near: &[_] = &[(Rule::NearOverflow, Severity::Warning)];
    check(100, 80, &[]);
    check(100, 81, near);
    check(3, 3, &[]);
    check(4, 4, near);
}

#[test]
fn an_acceptor_that_hangs_is_the_first_thing_to_say() {
    let waiting = |port: &mut Port| port.listeners[0].accept_queue_length = 129;
    let stalled = advice_after(model(port_of_tomcat(128, Some(10_000), 128), 128), 6, |model| {
        model.ports.iter_mut().for_each(|port| {
            overflow(port);
            waiting(port);
        });
    });
    assert_eq!(rules(&stalled), [(Rule::AcceptorStalled, LOSING), (Rule::ClampedBySomaxconn, LOSING)]);
    assert_eq!(commands(&stalled, StepKind::Look), ["jcmd 77 Thread.print"]);
    let busy = advice_after(model(port_of_tomcat(512, Some(-1), 512), 512), 3, |model| {
        model.ports.iter_mut().for_each(waiting);
    });
    assert_eq!(rules(&busy), []);
}

#[test]
fn one_full_member_of_a_group_is_told_from_a_group_that_is_full() {
    let check = |overflows: [u64; 2], highest: [u32; 2], expected: bool| {
        let mut group = port_of_tomcat(128, Some(-1), 128);
        group.listeners = (0..2)
            .map(|index| {
                let mut listener = Listener { inode: 5 + index, ..Listener::with_queue(0, 128) };
                let index = usize::try_from(index).unwrap();
                Arc::make_mut(&mut listener.handshakes).accept_queue_overflows.syn = Some(overflows[index]);
                Arc::make_mut(&mut listener.queues).accept_queue_peaks =
                    Some(crate::model::Peaks { highest: highest[index], ..crate::model::Peaks::default() });
                listener
            })
            .collect();
        let advice = advice(model(group, 128), overflow);
        let said = advice.verdicts.iter().any(|verdict| verdict.rule == Rule::ReuseportImbalance);
        assert_eq!(said, expected, "{overflows:?} {highest:?}");
    };
    check([9, 0], [129, 3], true);
    check([5, 4], [129, 129], false);
    check([9, 0], [129, 100], false);
}

#[test]
fn a_host_that_is_well_is_told_how_much_room_it_has() {
    let mut port = port_of_tomcat(128, Some(128), 4_096);
    port.listeners[0].accept_queue_length = 32;
    let advice = advice(model(port, 4_096), |_| {});
    assert_eq!((rules(&advice), advice.health, advice.ports), (vec![], Health::Healthy, 1));
    let fullest = advice.fullest.unwrap();
    assert_eq!((fullest.highest, fullest.limit, fullest.place.port), (32, 128, Some(8080)));
}

#[test]
fn what_a_closed_port_lost_is_over_unless_nobody_could_look() {
    let check = |error: Option<&str>, expected: &[(Rule, Severity)]| {
        let mut model = model(port_of_tomcat(128, Some(-1), 128), 128);
        model.namespaces[0].error = error.map(str::to_owned);
        let advice = advice(model, |port| {
            overflow(port);
            port.listeners.clear();
        });
        assert_eq!(rules(&advice), expected, "{error:?}");
    };
    check(None, &[]);
    check(Some("no"), &[(Rule::BurstTooBig, LOSING)]);
}

/// As containers do: their totals stay.
#[test]
fn what_was_lost_in_a_namespace_that_has_ended_is_over() {
    let check = |not_found: Option<&[u32]>, expected: &[(Rule, Severity)]| {
        let mut model = model(port_of_tomcat(128, Some(-1), 128), 128);
        model.namespaces.clear();
        model.host.namespaces_not_found = not_found.map(|open| open.iter().copied().collect());
        let advice = advice(model, |port| {
            overflow(port);
            port.listeners.clear();
        });
        assert_eq!(rules(&advice), expected, "{not_found:?}");
    };
    check(Some(&[]), &[]);
    check(Some(&[OWN + 1]), &[]);
    // The hooks have a listener of it: nothing but a descriptor leads there, or it ended a moment ago.
    check(Some(&[OWN]), &[(Rule::BurstTooBig, LOSING)]);
    check(None, &[(Rule::BurstTooBig, LOSING)]);
}

#[test]
fn a_question_about_one_port_is_answered_for_that_port() {
    let ask = |port| {
        let model = model(port_of_tomcat(128, Some(10_000), 128), 128);
        advise(&model, Question { port: Some(port), ..Question::default() })
    };
    assert_eq!(rules(&ask(8080)).len(), 1);
    let other = ask(81);
    assert_eq!((other.health, other.verdicts.len()), (Health::Unknown, 0));
    assert_eq!(other.not_judged.last().unwrap(), "nobody is known to listen on port 81");
}

#[test]
fn a_host_of_which_nothing_can_be_read_is_not_well() {
    let mut model = Model::empty();
    assert_eq!(advise(&model, Question::default()).health, Health::Unknown);
    model.namespaces = vec![Namespace { error: Some("no".to_owned()), ..namespace(OWN, 1) }];
    assert_eq!(advise(&model, Question::default()).health, Health::Unknown);
    model.namespaces.push(namespace(CONTAINER, 1));
    assert_eq!(advise(&model, Question::default()).health, Health::Healthy);
}
