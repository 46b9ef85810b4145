//! One daemon's last model into the next one's first.
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    model::{Handshakes, QueueCounts},
    plan::outcome::{Coverage, PlanOutcome},
};

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

/// Ports with so many finished handshakes and drops; `None` is a number that the plan does not measure.
fn model(ports: &[(u16, Option<u64>, Option<u64>)], coverage: Coverage) -> Model {
    let mut model = Model::empty();
    model.plan = PlanOutcome { hooks: Vec::new(), coverage };
    model.other = Some(Handshakes { established: Some(1), ..Handshakes::default() });
    model.other_queues = QueueCounts::default();
    model.namespaces = vec![Namespace { netns: 1, unattributed_drops: Some(5), ..Namespace::default() }];
    model.ports = ports
        .iter()
        .map(|(port, established, listen_drops)| {
            let handshakes = Handshakes {
                established: *established,
                listen_drops: *listen_drops,
                ..Handshakes::default()
            };
            Port { handshakes, ..Port::closed(id(*port)) }
        })
        .collect();
    model
}

fn shown(model: &Model) -> Vec<(u16, Option<u64>, Option<u64>)> {
    let shown = |port: &Port| (port.id.port, port.handshakes.established, port.handshakes.listen_drops);
    model.ports.iter().map(shown).collect()
}

#[test]
fn totals_go_on_and_a_port_that_closed_meanwhile_is_still_there() {
    let before = model(
        &[(80, Some(10), Some(2)), (81, Some(3), Some(0)), (82, Some(0), Some(0))],
        Coverage::EVERYTHING,
    );
    let mut after = model(&[(80, Some(1), Some(1)), (83, Some(4), Some(0))], Coverage::EVERYTHING);
    let names = Sorted::from([(id(81), "java".into())]);
    Carried::from_model(&before).add_to(&mut after, &names);
    let expected = [(80, Some(11), Some(3)), (81, Some(3), Some(0)), (83, Some(4), Some(0))];
    assert_eq!(shown(&after), expected);
    assert_eq!(after.ports[1].process.as_deref(), Some("java"));
    assert_eq!(after.other.unwrap().established, Some(2));
    assert_eq!(after.namespaces[0].unattributed_drops, Some(10));
    // What was carried once is carried again.
    let mut last = model(&[], Coverage::EVERYTHING);
    Carried::from_model(&after).add_to(&mut last, &names);
    assert_eq!(shown(&last), expected);
}

#[test]
fn a_number_that_the_new_plan_does_not_measure_stays_unknown() {
    let before = model(&[(80, Some(10), Some(2)), (81, Some(3), Some(1))], Coverage::EVERYTHING);
    let without_drops = Coverage { established: true, ..Coverage::NOTHING };
    let mut after = model(&[(80, Some(1), None)], without_drops);
    Carried::from_model(&before).add_to(&mut after, &Sorted::default());
    assert_eq!(shown(&after), [(80, Some(11), None), (81, Some(3), None)]);
}

#[test]
fn without_hooks_nothing_that_hooks_counted_is_shown() {
    let before = model(&[(80, Some(10), Some(2))], Coverage::EVERYTHING);
    let mut after = model(&[(80, None, None)], Coverage::NOTHING);
    after.other = None;
    Carried::from_model(&before).add_to(&mut after, &Sorted::default());
    assert_eq!(shown(&after), [(80, None, None)]);
    assert_eq!(after.other, None);
}

#[test]
fn past_the_budget_of_ports_totals_are_carried_in_the_row_for_others() {
    let ports: Vec<_> = (1..=20_000).map(|port| (port, Some(1), Some(0))).collect();
    let carried = Carried::from_model(&model(&ports, Coverage::EVERYTHING));
    assert_eq!(carried.ports.len(), PORT_BUDGET);
    let mut after = model(&[], Coverage::EVERYTHING);
    carried.add_to(&mut after, &Sorted::default());
    let beside: u64 = after.ports.iter().filter_map(|port| port.handshakes.established).sum();
    // One of each daemon was counted in that row already.
    assert_eq!(beside + after.other.unwrap().established.unwrap(), 20_000 + 2);
}
