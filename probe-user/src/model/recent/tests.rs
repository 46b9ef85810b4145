//! What is remembered, over hours and over changes.
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::model::{Handshakes, Listener, Namespace};

const SECOND: u64 = 1_000_000_000;

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

/// The number of a port, the limit of its only listener if it is open, and the SYNs that it received.
type Counted = (u16, Option<u32>, u64);

/// A model with these ports.
fn model(ports: &[Counted]) -> Model {
    let port = |(number, limit, syns): &Counted| Port {
        handshakes: Handshakes { syn_received: Some(*syns), ..Handshakes::default() },
        listeners: limit.map(|limit| Listener::with_queue(0, limit)).into_iter().collect(),
        ..Port::closed(id(*number))
    };
    Model { ports: ports.iter().map(port).collect(), ..Model::empty() }
}

/// What a recorder remembers after models that were read at these seconds.
fn after(readings: &[(u64, &[Counted])]) -> Recent {
    let mut recorder = Recorder::default();
    let recent = readings.iter().map(|(second, ports)| recorder.observe(&model(ports), second * SECOND));
    recent.last().unwrap()
}

fn syns(recent: &Recent, seconds: u64, port: u16) -> u64 {
    recent.over(seconds).ports.get(&id(port)).map_or(0, |counts| counts.syn_received)
}

#[test]
fn what_was_counted_before_the_first_look_is_not_of_late() {
    let recent = after(&[(0, &[(80, None, 7)]), (1, &[(80, None, 9), (81, None, 4)])]);
    assert_eq!((syns(&recent, 60, 80), syns(&recent, 60, 81)), (2, 4));
    assert_eq!(recent.over(60).seconds, 1.0);
    assert_eq!(after(&[(0, &[(80, None, 7)])]).over(60), Lately::default());
    assert_eq!(Recent::default().over(60), Lately::default());
}

#[test]
fn a_while_goes_back_as_far_as_was_asked_for() {
    let mut recorder = Recorder::default();
    let mut recent = Recent::default();
    // One SYN each second.
    for second in 0..=7_200 {
        recent = recorder.observe(&model(&[(80, None, second)]), second * SECOND);
    }
    let check = |seconds: u64, at_most: u64| {
        let lately = recent.over(seconds);
        let counted = lately.ports.get(&id(80)).unwrap().syn_received;
        assert!((seconds..=at_most).contains(&counted), "{counted} in {seconds}");
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let counted = counted as f64;
        assert_eq!(lately.seconds, counted);
    };
    check(1, 15);
    check(30, 45);
    check(60, 75);
    check(300, 315);
    check(900, 960);
    check(3_540, 3_600);
    let everything = recent.over(u64::MAX).ports.get(&id(80)).unwrap().syn_received;
    assert!((3_480..=3_660).contains(&everything), "{everything}");
    assert!(recent.stretches.len() < 90, "{}", recent.stretches.len());
}

#[test]
fn a_port_with_another_limit_begins_anew_and_its_neighbour_does_not() {
    let old: &[_] = &[(80, Some(128), 10), (81, Some(5), 1)];
    let new: &[_] = &[(80, Some(4_096), 25), (81, Some(5), 2)];
    let later: &[_] = &[(80, Some(4_096), 26), (81, Some(5), 3)];
    let recent = after(&[(0, &[]), (5, old), (10, new), (12, later)]);
    assert_eq!((syns(&recent, 60, 80), syns(&recent, 60, 81)), (1, 3));
}

#[test]
fn a_port_that_closes_and_opens_again_with_the_same_limit_goes_on() {
    let open: &[_] = &[(80, Some(128), 10)];
    let closed: &[_] = &[(80, None, 11)];
    let again: &[_] = &[(80, Some(128), 13)];
    let recent = after(&[(0, &[]), (5, open), (10, closed), (12, again)]);
    assert_eq!(syns(&recent, 60, 80), 13);
}

#[test]
fn what_there_is_no_room_for_makes_the_while_shorter() {
    let mut recorder = Recorder::default();
    let mut recent = Recent::default();
    for second in 0..40 {
        let ports: Vec<_> = (0..4_000).map(|port| (port, None, second)).collect();
        recent = recorder.observe(&model(&ports), second * 10 * SECOND);
    }
    let entries: usize = recent.stretches.iter().map(|stretch| stretch.entries()).sum();
    assert!(entries <= STRETCH_ENTRIES + 4_001, "{entries}");
    let lately = recent.over(3_600);
    assert!((20.0..120.0).contains(&lately.seconds), "{}", lately.seconds);
}

#[test]
fn a_namespace_that_is_found_late_brings_no_old_counts() {
    let namespace =
        |overflows| Namespace { netns: 5, listen_overflows: Some(overflows), ..Namespace::default() };
    let mut recorder = Recorder::default();
    let mut look = |second: u64, namespaces: Vec<Namespace>| {
        recorder.observe(&Model { namespaces, ..Model::empty() }, second * SECOND)
    };
    look(0, vec![]);
    look(1, vec![namespace(1_000)]);
    let recent = look(2, vec![namespace(1_003)]);
    assert_eq!(recent.over(60).namespaces[&5].listen_overflows, 3);
}

#[test]
fn a_namespace_that_could_not_be_read_once_brings_no_old_counts() {
    let unread = Namespace { netns: 1, error: Some("for once".to_owned()), ..Namespace::default() };
    let read = |counted: u64| Namespace {
        netns: 1,
        listen_overflows: Some(counted),
        listen_drops: Some(counted),
        ..Namespace::default()
    };
    let port = |drops: u32| Port {
        listeners: vec![Listener { socket_drops: drops, ..Listener::with_queue(0, 4) }],
        ..Port::closed(id(80))
    };
    let check = |unread_ports: Vec<Port>| {
        let mut recorder = Recorder::default();
        let mut look = |second: u64, ports: Vec<Port>, namespace: Namespace| {
            let model = Model { ports, namespaces: vec![namespace], ..Model::empty() };
            recorder.observe(&model, second * SECOND).over(60)
        };
        look(0, vec![port(1_000)], read(500));
        look(1, vec![port(1_001)], read(501));
        look(2, unread_ports, unread.clone());
        let lately = look(3, vec![port(1_003)], read(502));
        assert_eq!(lately.namespaces[&1].listen_overflows, 2);
        assert_eq!(lately.ports.get(&id(80)).unwrap().socket_drops, 3);
    };
    // With hooks the port stays in the model, without them it does not.
    check(vec![Port::closed(id(80))]);
    check(Vec::new());
}

#[test]
fn ports_that_come_and_go_where_something_is_never_read_do_not_pile_up() {
    let unread = Namespace { netns: 1, error: Some("for good".to_owned()), ..Namespace::default() };
    let mut recorder = Recorder::default();
    for round in 0..4 {
        let ports = (0..10_000).map(|port| Port::closed(id(round * 10_000 + port))).collect();
        let model = Model { ports, namespaces: vec![unread.clone()], ..Model::empty() };
        recorder.observe(&model, u64::from(round) * SECOND);
        assert!(recorder.ports.len() <= PORT_BUDGET, "{}", recorder.ports.len());
    }
}

#[test]
fn connections_that_nobody_accepts_wait_since_the_first_look_that_found_them() {
    let look = |recorder: &mut Recorder, second: u64, length: u32, accepted: Option<u64>| {
        let mut port = Port { listeners: vec![Listener::with_queue(length, 4)], ..Port::closed(id(80)) };
        port.queues.counts.accepted = accepted;
        let recent = recorder.observe(&Model { ports: vec![port], ..Model::empty() }, second * SECOND);
        recent.over(60).waiting.get(&id(80)).copied()
    };
    let check = |looks: &[(u64, u32, Option<u64>)], expected: Option<f64>| {
        let mut recorder = Recorder::default();
        let seen =
            looks.iter().map(|(second, length, accepted)| look(&mut recorder, *second, *length, *accepted));
        assert_eq!(seen.last().unwrap(), expected, "{looks:?}");
    };
    check(&[(0, 0, Some(0)), (5, 1, Some(0)), (11, 1, Some(0))], Some(6.0));
    check(&[(0, 0, Some(0)), (5, 1, Some(0)), (11, 1, Some(1))], None);
    check(&[(0, 1, Some(0)), (5, 0, Some(0)), (11, 1, Some(0))], Some(0.0));
    // Polled: a queue that is not full may be another one each time.
    check(&[(0, 4, None), (5, 4, None)], None);
    check(&[(0, 5, None), (5, 5, None)], Some(5.0));
}
